//! A batch that is under way: its steps, their answers so far, and its transaction if it has one.

use std::collections::BTreeMap;

use super::directory::Listing;
use crate::wire::Request;
use crate::{Batch, Reply, Step, StoreError};

/// Where a batch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Start,
    Steps,
    End,
    Over,
}

#[derive(Debug)]
pub(super) struct Running {
    pub(super) transaction: bool,
    pub(super) phase: Phase,
    pub(super) tx_id: u32,
    /// Directories that are being read in parts, by index of their step.
    pub(super) listings: BTreeMap<usize, Listing>,
    steps: Vec<Step>,
    replies: Vec<Option<Result<Reply, StoreError>>>,
    unanswered: usize,
    attempts: u32,
}

impl Running {
    pub(super) fn new(batch: Batch) -> Self {
        let unanswered = batch.steps.len();
        Self {
            transaction: batch.transaction,
            phase: if batch.transaction {
                Phase::Start
            } else {
                Phase::Steps
            },
            tx_id: 0,
            listings: BTreeMap::new(),
            replies: vec![None; unanswered],
            steps: batch.steps,
            unanswered,
            attempts: 1,
        }
    }

    pub(super) fn step(&self, index: usize) -> Option<&Step> {
        self.steps.get(index)
    }

    /// The steps that still need an answer, with their places.
    pub(super) fn unanswered(&self) -> Vec<(usize, Step)> {
        let steps = self.steps.iter().zip(&self.replies).enumerate();
        steps
            .filter(|(_, (_, reply))| reply.is_none())
            .map(|(index, (step, _))| (index, step.clone()))
            .collect()
    }

    pub(super) fn answer(&mut self, index: usize, reply: Result<Reply, StoreError>) {
        if let Some(slot) = self.replies.get_mut(index)
            && slot.replace(reply).is_none()
        {
            self.unanswered = self.unanswered.saturating_sub(1);
        }
    }

    pub(super) fn all_answered(&self) -> bool {
        self.unanswered == 0
    }

    /// The transaction never started: whatever has no answer gets this one.
    pub(super) fn fail_all(&mut self, error: StoreError) {
        for reply in &mut self.replies {
            reply.get_or_insert(Err(error));
        }
        self.unanswered = 0;
    }

    /// Whether a write failed or what was expected is not so, so that the others must not happen
    /// either. That a node to be removed is not there, nor its parent, is what the step was meant
    /// to achieve.
    pub(super) fn must_not_happen(&self) -> bool {
        self.steps
            .iter()
            .zip(&self.replies)
            .any(|(step, reply)| match reply {
                Some(Err(StoreError::NotFound)) => {
                    decides(step) && !matches!(step, Step::Remove(_))
                }
                Some(Err(_)) => decides(step),
                _ => false,
            })
    }

    /// The transaction did not happen: no write may report success.
    pub(super) fn roll_back(&mut self, error: StoreError) {
        for (step, reply) in self.steps.iter().zip(&mut self.replies) {
            if writes(step) && matches!(reply, Some(Ok(_))) {
                *reply = Some(Err(error));
            }
        }
    }

    /// Forgets the answers of an attempt that met a conflict, if there may be another one.
    pub(super) fn retry(&mut self) -> bool {
        if self.attempts >= super::ATTEMPTS_MAX {
            return false;
        }
        self.attempts = self.attempts.saturating_add(1);
        for (step, reply) in self.steps.iter().zip(&mut self.replies) {
            if transactional(step) && reply.take().is_some() {
                self.unanswered = self.unanswered.saturating_add(1);
            }
        }
        true
    }

    pub(super) fn into_replies(self) -> Vec<Result<Reply, StoreError>> {
        let missing = Err(StoreError::Invalid);
        self.replies
            .into_iter()
            .map(|reply| reply.unwrap_or_else(|| missing.clone()))
            .collect()
    }
}

/// Whether a step belongs to the transaction of its batch.
pub(super) fn transactional(step: &Step) -> bool {
    decides(step) || matches!(step, Step::Read(_) | Step::Directory(_) | Step::GetPerms(_))
}

/// Whether a transaction depends on the success of a step.
fn decides(step: &Step) -> bool {
    writes(step) || matches!(step, Step::Expect(..))
}

fn writes(step: &Step) -> bool {
    matches!(
        step,
        Step::Write(..) | Step::Remove(_) | Step::Mkdir(_) | Step::SetPerms(..)
    )
}

/// The request that a step is sent as.
pub(super) fn request(step: Step) -> Request {
    match step {
        Step::Read(path) | Step::Expect(path, _) => Request::Read(path),
        Step::Directory(path) => Request::Directory(path),
        Step::Write(path, value) => Request::Write(path, value),
        Step::Remove(path) => Request::Rm(path),
        Step::Mkdir(path) => Request::Mkdir(path),
        Step::GetPerms(path) => Request::GetPerms(path),
        Step::SetPerms(path, perms) => Request::SetPerms(path, perms),
        Step::Watch { path, token } => Request::Watch {
            path,
            token,
            depth: None,
        },
        Step::WatchDepth { path, token, depth } => Request::Watch {
            path,
            token,
            depth: Some(depth),
        },
        Step::Unwatch { path, token } => Request::Unwatch { path, token },
        Step::Request(request) => request,
    }
}
