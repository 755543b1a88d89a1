//! What reaches the guest: its ring page and its event channel.
//!
//! Knows the layout of slots and when to notify, nothing of what requests mean. Invariant: an
//! event is sent only for responses that the guest asked to be told of, and the port is unmasked
//! only before the ring is looked at once more.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

use abi::Port;
use abi::io::blkif::{Protocol, RawRequest, Response, SLOT_MAX, entries};
use evtchn::EventChannels;
use ring::{Back, Corrupt, Notify, SharedPages};
use vm_memory::VolatileSlice;
use xen::Mapped;

/// The ring page, mapped until dropped.
pub(crate) struct RingPage(pub(crate) Box<dyn Mapped>);

impl SharedPages for RingPage {
    fn slice(&self) -> VolatileSlice<'_> {
        self.0.slice()
    }
}

/// See the head of this file.
pub(crate) struct Wire {
    ring: Back<RingPage>,
    port: Port,
    protocol: Protocol,
    /// An event was delivered and the port has not been unmasked since.
    masked: bool,
    /// Responses were put since the last publish.
    answered: bool,
}

impl Wire {
    /// Attaches to a ring that nobody has served yet. The port is taken for masked, so that the
    /// first turn unmasks it and looks.
    pub(crate) fn new(page: RingPage, port: Port, protocol: Protocol) -> Result<Self, Corrupt> {
        let ring = Back::new(page, entries(1, protocol), protocol.stride())?;
        Ok(Self {
            ring,
            port,
            protocol,
            masked: true,
            answered: false,
        })
    }

    /// Our end of the event channel.
    pub(crate) fn port(&self) -> Port {
        self.port
    }

    /// An event was delivered.
    pub(crate) fn kicked(&mut self) {
        self.masked = true;
    }

    /// Looks for requests; how many can be taken.
    pub(crate) fn refresh(&mut self) -> Result<u32, Corrupt> {
        self.ring.refresh()
    }

    /// Copies the next slot, once.
    pub(crate) fn take(&mut self) -> Option<RawRequest> {
        let mut slot = [0; SLOT_MAX];
        let taken = self.ring.take(&mut slot);
        taken.then(|| RawRequest::decode(self.protocol, &slot))
    }

    /// Writes a response, padding included; the guest sees it with [`Wire::publish`].
    pub(crate) fn put(&mut self, response: Response) {
        let bytes = response.encode();
        let size = self.protocol.layout().response_size;
        self.ring.put(bytes.get(..size).unwrap_or(&bytes));
        self.answered = true;
    }

    /// Whether there is something to publish.
    pub(crate) fn answered(&self) -> bool {
        self.answered
    }

    /// Shows the guest what was put and says whether it wants an event.
    pub(crate) fn publish(&mut self) -> Notify {
        self.answered = false;
        self.ring.publish()
    }

    /// Lets events through again and looks once more: `true` if there is work after all. The edge
    /// may lie between the last look and the unmasking, hence this order.
    pub(crate) fn rest(&mut self, events: &mut dyn EventChannels) -> Result<bool, Corrupt> {
        if self.masked {
            self.masked = false;
            if let Err(error) = events.unmask(self.port) {
                tracing::error!(%error, "a block device may not hear from its guest");
            }
        }
        self.ring.arm()
    }
}
