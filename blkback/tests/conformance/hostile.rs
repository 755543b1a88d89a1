//! Frontends that lie: each lie costs its own request, or at most its own device.

use abi::io::blkif::{Operation, RawRequest, RawSegment, SLOT_MAX, Status};
use abi::{GrantRef, PAGE_SIZE, Sector};
use vm_memory::Bytes;

use crate::support::guest::{PORT, request};
use crate::support::{ERROR, Host, disk};

/// Sends a read that was tampered with; the device must answer ERROR and go on.
fn is_refused(tamper: impl FnOnce(&mut RawRequest)) {
    let mut host = Host::connected();
    let (mut read, page) = host.read_request(1, 0);
    tamper(&mut read);
    assert_eq!(host.status(&read), Status::ERROR);
    assert_eq!(host.guest.content(page), [0xee; PAGE_SIZE]);
    assert_eq!(host.disk.state().seen, []);
    assert!(host.serves());
    host.end();
}

/// Rule 4.
#[test]
fn a_request_with_zero_segments_is_refused() {
    is_refused(|read| read.nr_segments = 0);
}

/// Rule 3.
#[test]
fn a_request_with_twelve_segments_is_refused() {
    is_refused(|read| read.nr_segments = 12);
}

#[test]
fn a_request_with_255_segments_is_refused() {
    is_refused(|read| read.nr_segments = 255);
}

#[test]
fn a_segment_that_ends_before_it_starts_is_refused() {
    is_refused(|read| (read.segments[0].first_sect, read.segments[0].last_sect) = (4, 3));
}

#[test]
fn a_segment_beyond_its_page_is_refused() {
    is_refused(|read| read.segments[0].last_sect = 8);
}

#[test]
fn a_request_beyond_the_disk_is_refused() {
    is_refused(|read| read.sector_number = Sector(disk::SECTORS - 7));
}

#[test]
fn a_request_that_wraps_around_is_refused() {
    is_refused(|read| read.sector_number = Sector(u64::MAX));
}

#[test]
fn a_flush_with_data_is_refused() {
    is_refused(|read| read.operation = Operation::FLUSH_DISKCACHE);
}

/// Rule 8: one bad segment fails all of its request, and nothing of a write reaches the disk.
#[test]
fn a_write_with_one_bad_grant_touches_no_disk() {
    let mut host = Host::connected();
    let page = host.guest.lend_filled(1);
    let mut write = request(Operation::WRITE, 1, 0, &[page, page, page]);
    write.segments[1].gref = GrantRef(31_000);
    assert_eq!(host.status(&write), Status::ERROR);
    assert_eq!(host.disk.state().seen, []);
    assert!(host.serves());
    host.end();
}

#[test]
fn a_read_into_a_read_only_grant_fails() {
    let mut host = Host::connected();
    let page = host.guest.lend(true);
    let read = request(Operation::READ, 1, 0, &[page]);
    assert_eq!(host.status(&read), Status::ERROR);
    assert!(host.serves());
    host.end();
}

#[test]
fn data_that_nobody_copied_fails_its_request() {
    let mut host = Host::connected();
    host.machine.books().copies_nothing = true;
    let (read, _) = host.read_request(1, 0);
    assert_eq!(host.status(&read), Status::ERROR);
    host.end();
}

#[test]
fn a_bad_grant_does_not_fail_its_neighbours() {
    let mut host = Host::connected();
    let (good, page) = host.read_request(1, 8);
    let (mut bad, _) = host.read_request(2, 8);
    bad.segments[0].gref = GrantRef(u32::MAX);
    let mut answers = host.serve(&[bad, good]);
    answers.sort_by_key(|answer| answer.id);
    assert_eq!(
        (answers[0].status, answers[1].status),
        (Status::OKAY, Status::ERROR)
    );
    assert_eq!(host.guest.content(page)[0], 8);
    host.end();
}

/// Rule 7.
#[test]
fn a_write_to_a_read_only_device_never_touches_the_disk() {
    let mut host = Host::new();
    host.set_backend("mode", "r");
    host.start();
    host.connect();
    let write = host.write_request(1, 0, 1);
    assert_eq!(host.status(&write), Status::ERROR);
    assert_eq!(host.disk.state().seen, []);
    assert!(host.serves());
    host.end();
}

/// Rule 6.
#[test]
fn every_other_operation_is_unsupported() {
    let mut host = Host::connected();
    let page = host.guest.lend_filled(1);
    let known = [
        Operation::READ,
        Operation::WRITE,
        Operation::FLUSH_DISKCACHE,
    ];
    let others = (0..=u8::MAX)
        .map(Operation)
        .filter(|operation| !known.contains(operation));
    let unsupported = others
        .map(|other| host.status(&request(other, u64::from(other.0), 0, &[page])))
        .filter(|status| *status == Status::EOPNOTSUPP);
    assert_eq!(unsupported.count(), 253);
    assert_eq!(host.disk.state().seen, []);
    assert!(host.serves());
    host.end();
}

/// Rule 5: Linux gives a device up whose answer names another operation than it asked for.
#[test]
fn the_answer_to_an_indirect_request_names_the_operation_inside() {
    let mut host = Host::connected();
    let mut indirect = request(Operation::INDIRECT, 1, 0, &[]);
    let inside = [Operation::READ, Operation::WRITE, Operation(200)];
    let named = inside.map(|operation| {
        // The second byte of an indirect request is its operation.
        indirect.nr_segments = operation.0;
        let answer = host.serve(std::slice::from_ref(&indirect))[0];
        assert_eq!(answer.status, Status::EOPNOTSUPP);
        answer.operation
    });
    assert_eq!(named, inside);
    host.end();
}

/// Rule 1: what stands in the slot after it was taken does not matter.
#[test]
fn a_request_rewritten_while_in_the_disk_ends_as_it_began() {
    let mut host = Host::connected();
    host.disk.state().hold = true;
    let (read, page) = host.read_request(1, 8);
    assert_eq!(host.serve(std::slice::from_ref(&read)), []);
    let ring = host.guest.ring().memory();
    let garbage = [0xff; SLOT_MAX];
    ring::SharedPages::slice(ring)
        .write_slice(&garbage, 64)
        .expect("the first slot");
    host.land_all();
    let answers = host.guest.take();
    assert_eq!((answers[0].id, answers[0].status), (1, Status::OKAY));
    assert_eq!(host.guest.content(page)[0], 8);
    host.end();
}

/// Rule 1 (XSA-216): no byte of ours reaches the guest as padding.
#[test]
fn padding_of_a_response_is_zero() {
    let mut host = Host::connected();
    host.guest.put_bytes(&[0xff; SLOT_MAX]);
    host.guest.publish(&host.machine);
    host.pump();
    let bytes = host.guest.take_bytes()[0];
    assert_eq!(bytes[9], 0);
    assert_eq!(bytes[12..], [0; 4]);
    host.end();
}

fn store_req_prod(host: &mut Host, value: u32) {
    let ring = host.guest.ring().memory();
    ring::SharedPages::slice(ring)
        .write_obj(value, 0)
        .expect("the header");
    host.machine.kick(PORT);
    host.pump();
}

/// Rule 2: the device closes, says why, and nothing spins.
#[test]
fn a_producer_index_beyond_the_ring_closes_the_device() {
    let mut host = Host::connected();
    store_req_prod(&mut host, 33);
    assert_eq!(host.backend("state").as_deref(), Some("5"));
    assert_eq!(host.backend("hotplug-status").as_deref(), Some("error"));
    let told = host.read(ERROR).expect("an error node");
    assert!(told.starts_with("71 ring index 33"), "{told}");
    host.is_detached();
    host.end();
}

#[test]
fn a_producer_index_half_the_numbers_away_closes_the_device() {
    let mut host = Host::connected();
    store_req_prod(&mut host, 1 << 31);
    assert_eq!(host.backend("state").as_deref(), Some("5"));
    host.end();
}

#[test]
fn a_producer_index_that_moves_backwards_closes_the_device() {
    let mut host = Host::connected();
    assert!(host.serves());
    store_req_prod(&mut host, 0);
    assert_eq!(host.backend("state").as_deref(), Some("5"));
    host.end();
}

#[test]
fn a_corrupt_ring_gives_its_page_back_while_the_disk_still_works() {
    let mut host = Host::connected();
    host.disk.state().hold = true;
    let write = host.write_request(1, 0, 1);
    assert_eq!(host.serve(&[write]), []);
    store_req_prod(&mut host, 1000);
    assert_eq!(host.machine.books().mapped, 0);
    assert_eq!(host.device.in_disk(), 1);
    host.land_all();
    assert_eq!(host.device.in_disk(), 0);
    host.end();
}

#[test]
fn a_ring_that_breaks_while_the_device_closes_is_reported() {
    let mut host = Host::connected();
    host.set_frontend("state", "5");
    host.pump();
    assert_eq!(host.backend("state").as_deref(), Some("5"));
    store_req_prod(&mut host, 33);
    assert_eq!(host.backend("state").as_deref(), Some("5"));
    let told = host.read(ERROR).expect("an error node");
    assert!(told.starts_with("71 ring index 33"), "{told}");
    host.is_detached();
    host.end();
}

#[test]
fn a_frontend_may_come_back_after_it_corrupted_its_ring() {
    let mut host = Host::connected();
    store_req_prod(&mut host, 33);
    host.frontend_closes();
    assert_eq!(host.backend("state").as_deref(), Some("6"));
    host.set_frontend("state", "1");
    host.pump();
    host.connect();
    assert!(host.serves());
    host.end();
}

#[test]
fn a_segment_list_is_not_read_beyond_its_count() {
    let mut host = Host::connected();
    let (mut read, _) = host.read_request(1, 0);
    read.segments[1] = RawSegment {
        gref: GrantRef(0),
        first_sect: 9,
        last_sect: 1,
    };
    assert_eq!(host.status(&read), Status::OKAY);
    host.end();
}
