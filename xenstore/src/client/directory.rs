//! Directories whose list of names does not fit one payload: DIRECTORY answers E2BIG, and the list
//! is read in parts. Parts of different generations do not belong together.

use abi::io::xs_wire::Op;

use super::parse;
use super::running::{self, Running};
use crate::wire::{self, Request};
use crate::{Reply, Step, StoreError};

/// How often a list that keeps changing is read anew.
const RESTARTS_MAX: u32 = 16;
/// Bytes of names that one step collects: some 100,000 nodes.
const LIST_MAX: usize = 1 << 20;

/// A list that has been read up to `offset`.
#[derive(Debug, Default)]
pub(super) struct Listing {
    generation: String,
    names: Vec<String>,
    offset: usize,
    restarts: u32,
}

/// What follows from an answer.
pub(super) enum Next {
    /// This has to be asked as well.
    Ask(Request, u32),
    /// The step is answered.
    Reply(Result<Reply, StoreError>),
}

/// Digests the answer to a step. `None`: the payload does not fit the operation.
pub(super) fn advance(
    running: &mut Running,
    index: usize,
    op: Op,
    answer: Result<&[u8], StoreError>,
) -> Option<Next> {
    let step = running.step(index)?.clone();
    let (Step::Directory(path), tx_id) = (&step, running.tx_id) else {
        return Some(Next::Reply(match answer {
            Ok(payload) if is_unexpected(&step, payload) => Err(StoreError::Conflict),
            Ok(payload) => Ok(parse(&step, payload)?),
            Err(error) => Err(error),
        }));
    };
    debug_assert!(running::transactional(&step));
    let part = |offset: usize| {
        let offset = u32::try_from(offset).unwrap_or(u32::MAX);
        Some(Next::Ask(
            Request::DirectoryPart {
                path: path.clone(),
                offset,
            },
            tx_id,
        ))
    };
    match (op, answer) {
        (Op::DIRECTORY, Err(StoreError::TooBig)) => {
            running.listings.insert(index, Listing::default());
            part(0)
        }
        (Op::DIRECTORY, Ok(payload)) => Some(Next::Reply(Ok(parse(&step, payload)?))),
        (_, Ok(payload)) => {
            let mut listing = running.listings.remove(&index)?;
            if listing.add(payload)? {
                return Some(Next::Reply(listing.finish()));
            }
            let offset = listing.offset;
            running.listings.insert(index, listing);
            part(offset)
        }
        (_, Err(error)) => {
            running.listings.remove(&index);
            // A server without DIRECTORY_PART cannot list this node at all.
            let too_big = op == Op::DIRECTORY_PART && error == StoreError::Unsupported;
            Some(Next::Reply(Err(if too_big {
                StoreError::TooBig
            } else {
                error
            })))
        }
    }
}

/// Whether a node has another value than the step insists on.
fn is_unexpected(step: &Step, payload: &[u8]) -> bool {
    matches!(step, Step::Expect(_, value) if value != payload)
}

impl Listing {
    /// Takes one part; true if there is no more to come.
    fn add(&mut self, payload: &[u8]) -> Option<bool> {
        let (generation, names, len_bytes, ended) = wire::parse_directory_part(payload)?;
        if self.offset > 0 && generation != self.generation {
            let restarts = self.restarts.saturating_add(1);
            *self = Self {
                restarts,
                ..Self::default()
            };
            return Some(restarts > RESTARTS_MAX);
        }
        if len_bytes == 0 && !ended {
            return None;
        }
        self.generation = generation;
        self.names.extend(names);
        self.offset = self.offset.saturating_add(len_bytes);
        Some(ended || self.offset > LIST_MAX)
    }

    fn finish(self) -> Result<Reply, StoreError> {
        if self.restarts > RESTARTS_MAX || self.offset > LIST_MAX {
            return Err(StoreError::TooBig);
        }
        Ok(Reply::Names(self.names))
    }
}
