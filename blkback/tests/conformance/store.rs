//! A store that cannot say how things are has not said that anything is gone.

use xenstore::StoreError;

use crate::support::log::lines_of;
use crate::support::{ERROR, Host};

/// More than any device asks in a row.
const ALWAYS: usize = 1000;

#[test]
fn a_failed_look_is_repeated_and_said_once() {
    let mut host = Host::connected();
    host.store_fails = 3;
    let said = lines_of(|| host.start());
    assert_eq!(
        said,
        ["reading its nodes, to be tried again: error number 12"]
    );
    assert_eq!(host.store_fails, 0);
    assert!(host.serves());
    host.end();
}

#[test]
fn a_request_in_the_disk_is_answered_though_the_store_fails() {
    let mut host = Host::connected();
    host.disk.state().hold = true;
    let write = host.write_request(1, 0, 0xab);
    assert_eq!(host.serve(&[write]), []);
    host.store_fails = 1;
    host.start();
    host.land_all();
    assert_eq!(host.guest.take().len(), 1);
    host.end();
}

#[test]
fn a_store_that_always_fails_is_not_asked_for_ever() {
    let mut host = Host::connected();
    host.store_fails = ALWAYS;
    host.start();
    assert!(host.store_fails > ALWAYS / 2);
    assert!(host.serves());
    host.store_fails = 0;
    host.end();
}

#[test]
fn a_device_that_could_not_be_read_at_first_is_served() {
    let mut host = Host::new();
    host.store_fails = 1;
    host.start();
    host.connect();
    assert!(host.serves());
    host.end();
}

#[test]
fn a_device_that_could_not_be_read_for_long_is_served_when_something_changes() {
    let mut host = Host::new();
    host.store_fails = ALWAYS;
    host.start();
    assert!(!host.device.is_introduced());
    host.store_fails = 0;
    host.start();
    host.connect();
    assert!(host.serves());
    host.end();
}

/// A device whose watches have just been refused.
fn deaf() -> Host {
    let mut host = Host::new();
    host.watch_error = Some(StoreError::TooBig);
    host.start();
    host
}

#[test]
fn a_device_whose_watches_are_refused_is_not_started_and_says_why() {
    let mut host = deaf();
    let text = "watching its nodes: too big";
    assert_eq!(host.backend("state").as_deref(), Some("5"));
    assert_eq!(host.backend("hotplug-error").as_deref(), Some(text));
    assert_eq!(host.read(ERROR), Some(format!("5 {text}")));
    assert!(host.asks.is_empty());
    // Nobody but the tree's watch tells such a device of anything.
    assert!(!host.device.is_introduced());
    host.set_backend("online", "0");
    host.set_frontend("state", "6");
    host.start();
    assert_eq!(host.backend("state").as_deref(), Some("6"));
    host.is_clean();
}

#[test]
fn a_frontend_that_starts_over_gets_another_attempt_at_the_watches() {
    let mut host = deaf();
    host.set_frontend("state", "6");
    host.start();
    host.set_frontend("state", "1");
    host.start();
    assert_eq!(host.backend("state").as_deref(), Some("5"));
    assert!(host.asks.is_empty());
    host.set_frontend("state", "6");
    host.start();
    host.watch_error = None;
    host.set_frontend("state", "1");
    host.start();
    assert!(host.device.is_introduced());
    assert_eq!(host.backend("state").as_deref(), Some("2"));
    host.connect();
    assert!(host.serves());
    host.end();
}

#[test]
fn a_watch_that_is_there_already_is_no_failure() {
    let mut host = Host::new();
    host.watch_error = Some(StoreError::Exists);
    host.start();
    assert_eq!(host.backend("state").as_deref(), Some("2"));
    host.end();
}
