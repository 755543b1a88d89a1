//! Scripts that a seed makes up: things that a guest can do, in any order.
//!
//! Invariant: none of them writes to the disk, so that an honest neighbour of the same disk keeps
//! what it wrote.

use abi::Sector;
use abi::io::blkif::{Operation, RawRequest};
use abi::io::xenbus::XenbusState;

use super::catalogue::{LEND, read};
use super::script::{Act, Page, Script};
use crate::world::Rng;

impl Script {
    /// `acts` things in an order that the seed decides. None of them writes to the disk.
    pub fn random(seed: u64, acts: usize) -> Self {
        let mut random = Rng::new(seed);
        Self::acting(
            "random",
            (0..acts).map(|_| random_act(&mut random)).collect(),
        )
    }
}

fn random_act(random: &mut Rng) -> Act {
    match random.below(16) {
        0 => Act::Produce(u32::try_from(random.below(40)).unwrap_or(0)),
        1 => Act::Produce(u32::try_from(random.draw() >> 32).unwrap_or(0)),
        2 => Act::Scribble(std::array::from_fn(|_| {
            u32::try_from(random.below(64)).unwrap_or(0)
        })),
        3 => Act::Notify(u32::try_from(random.below(100)).unwrap_or(0)),
        4 => Act::State(u32::try_from(random.below(10)).unwrap_or(0)),
        5 => Act::State(XenbusState::CONNECTED.0),
        6 => Act::Revoke,
        7 => Act::RawSlot(std::array::from_fn(|at| random_byte(random, at))),
        _ => Act::Request {
            request: random_request(random),
            page: random_page(random),
        },
    }
}

/// Any byte; the first, which is the operation, never one that writes.
fn random_byte(random: &mut Rng, at: usize) -> u8 {
    let [byte, ..] = random.draw().to_le_bytes();
    let writes = [
        Operation::WRITE,
        Operation::WRITE_BARRIER,
        Operation::DISCARD,
    ];
    if at == 0 && writes.contains(&Operation(byte)) {
        0
    } else {
        byte
    }
}

fn random_request(random: &mut Rng) -> RawRequest {
    let mut request = read();
    let [nr_segments, first_sect, last_sect, operation, ..] = random.draw().to_le_bytes();
    request.id = random.draw();
    request.nr_segments = nr_segments % 14;
    request.sector_number = Sector(random.draw() >> random.below(64));
    request.segments[0].first_sect = first_sect % 10;
    request.segments[0].last_sect = last_sect % 10;
    request.operation = Operation(if operation % 4 == 0 {
        random_byte(random, 0)
    } else {
        0
    });
    request
}

fn random_page(random: &mut Rng) -> Page {
    match random.below(8) {
        0 => Page::Lend { readonly: true },
        1 => Page::Last,
        2 => Page::Ring,
        3 => Page::AsWritten,
        _ => LEND,
    }
}
