//! The handshake: what is published when, and what the operator is told.

use abi::io::blkif::Status;
use blkback::{Ask, LockBy, Mode, Refusal};

use crate::support::{BACKEND, ERROR, FRONTEND, Host};

#[test]
fn the_image_is_asked_for_before_init_wait() {
    let mut host = Host::new();
    host.delay_image = true;
    host.start();
    let params = "raw:/images/a.img".to_owned();
    assert_eq!(
        host.asks,
        [Ask::OpenImage {
            params,
            mode: Mode::ReadWrite,
            lock_by: LockBy::Connect,
        }]
    );
    assert_eq!(host.backend("state").as_deref(), Some("1"));
    host.image_opens();
    host.pump();
    assert_eq!(host.backend("state").as_deref(), Some("2"));
    host.end();
}

/// Steps a device that was just found until it waits for others.
fn rests(host: &mut Host) {
    host.with(|device, cx| device.poke(cx));
    while !host.device.is_at_rest() {
        host.rounds(1);
    }
}

#[test]
fn a_new_device_is_at_rest_once_it_has_published_init_wait() {
    let mut host = Host::new();
    rests(&mut host);
    assert_eq!(host.backend("state").as_deref(), Some("2"));
    host.end();
}

#[test]
fn a_device_whose_image_is_being_opened_is_not_at_rest() {
    let mut host = Host::new();
    host.delay_image = true;
    host.start();
    assert!(!host.device.is_at_rest());
    host.image_opens();
    host.pump();
    assert!(host.device.is_at_rest());
    host.end();
}

#[test]
fn a_refused_device_is_at_rest_once_it_has_said_why() {
    let mut host = Host::new();
    host.refuse_image = Some(Refusal {
        errno: Refusal::EIO,
        text: "no".into(),
    });
    rests(&mut host);
    assert_eq!(host.backend("hotplug-error").as_deref(), Some("no"));
    host.end();
}

#[test]
fn a_device_that_the_store_says_nothing_of_comes_to_rest() {
    let mut host = Host::new();
    host.store_fails = usize::MAX;
    rests(&mut host);
    assert!(!host.device.is_introduced());
    host.store_fails = 0;
    host.start();
    host.end();
}

#[test]
fn features_are_published_with_init_wait() {
    let mut host = Host::waiting();
    assert_eq!(host.backend("feature-flush-cache").as_deref(), Some("1"));
    assert_eq!(host.backend("hotplug-status").as_deref(), Some("connected"));
    assert_eq!(host.backend("sectors"), None);
    host.end();
}

#[test]
fn a_disk_without_flush_does_not_advertise_it() {
    let mut host = Host::new();
    host.disk.state().geometry.flush = false;
    host.start();
    assert_eq!(host.backend("feature-flush-cache").as_deref(), Some("0"));
    host.end();
}

#[test]
fn properties_are_published_with_connected() {
    let mut host = Host::connected();
    let keys = [
        "state",
        "sectors",
        "sector-size",
        "physical-sector-size",
        "info",
    ];
    let found = keys.map(|key| host.backend(key).unwrap_or_default());
    assert_eq!(found, ["4", "2048", "512", "4096", "0"]);
    host.end();
}

#[test]
fn info_says_read_only_removable_and_cdrom() {
    let mut host = Host::new();
    host.set_backend("mode", "r");
    host.set_backend("removable", "1");
    host.set_backend("device-type", "cdrom");
    host.start();
    host.connect();
    assert_eq!(host.backend("info").as_deref(), Some("7"));
    host.end();
}

#[test]
fn a_frontend_that_skips_initialised_is_connected() {
    let mut host = Host::waiting();
    let gref = host.guest.make_ring();
    host.offer(gref);
    host.set_frontend("state", "4");
    host.pump();
    assert_eq!(host.backend("state").as_deref(), Some("4"));
    assert!(host.serves());
    host.end();
}

#[test]
fn a_frontend_that_was_there_first_is_connected() {
    let mut host = Host::new();
    let gref = host.guest.make_ring();
    host.offer(gref);
    host.set_frontend("state", "3");
    host.start();
    assert_eq!(host.backend("state").as_deref(), Some("4"));
    assert!(host.serves());
    host.end();
}

#[test]
fn requests_put_before_the_bind_are_served() {
    let mut host = Host::waiting();
    let gref = host.guest.make_ring();
    let (request, _) = host.read_request(1, 0);
    host.guest.put(&request);
    host.guest.publish(&host.machine);
    host.offer(gref);
    host.set_frontend("state", "3");
    host.pump();
    assert_eq!(host.guest.take()[0].status, Status::OKAY);
    host.end();
}

/// Rule 13: what events say is never trusted, and many cost no more than one.
#[test]
fn a_thousand_pokes_cost_one_look() {
    let mut host = Host::connected();
    let before = host.batches;
    (0..1000).for_each(|_| host.with(|device, cx| device.poke(cx)));
    host.pump();
    assert!(
        host.batches - before <= 2,
        "{} batches",
        host.batches - before
    );
    host.end();
}

#[test]
fn an_image_that_does_not_open_is_reported_where_xl_looks() {
    let mut host = Host::new();
    let text = "opening /images/a.img: no such file".to_owned();
    host.refuse_image = Some(Refusal {
        errno: Refusal::ENOENT,
        text,
    });
    host.start();
    assert_eq!(host.backend("state").as_deref(), Some("5"));
    assert_eq!(host.backend("hotplug-status").as_deref(), Some("error"));
    let text = "opening /images/a.img: no such file";
    assert_eq!(host.backend("hotplug-error").as_deref(), Some(text));
    assert_eq!(host.read(ERROR), Some(format!("2 {text}")));
    host.withdraw();
    assert_eq!(host.backend("state").as_deref(), Some("6"));
    assert_eq!(host.read(ERROR), None);
    host.is_clean();
}

#[test]
fn a_refused_device_is_not_tried_again_by_itself() {
    let mut host = Host::new();
    host.refuse_image = Some(Refusal {
        errno: Refusal::EIO,
        text: "no".into(),
    });
    host.start();
    (0..10).for_each(|_| host.with(|device, cx| device.poke(cx)));
    host.pump();
    assert_eq!(host.asks.len(), 1);
    host.end();
}

#[test]
fn a_frontend_that_starts_over_gets_another_attempt_at_the_image() {
    let mut host = Host::new();
    host.refuse_image = Some(Refusal {
        errno: Refusal::EIO,
        text: "no".into(),
    });
    host.start();
    host.frontend_closes();
    host.refuse_image = None;
    host.set_frontend("state", "1");
    host.pump();
    assert_eq!(host.backend("state").as_deref(), Some("2"));
    assert_eq!(host.backend("hotplug-error"), None);
    assert_eq!(host.read(ERROR), None);
    host.end();
}

#[test]
fn the_process_is_named_beside_connected_where_it_is_to_be() {
    let mut host = Host::waiting();
    host.device.served_by(4711);
    assert_eq!(host.backend("kthread-pid"), None);
    host.connect();
    assert_eq!(host.backend("kthread-pid").as_deref(), Some("4711"));
    host.end();
    let mut host = Host::connected();
    assert_eq!(host.backend("kthread-pid"), None);
    host.end();
}

#[test]
fn a_device_withdrawn_while_its_image_opens_closes_the_image() {
    let mut host = Host::new();
    host.delay_image = true;
    host.start();
    host.withdraw();
    assert_eq!(host.backend("state").as_deref(), Some("6"));
    host.image_opens();
    host.pump();
    host.is_clean();
}

#[test]
fn a_device_withdrawn_before_any_frontend_came_is_closed_at_once() {
    let mut host = Host::waiting();
    host.withdraw();
    assert_eq!(host.backend("state").as_deref(), Some("6"));
    host.is_clean();
}

#[test]
fn a_device_whose_process_died_is_left_to_wait_and_reported() {
    let mut host = Host::new();
    host.set_backend("state", "4");
    host.set_frontend("state", "4");
    host.start();
    assert_eq!(host.backend("state").as_deref(), Some("4"));
    let text = "the process that served this device is gone";
    assert_eq!(host.backend("hotplug-error").as_deref(), Some(text));
    assert!(host.asks.is_empty());
    host.end();
}

/// Rule 14: the toolstack deletes the directories, and we never bring one back.
#[test]
fn a_directory_that_the_toolstack_removed_stays_removed() {
    let mut host = Host::connected();
    host.remove(BACKEND);
    host.pump();
    assert_eq!(host.list(BACKEND), Vec::<String>::new());
    assert!(host.device.is_finished());
    host.is_clean();
}

/// Rule 14: a frontend directory that vanished is a closed frontend.
#[test]
fn a_frontend_that_vanished_is_closed() {
    let mut host = Host::connected();
    host.remove(FRONTEND);
    host.pump();
    assert_eq!(host.backend("state").as_deref(), Some("6"));
    host.is_detached();
    host.set_backend("online", "0");
    host.pump();
    host.is_clean();
}

/// Rule 14: our state is all we write at the end.
#[test]
fn closing_for_good_leaves_the_toolstack_its_nodes() {
    let mut host = Host::connected();
    let mut before = host.list(BACKEND);
    host.withdraw();
    host.frontend_closes();
    before.retain(|name| name != "hotplug-status");
    assert_eq!(host.list(BACKEND), before);
    assert_eq!(host.backend("state").as_deref(), Some("6"));
    host.is_clean();
}
