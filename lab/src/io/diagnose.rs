//! Finds out where the content of a wrong sector came from: an older write, another sector, or
//! nowhere. Slow, and only ever done once.

use abi::Sector;
use sim::front::workload::{Block, Model};

use super::failure::{Content, Mismatch};

/// What is wrong with `sector`, which holds `block`. Looks for the stamp in `within`.
pub(super) fn diagnose(
    model: &mut Model,
    sector: u64,
    block: &Block,
    within: std::ops::Range<u64>,
) -> Mismatch {
    Mismatch {
        sector,
        generation: model.certain(Sector(sector)),
        found: content(model, sector, block, within),
    }
}

fn content(
    model: &mut Model,
    sector: u64,
    block: &Block,
    mut within: std::ops::Range<u64>,
) -> Content {
    if block.iter().all(|byte| *byte == 0) {
        return Content::Zeroes;
    }
    let here = std::iter::once(sector);
    here.chain(&mut within)
        .find_map(|sector| origin(model, sector, block))
        .unwrap_or_else(|| Content::Foreign(*block.first_chunk().expect("a block is longer")))
}

/// The generation of `sector` that the block is, up to the next one that would be written.
fn origin(model: &mut Model, sector: u64, block: &Block) -> Option<Content> {
    let newest = model.next_generation(Sector(sector));
    (1..=newest)
        .find(|generation| model.content(Sector(sector), *generation) == *block)
        .map(|generation| Content::Stamp { sector, generation })
}
