//! Responses as they lie in a slot.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

use super::{Operation, Status};
use crate::bytes::{get_u8, get_u16, get_u64, put};

/// Bytes of a response in the widest layout. The narrower x86_32 response has the same offsets
/// and 4 bytes less of padding.
pub const RESPONSE_MAX: usize = 16;

const ID: usize = 0;
const OPERATION: usize = 8;
const STATUS: usize = 10;

/// `struct blkif_response`; its offsets are the same in every protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// Copied from the request.
    pub id: u64,
    /// Copied from the request.
    pub operation: Operation,
    /// How it ended.
    pub status: Status,
}

impl Response {
    /// Reads a response.
    pub fn decode(bytes: &[u8; RESPONSE_MAX]) -> Self {
        Self {
            id: get_u64(bytes, ID),
            operation: Operation(get_u8(bytes, OPERATION)),
            status: Status(get_u16(bytes, STATUS).cast_signed()),
        }
    }

    /// The response's bytes. Padding is zero, so that nothing of the backend's memory reaches the
    /// guest (XSA-216).
    pub fn encode(&self) -> [u8; RESPONSE_MAX] {
        let mut bytes = [0; RESPONSE_MAX];
        put(&mut bytes, ID, self.id.to_le_bytes());
        put(&mut bytes, OPERATION, [self.operation.0]);
        put(&mut bytes, STATUS, self.status.0.to_le_bytes());
        bytes
    }
}
