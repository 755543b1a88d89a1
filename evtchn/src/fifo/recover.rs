//! What the simulated host does when a client died in the middle of a send.
//!
//! On Xen a send is a hypercall and runs to its end whatever becomes of the caller. Here it runs in
//! the caller, which can be killed between any two instructions; the host then takes the linking
//! from the recorded stage to its end. It does not know how the client died.
//!
//! Invariant: afterwards the dead client holds no lock, and no port is LINKED outside a queue.

use super::lock;
use super::private::{Client, Field, QUEUES, View, only};
use super::send::{Raise, finish};
use super::sync::Ordering;
use super::words::Words;

/// Finishes what `dead` was linking and releases what it had locked.
///
/// It may also have died between setting a ready bit and sending the upcall that was due for it,
/// so an upcall is asked for whenever a bit still stands.
pub(crate) fn recover<W: Words>(view: &View<W>, dead: Client) -> Option<Raise> {
    let mut held = 0;
    let mut upcall = false;
    for queue in 0..QUEUES {
        if view.queue(queue, Field::Lock)?.load(Ordering::Acquire) != dead.0.get() {
            continue;
        }
        held |= only(queue);
        if let Some(linking) = view.linking(queue) {
            upcall |= finish(view, queue, linking) == Some(Raise::Upcall);
        }
    }
    lock::release(&view.private, held);
    upcall |= view.ready()?.load(Ordering::Acquire) != 0;
    Some(if upcall {
        Raise::Upcall
    } else {
        Raise::Nothing
    })
}
