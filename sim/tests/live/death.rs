//! What the host does when a client dies, whatever it held: claims about real processes.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use abi::{DomId, GrantRef, Port};
use libtest_mimic::Trial;
use sim::live::{DomainInfo, Error, STORE_SOCKET};
use xen::conformance::{BackendSide, GuestSide};
use xenstore::blocking::Store;

use crate::support::backend::{LocalBackend, start_holding};
use crate::support::guest::RemoteGuest;
use crate::support::{self, LiveHost};

/// Clients of the test that looks for leaks.
const COMING_AND_GOING: usize = 200;

/// One trial for each claim, with a host of its own.
pub(crate) fn trials() -> Vec<Trial> {
    support::trials(
        "death",
        support::claims![
            a_killed_backends_grants_can_be_ended,
            a_killed_backends_ports_can_be_bound_again,
            only_the_dead_guests_watchers_hear_of_it,
            a_dead_guests_domain_is_dying_until_it_is_destroyed,
            a_destroyed_domain_stays_while_its_pages_are_mapped,
            a_domain_has_one_guest_in_its_life,
            clients_that_come_and_go_leave_nothing,
            a_store_client_that_makes_no_sense_is_dropped_alone,
            a_host_does_not_run_while_events_and_grants_are_used,
            a_second_host_in_a_directory_is_refused,
        ],
    )
}

fn info(host: &LiveHost, domid: DomId) -> Option<DomainInfo> {
    let domains = host.control().list().expect("listing");
    domains.into_iter().find(|domain| domain.domid == domid.0)
}

/// The number of a refusal.
fn errno_of(error: Option<Error>) -> Option<i32> {
    error.and_then(|error| match error {
        Error::Refused { errno, .. } => Some(errno),
        _ => None,
    })
}

fn lend_and_offer(guest: &mut RemoteGuest) -> (GrantRef, Port) {
    (
        guest.lend(DomId::DOM0, false),
        guest.offer_port(DomId::DOM0),
    )
}

fn a_killed_backends_grants_can_be_ended(host: &LiveHost) {
    let mut guest = RemoteGuest::start(host);
    let (gref, port) = lend_and_offer(&mut guest);
    let mut backend = start_holding(host, guest.domid(), gref, port);
    assert!(!guest.end(gref));
    backend.kill();
    let after = info(host, guest.domid()).expect("the domain is there");
    assert_eq!((after.mapped, after.backends), (0, 0));
    assert!(guest.end(gref));
}

fn a_killed_backends_ports_can_be_bound_again(host: &LiveHost) {
    let mut guest = RemoteGuest::start(host);
    let (gref, port) = lend_and_offer(&mut guest);
    let mut backend = start_holding(host, guest.domid(), gref, port);
    assert!(!guest.is_unbound(port));
    backend.kill();
    assert!(guest.is_unbound(port));
    let _successor = start_holding(host, guest.domid(), gref, port);
    assert!(!guest.is_unbound(port));
}

fn only_the_dead_guests_watchers_hear_of_it(host: &LiveHost) {
    let (first, second) = (RemoteGuest::start(host), RemoteGuest::start(host));
    let watch = |guest: &RemoteGuest| {
        let mut backend = LocalBackend::attach(host.dir(), guest.domid());
        let path = format!("@releaseDomain/{}", guest.domid());
        backend.store().watch(&path, "released").expect("watching");
        backend
            .store()
            .next_watch()
            .expect("the event that every watch begins with");
        backend
    };
    let (mut of_first, mut of_second) = (watch(&first), watch(&second));
    first.kill();
    let (path, _) = of_first.store().next_watch().expect("an event");
    assert_eq!(path.as_str(), format!("@releaseDomain/{}", first.domid()));
    // What the second one hears first is about its own guest.
    second.kill();
    let (path, _) = of_second.store().next_watch().expect("an event");
    assert_eq!(path.as_str(), format!("@releaseDomain/{}", second.domid()));
}

fn a_dead_guests_domain_is_dying_until_it_is_destroyed(host: &LiveHost) {
    let guest = RemoteGuest::start(host);
    assert!(
        !info(host, guest.domid())
            .expect("the domain is there")
            .dying
    );
    guest.kill();
    assert!(
        info(host, guest.domid())
            .expect("the domain is still there")
            .dying
    );
    host.control().destroy(guest.domid()).expect("destroying");
    assert_eq!(info(host, guest.domid()), None);
}

fn a_destroyed_domain_stays_while_its_pages_are_mapped(host: &LiveHost) {
    let mut guest = RemoteGuest::start(host);
    let (gref, port) = lend_and_offer(&mut guest);
    let mut backend = start_holding(host, guest.domid(), gref, port);
    host.control().destroy(guest.domid()).expect("destroying");
    let zombie = info(host, guest.domid()).expect("the domain is still there");
    assert_eq!((zombie.mapped, zombie.dying), (1, true));
    backend.kill();
    assert_eq!(info(host, guest.domid()), None);
}

fn a_domain_has_one_guest_in_its_life(host: &LiveHost) {
    let guest = RemoteGuest::start(host);
    let second = sim::live::Guest::attach(host.dir(), guest.domid());
    assert_eq!(errno_of(second.err()), Some(libc::EBUSY));
    guest.kill();
    let successor = sim::live::Guest::attach(host.dir(), guest.domid());
    assert_eq!(errno_of(successor.err()), Some(libc::ESRCH));
}

fn clients_that_come_and_go_leave_nothing(host: &LiveHost) {
    let mut guest = RemoteGuest::start(host);
    let come_and_go = |guest: &mut RemoteGuest| {
        let mut backend = LocalBackend::attach(host.dir(), guest.domid());
        let port = guest.offer_port(DomId::DOM0);
        let events = &mut backend.platform().events;
        events
            .bind_interdomain(guest.domid(), port)
            .expect("binding");
        let domid = host.create();
        drop(sim::live::Guest::attach(host.dir(), domid).expect("attaching"));
        host.control().destroy(domid).expect("destroying");
    };
    come_and_go(&mut guest);
    let before = settled_open_files(host);
    (0..COMING_AND_GOING).for_each(|_| come_and_go(&mut guest));
    assert_eq!(settled_open_files(host), before);
    let after = info(host, guest.domid()).expect("the domain is there");
    assert_eq!((after.backends, after.ports), (0, COMING_AND_GOING + 1));
}

/// Counted while a connection is open that has been answered: everything before has been served.
fn settled_open_files(host: &LiveHost) -> usize {
    let control = host.control();
    control.list().expect("listing");
    host.open_files()
}

fn a_store_client_that_makes_no_sense_is_dropped_alone(host: &LiveHost) {
    let mut guest = RemoteGuest::start(host);
    let mut backend = LocalBackend::attach(host.dir(), guest.domid());
    let mut store = UnixStream::connect(host.dir().join(STORE_SOCKET)).expect("connecting");
    store.write_all(&[0xff; 64]).expect("writing");
    assert_eq!(store.read(&mut [0; 64]).expect("an end"), 0);
    let (gref, _) = lend_and_offer(&mut guest);
    let grants = &mut backend.platform().grants;
    assert!(
        grants
            .map(guest.domid(), &[gref], xen::Access::ReadWrite)
            .is_ok()
    );
}

fn a_host_does_not_run_while_events_and_grants_are_used(host: &LiveHost) {
    let mut guest = RemoteGuest::start(host);
    let mut backend = LocalBackend::attach(host.dir(), guest.domid());
    let port = guest.offer_port(DomId::DOM0);
    let events = &mut backend.platform().events;
    let ours = events
        .bind_interdomain(guest.domid(), port)
        .expect("binding");
    guest.notify(port);
    let before = switches(host);
    // Data passes it by: a hundred events, and the host has not run once.
    (0..100).for_each(|_| {
        guest.notify(port);
        backend.platform().events.notify(ours).expect("notifying");
    });
    assert_eq!(switches(host), before);
}

/// The context switches of the host's only thread, once it sleeps. It has answered, so all that
/// it may still have to do is to go to sleep.
fn switches(host: &LiveHost) -> Vec<String> {
    loop {
        let status = host.status();
        if status.contains("State:\tS") {
            assert!(status.contains("Threads:\t1\n"));
            let lines = status.lines().filter(|line| line.contains("ctxt_switches"));
            return lines.map(str::to_owned).collect();
        }
        std::thread::yield_now();
    }
}

fn a_second_host_in_a_directory_is_refused(host: &LiveHost) {
    let second = sim::live::host::Host::bind(host.dir(), |_| {});
    assert_eq!(
        second.expect_err("occupied").kind(),
        std::io::ErrorKind::AddrInUse
    );
    let mut store = Store::connect(&host.dir().join(STORE_SOCKET)).expect("connecting");
    assert!(store.list("/").expect("listing").is_some());
}
