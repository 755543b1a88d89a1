//! The client, sans-IO: batches go in, bytes come out; bytes go in, events come out.
//!
//! All steps of a batch are sent at once and all batches share one outgoing buffer, so a device
//! start costs round trips by phase, not by key. A transaction takes three phases (start, steps,
//! end) and is repeated on conflict up to [`ATTEMPTS_MAX`] times. The client knows nothing of
//! sockets, time or devices.
//!
//! Invariant: every submitted batch yields exactly one [`Event::Replies`], unless the connection
//! is lost. Duplicate watch events that nobody has fetched yet are one event.

mod directory;
mod outgoing;
mod queue;
mod running;

use std::collections::BTreeMap;

use abi::io::xs_wire::Op;

use crate::wire::{self, Frame, Request, Splitter};
use crate::{Batch, BatchId, Corrupt, Event, Reply, Step, StoreError};
use outgoing::Outgoing;
use queue::Queue;
use running::{Phase, Running};

/// How often a transaction is tried before its conflict is reported. Conflicts come from others
/// that did commit, so somebody always makes progress; this bounds only the unlucky.
pub const ATTEMPTS_MAX: u32 = 64;

/// A connection to xenstored, without the connection.
#[derive(Debug, Default)]
pub struct Client {
    outgoing: Outgoing,
    incoming: Splitter,
    asked: BTreeMap<u32, Asked>,
    last_req_id: u32,
    batches: BTreeMap<BatchId, Running>,
    last_batch: u64,
    queue: Queue,
    is_serial: bool,
}

/// What a request that is under way was for.
#[derive(Clone, Copy, Debug)]
struct Asked {
    op: Op,
    batch: BatchId,
    part: Part,
}

#[derive(Clone, Copy, Debug)]
enum Part {
    Start,
    Step(usize),
    End { commit: bool },
}

impl Client {
    /// A client at the start of its connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// A client for `/dev/xen/xenbus`: each request waits for the answer to the one before. Linux
    /// passes a message on from the buffer that the next one is written to, so that a second
    /// request gives xenstored the head of one with the body of another.
    pub fn serial() -> Self {
        Self {
            is_serial: true,
            ..Self::default()
        }
    }

    /// Queues a batch. Its answer is one [`Event::Replies`] with the returned id.
    pub fn submit(&mut self, batch: Batch) -> BatchId {
        self.last_batch = self.last_batch.wrapping_add(1);
        let id = BatchId(self.last_batch);
        let mut running = Running::new(batch);
        if running.transaction {
            self.ask_or_over(id, &mut running, Part::Start, 0, &Request::TransactionStart);
        } else {
            self.send_steps(id, &mut running);
        }
        self.settle(id, running);
        id
    }

    /// Bytes for the server, whole messages unless [`Client::sent`] cut one.
    pub fn outgoing(&self) -> &[u8] {
        match self.is_serial {
            true => self.outgoing_message(),
            false => self.outgoing.bytes(),
        }
    }

    /// The part of [`Client::outgoing`] that ends with the first message, for `/dev/xen/xenbus`,
    /// which takes one message per write.
    pub fn outgoing_message(&self) -> &[u8] {
        match self.is_serial && self.in_flight() > 0 {
            true => &[],
            false => self.outgoing.first(),
        }
    }

    /// The first `len_bytes` bytes of [`Client::outgoing`] are on their way.
    pub fn sent(&mut self, len_bytes: usize) {
        self.outgoing.sent(len_bytes);
    }

    /// The first message of [`Client::outgoing`] was refused by what carries it, and is answered by
    /// that: `/dev/xen/xenbus` fails the write of a watch that xenstored has refused.
    pub fn refused(&mut self, error: StoreError) {
        if let Some(req_id) = self.outgoing.refuse() {
            let answered = self.answer(req_id, None, Err(error));
            debug_assert!(answered.is_ok(), "an error fits any request of ours");
        }
    }

    /// Requests that have been sent in full and are not answered yet.
    pub fn in_flight(&self) -> usize {
        self.asked.len().saturating_sub(self.outgoing.messages())
    }

    /// Takes bytes from the server, split anywhere. After an error the connection is of no use.
    pub fn incoming(&mut self, bytes: &[u8]) -> Result<(), Corrupt> {
        self.incoming.push(bytes);
        while let Some(frame) = self.incoming.next_frame()? {
            self.take_frame(&frame)?;
        }
        Ok(())
    }

    /// The next thing that happened, in order of arrival.
    pub fn next_event(&mut self) -> Option<Event> {
        self.queue.pop()
    }

    fn take_frame(&mut self, frame: &Frame) -> Result<(), Corrupt> {
        if frame.op == Op::WATCH_EVENT {
            return self.take_watch_event(&frame.payload);
        }
        if frame.op == Op::ERROR {
            let name = frame.payload.strip_suffix(b"\0").unwrap_or(&frame.payload);
            return self.answer(frame.req_id, None, Err(StoreError::from_name(name)));
        }
        self.answer(frame.req_id, Some(frame.op), Ok(&frame.payload))
    }

    /// Takes the answer to a request: of which operation, if it is no error.
    fn answer(
        &mut self,
        req_id: u32,
        op: Option<Op>,
        answer: Result<&[u8], StoreError>,
    ) -> Result<(), Corrupt> {
        let asked = self
            .asked
            .remove(&req_id)
            .ok_or(Corrupt::UnknownRequest(req_id))?;
        if op.is_some_and(|op| op != asked.op) {
            return Err(Corrupt::Mismatch(req_id));
        }
        let mut running = self
            .batches
            .remove(&asked.batch)
            .ok_or(Corrupt::UnknownRequest(req_id))?;
        match asked.part {
            Part::Start => self.started(asked.batch, &mut running, answer),
            Part::Step(index) => self.answered(asked, index, &mut running, answer),
            Part::End { commit } => {
                self.ended(asked.batch, &mut running, commit, answer);
                Some(())
            }
        }
        .ok_or(Corrupt::Mismatch(req_id))?;
        self.settle(asked.batch, running);
        Ok(())
    }

    fn take_watch_event(&mut self, payload: &[u8]) -> Result<(), Corrupt> {
        match wire::strings(payload)
            .ok_or(Corrupt::WatchEvent)?
            .as_slice()
        {
            [path, token, ..] => self.queue.push_watch(path, token),
            _ => return Err(Corrupt::WatchEvent),
        }
        Ok(())
    }

    /// TRANSACTION_START was answered: with an id, or the batch is over.
    fn started(
        &mut self,
        id: BatchId,
        running: &mut Running,
        answer: Result<&[u8], StoreError>,
    ) -> Option<()> {
        match answer {
            Ok(payload) => {
                running.tx_id = wire::strings(payload)?
                    .first()
                    .and_then(|id| wire::number(id))?;
                running.phase = Phase::Steps;
                self.send_steps(id, running);
            }
            Err(error) => {
                running.fail_all(error);
                running.phase = Phase::Over;
            }
        }
        Some(())
    }

    fn send_steps(&mut self, id: BatchId, running: &mut Running) {
        for (index, step) in running.unanswered() {
            self.queue.asked(&step);
            let tx_id = if running::transactional(&step) {
                running.tx_id
            } else {
                0
            };
            let request = running::request(step);
            if let Err(error) = self.ask(id, Part::Step(index), tx_id, &request) {
                running.answer(index, Err(error));
            }
        }
    }

    /// A step was answered; a large directory may need further requests.
    fn answered(
        &mut self,
        asked: Asked,
        index: usize,
        running: &mut Running,
        answer: Result<&[u8], StoreError>,
    ) -> Option<()> {
        let reply = match directory::advance(running, index, asked.op, answer)? {
            directory::Next::Ask(request, tx_id) => {
                match self.ask(asked.batch, Part::Step(index), tx_id, &request) {
                    Ok(()) => return Some(()),
                    Err(error) => Err(error),
                }
            }
            directory::Next::Reply(reply) => reply,
        };
        if let Some(step) = running.step(index) {
            self.queue.answered(step, reply.as_ref().err().copied());
        }
        running.answer(index, reply);
        Some(())
    }

    fn ended(
        &mut self,
        id: BatchId,
        running: &mut Running,
        commit: bool,
        answer: Result<&[u8], StoreError>,
    ) {
        running.phase = Phase::Over;
        match answer {
            Err(StoreError::Conflict) if commit && running.retry() => {
                running.phase = Phase::Start;
                self.ask_or_over(id, running, Part::Start, 0, &Request::TransactionStart);
            }
            Err(error) if commit => running.roll_back(error),
            _ if commit => {}
            _ => running.roll_back(StoreError::RolledBack),
        }
    }

    /// Puts a batch back, or moves it on if nothing of it is under way.
    fn settle(&mut self, id: BatchId, mut running: Running) {
        if running.phase == Phase::Steps && running.all_answered() {
            if running.transaction {
                running.phase = Phase::End;
                let commit = !running.must_not_happen();
                let request = Request::TransactionEnd { commit };
                let tx_id = running.tx_id;
                self.ask_or_over(id, &mut running, Part::End { commit }, tx_id, &request);
            } else {
                running.phase = Phase::Over;
            }
        }
        if running.phase == Phase::Over {
            self.finish(id, running);
        } else {
            self.batches.insert(id, running);
        }
    }

    fn finish(&mut self, batch: BatchId, running: Running) {
        self.queue.push(Event::Replies {
            batch,
            replies: running.into_replies(),
        });
    }

    fn ask_or_over(
        &mut self,
        id: BatchId,
        running: &mut Running,
        part: Part,
        tx_id: u32,
        request: &Request,
    ) {
        if let Err(error) = self.ask(id, part, tx_id, request) {
            running.roll_back(error);
            running.phase = Phase::Over;
        }
    }

    fn ask(
        &mut self,
        batch: BatchId,
        part: Part,
        tx_id: u32,
        request: &Request,
    ) -> Result<(), StoreError> {
        let payload = request.payload()?;
        self.last_req_id = self.last_req_id.wrapping_add(1);
        let (op, req_id) = (request.op(), self.last_req_id);
        self.asked.insert(req_id, Asked { op, batch, part });
        self.outgoing.push(op, req_id, tx_id, &payload);
        Ok(())
    }
}

/// How the answer to a step reads, or `None` if the payload does not fit.
fn parse(step: &Step, payload: &[u8]) -> Option<Reply> {
    Some(match step {
        Step::Read(_) | Step::Expect(..) | Step::Request(_) => Reply::Value(payload.to_vec()),
        Step::Directory(_) => Reply::Names(wire::parse_names(payload)?),
        Step::GetPerms(_) => Reply::Perms(wire::parse_perms(payload)?),
        _ => Reply::Done,
    })
}
