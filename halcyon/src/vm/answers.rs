//! What xenstore's answers to the loop mean.
//!
//! It asks nothing itself. Invariant: only ENOENT means that something is not there; any other
//! error says nothing about it.

use xenstore::{Reply, StoreError};

/// Attempts in a row at questions that are not answered. After the last, the next one waits until
/// something changes: a xenstore that is short of memory must not be asked for ever.
pub(super) const TRIES_MAX: u32 = 8;

/// The devices of a kind.
pub(super) fn listing(replies: &[Result<Reply, StoreError>]) -> Result<&[String], StoreError> {
    match replies.first() {
        Some(Ok(Reply::Names(names))) => Ok(names),
        Some(Err(error)) if *error != StoreError::NotFound => Err(*error),
        _ => Ok(&[]),
    }
}

/// Whether the guest still is.
pub(super) fn is_alive(replies: &[Result<Reply, StoreError>]) -> Result<bool, StoreError> {
    match replies.first() {
        Some(Ok(reply)) => Ok(reply.value().is_some_and(|value| value.starts_with(b"T"))),
        Some(Err(StoreError::NotFound)) => Ok(false),
        Some(Err(error)) => Err(*error),
        None => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_MEMORY: StoreError = StoreError::Other(libc::ENOMEM);

    #[test]
    fn an_error_is_no_word_on_the_guest() {
        assert_eq!(is_alive(&[Err(NO_MEMORY)]), Err(NO_MEMORY));
        assert_eq!(is_alive(&[Ok(Reply::Value(b"T".to_vec()))]), Ok(true));
        assert_eq!(is_alive(&[Ok(Reply::Value(b"F".to_vec()))]), Ok(false));
        assert_eq!(is_alive(&[Err(StoreError::NotFound)]), Ok(false));
    }

    #[test]
    fn an_error_is_no_word_on_the_devices() {
        let names = ["51712".to_owned()];
        assert_eq!(listing(&[Err(NO_MEMORY)]), Err(NO_MEMORY));
        assert_eq!(listing(&[Err(StoreError::NotFound)]), Ok(&[][..]));
        assert_eq!(listing(&[Ok(Reply::Names(names.to_vec()))]), Ok(&names[..]));
    }
}
