//! Every claim of [`xen::conformance`] on a world's host: everybody lives in this thread.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, Read as _};

use abi::DomId;
use libtest_mimic::Trial;
use sim::live::NewDomain;
use sim::probe::Probe;
use sim::world::{Backend, ClientId, Host};
use xen::Platform;
use xen::conformance::{BackendSide, EVENTS, Fixture, GRANTS, GuestSide, STORE};
use xenstore::client::Client;
use xenstore::server::ConnId;
use xenstore::{Batch, Event, Reply, StoreError};

/// Memory of a guest: more frames than any claim lends.
const MEMORY_BYTES: u64 = 4 << 20;

/// One trial for each claim, with a host of its own.
pub(crate) fn trials() -> Vec<Trial> {
    let claims = GRANTS.iter().chain(EVENTS).chain(STORE);
    let trials = claims.map(|claim| {
        Trial::test(format!("conformance::{}", claim.name), || {
            (claim.check)(&World(Host::new()));
            Ok(())
        })
    });
    trials.collect()
}

struct World(Host);

impl Fixture for World {
    fn guest(&self) -> Box<dyn GuestSide> {
        let new = NewDomain {
            name: "guest".into(),
            uuid: "00000000-0000-0000-0000-000000000001".into(),
            memory_bytes: MEMORY_BYTES,
        };
        let domid = self.0.create(&new).expect("creating a domain");
        Box::new(Probe::new(self.0.attach_guest(domid).expect("attaching")))
    }

    fn backend(&self, guest: &dyn GuestSide) -> Box<dyn BackendSide> {
        Box::new(WorldBackend::attach(&self.0, guest.domid()))
    }
}

/// A backend whose process is this value: dropping it is its death.
struct WorldBackend {
    host: Host,
    client: ClientId,
    platform: Platform,
    upcall: File,
    conn: ConnId,
    store: Client,
    seen: VecDeque<Event>,
}

impl WorldBackend {
    fn attach(host: &Host, domid: DomId) -> Self {
        let attached = host.attach_backend(domid).expect("attaching");
        let Backend {
            platform,
            upcall,
            client,
        } = attached;
        Self {
            host: host.clone(),
            client,
            platform,
            upcall: upcall.into(),
            conn: host.store(DomId::DOM0),
            store: Client::new(),
            seen: VecDeque::new(),
        }
    }

    /// What the connection says next. Every byte travels at once, so an answer that is owed is
    /// there.
    fn next_event(&mut self) -> Event {
        let bytes = self.store.outgoing().to_vec();
        self.host.store_input(self.conn, &bytes);
        self.store.sent(bytes.len());
        let heard = self.host.store_output(self.conn);
        self.store
            .incoming(&heard)
            .expect("the server speaks its own protocol");
        self.store.next_event().expect("an event that is due")
    }
}

impl BackendSide for WorldBackend {
    fn platform(&mut self) -> &mut Platform {
        &mut self.platform
    }

    fn read_events(&mut self) -> Vec<u8> {
        let mut counter = [0; 8];
        match self.upcall.read(&mut counter) {
            Ok(n) => counter[..n].to_vec(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Vec::new(),
            Err(error) => panic!("reading the event descriptor: {error}"),
        }
    }

    fn run(&mut self, batch: Batch) -> Vec<Result<Reply, StoreError>> {
        let wanted = self.store.submit(batch);
        loop {
            match self.next_event() {
                Event::Replies { batch, replies } if batch == wanted => return replies,
                other => self.seen.push_back(other),
            }
        }
    }

    fn next_watch(&mut self) -> Event {
        self.seen.pop_front().unwrap_or_else(|| self.next_event())
    }
}

impl Drop for WorldBackend {
    fn drop(&mut self) {
        self.host.store_close(self.conn);
        self.host.kill(self.client);
    }
}
