//! Who wants to be told when: the deadlines of one reactor, earliest first.
//!
//! Knows no clock; the time is an argument. A process has a handful of deadlines, so a sorted
//! vector beats a tree, and unlike a hash map its order is the same in every run.
//!
//! Invariant: a token has at most one deadline, and a deadline that fired is gone.

use crate::{Completion, Nanos, Outcome, Token};

/// The deadlines that are set, sorted by time; equal times keep the order in which they were set.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    sorted: Vec<(Nanos, Token)>,
}

impl Deadlines {
    /// Sets the deadline of `token`, in place of the one it has.
    pub(crate) fn set(&mut self, token: Token, at: Nanos) {
        self.cancel(token);
        let position = self.sorted.partition_point(|(other, _)| *other <= at);
        self.sorted.insert(position, (at, token));
    }

    /// Forgets the deadline of `token`, if there is one.
    pub(crate) fn cancel(&mut self, token: Token) {
        self.sorted.retain(|(_, other)| *other != token);
    }

    /// The time of the earliest one.
    pub(crate) fn earliest(&self) -> Option<Nanos> {
        self.sorted.first().map(|(at, _)| *at)
    }

    /// Moves all that are due at `now` to `completions`, earliest first.
    pub(crate) fn fire(&mut self, now: Nanos, completions: &mut Vec<Completion>) {
        let due = self.sorted.partition_point(|(at, _)| *at <= now);
        completions.extend(self.sorted.drain(..due).map(|(_, token)| Completion {
            token,
            outcome: Outcome::Deadline,
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// More cases may be asked for with PROPTEST_CASES, fewer not.
    const CASES: u32 = 500;

    fn token(tag: u32) -> Token {
        Token {
            owner: 0,
            layer: 0,
            tag,
        }
    }

    /// Sets, cancels (`None`) and, in the end, fires all up to `now`.
    fn fired(steps: &[(u32, Option<Nanos>)], now: Nanos) -> Vec<u32> {
        let mut deadlines = Deadlines::default();
        for (tag, at) in steps {
            match at {
                Some(at) => deadlines.set(token(*tag), *at),
                None => deadlines.cancel(token(*tag)),
            }
        }
        let mut completions = Vec::new();
        deadlines.fire(now, &mut completions);
        completions.iter().map(|fired| fired.token.tag).collect()
    }

    /// The same by looking through the whole history of each token.
    fn naive(steps: &[(u32, Option<Nanos>)], now: Nanos) -> Vec<u32> {
        let last = |(index, (tag, at)): (usize, &(u32, Option<Nanos>))| {
            let is_last = steps[index + 1..].iter().all(|(other, _)| other != tag);
            at.filter(|at| is_last && *at <= now)
                .map(|at| (at, index, *tag))
        };
        let mut due: Vec<_> = steps.iter().enumerate().filter_map(last).collect();
        due.sort_unstable();
        due.into_iter().map(|(_, _, tag)| tag).collect()
    }

    #[test]
    fn deadlines_fire_as_their_history_says() {
        let mut config = ProptestConfig::default();
        config.cases = config.cases.max(CASES);
        config.failure_persistence = None;
        println!("{} cases", config.cases);
        let step = (0_u32..6, prop::option::weighted(0.8, 0_u64..20));
        let mut runner = proptest::test_runner::TestRunner::new(config);
        let run = runner.run(
            &(prop::collection::vec(step, 0..30), 0_u64..25),
            |(steps, now)| {
                prop_assert_eq!(fired(&steps, now), naive(&steps, now));
                Ok(())
            },
        );
        run.unwrap();
    }

    #[test]
    fn a_deadline_that_fired_is_gone() {
        let mut deadlines = Deadlines::default();
        deadlines.set(token(1), 5);
        deadlines.fire(5, &mut Vec::new());
        assert_eq!(deadlines.earliest(), None);
    }
}
