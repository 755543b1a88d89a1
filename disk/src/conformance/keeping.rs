//! Claims about every disk that keeps what it is told.

use super::every::claims;
use super::{Claim, Fixture, LEASE_BYTES, LEASES, Rig, SECTORS, pattern};
use crate::DiskError;

/// The claims that hold for every disk that remembers.
pub const KEEPING: &[Claim] = claims![
    what_was_written_is_read_back,
    the_first_and_the_last_sector_keep_what_they_are_told,
    a_write_leaves_its_neighbours_alone,
    a_refused_write_changes_nothing,
    writes_in_flight_together_do_not_mix,
    the_last_of_two_writes_in_order_is_read_back,
    what_was_written_before_a_flush_is_there_after_it,
    a_seeded_history_reads_back_as_the_model_says,
];

fn what_was_written_is_read_back(fixture: &dyn Fixture) {
    let mut rig = fixture.rig(false);
    for units in [1, 2, 3, 7, LEASE_BYTES / rig.unit()] {
        let bytes = pattern(units as u64, units * rig.unit());
        rig.write(8, &bytes);
        assert_eq!(rig.read(8, bytes.len()), bytes, "{units} sectors");
    }
    rig.close();
}

fn the_first_and_the_last_sector_keep_what_they_are_told(fixture: &dyn Fixture) {
    let mut rig = fixture.rig(false);
    for sector in [0, SECTORS - rig.unit_sectors()] {
        let bytes = pattern(sector, rig.unit());
        rig.write(sector, &bytes);
        assert_eq!(rig.read(sector, bytes.len()), bytes);
    }
    rig.close();
}

fn a_write_leaves_its_neighbours_alone(fixture: &dyn Fixture) {
    let mut rig = fixture.rig(false);
    let (unit, sectors) = (rig.unit(), rig.unit_sectors());
    rig.write(0, &pattern(1, 3 * unit));
    let mut expected = pattern(1, 3 * unit);
    expected[unit..2 * unit].copy_from_slice(&pattern(2, unit));
    rig.write(sectors, &pattern(2, unit));
    assert_eq!(rig.read(0, 3 * unit), expected);
    rig.close();
}

fn a_refused_write_changes_nothing(fixture: &dyn Fixture) {
    let mut rig = fixture.rig(false);
    let (unit, last) = (rig.unit(), SECTORS - rig.unit_sectors());
    rig.write(last, &pattern(1, unit));
    let op = rig.write_op(last, &pattern(2, 2 * unit));
    assert_eq!(rig.run(op).result, Err(DiskError::Range));
    assert_eq!(rig.read(last, unit), pattern(1, unit));
    rig.close();
}

fn writes_in_flight_together_do_not_mix(fixture: &dyn Fixture) {
    let mut rig = fixture.rig(false);
    let (unit, sectors) = (rig.unit(), rig.unit_sectors());
    let places: Vec<u64> = (0..LEASES as u64).map(|n| n * sectors).collect();
    let writes = places
        .iter()
        .map(|at| rig.write_op(*at, &pattern(*at + 1, unit)))
        .collect();
    assert!(rig.run_all(writes).iter().all(|done| done.result.is_ok()));
    for at in places {
        assert_eq!(rig.read(at, unit), pattern(at + 1, unit), "sector {at}");
    }
    rig.close();
}

fn the_last_of_two_writes_in_order_is_read_back(fixture: &dyn Fixture) {
    let mut rig = fixture.rig(false);
    for seed in 0..8 {
        rig.write(0, &pattern(seed, LEASE_BYTES));
    }
    assert_eq!(rig.read(0, LEASE_BYTES), pattern(7, LEASE_BYTES));
    rig.close();
}

fn what_was_written_before_a_flush_is_there_after_it(fixture: &dyn Fixture) {
    let mut rig = fixture.rig(false);
    rig.write(0, &pattern(1, rig.unit()));
    let flush = rig.flush_op();
    let accepted = rig.run(flush).result.is_ok();
    assert_eq!(accepted, rig.disk.geometry().flush);
    assert_eq!(rig.read(0, rig.unit()), pattern(1, rig.unit()));
    rig.close();
}

/// Operations in the seeded history.
pub const HISTORY_OPS: u64 = 300;

/// The seed of the history. A failure is replayed by running the claim again.
pub const HISTORY_SEED: u64 = 0x4A1C_1014;

fn a_seeded_history_reads_back_as_the_model_says(fixture: &dyn Fixture) {
    let mut rig = fixture.rig(false);
    let mut model = vec![0; usize::try_from(SECTORS).expect("small") * abi::SECTOR_SIZE];
    let rolls = pattern(
        HISTORY_SEED,
        4 * usize::try_from(HISTORY_OPS).expect("small"),
    );
    for (seed, roll) in (0..HISTORY_OPS).zip(rolls.chunks_exact(4)) {
        let (sector, range) = place(&rig, roll);
        assert_eq!(
            rig.read(sector, range.len()),
            model[range.clone()],
            "operation {seed}"
        );
        let bytes = pattern(seed, range.len());
        rig.write(sector, &bytes);
        model[range].copy_from_slice(&bytes);
    }
    assert_eq!(whole(&mut rig), model);
    rig.close();
}

/// A range inside the disk, by chance: its first sector and its bytes.
fn place(rig: &Rig, roll: &[u8]) -> (u64, std::ops::Range<usize>) {
    let unit = rig.unit();
    let units = usize::try_from(SECTORS).expect("small") * abi::SECTOR_SIZE / unit;
    let len = 1 + usize::from(roll[0]) % (LEASE_BYTES / unit).min(units);
    let at = usize::from(u16::from_le_bytes([roll[1], roll[2]])) % (units - len + 1);
    (at as u64 * rig.unit_sectors(), at * unit..(at + len) * unit)
}

fn whole(rig: &mut Rig) -> Vec<u8> {
    let step = (LEASE_BYTES / abi::SECTOR_SIZE) as u64;
    let starts = (0..SECTORS / step).map(|n| n * step);
    starts
        .flat_map(|sector| rig.read(sector, LEASE_BYTES))
        .collect()
}
