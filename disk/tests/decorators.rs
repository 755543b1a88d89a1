//! Claims about disks that forget, wait or fail on purpose.

mod support;

use abi::Sector;
use disk::conformance::{Claim, EVERY, KEEPING, Rig, pattern};
use disk::fault::{Control, Fault, Plan, Rates, Rule};
use disk::{Delay, DiskError, Faulty, Geometry, Null, OpKind, Ram};
use reactor::Nanos;
use support::driven::Driven;

const SECTORS: Sector = Sector(2048);

fn ram() -> Box<Ram> {
    Box::new(Ram::new(Geometry::of_sectors(SECTORS)).unwrap())
}

fn faulty(plan: Plan) -> (Rig, Control) {
    let (disk, control) = Faulty::new(ram(), 16, 1, plan);
    (Rig::new(Box::new(disk), Box::new(Driven::new())), control)
}

fn once(fault: Fault) -> Plan {
    Plan::Script(vec![Rule {
        times: 1,
        ..Rule::always(fault)
    }])
}

#[test]
fn null_reads_zeroes_whatever_was_written() {
    let disk = Null::new(Geometry::of_sectors(SECTORS));
    let mut rig = Rig::new(Box::new(disk), Box::new(Driven::new()));
    rig.write(0, &pattern(1, 10_240));
    assert_eq!(rig.read(0, 10_240), vec![0; 10_240]);
}

#[test]
fn ram_larger_than_memory_can_address_is_refused() {
    assert!(Ram::new(Geometry::of_sectors(Sector(u64::MAX))).is_none());
}

#[test]
fn delay_starts_an_operation_when_its_time_has_come() {
    const LATENCY_NS: Nanos = 5_000_000;
    let disk = Delay::new(ram(), 16, 1, LATENCY_NS);
    let mut rig = Rig::new(Box::new(disk), Box::new(Driven::new()));
    rig.write(0, &pattern(1, 512));
    assert_eq!(rig.reactor.now(), LATENCY_NS);
    assert_eq!(rig.read(0, 512), pattern(1, 512));
    assert_eq!(rig.reactor.now(), 2 * LATENCY_NS);
}

#[test]
fn delays_add_up_when_they_wrap_each_other() {
    let inner = Delay::new(ram(), 16, 1, 300);
    let outer = Delay::new(Box::new(inner), 16, 2, 40);
    let mut rig = Rig::new(Box::new(outer), Box::new(Driven::new()));
    rig.write(0, &pattern(1, 512));
    assert_eq!(rig.reactor.now(), 340);
}

#[test]
fn an_error_leaves_the_disk_as_it_was() {
    let (mut rig, control) = faulty(once(Fault::Error));
    let op = rig.write_op(0, &pattern(1, 1024));
    assert_eq!(rig.run(op).result, Err(DiskError::Os(libc::EIO)));
    assert_eq!(rig.read(0, 1024), vec![0; 1024]);
    assert_eq!(control.injected(Fault::Error), 1);
}

#[test]
fn a_torn_write_leaves_its_first_half() {
    let (mut rig, control) = faulty(once(Fault::Torn));
    let op = rig.write_op(0, &pattern(1, 1024));
    assert_eq!(rig.run(op).result, Err(DiskError::Os(libc::EIO)));
    assert_eq!(rig.read(0, 512), pattern(1, 1024)[..512]);
    assert_eq!(rig.read(1, 512), vec![0; 512]);
    assert_eq!(control.injected(Fault::Torn), 1);
}

#[test]
fn a_short_transfer_ends_as_truncated() {
    let (mut rig, _) = faulty(once(Fault::Short));
    let op = rig.op(OpKind::Read, 0, 1024);
    assert_eq!(rig.run(op).result, Err(DiskError::Truncated));
}

#[test]
fn a_single_sector_cannot_be_torn() {
    let (mut rig, _) = faulty(once(Fault::Torn));
    let op = rig.write_op(0, &pattern(1, 512));
    assert_eq!(rig.run(op).result, Err(DiskError::Os(libc::EIO)));
    assert_eq!(rig.read(0, 512), vec![0; 512]);
}

#[test]
fn a_hung_operation_stays_outstanding_until_it_is_released() {
    let (mut rig, control) = faulty(once(Fault::Hang));
    let op = rig.write_op(0, &pattern(1, 512));
    assert!(rig.submit(op).is_none());
    assert!(rig.step().is_empty());
    assert_eq!((rig.disk.outstanding(), control.hung()), (1, 1));
    control.release(&mut *rig.reactor);
    let ended = rig.step();
    assert_eq!(ended.len(), 1);
    assert_eq!(ended[0].result, Ok(()));
    assert_eq!((rig.disk.outstanding(), control.hung()), (0, 0));
    assert_eq!(rig.read(0, 512), pattern(1, 512));
}

#[test]
fn others_go_on_beside_a_hung_operation() {
    let (mut rig, control) = faulty(once(Fault::Hang));
    let op = rig.write_op(0, &pattern(1, 512));
    assert!(rig.submit(op).is_none());
    let op = rig.write_op(1, &pattern(2, 512));
    assert_eq!(rig.submit(op).unwrap().result, Ok(()));
    assert_eq!(control.hung(), 1);
}

#[test]
fn a_rule_hits_only_what_touches_its_sectors() {
    let rule = Rule {
        sectors: 10..12,
        ..Rule::always(Fault::Error)
    };
    let (mut rig, _) = faulty(Plan::Script(vec![rule]));
    for (sector, len_bytes, ok) in [
        (9, 512, true),
        (9, 1024, false),
        (11, 512, false),
        (12, 512, true),
    ] {
        let op = rig.op(OpKind::Read, sector, len_bytes);
        assert_eq!(
            rig.run(op).result.is_ok(),
            ok,
            "{sector}, {len_bytes} bytes"
        );
    }
}

#[test]
fn a_rule_for_flushes_hits_flushes_alone() {
    let rule = Rule {
        kind: Some(OpKind::Flush),
        ..Rule::always(Fault::Torn)
    };
    let (mut rig, _) = faulty(Plan::Script(vec![rule]));
    let flush = rig.flush_op();
    assert_eq!(rig.run(flush).result, Err(DiskError::Os(libc::EIO)));
    rig.write(0, &pattern(1, 512));
}

#[test]
fn a_rule_that_is_used_up_hits_no_more() {
    let (mut rig, control) = faulty(once(Fault::Error));
    let ops = (0..3).map(|_| rig.op(OpKind::Read, 0, 512)).collect();
    let failed = rig
        .run_all(ops)
        .iter()
        .filter(|done| done.result.is_err())
        .count();
    assert_eq!((failed, control.injected(Fault::Error)), (1, 1));
}

#[test]
fn what_the_disk_refuses_draws_no_fault() {
    let (mut rig, control) = faulty(once(Fault::Error));
    let op = rig.op(OpKind::Read, SECTORS.0, 512);
    assert_eq!(rig.run(op).result, Err(DiskError::Range));
    assert_eq!(control.injected(Fault::Error), 0);
}

/// Which of the first thousand reads fail under a seed, and how often each fault hit.
fn history(seed: u64) -> (Vec<bool>, [u64; 3]) {
    let rates = Rates {
        error: 50,
        short: 50,
        torn: 50,
        hang: 0,
    };
    let (mut rig, control) = faulty(Plan::Seeded { seed, rates });
    let mut read = |_| {
        let op = rig.op(OpKind::Read, 0, 1024);
        rig.run(op).result.is_ok()
    };
    let ends = (0..1000).map(&mut read).collect();
    (
        ends,
        [Fault::Error, Fault::Short, Fault::Torn].map(|fault| control.injected(fault)),
    )
}

#[test]
fn the_same_seed_gives_the_same_faults() {
    assert_eq!(history(7), history(7));
    assert_ne!(history(7).0, history(8).0);
}

#[test]
fn every_kind_of_fault_comes_at_about_its_rate() {
    let (_, counts) = history(1);
    assert!(
        counts.iter().all(|count| (25..100).contains(count)),
        "{counts:?}"
    );
}

#[test]
fn a_new_plan_takes_effect_at_once() {
    let (mut rig, control) = faulty(Plan::none());
    rig.write(0, &pattern(1, 512));
    control.replace(Plan::Script(vec![Rule::always(Fault::Error)]));
    let op = rig.op(OpKind::Read, 0, 512);
    assert_eq!(rig.run(op).result, Err(DiskError::Os(libc::EIO)));
}

fn claim(name: &str) -> Claim {
    *EVERY
        .iter()
        .chain(KEEPING)
        .find(|claim| claim.name == name)
        .expect("there is such a claim")
}

#[test]
#[should_panic(expected = "1 sectors")]
fn the_suite_catches_a_disk_that_forgets() {
    (claim("what_was_written_is_read_back").check)(&|_| {
        let disk = Null::new(Geometry::of_sectors(SECTORS));
        Rig::new(Box::new(disk), Box::new(Driven::new()))
    });
}

#[test]
#[should_panic(expected = "operations never ended")]
fn the_suite_catches_a_disk_that_loses_an_operation() {
    let claim = claim("operations_in_flight_end_exactly_once_each_with_its_own_lease");
    (claim.check)(&|_| faulty(once(Fault::Hang)).0);
}

#[test]
#[should_panic(expected = "the write succeeds")]
fn the_suite_catches_a_disk_that_fails() {
    (claim("a_seeded_history_reads_back_as_the_model_says").check)(&|_| {
        let rule = Rule {
            kind: Some(OpKind::Write),
            ..Rule::always(Fault::Torn)
        };
        faulty(Plan::Script(vec![rule])).0
    });
}
