//! The content of a sector as a pure function, so that an independent reader can check an image
//! from the model alone.
//!
//! Word `i` (64-bit, little-endian, `i` from 0 to 63) of a sector is
//! `mix(disk_seed + mix(sector + mix(generation)) + i * 0x9E3779B97F4A7C15)`, all sums modulo 2^64,
//! where `mix` is the finaliser of splitmix64. Generation 0 is what the disk held at first, which
//! is a stamp only where the image was made of stamps.

use abi::{SECTOR_SIZE, Sector};

/// The content of a sector.
pub type Block = [u8; SECTOR_SIZE];

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// What `sector` of the disk with that seed holds after it was written `generation` times.
pub fn stamp(disk_seed: u64, sector: Sector, generation: u32) -> Block {
    let base = mix(sector.0.wrapping_add(mix(u64::from(generation))));
    let mut word = disk_seed.wrapping_add(base);
    let mut block = [0; SECTOR_SIZE];
    for bytes in block.as_chunks_mut().0 {
        *bytes = mix(word).to_le_bytes();
        word = word.wrapping_add(GOLDEN);
    }
    block
}

/// The finaliser of splitmix64.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
