//! A world that drives itself: files are vectors, operations end in the reverse of their order.

use std::ops::Range;

use reactor::world::{OpId, World};
use reactor::{Completion, Nanos, Reactor, Sleep, Slot, Submission, Token, Verb};
use vm_memory::Bytes;

/// A [`World`] with bytes behind its files. When it is asked to sleep, what is pending ends; when
/// nothing is, time moves on to the next deadline.
#[derive(Debug, Default)]
pub(crate) struct Driven {
    pub(crate) world: World,
    files: Vec<(Slot, Vec<u8>)>,
    piece_bytes: Option<usize>,
}

impl Driven {
    /// A world whose transfers are whole.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A world whose transfers stop after this many bytes.
    pub(crate) fn in_pieces_of(piece_bytes: usize) -> Self {
        Self {
            piece_bytes: Some(piece_bytes),
            ..Self::default()
        }
    }

    /// A file full of zeroes.
    pub(crate) fn add(&mut self, len_bytes: usize) -> Slot {
        let slot = self.world.add();
        self.files.push((slot, vec![0; len_bytes]));
        slot
    }

    fn end(&mut self, id: OpId) {
        let operation = self.world.operation(id).expect("it is pending");
        let (_, bytes) = self
            .files
            .iter_mut()
            .find(|(slot, _)| *slot == operation.slot)
            .unwrap();
        let moved = transfer(operation, bytes, self.piece_bytes.unwrap_or(usize::MAX));
        assert!(self.world.finish(id, Ok(moved)));
    }
}

fn transfer(operation: &Submission, file: &mut [u8], piece_bytes: usize) -> usize {
    let start = usize::try_from(operation.offset).unwrap().min(file.len());
    let len = operation
        .range
        .len()
        .min(piece_bytes)
        .min(file.len() - start);
    let (in_file, in_lease) = (&mut file[start..start + len], operation.range.start);
    let lease = operation.lease.as_ref();
    match operation.verb {
        Verb::ReadAt => lease
            .unwrap()
            .slice()
            .write_slice(in_file, in_lease)
            .unwrap(),
        Verb::WriteAt => lease
            .unwrap()
            .slice()
            .read_slice(in_file, in_lease)
            .unwrap(),
        _ => return 0,
    }
    len
}

impl Reactor for Driven {
    fn now(&self) -> Nanos {
        self.world.now()
    }

    fn submit(&mut self, submission: Submission) {
        self.world.submit(submission);
    }

    fn set_deadline(&mut self, token: Token, at: Nanos) {
        self.world.set_deadline(token, at);
    }

    fn cancel_deadline(&mut self, token: Token) {
        self.world.cancel_deadline(token);
    }

    fn wait(&mut self, sleep: Sleep, completions: &mut Vec<Completion>) {
        let pending: Vec<OpId> = self.world.pending().map(|(id, _)| id).collect();
        let due = self.world.next_deadline();
        match (sleep, pending.is_empty(), due) {
            (Sleep::UntilWork, true, Some(at)) if !self.world.is_ready() => {
                self.world.advance_to(at);
            }
            (Sleep::UntilWork, false, _) => pending.into_iter().rev().for_each(|id| self.end(id)),
            _ => {}
        }
        self.world.wait(sleep, completions);
    }

    fn close(&mut self, slot: Slot) {
        self.world.close(slot);
    }

    fn cool(&mut self) {
        self.world.cool();
    }

    fn is_warm(&self) -> bool {
        self.world.is_warm()
    }

    fn system_calls(&self) -> u64 {
        self.world.system_calls()
    }
}

/// Where a submission goes, for comparing.
pub(crate) fn place(submission: &Submission) -> (Verb, u64, Range<usize>) {
    (submission.verb, submission.offset, submission.range.clone())
}
