//! Claims about attaching and detaching disks as a toolstack does, with a backend that only shakes
//! hands.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use abi::DomId;
use libtest_mimic::Trial;
use sim::live::{Guest, STORE_SOCKET};
use sim::toolstack::{Disk, Domain, Error, plug, unplug, wait};
use xenstore::StoreError;
use xenstore::blocking::{self, Store};

use crate::support::{self, LiveHost};

/// Longer than any backend of these tests takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Not long: for backends that never answer.
const IMPATIENCE: Duration = Duration::from_millis(1);

/// One trial for each claim, with a host of its own.
pub(crate) fn trials() -> Vec<Trial> {
    support::trials(
        "toolstack",
        support::claims![
            a_disk_is_plugged_when_its_backend_waits,
            a_refused_disk_leaves_no_nodes_and_says_why,
            a_silent_backend_is_given_up,
            an_unplugged_disk_leaves_no_nodes,
            a_backend_that_does_not_let_go_keeps_its_nodes,
            a_guest_writes_its_frontend_and_reads_its_backend,
            a_removed_domain_leaves_no_nodes,
        ],
    )
}

struct Scene {
    store: Store,
    domain: Domain,
    disk: Disk,
}

fn connect(host: &LiveHost) -> Store {
    Store::connect(&host.dir().join(STORE_SOCKET)).expect("connecting")
}

/// A domain in xenstore, and a disk that is not there yet.
fn scene(host: &LiveHost) -> Scene {
    let mut store = connect(host);
    let domid = host.create();
    let (name, uuid) = (
        "web".to_owned(),
        "0c1e5f2a-4d3b-4c6e-9a77-8a3b1c2d3e4f".to_owned(),
    );
    let domain = Domain {
        domid,
        name,
        uuid,
        memory_kib: 16384,
    };
    wait::run(&mut store, domain.create().expect("plain names")).expect("creating");
    let (dev, kind, params) = ("xvda".into(), "vbd3".into(), "raw:/srv/a.img".into());
    let disk = Disk {
        domid,
        devid: 51712,
        dev,
        kind,
        params,
        writable: true,
    };
    Scene {
        store,
        domain,
        disk,
    }
}

/// A backend that waits until a node of the disk has a value, and then writes another one.
fn backend(host: &LiveHost, disk: &Disk, when: (&str, &str), then: (&str, &str)) {
    let mut store = connect(host);
    let path = |name: &str| format!("{}/{name}", disk.backend());
    let (seen, wanted) = (path(when.0), when.1.as_bytes().to_vec());
    let (written, value) = (path(then.0), then.1.to_owned());
    store.watch(&seen, "backend").expect("watching");
    std::thread::spawn(move || {
        while store.read(&seen).expect("reading") != Some(wanted.clone()) {
            store.next_watch().expect("an event");
        }
        store.write(&written, &value).expect("writing");
    });
}

fn a_disk_is_plugged_when_its_backend_waits(host: &LiveHost) {
    let mut scene = scene(host);
    backend(host, &scene.disk, ("state", "1"), ("state", "2"));
    plug(&mut scene.store, &scene.disk, PATIENCE).expect("plugging");
    let status = scene
        .store
        .read(&format!("{}/hotplug-status", scene.disk.backend()));
    assert_eq!(status.expect("reading"), Some(b"connected".to_vec()));
}

fn a_refused_disk_leaves_no_nodes_and_says_why(host: &LiveHost) {
    let mut scene = scene(host);
    backend(
        host,
        &scene.disk,
        ("state", "1"),
        ("hotplug-error", "no such image"),
    );
    let error = plug(&mut scene.store, &scene.disk, PATIENCE).expect_err("refused");
    assert_eq!(
        error.to_string(),
        "backend refused the device: no such image"
    );
    assert_eq!(nodes_of(&mut scene), [None, None]);
}

fn a_silent_backend_is_given_up(host: &LiveHost) {
    let mut scene = scene(host);
    let error = plug(&mut scene.store, &scene.disk, IMPATIENCE).expect_err("nobody is there");
    assert!(matches!(error, Error::Silent { .. }), "{error}");
    assert_eq!(nodes_of(&mut scene), [None, None]);
}

fn an_unplugged_disk_leaves_no_nodes(host: &LiveHost) {
    let mut scene = scene(host);
    backend(host, &scene.disk, ("state", "1"), ("state", "4"));
    plug(&mut scene.store, &scene.disk, PATIENCE).expect("plugging");
    backend(host, &scene.disk, ("state", "5"), ("state", "6"));
    unplug(&mut scene.store, &scene.disk, PATIENCE).expect("unplugging");
    assert_eq!(nodes_of(&mut scene), [None, None]);
}

fn a_backend_that_does_not_let_go_keeps_its_nodes(host: &LiveHost) {
    let mut scene = scene(host);
    backend(host, &scene.disk, ("state", "1"), ("state", "4"));
    plug(&mut scene.store, &scene.disk, PATIENCE).expect("plugging");
    let error = unplug(&mut scene.store, &scene.disk, IMPATIENCE).expect_err("still busy");
    assert!(matches!(error, Error::Silent { .. }), "{error}");
    let online = scene
        .store
        .read(&format!("{}/online", scene.disk.backend()));
    assert_eq!(online.expect("reading"), Some(b"0".to_vec()));
}

/// The states of frontend and backend.
fn nodes_of(scene: &mut Scene) -> [Option<Vec<u8>>; 2] {
    let paths = [scene.disk.frontend(), scene.disk.backend()];
    paths.map(|path| scene.store.read(&format!("{path}/state")).expect("reading"))
}

fn guests_store(host: &LiveHost, domid: DomId) -> (Guest, Store) {
    let guest = Guest::attach(host.dir(), domid).expect("attaching");
    let stream = UnixStream::from(guest.store.try_clone().expect("a descriptor"));
    stream.set_nonblocking(false).expect("a socket");
    (guest, Store::over(stream))
}

fn a_guest_writes_its_frontend_and_reads_its_backend(host: &LiveHost) {
    let mut scene = scene(host);
    wait::run(&mut scene.store, scene.disk.attach().expect("plain names")).expect("attaching");
    let (_guest, mut store) = guests_store(host, scene.domain.domid);
    let backend = store
        .read("device/vbd/51712/backend")
        .expect("reading")
        .expect("a node");
    assert_eq!(backend, scene.disk.backend().into_bytes());
    store
        .write("device/vbd/51712/state", "3")
        .expect("an own node");
    let state = format!("{}/state", scene.disk.backend());
    assert_eq!(store.read(&state).expect("reading"), Some(b"1".to_vec()));
    let denied = store.write(&state, "6").expect_err("not its own");
    assert!(
        matches!(denied, blocking::Error::Refused(StoreError::Denied)),
        "{denied}"
    );
}

fn a_removed_domain_leaves_no_nodes(host: &LiveHost) {
    let mut scene = scene(host);
    wait::run(&mut scene.store, scene.disk.attach().expect("plain names")).expect("attaching");
    wait::clear(
        &mut scene.store,
        scene.domain.remove(false).expect("plain names"),
    )
    .expect("removing");
    let left = ["/vm", "/libxl", "/local/domain/0/backend/vbd3"]
        .map(|path| scene.store.list(path).expect("listing").unwrap_or_default());
    assert_eq!(left, [(); 3].map(|()| Vec::<String>::new()));
    assert_eq!(
        scene.store.read(&scene.domain.home()).expect("reading"),
        None
    );
}
