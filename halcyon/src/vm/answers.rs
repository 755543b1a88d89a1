//! What xenstore's answers to the loop mean.
//!
//! It asks nothing itself. Invariant: only ENOENT means that something is not there; any other
//! error says nothing about it.

use xenstore::{Reply, StoreError};

/// Attempts in a row at questions that are not answered. After the last, the next one waits until
/// something changes: a xenstore that is short of memory must not be asked for ever.
pub(super) const TRIES_MAX: u32 = 8;

/// Whether every step was done.
fn all_done(replies: &[Result<Reply, StoreError>]) -> Result<(), StoreError> {
    let failed = replies.iter().find_map(|reply| reply.as_ref().err());
    failed.map_or(Ok(()), |error| Err(*error))
}

/// Whether it was announced that the guest is served: not where what was expected first is not so.
pub(super) fn is_announced(replies: &[Result<Reply, StoreError>]) -> Result<bool, StoreError> {
    match replies {
        [.., Err(StoreError::RolledBack)] => {
            let mut errors = replies.iter().filter_map(|reply| reply.as_ref().err());
            match errors.find(|error| **error != StoreError::RolledBack) {
                Some(StoreError::NotFound | StoreError::Conflict) => Ok(false),
                error => Err(*error.unwrap_or(&StoreError::RolledBack)),
            }
        }
        _ => all_done(replies).map(|()| true),
    }
}

/// The devices of a kind.
pub(super) fn listing(replies: &[Result<Reply, StoreError>]) -> Result<&[String], StoreError> {
    match replies.first() {
        Some(Ok(Reply::Names(names))) => Ok(names),
        Some(Err(error)) if *error != StoreError::NotFound => Err(*error),
        _ => Ok(&[]),
    }
}

/// Whether the guest still is: Xen has it, and its home is there.
pub(super) fn is_alive(replies: &[Result<Reply, StoreError>]) -> Result<bool, StoreError> {
    let introduced = match replies.first() {
        Some(Ok(reply)) => reply.value().is_some_and(|value| value.starts_with(b"T")),
        Some(Err(StoreError::NotFound)) => false,
        Some(Err(error)) => return Err(*error),
        None => true,
    };
    match replies.get(1) {
        Some(Err(StoreError::NotFound)) => Ok(false),
        Some(Err(error)) => Err(*error),
        _ => Ok(introduced),
    }
}

/// Whether everything is watched that has to be: the last watch may be of a sort that this
/// xenstore does not have.
pub(super) fn watching(replies: &[Result<Reply, StoreError>]) -> Result<(), StoreError> {
    let needed = match replies {
        [needed @ .., Err(StoreError::Invalid)] => needed,
        all => all,
    };
    let error = needed.iter().find_map(|reply| reply.as_ref().err());
    error.map_or(Ok(()), |error| Err(*error))
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
    fn a_guest_whose_home_was_removed_is_gone() {
        let introduced = Ok(Reply::Value(b"T".to_vec()));
        let home = Ok(Reply::Value(b"/vm/1".to_vec()));
        assert_eq!(is_alive(&[introduced.clone(), home]), Ok(true));
        let removed = [introduced.clone(), Err(StoreError::NotFound)];
        assert_eq!(is_alive(&removed), Ok(false));
        assert_eq!(is_alive(&[introduced, Err(NO_MEMORY)]), Err(NO_MEMORY));
    }

    #[test]
    fn a_guest_that_is_another_by_now_is_not_announced_and_that_is_no_failure() {
        let expected = || Ok(Reply::Value(b"/vm/1".to_vec()));
        let rolled_back = || Err(StoreError::RolledBack);
        assert_eq!(is_announced(&[expected(), Ok(Reply::Done)]), Ok(true));
        let another = [Err(StoreError::Conflict), expected(), rolled_back()];
        assert_eq!(is_announced(&another), Ok(false));
        let gone = [expected(), Err(StoreError::NotFound), rolled_back()];
        assert_eq!(is_announced(&gone), Ok(false));
        let unlucky = [expected(), Err(StoreError::Conflict)];
        assert_eq!(is_announced(&unlucky), Err(StoreError::Conflict));
        assert_eq!(
            is_announced(&[Err(NO_MEMORY), rolled_back()]),
            Err(NO_MEMORY)
        );
    }

    #[test]
    fn only_the_last_watch_may_be_unknown_to_xenstore() {
        let refused = || Err(StoreError::Invalid);
        assert_eq!(watching(&[Ok(Reply::Done), refused()]), Ok(()));
        let needed = watching(&[refused(), Ok(Reply::Done)]);
        assert_eq!(needed, Err(StoreError::Invalid));
        assert_eq!(watching(&[Err(NO_MEMORY)]), Err(NO_MEMORY));
    }

    #[test]
    fn an_error_is_no_word_on_the_devices() {
        let names = ["51712".to_owned()];
        assert_eq!(listing(&[Err(NO_MEMORY)]), Err(NO_MEMORY));
        assert_eq!(listing(&[Err(StoreError::NotFound)]), Ok(&[][..]));
        assert_eq!(listing(&[Ok(Reply::Names(names.to_vec()))]), Ok(&names[..]));
    }
}
