//! The lock of a queue: a word that names its holder.
//!
//! Linking needs it: two senders that both find the queue empty would both write its head, and one
//! port would never be seen again (`tests/loom` shows it). A holder can be killed, so the word says
//! who it was, and nothing unlocks by going out of scope: what a dead holder held stays held until
//! [`recover`](super::recover) has finished its work.
//!
//! It does not know what the lock protects. Invariant: several locks are taken in ascending order.

use super::private::{Client, Field, QUEUES, only, queue_word};
use super::sync::Ordering;
use super::words::Words;

/// Takes the locks of a set of queues. `wait` is asked each time one is held, with the holder and
/// how often that was so; when it says false all are given back and the answer is false.
pub(crate) fn acquire<W: Words>(
    private: &W,
    queues: u32,
    client: Client,
    wait: &mut dyn FnMut(u32, u32) -> bool,
) -> bool {
    let mut taken = 0;
    for queue in (0..QUEUES).filter(|queue| queues & only(*queue) != 0) {
        if !acquire_one(private, queue, client, wait) {
            release(private, taken);
            return false;
        }
        taken |= only(queue);
    }
    true
}

fn acquire_one<W: Words>(
    private: &W,
    queue: u32,
    client: Client,
    wait: &mut dyn FnMut(u32, u32) -> bool,
) -> bool {
    let Some(word) = queue_word(private, queue, Field::Lock) else {
        return false;
    };
    let mut round = 0_u32;
    loop {
        match word.compare_exchange(0, client.0.get(), Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => return true,
            Err(holder) if !wait(holder, round) => return false,
            Err(_) => round = round.saturating_add(1),
        }
    }
}

/// Gives back the locks of a set of queues.
pub(crate) fn release<W: Words>(private: &W, queues: u32) {
    for queue in (0..QUEUES).filter(|queue| queues & only(*queue) != 0) {
        if let Some(word) = queue_word(private, queue, Field::Lock) {
            word.store(0, Ordering::Release);
        }
    }
}
