//! The independent reader: compares an image with what its guest says it must hold.
//!
//! It shares no code with the guest: it reads the file as any program would and computes what a
//! sector must hold from the rule that the model's dump is written by. Word `i` (64 bits, little
//! endian) of a sector is `mix(disk_seed + mix(sector + mix(generation)) + i * 0x9E3779B97F4A7C15)`,
//! where `mix` is the finaliser of splitmix64.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use crate::error::{Doing as _, Failure};

const SECTOR_BYTES: usize = 512;
/// The generation in a dump of a sector whose last write was never answered.
const UNCERTAIN: u32 = u32::MAX;

/// What a comparison found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Bytes that were compared.
    pub bytes: u64,
    /// Sectors that differed.
    pub mismatched_sectors: u64,
}

/// What a sector holds in a generation.
#[must_use]
pub fn content(disk_seed: u64, sector: u64, generation: u32) -> [u8; SECTOR_BYTES] {
    let base = disk_seed.wrapping_add(mix(sector.wrapping_add(mix(u64::from(generation)))));
    let mut bytes = [0; SECTOR_BYTES];
    for (i, word) in (0_u64..).zip(bytes.as_chunks_mut().0) {
        let step = i.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        *word = mix(base.wrapping_add(step)).to_le_bytes();
    }
    bytes
}

fn mix(mut z: u64) -> u64 {
    z ^= z >> 30;
    z = z.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z ^= z >> 27;
    z = z.wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ z >> 31
}

/// Compares `image` with the `dump` of its model. What was never written is compared too if the
/// image started as a scratch image (`stamped`); of a user's image nobody knows it.
pub fn compare(
    image: &Path,
    dump: &Path,
    disk_seed: u64,
    stamped: bool,
) -> Result<Compared, Failure> {
    let open = |path: &Path| File::open(path).doing(|| format!("open {}", path.display()));
    let mut image_bytes = BufReader::with_capacity(1 << 20, open(image)?);
    let mut generations = BufReader::with_capacity(1 << 16, open(dump)?);
    let mut found = Compared::default();
    let mut sector = 0;
    while let Some(generation) = next::<4>(&mut generations).doing(|| "read a dump".into())? {
        let what = || format!("read sector {sector} of {}", image.display());
        let held: [u8; SECTOR_BYTES] = next(&mut image_bytes)
            .doing(what)?
            .ok_or_else(|| Failure::failed(format!("{}: the image ends early", what())))?;
        let generation = u32::from_le_bytes(generation);
        if generation != UNCERTAIN && (generation > 0 || stamped) {
            found.bytes += SECTOR_BYTES as u64;
            found.mismatched_sectors += u64::from(held != content(disk_seed, sector, generation));
        }
        sector += 1;
    }
    Ok(found)
}

/// The next `N` bytes; `None` at the end.
fn next<const N: usize>(from: &mut impl Read) -> std::io::Result<Option<[u8; N]>> {
    let mut bytes = [0; N];
    match from.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::scratch::Scratch;

    #[test]
    fn the_rule_is_the_one_that_guests_write_by() {
        let theirs = sim::front::workload::stamp(7, abi::Sector(9), 3);
        assert_eq!(content(7, 9, 3), theirs);
    }

    #[test]
    fn one_flipped_byte_is_one_sector_that_differs() {
        let scratch = Scratch::new().unwrap();
        let stamps = |at: u64, bytes: &mut [u8]| {
            for (sector, to) in (at / 512..).zip(bytes.as_chunks_mut().0) {
                *to = content(1, sector, 0);
            }
            bytes[700] ^= 1;
        };
        let image = scratch.image("image", 4096, stamps).unwrap();
        let dump = scratch.path().join("dump");
        std::fs::write(&dump, [0; 8 * 4]).unwrap();
        let found = compare(&image, &dump, 1, true).unwrap();
        assert_eq!(
            found,
            Compared {
                bytes: 4096,
                mismatched_sectors: 1
            }
        );
    }

    #[test]
    fn what_nobody_wrote_on_a_users_image_is_not_compared() {
        let scratch = Scratch::new().unwrap();
        let image = scratch
            .image("image", 1024, |_, bytes| bytes.fill(9))
            .unwrap();
        let dump = scratch.path().join("dump");
        std::fs::write(&dump, [0, 0, 0, 0, 255, 255, 255, 255]).unwrap();
        assert_eq!(
            compare(&image, &dump, 1, false).unwrap(),
            Compared::default()
        );
    }
}
