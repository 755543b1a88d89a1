//! The verified load, and that it notices.

use abi::{SECTOR_SIZE, Sector};

use super::naive::Fault;
use super::{SECTORS, Town, honest};
use crate::front::workload::Progress;
use crate::front::workload::{UNCERTAIN, stamp};
use crate::front::{Blkfront, Initial, Model, Pattern, Plan, Workload};

const SEED: u64 = 42;
/// Steps that a load of these tests is given.
const STEPS: u64 = 10_000;

fn plan(pattern: Pattern, requests: u64) -> Plan {
    Plan {
        pattern,
        seed: 1,
        depth: 8,
        requests,
        duration_ns: 0,
        write: true,
    }
}

fn model() -> Model {
    Model::new(SEED, Sector(SECTORS as u64), Initial::Zeroes)
}

/// Steps a load to its end; a microsecond passes between steps.
fn run(town: &mut Town, front: &mut Blkfront, load: &mut Workload) -> Progress {
    let step = |now_us: u64| {
        let progress = load.step(front, &mut town.kernel(), now_us * 1000);
        town.backend.serve();
        front.kicked(&mut town.kernel());
        progress
    };
    (0..STEPS)
        .map(step)
        .find(|progress| *progress != Progress::Running)
        .unwrap()
}

fn broken(fault: Fault, pattern: Pattern) -> Workload {
    let mut town = Town::new();
    let mut front = town.connected(honest());
    town.backend.fault = fault;
    let mut load = Workload::new(plan(pattern, 100), model());
    assert_eq!(run(&mut town, &mut front, &mut load), Progress::Finished);
    load
}

#[test]
fn a_mixed_load_on_a_good_disk_finds_nothing() {
    let mut town = Town::new();
    let mut front = town.connected(honest());
    let mut load = Workload::new(plan(Pattern::Mixed, 2000), model());
    assert_eq!(run(&mut town, &mut front, &mut load), Progress::Finished);
    let counts = load.counts();
    assert_eq!(counts.requests, 2000);
    assert_eq!(counts.reads + counts.writes + counts.flushes, 2000);
    assert!(
        counts.reads > 700 && counts.writes > 700 && counts.flushes > 10,
        "{counts:?}"
    );
    assert_eq!(
        (
            counts.mismatched,
            counts.errors,
            counts.lost,
            counts.unsupported
        ),
        (0, 0, 0, 0)
    );
    assert!(counts.verified_bytes > 0 && counts.latency.count() == 2000);
    assert_eq!((front.violations(), town.lent()), (&[][..], 1));
}

#[test]
fn the_dumped_model_describes_the_image_to_an_independent_reader() {
    let mut town = Town::new();
    let mut front = town.connected(honest());
    let mut load = Workload::new(plan(Pattern::Mixed, 500), model());
    run(&mut town, &mut front, &mut load);
    let mut dump = Vec::new();
    load.model().dump(&mut dump).unwrap();
    let generations = dump
        .chunks_exact(4)
        .map(|word| u32::from_le_bytes(word.try_into().unwrap()));
    let expected = (0..)
        .map(Sector)
        .zip(generations)
        .map(|(sector, generation)| {
            if generation == 0 {
                [0; SECTOR_SIZE]
            } else {
                stamp(SEED, sector, generation)
            }
        });
    let expected: Vec<u8> = expected.flatten().collect();
    assert!(expected == town.backend.bytes);
}

#[test]
fn each_pattern_comes_to_its_end() {
    let patterns = [
        Pattern::SequentialWrite,
        Pattern::SequentialRead,
        Pattern::RandomWrite,
        Pattern::RandomRead,
    ];
    let mut town = Town::new();
    let mut front = town.connected(honest());
    let mut load = Workload::new(plan(Pattern::Mixed, 10), model());
    run(&mut town, &mut front, &mut load);
    for pattern in patterns {
        load = load.again(plan(pattern, 200));
        assert_eq!(run(&mut town, &mut front, &mut load), Progress::Finished);
        let counts = load.counts();
        assert_eq!(
            (counts.requests, counts.mismatched, counts.errors),
            (200, 0, 0)
        );
    }
}

#[test]
fn a_load_lasts_as_long_as_planned() {
    let mut town = Town::new();
    let mut front = town.connected(honest());
    let plan = Plan {
        duration_ns: 500_000,
        ..plan(Pattern::RandomRead, 1)
    };
    let mut load = Workload::new(plan, model());
    assert_eq!(run(&mut town, &mut front, &mut load), Progress::Finished);
    let counts = load.counts();
    assert!(counts.requests > 1000 && counts.last_ns - counts.first_ns >= 500_000);
}

#[test]
fn a_load_that_may_not_write_does_not() {
    let mut town = Town::new();
    let mut front = town.connected(honest());
    let plan = Plan {
        write: false,
        ..plan(Pattern::Mixed, 200)
    };
    let mut load = Workload::new(plan, model());
    run(&mut town, &mut front, &mut load);
    assert_eq!((load.counts().writes, load.counts().mismatched), (0, 0));
}

#[test]
fn a_disk_with_content_of_its_own_is_verified_against_it() {
    let mut town = Town::new();
    let mut front = town.connected(honest());
    town.backend.bytes.fill(0x5A);
    let given = Initial::Given(Box::new(|_, block| block.fill(0x5A)));
    let model = Model::new(SEED, Sector(SECTORS as u64), given);
    let mut load = Workload::new(plan(Pattern::Mixed, 300), model);
    run(&mut town, &mut front, &mut load);
    assert_eq!(load.counts().mismatched, 0);
}

#[test]
fn where_nobody_knows_the_content_only_what_was_written_is_compared() {
    let mut town = Town::new();
    let mut front = town.connected(honest());
    town.backend.bytes.fill(0x5A);
    let model = Model::new(SEED, Sector(SECTORS as u64), Initial::Unknown);
    let mut reads = Workload::new(plan(Pattern::RandomRead, 100), model);
    run(&mut town, &mut front, &mut reads);
    assert_eq!(
        (reads.counts().verified_bytes, reads.counts().mismatched),
        (0, 0)
    );
    let mut load = reads.again(plan(Pattern::Mixed, 1000));
    run(&mut town, &mut front, &mut load);
    assert!(load.counts().verified_bytes > 0);
    assert_eq!(load.counts().mismatched, 0);
}

#[test]
fn a_flipped_byte_is_found() {
    let load = broken(Fault::FlippedByte, Pattern::RandomRead);
    assert_eq!(load.counts().mismatched, 100);
    assert_eq!(
        (load.mismatches().len(), load.mismatches()[0].generation),
        (16, 0)
    );
}

#[test]
fn a_write_that_did_not_happen_is_found() {
    assert!(broken(Fault::LostWrite, Pattern::Mixed).counts().mismatched > 0);
}

#[test]
fn a_read_that_copied_nothing_is_found() {
    assert_eq!(
        broken(Fault::LostRead, Pattern::RandomRead)
            .counts()
            .mismatched,
        800
    );
}

#[test]
fn a_failed_write_leaves_both_contents_possible() {
    let mut town = Town::new();
    let mut front = town.connected(honest());
    let mut load = Workload::new(plan(Pattern::SequentialWrite, 2), model());
    town.backend.fault = Fault::Error;
    run(&mut town, &mut front, &mut load);
    assert_eq!(
        (load.counts().errors, load.model().certain(Sector(0))),
        (2, UNCERTAIN)
    );
    town.backend.fault = Fault::None;
    let mut load = load.again(plan(Pattern::SequentialRead, 2));
    run(&mut town, &mut front, &mut load);
    assert_eq!(load.counts().mismatched, 0);
    let mut load = load.again(plan(Pattern::SequentialWrite, 2));
    run(&mut town, &mut front, &mut load);
    assert_eq!(load.model().certain(Sector(0)), 2);
}

#[test]
fn a_write_that_is_acknowledged_after_a_failed_flush_is_found() {
    let load = broken(Fault::FlushError, Pattern::Mixed);
    let counts = load.counts();
    assert!(counts.acknowledged_after_flush > 0);
    assert_eq!(counts.errors_after_flush + 1, counts.flushes);
}

#[test]
fn a_load_that_is_stopped_after_a_failed_flush_is_in_order() {
    let load = broken(Fault::Error, Pattern::Mixed);
    let counts = load.counts();
    assert!(counts.errors_after_flush > 0);
    assert_eq!(counts.acknowledged_after_flush, 0);
}

#[test]
fn a_load_whose_connection_ends_says_so() {
    let mut town = Town::new();
    let mut front = town.connected(honest());
    let mut load = Workload::new(plan(Pattern::RandomWrite, 100), model());
    assert_eq!(
        load.step(&mut front, &mut town.kernel(), 0),
        Progress::Running
    );
    town.backend.detach(&town.host);
    town.settle_front(&mut front);
    assert_eq!(
        load.step(&mut front, &mut town.kernel(), 0),
        Progress::Stuck
    );
    assert_eq!((load.counts().lost, load.in_flight()), (8, 0));
}
