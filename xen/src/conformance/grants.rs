//! Claims about grant copy and grant map: `grant_table.h` as a backend meets it.

use abi::grant_table::gntst;
use abi::{DomId, GrantRef, PAGE_SIZE};
use vm_memory::Bytes;

use super::{Arena, Fixture, Pair, claims};
use crate::{Access, CopyOp, Direction, GrantStatus, MapError, Mapped};

claims! {
    /// Everything about grants.
    GRANTS: [
        a_copy_from_the_guest_brings_its_bytes,
        a_copy_to_the_guest_changes_just_those_bytes,
        offsets_and_lengths_are_honoured_on_both_sides,
        a_batch_copies_every_segment,
        a_read_only_grant_can_be_read_and_not_written,
        a_grant_to_another_domain_is_refused,
        unknown_references_are_refused,
        an_ended_grant_is_refused,
        another_domid_is_refused,
        a_segment_that_leaves_its_page_is_a_bad_argument,
        a_segment_that_leaves_the_arena_is_a_bad_argument,
        a_refused_segment_does_not_stop_the_others,
        an_empty_batch_does_nothing,
        a_mapped_write_is_seen_by_the_guest,
        a_guests_write_is_seen_through_the_map,
        several_grants_are_mapped_side_by_side,
        a_mapped_grant_cannot_be_ended,
        an_unmapped_grant_can_be_ended,
        a_page_mapped_twice_is_in_use_until_both_maps_are_gone,
        a_read_only_grant_is_mapped_read_only_or_not_at_all,
        a_refused_map_leaves_nothing_mapped,
        a_map_of_another_domain_is_refused,
    ]
}

const OKAY: GrantStatus = GrantStatus(gntst::OKAY);
const BAD_COPY_ARG: GrantStatus = GrantStatus(gntst::BAD_COPY_ARG);

/// [`PAGE_SIZE`] as lengths and offsets within a page count.
const PAGE: u16 = 4096;
const _: () = assert!(PAGE as usize == PAGE_SIZE);

/// Beyond any table: the ABI has 2^32 references, and no host has that many.
const NO_SUCH: GrantRef = GrantRef(u32::MAX);

fn a_copy_from_the_guest_brings_its_bytes(fixture: &dyn Fixture) {
    let mut pair = Pair::new(fixture);
    let gref = pair.lend(true);
    pair.guest.write(gref, 0, b"from the guest");
    let mut arena = Arena::filled(PAGE_SIZE, 0);
    let op = pair.segment(Direction::FromGuest, gref, 14);
    assert_eq!(pair.copy(&mut arena, &mut [op]), [OKAY]);
    assert_eq!(&arena.bytes[..15], b"from the guest\0");
}

fn a_copy_to_the_guest_changes_just_those_bytes(fixture: &dyn Fixture) {
    let mut pair = Pair::new(fixture);
    let gref = pair.lend(false);
    let mut arena = Arena::filled(PAGE_SIZE, 0xA5);
    let op = CopyOp {
        offset: 7,
        ..pair.segment(Direction::ToGuest, gref, 2)
    };
    assert_eq!(pair.copy(&mut arena, &mut [op]), [OKAY]);
    assert_eq!(pair.guest.read(gref, 5, 6), [0, 0, 0xA5, 0xA5, 0, 0]);
}

fn offsets_and_lengths_are_honoured_on_both_sides(fixture: &dyn Fixture) {
    let mut pair = Pair::new(fixture);
    let gref = pair.lend(true);
    pair.guest.write(gref, PAGE_SIZE - 3, b"end");
    let mut arena = Arena::filled(2 * PAGE_SIZE, 0);
    let local = 2 * PAGE_SIZE - 3;
    let op = pair.segment(Direction::FromGuest, gref, 3);
    let op = CopyOp {
        offset: PAGE - 3,
        local,
        ..op
    };
    assert_eq!(pair.copy(&mut arena, &mut [op]), [OKAY]);
    assert_eq!(&arena.bytes[local - 1..], b"\0end");
}

fn a_batch_copies_every_segment(fixture: &dyn Fixture) {
    const SEGMENTS: u8 = 40;
    let mut pair = Pair::new(fixture);
    let grefs: Vec<GrantRef> = (0..SEGMENTS).map(|_| pair.lend(false)).collect();
    let mut arena = Arena::filled(grefs.len() * PAGE_SIZE, 0);
    let segment = |(value, &gref): (u8, &GrantRef)| {
        let local = usize::from(value) * PAGE_SIZE;
        arena.bytes[local..][..PAGE_SIZE].fill(value);
        CopyOp {
            local,
            ..pair.segment(Direction::ToGuest, gref, PAGE)
        }
    };
    let mut ops: Vec<CopyOp> = (0..).zip(&grefs).map(segment).collect();
    assert!(
        pair.copy(&mut arena, &mut ops)
            .iter()
            .all(|&status| status == OKAY)
    );
    let last_byte = |&gref| pair.guest.read(gref, PAGE_SIZE - 1, 1)[0];
    let seen: Vec<u8> = grefs.iter().map(last_byte).collect();
    assert_eq!(seen, (0..SEGMENTS).collect::<Vec<u8>>());
}

fn a_read_only_grant_can_be_read_and_not_written(fixture: &dyn Fixture) {
    let mut pair = Pair::new(fixture);
    let gref = pair.lend(true);
    let mut arena = Arena::filled(PAGE_SIZE, 0xA5);
    let mut ops = [Direction::ToGuest, Direction::FromGuest].map(|it| pair.segment(it, gref, 8));
    let statuses = pair.copy(&mut arena, &mut ops);
    assert_ne!(statuses[0], OKAY);
    assert_eq!(statuses[1], OKAY);
    assert_eq!(pair.guest.read(gref, 0, 8), [0; 8]);
}

/// The verdict on a copy that must not succeed; the arena must not have changed either.
fn refused(pair: &mut Pair, op: CopyOp) -> GrantStatus {
    let mut arena = Arena::filled(PAGE_SIZE, 0xA5);
    let statuses = pair.copy(&mut arena, &mut [op]);
    assert_ne!(statuses, [OKAY]);
    assert!(
        arena.bytes.iter().all(|&byte| byte == 0xA5),
        "a refused copy changed the arena"
    );
    statuses[0]
}

fn a_grant_to_another_domain_is_refused(fixture: &dyn Fixture) {
    let mut pair = Pair::new(fixture);
    let gref = pair.guest.lend(DomId(DomId::FIRST_RESERVED.0 - 1), false);
    let op = pair.segment(Direction::FromGuest, gref, 8);
    refused(&mut pair, op);
}

fn unknown_references_are_refused(fixture: &dyn Fixture) {
    let mut pair = Pair::new(fixture);
    let op = pair.segment(Direction::FromGuest, NO_SUCH, 8);
    assert_eq!(refused(&mut pair, op), GrantStatus(gntst::BAD_GNTREF));
}

fn an_ended_grant_is_refused(fixture: &dyn Fixture) {
    let mut pair = Pair::new(fixture);
    let gref = pair.lend(false);
    assert!(pair.guest.end(gref));
    let op = pair.segment(Direction::FromGuest, gref, 8);
    refused(&mut pair, op);
}

fn another_domid_is_refused(fixture: &dyn Fixture) {
    let mut pair = Pair::new(fixture);
    let gref = pair.lend(false);
    let op = pair.segment(Direction::FromGuest, gref, 8);
    refused(
        &mut pair,
        CopyOp {
            domid: DomId(op.domid.0 + 1000),
            ..op
        },
    );
}

fn a_segment_that_leaves_its_page_is_a_bad_argument(fixture: &dyn Fixture) {
    let mut pair = Pair::new(fixture);
    let gref = pair.lend(false);
    let op = pair.segment(Direction::FromGuest, gref, 8);
    let late = CopyOp {
        offset: PAGE - 7,
        ..op
    };
    assert_eq!(refused(&mut pair, late), BAD_COPY_ARG);
    let wrapping = CopyOp {
        offset: u16::MAX,
        len: u16::MAX,
        ..op
    };
    assert_eq!(refused(&mut pair, wrapping), BAD_COPY_ARG);
}

fn a_segment_that_leaves_the_arena_is_a_bad_argument(fixture: &dyn Fixture) {
    let mut pair = Pair::new(fixture);
    let gref = pair.lend(false);
    let op = pair.segment(Direction::FromGuest, gref, 8);
    assert_eq!(
        refused(
            &mut pair,
            CopyOp {
                local: PAGE_SIZE - 7,
                ..op
            }
        ),
        BAD_COPY_ARG
    );
    assert_eq!(
        refused(
            &mut pair,
            CopyOp {
                local: usize::MAX - 3,
                ..op
            }
        ),
        BAD_COPY_ARG
    );
}

fn a_refused_segment_does_not_stop_the_others(fixture: &dyn Fixture) {
    let mut pair = Pair::new(fixture);
    let gref = pair.lend(false);
    pair.guest.write(gref, 0, &[1, 2]);
    let mut arena = Arena::filled(PAGE_SIZE, 0);
    let good = pair.segment(Direction::FromGuest, gref, 1);
    let mut ops = [
        good,
        CopyOp {
            gref: NO_SUCH,
            ..good
        },
        CopyOp {
            offset: 1,
            local: 1,
            ..good
        },
    ];
    let statuses = pair.copy(&mut arena, &mut ops);
    assert_eq!([statuses[0], statuses[2]], [OKAY; 2]);
    assert_ne!(statuses[1], OKAY);
    assert_eq!(&arena.bytes[..3], [1, 2, 0]);
}

fn an_empty_batch_does_nothing(fixture: &dyn Fixture) {
    let mut pair = Pair::new(fixture);
    let before = pair.backend.platform().grants.system_calls();
    assert_eq!(pair.copy(&mut Arena::filled(0, 0), &mut []), []);
    assert_eq!(pair.backend.platform().grants.system_calls(), before);
}

fn map(pair: &mut Pair, grefs: &[GrantRef], access: Access) -> Result<Box<dyn Mapped>, MapError> {
    let domid = pair.guest.domid();
    pair.backend.platform().grants.map(domid, grefs, access)
}

fn a_mapped_write_is_seen_by_the_guest(fixture: &dyn Fixture) {
    let mut pair = Pair::new(fixture);
    let gref = pair.lend(false);
    let mapped = map(&mut pair, &[gref], Access::ReadWrite).expect("mapping");
    mapped
        .slice()
        .write_slice(b"hello", 100)
        .expect("inside the page");
    assert_eq!(pair.guest.read(gref, 100, 5), b"hello");
}

fn a_guests_write_is_seen_through_the_map(fixture: &dyn Fixture) {
    let mut pair = Pair::new(fixture);
    let gref = pair.lend(true);
    let mapped = map(&mut pair, &[gref], Access::ReadOnly).expect("mapping");
    pair.guest.write(gref, 4090, b"late");
    assert_eq!(
        mapped
            .slice()
            .read_obj::<[u8; 4]>(4090)
            .expect("inside the page"),
        *b"late"
    );
}

fn several_grants_are_mapped_side_by_side(fixture: &dyn Fixture) {
    let mut pair = Pair::new(fixture);
    let grefs: Vec<GrantRef> = (0..4).map(|_| pair.lend(false)).collect();
    grefs
        .iter()
        .zip(1..)
        .for_each(|(&gref, value)| pair.guest.write(gref, 0, &[value]));
    let mapped = map(&mut pair, &grefs, Access::ReadWrite).expect("mapping");
    assert_eq!(mapped.slice().len(), 4 * PAGE_SIZE);
    let first = |page| {
        mapped
            .slice()
            .read_obj::<u8>(page * PAGE_SIZE)
            .expect("inside the map")
    };
    assert_eq!([0, 1, 2, 3].map(first), [1, 2, 3, 4]);
}

fn a_mapped_grant_cannot_be_ended(fixture: &dyn Fixture) {
    let mut pair = Pair::new(fixture);
    let gref = pair.lend(false);
    let mapped = map(&mut pair, &[gref], Access::ReadWrite).expect("mapping");
    assert!(!pair.guest.end(gref));
    drop(mapped);
}

fn an_unmapped_grant_can_be_ended(fixture: &dyn Fixture) {
    let mut pair = Pair::new(fixture);
    let gref = pair.lend(false);
    drop(map(&mut pair, &[gref], Access::ReadWrite).expect("mapping"));
    assert!(pair.guest.end(gref));
}

fn a_page_mapped_twice_is_in_use_until_both_maps_are_gone(fixture: &dyn Fixture) {
    let mut pair = Pair::new(fixture);
    let gref = pair.lend(false);
    let first = map(&mut pair, &[gref], Access::ReadWrite).expect("mapping");
    let second = map(&mut pair, &[gref], Access::ReadOnly).expect("mapping again");
    drop(first);
    assert!(!pair.guest.end(gref));
    drop(second);
    assert!(pair.guest.end(gref));
}

fn a_read_only_grant_is_mapped_read_only_or_not_at_all(fixture: &dyn Fixture) {
    let mut pair = Pair::new(fixture);
    let gref = pair.lend(true);
    assert!(map(&mut pair, &[gref], Access::ReadWrite).is_err());
    assert!(map(&mut pair, &[gref], Access::ReadOnly).is_ok());
}

fn a_refused_map_leaves_nothing_mapped(fixture: &dyn Fixture) {
    let mut pair = Pair::new(fixture);
    let good = pair.lend(false);
    let refused = map(&mut pair, &[good, NO_SUCH], Access::ReadWrite).err();
    let named = refused.and_then(|error| match error {
        MapError::Refused { gref, .. } => Some(gref),
        MapError::Os { .. } => None,
    });
    assert_eq!(named, Some(NO_SUCH));
    assert!(pair.guest.end(good));
}

fn a_map_of_another_domain_is_refused(fixture: &dyn Fixture) {
    let mut pair = Pair::new(fixture);
    let gref = pair.lend(false);
    let other = DomId(pair.guest.domid().0 + 1000);
    let mapped = pair
        .backend
        .platform()
        .grants
        .map(other, &[gref], Access::ReadOnly);
    assert!(mapped.is_err());
    assert!(pair.guest.end(gref));
}
