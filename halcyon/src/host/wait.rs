//! The one place where the host daemon sleeps.
//!
//! It knows sources by name and reads none of them. Invariant: waiting has no timeout, and costs
//! what has happened, not what is being waited for.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};

use abi::DomId;
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};

/// Happenings taken at a time; the rest is told next time.
const BATCH: usize = 32;

/// Where something may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The connection to xenstore.
    Store,
    /// The signals that ask the daemon to stop.
    Signals,
    /// VM processes connect here.
    Broker,
    /// A VM process has a question, or has gone; connections are numbered.
    Asker(u32),
    /// An image was opened, or not.
    Opened,
    /// The process that serves a guest has ended.
    Process(DomId),
}

/// See the head of this file.
pub(super) struct Waiter(Epoll);

impl Waiter {
    pub(super) fn new() -> io::Result<Self> {
        Epoll::new().map(Self)
    }

    /// Listens to `fd` until it is closed.
    pub(super) fn add(&self, fd: impl AsFd, source: Source) -> io::Result<()> {
        self.set(ControlOperation::Add, fd, source, EventSet::IN)
    }

    /// Whether to be told of anything about `fd`, which stays known.
    pub(super) fn listen(&self, fd: impl AsFd, source: Source, wanted: bool) -> io::Result<()> {
        let events = if wanted {
            EventSet::IN
        } else {
            EventSet::empty()
        };
        self.set(ControlOperation::Modify, fd, source, events)
    }

    /// Listens to `fd` no more, not even to its other end being closed.
    pub(super) fn remove(&self, fd: impl AsFd, source: Source) -> io::Result<()> {
        self.set(ControlOperation::Delete, fd, source, EventSet::empty())
    }

    /// Whether to be told when `fd` takes more bytes, too.
    pub(super) fn also_writable(
        &self,
        fd: impl AsFd,
        source: Source,
        wanted: bool,
    ) -> io::Result<()> {
        let more = if wanted {
            EventSet::OUT
        } else {
            EventSet::empty()
        };
        self.set(ControlOperation::Modify, fd, source, EventSet::IN | more)
    }

    fn set(
        &self,
        operation: ControlOperation,
        fd: impl AsFd,
        source: Source,
        events: EventSet,
    ) -> io::Result<()> {
        let event = EpollEvent::new(events, source.number());
        self.0.ctl(operation, fd.as_fd().as_raw_fd(), event)
    }

    /// Sleeps until something happens.
    pub(super) fn wait(&self, happened: &mut Vec<Source>) -> io::Result<()> {
        let mut events = [EpollEvent::default(); BATCH];
        let count = match self.0.wait(-1, &mut events) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            count => count?,
        };
        let sources = events.iter().take(count);
        happened.extend(sources.filter_map(|event| Source::named(event.data())));
        Ok(())
    }
}

impl Source {
    fn number(self) -> u64 {
        let (tag, of) = match self {
            Self::Store => (0, 0),
            Self::Signals => (1, 0),
            Self::Broker => (2, 0),
            Self::Asker(number) => (3, number),
            Self::Process(domid) => (4, u32::from(domid.0)),
            Self::Opened => (5, 0),
        };
        tag << 32 | u64::from(of)
    }

    fn named(number: u64) -> Option<Self> {
        let of = u32::try_from(number & u64::from(u32::MAX)).ok()?;
        match number >> 32 {
            0 => Some(Self::Store),
            1 => Some(Self::Signals),
            2 => Some(Self::Broker),
            3 => Some(Self::Asker(of)),
            4 => Some(Self::Process(DomId(of.try_into().ok()?))),
            5 => Some(Self::Opened),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_told_by_the_name_it_was_given() {
        let all = [
            Source::Store,
            Source::Signals,
            Source::Broker,
            Source::Asker(u32::MAX),
            Source::Process(DomId(7)),
            Source::Opened,
        ];
        let named = all.map(|source| Source::named(source.number()));
        assert_eq!(named, all.map(Some));
    }
}
