//! Claims about the raw engine: which submissions it makes, and what storage that misbehaves does
//! to an operation. The driver of the world is the storage.

mod support;

use abi::Sector;
use disk::conformance::LEASE_BYTES;
use disk::raw::CONTINUATIONS_MAX;
use disk::{Disk, DiskError, Done, Geometry, Op, OpKind, Raw, Submitted};
use reactor::world::{OpId, World};
use reactor::{Pool, Reactor, Sleep, Slot, Token, Verb};
use support::driven::place;

const OWNER: u16 = 16;

struct Bench {
    world: World,
    slot: Slot,
    raw: Raw,
    pool: Pool,
}

impl Bench {
    fn new() -> Self {
        let mut world = World::new();
        let slot = world.add();
        let raw = Raw::new(slot, Geometry::of_sectors(Sector(2048)), OWNER);
        Self {
            world,
            slot,
            raw,
            pool: Pool::new(4, LEASE_BYTES).unwrap(),
        }
    }

    fn start(&mut self, id: u32, kind: OpKind, sector: u64, len_bytes: usize) -> OpId {
        let lease = (kind != OpKind::Flush).then(|| self.pool.lease().unwrap());
        let op = Op {
            id,
            kind,
            sector: Sector(sector),
            len_bytes,
            lease,
        };
        assert!(matches!(
            self.raw.submit(&mut self.world, op),
            Submitted::Pending
        ));
        self.submitted()
    }

    /// The one operation that was submitted since the last call.
    fn submitted(&mut self) -> OpId {
        let ids = self.world.take_submitted();
        assert_eq!(ids.len(), 1);
        ids[0]
    }

    /// The storage ends an operation; what that ends for the disk's user.
    fn end(&mut self, id: OpId, result: Result<usize, i32>) -> Option<Done> {
        assert!(self.world.finish(id, result));
        let mut completions = Vec::new();
        self.world.wait(Sleep::No, &mut completions);
        assert_eq!(completions.len(), 1);
        self.raw
            .complete(&mut self.world, completions.pop().unwrap())
    }
}

#[test]
fn a_read_becomes_one_read_at_its_byte() {
    let mut bench = Bench::new();
    let id = bench.start(7, OpKind::Read, 3, 1024);
    let submission = bench.world.operation(id).unwrap();
    assert_eq!(place(submission), (Verb::ReadAt, 1536, 0..1024));
    assert_eq!(
        submission.token,
        Token {
            owner: OWNER,
            layer: 0,
            tag: 7
        }
    );
}

#[test]
fn a_write_becomes_one_write_at_its_byte() {
    let mut bench = Bench::new();
    let id = bench.start(7, OpKind::Write, 2047, 512);
    let submission = bench.world.operation(id).unwrap();
    assert_eq!(place(submission), (Verb::WriteAt, 2047 * 512, 0..512));
}

#[test]
fn a_flush_becomes_one_sync() {
    let mut bench = Bench::new();
    let id = bench.start(7, OpKind::Flush, 0, 0);
    assert_eq!(bench.world.operation(id).unwrap().verb, Verb::Sync);
    assert_eq!(bench.end(id, Ok(0)).unwrap().result, Ok(()));
}

#[test]
fn a_short_transfer_goes_on_where_it_stopped() {
    let mut bench = Bench::new();
    let id = bench.start(7, OpKind::Read, 2, 4096);
    assert!(bench.end(id, Ok(1024)).is_none());
    assert_eq!(bench.raw.outstanding(), 1);
    let id = bench.submitted();
    assert_eq!(
        place(bench.world.operation(id).unwrap()),
        (Verb::ReadAt, 2048, 1024..4096)
    );
    let done = bench.end(id, Ok(3072)).unwrap();
    assert_eq!(
        (done.id, done.result, done.lease.is_some()),
        (7, Ok(()), true)
    );
}

#[test]
fn a_transfer_that_stops_within_a_sector_goes_on_from_the_sector() {
    let mut bench = Bench::new();
    let id = bench.start(7, OpKind::Write, 0, 4096);
    assert!(bench.end(id, Ok(1000)).is_none());
    let id = bench.submitted();
    assert_eq!(
        place(bench.world.operation(id).unwrap()),
        (Verb::WriteAt, 512, 512..4096)
    );
}

#[test]
fn storage_that_keeps_coming_back_short_is_an_error_in_the_end() {
    let mut bench = Bench::new();
    let mut id = bench.start(7, OpKind::Read, 0, 4096);
    for _ in 0..CONTINUATIONS_MAX {
        assert!(bench.end(id, Ok(1)).is_none());
        id = bench.submitted();
    }
    assert_eq!(
        bench.end(id, Ok(1)).unwrap().result,
        Err(DiskError::Os(libc::EIO))
    );
}

#[test]
fn an_interrupted_transfer_is_done_again() {
    let mut bench = Bench::new();
    let id = bench.start(7, OpKind::Flush, 0, 0);
    assert!(bench.end(id, Err(libc::EINTR)).is_none());
    let id = bench.submitted();
    assert_eq!(bench.end(id, Ok(0)).unwrap().result, Ok(()));
}

#[test]
fn an_image_that_ends_early_is_truncated() {
    let mut bench = Bench::new();
    let id = bench.start(7, OpKind::Read, 0, 4096);
    assert!(bench.end(id, Ok(512)).is_none());
    let id = bench.submitted();
    assert_eq!(
        bench.end(id, Ok(0)).unwrap().result,
        Err(DiskError::Truncated)
    );
}

#[test]
fn an_error_of_the_storage_is_the_operations_error() {
    let mut bench = Bench::new();
    for (tag, errno) in [(1, libc::EIO), (2, libc::ENOSPC), (3, libc::EBADF)] {
        let id = bench.start(tag, OpKind::Write, 0, 512);
        let done = bench.end(id, Err(errno)).unwrap();
        assert_eq!((done.id, done.result), (tag, Err(DiskError::Os(errno))));
    }
}

#[test]
fn a_flush_that_fails_says_so() {
    let mut bench = Bench::new();
    let id = bench.start(7, OpKind::Flush, 0, 0);
    assert_eq!(
        bench.end(id, Err(libc::EIO)).unwrap().result,
        Err(DiskError::Os(libc::EIO))
    );
}

#[test]
fn an_operation_that_hangs_stays_outstanding_and_others_go_on() {
    let mut bench = Bench::new();
    let hangs = bench.start(1, OpKind::Write, 0, 512);
    let other = bench.start(2, OpKind::Write, 8, 512);
    assert_eq!(bench.end(other, Ok(512)).unwrap().id, 2);
    assert_eq!(bench.raw.outstanding(), 1);
    assert_eq!(bench.end(hangs, Ok(512)).unwrap().id, 1);
    assert_eq!(bench.raw.outstanding(), 0);
}

#[test]
fn a_refused_operation_reaches_no_storage() {
    let mut bench = Bench::new();
    let lease = bench.pool.lease();
    let op = Op {
        id: 1,
        kind: OpKind::Read,
        sector: Sector(2048),
        len_bytes: 512,
        lease,
    };
    let done = bench.raw.submit(&mut bench.world, op).done().unwrap();
    assert_eq!(done.result, Err(DiskError::Range));
    assert_eq!(bench.world.take_submitted(), []);
}

#[test]
fn closing_lets_go_of_the_file() {
    let mut bench = Bench::new();
    bench.raw.close(&mut bench.world);
    assert!(!bench.world.is_open(bench.slot));
}
