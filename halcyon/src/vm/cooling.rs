//! When a process gives back what only a busy one needs.
//!
//! As a rule when the last of its devices has cooled down. But a device that is closed before its
//! first answer was never warm, and a helper thread that worked for it is left behind: then once, a
//! while later, if no device is warm by then. Knows nothing of what is given back.
//!
//! Invariant: a deadline is set exactly while the reactor is warm and every device is cool.

use reactor::{Nanos, Reactor, Token};

use super::streams;

/// As long as a device takes to cool down.
const LEFT_BEHIND_NS: Nanos = 1_000_000_000;

/// Beside the tags of the streams. Its completion says nothing but that it is time for a turn.
const TOKEN: Token = Token {
    owner: streams::OWNER,
    layer: u16::MAX,
    tag: 0,
};

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Cooling {
    /// A device has worked since the last cool-down.
    is_warm: bool,
    /// When to cool a reactor that no device cools.
    at_ns: Option<Nanos>,
}

impl Cooling {
    /// Called once a turn with whether every device is cool. Cools the reactor where it is time
    /// for that, and says so.
    pub(super) fn turn(&mut self, reactor: &mut dyn Reactor, is_cool: bool) -> bool {
        let is_due = self.is_warm || self.at_ns.is_some_and(|at_ns| at_ns <= reactor.now());
        let cools = is_cool && is_due;
        if cools {
            reactor.cool();
        }
        self.is_warm = !is_cool;
        self.watch(reactor, is_cool);
        cools
    }

    fn watch(&mut self, reactor: &mut dyn Reactor, is_cool: bool) {
        match (is_cool && reactor.is_warm(), self.at_ns) {
            (true, None) => {
                let at_ns = reactor.now().saturating_add(LEFT_BEHIND_NS);
                reactor.set_deadline(TOKEN, at_ns);
                self.at_ns = Some(at_ns);
            }
            (false, Some(_)) => {
                reactor.cancel_deadline(TOKEN);
                self.at_ns = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reactor::world::World;
    use reactor::{Submission, Verb};

    /// A flush on its way: the reactor is warm, and no device is.
    fn flushing() -> World {
        let mut world = World::new();
        let slot = world.add();
        let (owner, layer, tag) = (16, 0, 0);
        world.submit(Submission {
            slot,
            verb: Verb::Sync,
            offset: 0,
            lease: None,
            range: 0..0,
            token: Token { owner, layer, tag },
        });
        world
    }

    #[test]
    fn a_reactor_is_cooled_with_the_last_device() {
        let (mut world, mut cooling) = (flushing(), Cooling::default());
        assert!(!cooling.turn(&mut world, false));
        assert_eq!(world.next_deadline(), None);
        assert!(cooling.turn(&mut world, true));
        assert!(!cooling.turn(&mut world, true));
        assert_eq!((world.cooled(), world.next_deadline()), (1, None));
    }

    #[test]
    fn a_reactor_left_warm_by_a_device_that_never_answered_is_cooled_once() {
        let (mut world, mut cooling) = (flushing(), Cooling::default());
        assert!(!cooling.turn(&mut world, true));
        world.advance_to(LEFT_BEHIND_NS - 1);
        assert!(!cooling.turn(&mut world, true));
        assert_eq!(world.next_deadline(), Some(LEFT_BEHIND_NS));
        world.advance_to(LEFT_BEHIND_NS);
        assert!(cooling.turn(&mut world, true));
        assert!(!world.is_warm());
        assert!(!cooling.turn(&mut world, true));
        assert_eq!((world.cooled(), world.next_deadline()), (1, None));
    }

    #[test]
    fn a_device_that_gets_warm_meanwhile_is_the_one_to_cool_the_reactor() {
        let (mut world, mut cooling) = (flushing(), Cooling::default());
        assert!(!cooling.turn(&mut world, true));
        assert!(!cooling.turn(&mut world, false));
        assert_eq!(world.next_deadline(), None);
        assert!(cooling.turn(&mut world, true));
    }

    #[test]
    fn a_reactor_at_rest_is_left_at_rest() {
        let (mut world, mut cooling) = (World::new(), Cooling::default());
        assert!(!cooling.turn(&mut world, true));
        assert_eq!((world.cooled(), world.next_deadline()), (0, None));
    }
}
