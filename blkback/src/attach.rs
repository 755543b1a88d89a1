//! What a device holds of its guest and of its host: taken in this order, given back in reverse.
//!
//! Ring page, event channel, then leases; the image comes before them all. When to do so is
//! decided in `connect`. Invariant: a worker exists from attach until the last request came back
//! from the disk, and the guest's page and port are kept as long as it may wait for an answer.

use abi::Port;
use ring::Corrupt;
use xen::Access;

use crate::config::{Mode, Offer, Values};
use crate::device::{Context, Device};
use crate::report::Refusal;
use crate::wire::{RingPage, Wire};
use crate::worker::Worker;

impl Device {
    /// Maps the ring, binds the port, and sets a worker up over them.
    pub(crate) fn connect(&mut self, cx: &mut Context<'_>, offer: &Values) -> Result<(), Refusal> {
        let offer = Offer::parse(offer)?;
        let domid = self.id.domid;
        let platform = &mut *cx.platform;
        let page = platform
            .grants
            .map(domid, &[offer.ring_ref], Access::ReadWrite)
            .map_err(|error| Refusal::new(Refusal::EINVAL, &error))?;
        let port = platform
            .events
            .bind_interdomain(domid, offer.event_channel)
            .map_err(|error| Refusal::new(Refusal::EINVAL, &error))?;
        let writable = matches!(&self.description, Some(Ok(d)) if d.mode == Mode::ReadWrite);
        let worker = Wire::new(RingPage(page), port, offer.protocol)
            .map_err(|corrupt| Refusal::new(Refusal::EPROTO, &corrupt))
            .and_then(|wire| {
                Worker::new(wire, domid, writable, self.owner)
                    .map_err(|error| Refusal::new(Refusal::ENOMEM, &error))
            });
        match worker {
            Ok(worker) => self.worker = Some(worker),
            Err(refusal) => {
                self.unbind(cx, port);
                return Err(refusal);
            }
        }
        tracing::debug!(device = %self.id, ?offer, "attached");
        self.stats.connected();
        self.said = false;
        Ok(())
    }

    /// Lets the image go; nothing may be in flight.
    pub(crate) fn close_disk(&mut self, cx: &mut Context<'_>) {
        self.promised = None;
        if let Some(mut disk) = self.disk.take() {
            disk.close(cx.reactor);
        }
    }

    /// The ring made no sense: no further request on it can be believed.
    pub(crate) fn corrupt(&mut self, cx: &mut Context<'_>, corrupt: Corrupt) {
        self.stats.corrupt();
        self.cut(cx);
        self.refuse(cx, Refusal::new(Refusal::EPROTO, &corrupt));
        self.poke(cx);
    }

    /// The frontend has closed, and may wait for its answers all the same: Linux since 5.15 says
    /// Closed with requests under way (`blkfront_closing`), and then waits for the end of each
    /// without limit (`del_gendisk`). So all that it has put into the ring is taken and answered
    /// before the ring goes. Whether there is something left to answer.
    pub(crate) fn drain(&mut self, cx: &mut Context<'_>) -> Result<bool, Corrupt> {
        let Some((worker, mut hands)) = self.at_work(cx) else {
            return Ok(false);
        };
        worker.take_last(&mut hands)?;
        Ok(worker.in_flight() > 0)
    }

    /// Lets the guest's pages and port go, whatever is under way. Data of requests still in the
    /// disk lands in our leases and nowhere else, so those need not be waited for.
    pub(crate) fn cut(&mut self, cx: &mut Context<'_>) {
        let Some((worker, mut hands)) = self.at_work(cx) else {
            return;
        };
        // Answers that were put are the guest's.
        worker.publish(&mut hands);
        worker.forget_deadline(hands.reactor);
        if let Some(wire) = worker.cut() {
            let port = wire.port();
            drop(wire);
            self.unbind(cx, port);
        }
        if self
            .worker
            .as_ref()
            .is_some_and(|worker| worker.in_flight() == 0)
        {
            self.worker = None;
        }
    }

    fn unbind(&self, cx: &mut Context<'_>, port: Port) {
        if let Err(error) = cx.platform.events.unbind(port) {
            tracing::error!(device = %self.id, "{error}: {}", error.source);
        }
    }

    /// Something left the worker: was that the last of what is being waited for?
    pub(crate) fn landed(&mut self, cx: &mut Context<'_>) {
        let awaited = self.detaching || self.leaving || !self.is_connected();
        let drained = self
            .worker
            .as_ref()
            .is_some_and(|worker| worker.in_flight() == 0);
        if awaited && drained {
            if !self.is_connected() {
                self.worker = None;
            }
            self.poke(cx);
        }
    }
}
