//! The operations that the reactor owns: from submission to completion each lives in one place of
//! this table, and with it the lease that the kernel or a helper thread works on.
//!
//! Knows nothing of files and rings. A place's number changes with every use, so that a late or
//! doubled result cannot be taken for that of a newer operation.
//!
//! Invariant: the table only grows, to the largest number of operations that were ever under way
//! at once; in steady state it allocates nothing.

use crate::Submission;

/// The name of an operation under way; travels through the kernel as the entry's user data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id {
    place: u32,
    /// Wraps; 2^32 uses of one place while an old result is under way do not happen.
    generation: u32,
}

/// What an operation waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The entry that does it, or a helper thread.
    Transfer,
    /// Its file to become ready, because the entry that does it was refused with EAGAIN.
    Readiness,
}

/// An operation under way.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) submission: Submission,
    /// Index of its file.
    pub(super) file: u32,
    pub(super) stage: Stage,
}

#[derive(Debug, Default)]
struct Place {
    generation: u32,
    operation: Option<Operation>,
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct InFlight {
    places: Vec<Place>,
    free: Vec<u32>,
}

impl InFlight {
    pub(super) fn with_capacity(operations: usize) -> Self {
        let (places, free) = (
            Vec::with_capacity(operations),
            Vec::with_capacity(operations),
        );
        Self { places, free }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.free.len() == self.places.len()
    }

    pub(super) fn insert(&mut self, operation: Operation) -> Id {
        let place = self.free.pop().unwrap_or_else(|| self.grow());
        let entry = &mut self.places[place as usize];
        entry.generation = entry.generation.wrapping_add(1);
        entry.operation = Some(operation);
        Id {
            place,
            generation: entry.generation,
        }
    }

    pub(super) fn get_mut(&mut self, id: Id) -> Option<&mut Operation> {
        let place = self.places.get_mut(id.place as usize)?;
        place
            .operation
            .as_mut()
            .filter(|_| place.generation == id.generation)
    }

    pub(super) fn remove(&mut self, id: Id) -> Option<Operation> {
        self.get_mut(id)?;
        self.free.push(id.place);
        self.places.get_mut(id.place as usize)?.operation.take()
    }

    fn grow(&mut self) -> u32 {
        let place = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        self.places.push(Place::default());
        self.free.reserve(self.places.len());
        place
    }
}

impl Id {
    /// As user data. The all-ones place does not occur, so the numbers from `u64::MAX` down are
    /// free for other uses.
    pub(super) fn number(self) -> u64 {
        u64::from(self.place) << 32 | u64::from(self.generation)
    }
}

impl From<u64> for Id {
    fn from(number: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = number.to_be_bytes();
        Self {
            place: u32::from_be_bytes([a, b, c, d]),
            generation: u32::from_be_bytes([e, f, g, h]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Slot, Token, Verb};

    fn operation(tag: u32) -> Operation {
        let submission = Submission {
            slot: Slot(0),
            verb: Verb::Sync,
            offset: 0,
            lease: None,
            range: 0..0,
            token: Token {
                owner: 0,
                layer: 0,
                tag,
            },
        };
        Operation {
            submission,
            file: 0,
            stage: Stage::Transfer,
        }
    }

    #[test]
    fn an_operation_is_removed_once() {
        let mut table = InFlight::with_capacity(1);
        let id = table.insert(operation(1));
        assert!(table.remove(id).is_some());
        assert!(table.remove(id).is_none());
        assert!(table.is_empty());
    }

    #[test]
    fn the_name_of_an_earlier_operation_does_not_reach_a_later_one() {
        let mut table = InFlight::with_capacity(1);
        let earlier = table.insert(operation(1));
        table.remove(earlier);
        let later = table.insert(operation(2));
        assert!(table.get_mut(earlier).is_none());
        assert_eq!(table.remove(later).unwrap().submission.token.tag, 2);
    }

    #[test]
    fn a_name_survives_the_trip_through_user_data() {
        let mut table = InFlight::with_capacity(1);
        table.insert(operation(1));
        let id = table.insert(operation(2));
        assert_eq!(Id::from(id.number()), id);
    }

    #[test]
    fn a_table_that_has_grown_grows_no_more_for_as_many_operations() {
        let mut table = InFlight::with_capacity(1);
        let ids: Vec<Id> = (0..100).map(|tag| table.insert(operation(tag))).collect();
        ids.iter()
            .for_each(|id| assert!(table.remove(*id).is_some()));
        let capacities = (table.places.capacity(), table.free.capacity());
        let ids: Vec<Id> = (0..100).map(|tag| table.insert(operation(tag))).collect();
        ids.iter()
            .for_each(|id| assert!(table.remove(*id).is_some()));
        assert_eq!((table.places.capacity(), table.free.capacity()), capacities);
    }
}
