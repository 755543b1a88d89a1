//! Event channels of the live simulation, as a guest or a backend process uses them.
//!
//! Every client has one event array with the FIFO ABI of `event_channel.h` in shared memory, and
//! an eventfd for the upcall. A notification links the port into the receiver's queue and makes
//! one system call: a write to the receiver's eventfd or, where Xen would find that no upcall is
//! due, one that does nothing, because a hypercall would have been made all the same. Binding and
//! closing are calls to the host process. It knows nothing of what an event is about.
//!
//! Invariant: a port's peer is looked up in the words that the host writes before every send, so
//! nothing is sent to a peer that has closed its port and been replaced.

use std::io;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::parent_id;
use std::sync::Arc;

use abi::{DomId, Port};
use evtchn::EventChannels;
use evtchn::fifo::{Client, Consumer, Queues, Raise};

use super::Error;
use super::client::Connection;
use super::layout::{self, Link, Links, Part};
use super::meter::{Meter, Price};
use super::peers::{Peer, Peers};
use super::upcall::Upcall;
use super::wire::{Reply, Request};
use crate::memory::Region;

/// The event channels of one client.
#[derive(Debug)]
pub struct Events {
    connection: Arc<Connection>,
    /// Names this client where it holds the lock of somebody's queue.
    me: Client,
    consumer: Consumer<Part>,
    queues: Queues<Part>,
    links: Links,
    upcall: Upcall,
    peers: Peers,
    meter: Meter,
}

impl Events {
    pub(super) fn new(
        connection: Arc<Connection>,
        array: u32,
        shared: &Region,
        upcall: OwnedFd,
        price: Price,
    ) -> Result<Self, Error> {
        let opening = || Error::os("opening event queues");
        let window = layout::map_events(shared).map_err(opening())?;
        Ok(Self {
            connection,
            me: Client(NonZeroU32::new(array).ok_or(Error::Confused)?),
            consumer: layout::consumer(&window).map_err(opening())?,
            queues: layout::queues(&window).map_err(opening())?,
            links: Links::new(window),
            upcall: Upcall::from(upcall),
            peers: Peers::default(),
            meter: Meter::new(price),
        })
    }

    /// A descriptor that becomes readable when an event arrives: an eventfd that does not block.
    /// What it gives goes to [`EventChannels::pending`].
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        self.upcall.as_fd().try_clone_to_owned()
    }

    /// How a port stands: a `status` number of `event_channel.h`, and the peer's domain and port
    /// where there are such.
    pub fn status(&mut self, port: Port) -> Result<(u32, DomId, Port), evtchn::Error> {
        match self
            .call("status", port, Request::Status { port: port.0 })?
            .0
        {
            Reply::Status {
                status,
                remote,
                remote_port,
            } => Ok((status, DomId(remote), Port(remote_port))),
            _ => Err(confused("status", port)),
        }
    }

    fn call(
        &mut self,
        operation: &'static str,
        port: Port,
        request: Request,
    ) -> Result<(Reply, Vec<OwnedFd>), evtchn::Error> {
        self.meter.hypercall();
        let answer = self.connection.call(request);
        answer.map_err(|error| evtchn::Error {
            operation,
            port,
            source: error.into_io(),
        })
    }

    /// The peer behind `link`. Only the first send to it asks the host.
    fn peer(&mut self, port: Port, link: u64) -> Result<Option<Arc<Peer>>, evtchn::Error> {
        if let Some(peer) = self.peers.known(port, link) {
            return Ok(Some(peer));
        }
        let (reply, fds) = self.call("notify", port, Request::Peer { port: port.0 })?;
        let Reply::Peer { link } = reply else {
            return Err(confused("notify", port));
        };
        let learnt = self.peers.learn(port, link, fds);
        learnt.map_err(|source| evtchn::Error {
            operation: "notify",
            port,
            source,
        })
    }

    /// The one system call of a hypercall that raised an event on our `port`.
    fn finish(&mut self, port: Port, raise: Raise, upcall: &Upcall) -> Result<(), evtchn::Error> {
        self.meter.hypercall();
        match raise {
            Raise::Upcall => upcall.send(),
            Raise::Nothing | Raise::Abandoned => idle_call(),
        }
        raised("notify", port, raise)
    }

    /// Unmasks a port of ours, and wakes ourselves if there is an event.
    fn unmask_self(&mut self, operation: &'static str, port: Port) -> Result<(), evtchn::Error> {
        let raise = self.queues.unmask(self.me, port);
        self.upcall_self(operation, port, raise)
    }

    /// Wakes ourselves, where raising an own event asks for it.
    fn upcall_self(
        &mut self,
        operation: &'static str,
        port: Port,
        raise: Raise,
    ) -> Result<(), evtchn::Error> {
        if raise == Raise::Upcall {
            self.meter.hypercall();
            self.upcall.send();
        }
        raised(operation, port, raise)
    }
}

impl EventChannels for Events {
    fn bind_interdomain(
        &mut self,
        remote: DomId,
        remote_port: Port,
    ) -> Result<Port, evtchn::Error> {
        let operation = "bind_interdomain";
        let request = Request::BindInterdomain {
            remote: remote.0,
            remote_port: remote_port.0,
        };
        let (reply, fds) = self.call(operation, remote_port, request)?;
        let Reply::Bound { port, link } = reply else {
            return Err(confused(operation, remote_port));
        };
        let port = Port(port);
        self.peers.open(port);
        let learnt = self.peers.learn(port, link, fds);
        learnt.map_err(|source| evtchn::Error {
            operation,
            port,
            source,
        })?;
        self.unmask_self(operation, port)?;
        let raise = self.queues.set_pending(self.me, port);
        self.upcall_self(operation, port, raise)?;
        Ok(port)
    }

    fn bind_unbound(&mut self, remote: DomId) -> Result<Port, evtchn::Error> {
        let request = Request::AllocUnbound { remote: remote.0 };
        let Reply::Port { port } = self.call("alloc_unbound", Port(0), request)?.0 else {
            return Err(confused("alloc_unbound", Port(0)));
        };
        self.peers.open(Port(port));
        self.unmask_self("alloc_unbound", Port(port))?;
        Ok(Port(port))
    }

    fn unbind(&mut self, port: Port) -> Result<(), evtchn::Error> {
        self.call("close", port, Request::Close { port: port.0 })?;
        self.peers.close(port);
        Ok(())
    }

    fn notify(&mut self, port: Port) -> Result<(), evtchn::Error> {
        if !self.peers.is_open(port) {
            let source = io::ErrorKind::InvalidInput.into();
            return Err(evtchn::Error {
                operation: "notify",
                port,
                source,
            });
        }
        let link = self.links.load(port);
        let peer = match Link::decode(link) {
            Some(to) => self.peer(port, link)?.map(|peer| (peer, to.port)),
            None => None,
        };
        // An event to nobody is dropped, and is a hypercall none the less.
        let Some((peer, to)) = peer else {
            self.meter.hypercall();
            idle_call();
            return Ok(());
        };
        let raise = peer.queues.set_pending(self.me, to);
        self.finish(port, raise, &peer.upcall)
    }

    fn unmask(&mut self, port: Port) -> Result<(), evtchn::Error> {
        if !self.peers.is_open(port) {
            let source = io::ErrorKind::InvalidInput.into();
            return Err(evtchn::Error {
                operation: "unmask",
                port,
                source,
            });
        }
        if self.consumer.unmask(port) {
            self.unmask_self("unmask", port)?;
        }
        Ok(())
    }

    fn pending(&mut self, _read: &[u8], ports: &mut Vec<Port>) {
        while let Some(port) = self.consumer.pop() {
            // A closed port may still have stood in a queue.
            if self.peers.is_open(port) {
                ports.push(port);
            }
        }
    }

    fn system_calls(&self) -> u64 {
        self.meter.system_calls()
    }
}

/// A system call that does nothing, where Xen would have been called and found nothing to do.
fn idle_call() {
    std::hint::black_box(parent_id());
}

/// The host's answer did not belong to the question.
fn confused(operation: &'static str, port: Port) -> evtchn::Error {
    evtchn::Error {
        operation,
        port,
        source: Error::Confused.into_io(),
    }
}

/// Whether an event got anywhere: one that was abandoned is lost, and its sender must not believe
/// otherwise.
fn raised(operation: &'static str, port: Port, raise: Raise) -> Result<(), evtchn::Error> {
    match raise {
        Raise::Upcall | Raise::Nothing => Ok(()),
        Raise::Abandoned => Err(evtchn::Error {
            operation,
            port,
            source: io::Error::new(
                io::ErrorKind::TimedOut,
                "the queue is held by a dead client, and the host does not free it",
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abandoned_event_is_an_error_of_its_sender() {
        let lost = raised("notify", Port(5), Raise::Abandoned).map_err(|error| error.port);
        assert_eq!(lost, Err(Port(5)));
        assert!(raised("notify", Port(5), Raise::Nothing).is_ok());
    }
}
