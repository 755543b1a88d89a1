//! Claims about grant entries, the guest's side and the hypervisor's.
#![expect(clippy::unwrap_used, reason = "a test may fail")]

use abi::grant_table::{NR_RESERVED_ENTRIES, gntst};
use abi::{DomId, Gfn, GrantRef};
use xen::{Access, GrantStatus};

use super::{CAPACITY, Entries, Pins, StillInUse, Table};

const MAPPER: DomId = DomId(0);
const FRAMES: u64 = 64;

fn table() -> Table {
    Table::new(Entries::create(FRAMES).unwrap())
}

fn refused(code: i16) -> Result<Gfn, GrantStatus> {
    Err(GrantStatus(code))
}

#[test]
fn a_grant_lets_its_domain_reach_its_frame() {
    let mut table = table();
    let gref = table.grant(MAPPER, Gfn(5), false).unwrap();
    assert_eq!(
        table.entries().check(MAPPER, gref, Access::ReadWrite),
        Ok(Gfn(5))
    );
}

#[test]
fn another_domain_is_refused() {
    let mut table = table();
    let gref = table.grant(MAPPER, Gfn(5), false).unwrap();
    let verdict = table.entries().check(DomId(9), gref, Access::ReadOnly);
    assert_eq!(verdict, refused(gntst::GENERAL_ERROR));
}

#[test]
fn a_read_only_grant_refuses_writes_and_allows_reads() {
    let mut table = table();
    let gref = table.grant(MAPPER, Gfn(5), true).unwrap();
    let write = table.entries().check(MAPPER, gref, Access::ReadWrite);
    assert_eq!(write, refused(gntst::GENERAL_ERROR));
    assert_eq!(
        table.entries().check(MAPPER, gref, Access::ReadOnly),
        Ok(Gfn(5))
    );
}

#[test]
fn references_beyond_the_table_and_frames_beyond_memory_are_refused() {
    let mut table = table();
    let beyond = table.grant(MAPPER, Gfn(FRAMES), false).unwrap();
    let check = |gref| table.entries().check(MAPPER, gref, Access::ReadOnly);
    assert_eq!(check(GrantRef(CAPACITY)), refused(gntst::BAD_GNTREF));
    assert_eq!(check(GrantRef(u32::MAX)), refused(gntst::BAD_GNTREF));
    assert_eq!(check(beyond), refused(gntst::BAD_PAGE));
}

#[test]
fn an_ended_grant_is_refused_and_its_entry_is_reused() {
    let mut table = table();
    let gref = table.grant(MAPPER, Gfn(5), false).unwrap();
    table.end(gref).unwrap();
    let verdict = table.entries().check(MAPPER, gref, Access::ReadOnly);
    assert_eq!(verdict, refused(gntst::GENERAL_ERROR));
    assert_eq!(table.grant(MAPPER, Gfn(6), false), Some(gref));
}

#[test]
fn a_pinned_grant_cannot_be_ended_until_the_last_pin_goes() {
    let mut table = table();
    let mut pins = Pins::default();
    let gref = table.grant(MAPPER, Gfn(5), false).unwrap();
    let entries = table.entries().clone();
    pins.pin(&entries, MAPPER, gref, Access::ReadWrite).unwrap();
    pins.pin(&entries, MAPPER, gref, Access::ReadOnly).unwrap();
    assert_eq!(table.end(gref), Err(StillInUse(gref)));
    pins.unpin(&entries, gref, Access::ReadWrite);
    assert_eq!(table.end(gref), Err(StillInUse(gref)));
    pins.unpin(&entries, gref, Access::ReadOnly);
    assert_eq!(table.end(gref), Ok(()));
    assert!(pins.is_empty());
}

#[test]
fn a_refused_pin_leaves_nothing_behind() {
    let mut table = table();
    let mut pins = Pins::default();
    let gref = table.grant(MAPPER, Gfn(5), true).unwrap();
    let entries = table.entries().clone();
    assert!(pins.pin(&entries, MAPPER, gref, Access::ReadWrite).is_err());
    assert!(pins.is_empty());
    assert_eq!(table.end(gref), Ok(()));
}

#[test]
fn a_full_table_says_so_and_the_reserved_entries_stay_out() {
    let mut table = table();
    let lent: Vec<_> = std::iter::from_fn(|| table.grant(MAPPER, Gfn(1), false)).collect();
    assert_eq!(lent.len(), (CAPACITY - NR_RESERVED_ENTRIES) as usize);
    assert!(lent.iter().all(|gref| gref.0 >= NR_RESERVED_ENTRIES));
    assert_eq!(table.entries().in_use(), lent.len());
}
