//! The wire codec: bytes to messages and back, as `io/xs_wire.h` and `docs/misc/xenstore.txt`
//! describe them. Knows payload syntax, not what a request does.
//!
//! Invariant: decoding accepts any bytes without panicking, and never buffers more than one
//! message beyond what it was given.

mod decode;
mod reply;
mod request;

use std::str::FromStr;

use abi::io::xs_wire::{HEADER_SIZE, Header, Op, PAYLOAD_MAX};

pub use reply::{directory_part, names, parse_directory_part, parse_names, parse_perms, perms};
pub use request::Request;

use crate::{Corrupt, StoreError};

/// Payload of a success that has nothing else to say.
pub const OK: &[u8] = b"OK\0";

/// Longest token that is accepted, so that every event fits one payload beside the longest path.
pub const TOKEN_MAX: usize = PAYLOAD_MAX - abi::io::xs_wire::ABS_PATH_MAX - 2;

/// One message, in either direction. Its payload is at most 4096 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The operation.
    pub op: Op,
    /// The client's number for the request; 0 in watch events.
    pub req_id: u32,
    /// The transaction, 0 for none.
    pub tx_id: u32,
    /// What follows the header.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Appends header and payload to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode(self.op, self.req_id, self.tx_id, &self.payload, out);
    }
}

/// Appends one message to `out`. What exceeds 4096 bytes of payload is cut off; requests and
/// replies of this crate are bounded before they come here.
pub fn encode(op: Op, req_id: u32, tx_id: u32, payload: &[u8], out: &mut Vec<u8>) {
    let payload = payload.get(..PAYLOAD_MAX).unwrap_or(payload);
    let len = u32::try_from(payload.len()).unwrap_or(0);
    out.extend_from_slice(
        &Header {
            op,
            req_id,
            tx_id,
            len,
        }
        .encode(),
    );
    out.extend_from_slice(payload);
}

/// Appends the refusal of a request to `out`.
pub fn encode_error(error: StoreError, req_id: u32, tx_id: u32, out: &mut Vec<u8>) {
    let mut payload = error.name().as_bytes().to_vec();
    payload.push(0);
    encode(Op::ERROR, req_id, tx_id, &payload, out);
}

/// Cuts a byte stream into messages, however it was split on the way.
#[derive(Debug, Default)]
pub struct Splitter {
    buffered: Vec<u8>,
    consumed: usize,
}

impl Splitter {
    /// Takes over bytes as they arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffered.drain(..self.consumed);
        self.consumed = 0;
        self.buffered.extend_from_slice(bytes);
    }

    /// The next complete message, if there is one. After an error the stream is lost.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Corrupt> {
        let rest = self.buffered.get(self.consumed..).unwrap_or_default();
        let Some((header, rest)) = rest.split_first_chunk::<HEADER_SIZE>() else {
            return Ok(None);
        };
        let header = Header::decode(header);
        let len = usize::try_from(header.len).unwrap_or(usize::MAX);
        if len > PAYLOAD_MAX {
            return Err(Corrupt::Oversize(header.len));
        }
        let Some(payload) = rest.get(..len) else {
            return Ok(None);
        };
        let frame = Frame {
            op: header.op,
            req_id: header.req_id,
            tx_id: header.tx_id,
            payload: payload.to_vec(),
        };
        self.consumed = self
            .consumed
            .saturating_add(HEADER_SIZE)
            .saturating_add(len);
        Ok(Some(frame))
    }

    /// Bytes that wait for the rest of their message.
    pub fn buffered(&self) -> usize {
        self.buffered.len().saturating_sub(self.consumed)
    }
}

/// The strings of a payload that consists of strings with a NUL behind each, or `None` if the last
/// one has none or they are not UTF-8.
pub fn strings(payload: &[u8]) -> Option<Vec<&str>> {
    if payload.is_empty() {
        return Some(Vec::new());
    }
    let text = std::str::from_utf8(payload.strip_suffix(b"\0")?).ok()?;
    Some(text.split('\0').collect())
}

/// A decimal number without sign, as it stands in payloads.
pub fn number<N: FromStr>(text: &str) -> Option<N> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// The payload of a watch event: path and token.
pub fn watch_event(path: &str, token: &str) -> Vec<u8> {
    [path, "\0", token, "\0"].concat().into_bytes()
}
