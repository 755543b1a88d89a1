//! The byte streams of a VM process: event channels and xenstore in, xenstore out.
//!
//! It keeps one receive under way on each and at most one send; what the bytes say is for the
//! event channels and the xenstore client to know.
//!
//! Invariant: at rest exactly the receives are under way, and their memory is one page.

use evtchn::EventChannels;
use reactor::{Completion, Lease, Outcome, Pool, Reactor, Slot, Submission, Token, Verb};
use vm_memory::Bytes as _;
use xenstore::{Client, StoreError};

use super::Ended;

/// The owner number of everything in this file; devices have higher ones.
pub const OWNER: u16 = 0;

/// Bytes per receive or send: four share a page, and the copy to a slice lies on the stack.
const CHUNK_BYTES: usize = 1024;

const EVENTS: u32 = 0;
const STORE_IN: u32 = 1;
const STORE_OUT: u32 = 2;
const SIGNALS: u32 = 3;

/// The files that the loop of a VM process listens to, as its reactor knows them.
#[derive(Clone, Copy, Debug)]
pub struct Slots {
    /// Readable when an event channel is pending.
    pub events: Slot,
    /// The xenstore connection.
    pub store: Slot,
    /// Readable when the process is asked to stop; a world has none.
    pub signals: Option<Slot>,
}

/// What a completion told the loop.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing that is not already done.
    Nothing,
    /// Ports are pending.
    Events,
    /// Xenstore has said something.
    Store,
    /// The process is asked to stop.
    Stop(By),
}

/// Who asks a process to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// A toolstack, by SIGHUP or over QMP, or by both and as often as it likes.
    Toolstack,
    /// Somebody at a terminal, by SIGINT or SIGTERM.
    Hand,
}

/// See the head of this file.
#[derive(Debug)]
pub struct Streams {
    slots: Slots,
    pool: Pool,
    sending: bool,
}

impl Streams {
    /// Room for every stream. Nothing is under way yet.
    pub fn new(slots: Slots) -> std::io::Result<Self> {
        Ok(Self {
            slots,
            pool: Pool::packed(4, CHUNK_BYTES)?,
            sending: false,
        })
    }

    /// Starts to listen.
    pub fn start(&mut self, reactor: &mut dyn Reactor) {
        self.receive(reactor, self.slots.events, EVENTS, None);
        self.receive(reactor, self.slots.store, STORE_IN, None);
        if let Some(signals) = self.slots.signals {
            self.receive(reactor, signals, SIGNALS, None);
        }
    }

    /// Sends the next message that the client has to say, unless a send is still under way:
    /// `/dev/xen/xenbus` takes one message for each write.
    pub fn send(&mut self, reactor: &mut dyn Reactor, store: &mut Client) {
        let bytes = store.outgoing_message();
        if self.sending || bytes.is_empty() {
            return;
        }
        let Some(lease) = self.pool.lease() else {
            return;
        };
        let len = bytes.len().min(CHUNK_BYTES);
        if lease.slice().write_slice(&bytes[..len], 0).is_ok() {
            self.sending = true;
            self.submit(reactor, self.slots.store, Verb::Send, STORE_OUT, len, lease);
        }
    }

    /// Takes a completion of [`OWNER`] and listens on.
    pub fn complete(
        &mut self,
        reactor: &mut dyn Reactor,
        store: &mut Client,
        events: &mut dyn EventChannels,
        ports: &mut Vec<abi::Port>,
        completion: Completion,
    ) -> Result<Heard, Ended> {
        let Outcome::Io { result, lease } = completion.outcome else {
            return Ok(Heard::Nothing);
        };
        let tag = completion.token.tag;
        if tag == STORE_OUT {
            self.sending = false;
            return sent(store, result);
        }
        let moved = result.unwrap_or(0);
        if moved == 0 {
            return Err(lost(tag));
        }
        let mut bytes = [0; CHUNK_BYTES];
        let bytes = &mut bytes[..moved.min(CHUNK_BYTES)];
        if let Some(lease) = &lease {
            // The range was within the lease when it was submitted.
            drop(lease.slice().read_slice(bytes, 0));
        }
        match tag {
            EVENTS => {
                events.pending(bytes, ports);
                self.receive(reactor, self.slots.events, EVENTS, lease);
                Ok(Heard::Events)
            }
            STORE_IN => {
                store.incoming(bytes).map_err(Ended::StoreCorrupt)?;
                self.receive(reactor, self.slots.store, STORE_IN, lease);
                Ok(Heard::Store)
            }
            _ => {
                if let Some(signals) = self.slots.signals {
                    self.receive(reactor, signals, SIGNALS, lease);
                }
                Ok(Heard::Stop(who(bytes)))
            }
        }
    }

    /// Lets go of every stream.
    pub fn close(&mut self, reactor: &mut dyn Reactor) {
        reactor.close(self.slots.events);
        reactor.close(self.slots.store);
        if let Some(signals) = self.slots.signals {
            reactor.close(signals);
        }
    }

    fn receive(&self, reactor: &mut dyn Reactor, slot: Slot, tag: u32, lease: Option<Lease>) {
        // The pool has a lease for each stream, so there is always one.
        if let Some(lease) = lease.or_else(|| self.pool.lease()) {
            self.submit(reactor, slot, Verb::Receive, tag, CHUNK_BYTES, lease);
        }
    }

    fn submit(
        &self,
        reactor: &mut dyn Reactor,
        slot: Slot,
        verb: Verb,
        tag: u32,
        len: usize,
        lease: Lease,
    ) {
        let token = Token {
            owner: OWNER,
            layer: 0,
            tag,
        };
        reactor.submit(Submission {
            slot,
            verb,
            offset: 0,
            lease: Some(lease),
            range: 0..len,
            token,
        });
    }
}

/// Takes the end of a send. Where the connection is still there, it is the message that was not
/// wanted, and the client has its answer now.
fn sent(store: &mut Client, result: Result<usize, i32>) -> Result<Heard, Ended> {
    match result {
        Ok(0) | Err(libc::EPIPE | libc::ECONNRESET | libc::ECANCELED | libc::EBADF) => {
            Err(Ended::StoreGone)
        }
        Ok(len_bytes) => {
            store.sent(len_bytes);
            Ok(Heard::Nothing)
        }
        Err(errno) => {
            store.refused(StoreError::from_errno(errno));
            Ok(Heard::Store)
        }
    }
}

/// Who sent the signals that a signalfd told of.
fn who(bytes: &[u8]) -> By {
    let told = bytes.chunks_exact(size_of::<libc::signalfd_siginfo>());
    // `ssi_signo` is the first member of each.
    let mut numbers = told.filter_map(<[u8]>::first_chunk);
    let by_hand = [libc::SIGINT, libc::SIGTERM].map(i32::to_ne_bytes);
    match numbers.any(|number| by_hand.contains(number)) {
        true => By::Hand,
        false => By::Toolstack,
    }
}

fn lost(tag: u32) -> Ended {
    match tag {
        EVENTS => Ended::EventsGone,
        STORE_IN => Ended::StoreGone,
        _ => Ended::SignalsGone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a signalfd tells of these signals.
    fn told(signals: &[libc::c_int]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (signal, at) in signals.iter().zip(1..) {
            bytes.extend_from_slice(&signal.to_ne_bytes());
            bytes.resize(at * size_of::<libc::signalfd_siginfo>(), 0xAA);
        }
        bytes
    }

    #[test]
    fn a_toolstack_hangs_up_and_a_hand_interrupts_or_terminates() {
        assert_eq!(who(&told(&[libc::SIGHUP])), By::Toolstack);
        assert_eq!(who(&told(&[libc::SIGINT])), By::Hand);
        assert_eq!(who(&told(&[libc::SIGHUP, libc::SIGTERM])), By::Hand);
    }
}
