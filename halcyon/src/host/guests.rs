//! Which guests have a process, and which had one.
//!
//! It starts nothing and asks nothing. Invariant: a guest has at most one process of ours, whose
//! descriptor is open for as long as the process is not known to have ended.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Child;

use abi::DomId;

use super::judge::End;
use super::pidfd;
use crate::cli::args::KindArg;
use crate::vm::claim;

/// A process that serves a guest.
pub(super) struct Process {
    /// Its number.
    pub(super) pid: u32,
    /// Readable once it has ended.
    pub(super) fd: OwnedFd,
    /// Which kinds of the guest's devices it serves.
    pub(super) kinds: Vec<KindArg>,
    /// The VM, where that is known.
    pub(super) uuid: Option<String>,
    /// The toolstack has made or taken away devices since it was started.
    news: bool,
    /// `None` if an earlier daemon started it.
    child: Option<Child>,
}

/// A process that has ended.
pub(super) struct Ended {
    pub(super) pid: u32,
    pub(super) end: End,
    /// As in [`Process`].
    pub(super) uuid: Option<String>,
}

enum Guest {
    Served(Process),
    /// Its process has ended, and its devices are being looked at. Whether there was news.
    Ending(bool),
    /// Its process has ended, under this daemon or before it came, and left devices behind. The
    /// VM, where that is known.
    Fallen(Option<String>),
}

/// See the head of this file.
#[derive(Default)]
pub(super) struct Guests(BTreeMap<DomId, Guest>);

impl Process {
    /// A process that the daemon has just started.
    pub(super) fn started(
        child: Child,
        kinds: Vec<KindArg>,
        uuid: Option<String>,
    ) -> io::Result<Self> {
        let pid = child.id();
        Ok(Self {
            pid,
            // It is a child that nobody has waited for, so its number is still its own.
            fd: pidfd::open(pid)?,
            kinds,
            uuid,
            news: false,
            child: Some(child),
        })
    }

    /// The living process that claims `domid` in the state directory of the VM `uuid`, if any.
    pub(super) fn adopted(state: &Path, uuid: &str, domid: DomId) -> Option<Self> {
        let dir = state.join(uuid);
        let held = || claim::held(&dir).unwrap_or_default();
        let pid = held().iter().find(|claim| claim.domid == domid)?.pid;
        let fd = pidfd::open(pid).ok()?;
        // Held still: so the number was that process's own when it was opened.
        let own = held().into_iter();
        let own = own.filter(|claim| claim.domid == domid && claim.pid == pid);
        let kinds: Vec<KindArg> = own.map(|claim| claim.kind).collect();
        (!kinds.is_empty()).then(|| Self {
            pid,
            fd,
            kinds,
            uuid: Some(uuid.to_owned()),
            news: false,
            child: None,
        })
    }

    fn end(&mut self) -> End {
        let status = self.child.as_mut().map(Child::wait);
        match status {
            Some(Ok(status)) => match (status.code(), status.signal()) {
                (Some(code), _) => End::Exited(code),
                (None, Some(signal)) => End::Killed(signal),
                (None, None) => End::Unknown,
            },
            Some(Err(_)) | None => End::Unknown,
        }
    }
}

impl Guests {
    /// The process of a guest.
    pub(super) fn process(&self, domid: DomId) -> Option<&Process> {
        match self.0.get(&domid) {
            Some(Guest::Served(process)) => Some(process),
            _ => None,
        }
    }

    /// How many guests have a process.
    pub(super) fn served(&self) -> usize {
        let is_served = |guest: &&Guest| matches!(guest, Guest::Served(_));
        self.0.values().filter(is_served).count()
    }

    /// Whether a guest has a process, or had one whose end is not judged yet.
    pub(super) fn is_taken(&self, domid: DomId) -> bool {
        matches!(
            self.0.get(&domid),
            Some(Guest::Served(_) | Guest::Ending(_))
        )
    }

    /// Whether a guest lost its process, and kept devices.
    pub(super) fn is_fallen(&self, domid: DomId) -> bool {
        matches!(self.0.get(&domid), Some(Guest::Fallen(_)))
    }

    /// A guest is served from now on.
    pub(super) fn serve(&mut self, domid: DomId, process: Process) {
        self.0.insert(domid, Guest::Served(process));
    }

    /// The toolstack has made or taken away a device of a guest.
    pub(super) fn note(&mut self, domid: DomId) {
        match self.0.get_mut(&domid) {
            Some(Guest::Served(process)) => process.news = true,
            Some(Guest::Ending(news)) => *news = true,
            Some(Guest::Fallen(_)) | None => {}
        }
    }

    /// The process of a guest has ended: reaps it.
    pub(super) fn end(&mut self, domid: DomId) -> Option<Ended> {
        let Some(Guest::Served(process)) = self.0.get_mut(&domid) else {
            return None;
        };
        let (pid, news) = (process.pid, process.news);
        let (end, uuid) = (process.end(), process.uuid.take());
        self.0.insert(domid, Guest::Ending(news));
        Some(Ended { pid, end, uuid })
    }

    /// The end of a process has been looked into: whether there was news. The guest has no entry
    /// any more.
    pub(super) fn judged(&mut self, domid: DomId) -> bool {
        matches!(self.0.remove(&domid), Some(Guest::Ending(true)))
    }

    /// A guest keeps devices that nobody serves.
    pub(super) fn fall(&mut self, domid: DomId, uuid: Option<String>) {
        self.0.insert(domid, Guest::Fallen(uuid));
    }

    /// A guest that lost its process has lost its devices, too: which VM it was.
    pub(super) fn forget(&mut self, domid: DomId) -> Option<String> {
        match self.0.remove(&domid) {
            Some(Guest::Fallen(uuid)) => uuid,
            Some(other) => {
                self.0.insert(domid, other);
                None
            }
            None => None,
        }
    }
}
