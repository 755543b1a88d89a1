//! What each named script gets: answers, a refusal, or the end it asked for.

use abi::io::blkif::Status;
use abi::io::xenbus::XenbusState;
use sim::world::Ending;

use Expected::{Answered, Closed, OneOf, Refused};

/// How a device must stand when everything rests.
pub(crate) enum Expected {
    /// Connected, with these answers in any order.
    Answered(&'static [Status]),
    /// Closed, and the operator knows why.
    Refused,
    /// Closed, because its frontend is.
    Closed,
    /// Any of these; what the backend sees first decides.
    OneOf(&'static [Self]),
}

const ERROR: Expected = Answered(&[Status::ERROR]);

/// What the script of this name gets.
pub(crate) fn of(script: &str) -> Expected {
    match script {
        "index_past_the_ring" | "index_jump" => Refused,
        // The index may be seen before it goes back.
        "index_backwards" => OneOf(&[Refused, Answered(&[Status::OKAY])]),
        // Seven slots of zeroes are seven reads without segments.
        "index_scribble" => Answered(&[Status::ERROR; 7]),
        "unknown_operation" | "indirect_not_offered" => Answered(&[Status::EOPNOTSUPP]),
        "no_segments" | "twelve_segments" | "most_segments" => ERROR,
        "grant_never_made" | "grant_beyond_the_table" | "read_into_readonly" => ERROR,
        "first_after_last" | "last_beyond_the_page" => ERROR,
        "sector_overflow" | "byte_overflow" => ERROR,
        // The disk's bytes are now the ring's indices.
        "read_into_the_ring" => Refused,
        "double_use" => Answered(&[Status::OKAY; 2]),
        "revoked_while_under_way" => OneOf(&[ERROR, Answered(&[Status::OKAY])]),
        "event_storm" => Answered(&[]),
        "closes_while_under_way" => Closed,
        // Where it stops depends on which of its states were seen.
        "flapping_state" => OneOf(&[Refused, Closed, Answered(&[])]),
        "ring_ref_never_granted" | "ring_ref_no_number" | "ring_ref_missing" => Refused,
        "port_not_there" | "port_zero" | "port_missing" => Refused,
        "protocol_unknown" | "ring_too_large" => Refused,
        other => panic!("nobody has said what {other} gets"),
    }
}

impl Expected {
    /// Whether an ending is this one.
    pub(crate) fn holds(&self, ending: &Ending) -> Result<(), &'static str> {
        let state = XenbusState(ending.state);
        let closed = [XenbusState::CLOSING, XenbusState::CLOSED].contains(&state);
        let mut got: Vec<i16> = ending
            .answers
            .iter()
            .map(|answer| answer.status.0)
            .collect();
        got.sort_unstable();
        match self {
            Answered(wanted) if state != XenbusState::CONNECTED || got.len() != wanted.len() => {
                Err("the requests were not answered")
            }
            Answered(wanted) if wanted.iter().any(|status| !got.contains(&status.0)) => {
                Err("the answers are others")
            }
            Refused if !closed || ending.error.is_none() => Err("the device was not refused"),
            Closed if !closed => Err("the device is not closed"),
            OneOf(all) if all.iter().all(|one| one.holds(ending).is_err()) => {
                Err("it is none of what it may be")
            }
            _ => Ok(()),
        }
    }
}
