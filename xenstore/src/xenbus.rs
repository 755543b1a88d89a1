//! The handshake of a device, from the backend's side, as one pure function.
//!
//! Its inputs are levels, not edges: the two `state` nodes as they read now (conformance rule 13:
//! watch events may be merged or lost), and what has become of the device. An [`Action`] says what
//! should be done or brought under way next; a caller that already has it under way ignores it.
//! After every action, and after every watch event, the caller asks again.
//!
//! Knows no keys other than `state` and `online`, and nothing of rings. The states are those of
//! `io/xenbus.h`; the table follows what Linux's backends do, because that is what frontends have
//! been tested against.
//!
//! Invariant: repeated with the same inputs and every action carried out, the function comes to
//! [`Action::Nothing`] or [`Action::Finish`]: a device never chases its own writes.

use abi::io::xenbus::XenbusState;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The nodes have been read (again): at the start, after a watch event, after an action.
    Changed {
        /// The backend's `online` node: whether the toolstack wants the device to outlive the
        /// frontend's current connection.
        online: bool,
    },
    /// What the device needs before a frontend may come, such as its image, is at hand.
    Prepared,
    /// The frontend's ring is mapped and its port bound.
    Attached,
    /// The device cannot be prepared or attached, or its ring is corrupt.
    Failed,
    /// Nothing is in flight any more, nothing mapped, no port bound.
    Detached,
}

/// What should be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Wait for something to happen.
    Nothing,
    /// Get hold of what the device needs, then report [`Event::Prepared`] or [`Event::Failed`].
    Prepare,
    /// Write this to our `state` node: with InitWait, in one transaction with the features; with
    /// Connected, with the properties.
    Switch(XenbusState),
    /// Read the frontend's keys and attach to its ring, then report [`Event::Attached`] or
    /// [`Event::Failed`].
    Attach,
    /// Take nothing new from the ring, let what is in flight land, detach, then report
    /// [`Event::Detached`]. Must be idempotent: it is asked for of devices never attached, too.
    Detach,
    /// The device is over: forget it, and write nothing. The toolstack removes the nodes.
    Finish,
}

/// The next action of a backend whose node reads `ours` and whose frontend's node reads `theirs`.
/// A node that is missing reads [`XenbusState::UNKNOWN`].
pub fn next(ours: XenbusState, theirs: XenbusState, event: Event) -> Action {
    match event {
        Event::Changed { online } => changed(ours, Frontend::from(theirs), online),
        Event::Prepared => prepared(ours, Frontend::from(theirs)),
        Event::Attached => attached(ours, Frontend::from(theirs)),
        Event::Failed => failed(ours),
        Event::Detached => detached(ours),
    }
}

/// What a frontend's state means to a backend.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Frontend {
    /// It has not published a ring: Initialising, InitWait.
    Coming,
    /// Its ring is there. Initialised and Connected mean the same, because a frontend may pass
    /// through the first too fast to be seen, or not at all.
    Ready,
    /// It wants to stop, but still uses the ring.
    Leaving,
    /// It uses nothing any more. A directory that vanished counts too (rule 14).
    Gone,
    /// A state that backends have no business with.
    Strange,
}

impl From<XenbusState> for Frontend {
    fn from(state: XenbusState) -> Self {
        match state {
            XenbusState::INITIALISING | XenbusState::INIT_WAIT => Self::Coming,
            XenbusState::INITIALISED | XenbusState::CONNECTED => Self::Ready,
            XenbusState::CLOSING => Self::Leaving,
            XenbusState::CLOSED | XenbusState::UNKNOWN => Self::Gone,
            _ => Self::Strange,
        }
    }
}

fn changed(ours: XenbusState, theirs: Frontend, online: bool) -> Action {
    match ours {
        // Our directory has been taken away: the toolstack has lost patience.
        XenbusState::UNKNOWN => Action::Detach,
        XenbusState::INITIALISING => match theirs {
            Frontend::Coming | Frontend::Ready => Action::Prepare,
            Frontend::Leaving => Action::Switch(XenbusState::CLOSING),
            Frontend::Gone => Action::Detach,
            Frontend::Strange => Action::Nothing,
        },
        XenbusState::INIT_WAIT => match theirs {
            Frontend::Ready => Action::Attach,
            Frontend::Leaving => Action::Switch(XenbusState::CLOSING),
            Frontend::Gone => Action::Detach,
            Frontend::Coming | Frontend::Strange => Action::Nothing,
        },
        XenbusState::CONNECTED => match theirs {
            // A frontend that starts over has given its ring away without a word.
            Frontend::Coming | Frontend::Gone => Action::Detach,
            Frontend::Leaving => Action::Switch(XenbusState::CLOSING),
            Frontend::Ready | Frontend::Strange => Action::Nothing,
        },
        XenbusState::CLOSING => match theirs {
            Frontend::Gone => Action::Detach,
            // The toolstack withdraws a device that no driver has ever taken up.
            Frontend::Coming if !online => Action::Detach,
            // Requests are served until the frontend has let go.
            _ => Action::Nothing,
        },
        XenbusState::CLOSED => match theirs {
            _ if !online => Action::Finish,
            Frontend::Coming | Frontend::Ready => Action::Prepare,
            _ => Action::Nothing,
        },
        // States that backends do not write themselves: leave by the same door.
        _ => match theirs {
            Frontend::Leaving => Action::Switch(XenbusState::CLOSING),
            Frontend::Gone => Action::Detach,
            _ => Action::Nothing,
        },
    }
}

fn prepared(ours: XenbusState, theirs: Frontend) -> Action {
    match (ours, theirs) {
        (XenbusState::INITIALISING | XenbusState::CLOSED, Frontend::Coming | Frontend::Ready) => {
            Action::Switch(XenbusState::INIT_WAIT)
        }
        _ => Action::Nothing,
    }
}

fn attached(ours: XenbusState, theirs: Frontend) -> Action {
    match (ours, theirs) {
        (XenbusState::CONNECTED, Frontend::Ready | Frontend::Leaving) => Action::Nothing,
        (XenbusState::INIT_WAIT, Frontend::Ready) => Action::Switch(XenbusState::CONNECTED),
        // The frontend went away, or the toolstack withdrew the device, in the meantime.
        _ => Action::Detach,
    }
}

/// The frontend is told by Closing, not by Closed: Linux's frontends give up on the former, and
/// the latter would have us prepare again and again.
fn failed(ours: XenbusState) -> Action {
    match ours {
        XenbusState::UNKNOWN | XenbusState::CLOSING => Action::Nothing,
        _ => Action::Switch(XenbusState::CLOSING),
    }
}

fn detached(ours: XenbusState) -> Action {
    match ours {
        XenbusState::UNKNOWN => Action::Finish,
        XenbusState::CLOSED => Action::Nothing,
        _ => Action::Switch(XenbusState::CLOSED),
    }
}
