//! Which frames a simulated guest kernel uses next.
//!
//! A kernel that has been up for a while hands out pages from all over its memory. This allocator
//! does so from its first page on, and the same seed gives the same order. It touches no memory
//! of the guest and keeps no table of it: fresh frames come from a permutation computed on the
//! fly.
//!
//! Invariant: a frame is lent at most once at a time.

use abi::Gfn;

use super::GuestMemory;

/// Odd multipliers: multiplication by an odd number permutes the numbers of any power of two.
/// These two are from the finaliser of SplitMix64.
const MULTIPLIERS: [u64; 2] = [0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb];

/// Hands out the frames of one guest. Frame 0 is never lent, as on real machines.
#[derive(Debug)]
pub struct Frames {
    count: u64,
    seed: u64,
    /// How many positions of the permutation have been tried.
    fresh: u64,
    returned: Vec<Gfn>,
}

impl Frames {
    /// All frames of `memory`, in the order that `seed` decides.
    pub fn new(memory: &GuestMemory, seed: u64) -> Self {
        Self {
            count: memory.frames(),
            seed,
            fresh: 0,
            returned: Vec::new(),
        }
    }

    /// A frame nobody uses, or `None` when all are lent. Last returned, first lent.
    pub fn take(&mut self) -> Option<Gfn> {
        if let Some(gfn) = self.returned.pop() {
            return Some(gfn);
        }
        let domain = self.count.next_power_of_two();
        while self.fresh < domain {
            let gfn = self.permute(self.fresh, domain - 1);
            self.fresh += 1;
            if (1..self.count).contains(&gfn) {
                return Some(Gfn(gfn));
            }
        }
        None
    }

    /// Takes a frame back.
    pub fn give(&mut self, gfn: Gfn) {
        debug_assert!(gfn.0 < self.count, "a frame of this guest");
        self.returned.push(gfn);
    }

    /// A permutation of `0..=mask`, `mask` one less than a power of two: every step can be undone.
    fn permute(&self, position: u64, mask: u64) -> u64 {
        let shift = mask.count_ones() / 2 + 1;
        let mut x = (position ^ self.seed) & mask;
        for multiplier in MULTIPLIERS {
            x = x.wrapping_mul(multiplier) & mask;
            x ^= x >> shift;
            x = x.wrapping_add(self.seed >> 32) & mask;
        }
        x
    }
}
