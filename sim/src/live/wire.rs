//! The calls that clients make to the host process, as JSON messages.
//!
//! One message is one packet; every call gets exactly one answer, in order. It knows nothing of
//! sockets. Numbers travel bare: the newtypes of `abi` are put on at the edges.
//!
//! Invariant: an unknown or malformed message decodes to an error, never to a panic.

use serde::{Deserialize, Serialize};

/// Longest message either side accepts, in bytes: [`MAP_MAX`] frame numbers of up to ten digits,
/// or [`LIST_MAX`] domains whose names consist of characters that JSON writes with six.
pub(super) const MESSAGE_MAX: usize = 16 * 1024;

/// Grants of one map call: the pages of the largest ring the ABI knows, several times over.
pub(super) const MAP_MAX: usize = 1024;

/// Domains of one answer to [`Request::List`].
pub(super) const LIST_MAX: usize = 16;

/// Longest name or UUID of a domain, in bytes.
pub(super) const NAME_MAX: usize = 64;

/// What a new domain shall look like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewDomain {
    /// Its name, as a toolstack shows it.
    pub name: String,
    /// Its UUID, in the usual text form.
    pub uuid: String,
    /// Its memory, in bytes; rounded up to whole pages.
    pub memory_bytes: u64,
}

/// What the host knows of a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainInfo {
    /// Its number.
    pub domid: u16,
    /// Its name.
    pub name: String,
    /// Its UUID.
    pub uuid: String,
    /// Its memory.
    pub memory_bytes: u64,
    /// The process that runs the guest, if one does.
    pub guest_pid: Option<u32>,
    /// Backend processes attached for it.
    pub backends: usize,
    /// Grants of it that backends have mapped, counted once for each mapping.
    pub mapped: usize,
    /// Ports of its own that are not closed.
    pub ports: usize,
    /// Its guest has died, or it was destroyed while others still had its pages mapped.
    pub dying: bool,
}

/// A call.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    Create(NewDomain),
    /// The domains from `from` on, at most [`LIST_MAX`] of them.
    List {
        from: u16,
    },
    Destroy {
        domid: u16,
    },
    Stop,
    AttachGuest {
        domid: u16,
    },
    AttachBackend {
        domid: u16,
    },
    AllocUnbound {
        remote: u16,
    },
    BindInterdomain {
        remote: u16,
        remote_port: u32,
    },
    Close {
        port: u32,
    },
    Status {
        port: u32,
    },
    /// Who is at the other end of an own port: brings the descriptors to reach it.
    Peer {
        port: u32,
    },
    Map {
        domid: u16,
        grefs: Vec<u32>,
        writable: bool,
    },
    Unmap {
        handle: u64,
    },
}

/// The answer to a call.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Done,
    Created {
        domid: u16,
    },
    Domains(Vec<DomainInfo>),
    /// Descriptors: own queues, own upcall, xenstore, and the guest's memory. A backend gets the
    /// guest's queues (which hold its grant table) as a fifth.
    Attached {
        array: u32,
    },
    Port {
        port: u32,
    },
    /// Descriptors: the peer's queues, its upcall.
    Bound {
        port: u32,
        link: u64,
    },
    /// Descriptors, unless the peer has none: its queues, its upcall.
    Peer {
        link: u64,
    },
    Status {
        status: u32,
        remote: u16,
        remote_port: u32,
    },
    Mapped {
        handle: u64,
        gfns: Vec<u64>,
    },
    /// A grant was refused, and with it the whole map.
    Refused {
        gref: u32,
        status: i16,
    },
    Failed {
        errno: i32,
        why: String,
    },
}

/// Makes the bytes of a message.
pub(super) fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    serde_json::to_vec(message).expect("these types always serialise")
}

/// Reads the bytes of a message.
pub(super) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(bytes)
}
