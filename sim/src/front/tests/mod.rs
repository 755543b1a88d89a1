//! Frontends against a naive backend on a world's host: one guest, one disk in memory.
//!
//! The backend is the simplest that serves the protocol, and breaks it on demand: what a frontend
//! is for is to notice.

use abi::DomId;
use xenstore::client::Client;
use xenstore::server::ConnId;
use xenstore::{Batch, Event, Path, Reply, Step};

use super::{Blkfront, Config, Kernel};
use crate::live::{Guest, NewDomain};
use crate::memory::Frames;
use crate::toolstack::{Disk, Domain};
use crate::world::Host;
use naive::Naive;

mod closing;
mod handshake;
mod lies;
mod load;
mod naive;
mod requests;

/// A xenstore connection whose bytes move when told to.
struct Store {
    client: Client,
    conn: ConnId,
}

impl Store {
    fn new(host: &Host, domid: DomId) -> Self {
        Self {
            client: Client::new(),
            conn: host.store(domid),
        }
    }

    /// Moves bytes both ways; true if there were any.
    fn exchange(&mut self, host: &Host) -> bool {
        let sent = self.client.outgoing().len();
        host.store_input(self.conn, self.client.outgoing());
        self.client.sent(sent);
        let received = host.store_output(self.conn);
        self.client.incoming(&received).unwrap();
        sent + received.len() > 0
    }

    /// Carries a batch out and returns the replies. Other events are dropped.
    fn run(&mut self, host: &Host, batch: Batch) -> Vec<Option<Vec<u8>>> {
        let id = self.client.submit(batch);
        while self.exchange(host) {}
        let events = std::iter::from_fn(|| self.client.next_event());
        let answered = events.filter_map(|event| match event {
            Event::Replies { batch, replies } if batch == id => Some(replies),
            _ => None,
        });
        let value = |reply: Result<Reply, _>| reply.ok()?.value().map(<[u8]>::to_vec);
        answered.flatten().map(value).collect()
    }

    fn write(&mut self, host: &Host, path: &str, value: &str) {
        let step = Step::Write(Path::new(path).unwrap(), value.into());
        self.run(host, Batch::new(vec![step]));
    }

    fn read(&mut self, host: &Host, path: &str) -> Option<String> {
        let step = Step::Read(Path::new(path).unwrap());
        let value = self.run(host, Batch::new(vec![step])).pop()??;
        String::from_utf8(value).ok()
    }
}

/// A host with one guest, one disk and the backend that serves it.
struct Town {
    host: Host,
    guest: Guest,
    frames: Frames,
    guest_store: Store,
    backend: Naive,
}

/// The guest's only disk.
const DEVID: u32 = 51712;
/// Its size.
const SECTORS: usize = 4096;

impl Town {
    fn new() -> Self {
        let host = Host::new();
        let memory_bytes = 4 << 20;
        let (name, uuid) = (
            "guest".to_owned(),
            "00000000-0000-4000-8000-000000000001".to_owned(),
        );
        let new = NewDomain {
            name: name.clone(),
            uuid: uuid.clone(),
            memory_bytes,
        };
        let domid = host.create(&new).unwrap();
        let mut dom0 = Store::new(&host, DomId::DOM0);
        let domain = Domain {
            domid,
            name,
            uuid,
            memory_kib: memory_bytes / 1024,
        };
        dom0.run(&host, domain.create().unwrap());
        let disk = Disk {
            domid,
            devid: DEVID,
            dev: "xvda".into(),
            kind: "vbd3".into(),
            params: "raw:/nowhere".into(),
            writable: true,
        };
        dom0.run(&host, disk.attach().unwrap());
        let guest = host.attach_guest(domid).unwrap();
        let backend = Naive::new(&host, domid, disk, dom0);
        let frames = Frames::new(&guest.memory, 7);
        let guest_store = Store::new(&host, domid);
        Self {
            host,
            guest,
            frames,
            guest_store,
            backend,
        }
    }

    /// What the guest's kernel lends.
    fn kernel(&mut self) -> Kernel<'_> {
        Kernel {
            memory: &self.guest.memory,
            frames: &mut self.frames,
            grants: &mut self.guest.table,
            events: &mut self.guest.events,
            store: &mut self.guest_store.client,
        }
    }

    /// Lets xenstore and the frontend talk until both are silent.
    fn settle(&mut self, mut event: impl FnMut(&mut Kernel<'_>, &Event) -> bool) {
        while self.guest_store.exchange(&self.host) {
            while let Some(next) = self.guest_store.client.next_event() {
                event(&mut self.kernel(), &next);
            }
        }
    }

    fn settle_front(&mut self, front: &mut Blkfront) {
        self.settle(|kernel, event| front.store_event(kernel, event));
    }

    /// A frontend that is connected to the backend.
    fn connected(&mut self, config: Config) -> Blkfront {
        let mut front = Blkfront::new(config);
        front.start(&mut self.kernel());
        self.settle_front(&mut front);
        self.connect(&mut front);
        front
    }

    /// The backend's half of the handshake.
    fn connect(&mut self, front: &mut Blkfront) {
        self.backend.offer(&self.host);
        self.settle_front(front);
        self.backend.attach(&self.host);
        self.settle_front(front);
    }

    /// Everything that the guest lent and has not back.
    fn lent(&self) -> usize {
        self.guest.table.lent()
    }
}

fn honest() -> Config {
    Config::new(Path::new(format!("device/vbd/{DEVID}")).unwrap())
}
