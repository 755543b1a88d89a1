//! The rules that a block backend keeps, each a test: real handshakes through a real store server,
//! real grants in a guest's memory, one thread, no clock. Tests name the rule they check:
//!
//! 1. Every slot is copied once, the copy is judged, shared memory is not read again; the padding
//!    of responses is zero.
//! 2. A producer index beyond the ring closes the device: no loop, no panic.
//! 3. At most 11 segments, each within its page; the request within the disk as it is now.
//! 4. No segments only where no data travels.
//! 5. Responses echo `id` and `operation`; that of an indirect request is the one inside.
//! 6. What is not served is answered with EOPNOTSUPP.
//! 7. A write to a read-only device fails and never reaches the storage.
//! 8. A segment that cannot be copied fails its whole request, and no other.
//! 9. No event without responses, and none that the guest did not ask for.
//! 10. After an unmask the ring is looked at once more.
//! 11. Disconnecting is idempotent; a frontend that closes is answered before its pages are unmapped;
//!     no new connection while requests of the old one are pending.
//! 12. Every number and text from the store has a bound.
//! 13. Store events are merged, and never believed: the nodes are read.
//! 14. At the end only our own state is written; a frontend that vanished is closed.
//! 15. No request is taken, nor Connected published, before the image's lock is held.
//! 16. After a flush has failed, no write and no flush of that connection is acknowledged.
//!
//! Every test ends with no grant mapped, no port bound, no request pending and no deadline set.

mod any_bytes;
mod connect;
mod handover;
mod hostile;
mod io;
mod keys;
mod reconnect;
mod removal;
mod requests;
mod script;
mod sectors;
mod segments;
mod store;
mod support;
