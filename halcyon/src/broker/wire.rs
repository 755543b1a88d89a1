//! What a VM process and the host daemon say to each other: one question, one answer.
//!
//! Pure: bytes to values and back. It knows no socket; the descriptor of a positive answer travels
//! beside it. Numbers are little-endian.
//!
//! ```text
//!   question  "HALB" version:u16 flags:u16 domid:u16 kind:u16 devid:u32 params:1..=4096 bytes
//!   answer    "HALB" version:u16 0:u16 errno:u32 text:0..=1024 bytes      errno 0: a descriptor
//! ```
//!
//! Invariant: no bytes make it panic, and what it understands, it would have written itself.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

use abi::DomId;
use blkback::report::TEXT_MAX;

use crate::cli::args::KindArg;

/// Longest message, and with it the longest `params`: a node's value is at most 4096 bytes
/// (`XENSTORE_PAYLOAD_MAX`, `io/xs_wire.h`).
pub const MESSAGE_MAX: usize = QUESTION_HEAD + PARAMS_MAX;

const PARAMS_MAX: usize = 4096;
const QUESTION_HEAD: usize = 16;
const MAGIC: [u8; 4] = *b"HALB";
const VERSION: u16 = 1;
const READ_ONLY: u16 = 1;

/// A VM process asks for the image of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Whose device.
    pub domid: DomId,
    /// Which kind of backend.
    pub kind: KindArg,
    /// Which device.
    pub devid: u32,
    /// Whether it is opened for reading alone.
    pub read_only: bool,
    /// `params`, as it stands in xenstore.
    pub params: String,
}

/// The daemon's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A descriptor comes with this.
    Opened,
    /// There is none: an errno that is not 0, and one line that says why.
    Refused(i32, String),
}

impl Question {
    /// As bytes; `None` where `params` is longer than a node's value can be.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        let fits = (1..=PARAMS_MAX).contains(&self.params.len());
        let mut bytes = MAGIC.to_vec();
        let flags = if self.read_only { READ_ONLY } else { 0 };
        for field in [VERSION, flags, self.domid.0, number(self.kind)] {
            bytes.extend(field.to_le_bytes());
        }
        bytes.extend(self.devid.to_le_bytes());
        bytes.extend(self.params.as_bytes());
        fits.then_some(bytes)
    }

    /// From bytes that anybody may have written.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (head, params) = bytes.split_first_chunk::<QUESTION_HEAD>()?;
        let (flags, rest) = head_of(head)?;
        let ([domid, kind], devid) = (words(rest)?, rest.last_chunk()?);
        let params = std::str::from_utf8(params).ok()?;
        let fits = (1..=PARAMS_MAX).contains(&params.len()) && flags | READ_ONLY == READ_ONLY;
        fits.then_some(Self {
            domid: DomId(domid),
            kind: kind_of(kind)?,
            devid: u32::from_le_bytes(*devid),
            read_only: flags == READ_ONLY,
            params: params.to_owned(),
        })
    }
}

impl Answer {
    /// As bytes; a text that is too long is cut.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (errno, text) = match self {
            Self::Opened => (0, ""),
            Self::Refused(errno, text) => (errno.unsigned_abs().max(1), text.as_str()),
        };
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend([0; 2]);
        bytes.extend(errno.to_le_bytes());
        let end = text.floor_char_boundary(TEXT_MAX);
        bytes.extend(text.as_bytes().iter().take(end));
        bytes
    }

    /// From bytes.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (head, text) = bytes.split_first_chunk::<12>()?;
        let (0, rest) = head_of(head)? else {
            return None;
        };
        let errno = i32::from_le_bytes(*rest.first_chunk()?);
        match (errno, std::str::from_utf8(text).ok()?) {
            (0, "") => Some(Self::Opened),
            (1.., text) if text.len() <= TEXT_MAX => Some(Self::Refused(errno, text.to_owned())),
            _ => None,
        }
    }
}

/// Checks magic and version; the number after them, and the rest.
fn head_of(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let rest = bytes.strip_prefix(&MAGIC)?;
    let [version, number] = words(rest)?;
    (version == VERSION).then_some((number, rest.get(4..)?))
}

fn words(bytes: &[u8]) -> Option<[u16; 2]> {
    let [a, b, c, d] = *bytes.first_chunk()?;
    Some([u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])])
}

fn number(kind: KindArg) -> u16 {
    match kind {
        KindArg::Vbd => 0,
        KindArg::Vbd3 => 1,
        KindArg::Qdisk => 2,
    }
}

fn kind_of(number: u16) -> Option<KindArg> {
    match number {
        0 => Some(KindArg::Vbd),
        1 => Some(KindArg::Vbd3),
        2 => Some(KindArg::Qdisk),
        _ => None,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    fn question() -> Question {
        Question {
            domid: DomId(7),
            kind: KindArg::Vbd3,
            devid: 51712,
            read_only: true,
            params: "raw:/srv/\u{e9}.img".into(),
        }
    }

    #[test]
    fn a_question_comes_back_as_it_was_asked() {
        let bytes = question().to_bytes().unwrap();
        assert_eq!(Question::parse(&bytes), Some(question()));
    }

    #[test]
    fn an_answer_comes_back_as_it_was_given() {
        let refused = Answer::Refused(libc::ENOENT, "/srv/a.img: no such file".into());
        for answer in [Answer::Opened, refused] {
            assert_eq!(Answer::parse(&answer.to_bytes()), Some(answer));
        }
    }

    #[test]
    fn a_message_that_was_cut_is_not_understood() {
        let bytes = question().to_bytes().unwrap();
        let shortest = QUESTION_HEAD + 1;
        assert!((0..shortest).all(|len| Question::parse(&bytes[..len]).is_none()));
        assert!((0..12).all(|len| Answer::parse(&Answer::Opened.to_bytes()[..len]).is_none()));
    }

    #[test]
    fn params_longer_than_a_nodes_value_are_not_sent() {
        let long = |len| Question {
            params: "x".repeat(len),
            ..question()
        };
        assert!(long(PARAMS_MAX).to_bytes().is_some());
        assert_eq!(long(PARAMS_MAX + 1).to_bytes(), None);
        assert_eq!(long(0).to_bytes(), None);
    }

    #[test]
    fn another_version_and_unknown_flags_are_not_understood() {
        let bytes = question().to_bytes().unwrap();
        let changed = |at: usize, to: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = to;
            Question::parse(&bytes)
        };
        // Magic, version, flags, kind.
        let wrong = [(0, b'h'), (4, 2), (6, 3), (7, 1), (10, 3)];
        assert!(wrong.iter().all(|(at, to)| changed(*at, *to).is_none()));
        assert!(changed(6, 0).is_some());
    }

    #[test]
    fn whatever_is_understood_would_have_been_written_so() {
        let mut seed = 1_u64;
        let mut byte = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 56) as u8
        };
        for _ in 0..20_000 {
            let mut bytes = question().to_bytes().unwrap();
            let (at, to) = (usize::from(byte()) % bytes.len(), byte());
            bytes[at] = to;
            let parsed = Question::parse(&bytes);
            assert!(parsed.is_none_or(|question| question.to_bytes().unwrap() == bytes));
        }
    }
}
