//! The xenstore wire protocol's numbers: `io/xs_wire.h`.
//!
//! Knows the header of a message, the operations and the error names; payloads are the business of
//! the crate `xenstore`.

use crate::bytes::{get_u32, put};

/// Bytes of a message header.
pub const HEADER_SIZE: usize = 16;
/// Most bytes of a payload; a longer one ends the connection (XENSTORE_PAYLOAD_MAX).
pub const PAYLOAD_MAX: usize = 4096;
/// Most bytes of an absolute path (XENSTORE_ABS_PATH_MAX).
pub const ABS_PATH_MAX: usize = 3072;
/// Most bytes of a relative path (XENSTORE_REL_PATH_MAX).
pub const REL_PATH_MAX: usize = 2048;

/// Bytes of each direction's buffer in the page shared with a guest (XENSTORE_RING_SIZE).
pub const RING_SIZE: usize = 1024;

/// `enum xsd_sockmsg_type`: what a message asks for, or answers. Any number is representable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Op(pub u32);

impl Op {
    /// Daemon control and debugging, once XS_DEBUG.
    pub const CONTROL: Self = Self(0);
    /// Names of a node's children.
    pub const DIRECTORY: Self = Self(1);
    /// Value of a node.
    pub const READ: Self = Self(2);
    /// Permissions of a node.
    pub const GET_PERMS: Self = Self(3);
    /// Ask for events about a path and what is below it.
    pub const WATCH: Self = Self(4);
    /// Stop asking.
    pub const UNWATCH: Self = Self(5);
    /// Open a transaction.
    pub const TRANSACTION_START: Self = Self(6);
    /// Commit (`T`) or abort (`F`) a transaction.
    pub const TRANSACTION_END: Self = Self(7);
    /// Make a domain known.
    pub const INTRODUCE: Self = Self(8);
    /// Forget a domain.
    pub const RELEASE: Self = Self(9);
    /// `/local/domain/<domid>`.
    pub const GET_DOMAIN_PATH: Self = Self(10);
    /// Set a node's value, creating it and its parents.
    pub const WRITE: Self = Self(11);
    /// Create a node with an empty value.
    pub const MKDIR: Self = Self(12);
    /// Remove a node and all below it.
    pub const RM: Self = Self(13);
    /// Set a node's permissions.
    pub const SET_PERMS: Self = Self(14);
    /// From the server: something under a watched path changed.
    pub const WATCH_EVENT: Self = Self(15);
    /// From the server: the request failed; the payload is an error name.
    pub const ERROR: Self = Self(16);
    /// Whether a domain is known.
    pub const IS_DOMAIN_INTRODUCED: Self = Self(17);
    /// A domain continues after suspend.
    pub const RESUME: Self = Self(18);
    /// One domain gets another's rights.
    pub const SET_TARGET: Self = Self(19);
    /// Drop this connection's watches and transactions. 20 was XS_RESTRICT.
    pub const RESET_WATCHES: Self = Self(21);
    /// A part of a directory that does not fit one payload.
    pub const DIRECTORY_PART: Self = Self(22);
    /// Server feature bits (Xen 4.22).
    pub const GET_FEATURE: Self = Self(23);
    /// Server features offered to a domain (Xen 4.22).
    pub const SET_FEATURE: Self = Self(24);
    /// Quota values (Xen 4.22).
    pub const GET_QUOTA: Self = Self(25);
    /// Sets a quota (Xen 4.22).
    pub const SET_QUOTA: Self = Self(26);
    /// Never a valid operation.
    pub const INVALID: Self = Self(0xFFFF);
}

/// `struct xsd_sockmsg`: what stands before every payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The operation.
    pub op: Op,
    /// Chosen by the client, echoed in the reply; 0 in watch events.
    pub req_id: u32,
    /// The transaction, 0 for none.
    pub tx_id: u32,
    /// Bytes of payload that follow.
    pub len: u32,
}

impl Header {
    /// Reads a header; `len` is the sender's claim and unchecked.
    pub fn decode(bytes: &[u8; HEADER_SIZE]) -> Self {
        Self {
            op: Op(get_u32(bytes, 0)),
            req_id: get_u32(bytes, 4),
            tx_id: get_u32(bytes, 8),
            len: get_u32(bytes, 12),
        }
    }

    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEADER_SIZE] {
        let mut bytes = [0; HEADER_SIZE];
        put(&mut bytes, 0, self.op.0.to_le_bytes());
        put(&mut bytes, 4, self.req_id.to_le_bytes());
        put(&mut bytes, 8, self.tx_id.to_le_bytes());
        put(&mut bytes, 12, self.len.to_le_bytes());
        bytes
    }
}

/// `xsd_errors`: the names that errors travel as, with Linux's number for each.
pub const ERRORS: [(&str, i32); 16] = [
    ("EINVAL", 22),
    ("EACCES", 13),
    ("EEXIST", 17),
    ("EISDIR", 21),
    ("ENOENT", 2),
    ("ENOMEM", 12),
    ("ENOSPC", 28),
    ("EIO", 5),
    ("ENOTEMPTY", 39),
    ("ENOSYS", 38),
    ("EROFS", 30),
    ("EBUSY", 16),
    ("EAGAIN", 11),
    ("EISCONN", 106),
    ("E2BIG", 7),
    ("EPERM", 1),
];

/// The number of an error name, or `None` for a name that the protocol does not know.
pub fn errno(name: &str) -> Option<i32> {
    ERRORS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, errno)| *errno)
}

/// The name that an error number travels as; numbers without one travel as `EINVAL`, the first.
pub fn error_name(errno: i32) -> &'static str {
    ERRORS
        .iter()
        .find(|(_, known)| *known == errno)
        .map_or("EINVAL", |(name, _)| name)
}
