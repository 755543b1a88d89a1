//! A store that cannot say how things are has not said that anything is gone.

use crate::support::Host;
use crate::support::log::lines_of;

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
