//! How many images of each guest are opened at a time, and which have to wait for that.
//!
//! Opening may take for ever, a file server may be away. So a guest has a few threads and no more,
//! and the guests whose storage answers have theirs.
//!
//! It opens nothing. Invariant: a guest has at most [`OPENS_MAX`] jobs under way, and one that waits
//! has as many before it; what happens to one guest costs nothing for another.

use std::collections::BTreeMap;

use abi::DomId;

/// Images of a guest that are opened at a time.
pub(super) const OPENS_MAX: usize = 8;

/// See the head of this file. Jobs are numbered; the lower number goes first.
pub(super) struct Lanes<T> {
    under_way: BTreeMap<DomId, usize>,
    waiting: BTreeMap<(DomId, u32), T>,
    /// Whose the jobs are that wait.
    numbers: BTreeMap<u32, DomId>,
}

impl<T> Lanes<T> {
    /// Nothing to do.
    pub(super) fn new() -> Self {
        Self {
            under_way: BTreeMap::new(),
            waiting: BTreeMap::new(),
            numbers: BTreeMap::new(),
        }
    }

    /// A job for a guest: it comes back if it is to be begun now.
    pub(super) fn enter(&mut self, domid: DomId, number: u32, job: T) -> Option<T> {
        let under_way = self.under_way.entry(domid).or_default();
        if *under_way < OPENS_MAX {
            *under_way += 1;
            return Some(job);
        }
        self.numbers.insert(number, domid);
        self.waiting.insert((domid, number), job);
        None
    }

    /// A job of a guest is done: the one that is to be begun in its place.
    pub(super) fn leave(&mut self, domid: DomId) -> Option<T> {
        let mut of_guest = self.waiting.range((domid, 0)..=(domid, u32::MAX));
        if let Some((_, number)) = of_guest.next().map(|(key, _)| *key) {
            return self.give_up(number);
        }
        if let Some(under_way) = self.under_way.get_mut(&domid) {
            *under_way -= 1;
            if *under_way == 0 {
                self.under_way.remove(&domid);
            }
        }
        None
    }

    /// A job that waits does so no longer.
    pub(super) fn give_up(&mut self, number: u32) -> Option<T> {
        let domid = self.numbers.remove(&number)?;
        self.waiting.remove(&(domid, number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUEST: DomId = DomId(7);

    /// The guest has as much under way as it may, and these wait.
    fn full(waiting: &[u32]) -> Lanes<u32> {
        let mut lanes = Lanes::new();
        let begun = (0..8).filter_map(|number| lanes.enter(GUEST, number, number));
        assert_eq!(begun.count(), OPENS_MAX);
        let begun = waiting.iter().filter_map(|n| lanes.enter(GUEST, *n, *n));
        assert_eq!(begun.count(), 0);
        lanes
    }

    #[test]
    fn a_guest_whose_storage_hangs_leaves_the_others_theirs() {
        let mut lanes = full(&[8, 9]);
        assert_eq!(lanes.enter(DomId(8), 10, 10), Some(10));
    }

    #[test]
    fn whoever_waits_is_next_in_the_order_of_coming() {
        let mut lanes = full(&[8, 9]);
        assert_eq!(lanes.leave(GUEST), Some(8));
        assert_eq!(lanes.leave(GUEST), Some(9));
        assert_eq!(lanes.leave(GUEST), None);
        assert_eq!(lanes.enter(GUEST, 10, 10), Some(10));
        assert_eq!(lanes.enter(GUEST, 11, 11), None);
    }

    #[test]
    fn whoever_gives_up_is_not_begun() {
        let mut lanes = full(&[8, 9]);
        assert_eq!(lanes.give_up(8), Some(8));
        assert_eq!(lanes.give_up(8), None);
        assert_eq!(lanes.leave(GUEST), Some(9));
    }

    #[test]
    fn a_guest_with_nothing_to_do_leaves_no_trace() {
        let mut lanes = full(&[8]);
        let next: Vec<_> = (0..9).filter_map(|_| lanes.leave(GUEST)).collect();
        assert_eq!(next, [8]);
        assert!(lanes.under_way.is_empty());
        assert!(lanes.waiting.is_empty() && lanes.numbers.is_empty());
    }
}
