//! Reads all of what a verified load left behind, perhaps long ago and before a reboot: the load is
//! replayed on the model alone.

use abi::Sector;
use sim::front::workload::Model;

use super::SECTOR_BYTES;
use super::failure::Failure;
use super::load::{compare, length, model, whole};
use super::plan::{Op, Order, Plan, Request};
use super::queue::{Queue, Slot, Way};
use super::target::Target;

/// What was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Sectors that hold what the load wrote last.
    pub verified_sectors: u64,
    /// Sectors that the load never wrote.
    pub unknown_sectors: u64,
}

/// Checks that the target holds what `order` left there.
///
/// # Errors
/// The first error or mismatch.
pub fn verify(target: &Target, order: &Order, depth: u32) -> Result<Verified, Failure> {
    let mut plan = Plan::new(order, target)?;
    let mut model = model(order, &plan);
    let (within, bytes_max) = (plan.sectors(), plan.bytes_max());
    replay(&mut model, &mut plan);
    let queue = Queue::new(&target.file, depth, bytes_max);
    let mut queue = queue.map_err(Failure::io("making an io_uring"))?;
    let mut reads = reads(within.clone(), bytes_max as u64 / SECTOR_BYTES);
    let mut under_way: Vec<(Slot, Request)> = Vec::new();
    let mut verified_sectors = 0;
    loop {
        while let Some(slot) = queue.idle()
            && let Some(read) = reads.next()
        {
            queue.submit(slot, Way::Read, read.sector * SECTOR_BYTES, length(&read));
            under_way.push((slot, read));
        }
        if under_way.is_empty() {
            break;
        }
        let waited = queue.wait_for_half();
        let (slot, result) = waited.map_err(Failure::io("waiting for a request"))?;
        let at = under_way.iter().position(|(other, _)| *other == slot);
        let (_, read) = under_way.swap_remove(at.expect("a slot that was submitted"));
        whole(target, &read, result)?;
        let data = &queue.buffer(slot)[..length(&read)];
        verified_sectors += compare(&mut model, &read, data, within.clone())?;
    }
    Ok(Verified {
        verified_sectors,
        unknown_sectors: within.end - within.start - verified_sectors,
    })
}

/// Notes every write of a plan as done.
fn replay(model: &mut Model, plan: &mut Plan) {
    for request in plan.filter(|request| request.op == Op::Write) {
        for sector in request.range() {
            let generation = model.next_generation(Sector(sector));
            model.written(Sector(sector), generation);
        }
    }
}

/// Reads of all sectors, one after the other.
fn reads(sectors: std::ops::Range<u64>, sectors_max: u64) -> impl Iterator<Item = Request> {
    let step = usize::try_from(sectors_max).expect("a request fits in memory");
    let end = sectors.end;
    sectors.step_by(step).map(move |sector| Request {
        op: Op::Read,
        sector,
        sectors: sectors_max.min(end - sector),
    })
}
