//! Which disks a guest has: what its directory lists, and which of them await a driver.
//!
//! It knows nothing of loads. Invariant: a disk has one driver, and one that was taken away and
//! given back has a new one; a driver whose disk is gone keeps nobody waiting.

use abi::io::xenbus::XenbusState;
use sim::front::Phase;
use xenstore::{Batch, BatchId, Reply, Step};

use super::disk::{self, Content, Disk};
use super::{DISKS, Goal, Player};
use crate::cli::args::InitialArg;
use crate::error::{Doing as _, Failure};

impl Player {
    pub(super) fn list(&mut self) -> Result<(), Failure> {
        let path = xenstore::Path::new(DISKS).doing(|| "list the disks".into())?;
        let batch = Batch::new(vec![Step::Directory(path)]);
        self.listing = Some(self.machine.store().submit(batch));
        Ok(())
    }

    /// New disks get a driver; those that are gone lose theirs. A driver that is done may be that of
    /// a disk that went and came again between two listings.
    pub(super) fn listed(&mut self, names: &[String]) -> Result<(), Failure> {
        self.listed = names.iter().filter_map(|name| name.parse().ok()).collect();
        self.forget_gone();
        self.failed()?;
        for devid in self.listed.clone() {
            let looking = self.looking.iter().any(|(_, looking)| *looking == devid);
            if !looking && !self.is_driven(devid) {
                self.look(devid)?;
            }
        }
        Ok(())
    }

    /// Whether a disk has a driver that is not done with it. One that is has written another state
    /// than Initialising.
    fn is_driven(&self, devid: u32) -> bool {
        let done = |disk: &Disk| {
            let phases = [Phase::Closing, Phase::Closed, Phase::Down];
            phases.iter().any(|phase| disk.is_in(phase))
        };
        let mut drivers = self.disks.iter().filter(|disk| disk.devid == devid);
        drivers.any(|disk| !done(disk))
    }

    /// A disk that is gone from the listing may still have to be closed; then it goes later. One
    /// that has lent nothing goes at once: its backend's state went with it, so no change of that
    /// will ever wake its driver.
    pub(super) fn forget_gone(&mut self) {
        let listed = self.listed.clone();
        let over = |disk: &Disk| {
            let phases = [Phase::Waiting, Phase::Down];
            disk.failure().is_some() || phases.iter().any(|phase| disk.is_in(phase))
        };
        self.forget(|disk| over(disk) && !listed.contains(&disk.devid));
    }

    /// A driver may have given up because its disk was taken away under its hands. Only a listing
    /// asked for since then tells.
    pub(super) fn doubt(&mut self) -> Result<(), Failure> {
        let mut is_news = false;
        let given_up = |disk: &&mut Disk| disk.failure().is_some();
        for disk in self.disks.iter_mut().filter(given_up) {
            is_news |= !std::mem::replace(&mut disk.doubted, true);
        }
        if is_news { self.list() } else { Ok(()) }
    }

    /// A driver that gave up although its disk is there is the end of the guest.
    fn failed(&self) -> Result<(), Failure> {
        for disk in self.disks.iter().filter(|disk| disk.doubted) {
            if let Some(why) = disk.failure() {
                return Err(Failure::failed(format!("disk {}: {why}", disk.devid)));
            }
        }
        Ok(())
    }

    fn forget(&mut self, is_it: impl Fn(&Disk) -> bool) {
        for mut disk in self.disks.extract_if(.., |disk| is_it(disk)) {
            disk.front.remove(&mut self.machine.kernel());
        }
    }

    /// Whether a disk awaits a driver, and where its content is: its backend's `params`, which a
    /// guest may read. They are read first, for the toolstack removes them last.
    fn look(&mut self, devid: u32) -> Result<(), Failure> {
        let what = || format!("look for the image of disk {devid}");
        let backend = format!("/local/domain/0/backend/{}", crate::simctl::create::KIND);
        let paths = [
            format!("{backend}/{}/{devid}/params", self.args.domid),
            format!("{DISKS}/{devid}/state"),
        ];
        let steps = paths.map(|path| xenstore::Path::new(path).map(Step::Read));
        let steps: Result<Vec<Step>, _> = steps.into_iter().collect();
        let batch = Batch::new(steps.doing(what)?);
        let batch = self.machine.store().submit(batch);
        self.looking.push((batch, devid));
        Ok(())
    }

    pub(super) fn looked(
        &mut self,
        batch: BatchId,
        replies: Vec<Result<Reply, xenstore::StoreError>>,
    ) -> Result<(), Failure> {
        let Some(at) = self.looking.iter().position(|(asked, _)| *asked == batch) else {
            return Ok(());
        };
        let (_, devid) = self.looking.swap_remove(at);
        let mut values = replies
            .into_iter()
            .map(|reply| reply.ok()?.value().map(<[u8]>::to_vec));
        let mut value = || values.next().flatten().unwrap_or_default();
        let (params, state) = (value(), XenbusState::parse(&value()));
        if state != XenbusState::INITIALISING || self.is_driven(devid) {
            return Ok(());
        }
        self.forget(|disk| disk.devid == devid);
        let content = match self.args.initial {
            InitialArg::Stamps => Content::Stamps,
            InitialArg::Unknown => Content::Unknown,
            InitialArg::Image => Content::Image(disk::spec_path(&params)?),
        };
        self.found(devid, content)
    }

    fn found(&mut self, devid: u32, content: Content) -> Result<(), Failure> {
        let dump = self.args.model.clone();
        let mut disk = Disk::new(devid, self.args.seed, content, dump)?;
        disk.front.start(&mut self.machine.kernel());
        self.disks.push(disk);
        self.goal = if self.goal == Goal::Run {
            Goal::Run
        } else {
            Goal::Connect
        };
        Ok(())
    }
}
