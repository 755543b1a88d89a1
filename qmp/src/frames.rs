//! Where a message ends: at the bracket that closes its object, whatever separates it from the next.
//!
//! Knows of JSON no more than brackets and strings. Invariant: [`Frames`] keeps at most one message
//! of at most [`MESSAGE_MAX`] bytes and what was pushed at once.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

/// Longest message, in bytes. The longest that a toolstack sends has a few hundred.
pub const MESSAGE_MAX: usize = 64 << 10;

/// Deepest nesting of objects and lists in a message.
pub const DEPTH_MAX: u32 = 32;

/// The stream makes no sense any more: nobody can say where the next message would begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A message begins with a curly bracket.
    #[error("expected an object, found byte {0:#04x}")]
    NoObject(u8),
    /// See [`MESSAGE_MAX`].
    #[error("message longer than {MESSAGE_MAX} bytes")]
    TooLong,
    /// See [`DEPTH_MAX`].
    #[error("message nested deeper than {DEPTH_MAX}")]
    TooDeep,
}

/// See the head of this file.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    /// How many of them were looked at; all belong to one message that is not complete.
    scanned: usize,
    depth: u32,
    text: Text,
}

/// Whether the next byte is part of a string.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Text {
    #[default]
    Outside,
    Inside,
    /// After a backslash.
    Escaped,
}

impl Frames {
    /// Adds what arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes the next complete message out.
    pub fn next_message(&mut self) -> Option<Result<Vec<u8>, Broken>> {
        if self.scanned == 0 {
            self.skip_blanks();
        }
        while let Some(byte) = self.bytes.get(self.scanned) {
            if let Err(broken) = self.look_at(*byte) {
                return Some(Err(broken));
            }
            self.scanned = self.scanned.saturating_add(1);
            if self.depth == 0 {
                return Some(Ok(self.cut()));
            }
        }
        None
    }

    fn skip_blanks(&mut self) {
        let blanks = self.bytes.iter().take_while(|byte| is_blank(**byte));
        self.bytes.drain(..blanks.count());
    }

    fn look_at(&mut self, byte: u8) -> Result<(), Broken> {
        if self.scanned >= MESSAGE_MAX {
            return Err(Broken::TooLong);
        }
        match (self.text, byte) {
            (Text::Inside, b'\\') => self.text = Text::Escaped,
            (Text::Inside, b'"') => self.text = Text::Outside,
            (Text::Inside, _) => {}
            (Text::Escaped, _) => self.text = Text::Inside,
            (Text::Outside, byte) if self.depth == 0 && byte != b'{' => {
                return Err(Broken::NoObject(byte));
            }
            (Text::Outside, b'"') => self.text = Text::Inside,
            (Text::Outside, b'{' | b'[') if self.depth >= DEPTH_MAX => return Err(Broken::TooDeep),
            (Text::Outside, b'{' | b'[') => self.depth = self.depth.saturating_add(1),
            (Text::Outside, b'}' | b']') => self.depth = self.depth.saturating_sub(1),
            (Text::Outside, _) => {}
        }
        Ok(())
    }

    /// Takes out what was scanned.
    fn cut(&mut self) -> Vec<u8> {
        let rest = self.bytes.split_off(self.scanned.min(self.bytes.len()));
        self.scanned = 0;
        std::mem::replace(&mut self.bytes, rest)
    }
}

/// What may stand between two messages.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}
