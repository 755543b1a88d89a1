//! QMP on sockets, in the process's one sleeping place: who connects gets a session.
//!
//! ```text
//!   listener ─ ready ─► accept ─► client: send ⇄ receive, one of them under way
//! ```
//!
//! Knows no command but `quit`, and of its listeners that they bring clients. A client that is slow, dead or in the way of newer ones costs its
//! connection and nothing else. At rest nothing is under way but waits.
//!
//! Invariant: a client has exactly one operation under way; whoever comes when [`CLIENTS_MAX`] are
//! there takes the place of the one that was silent longest.

use std::os::fd::OwnedFd;

use qmp::{Command, Commands, Failed, Session};
use reactor::live::Uring;
use reactor::{Completion, Lease, Nanos, Outcome, Pool, Reactor, Slot, Submission, Token, Verb};
use serde_json::{Value, json};
use vm_memory::Bytes as _;

use super::commands::VERSION;
use super::dialect::MONITORS_MAX;
use super::listeners::Listener;
use super::sockets::Socket;
use crate::error::{Doing as _, Failure};

/// The owner number of everything in this file; devices have higher ones.
pub(super) const OWNER: u16 = 2;

/// Connections to one socket at the same time.
pub(super) const CLIENTS_MAX: usize = 4;

/// Files of a process that are monitors.
pub const FILES_MAX: usize = MONITORS_MAX * (1 + CLIENTS_MAX);

/// Bytes that are sent at once: libxenstat takes 10 ms of silence for the end of an answer, so an
/// answer should leave in one piece. Untouched memory costs nothing.
const LEASE_BYTES: usize = 64 << 10;

/// Bytes that are received at once.
const CHUNK_BYTES: usize = 4096;

/// How long after `quit` the process ends. libxl takes an end before it has hung up for a failure,
/// and reports one before it has sent its signal, too.
const QUIT_NS: Nanos = 1_000_000_000;

/// What our tokens are about, as their layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layer {
    /// A listener is ready.
    Listener,
    /// A listener was deaf for long enough.
    Deaf,
    /// A client's operation.
    Client,
    /// It is time to end.
    Quit,
}

impl Layer {
    const ALL: [Self; 4] = [Self::Listener, Self::Deaf, Self::Client, Self::Quit];

    fn of(token: Token) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|layer| *layer as u16 == token.layer)
    }
}

/// See the head of this file.
pub(super) struct Monitors {
    listeners: Vec<Listener>,
    clients: Vec<Client>,
    pool: Pool,
    /// Names the next client: completions of one that is gone must not reach its successor.
    next: u32,
    /// Counts what clients did, so that the silent are known.
    moment: u64,
    is_over: bool,
}

struct Client {
    number: u32,
    listener: u32,
    slot: Slot,
    session: Session,
    is_sending: bool,
    /// When it did something last.
    moment: u64,
}

impl Monitors {
    /// Starts to listen on `sockets`.
    pub(super) fn listen(reactor: &mut Uring, sockets: Vec<Socket>) -> Result<Self, Failure> {
        let mut monitors = Self {
            listeners: Vec::new(),
            clients: Vec::new(),
            // Leases of connections closed in this turn come back with the next wait.
            pool: Pool::new(2 * MONITORS_MAX * CLIENTS_MAX, LEASE_BYTES)
                .doing(|| "allocate buffers".into())?,
            next: 0,
            moment: 0,
            is_over: false,
        };
        for (socket, index) in sockets.into_iter().zip(0..) {
            let what = || format!("listen for {}", socket.id);
            let descriptor = socket.descriptor().doing(what)?;
            let slot = reactor.add_stream(descriptor).doing(what)?;
            let listener = Listener::new(reactor, socket, slot, index);
            monitors.listeners.push(listener);
        }
        Ok(monitors)
    }

    /// Takes what is ours out of `completions`, and does what clients ask for by `commands`.
    pub(super) fn turn(
        &mut self,
        reactor: &mut Uring,
        completions: &mut Vec<Completion>,
        commands: &mut dyn Commands,
    ) {
        let ours = |completion: &mut Completion| completion.token.owner == OWNER;
        let ours: Vec<Completion> = completions.extract_if(.., ours).collect();
        for Completion { token, outcome } in ours {
            match (Layer::of(token), outcome) {
                (Some(Layer::Listener), Outcome::Io { result: Ok(_), .. }) => {
                    self.accept(reactor, token.tag, commands);
                }
                (Some(Layer::Deaf), Outcome::Deadline) => {
                    let listener = self.listeners.get_mut(token.tag as usize);
                    listener
                        .into_iter()
                        .for_each(|deaf| deaf.listen_again(reactor));
                }
                (Some(Layer::Client), Outcome::Io { result, lease }) => {
                    self.moved(reactor, token.tag, result.unwrap_or(0), lease, commands);
                }
                (Some(Layer::Quit), Outcome::Deadline) => self.is_over = true,
                _ => {}
            }
        }
    }

    /// Whether somebody said `quit`, a while ago.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Hangs up, and lets go of everything.
    pub(super) fn close(self, reactor: &mut Uring) {
        reactor.cancel_deadline(token(Layer::Quit, 0));
        let clients = self.clients.iter();
        clients.for_each(|client| reactor.close(client.slot));
        let listeners = self.listeners.iter();
        listeners.for_each(|listener| listener.close(reactor));
    }

    /// Takes in whoever has connected, at most as many as there may be; for more the listener is
    /// ready again at once.
    fn accept(&mut self, reactor: &mut Uring, index: u32, commands: &mut dyn Commands) {
        for _ in 0..CLIENTS_MAX {
            let Some(listener) = self.listeners.get_mut(index as usize) else {
                return;
            };
            match listener.accept(reactor) {
                Some(stream) => self.connected(reactor, index, stream.into(), commands),
                None => return,
            }
        }
        if let Some(listener) = self.listeners.get(index as usize) {
            listener.await_ready(reactor);
        }
    }

    fn connected(
        &mut self,
        reactor: &mut Uring,
        listener: u32,
        stream: OwnedFd,
        commands: &mut dyn Commands,
    ) {
        self.make_room(reactor, listener);
        // Without a place in the reactor's table the connection is closed, which says it all.
        let Ok(slot) = reactor.add_stream(stream) else {
            return;
        };
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.clients.push(Client {
            number,
            listener,
            slot,
            session: Session::new(&VERSION),
            is_sending: false,
            moment: self.moment,
        });
        self.go_on(reactor, number, commands);
    }

    fn make_room(&mut self, reactor: &mut Uring, listener: u32) {
        let of_socket = self
            .clients
            .iter()
            .filter(|client| client.listener == listener);
        let (count, silent) = (
            of_socket.clone().count(),
            of_socket.min_by_key(|c| c.moment),
        );
        if let (CLIENTS_MAX.., Some(number)) = (count, silent.map(|client| client.number)) {
            self.hang_up(reactor, number);
        }
    }

    /// What a client's one operation has come to.
    fn moved(
        &mut self,
        reactor: &mut Uring,
        number: u32,
        moved: usize,
        lease: Option<Lease>,
        commands: &mut dyn Commands,
    ) {
        self.moment = self.moment.saturating_add(1);
        let Some(client) = self
            .clients
            .iter_mut()
            .find(|client| client.number == number)
        else {
            return;
        };
        client.moment = self.moment;
        match (moved, lease) {
            (0, _) | (_, None) => return self.hang_up(reactor, number),
            (moved, _) if client.is_sending => client.session.sent(moved),
            (moved, Some(lease)) => client.session.incoming(&contents(&lease, moved)),
        }
        self.go_on(reactor, number, commands);
    }

    /// Has a client's commands executed, and starts its next operation.
    fn go_on(&mut self, reactor: &mut Uring, number: u32, commands: &mut dyn Commands) {
        let Some(client) = self
            .clients
            .iter_mut()
            .find(|client| client.number == number)
        else {
            return;
        };
        let mut quits = Quits {
            commands,
            has_quit: false,
        };
        client.session.advance(&mut quits);
        if quits.has_quit {
            reactor.set_deadline(token(Layer::Quit, 0), reactor.now().saturating_add(QUIT_NS));
        }
        if client.session.is_over() || !start(reactor, &self.pool, client) {
            self.hang_up(reactor, number);
        }
    }

    fn hang_up(&mut self, reactor: &mut Uring, number: u32) {
        let Some(at) = self
            .clients
            .iter()
            .position(|client| client.number == number)
        else {
            return;
        };
        let client = self.clients.swap_remove(at);
        reactor.close(client.slot);
        let listeners = self.listeners.iter_mut();
        listeners.for_each(|listener| listener.listen_again(reactor));
        if self.clients.is_empty() {
            self.pool.cool();
            crate::malloc::trim();
        }
    }
}

/// Knows `quit`, and asks `commands` for the rest.
struct Quits<'a> {
    commands: &'a mut dyn Commands,
    has_quit: bool,
}

impl Commands for Quits<'_> {
    fn execute(&mut self, command: &Command) -> Result<Value, Failed> {
        if command.name == "quit" {
            self.has_quit = true;
            return Ok(json!({}));
        }
        self.commands.execute(command)
    }
}

/// Starts to send what there is to say, or else to listen; false where there is no memory for it.
fn start(reactor: &mut Uring, pool: &Pool, client: &mut Client) -> bool {
    let Some(lease) = pool.lease() else {
        return false;
    };
    let outgoing = client.session.outgoing();
    let (verb, len) = match outgoing.len().min(LEASE_BYTES) {
        0 => (Verb::Receive, CHUNK_BYTES),
        len => (Verb::Send, len),
    };
    client.is_sending = verb == Verb::Send;
    let outgoing = outgoing.get(..len).unwrap_or_default();
    if client.is_sending && lease.slice().write_slice(outgoing, 0).is_err() {
        return false;
    }
    reactor.submit(Submission {
        slot: client.slot,
        verb,
        offset: 0,
        lease: Some(lease),
        range: 0..len,
        token: token(Layer::Client, client.number),
    });
    true
}

fn contents(lease: &Lease, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len.min(CHUNK_BYTES)];
    // The range was within the lease when it was submitted.
    drop(lease.slice().read_slice(&mut bytes, 0));
    bytes
}

/// The token of something of ours, by its number.
pub(super) fn token(layer: Layer, tag: u32) -> Token {
    Token {
        owner: OWNER,
        layer: layer as u16,
        tag,
    }
}
