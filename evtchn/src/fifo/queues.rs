//! The hypervisor's side of one domain's events, over memory that all senders share.
//!
//! Any number of processes may hold a [`Queues`] over the same memory: there is no other state.
//! It does not know how an upcall reaches the domain. Invariant: whatever the domain writes into
//! its control block and its event array, every call ends, and costs that domain only.

use abi::Port;
use abi::event_channel::fifo::{
    CONTROL_SIZE, LINKED, MASKED, PENDING, PRIORITY_MIN, WORDS_PER_PAGE,
};
use vm_memory::VolatileSlice;

use super::private::{PORTS_MAX, View};
use super::sync::{Ordering, pause};
use super::{Client, PRIVATE_BYTES, Raise, Unfit, fit, recover, send};
use crate::SharedMemory;

/// One domain's event channels as the hypervisor sees them.
#[derive(Debug)]
pub struct Queues<M> {
    control: M,
    array: M,
    private: M,
}

impl<M: SharedMemory> Queues<M> {
    /// `control` begins with the domain's control block (72 bytes); `array` is room for its event
    /// array, of which [`Queues::expand`] says how much is in use; `private` are at least
    /// [`PRIVATE_BYTES`], all zero for a new domain, that the domain does not see.
    pub fn new(control: M, array: M, private: M) -> Result<Self, Unfit> {
        fit("control block", &control, CONTROL_SIZE)?;
        fit("event array", &array, abi::PAGE_SIZE)?;
        fit("private event memory", &private, PRIVATE_BYTES)?;
        Ok(Self {
            control,
            array,
            private,
        })
    }

    /// Sets how many pages of the event array are in use (EVTCHNOP_expand_array). The domain has
    /// masked every word of them. Ports beyond are refused by every other call, so the host expands
    /// before it hands one out. Never shrinks.
    pub fn expand(&self, pages: u32) {
        let view = self.view();
        let room = view.array.len() / abi::PAGE_SIZE;
        let pages = usize::try_from(pages).map_or(room, |it| it.min(room));
        let ports = u32::try_from(pages.saturating_mul(WORDS_PER_PAGE)).unwrap_or(PORTS_MAX);
        if let Some(word) = view.ports() {
            word.fetch_max(ports.min(PORTS_MAX), Ordering::AcqRel);
        }
    }

    /// How many ports the event array has words for, port 0 included.
    pub fn ports(&self) -> u32 {
        self.view()
            .ports()
            .map_or(0, |word| word.load(Ordering::Acquire))
    }

    /// Raises the event of `port` on behalf of `client`. A port beyond the array is ignored.
    ///
    /// Waits while another client holds the port's queue; if that one is dead, until somebody
    /// calls [`Queues::recover`], at most some ten seconds.
    pub fn set_pending(&self, client: Client, port: Port) -> Raise {
        self.set_pending_while(client, port, &mut |_, round| pause(round))
    }

    /// [`Queues::set_pending`] for the one process that nobody else would recover for, the
    /// simulated host: `wait` is told the holder of the queue and how often it was asked. It may
    /// recover the holder if that is dead; it says whether to look again.
    pub fn set_pending_while(
        &self,
        client: Client,
        port: Port,
        wait: &mut dyn FnMut(u32, u32) -> bool,
    ) -> Raise {
        send::send(&self.view(), client, port.0, wait).unwrap_or(Raise::Nothing)
    }

    /// Unmasks a port and raises it again if it is pending (EVTCHNOP_unmask), on behalf of
    /// `client`, which is the receiver itself.
    pub fn unmask(&self, client: Client, port: Port) -> Raise {
        let view = self.view();
        let Some(word) = view.event(port.0) else {
            return Raise::Nothing;
        };
        let before = word.fetch_and(!MASKED, Ordering::AcqRel);
        if before & PENDING == 0 {
            return Raise::Nothing;
        }
        self.set_pending(client, port)
    }

    /// Chooses the queue of a port (EVTCHNOP_set_priority), 0 the most urgent, 15 the least; false
    /// if there is no such port or priority. An event that is already linked stays where it is.
    pub fn set_priority(&self, port: Port, priority: u32) -> bool {
        let view = self.view();
        priority <= PRIORITY_MIN
            && view.event(port.0).is_some()
            && view.set_priority(port.0, priority).is_some()
    }

    /// Takes back an event that was not yet delivered, as closing a port does. The port may still
    /// be linked: see [`Queues::is_linked`].
    pub fn clear_pending(&self, port: Port) {
        if let Some(word) = self.view().event(port.0) {
            word.fetch_and(!PENDING, Ordering::AcqRel);
        }
    }

    /// Whether a port stands in a queue. A closed port must not be handed out again before it has
    /// left its queue: its first event would come with the old priority.
    pub fn is_linked(&self, port: Port) -> bool {
        let view = self.view();
        view.event(port.0)
            .is_some_and(|word| word.load(Ordering::Acquire) & LINKED != 0)
    }

    /// Finishes what a client was sending when it died and releases what it had locked.
    ///
    /// To be called for every domain that the client could send to. The answer is
    /// [`Raise::Upcall`] also where the client may have died before it made an upcall.
    pub fn recover(&self, dead: Client) -> Raise {
        recover::recover(&self.view(), dead).unwrap_or(Raise::Nothing)
    }

    fn view(&self) -> View<VolatileSlice<'_>> {
        View {
            control: self.control.slice(),
            array: self.array.slice(),
            private: self.private.slice(),
        }
    }
}
