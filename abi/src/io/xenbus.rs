//! The states of a device handshake: `io/xenbus.h`.

use std::fmt;

/// `enum xenbus_state`, as either end of a device writes it to its `state` node. Any number is
/// representable; those without a name mean nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct XenbusState(pub u32);

impl XenbusState {
    /// The node is missing or unreadable.
    pub const UNKNOWN: Self = Self(0);
    /// Created by the toolstack; nobody has looked yet.
    pub const INITIALISING: Self = Self(1);
    /// The backend has published its features and waits for the frontend.
    pub const INIT_WAIT: Self = Self(2);
    /// The frontend has published its ring.
    pub const INITIALISED: Self = Self(3);
    /// In use.
    pub const CONNECTED: Self = Self(4);
    /// One end wants to stop.
    pub const CLOSING: Self = Self(5);
    /// Stopped: nothing of the other end is in use any more.
    pub const CLOSED: Self = Self(6);
    /// The other end's parameters are changing.
    pub const RECONFIGURING: Self = Self(7);
    /// The change has been taken over.
    pub const RECONFIGURED: Self = Self(8);

    /// Every named state, in order of its number.
    pub const ALL: [Self; 9] = [
        Self::UNKNOWN,
        Self::INITIALISING,
        Self::INIT_WAIT,
        Self::INITIALISED,
        Self::CONNECTED,
        Self::CLOSING,
        Self::CLOSED,
        Self::RECONFIGURING,
        Self::RECONFIGURED,
    ];

    /// Reads a `state` node: decimal digits, spaces around them ignored. Whatever is not a number
    /// counts as [`XenbusState::UNKNOWN`], as it does for Linux (`xenbus_read_driver_state`).
    pub fn parse(node: &[u8]) -> Self {
        std::str::from_utf8(node)
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .map_or(Self::UNKNOWN, Self)
    }

    /// The word that the header uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::INITIALISING => "Initialising",
            Self::INIT_WAIT => "InitWait",
            Self::INITIALISED => "Initialised",
            Self::CONNECTED => "Connected",
            Self::CLOSING => "Closing",
            Self::CLOSED => "Closed",
            Self::RECONFIGURING => "Reconfiguring",
            Self::RECONFIGURED => "Reconfigured",
            _ => "Unknown",
        }
    }
}

/// The number, as the `state` node carries it.
impl fmt::Display for XenbusState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
