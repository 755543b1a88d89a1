//! Store keys that are absent, huge, negative or no numbers (rule 12): the device closes, the key is
//! named, and nothing of the guest is in use.

use crate::support::guest::PORT;
use crate::support::machine::UNALLOCATED;
use crate::support::{ERROR, FRONTEND, Host};

/// Offers a ring with one key tampered with, and returns what the operator is told.
fn told_after(key: &str, value: Option<&str>) -> String {
    let mut host = Host::waiting();
    let gref = host.guest.make_ring();
    host.offer(gref);
    match value {
        Some(value) => host.set_frontend(key, value),
        None => host.remove(&format!("{FRONTEND}/{key}")),
    }
    host.set_frontend("state", "3");
    host.pump();
    assert_eq!(host.backend("state").as_deref(), Some("5"));
    let told = host.read(ERROR).expect("an error node");
    assert!(told.ends_with(&host.backend("hotplug-error").expect("hotplug-error")));
    host.is_detached();
    host.end();
    told
}

/// Describes a device with one key tampered with, and returns what the operator is told.
fn described_with(key: &str, value: &str) -> String {
    let mut host = Host::new();
    host.set_backend(key, value);
    host.start();
    let told = host.read(ERROR).expect("an error node");
    host.withdraw();
    assert_eq!(host.backend("state").as_deref(), Some("6"));
    host.is_clean();
    told
}

#[test]
fn a_missing_ring_ref_is_refused() {
    assert_eq!(told_after("ring-ref", None), "2 ring-ref is missing");
}

#[test]
fn an_empty_ring_ref_is_refused() {
    assert_eq!(
        told_after("ring-ref", Some("")),
        "22 ring-ref is not a decimal number"
    );
}

#[test]
fn a_negative_ring_ref_is_refused() {
    assert_eq!(
        told_after("ring-ref", Some("-1")),
        "22 ring-ref is not a decimal number"
    );
}

#[test]
fn a_ring_ref_that_is_no_number_is_refused() {
    assert_eq!(
        told_after("ring-ref", Some("0x8")),
        "22 ring-ref is not a decimal number"
    );
}

#[test]
fn a_ring_ref_beyond_32_bits_is_refused() {
    let told = told_after("ring-ref", Some("4294967296"));
    assert_eq!(told, "22 ring-ref is larger than 4294967295");
}

#[test]
fn a_ring_ref_of_a_hundred_digits_is_refused() {
    let told = told_after("ring-ref", Some(&"9".repeat(100)));
    assert_eq!(told, "22 ring-ref is larger than 4294967295");
}

#[test]
fn a_ring_ref_that_was_never_granted_is_refused() {
    let told = told_after("ring-ref", Some("31000"));
    assert_eq!(
        told,
        "22 map of grant 31000 of domain 7 refused with status -1"
    );
}

#[test]
fn a_missing_event_channel_is_refused() {
    assert_eq!(
        told_after("event-channel", None),
        "2 event-channel is missing"
    );
}

#[test]
fn event_channel_zero_is_refused() {
    assert_eq!(
        told_after("event-channel", Some("0")),
        "22 event-channel has no known value"
    );
}

#[test]
fn an_event_channel_beyond_the_abi_is_refused() {
    let told = told_after("event-channel", Some("131072"));
    assert_eq!(told, "22 event-channel is larger than 131071");
}

#[test]
fn a_negative_event_channel_is_refused() {
    let told = told_after("event-channel", Some("-9"));
    assert_eq!(told, "22 event-channel is not a decimal number");
}

#[test]
fn an_event_channel_that_nobody_allocated_is_refused() {
    let told = told_after("event-channel", Some(&UNALLOCATED.to_string()));
    assert!(
        told.starts_with("22 bind of event channel port 13"),
        "{told}"
    );
}

#[test]
fn an_unknown_protocol_is_refused() {
    assert_eq!(
        told_after("protocol", Some("riscv-abi")),
        "22 protocol has no known value"
    );
}

#[test]
fn an_endless_protocol_is_refused() {
    let told = told_after("protocol", Some(&"x".repeat(2000)));
    assert_eq!(told, "22 protocol is longer than 63 bytes");
}

#[test]
fn more_ring_pages_than_offered_are_refused() {
    let told = told_after("ring-page-order", Some("1"));
    assert_eq!(told, "22 ring-page-order asks for what was not offered");
    let told = told_after("num-ring-pages", Some("4294967295"));
    assert_eq!(told, "22 num-ring-pages asks for what was not offered");
}

#[test]
fn more_queues_than_offered_are_refused() {
    let told = told_after("multi-queue-num-queues", Some("2"));
    assert_eq!(
        told,
        "22 multi-queue-num-queues asks for what was not offered"
    );
}

#[test]
fn the_defaults_spelled_out_are_accepted() {
    let mut host = Host::waiting();
    host.set_frontend("ring-page-order", "0");
    host.set_frontend("num-ring-pages", "1");
    host.set_frontend("multi-queue-num-queues", "1");
    host.connect();
    assert!(host.serves());
    host.end();
}

#[test]
fn a_refused_frontend_may_correct_itself() {
    let mut host = Host::waiting();
    let gref = host.guest.make_ring();
    host.offer(gref);
    host.set_frontend("event-channel", "none");
    host.set_frontend("state", "3");
    host.pump();
    host.frontend_closes();
    host.set_frontend("state", "1");
    host.pump();
    host.set_frontend("event-channel", &PORT.to_string());
    host.set_frontend("state", "3");
    host.pump();
    assert!(host.serves());
    host.end();
}

#[test]
fn a_frontend_of_another_domain_is_refused() {
    let told = described_with("frontend", "/local/domain/8/device/vbd/51712");
    assert_eq!(told, "22 frontend belongs to another domain");
    let told = described_with("frontend-id", "8");
    assert_eq!(told, "22 frontend belongs to another domain");
}

#[test]
fn a_frontend_id_that_is_no_domain_is_refused() {
    assert_eq!(
        described_with("frontend-id", "99999"),
        "22 frontend-id is larger than 32752"
    );
}

#[test]
fn a_frontend_that_is_no_path_is_refused() {
    assert_eq!(
        described_with("frontend", "not a path"),
        "22 frontend has no known value"
    );
}

#[test]
fn an_empty_drive_is_refused() {
    assert_eq!(
        described_with("params", ""),
        "123 params is empty: no medium"
    );
}

#[test]
fn a_mode_that_names_no_right_is_refused() {
    assert_eq!(described_with("mode", "x"), "22 mode has no known value");
}
