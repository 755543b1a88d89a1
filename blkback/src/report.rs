//! What the operator is told when a device cannot be served.
//!
//! A [`Refusal`] concerns a whole device; a single request gets a [`crate::request::Refused`].
//! Knows nothing of why. Invariant: the text is one line.

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
