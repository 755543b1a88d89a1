//! Claims about the host process that need a look behind its interface.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

use abi::event_channel::fifo::PRIORITY_DEFAULT;
use abi::{DomId, Port};
use evtchn::EventChannels;
use vm_memory::{VolatileMemory, VolatileSlice};

use super::client::{Connection, Control};
use super::host::Host;
use super::wire::{Reply, Request, encode};
use super::{Guest, HOST_SOCKET, NewDomain, layout};
use crate::memory::Region;
use crate::sys::socket;

/// A host in a thread.
struct LocalHost {
    dir: PathBuf,
    thread: Option<JoinHandle<()>>,
}

impl LocalHost {
    fn start() -> Self {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let dir =
            std::env::temp_dir().join(format!("halcyon-host-{}-{number}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let mut host = Host::bind(&dir, |_| {}).unwrap();
        let thread = Some(std::thread::spawn(move || host.run().unwrap()));
        Self { dir, thread }
    }

    fn control(&self) -> Control {
        Control::connect(&self.dir).unwrap()
    }

    fn guest(&self) -> Guest {
        let (name, uuid) = ("test".to_owned(), "test".to_owned());
        let domain = NewDomain {
            name,
            uuid,
            memory_bytes: 1 << 24,
        };
        let domid = self.control().create(&domain).unwrap();
        Guest::attach(&self.dir, domid).unwrap()
    }
}

impl Drop for LocalHost {
    fn drop(&mut self) {
        self.control().stop().unwrap();
        self.thread.take().unwrap().join().unwrap();
        std::fs::remove_dir(&self.dir).unwrap();
    }
}

/// Sends one packet, and returns the length of the answer: 0 where the connection was ended.
fn answer_to(dir: &Path, packet: &[u8]) -> usize {
    let socket = socket::connect(&dir.join(HOST_SOCKET)).unwrap();
    socket::send(socket.as_fd(), packet, &[], false).unwrap();
    socket::receive(socket.as_fd(), &mut [0; 4096]).unwrap().0
}

#[test]
fn a_client_that_makes_no_sense_is_dropped_alone() {
    let host = LocalHost::start();
    let bystander = host.control();
    let too_long = vec![b' '; 100_000];
    let lengths = [&b"\xff{]"[..], b"{\"Close\":{}}", b"[]", &too_long]
        .map(|packet| answer_to(&host.dir, packet));
    assert_eq!(lengths, [0; 4]);
    assert_eq!(bystander.list().unwrap(), []);
}

#[test]
fn calls_of_the_wrong_kind_of_client_are_refused() {
    let host = LocalHost::start();
    let connection = Connection::open(&host.dir).unwrap();
    let calls = [
        Request::AllocUnbound { remote: 1 },
        Request::BindInterdomain {
            remote: 1,
            remote_port: 1,
        },
        Request::Close { port: 1 },
        Request::Peer { port: 1 },
        Request::Status { port: 1 },
        Request::Map {
            domid: 1,
            grefs: vec![8],
            writable: true,
        },
        Request::Map {
            domid: 1,
            grefs: Vec::new(),
            writable: true,
        },
        Request::Unmap { handle: 1 },
        Request::Destroy { domid: 9 },
        Request::AttachGuest { domid: 9 },
        Request::AttachBackend { domid: 0 },
    ];
    assert!(calls.into_iter().all(|call| connection.call(call).is_err()));
    assert!(host.control().list().unwrap().is_empty());
}

/// A backend seen from below: its connection, its event array's number, and what it shares.
struct RawBackend {
    connection: Connection,
    array: u32,
    fds: Vec<OwnedFd>,
}

fn raw_backend(host: &LocalHost, domid: DomId) -> RawBackend {
    let connection = Connection::open(&host.dir).unwrap();
    let (reply, fds) = connection
        .call(Request::AttachBackend { domid: domid.0 })
        .unwrap();
    let Reply::Attached { array } = reply else {
        panic!("{reply:?}")
    };
    RawBackend {
        connection,
        array,
        fds,
    }
}

/// The word of `queues` that is the lock of the queue that new ports are in, as `evtchn` lays its
/// private memory out: 16 words for the whole, then 16 for each queue, the lock first.
fn lock_of<'a>(queues: &'a VolatileSlice<'_>) -> &'a AtomicU32 {
    let at = layout::EVENTS + layout::PRIVATE + 4 * (16 + 16 * PRIORITY_DEFAULT as usize);
    queues.get_atomic_ref(at).unwrap()
}

#[test]
fn a_client_that_dies_holding_a_peers_queue_has_it_released() {
    let host = LocalHost::start();
    let mut guest = host.guest();
    let port = guest.events.bind_unbound(DomId::DOM0).unwrap();
    let RawBackend {
        connection,
        array,
        fds,
    } = raw_backend(&host, guest.domid);
    let bind = Request::BindInterdomain {
        remote: guest.domid.0,
        remote_port: port.0,
    };
    let (_, mut peer) = connection.call(bind).unwrap();
    let queues = Region::from_fd(peer.swap_remove(0)).unwrap().map().unwrap();
    lock_of(&queues.slice()).store(array, Ordering::SeqCst);
    drop((connection, fds));
    // The list is answered after the end of the connection was noticed.
    assert_eq!(host.control().list().unwrap()[0].backends, 0);
    assert_eq!(lock_of(&queues.slice()).load(Ordering::SeqCst), 0);
}

#[test]
fn a_guest_has_as_many_ports_as_libxl_gives_it() {
    let host = LocalHost::start();
    let mut guest = host.guest();
    let ports: Vec<Port> =
        std::iter::from_fn(|| guest.events.bind_unbound(DomId::DOM0).ok()).collect();
    assert_eq!(ports.len(), 1023);
    guest.events.unbind(ports[500]).unwrap();
    assert_eq!(guest.events.bind_unbound(DomId::DOM0).unwrap(), ports[500]);
}

#[test]
fn messages_of_any_domain_list_fit() {
    let info = super::DomainInfo {
        domid: u16::MAX,
        name: "\u{1}".repeat(super::wire::NAME_MAX),
        uuid: "\u{1}".repeat(super::wire::NAME_MAX),
        memory_bytes: u64::MAX,
        guest_pid: Some(u32::MAX),
        backends: usize::MAX,
        mapped: usize::MAX,
        ports: usize::MAX,
        dying: false,
    };
    let list = Reply::Domains(vec![info; super::wire::LIST_MAX]);
    assert!(encode(&list).len() <= super::wire::MESSAGE_MAX);
}
