//! The toolstack writes while the device does: what it withdraws, removes or replaces at any moment
//! is seen, and nothing of ours comes back afterwards.

use crate::support::log::lines_of;
use crate::support::{BACKEND, Host};

/// More rounds than any handshake takes: so every moment of it is met.
const MOMENTS: usize = 24;

/// A device whose frontend has just offered its ring, stopped after so many rounds.
fn connecting(moment: usize) -> Host {
    let mut host = Host::new();
    host.with(|device, cx| device.poke(cx));
    let gref = host.guest.make_ring();
    host.offer(gref);
    host.set_frontend("state", "3");
    host.rounds(moment);
    host
}

fn at_every_moment(check: impl Fn(Host)) {
    (0..MOMENTS).map(connecting).for_each(check);
}

/// The same, once the device knows what it is made of.
fn at_every_later_moment(check: impl Fn(Host)) {
    (1..MOMENTS).map(connecting).for_each(check);
}

#[test]
fn a_directory_that_is_removed_at_any_moment_does_not_come_back() {
    at_every_moment(|mut host| {
        host.remove(BACKEND);
        host.pump();
        assert_eq!(host.list(BACKEND), Vec::<String>::new());
        host.is_clean();
    });
}

#[test]
fn a_withdrawal_at_any_moment_is_not_overwritten() {
    at_every_moment(|mut host| {
        host.withdraw();
        assert_eq!(host.backend("state").as_deref(), Some("5"));
        host.frontend_closes();
        assert_eq!(host.backend("state").as_deref(), Some("6"));
        host.is_clean();
    });
}

#[test]
fn a_directory_that_is_replaced_at_any_moment_is_left_to_the_next_device() {
    at_every_later_moment(|mut host| {
        host.remove(BACKEND);
        host.describe();
        host.set_backend("params", "raw:/images/b.img");
        host.pump();
        assert_eq!(host.backend("state").as_deref(), Some("1"));
        assert!(host.device.was_removed());
        host.is_clean();
    });
}

#[test]
fn a_device_whose_params_are_rewritten_while_it_serves_goes_on_and_closes() {
    let mut host = Host::connected();
    host.set_backend("params", "raw:/images/b.img");
    host.pump();
    assert!(host.serves());
    host.end();
}

/// A device with one write in a disk that does not let go of it.
fn stuck() -> Host {
    let mut host = Host::connected();
    host.disk.state().hold = true;
    let write = host.write_request(1, 0, 0xab);
    assert_eq!(host.serve(&[write]), []);
    host
}

#[test]
fn a_directory_that_is_replaced_while_the_disk_hangs_is_left_to_the_next_device() {
    let mut host = stuck();
    host.remove(BACKEND);
    host.pump();
    assert_eq!(host.machine.books().mapped, 0);
    host.describe();
    host.pump();
    assert!(!host.device.is_finished());
    host.land_all();
    assert_eq!(host.backend("state").as_deref(), Some("1"));
    host.is_clean();
}

#[test]
fn a_device_withdrawn_mid_write_says_once_how_many_requests_are_in_the_disk() {
    let mut host = stuck();
    let said = lines_of(|| {
        host.withdraw();
        host.set_frontend("state", "5");
        host.pump();
    });
    assert_eq!(said, ["closing: 1 requests still in the disk"]);
    host.land_all();
    host.frontend_closes();
    host.is_clean();
}

#[test]
fn a_frontend_that_closes_mid_write_is_reported_once() {
    let mut host = stuck();
    let said = lines_of(|| host.frontend_closes());
    assert_eq!(said, ["closing: 1 requests still in the disk"]);
    host.land_all();
    host.end();
}
