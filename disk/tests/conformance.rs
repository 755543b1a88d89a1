//! Every claim of [`disk::conformance`] on every disk: in memory, in a driven world, and on this
//! machine's kernel and file systems. What needs root, a tool or a file system that is not here is
//! ignored, and its kind says what was missing.

mod support;

use std::sync::Arc;

use disk::conformance::{
    Claim, EVERY, HISTORY_OPS, HISTORY_SEED, KEEPING, LEASE_BYTES, Rig, SECTORS,
};
use disk::fault::Plan;
use disk::{Delay, Disk, Faulty, Geometry, Null, Ram, Raw};
use libtest_mimic::{Arguments, Trial};
use support::OWNER;
use support::driven::Driven;
use support::machine::{self, Place};

fn main() {
    let arguments = Arguments::from_args();
    println!("seeded history: seed {HISTORY_SEED:#x}, {HISTORY_OPS} operations");
    let places = machine::places(arguments.list);
    let mut trials = Vec::new();
    trials.extend(in_memory());
    trials.extend(in_a_world());
    trials.extend(places.into_iter().flat_map(on_this_machine));
    trials.push(machine::no_timer_is_left_behind());
    libtest_mimic::run(&arguments, trials).exit();
}

/// One trial for each claim on what `fixture` makes.
fn trials(name: &str, claims: &[Claim], fixture: fn(bool) -> Rig) -> Vec<Trial> {
    let trial = |claim: &Claim| {
        let check = claim.check;
        Trial::test(format!("{name}::{}", claim.name), move || {
            check(&fixture);
            Ok(())
        })
    };
    claims.iter().map(trial).collect()
}

fn both() -> Vec<Claim> {
    EVERY.iter().chain(KEEPING).copied().collect()
}

fn geometry(read_only: bool) -> Geometry {
    Geometry {
        read_only,
        ..Geometry::of_sectors(abi::Sector(SECTORS))
    }
}

fn ram(read_only: bool) -> Box<dyn Disk> {
    Box::new(Ram::new(geometry(read_only)).expect("1 MiB"))
}

fn rig(disk: Box<dyn Disk>) -> Rig {
    Rig::new(disk, Box::new(Driven::new()))
}

fn in_memory() -> Vec<Trial> {
    let null = |read_only| rig(Box::new(Null::new(geometry(read_only))));
    let no_flush = |read_only| {
        rig(Box::new(
            Ram::new(Geometry {
                flush: false,
                ..geometry(read_only)
            })
            .expect("1 MiB"),
        ))
    };
    let large = |read_only| {
        let sizes = Geometry {
            sector_size_bytes: 4096,
            ..geometry(read_only)
        };
        let sizes = Geometry {
            physical_sector_size_bytes: 16384,
            ..sizes
        };
        rig(Box::new(Ram::new(sizes).expect("1 MiB")))
    };
    let delay = |read_only| rig(Box::new(Delay::new(ram(read_only), OWNER, 1, 1000)));
    let faulty = |read_only| {
        rig(Box::new(
            Faulty::new(ram(read_only), OWNER, 1, Plan::none()).0,
        ))
    };
    [
        trials("null", EVERY, null),
        trials("ram", &both(), |read_only| rig(ram(read_only))),
        trials("ram_without_flush", &both(), no_flush),
        trials("ram_of_4096_byte_sectors", &both(), large),
        trials("delay_of_ram", &both(), delay),
        trials("fault_of_ram_without_a_fault", &both(), faulty),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn world(mut world: Driven, read_only: bool) -> (Raw, Box<Driven>) {
    let len_bytes = usize::try_from(SECTORS).expect("small") * abi::SECTOR_SIZE;
    let slot = world.add(len_bytes);
    (Raw::new(slot, geometry(read_only), OWNER), Box::new(world))
}

fn in_a_world() -> Vec<Trial> {
    let whole = |read_only| {
        let (raw, world) = world(Driven::new(), read_only);
        Rig::new(Box::new(raw), world)
    };
    let pieces = |read_only| {
        let (raw, world) = world(Driven::in_pieces_of(LEASE_BYTES / 8 + 100), read_only);
        Rig::new(Box::new(raw), world)
    };
    let layers = |read_only| {
        let (raw, world) = world(Driven::new(), read_only);
        let (faulty, _) = Faulty::new(Box::new(raw), OWNER, 1, Plan::none());
        Rig::new(
            Box::new(Delay::new(Box::new(faulty), OWNER, 2, 1000)),
            world,
        )
    };
    [
        trials("raw_in_a_world", &both(), whole),
        trials("raw_in_a_world_of_short_transfers", &both(), pieces),
        trials("delay_of_fault_of_raw_in_a_world", &both(), layers),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn on_this_machine(place: Place) -> Vec<Trial> {
    let place = Arc::new(place);
    let trial = |claim: Claim| {
        let mine = Arc::clone(&place);
        let run = move || {
            let _turn = mine.turn();
            (claim.check)(&|read_only| mine.rig(read_only));
            Ok(())
        };
        let trial = Trial::test(format!("raw_on_{}::{}", place.name, claim.name), run);
        let missing = place.missing.clone();
        trial
            .with_ignored_flag(missing.is_some())
            .with_kind(missing.unwrap_or_default())
    };
    both().into_iter().map(trial).collect()
}
