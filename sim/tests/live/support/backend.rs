//! A backend: in the test's own process, or in one of its own that can be killed.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::path::Path;

use abi::{DomId, GrantRef, Port};
use serde::{Deserialize, Serialize};
use sim::live;
use xen::conformance::BackendSide;
use xen::{Access, Mapped, Platform};
use xenstore::blocking::Store;
use xenstore::{Batch, Event, Reply, StoreError};

use super::{LiveHost, Part, serve_lines};

/// A backend in this process.
pub(crate) struct LocalBackend {
    platform: Platform,
    events: File,
    store: Store,
    seen: VecDeque<Event>,
}

impl LocalBackend {
    /// Attaches for `domid`.
    pub(crate) fn attach(dir: &Path, domid: DomId) -> Self {
        let (platform, descriptors) = live::backend(dir, domid).expect("attaching");
        let store = UnixStream::from(descriptors.store);
        store.set_nonblocking(false).expect("a socket");
        Self {
            platform,
            events: File::from(descriptors.events),
            store: Store::over(store),
            seen: VecDeque::new(),
        }
    }

    /// The store connection.
    pub(crate) fn store(&mut self) -> &mut Store {
        &mut self.store
    }
}

impl BackendSide for LocalBackend {
    fn platform(&mut self) -> &mut Platform {
        &mut self.platform
    }

    fn read_events(&mut self) -> Vec<u8> {
        let mut counter = [0; 8];
        match self.events.read(&mut counter) {
            Ok(n) => counter[..n].to_vec(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Vec::new(),
            Err(error) => panic!("reading the event descriptor: {error}"),
        }
    }

    fn run(&mut self, batch: Batch) -> Vec<Result<Reply, StoreError>> {
        self.store.run(batch).expect("the store is there")
    }

    fn next_watch(&mut self) -> Event {
        self.seen.pop_front().unwrap_or_else(|| {
            let (path, token) = self.store.next_watch().expect("the store is there");
            Event::Watch { path, token }
        })
    }
}

/// What a backend in a process of its own does: maps a grant, binds to a port, and stays.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Hold {
    gref: u32,
    port: u32,
}

/// Plays the part.
pub(crate) fn serve(dir: &Path, domid: DomId) {
    let (mut platform, _descriptors) = live::backend(dir, domid).expect("attaching");
    let mut held: Vec<Box<dyn Mapped>> = Vec::new();
    serve_lines(|Hold { gref, port }| {
        let mapped = platform
            .grants
            .map(domid, &[GrantRef(gref)], Access::ReadWrite);
        held.push(mapped.expect("mapping"));
        platform
            .events
            .bind_interdomain(domid, Port(port))
            .expect("binding")
            .0
    });
}

/// Starts a backend process for `domid` that holds a mapping of `gref` and a binding to `port`.
pub(crate) fn start_holding(host: &LiveHost, domid: DomId, gref: GrantRef, port: Port) -> Part {
    let mut part = Part::start("backend", host.dir(), &[domid.to_string()]);
    let _: u32 = part.ask(&Hold {
        gref: gref.0,
        port: port.0,
    });
    part
}
