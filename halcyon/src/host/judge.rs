//! What follows from the state of a guest's devices, while nobody serves it.
//!
//! Pure: it is told what stands in xenstore and says what to do. Invariant: a process is started
//! only for a device that waits to be served for the first time, and at most once for each time
//! that the toolstack does something; a device that was connected is never served by another
//! process than the one that connected it.

use std::fmt;

use abi::io::xenbus::XenbusState;

use super::tree::Name;

/// A device as xenstore describes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// Which one.
    pub(super) name: Name,
    /// Our end's state; unknown if there is no such device.
    pub(super) state: XenbusState,
    /// Whether the toolstack wants it to stay.
    pub(super) online: bool,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// By itself, with this exit code.
    Exited(i32),
    /// By a signal.
    Killed(i32),
    /// It was started by an earlier daemon, so nobody can tell.
    Unknown,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "ended with exit code {code}"),
            Self::Killed(signal) => write!(f, "was killed by signal {signal}"),
            Self::Unknown => f.write_str("ended"),
        }
    }
}

/// What to do about a guest that nobody serves.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Start a process, which these devices wait for.
    pub(super) spawn: Vec<Name>,
    /// Say of these devices that they are not served.
    pub(super) refuse: Vec<Name>,
    /// Close these devices: the toolstack wants it, and nobody else will.
    pub(super) close: Vec<Name>,
    /// These were being served and are not any more.
    pub(super) stranded: Vec<Name>,
    /// The end of the process is a failure.
    pub(super) failed: bool,
    /// The guest has devices still.
    pub(super) remains: bool,
}

/// Something has changed. `is_fallen` says that a process of ours has served the guest and is gone.
pub(super) fn changed(seen: &[Seen], is_fallen: bool) -> Verdict {
    let spawn: Vec<Name> = waits(seen).collect();
    let close = closing(seen).filter(|_| is_fallen && spawn.is_empty());
    Verdict {
        close: close.collect(),
        spawn,
        remains: remains(seen),
        ..Verdict::default()
    }
}

/// The process that served the guest has ended. `news` says that the toolstack has made or taken
/// away devices of it since it was started.
pub(super) fn ended(seen: &[Seen], end: End, news: bool) -> Verdict {
    let spawn: Vec<Name> = waits(seen).filter(|_| news).collect();
    let stranded: Vec<Name> = names(seen, is_stranded).collect();
    let failed = match end {
        End::Exited(0) | End::Unknown => !stranded.is_empty(),
        End::Exited(_) | End::Killed(_) => true,
    };
    Verdict {
        refuse: waits(seen).filter(|_| failed && !news).collect(),
        close: closing(seen).filter(|_| spawn.is_empty()).collect(),
        spawn,
        stranded,
        failed,
        remains: remains(seen),
    }
}

/// Whether somebody has taken care of one of the devices, or given up on it: a toolstack makes them
/// all Initialising.
pub(super) fn was_served(seen: &[Seen]) -> bool {
    let untouched = [XenbusState::UNKNOWN, XenbusState::INITIALISING];
    let mut states = seen.iter().map(|device| device.state);
    states.any(|state| !untouched.contains(&state))
}

fn names(seen: &[Seen], is_one: fn(&Seen) -> bool) -> impl Iterator<Item = Name> {
    seen.iter()
        .filter(move |device| is_one(device))
        .map(|device| device.name)
}

fn waits(seen: &[Seen]) -> impl Iterator<Item = Name> {
    names(seen, |device| device.state == XenbusState::INITIALISING)
}

fn closing(seen: &[Seen]) -> impl Iterator<Item = Name> {
    names(seen, |device| {
        device.state == XenbusState::CLOSING && !device.online
    })
}

fn is_stranded(device: &Seen) -> bool {
    (XenbusState::INIT_WAIT..=XenbusState::CONNECTED).contains(&device.state)
}

fn remains(seen: &[Seen]) -> bool {
    let is_there = |device: &Seen| device.state != XenbusState::UNKNOWN;
    seen.iter().any(is_there)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::KindArg;

    const NAME: Name = Name {
        kind: KindArg::Vbd,
        devid: 51712,
    };
    const NEW: Name = Name {
        kind: KindArg::Vbd,
        devid: 51728,
    };

    fn seen(name: Name, state: XenbusState, online: bool) -> Seen {
        Seen {
            name,
            state,
            online,
        }
    }

    fn new() -> Seen {
        seen(NEW, XenbusState::INITIALISING, true)
    }

    fn connected() -> Seen {
        seen(NAME, XenbusState::CONNECTED, true)
    }

    #[test]
    fn a_new_device_gets_a_process_also_beside_one_that_lost_its_own() {
        assert_eq!(changed(&[new()], false).spawn, [NEW]);
        assert_eq!(changed(&[connected(), new()], true).spawn, [NEW]);
        assert_eq!(changed(&[connected()], true).spawn, []);
    }

    #[test]
    fn a_process_that_fails_at_its_start_is_not_started_again_for_the_same_devices() {
        let verdict = ended(&[new()], End::Exited(1), false);
        assert_eq!(verdict.spawn, []);
        assert_eq!(verdict.refuse, [NEW]);
        assert_eq!(ended(&[new()], End::Exited(1), true).spawn, [NEW]);
    }

    #[test]
    fn a_killed_process_strands_what_it_served() {
        let verdict = ended(&[connected()], End::Killed(9), false);
        assert_eq!(verdict.stranded, [NAME]);
        assert!(verdict.failed);
    }

    #[test]
    fn a_process_whose_guest_is_gone_ends_well() {
        assert_eq!(ended(&[], End::Exited(0), true), Verdict::default());
        assert_eq!(ended(&[], End::Unknown, false), Verdict::default());
        assert!(ended(&[], End::Killed(9), false).failed);
    }

    #[test]
    fn what_the_toolstack_withdraws_is_closed_where_a_process_was_lost() {
        let withdrawn = seen(NAME, XenbusState::CLOSING, false);
        assert_eq!(changed(&[withdrawn], true).close, [NAME]);
        assert_eq!(changed(&[withdrawn], false).close, []);
        assert_eq!(ended(&[withdrawn], End::Killed(9), false).close, [NAME]);
    }

    #[test]
    fn a_device_past_its_first_state_was_served() {
        assert!(was_served(&[new(), connected()]));
        assert!(!was_served(&[
            new(),
            seen(NAME, XenbusState::UNKNOWN, false)
        ]));
    }

    #[test]
    fn a_guest_is_forgotten_with_its_last_device() {
        assert!(changed(&[connected()], true).remains);
        assert!(!changed(&[seen(NAME, XenbusState::UNKNOWN, false)], true).remains);
    }
}
