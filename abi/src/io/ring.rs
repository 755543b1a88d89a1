//! The shared ring's memory layout: `io/ring.h`.
//!
//! A ring is a 64-byte header (`struct sring`) and a power of two of equal slots. The algorithm
//! on top of it is the crate `ring`.

use crate::PAGE_SIZE;

/// Offset of `req_prod`: requests ever published by the frontend, modulo 2^32.
pub const REQ_PROD: usize = 0;
/// Offset of `req_event`: the value of `req_prod` that the backend wants to be notified of.
pub const REQ_EVENT: usize = 4;
/// Offset of `rsp_prod`: responses ever published by the backend, modulo 2^32.
pub const RSP_PROD: usize = 8;
/// Offset of `rsp_event`: the value of `rsp_prod` that the frontend wants to be notified of.
pub const RSP_EVENT: usize = 12;
/// Bytes before the first slot.
pub const HEADER_SIZE: usize = 64;

/// Most pages of one ring that Linux allocates (XENBUS_MAX_RING_GRANTS, order 4).
pub const MAX_PAGES: usize = 16;

/// Slots of a ring of `pages` pages: as many as fit behind the header, rounded down to a power of
/// two (`__RING_SIZE`). 0 when nothing fits.
pub const fn entries(pages: usize, stride: usize) -> u32 {
    let bytes = pages.saturating_mul(PAGE_SIZE).saturating_sub(HEADER_SIZE);
    match bytes.checked_div(stride) {
        None | Some(0) => 0,
        // A ring of 2^31 or more slots could not tell full from overflown.
        Some(fit) if fit >= 1 << 31 => 1 << 30,
        Some(fit) => 1 << fit.ilog2(),
    }
}
