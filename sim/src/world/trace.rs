//! What happened in a world, as a number: two runs that differ anywhere differ here.
//!
//! Only what every machine computes alike may be noted: no addresses, no clocks, no descriptors.

/// A running hash of everything that was noted, in order.
#[derive(Clone, Debug)]
pub struct Trace {
    hash: u64,
    notes: u64,
    told: bool,
}

impl Trace {
    /// An empty trace. With `told`, every note is also printed to standard error, to read a replay.
    pub fn new(told: bool) -> Self {
        // The offset basis of 64-bit FNV-1a.
        Self {
            hash: 0xCBF2_9CE4_8422_2325,
            notes: 0,
            told,
        }
    }

    /// Notes that `what` happened, with the numbers that tell it from others of its kind.
    pub fn note(&mut self, what: &str, numbers: &[u64]) {
        self.notes += 1;
        if self.told {
            eprintln!("{:6} {what} {numbers:?}", self.notes);
        }
        what.bytes().for_each(|byte| self.mix(byte));
        for number in numbers {
            number
                .to_le_bytes()
                .into_iter()
                .for_each(|byte| self.mix(byte));
        }
    }

    /// The hash so far.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many notes it covers.
    pub fn notes(&self) -> u64 {
        self.notes
    }

    fn mix(&mut self, byte: u8) {
        self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash_of(notes: &[(&str, &[u64])]) -> u64 {
        let mut trace = Trace::new(false);
        notes
            .iter()
            .for_each(|(what, numbers)| trace.note(what, numbers));
        trace.hash()
    }

    #[test]
    fn the_order_of_notes_counts() {
        assert_ne!(
            hash_of(&[("a", &[1]), ("b", &[2])]),
            hash_of(&[("b", &[2]), ("a", &[1])])
        );
    }

    #[test]
    fn equal_notes_give_equal_hashes() {
        assert_eq!(hash_of(&[("a", &[1, 2])]), hash_of(&[("a", &[1, 2])]));
    }
}
