//! What the lab says when it cannot do its work: one line.
//!
//! It knows nothing of scenarios: one that fails is a result, not a failure. Invariant: the text
//! is one line that says what was being done and, where that is known, what to do about it.

/// Why the lab could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failure(String);

impl Failure {
    /// A failure with this text; line breaks, which an inner error may carry, become spaces.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into().replace(['\n', '\r'], " "))
    }
}

/// Says what was being done when a lower layer failed.
pub trait Doing<T> {
    /// Puts `what` before the error's own text.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: std::error::Error> Doing<T> for Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(format!("{}: {error}", what())))
    }
}
