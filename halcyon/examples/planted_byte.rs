//! A VM process with a planted fault: one byte of one sector is never what the guest wrote.
//!
//! Every request succeeds. Invariant: that byte is the only difference to `halcyon vm`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use abi::{SECTOR_SIZE, Sector};
use blkback::Medium;
use disk::{Disk, Done, Geometry, Op, OpKind, Submitted};
use halcyon::broker::Image;
use halcyon::vm::live::{self, LiveImages};
use halcyon::vm::{Images, Opened};
use reactor::live::Uring;
use reactor::{Completion, Reactor};
use vm_memory::Bytes as _;

mod planted;

/// The sector with the byte.
const SECTOR: Sector = Sector(4711);
/// The byte.
const BYTE: usize = 300;

/// Images whose disks flip the byte.
struct Flipping(LiveImages);

impl Images<Uring> for Flipping {
    fn open(&mut self, reactor: &mut Uring, image: Image) {
        self.0.open(reactor, image);
    }

    fn complete(&mut self, reactor: &mut Uring, completion: Completion) {
        self.0.complete(reactor, completion);
    }

    fn opened(&mut self, reactor: &mut Uring) -> Option<Opened> {
        let (owner, opened) = self.0.opened(reactor)?;
        let flipped = |medium| match medium {
            Medium::Disk(disk) => Medium::Disk(Box::new(Flipped(disk))),
            promised @ Medium::Promised(_) => promised,
        };
        Some((owner, opened.map(flipped)))
    }

    fn pending(&self) -> usize {
        self.0.pending()
    }
}

/// A disk that flips the byte on its way in.
struct Flipped(Box<dyn Disk>);

impl Disk for Flipped {
    fn geometry(&self) -> Geometry {
        self.0.geometry()
    }

    fn submit(&mut self, reactor: &mut dyn Reactor, op: Op) -> Submitted {
        flip(&op);
        self.0.submit(reactor, op)
    }

    fn complete(&mut self, reactor: &mut dyn Reactor, completion: Completion) -> Option<Done> {
        self.0.complete(reactor, completion)
    }

    fn outstanding(&self) -> usize {
        self.0.outstanding()
    }

    fn close(&mut self, reactor: &mut dyn Reactor) {
        self.0.close(reactor);
    }
}

/// Flips the byte if it is among those that `op` writes.
fn flip(op: &Op) {
    let sectors = op.sector.0..op.sector.0 + (op.len_bytes / SECTOR_SIZE) as u64;
    if let (OpKind::Write, true, Some(lease)) = (op.kind, sectors.contains(&SECTOR.0), &op.lease) {
        let skipped = usize::try_from(SECTOR.0 - op.sector.0).expect("a lease is short");
        let at = skipped * SECTOR_SIZE + BYTE;
        let byte: u8 = lease.slice().read_obj(at).expect("within the lease");
        lease
            .slice()
            .write_obj(!byte, at)
            .expect("within the lease");
    }
}

fn main() -> ExitCode {
    planted::main(|process| process.with_images(Flipping).run(live::serve))
}
