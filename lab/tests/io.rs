//! `lab-io` on files: what it must accept, and what it must notice.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lab::io::{
    Content, Failure, Mismatch, Op, Order, Outcome, Pace, Pattern, RateOrder, Target, rate, verify,
    write_verify,
};

const SIZE_BYTES: u64 = 4 << 20;
const DEPTH: u32 = 16;

/// A file that is gone with its test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let file = format!("lab-io-{}-{name}", std::process::id());
        Self(std::env::temp_dir().join(file))
    }

    fn target(&self) -> Target {
        Target::create(&self.0, SIZE_BYTES).unwrap()
    }

    /// A load on it.
    fn load(&self, requests: u64) -> Result<Outcome, Failure> {
        let pace = Pace {
            depth: DEPTH,
            flush_every: 100,
        };
        write_verify(&self.target(), &order(requests), pace)
    }

    fn verify(&self, requests: u64) -> Result<u64, Failure> {
        verify(&self.target(), &order(requests), DEPTH).map(|verified| verified.verified_sectors)
    }

    /// Overwrites a sector behind the load's back.
    fn put(&self, sector: u64, block: &[u8; 512]) {
        let file = fs::File::options().write(true).open(&self.0).unwrap();
        file.write_all_at(block, sector * 512).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

fn order(requests: u64) -> Order {
    Order {
        seed: 7,
        requests,
        bytes_max: 65536,
        range: None,
    }
}

fn sector(path: &Path, sector: u64) -> [u8; 512] {
    let mut block = [0; 512];
    let file = fs::File::open(path).unwrap();
    file.read_exact_at(&mut block, sector * 512).unwrap();
    block
}

/// The mismatch that was found.
fn mismatch(found: Result<u64, Failure>) -> Mismatch {
    match found {
        Err(Failure::Mismatch(mismatch)) => mismatch,
        other => panic!("no mismatch: {other:?}"),
    }
}

#[test]
fn a_load_compares_what_it_reads_and_counts_what_it_did() {
    let scratch = Scratch::new("counts");
    let outcome = scratch.load(2000).unwrap();
    assert_eq!(outcome.reads + outcome.writes, 2000);
    assert!(outcome.flushes >= 20, "{outcome:?}");
    assert!(
        outcome.verified_sectors > 2 * outcome.unknown_sectors,
        "{outcome:?}"
    );
}

#[test]
fn what_a_load_left_behind_follows_from_its_seed() {
    let scratch = Scratch::new("replay");
    scratch.load(1000).unwrap();
    assert!(scratch.verify(1000).unwrap() > 4000);
}

#[test]
fn the_depth_does_not_change_what_is_left_behind() {
    let (deep, flat) = (Scratch::new("deep"), Scratch::new("flat"));
    deep.load(1000).unwrap();
    let pace = Pace {
        depth: 1,
        flush_every: 1,
    };
    write_verify(&flat.target(), &order(1000), pace).unwrap();
    assert!(fs::read(&deep.0).unwrap() == fs::read(&flat.0).unwrap());
}

#[test]
fn a_load_stays_in_its_range() {
    let scratch = Scratch::new("range");
    let order = Order {
        range: Some(1 << 20..2 << 20),
        ..order(500)
    };
    let pace = Pace {
        depth: DEPTH,
        flush_every: 100,
    };
    write_verify(&scratch.target(), &order, pace).unwrap();
    let written = fs::read(&scratch.0).unwrap();
    let outside = [&written[..1 << 20], &written[2 << 20..]];
    assert!(
        outside
            .iter()
            .all(|part| part.iter().all(|byte| *byte == 0))
    );
    verify(&scratch.target(), &order, DEPTH).unwrap();
}

#[test]
fn a_sector_of_zeroes_is_found() {
    let scratch = Scratch::new("zeroes");
    scratch.load(1000).unwrap();
    scratch.put(1234, &[0; 512]);
    let found = mismatch(scratch.verify(1000));
    assert_eq!((found.sector, found.found), (1234, Content::Zeroes));
}

#[test]
fn a_sector_that_lost_its_last_write_is_found() {
    let (early, late) = (Scratch::new("early"), Scratch::new("late"));
    early.load(500).unwrap();
    late.load(1500).unwrap();
    late.put(3000, &sector(&early.0, 3000));
    let found = mismatch(late.verify(1500));
    assert_eq!(found.sector, 3000);
    let older = 1..found.generation;
    assert!(
        matches!(found.found, Content::Stamp { sector: 3000, generation } if older.contains(&generation)),
        "{found}"
    );
}

#[test]
fn a_write_that_went_to_the_wrong_place_is_found() {
    let scratch = Scratch::new("place");
    scratch.load(1000).unwrap();
    scratch.put(4040, &sector(&scratch.0, 4077));
    let found = mismatch(scratch.verify(1000));
    assert_eq!(found.sector, 4040);
    assert!(
        matches!(found.found, Content::Stamp { sector: 4077, .. }),
        "{found}"
    );
}

#[test]
fn a_foreign_sector_is_found() {
    let scratch = Scratch::new("foreign");
    scratch.load(1000).unwrap();
    scratch.put(8000, &[0xab; 512]);
    let found = mismatch(scratch.verify(1000));
    assert_eq!(found.found, Content::Foreign([0xab; 16]));
}

#[test]
fn a_range_beyond_the_end_is_refused() {
    let scratch = Scratch::new("beyond");
    let order = Order {
        range: Some(0..SIZE_BYTES + 512),
        ..order(1)
    };
    let refused = verify(&scratch.target(), &order, DEPTH).unwrap_err();
    assert_eq!(refused.code(), 2, "{refused}");
}

#[test]
fn a_file_that_is_not_there_is_an_error_that_names_it() {
    let refused = Target::write(Path::new("/nonexistent/disk")).unwrap_err();
    assert_eq!(refused.code(), 1);
    let text = refused.to_string();
    assert!(text.starts_with("opening /nonexistent/disk: "), "{text}");
}

#[test]
fn a_directory_is_no_target() {
    let refused = Target::read(Path::new("/")).unwrap_err();
    assert_eq!(refused.code(), 2, "{refused}");
}

#[test]
fn a_rate_counts_every_request() {
    let scratch = Scratch::new("rate");
    let order = RateOrder {
        pattern: Pattern::Sequential,
        op: Op::Write,
        bytes: 4096,
        depth: 4,
        lasts: Duration::from_millis(10),
    };
    let measured = rate(&scratch.target(), order).unwrap();
    assert!(measured.requests() >= 4);
    let line = measured.to_string();
    assert!(
        line.contains(" seq write bs=4096 depth=4 requests="),
        "{line}"
    );
}

#[test]
fn a_request_larger_than_the_file_is_refused() {
    let scratch = Scratch::new("larger");
    let order = RateOrder {
        pattern: Pattern::Random,
        op: Op::Read,
        bytes: 2 * SIZE_BYTES,
        depth: 1,
        lasts: Duration::ZERO,
    };
    let refused = rate(&scratch.target(), order).unwrap_err();
    assert_eq!(refused.code(), 2, "{refused}");
}
