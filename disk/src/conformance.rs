//! What every [`Disk`] does, as claims that the tests of each implementation run.
//!
//! A claim is a function of a [`Fixture`], which makes fresh disks; it does not know what they are
//! made of, nor which reactor drives them. `tests/conformance.rs` runs every claim on every disk.
//! Invariant: a claim leaves nothing behind but what the fixture's storage holds.

use abi::{SECTOR_SIZE, Sector};
use reactor::{Lease, Pool, Reactor, Sleep};
use vm_memory::Bytes;

use crate::{Disk, Done, Op, OpKind, Submitted};

mod every;
mod keeping;

pub use every::EVERY;
pub use keeping::{HISTORY_OPS, HISTORY_SEED, KEEPING};

/// Capacity of the disks that fixtures make, in 512-byte sectors: 1 MiB.
pub const SECTORS: u64 = 2048;

/// Bytes in a lease of a rig's pool.
pub const LEASE_BYTES: usize = 64 * 1024;

/// Leases in a rig's pool: a single-page ring's worth.
pub const LEASES: usize = 32;

/// How often a reactor may be asked before an operation counts as lost.
const WAITS_MAX: u32 = 100_000;

/// Something that makes disks of [`SECTORS`], full of zeroes.
pub trait Fixture {
    /// A disk nobody has used, and the reactor it lives on.
    fn rig(&self, read_only: bool) -> Rig;
}

impl<F: Fn(bool) -> Rig> Fixture for F {
    fn rig(&self, read_only: bool) -> Rig {
        self(read_only)
    }
}

/// A named claim.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// What is claimed, as a sentence of words joined by underscores.
    pub name: &'static str,
    /// Panics where it does not hold.
    pub check: fn(&dyn Fixture),
}

/// A disk, what drives it, and memory for its operations.
pub struct Rig {
    /// The disk.
    pub disk: Box<dyn Disk>,
    /// Its reactor, where its completions come from.
    pub reactor: Box<dyn Reactor>,
    /// [`LEASES`] leases of [`LEASE_BYTES`].
    pub pool: Pool,
    next_id: u32,
}

impl Rig {
    /// Puts the parts together.
    ///
    /// # Panics
    /// Where there is no memory for the pool.
    pub fn new(disk: Box<dyn Disk>, reactor: Box<dyn Reactor>) -> Self {
        let pool = Pool::new(LEASES, LEASE_BYTES).expect("memory for the leases");
        Self {
            disk,
            reactor,
            pool,
            next_id: 0,
        }
    }

    /// A transfer of `len_bytes` from `sector` on.
    ///
    /// # Panics
    /// When all leases are lent.
    pub fn op(&mut self, kind: OpKind, sector: u64, len_bytes: usize) -> Op {
        let lease = Some(self.pool.lease().expect("a free lease"));
        Op {
            id: self.id(),
            kind,
            sector: Sector(sector),
            len_bytes,
            lease,
        }
    }

    /// A write of these bytes.
    ///
    /// # Panics
    /// When they do not fit into a lease.
    pub fn write_op(&mut self, sector: u64, bytes: &[u8]) -> Op {
        let op = self.op(OpKind::Write, sector, bytes.len());
        fill(&op, bytes);
        op
    }

    /// A flush.
    pub fn flush_op(&mut self) -> Op {
        Op {
            id: self.id(),
            kind: OpKind::Flush,
            sector: Sector(0),
            len_bytes: 0,
            lease: None,
        }
    }

    fn id(&mut self) -> u32 {
        self.next_id += 1;
        self.next_id
    }

    /// Submits one operation and drives it to its end.
    ///
    /// # Panics
    /// Where it ends not at all, twice, or under another name.
    pub fn run(&mut self, op: Op) -> Done {
        let id = op.id;
        let mut dones = self.run_all(vec![op]);
        let done = dones.pop().expect("one operation, one end");
        assert_eq!(done.id, id, "the operation ended under its own name");
        done
    }

    /// Submits operations together and drives all of them to their ends, in the order of those.
    ///
    /// # Panics
    /// Where one of them ends not at all, or more of them end than were submitted.
    pub fn run_all(&mut self, ops: Vec<Op>) -> Vec<Done> {
        let count = ops.len();
        let mut dones = Vec::new();
        for op in ops {
            dones.extend(self.submit(op));
        }
        let mut waits = 0;
        while dones.len() < count {
            dones.extend(self.step());
            waits += 1;
            assert!(
                waits < WAITS_MAX,
                "{} of {count} operations never ended",
                count - dones.len()
            );
        }
        assert_eq!(dones.len(), count, "no operation ended twice");
        assert_eq!(
            self.disk.outstanding(),
            0,
            "nothing is outstanding when all have ended"
        );
        dones
    }

    /// Submits one operation and drives nothing.
    pub fn submit(&mut self, op: Op) -> Option<Done> {
        match self.disk.submit(&mut *self.reactor, op) {
            Submitted::Pending => None,
            Submitted::Done(done) => Some(done),
        }
    }

    /// Waits once and hands the disk what came.
    pub fn step(&mut self) -> Vec<Done> {
        let mut completions = Vec::new();
        self.reactor.wait(Sleep::UntilWork, &mut completions);
        let ended = completions.into_iter();
        ended
            .filter_map(|completion| self.disk.complete(&mut *self.reactor, completion))
            .collect()
    }

    /// Writes bytes and expects success.
    ///
    /// # Panics
    /// On an error.
    pub fn write(&mut self, sector: u64, bytes: &[u8]) {
        let op = self.write_op(sector, bytes);
        self.run(op).result.expect("the write succeeds");
    }

    /// Reads bytes and expects success.
    ///
    /// # Panics
    /// On an error.
    pub fn read(&mut self, sector: u64, len_bytes: usize) -> Vec<u8> {
        let op = self.op(OpKind::Read, sector, len_bytes);
        fill(&op, &vec![0xA5; len_bytes]);
        let done = self.run(op);
        done.result.expect("the read succeeds");
        bytes_of(done.lease.as_ref(), len_bytes)
    }

    /// Closes the disk, as every claim does at its end.
    pub fn close(mut self) {
        self.disk.close(&mut *self.reactor);
    }

    /// The disk's smallest transfer, in bytes.
    pub fn unit(&self) -> usize {
        self.disk.geometry().sector_size_bytes as usize
    }

    /// The same, in 512-byte sectors.
    pub fn unit_sectors(&self) -> u64 {
        (self.unit() / SECTOR_SIZE) as u64
    }
}

/// Puts bytes at the start of an operation's lease.
pub(crate) fn fill(op: &Op, bytes: &[u8]) {
    let lease = op.lease.as_ref().expect("a transfer has a lease");
    lease
        .slice()
        .write_slice(bytes, 0)
        .expect("the bytes fit into the lease");
}

/// The first bytes of a lease.
pub(crate) fn bytes_of(lease: Option<&Lease>, len_bytes: usize) -> Vec<u8> {
    let mut bytes = vec![0; len_bytes];
    let lease = lease.expect("the lease came back");
    lease
        .slice()
        .read_slice(&mut bytes, 0)
        .expect("the lease holds them");
    bytes
}

/// Bytes that differ from sector to sector and from seed to seed.
pub fn pattern(seed: u64, len_bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(len_bytes + 8);
    while bytes.len() < len_bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len_bytes);
    bytes
}
