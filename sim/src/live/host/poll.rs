//! What the host sleeps on: one epoll set, and tokens that say what woke it.
//!
//! Invariant: there is no timeout; the host runs only when something happened.

use std::io;
use std::os::fd::RawFd;

use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};

/// Events taken at a time.
const BATCH: usize = 256;

/// What a descriptor in the set belongs to. The numbers are never reused, so an event for
/// something that has just gone finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// The socket for calls has a new connection.
    Calls,
    /// The xenstore socket has a new connection.
    StoreListener,
    /// A client's connection.
    Client(u32),
    /// A client's process has died.
    Gone(u32),
    /// A xenstore connection.
    Store(u64),
}

/// The kind of a token stands above the number.
const KIND_SHIFT: u32 = 56;

impl Token {
    fn encode(self) -> u64 {
        let (kind, number) = match self {
            Self::Calls => (0, 0),
            Self::StoreListener => (1, 0),
            Self::Client(client) => (2, u64::from(client)),
            Self::Gone(client) => (3, u64::from(client)),
            Self::Store(conn) => (4, conn),
        };
        kind << KIND_SHIFT | number
    }

    fn decode(word: u64) -> Option<Self> {
        let number = word & ((1 << KIND_SHIFT) - 1);
        match word >> KIND_SHIFT {
            0 => Some(Self::Calls),
            1 => Some(Self::StoreListener),
            2 => u32::try_from(number).ok().map(Self::Client),
            3 => u32::try_from(number).ok().map(Self::Gone),
            4 => Some(Self::Store(number)),
            _ => None,
        }
    }
}

/// What to be woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wish(EventSet);

impl Wish {
    /// Input.
    pub(super) const READ: Self = Self(EventSet::IN);
    /// New input since the last time: for listeners, which may be left unserved for a while.
    pub(super) const EDGE: Self = Self(EventSet::IN.union(EventSet::EDGE_TRIGGERED));

    /// Input, room for output, both or neither.
    pub(super) fn new(input: bool, output: bool) -> Self {
        let input = if input {
            EventSet::IN
        } else {
            EventSet::empty()
        };
        let output = if output {
            EventSet::OUT
        } else {
            EventSet::empty()
        };
        Self(input | output)
    }

    pub(super) fn reads(self) -> bool {
        self.0.contains(EventSet::IN)
    }
}

/// The set.
#[derive(Debug)]
pub(super) struct Poll {
    epoll: Epoll,
}

impl Poll {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: Epoll::new()?,
        })
    }

    /// Adds a descriptor. It leaves the set when it is closed.
    pub(super) fn add(&self, fd: RawFd, token: Token, wish: Wish) -> io::Result<()> {
        self.epoll.ctl(
            ControlOperation::Add,
            fd,
            EpollEvent::new(wish.0, token.encode()),
        )
    }

    /// Changes what a descriptor is waited for.
    pub(super) fn change(&self, fd: RawFd, token: Token, wish: Wish) -> io::Result<()> {
        self.epoll.ctl(
            ControlOperation::Modify,
            fd,
            EpollEvent::new(wish.0, token.encode()),
        )
    }

    /// Sleeps until something happens. A signal is nothing. The dead come first: what a client
    /// asks after another one's death must find the world without it.
    pub(super) fn wait(&self) -> io::Result<Vec<Token>> {
        let mut events = [EpollEvent::default(); BATCH];
        match self.epoll.wait(-1, &mut events) {
            Ok(n) => {
                let mut tokens: Vec<Token> = events[..n].iter().filter_map(token_of).collect();
                tokens.sort_by_key(|token| !matches!(token, Token::Gone(_)));
                Ok(tokens)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

/// What an event is about. A client that has hung up is gone, whatever it still had to say: nobody
/// waits for the answer.
fn token_of(event: &EpollEvent) -> Option<Token> {
    match Token::decode(event.data())? {
        Token::Client(client) if event.event_set().contains(EventSet::HANG_UP) => {
            Some(Token::Gone(client))
        }
        token => Some(token),
    }
}
