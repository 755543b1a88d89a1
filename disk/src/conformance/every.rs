//! Claims about every disk, also one that forgets what it is told.

use std::collections::BTreeSet;

use super::{Claim, Fixture, LEASE_BYTES, LEASES, Rig, SECTORS, bytes_of, fill};
use crate::{DiskError, Op, OpKind};

macro_rules! claims {
    ($($name:ident),* $(,)?) => { &[$(Claim { name: stringify!($name), check: $name }),*] };
}
pub(super) use claims;

/// The claims that hold for every disk.
pub const EVERY: &[Claim] = claims![
    the_geometry_is_consistent_and_does_not_change,
    the_first_and_the_last_sector_can_be_read,
    a_range_that_ends_beyond_the_disk_is_refused,
    a_range_that_wraps_is_refused,
    a_length_that_is_not_whole_sectors_is_refused,
    a_transfer_of_no_bytes_is_refused,
    a_transfer_longer_than_its_lease_is_refused,
    a_transfer_without_memory_is_refused,
    a_refused_transfer_gives_its_lease_back_untouched,
    a_flush_succeeds_exactly_where_the_geometry_says_so,
    a_read_only_disk_refuses_writes_and_serves_reads,
    a_read_leaves_the_rest_of_its_lease_alone,
    operations_in_flight_end_exactly_once_each_with_its_own_lease,
    the_largest_name_an_operation_may_have_comes_back,
    nothing_is_outstanding_before_the_first_and_after_the_last_operation,
    a_lease_is_back_in_the_pool_when_its_operation_is_forgotten,
];

const TRANSFERS: [OpKind; 2] = [OpKind::Read, OpKind::Write];

/// What an operation ended with.
fn result(rig: &mut Rig, op: Op) -> Result<(), DiskError> {
    rig.run(op).result
}

fn the_geometry_is_consistent_and_does_not_change(fixture: &dyn Fixture) {
    let mut rig = fixture.rig(false);
    let geometry = rig.disk.geometry();
    assert_eq!(geometry.sectors.0, SECTORS);
    assert!(geometry.sector_size_bytes.is_power_of_two() && geometry.sector_size_bytes >= 512);
    assert!(
        geometry
            .physical_sector_size_bytes
            .is_multiple_of(geometry.sector_size_bytes)
    );
    assert!(SECTORS.is_multiple_of(rig.unit_sectors()));
    rig.read(0, rig.unit());
    assert_eq!(rig.disk.geometry(), geometry);
    rig.close();
}

fn the_first_and_the_last_sector_can_be_read(fixture: &dyn Fixture) {
    let mut rig = fixture.rig(false);
    assert_eq!(rig.read(0, rig.unit()), vec![0; rig.unit()]);
    let last = SECTORS - rig.unit_sectors();
    assert_eq!(rig.read(last, rig.unit()), vec![0; rig.unit()]);
    rig.close();
}

fn a_range_that_ends_beyond_the_disk_is_refused(fixture: &dyn Fixture) {
    let mut rig = fixture.rig(false);
    let unit = rig.unit_sectors();
    for kind in TRANSFERS {
        for (sector, units) in [(SECTORS, 1), (SECTORS - unit, 2), (SECTORS + unit, 1)] {
            let op = rig.op(kind, sector, units * rig.unit());
            assert_eq!(
                result(&mut rig, op),
                Err(DiskError::Range),
                "{kind:?} {sector}+{units}"
            );
        }
    }
    rig.close();
}

fn a_range_that_wraps_is_refused(fixture: &dyn Fixture) {
    let mut rig = fixture.rig(false);
    for kind in TRANSFERS {
        for sector in [
            u64::MAX,
            u64::MAX - 7,
            u64::MAX / 512,
            u64::MAX / 512 + 1,
            1 << 55,
        ] {
            let op = rig.op(kind, sector, LEASE_BYTES);
            assert_eq!(
                result(&mut rig, op),
                Err(DiskError::Range),
                "{kind:?} from {sector}"
            );
        }
    }
    rig.close();
}

fn a_length_that_is_not_whole_sectors_is_refused(fixture: &dyn Fixture) {
    let mut rig = fixture.rig(false);
    for kind in TRANSFERS {
        for len_bytes in [
            1,
            rig.unit() - 1,
            rig.unit() + 1,
            rig.unit() + rig.unit() / 2,
        ] {
            let op = rig.op(kind, 0, len_bytes);
            assert_eq!(
                result(&mut rig, op),
                Err(DiskError::Range),
                "{kind:?} of {len_bytes}"
            );
        }
    }
    rig.close();
}

fn a_transfer_of_no_bytes_is_refused(fixture: &dyn Fixture) {
    let mut rig = fixture.rig(false);
    for kind in TRANSFERS {
        let op = rig.op(kind, 0, 0);
        assert_eq!(result(&mut rig, op), Err(DiskError::Range));
    }
    rig.close();
}

fn a_transfer_longer_than_its_lease_is_refused(fixture: &dyn Fixture) {
    let mut rig = fixture.rig(false);
    for kind in TRANSFERS {
        let op = rig.op(kind, 0, LEASE_BYTES + rig.unit());
        assert_eq!(result(&mut rig, op), Err(DiskError::Range));
    }
    rig.close();
}

fn a_transfer_without_memory_is_refused(fixture: &dyn Fixture) {
    let mut rig = fixture.rig(false);
    for kind in TRANSFERS {
        let op = Op {
            lease: None,
            ..rig.op(kind, 0, rig.unit())
        };
        assert_eq!(result(&mut rig, op), Err(DiskError::Range));
    }
    rig.close();
}

fn a_refused_transfer_gives_its_lease_back_untouched(fixture: &dyn Fixture) {
    let mut rig = fixture.rig(false);
    let op = rig.op(OpKind::Read, SECTORS, rig.unit());
    let before = vec![0x3C; rig.unit()];
    fill(&op, &before);
    let done = rig.run(op);
    assert_eq!(bytes_of(done.lease.as_ref(), rig.unit()), before);
    rig.close();
}

fn a_flush_succeeds_exactly_where_the_geometry_says_so(fixture: &dyn Fixture) {
    let mut rig = fixture.rig(false);
    let op = rig.flush_op();
    let done = rig.run(op);
    assert_eq!(
        done.result.is_ok(),
        rig.disk.geometry().flush,
        "{:?}",
        done.result
    );
    assert!(done.lease.is_none());
    rig.close();
}

fn a_read_only_disk_refuses_writes_and_serves_reads(fixture: &dyn Fixture) {
    let mut rig = fixture.rig(true);
    assert!(rig.disk.geometry().read_only);
    let write = rig.op(OpKind::Write, 0, rig.unit());
    assert_eq!(result(&mut rig, write), Err(DiskError::ReadOnly));
    assert_eq!(rig.read(0, rig.unit()), vec![0; rig.unit()]);
    rig.close();
}

fn a_read_leaves_the_rest_of_its_lease_alone(fixture: &dyn Fixture) {
    let mut rig = fixture.rig(false);
    let op = rig.op(OpKind::Read, 0, rig.unit());
    fill(&op, &vec![0xA5; LEASE_BYTES]);
    let done = rig.run(op);
    let lease = bytes_of(done.lease.as_ref(), LEASE_BYTES);
    assert_eq!(lease[..rig.unit()], vec![0; rig.unit()]);
    assert_eq!(lease[rig.unit()..], vec![0xA5; LEASE_BYTES - rig.unit()]);
    rig.close();
}

fn operations_in_flight_end_exactly_once_each_with_its_own_lease(fixture: &dyn Fixture) {
    let mut rig = fixture.rig(false);
    let kinds = TRANSFERS.into_iter().cycle().take(LEASES);
    let ops: Vec<Op> = kinds.map(|kind| rig.op(kind, 0, rig.unit())).collect();
    let place = |id: u32, lease: Option<&reactor::Lease>| (id, lease.map(|l| l.arena_offset()));
    let lent: BTreeSet<_> = ops
        .iter()
        .map(|op| place(op.id, op.lease.as_ref()))
        .collect();
    let dones = rig.run_all(ops);
    let back: BTreeSet<_> = dones
        .iter()
        .map(|done| place(done.id, done.lease.as_ref()))
        .collect();
    assert_eq!(back, lent);
    assert!(dones.iter().all(|done| done.result.is_ok()));
    drop(dones);
    rig.close();
}

fn the_largest_name_an_operation_may_have_comes_back(fixture: &dyn Fixture) {
    let mut rig = fixture.rig(false);
    let op = Op {
        id: (1 << 31) - 1,
        ..rig.op(OpKind::Read, 0, rig.unit())
    };
    assert_eq!(rig.run(op).result, Ok(()));
    rig.close();
}

fn nothing_is_outstanding_before_the_first_and_after_the_last_operation(fixture: &dyn Fixture) {
    let mut rig = fixture.rig(false);
    assert_eq!(rig.disk.outstanding(), 0);
    let mut ended = Vec::new();
    for submitted in 1..=LEASES {
        let op = rig.op(OpKind::Read, 0, rig.unit());
        ended.extend(rig.submit(op));
        assert_eq!(rig.disk.outstanding() + ended.len(), submitted);
    }
    while rig.disk.outstanding() > 0 {
        ended.extend(rig.step());
    }
    assert_eq!(ended.len(), LEASES);
    rig.close();
}

fn a_lease_is_back_in_the_pool_when_its_operation_is_forgotten(fixture: &dyn Fixture) {
    let mut rig = fixture.rig(false);
    for _ in 0..3 * LEASES {
        let op = rig.op(OpKind::Read, 0, rig.unit());
        drop(rig.run(op));
    }
    assert_eq!(rig.pool.free(), LEASES);
    rig.close();
}
