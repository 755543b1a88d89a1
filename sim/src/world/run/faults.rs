//! What goes wrong in a world: drives that fail, guests that die, disks that are taken away.
//!
//! Invariant: nothing goes wrong but what the seed, or the scene, asks for.

use reactor::Verb;

use super::World;
use crate::world::Fate;
use crate::world::build::SPARED;

/// Of so many disk operations, one fails, and one is short. Flushes fail more rarely, for after one
/// that did a disk takes no write any more.
const ERROR_ONCE_IN: u64 = 97;
const FLUSH_ERROR_ONCE_IN: u64 = 499;
const SHORT_ONCE_IN: u64 = 61;

impl World {
    pub(super) fn finish_drive(&mut self, at: usize, id: reactor::world::OpId) {
        let failure = self.failure(at, id);
        let Some(process) = &mut self.processes[at] else {
            return;
        };
        let error_once_in = match process.verb(id) {
            Some(Verb::Sync) => FLUSH_ERROR_ONCE_IN,
            _ => ERROR_ONCE_IN,
        };
        let fate = match (failure, process.verb(id)) {
            (Some(errno), _) => Fate::Error(errno),
            (_, Some(Verb::ReadAt | Verb::WriteAt)) if self.rng.once_in(SHORT_ONCE_IN) => {
                // Disks move whole sectors.
                let sectors = process.len_bytes(id) / abi::SECTOR_SIZE;
                match self.rng.index(sectors) {
                    0 => Fate::Whole,
                    sectors => Fate::Short(sectors * abi::SECTOR_SIZE),
                }
            }
            _ if self.odd.is_none() && self.rng.once_in(error_once_in) => Fate::Error(libc::EIO),
            _ => Fate::Whole,
        };
        self.tally.reordered += u64::from(process.overtakes(id));
        if process.drive(&mut self.drives, id, fate, &mut self.trace) {
            self.tally.short_transfers += u64::from(matches!(fate, Fate::Short(_)));
            let failed = u64::from(matches!(fate, Fate::Error(_)));
            self.tally.disk_errors += failed;
            self.errors[at] += failed;
        }
    }

    /// Something goes wrong for one guest, if one is busy.
    pub(super) fn fault(&mut self) -> Result<(), String> {
        let busy: Vec<(usize, usize)> = self.busy().collect();
        let Some(&(at, disk)) = busy.get(self.rng.index(busy.len())) else {
            return Ok(());
        };
        match self.rng.below(6) {
            0 if at != SPARED.0 => {
                self.tally.guest_deaths += 1;
                self.end_guest(at)
            }
            1 | 2 if (at, disk) != SPARED => {
                self.tally.detaches += 1;
                self.detach(at, disk)
            }
            _ => {
                self.tally.new_kernels += 1;
                self.trace.note("new kernel", &[at as u64, disk as u64]);
                if let Some(guest) = &mut self.guests[at] {
                    guest.replace_kernel(disk);
                }
                Ok(())
            }
        }
    }

    /// Connected disks with requests under way, of guests that nothing else is happening to.
    fn busy(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let quiet = self.living().filter(|at| !self.is_detaching(*at));
        quiet.flat_map(move |at| {
            let guest = self.guests[at].as_ref();
            let disks = guest.map_or(0, |guest| guest.disks.len());
            let busy = move |disk: &usize| guest.is_some_and(|guest| guest.is_busy(*disk));
            (0..disks).filter(busy).map(move |disk| (at, disk))
        })
    }

    pub(super) fn detach(&mut self, at: usize, disk: usize) -> Result<(), String> {
        self.trace.note("detach", &[at as u64, disk as u64]);
        match self.plans[at].take_disk(disk) {
            Some(disk) => self.tool.detach(&self.host, disk),
            None => Ok(()),
        }
    }

    pub(super) fn detach_all(&mut self) -> Result<(), String> {
        for at in self.living().collect::<Vec<_>>() {
            for disk in 0..self.plans[at].disks() {
                self.detach(at, disk)?;
            }
        }
        Ok(())
    }
}
