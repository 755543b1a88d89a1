//! What a backend can do against the protocol, as far as a frontend can see it.

use abi::GrantRef;
use abi::io::blkif::Operation;
use ring::Corrupt;

/// The backend broke the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A response to nothing that was ever asked.
    #[error("response with the unknown id {0:#x}")]
    UnknownId(u64),
    /// A second response to one request.
    #[error("second response with the id {0:#x}")]
    Duplicate(u64),
    /// A response that names another operation than the request.
    #[error("response to {asked} that says {answered}")]
    WrongOperation {
        /// Of the request.
        asked: Operation,
        /// Of the response.
        answered: Operation,
    },
    /// A page still in use after the response that ended its request, or after the connection.
    #[error("grant {0} still in use by the backend")]
    GrantInUse(GrantRef),
    /// A read wrote to a part of a page that was not asked for.
    #[error("page content changed outside of the segment at sector {0} of the page")]
    OutsideSegment(u8),
    /// The response index moved where it must not.
    #[error("{0}")]
    Ring(Corrupt),
}
