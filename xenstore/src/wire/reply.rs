//! Payloads of replies that are lists.

use abi::io::xs_wire::PAYLOAD_MAX;

use super::strings;
use crate::{Perm, StoreError};

/// The payload of a DIRECTORY reply: every name with a NUL behind it.
pub fn names<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let mut payload = Vec::new();
    for name in names {
        payload.extend_from_slice(name.as_bytes());
        payload.push(0);
    }
    payload
}

/// The names of a DIRECTORY reply.
pub fn parse_names(payload: &[u8]) -> Option<Vec<String>> {
    Some(strings(payload)?.into_iter().map(String::from).collect())
}

/// The payload of a GET_PERMS reply.
pub fn perms(perms: &[Perm]) -> Vec<u8> {
    let texts: Vec<String> = perms.iter().map(Perm::to_string).collect();
    names(texts.iter().map(String::as_str))
}

/// The permissions of a GET_PERMS reply.
pub fn parse_perms(payload: &[u8]) -> Option<Vec<Perm>> {
    strings(payload)?
        .into_iter()
        .map(|text| text.parse().ok())
        .collect()
}

/// The payload of a DIRECTORY_PART reply: the generation of the list, then as many whole names
/// from byte `offset` of the list as fit. An empty name says that the list ends here.
pub fn directory_part<'a>(
    generation: u64,
    names: impl IntoIterator<Item = &'a str>,
    offset: usize,
) -> Result<Vec<u8>, StoreError> {
    let mut payload = format!("{generation}\0").into_bytes();
    let mut position = 0_usize;
    for name in names {
        let end = position.saturating_add(name.len()).saturating_add(1);
        if position >= offset {
            // One byte stays free for the mark of the end.
            let needed = payload.len().saturating_add(name.len()).saturating_add(2);
            if needed > PAYLOAD_MAX {
                return Ok(payload);
            }
            payload.extend_from_slice(name.as_bytes());
            payload.push(0);
        } else if end > offset {
            return Err(StoreError::Invalid);
        }
        position = end;
    }
    payload.push(0);
    Ok(payload)
}

/// A DIRECTORY_PART reply: generation, names, bytes of the list that they stand for, and whether
/// the list ends here.
pub fn parse_directory_part(payload: &[u8]) -> Option<(String, Vec<String>, usize, bool)> {
    let mut parts = strings(payload)?.into_iter();
    let generation = parts.next()?.to_owned();
    let mut names: Vec<String> = parts.map(String::from).collect();
    let ended = names.last().is_some_and(String::is_empty);
    if ended {
        names.pop();
    }
    if names.iter().any(String::is_empty) {
        return None;
    }
    let len_bytes = names.iter().map(|name| name.len().saturating_add(1)).sum();
    Some((generation, names, len_bytes, ended))
}
