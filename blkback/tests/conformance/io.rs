//! Requests that are as they should be: what they move, and what they cost.

use abi::io::blkif::{Operation, Protocol, RawSegment, Status};
use blkback::cooling::COOL_DOWN_NS;
use disk::{DiskError, OpKind};

use crate::support::Host;
use crate::support::guest::{PORT, request};
use crate::support::log::lines_of;

fn flush(id: u64) -> abi::io::blkif::RawRequest {
    request(Operation::FLUSH_DISKCACHE, id, 0, &[])
}

#[test]
fn a_read_brings_the_disk_to_the_guest() {
    let mut host = Host::connected();
    assert!(host.serves());
    host.end();
}

#[test]
fn a_write_brings_the_guest_to_the_disk() {
    let mut host = Host::connected();
    let write = host.write_request(1, 16, 0xab);
    assert_eq!(host.status(&write), Status::OKAY);
    assert_eq!(host.disk.state().bytes[8192..12288], [0xab; 4096]);
    host.end();
}

#[test]
fn a_device_tells_what_it_is_made_of_and_what_it_served() {
    let mut host = Host::connected();
    let write = host.write_request(1, 16, 0xab);
    assert_eq!(host.status(&write), Status::OKAY);
    assert_eq!(host.status(&flush(2)), Status::OKAY);
    assert!(host.serves());
    let counts = host.device.counts();
    assert_eq!((counts.reads, counts.read_bytes), (1, 4096));
    assert_eq!((counts.writes, counts.write_bytes), (1, 4096));
    assert_eq!((counts.flushes, counts.disk_errors), (1, 0));
    let description = host.device.description().expect("a device that serves");
    assert_eq!(description.params, "raw:/images/a.img");
    host.end();
}

#[test]
fn eleven_pages_travel_in_their_order() {
    let mut host = Host::connected();
    let pages: Vec<_> = (0..11).map(|byte| host.guest.lend_filled(byte)).collect();
    let write = request(Operation::WRITE, 1, 0, &pages);
    assert_eq!(host.status(&write), Status::OKAY);
    let firsts: Vec<_> = host
        .disk
        .state()
        .bytes
        .chunks(4096)
        .take(11)
        .map(|c| c[0])
        .collect();
    assert_eq!(firsts, (0..11).collect::<Vec<u8>>());
    host.end();
}

#[test]
fn parts_of_pages_leave_the_rest_of_the_page_alone() {
    let mut host = Host::connected();
    let page = host.guest.lend_filled(0xee);
    let mut read = request(Operation::READ, 1, 5, &[page]);
    read.segments[0] = RawSegment {
        gref: page.gref,
        first_sect: 2,
        last_sect: 3,
    };
    assert_eq!(host.status(&read), Status::OKAY);
    let content = host.guest.content(page);
    assert_eq!(content[..1024], [0xee; 1024]);
    assert_eq!(content[1024..2048], host.disk.state().bytes[2560..3584]);
    assert_eq!(content[2048..], [0xee; 2048]);
    host.end();
}

#[test]
fn all_three_layouts_are_served() {
    let served = Protocol::ALL.map(|protocol| {
        let mut host = Host::waiting();
        host.guest.protocol = protocol;
        host.connect();
        let write = host.write_request(u64::MAX, 16, 0xab);
        let okay = host.status(&write) == Status::OKAY && host.serves();
        host.end();
        okay
    });
    assert_eq!(served, [true; 3]);
}

#[test]
fn a_missing_protocol_means_x86_64() {
    let mut host = Host::waiting();
    let gref = host.guest.make_ring();
    host.set_frontend("ring-ref", &gref.to_string());
    host.set_frontend("event-channel", &PORT.to_string());
    host.set_frontend("state", "3");
    host.pump();
    assert!(host.serves());
    host.end();
}

/// Rule 4: a flush has no segments.
#[test]
fn a_flush_reaches_the_disk() {
    let mut host = Host::connected();
    assert_eq!(host.status(&flush(1)), Status::OKAY);
    assert_eq!(host.disk.state().seen, [OpKind::Flush]);
    host.end();
}

#[test]
fn a_flush_is_unsupported_where_the_disk_has_none() {
    let mut host = Host::new();
    host.disk.state().geometry.flush = false;
    host.start();
    host.connect();
    assert_eq!(host.status(&flush(1)), Status::EOPNOTSUPP);
    host.end();
}

#[test]
fn a_write_is_answered_only_when_the_disk_has_it() {
    let mut host = Host::connected();
    host.disk.state().hold = true;
    let write = host.write_request(1, 16, 0xab);
    assert_eq!(host.serve(&[write]), []);
    host.land_all();
    assert_eq!(host.guest.take()[0].status, Status::OKAY);
    host.end();
}

/// Rule 5, and out of order.
#[test]
fn answers_name_their_requests_in_the_order_of_completion() {
    let mut host = Host::connected();
    host.disk.state().hold = true;
    let requests: Vec<_> = (0..3)
        .map(|n| host.write_request(100 + n, 8 * n, 1))
        .collect();
    assert_eq!(host.serve(&requests), []);
    host.disk.held().into_iter().rev().for_each(|id| {
        let completion = crate::support::disk::Control::completion(crate::support::OWNER, id);
        host.with(|device, cx| device.completion(cx, completion));
    });
    host.pump();
    let ids: Vec<_> = host
        .guest
        .take()
        .iter()
        .map(|response| response.id)
        .collect();
    assert_eq!(ids, [102, 101, 100]);
    host.end();
}

#[test]
fn a_whole_ring_of_writes_is_one_grant_copy() {
    let mut host = Host::connected();
    let requests: Vec<_> = (0..32).map(|n| host.write_request(n, 8 * n, 1)).collect();
    let answers = host.serve(&requests);
    assert!(answers.iter().all(|answer| answer.status == Status::OKAY));
    assert_eq!(answers.len(), 32);
    assert_eq!(host.machine.books().copies, [32]);
    host.end();
}

#[test]
fn reads_and_writes_share_a_grant_copy() {
    let mut host = Host::connected();
    let (read, _) = host.read_request(1, 0);
    let write = host.write_request(2, 64, 1);
    assert_eq!(host.serve(&[read, write]).len(), 2);
    assert_eq!(host.machine.books().copies, [2]);
    host.end();
}

#[test]
fn thousands_of_requests_pass_through_one_ring() {
    let mut host = Host::connected();
    let page = host.guest.lend_filled(7);
    let answered: usize = (0..3000_u64)
        .map(|n| {
            host.serve(&[request(Operation::WRITE, n, n % 200 * 8, &[page])])
                .len()
        })
        .sum();
    assert_eq!(answered, 3000);
    host.end();
}

/// Rule 9: one event for a batch.
#[test]
fn a_batch_of_answers_is_one_event() {
    let mut host = Host::connected();
    let requests: Vec<_> = (0..32).map(|n| host.write_request(n, 8 * n, 1)).collect();
    host.serve(&requests);
    assert_eq!(host.machine.books().notifies, 1);
    host.end();
}

/// Rule 9: an event without an answer would have the guest throttle us.
#[test]
fn a_kick_without_requests_is_not_answered_with_an_event() {
    let mut host = Host::connected();
    (0..10).for_each(|_| {
        host.machine.kick(PORT);
        host.pump();
    });
    assert_eq!(host.machine.books().notifies, 0);
    host.end();
}

/// Rule 9: the guest says when it wants to be told.
#[test]
fn a_guest_that_did_not_ask_is_not_notified() {
    let mut host = Host::connected();
    let write = host.write_request(1, 0, 1);
    host.serve(std::slice::from_ref(&write));
    let notified = host.machine.books().notifies;
    host.guest.put(&write);
    host.guest.publish(&host.machine);
    host.pump();
    // The guest takes the answer without asking for an event about the next one.
    assert_eq!(host.guest.take_bytes().len(), 1);
    host.guest.put(&write);
    host.guest.publish(&host.machine);
    host.pump();
    assert_eq!(host.machine.books().notifies, notified + 1);
    assert_eq!(host.guest.take().len(), 1);
    host.end();
}

/// Rule 10: the edge between the last look and the unmasking is not lost.
#[test]
fn a_request_that_slips_in_before_the_unmask_is_served() {
    let mut host = Host::connected();
    let write = host.write_request(1, 0, 0xcd);
    host.guest.put(&write);
    // The slot is shown, without an event, at the worst moment.
    let ring = host.guest.ring.take().expect("a ring");
    let ring = std::rc::Rc::new(std::cell::RefCell::new(ring));
    let late = std::rc::Rc::clone(&ring);
    host.machine.books().on_unmask = Some(Box::new(move || {
        assert_eq!(late.borrow_mut().publish(), ring::Notify::Peer);
    }));
    host.machine.kick(PORT);
    host.pump();
    assert_eq!(host.disk.state().bytes[..4096], [0xcd; 4096]);
    host.end();
}

#[test]
fn a_disk_error_fails_its_request_alone() {
    let mut host = Host::connected();
    host.disk.state().fail = Some(DiskError::Os(5));
    let write = host.write_request(1, 0, 1);
    assert_eq!(host.status(&write), Status::ERROR);
    let (read, page) = host.read_request(2, 0);
    assert_eq!(host.status(&read), Status::ERROR);
    assert_eq!(host.guest.content(page), [0xee; 4096]);
    host.disk.state().fail = None;
    assert!(host.serves());
    host.end();
}

/// A device whose flush has just failed; its disk is well again.
fn flush_failed() -> Host {
    let mut host = Host::connected();
    host.disk.state().fail = Some(DiskError::Os(5));
    assert_eq!(host.status(&flush(1)), Status::ERROR);
    host.disk.state().fail = None;
    host.disk.state().seen.clear();
    host
}

/// Rule 16: Linux takes the failed flush for one that is not supported and carries on without.
#[test]
fn after_a_failed_flush_no_write_is_acknowledged() {
    let mut host = flush_failed();
    let before = host.disk.state().bytes.clone();
    let write = host.write_request(2, 0, 0xab);
    assert_eq!(host.status(&write), Status::ERROR);
    assert_eq!(host.status(&flush(3)), Status::ERROR);
    assert_eq!(host.disk.state().seen, []);
    assert_eq!(host.disk.state().bytes, before);
    assert!(host.serves());
    host.end();
}

#[test]
fn what_was_under_way_when_a_flush_failed_is_not_acknowledged_either() {
    let mut host = Host::connected();
    host.disk.state().hold = true;
    let write = host.write_request(2, 0, 0xab);
    let (read, _) = host.read_request(4, 8);
    assert_eq!(host.serve(&[flush(1), write, flush(3), read]), []);
    let mut held = host.disk.held().into_iter();
    host.disk.state().fail = Some(DiskError::Os(5));
    host.lands(held.next().expect("the first flush"));
    host.disk.state().fail = None;
    held.for_each(|id| host.lands(id));
    host.pump();
    let mut answers: Vec<_> = host.guest.take().iter().map(|a| (a.id, a.status)).collect();
    answers.sort_by_key(|answer| answer.0);
    let (error, okay) = (Status::ERROR, Status::OKAY);
    assert_eq!(answers, [(1, error), (2, error), (3, error), (4, okay)]);
    host.disk.state().hold = false;
    host.end();
}

#[test]
fn a_failed_flush_is_told_in_one_line() {
    let mut host = Host::connected();
    host.disk.state().fail = Some(DiskError::Os(5));
    let write = host.write_request(2, 0, 0xab);
    let said = lines_of(|| {
        host.serve(&[flush(1)]);
        host.serve(&[write, flush(3)]);
    });
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].starts_with("flush failed: storage failed"),
        "{said:?}"
    );
    host.end();
}

#[test]
fn a_guest_that_starts_over_after_a_failed_flush_may_write() {
    let mut host = flush_failed();
    host.frontend_closes();
    host.set_frontend("state", "1");
    host.pump();
    host.connect();
    let write = host.write_request(2, 0, 0xab);
    assert_eq!(host.status(&write), Status::OKAY);
    assert_eq!(host.status(&flush(3)), Status::OKAY);
    host.end();
}

/// Rule 3: the size that counts is the one the disk has now.
#[test]
fn a_disk_that_shrank_refuses_what_it_lost() {
    let mut host = Host::connected();
    host.disk.state().geometry.sectors = abi::Sector(8);
    let (read, _) = host.read_request(1, 8);
    assert_eq!(host.status(&read), Status::ERROR);
    let (read, _) = host.read_request(2, 0);
    assert_eq!(host.status(&read), Status::OKAY);
    host.end();
}

#[test]
fn a_device_cools_down_once_and_stays_silent() {
    let mut host = Host::connected();
    assert!(host.serves());
    assert!(!host.device.is_cool());
    host.sleep(COOL_DOWN_NS);
    assert!(host.device.is_cool());
    assert_eq!(host.world.next_deadline(), None);
    assert!(host.serves());
    host.end();
}

#[test]
fn a_device_in_use_is_not_cooled() {
    let mut host = Host::connected();
    assert!(host.serves());
    host.sleep(COOL_DOWN_NS / 2);
    assert!(host.serves());
    host.sleep(COOL_DOWN_NS / 2);
    assert!(!host.device.is_cool());
    host.sleep(COOL_DOWN_NS / 2);
    assert!(host.device.is_cool());
    host.end();
}

#[test]
fn a_device_that_was_never_used_sets_no_deadline() {
    let host = Host::connected();
    assert_eq!(host.world.next_deadline(), None);
    host.end();
}
