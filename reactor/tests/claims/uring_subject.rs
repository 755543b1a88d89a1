//! The live reactor on files of a temporary directory, files in memory, and socket pairs.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use reactor::conformance::Subject;
use reactor::live::{Config, Uring};
use reactor::{Nanos, Reactor, Slot};

use crate::scratch::scratch;

pub(crate) struct Live {
    uring: Uring,
    add_image: fn(&mut Uring) -> Slot,
    peers: BTreeMap<u32, UnixStream>,
}

impl Live {
    pub(crate) fn direct() -> Self {
        Self::new(Config::default(), |uring| {
            uring
                .add_image(scratch(&std::env::temp_dir(), libc::O_DIRECT).into())
                .unwrap()
        })
    }

    pub(crate) fn cached() -> Self {
        Self::new(Config::default(), |uring| {
            uring
                .add_cached_image(scratch(&std::env::temp_dir(), 0).into())
                .unwrap()
        })
    }

    pub(crate) fn memory() -> Self {
        Self::new(Config::default(), |uring| {
            uring
                .add_image(scratch(Path::new("/dev/shm"), 0).into())
                .unwrap()
        })
    }

    pub(crate) fn tiny() -> Self {
        let config = Config {
            entries: 1,
            completions: 16,
            files: 4,
        };
        Self {
            uring: Uring::new(config).unwrap(),
            ..Self::direct()
        }
    }

    fn new(config: Config, add_image: fn(&mut Uring) -> Slot) -> Self {
        let uring = Uring::new(config).unwrap();
        Self {
            uring,
            add_image,
            peers: BTreeMap::new(),
        }
    }
}

impl Subject for Live {
    fn reactor(&mut self) -> &mut dyn Reactor {
        &mut self.uring
    }

    fn image(&mut self) -> Slot {
        (self.add_image)(&mut self.uring)
    }

    fn stream(&mut self) -> Slot {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let slot = self.uring.add_stream(OwnedFd::from(ours)).unwrap();
        self.peers.insert(slot.0, theirs);
        slot
    }

    fn arrive(&mut self, stream: Slot, bytes: &[u8]) {
        (&self.peers[&stream.0]).write_all(bytes).unwrap();
    }

    fn sent(&mut self, stream: Slot, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        (&self.peers[&stream.0]).read_exact(&mut bytes).unwrap();
        bytes
    }

    fn depart(&mut self, stream: Slot) {
        self.peers.remove(&stream.0);
    }

    fn proceed(&mut self) {}

    fn pass(&mut self, _nanos: Nanos) {}
}
