//! The sockets of the monitors, waited on by readiness.
//!
//! Knows no client. Where there is no descriptor or no memory for one more, a listener is deaf: to
//! be told at once that somebody is there would be to be told for ever. It listens again when a
//! client leaves, or else a while later, for the want may be that of the whole machine.
//!
//! Invariant: a listener waits to be ready, or is deaf and has a deadline.

use std::io::{self, ErrorKind};
use std::os::unix::net::UnixStream;

use reactor::{Nanos, Reactor, Slot, Submission, Verb};

use super::monitors::{Layer, token};
use super::sockets::Socket;

/// How long a listener is deaf, if nobody leaves meanwhile.
const DEAF_NS: Nanos = 1_000_000_000;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Listener {
    socket: Socket,
    slot: Slot,
    index: u32,
    is_deaf: bool,
    /// It has said why it is deaf, and has not heard anybody since.
    has_complained: bool,
}

impl Listener {
    /// The listener of this number, whose socket the reactor knows as `slot`.
    pub(super) fn new(reactor: &mut dyn Reactor, socket: Socket, slot: Slot, index: u32) -> Self {
        let listener = Self {
            socket,
            slot,
            index,
            is_deaf: false,
            has_complained: false,
        };
        listener.await_ready(reactor);
        listener
    }

    /// Takes in the next one who has connected. Where there is none, it waits again, or is deaf.
    pub(super) fn accept(&mut self, reactor: &mut dyn Reactor) -> Option<UnixStream> {
        let accepted = self.socket.accept();
        self.accepted(reactor, accepted)
    }

    fn accepted<T>(&mut self, reactor: &mut dyn Reactor, accepted: io::Result<T>) -> Option<T> {
        match accepted {
            Ok(stream) => {
                self.has_complained = false;
                return Some(stream);
            }
            Err(error) if passes(&error) => self.await_ready(reactor),
            Err(error) => {
                if !std::mem::replace(&mut self.has_complained, true) {
                    tracing::error!("{}: accept, to be tried again: {error}", self.socket.id);
                }
                self.is_deaf = true;
                let at = reactor.now().saturating_add(DEAF_NS);
                reactor.set_deadline(token(Layer::Deaf, self.index), at);
            }
        }
        None
    }

    /// Somebody has left, or it was deaf for long enough.
    pub(super) fn listen_again(&mut self, reactor: &mut dyn Reactor) {
        if std::mem::take(&mut self.is_deaf) {
            reactor.cancel_deadline(token(Layer::Deaf, self.index));
            self.await_ready(reactor);
        }
    }

    /// Has itself told when somebody is there.
    pub(super) fn await_ready(&self, reactor: &mut dyn Reactor) {
        reactor.submit(Submission {
            slot: self.slot,
            verb: Verb::Ready,
            offset: 0,
            lease: None,
            range: 0..0,
            token: token(Layer::Listener, self.index),
        });
    }

    /// Lets go of the socket.
    pub(super) fn close(&self, reactor: &mut dyn Reactor) {
        reactor.cancel_deadline(token(Layer::Deaf, self.index));
        reactor.close(self.slot);
    }
}

/// Whether an accept failed for a reason that waiting for the next one heals.
fn passes(error: &io::Error) -> bool {
    use ErrorKind::{ConnectionAborted, Interrupted, WouldBlock};
    matches!(error.kind(), WouldBlock | Interrupted | ConnectionAborted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::scratch::Scratch;
    use crate::libxl::dialect::{Monitor, Place};
    use crate::libxl::sockets::Promised;
    use reactor::world::World;

    /// A listener that has just found no descriptor for somebody; nobody else is connected.
    fn deaf(world: &mut World, dir: &Scratch) -> Listener {
        let place = Place::Path(dir.path().join("qmp"));
        let id = "libxl-cmd".to_owned();
        let socket = Promised::take(Monitor { id, place }).unwrap();
        let (socket, slot) = (socket.listen().unwrap(), world.add());
        let mut listener = Listener::new(world, socket, slot, 0);
        let (ready, _) = world.pending().next().unwrap();
        world.finish(ready, Ok(0));
        let none_left = io::Error::from_raw_os_error(libc::ENFILE);
        assert!(listener.accepted::<()>(world, Err(none_left)).is_none());
        assert_eq!(world.pending().count(), 0);
        listener
    }

    #[test]
    fn a_listener_without_a_descriptor_listens_again_though_nobody_leaves() {
        let (mut world, dir) = (World::new(), Scratch::new().unwrap());
        let mut listener = deaf(&mut world, &dir);
        assert_eq!(world.next_deadline(), Some(DEAF_NS));
        world.advance_to(DEAF_NS);
        listener.listen_again(&mut world);
        assert_eq!(world.pending().count(), 1);
        assert_eq!(world.next_deadline(), None);
    }

    #[test]
    fn a_listener_without_a_descriptor_listens_again_when_somebody_leaves() {
        let (mut world, dir) = (World::new(), Scratch::new().unwrap());
        let mut listener = deaf(&mut world, &dir);
        listener.listen_again(&mut world);
        assert_eq!(world.pending().count(), 1);
        assert_eq!(world.next_deadline(), None);
        listener.listen_again(&mut world);
        assert_eq!(world.pending().count(), 1);
    }

    #[test]
    fn a_listener_with_nothing_to_do_waits_and_has_no_deadline() {
        let (mut world, dir) = (World::new(), Scratch::new().unwrap());
        let mut listener = deaf(&mut world, &dir);
        listener.listen_again(&mut world);
        let (ready, _) = world.pending().next().unwrap();
        world.finish(ready, Ok(0));
        assert!(listener.accept(&mut world).is_none());
        assert_eq!(world.pending().count(), 1);
        assert_eq!(world.next_deadline(), None);
    }
}
