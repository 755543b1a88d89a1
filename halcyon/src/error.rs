//! What the command tells its caller when it does not do what was asked: one line and an exit code.
//!
//! It knows nothing of what failed. Invariant: the text is one line that says what was being done,
//! with what, and what to do about it where that is known.

/// How the process ends. These numbers are part of the command line's contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// Not done; the line on stderr says why.
    Failed = 1,
    /// The command line itself was wrong.
    Usage = 2,
    /// A verification failed: a byte mismatched or something leaked.
    Unverified = 3,
    /// Another process holds the claim or the image.
    Held = 4,
    /// There is no Xen here, and no simulated host was named.
    NoPlatform = 5,
}

impl Exit {
    /// The number that the shell sees.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }
}

/// Why a command ended without doing its work.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    /// The exit code that goes with it.
    pub exit: Exit,
    text: String,
}

impl Failure {
    /// A failure of the given kind. Line breaks, which an inner error may carry, become spaces.
    pub fn new(exit: Exit, text: impl Into<String>) -> Self {
        let text = text.into().replace(['\n', '\r'], " ");
        Self { exit, text }
    }

    /// An ordinary failure.
    pub fn failed(text: impl Into<String>) -> Self {
        Self::new(Exit::Failed, text)
    }
}

/// Says what was being done when a lower layer failed.
pub trait Doing<T> {
    /// Puts `what` before the error's own text.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: std::error::Error> Doing<T> for Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::failed(format!("{}: {}", what(), chain(&error))))
    }
}

/// An error and its sources, outermost first, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut inner = error.source();
    while let Some(source) = inner {
        text.push_str(": ");
        text.push_str(&source.to_string());
        inner = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_that_names_what_was_done() {
        let lower: Result<(), _> = Err(std::io::Error::other("no\nluck"));
        let failure = lower.doing(|| "open /x".into()).unwrap_err();
        assert_eq!(failure.to_string(), "open /x: no luck");
        assert_eq!(failure.exit.code(), 1);
    }
}
