//! Frontends that close, die, flap and come back; devices that end while the disk is at work.

use abi::io::blkif::Status;
use vm_memory::Bytes;

use crate::support::{BACKEND, ERROR, FRONTEND, Host};

/// A device with one write in a disk that does not let go of it.
fn stuck() -> Host {
    let mut host = Host::connected();
    host.disk.state().hold = true;
    let write = host.write_request(1, 0, 0xab);
    assert_eq!(host.serve(&[write]), []);
    host
}

fn reconnect(host: &mut Host) {
    host.set_frontend("state", "1");
    host.pump();
    assert_eq!(host.backend("state").as_deref(), Some("2"));
    host.connect();
    assert_eq!(host.backend("state").as_deref(), Some("4"));
}

#[test]
fn a_guest_that_reboots_is_served_again() {
    let mut host = Host::connected();
    assert!(host.serves());
    host.frontend_closes();
    assert_eq!(host.backend("state").as_deref(), Some("6"));
    host.is_detached();
    reconnect(&mut host);
    assert!(host.serves());
    host.end();
}

#[test]
fn the_image_stays_open_across_a_reboot() {
    let mut host = Host::connected();
    host.frontend_closes();
    assert!(host.disk.state().open);
    reconnect(&mut host);
    assert_eq!(host.asks.len(), 1);
    host.end();
}

#[test]
fn a_hundred_reboots_leave_nothing_behind() {
    let mut host = Host::connected();
    (0..100).for_each(|_| {
        host.frontend_closes();
        host.is_detached();
        reconnect(&mut host);
    });
    assert!(host.serves());
    host.end();
}

#[test]
fn another_layout_after_the_reboot_is_honoured() {
    let mut host = Host::connected();
    host.frontend_closes();
    host.guest.protocol = abi::io::blkif::Protocol::X86_32;
    reconnect(&mut host);
    assert!(host.serves());
    host.end();
}

#[test]
fn a_frontend_that_starts_over_without_closing_is_served_again() {
    let mut host = Host::connected();
    reconnect(&mut host);
    assert!(host.serves());
    host.end();
}

#[test]
fn requests_are_answered_while_the_frontend_is_closing() {
    let mut host = stuck();
    host.set_frontend("state", "5");
    host.pump();
    host.land_all();
    assert_eq!(host.guest.take()[0].status, Status::OKAY);
    assert!({
        host.disk.state().hold = false;
        host.serves()
    });
    host.end();
}

/// Rule 11: Linux writes Closed with requests under way, and then waits for the end of each.
#[test]
fn a_frontend_that_closes_mid_write_gets_its_answer_and_then_its_pages() {
    let mut host = stuck();
    host.frontend_closes();
    assert_eq!(host.machine.books().mapped, 1);
    assert_eq!(host.backend("state").as_deref(), Some("5"));
    assert_eq!(host.device.in_disk(), 1);
    let notified = host.machine.books().notifies;
    host.land_all();
    assert_eq!(host.guest.take()[0].status, Status::OKAY);
    assert_eq!(host.machine.books().notifies, notified + 1);
    assert_eq!(host.machine.books().mapped, 0);
    assert_eq!(host.machine.books().ports.len(), 0);
    assert_eq!(host.backend("state").as_deref(), Some("6"));
    host.end();
}

#[test]
fn a_frontend_that_closes_without_a_word_gets_all_its_answers() {
    let mut host = Host::connected();
    host.disk.state().hold = true;
    let writes: Vec<_> = (0..31).map(|n| host.write_request(n, 8 * n, 1)).collect();
    assert_eq!(host.serve(&writes), []);
    let (read, page) = host.read_request(31, 8);
    assert_eq!(host.serve(&[read]), []);
    host.set_frontend("state", "6");
    host.pump();
    assert_eq!(host.backend("state").as_deref(), Some("4"));
    host.land_all();
    let answers = host.guest.take();
    assert!(answers.iter().all(|answer| answer.status == Status::OKAY));
    assert_eq!(answers.len(), 32);
    assert_eq!(host.guest.content(page)[0], 1);
    assert_eq!(host.backend("state").as_deref(), Some("6"));
    host.end();
}

/// A device that is about to read that its frontend has closed.
fn closing_unseen(host: &mut Host) {
    host.set_frontend("state", "6");
    host.rounds(1);
}

#[test]
fn what_stands_in_the_ring_at_the_end_is_taken_and_answered() {
    let mut host = stuck();
    host.disk.state().hold = false;
    closing_unseen(&mut host);
    let write = host.write_request(2, 8, 0xcd);
    host.guest.put(&write);
    host.guest.publish(&host.machine);
    host.machine.books().delivered.clear();
    host.pump();
    assert_eq!(host.guest.take()[0].id, 2);
    assert_eq!(host.disk.state().bytes[4096..8192], [0xcd; 4096]);
    host.land_all();
    assert_eq!(host.guest.take()[0].id, 1);
    host.end();
}

#[test]
fn a_frontend_that_has_closed_is_not_served_any_more() {
    let mut host = stuck();
    host.frontend_closes();
    let late = host.write_request(2, 8, 0xcd);
    assert_eq!(host.serve(&[late]), []);
    assert_eq!(host.device.in_disk(), 1);
    host.land_all();
    assert_eq!(host.guest.take().len(), 1);
    host.end();
}

#[test]
fn a_ring_that_breaks_at_the_end_is_reported_and_given_back() {
    let mut host = Host::connected();
    closing_unseen(&mut host);
    let ring = host.guest.ring().memory();
    ring::SharedPages::slice(ring)
        .write_obj(33_u32, 0)
        .expect("the header");
    host.pump();
    let told = host.read(ERROR).expect("an error node");
    assert!(told.starts_with("71 ring index 33"), "{told}");
    assert_eq!(host.backend("state").as_deref(), Some("6"));
    host.is_detached();
    host.end();
}

/// libxl waits ten seconds, and then removes the frontend's directory.
#[test]
fn a_closed_frontend_that_is_removed_mid_write_gets_its_pages_back_at_once() {
    let mut host = stuck();
    host.withdraw();
    host.frontend_closes();
    assert_eq!(host.machine.books().mapped, 1);
    host.remove(FRONTEND);
    host.pump();
    assert_eq!(host.machine.books().mapped, 0);
    assert_eq!(host.machine.books().ports.len(), 0);
    assert_eq!(host.guest.take_pages_back(), 0);
    assert_eq!(host.backend("state").as_deref(), Some("5"));
    host.land_all();
    assert_eq!(host.backend("state").as_deref(), Some("6"));
    host.is_clean();
}

#[test]
fn a_device_that_ends_while_a_closed_frontend_waits_still_answers() {
    let mut host = stuck();
    host.frontend_closes();
    assert_eq!(host.with(|device, cx| device.close(cx)), 1);
    host.pump();
    assert_eq!(host.machine.books().mapped, 1);
    host.land_all();
    assert_eq!(host.guest.take()[0].status, Status::OKAY);
    assert_eq!(host.backend("state").as_deref(), Some("6"));
    host.is_clean();
}

/// Rule 11: no new ring while requests of the old one are in the disk.
#[test]
fn a_frontend_that_comes_back_too_early_waits_for_the_disk() {
    let mut host = stuck();
    host.frontend_closes();
    host.set_frontend("state", "1");
    host.pump();
    let gref = host.guest.make_ring();
    host.offer(gref);
    host.set_frontend("state", "3");
    host.pump();
    assert_eq!(host.machine.books().mapped, 0);
    host.disk.state().hold = false;
    host.land_all();
    assert_eq!(host.backend("state").as_deref(), Some("4"));
    assert!(host.serves());
    host.end();
}

/// Rule 11: a frontend that flaps ends up where its last word says.
#[test]
fn a_frontend_that_flaps_is_served_in_the_end() {
    let mut host = Host::connected();
    let states = [
        "5", "6", "1", "3", "6", "1", "5", "4", "1", "6", "2", "5", "6",
    ];
    let script = states.iter().cycle().take(20 * states.len());
    script.for_each(|state| host.set_frontend("state", state));
    host.pump();
    assert_eq!(host.backend("state").as_deref(), Some("6"));
    reconnect(&mut host);
    assert!(host.serves());
    host.end();
}

#[test]
fn a_frontend_that_flaps_step_by_step_leaves_nothing_behind() {
    let mut host = Host::connected();
    let states = [
        "5", "6", "1", "3", "6", "1", "5", "4", "1", "6", "2", "5", "7", "8", "6",
    ];
    states.iter().for_each(|state| {
        host.set_frontend("state", state);
        host.pump();
    });
    assert_eq!(host.backend("state").as_deref(), Some("6"));
    host.is_detached();
    host.end();
}

#[test]
fn a_state_that_is_no_number_is_a_closed_frontend() {
    let mut host = Host::connected();
    host.set_frontend("state", "connected, honestly");
    host.pump();
    assert_eq!(host.backend("state").as_deref(), Some("6"));
    host.is_detached();
    host.end();
}

#[test]
fn a_device_withdrawn_mid_write_closes_when_the_disk_is_done() {
    let mut host = stuck();
    host.withdraw();
    host.frontend_closes();
    assert!(!host.device.is_finished());
    assert!(host.disk.state().open);
    host.land_all();
    assert_eq!(host.backend("state").as_deref(), Some("6"));
    host.is_clean();
}

#[test]
fn closing_says_how_many_requests_are_in_the_disk_and_answers_them() {
    let mut host = stuck();
    let in_disk = host.with(|device, cx| device.close(cx));
    assert_eq!(in_disk, 1);
    host.pump();
    assert_eq!(host.backend("state").as_deref(), Some("5"));
    assert!(!host.device.is_finished());
    host.land_all();
    assert_eq!(host.guest.take()[0].status, Status::OKAY);
    assert_eq!(host.backend("state").as_deref(), Some("6"));
    host.is_clean();
}

#[test]
fn a_closing_device_takes_no_new_request() {
    let mut host = stuck();
    host.with(|device, cx| device.close(cx));
    let late = host.write_request(2, 8, 1);
    assert_eq!(host.serve(&[late]), []);
    assert_eq!(host.device.in_disk(), 1);
    host.land_all();
    let ids: Vec<_> = host.guest.take().iter().map(|answer| answer.id).collect();
    assert_eq!(ids, [1]);
    host.is_clean();
}

#[test]
fn closing_an_idle_device_needs_no_frontend() {
    let mut host = Host::connected();
    host.with(|device, cx| device.close(cx));
    host.pump();
    assert_eq!(host.backend("state").as_deref(), Some("6"));
    host.is_clean();
}

#[test]
fn closing_twice_does_no_harm() {
    let mut host = stuck();
    host.with(|device, cx| device.close(cx));
    host.with(|device, cx| device.close(cx));
    host.pump();
    host.land_all();
    host.with(|device, cx| device.close(cx));
    host.pump();
    host.is_clean();
}

#[test]
fn closing_before_the_first_look_ends_the_device() {
    let mut host = Host::new();
    host.with(|device, cx| device.close(cx));
    host.pump();
    assert_eq!(host.asks.len(), 0);
    host.is_clean();
}

#[test]
fn a_guest_that_died_mid_write_holds_nothing_but_the_disk() {
    let mut host = stuck();
    host.with(|device, cx| device.vanished(cx));
    host.pump();
    assert_eq!(host.machine.books().mapped, 0);
    assert_eq!(host.machine.books().ports.len(), 0);
    assert!(!host.device.is_finished());
    host.land_all();
    host.is_clean();
}

#[test]
fn a_guest_that_died_with_its_nodes_leaves_no_node() {
    let mut host = Host::connected();
    host.remove(BACKEND);
    host.with(|device, cx| device.vanished(cx));
    host.pump();
    assert_eq!(host.list(BACKEND), Vec::<String>::new());
    host.is_clean();
}

#[test]
fn a_guest_that_died_while_connected_is_no_fault_to_report() {
    let mut host = Host::connected();
    host.with(|device, cx| device.vanished(cx));
    host.pump();
    assert_eq!(host.backend("state").as_deref(), Some("6"));
    assert_eq!(host.backend("hotplug-error"), None);
    host.is_clean();
}

#[test]
fn other_completions_go_on_while_one_hangs() {
    let mut host = stuck();
    host.disk.state().hold = false;
    assert!(host.serves());
    assert_eq!(host.device.in_disk(), 1);
    host.land_all();
    assert_eq!(host.guest.take()[0].id, 1);
    host.end();
}
