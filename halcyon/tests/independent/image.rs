//! What must be on a disk, computed from the rule alone: how images are made here, and how they are
//! compared with the model of what a guest wrote.
//!
//! Word `i` (64-bit, little-endian) of a sector is
//! `mix(disk_seed + mix(sector + mix(generation)) + i * 0x9E3779B97F4A7C15)`, modulo 2^64, where
//! `mix` is the finaliser of splitmix64. A model's dump has a 32-bit little-endian generation for
//! each sector: how often it was written, 0 being what the image held at first; 2^32 - 1 is "not
//! known".

use std::fs;
use std::path::Path;

use crate::fault::{Faults, What};

/// Bytes of a sector.
pub(crate) const SECTOR: usize = 512;
const UNKNOWN: u32 = u32::MAX;

/// The seed of a disk: its guest's, with the disk's number in the upper half.
pub(crate) fn disk_seed(guest_seed: u64, devid: u32) -> u64 {
    guest_seed.wrapping_add(u64::from(devid) << 32)
}

/// Makes an image that no guest has written to, without holes.
pub(crate) fn create(path: &Path, sectors: u64, seed: u64) {
    let bytes: Vec<u8> = (0..sectors).flat_map(|it| content(seed, it, 0)).collect();
    fs::write(path, bytes).unwrap();
    fs::File::open(path).unwrap().sync_all().unwrap();
}

/// Compares an image with the model of it. A model that knows nothing proves nothing: every sector
/// must be known, and at least half must have been written.
pub(crate) fn compare(image: &Path, model: &Path, seed: u64, faults: &mut Faults) {
    let held = fs::read(image).unwrap();
    let generations: Vec<u32> = fs::read(model)
        .unwrap()
        .chunks_exact(4)
        .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
        .collect();
    let written = generations.iter().filter(|it| **it > 0 && **it != UNKNOWN);
    assert!(written.count() * 2 >= generations.len(), "hardly a write");
    assert!(!generations.contains(&UNKNOWN), "a sector is not known");
    assert_eq!(held.len(), generations.len() * SECTOR, "another disk");
    let sectors = held.chunks_exact(SECTOR).zip(&generations).zip(0..);
    let wrong: Vec<u64> = sectors
        .filter(|((held, generation), sector)| content(seed, *sector, **generation) != **held)
        .map(|(_, sector)| sector)
        .collect();
    faults.unless(wrong.is_empty(), What::Image, || {
        format!(
            "{}: sectors {wrong:?} differ from the model",
            image.display()
        )
    });
}

fn content(disk_seed: u64, sector: u64, generation: u32) -> [u8; SECTOR] {
    let generation = splitmix(u64::from(generation));
    let place = splitmix(sector.wrapping_add(generation));
    let mut bytes = [0; SECTOR];
    for (i, word) in (0_u64..).zip(bytes.chunks_exact_mut(8)) {
        let step = i.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let value = splitmix(disk_seed.wrapping_add(place).wrapping_add(step));
        word.copy_from_slice(&value.to_le_bytes());
    }
    bytes
}

fn splitmix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
