//! How the guests of a demo close their disks, come back and go.
//!
//! Invariant: a guest writes down what its disk must hold before anything takes that knowledge
//! away.

use std::time::{Duration, Instant};

use super::script::Script;
use super::show::{Player, since_ms};
use super::{leaks, reader};
use crate::error::Failure;
use crate::guest::disk::content_seed;
use crate::guest::wire::{Line, Order, Said};
use crate::report::Report;
use crate::simctl::diskspec::DiskSpec;

/// How long closing or dumping may take.
const PATIENCE: Duration = Duration::from_secs(60);

impl Script<'_> {
    /// Every guest's kernel is replaced by a new one, as kexec does: same domain, same process.
    pub(super) fn reconnect(&mut self, report: &mut Report) -> Result<(), Failure> {
        let vms = u64::from(self.scale.vms);
        self.progress.step("reconnecting", vms);
        let start = Instant::now();
        self.close_guests(report)?;
        self.order(&Order::Connect)?;
        self.show.connected(self.show.players.len())?;
        report.reconnect_ms = Some(since_ms(start));
        Ok(())
    }

    /// Every guest reboots as `xl reboot` does it: its domain goes, a new one with the same UUID
    /// comes, and the new process waits for the old one's claim and image lock.
    pub(super) fn reboot(&mut self, report: &mut Report) -> Result<(), Failure> {
        self.progress.step("rebooting", u64::from(self.scale.vms));
        self.dump_models()?;
        let mut old: Vec<Player> = std::mem::take(&mut self.show.players);
        let start = Instant::now();
        // All of them at once: no guest waits for another to be gone.
        old.iter_mut().for_each(|player| player.guest.hang_up());
        for (index, player) in (0..).zip(&mut old) {
            self.progress.at(index);
            player.guest.ended()?;
            self.show.toolstack.destroy(&player.domain, true)?;
            let spec = DiskSpec {
                params: player.disk.params.clone(),
                vdev: Some(player.disk.dev.clone()),
                writable: player.disk.writable,
            };
            let (domain, dump) = (&player.domain, self.dump_path(player));
            let dump = dump.exists().then_some(dump);
            let (name, uuid, memory) = (&domain.name, &domain.uuid, domain.memory_bytes);
            let new = self
                .show
                .boot(name, uuid, memory, &spec, player.seed, dump.as_deref())?;
            self.show.players.push(new);
        }
        self.show.connected(old.len())?;
        report.reboot_ms = Some(since_ms(start));
        old.iter_mut().try_for_each(|player| player.vm.ended())
    }

    pub(super) fn tear_down(&mut self, report: &mut Report) -> Result<(), Failure> {
        self.progress.step("taking down", u64::from(self.scale.vms));
        self.dump_models()?;
        self.close_guests(report)?;
        for player in &self.show.players {
            leaks::after_detach(&mut self.show.toolstack, player, &mut report.faults)?;
        }
        let mut players = std::mem::take(&mut self.show.players);
        for player in &mut players {
            self.show.toolstack.destroy(&player.domain, false)?;
        }
        for player in &mut players {
            player.guest.ended()?;
            player.vm.ended()?;
            self.show.toolstack.forget(&player.domain.uuid)?;
        }
        leaks::after_all(self.show, &mut report.faults)?;
        players
            .iter()
            .try_for_each(|player| self.read_back(player, report))
    }

    /// Compares the image with what the guest says it wrote.
    fn read_back(&self, player: &Player, report: &mut Report) -> Result<(), Failure> {
        let dump = self.dump_path(player);
        if !dump.exists() {
            return Ok(());
        }
        let seed = content_seed(player.seed, player.disk.devid);
        let found = reader::compare(&player.image, &dump, seed, self.show.stamped)?;
        report.verified.by_reader_bytes += found.bytes;
        report.verified.mismatched_sectors += found.mismatched_sectors;
        if found.mismatched_sectors > 0 {
            let (count, image) = (found.mismatched_sectors, player.image.display());
            report
                .faults
                .push(format!("{image}: {count} sectors are not what was written"));
        }
        Ok(())
    }

    /// Every guest writes down what its disk must hold; a disk that is only read needs no model.
    fn dump_models(&mut self) -> Result<(), Failure> {
        let dumps: Vec<_> = self
            .show
            .players
            .iter()
            .map(|player| self.dump_path(player))
            .collect();
        let mut count = 0;
        for (player, path) in self.show.players.iter_mut().zip(dumps) {
            if player.disk.writable {
                player.guest.order(&Order::Dump { path })?;
                count += 1;
            }
        }
        let dumped = |line: Line| (line.said == Said::Dumped).then_some(());
        self.show
            .stage
            .all_said(count, PATIENCE, "done with their dump", dumped)
            .map(drop)
    }

    fn close_guests(&mut self, report: &mut Report) -> Result<(), Failure> {
        self.order(&Order::Close)?;
        let closed = |line: Line| match line.said {
            Said::Closed { grants_in_use } => Some((line.domid, grants_in_use)),
            _ => None,
        };
        let guests = self.show.players.len();
        for (domid, grants) in self
            .show
            .stage
            .all_said(guests, PATIENCE, "closed", closed)?
        {
            if grants > 0 {
                report
                    .faults
                    .push(format!("domain {domid}: {grants} grants leaked"));
            }
        }
        Ok(())
    }
}
