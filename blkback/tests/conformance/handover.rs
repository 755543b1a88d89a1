//! Rule 15: the lock of an image that another domain of the same VM still has.
//!
//! The device may wait for its frontend without it, and for it once the frontend is there.

use blkback::{Ask, LockBy, Mode, Refusal};

use crate::support::{ERROR, Host};

/// More rounds than a handshake with two openings takes.
const MOMENTS: usize = 32;

/// A device that waits for its frontend, and whose image is promised.
fn promised() -> Host {
    let mut host = Host::new();
    host.promise_image = true;
    host.start();
    host
}

/// The same with its frontend there: the lock is being waited for.
fn awaiting() -> Host {
    let mut host = promised();
    host.delay_image = true;
    host.connect();
    host
}

fn ask(lock_by: LockBy) -> Ask {
    Ask::OpenImage {
        params: "raw:/images/a.img".into(),
        mode: Mode::ReadWrite,
        lock_by,
    }
}

#[test]
fn a_device_whose_image_is_promised_waits_for_its_frontend() {
    let mut host = promised();
    assert_eq!(host.backend("state").as_deref(), Some("2"));
    assert_eq!(host.asks, [ask(LockBy::Connect)]);
    assert!(!host.disk.state().open);
    host.end();
}

#[test]
fn the_lock_is_asked_for_once_when_the_frontend_is_there() {
    let mut host = awaiting();
    assert_eq!(host.asks, [ask(LockBy::Connect), ask(LockBy::Now)]);
    host.set_frontend("state", "4");
    host.pump();
    assert_eq!(host.asks.len(), 2);
    host.image_opens();
    host.pump();
    host.end();
}

#[test]
fn before_the_lock_nothing_is_attached_taken_or_published() {
    let mut host = awaiting();
    let write = host.write_request(1, 16, 0xab);
    assert_eq!(host.serve(&[write]), []);
    assert_eq!(host.backend("state").as_deref(), Some("2"));
    assert_eq!(host.machine.books().mapped, 0);
    assert!(host.machine.books().ports.is_empty());
    assert_eq!(host.disk.state().seen, []);
    host.image_opens();
    host.pump();
    assert_eq!(host.backend("state").as_deref(), Some("4"));
    assert_eq!(host.guest.take().len(), 1);
    assert_eq!(host.disk.state().bytes[8192..12288], [0xab; 4096]);
    assert!(host.serves());
    host.end();
}

#[test]
fn a_disk_that_grew_in_other_hands_is_shown_as_it_is_now() {
    let mut host = awaiting();
    host.disk.state().geometry.sectors = abi::Sector(1024);
    host.image_opens();
    host.pump();
    assert_eq!(host.backend("sectors").as_deref(), Some("1024"));
    host.end();
}

#[test]
fn a_lock_that_does_not_come_closes_the_device_with_its_holder() {
    let mut host = awaiting();
    let text = "/images/a.img: image is locked by process 4711 (halcyon)".to_owned();
    host.refuse_image = Some(Refusal {
        errno: 16,
        text: text.clone(),
    });
    host.image_opens();
    host.pump();
    assert_eq!(host.backend("state").as_deref(), Some("5"));
    assert_eq!(host.read(ERROR), Some(format!("16 {text}")));
    host.end();
}

#[test]
fn a_frontend_that_leaves_while_the_lock_is_awaited_may_come_again() {
    let mut host = awaiting();
    host.frontend_closes();
    assert_eq!(host.backend("state").as_deref(), Some("6"));
    host.image_opens();
    host.pump();
    host.delay_image = false;
    host.set_frontend("state", "1");
    host.pump();
    assert_eq!(host.backend("state").as_deref(), Some("2"));
    host.connect();
    assert!(host.serves());
    host.end();
}

#[test]
fn a_guest_that_vanishes_while_the_lock_is_awaited_leaves_nothing() {
    let mut host = awaiting();
    host.with(|device, cx| device.vanished(cx));
    host.pump();
    host.image_opens();
    host.pump();
    host.is_clean();
}

#[test]
fn a_promised_device_that_is_withdrawn_at_any_moment_leaves_nothing() {
    (0..MOMENTS).for_each(|moment| {
        let mut host = Host::new();
        host.promise_image = true;
        host.with(|device, cx| device.poke(cx));
        let gref = host.guest.make_ring();
        host.offer(gref);
        host.set_frontend("state", "3");
        host.rounds(moment);
        host.end();
    });
}
