//! What the operator is told when a device cannot be served.
//!
//! A [`Refusal`] concerns a whole device; a single request gets a [`crate::request::Refused`].
//! Knows nothing of why. Invariant: the text is one line, short enough for a node of the store.

/// Longest text, in bytes: with a path to write it to it must fit `XENSTORE_PAYLOAD_MAX` (4096,
/// `io/xs_wire.h`), and a path that the operator mistyped may be nearly as long as that.
pub const TEXT_MAX: usize = 1024;

/// Why a device is not served: an errno for programs and one line for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    /// The closest errno, positive.
    pub errno: i32,
    /// What was being done, and why it failed; lower case, one line.
    pub text: String,
}

impl Refusal {
    /// No such node, no such file.
    pub const ENOENT: i32 = 2;
    /// The storage failed.
    pub const EIO: i32 = 5;
    /// A resource of the host is missing.
    pub const ENOMEM: i32 = 12;
    /// A value that makes no sense.
    pub const EINVAL: i32 = 22;
    /// The peer broke the protocol.
    pub const EPROTO: i32 = 71;
    /// An empty drive.
    pub const ENOMEDIUM: i32 = 123;

    /// A refusal with its chain of causes joined into one line.
    pub fn new(errno: i32, error: &dyn std::error::Error) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        Self::saying(errno, &text)
    }

    /// A refusal in these words, cut and joined to one line.
    pub fn saying(errno: i32, text: &str) -> Self {
        let text = &text[..text.floor_char_boundary(TEXT_MAX)];
        Self {
            errno,
            text: text.replace(['\n', '\r', '\0'], " "),
        }
    }

    /// The value of the error node, in the form of Linux's `xenbus_dev_error`.
    pub fn node_value(&self) -> Vec<u8> {
        format!("{} {}", self.errno, self.text).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_that_repeats_a_path_of_any_length_fits_a_node() {
        let error = std::io::Error::other(format!("/{}: no such file", "\u{e9}".repeat(2000)));
        let refusal = Refusal::new(Refusal::ENOENT, &error);
        assert_eq!(refusal.text.len(), TEXT_MAX - 1);
    }
}
