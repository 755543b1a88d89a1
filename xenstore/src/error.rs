//! What can go wrong, in two classes: the server refused one request, or the byte stream itself
//! makes no sense. Knows the error names of `io/xs_wire.h`, not who is to blame.

use abi::io::xs_wire;

/// The server's refusal of one request, by its name in `io/xs_wire.h`; or, for a step of a
/// transaction, that the transaction as a whole did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum StoreError {
    /// EINVAL: a malformed path or argument.
    #[error("invalid argument")]
    Invalid,
    /// EACCES: the node's permissions forbid it.
    #[error("permission denied")]
    Denied,
    /// EEXIST: this watch is already set.
    #[error("already exists")]
    Exists,
    /// ENOENT: no such node, watch, transaction or domain.
    #[error("does not exist")]
    NotFound,
    /// ENOSPC: a quota of this domain is used up.
    #[error("quota exceeded")]
    Quota,
    /// E2BIG: the answer does not fit one payload, or too many watches.
    #[error("too big")]
    TooBig,
    /// EBUSY: a transaction within a transaction.
    #[error("busy")]
    Busy,
    /// ENOSYS: the server does not know this operation.
    #[error("not supported by this xenstore")]
    Unsupported,
    /// EAGAIN: the transaction conflicted with another one, more often than it was retried.
    #[error("transaction conflict")]
    Conflict,
    /// EPERM: only the control domain may do this.
    #[error("not permitted")]
    NotPermitted,
    /// Another step of the same transaction failed, so this one did not take effect.
    #[error("rolled back with its transaction")]
    RolledBack,
    /// Any other error of the protocol, by its Linux number.
    #[error("error number {0}")]
    Other(i32),
}

/// Linux's numbers for the errors that have a variant of their own.
const NAMED: [(StoreError, i32); 10] = [
    (StoreError::Invalid, 22),
    (StoreError::Denied, 13),
    (StoreError::Exists, 17),
    (StoreError::NotFound, 2),
    (StoreError::Quota, 28),
    (StoreError::TooBig, 7),
    (StoreError::Busy, 16),
    (StoreError::Unsupported, 38),
    (StoreError::Conflict, 11),
    (StoreError::NotPermitted, 1),
];

impl StoreError {
    /// Linux's number for this error. A rolled back step reports EAGAIN.
    pub fn errno(self) -> i32 {
        match self {
            Self::Other(errno) => errno,
            Self::RolledBack => Self::Conflict.errno(),
            named => NAMED
                .iter()
                .find(|(error, _)| *error == named)
                .map_or(22, |(_, errno)| *errno),
        }
    }

    /// The error of a Linux error number.
    pub fn from_errno(errno: i32) -> Self {
        NAMED
            .iter()
            .find(|(_, known)| *known == errno)
            .map_or(Self::Other(errno), |(error, _)| *error)
    }

    /// The name that this error travels as.
    pub fn name(self) -> &'static str {
        xs_wire::error_name(self.errno())
    }

    /// The error of a name; unknown names count as EINVAL, as they do for libxenstore.
    pub fn from_name(name: &[u8]) -> Self {
        std::str::from_utf8(name)
            .ok()
            .and_then(xs_wire::errno)
            .map_or(Self::Invalid, Self::from_errno)
    }
}

/// The byte stream cannot be trusted any further: the connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Corrupt {
    /// A header announces more than 4096 bytes.
    #[error("xenstore message of {0} bytes, the protocol allows 4096")]
    Oversize(u32),
    /// A reply to nothing that was asked.
    #[error("xenstore reply to unknown request {0}")]
    UnknownRequest(u32),
    /// A reply whose type or payload does not fit its request.
    #[error("xenstore reply does not fit request {0}")]
    Mismatch(u32),
    /// A watch event without a path or a token.
    #[error("malformed xenstore watch event")]
    WatchEvent,
}
