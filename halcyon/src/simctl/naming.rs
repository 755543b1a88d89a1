//! What a guest may be called: its name and its UUID, checked before there is anything of it.
//!
//! Pure. Invariant: what passes can stand in a path, in xenstore's as in the file system's, and a
//! name is never taken for a domain number.

use sim::live::DomainInfo;

use crate::error::{Exit, Failure};

/// Longest name; as a part of paths and lines it has to stay short.
const NAME_MAX_BYTES: usize = 64;
/// Lengths of the groups of hexadecimal digits in a UUID.
const UUID_GROUPS: [usize; 5] = [8, 4, 4, 4, 12];

/// The name asked for, if no guest has it, or the first of guest1, guest2 and so on that is free.
pub fn name(asked: Option<&str>, domains: &[DomainInfo]) -> Result<String, Failure> {
    let Some(name) = asked else {
        let mut names = (1..).map(|number: u64| format!("guest{number}"));
        let free = names.find(|name| domains.iter().all(|domain| domain.name != *name));
        return Ok(free.unwrap_or_default());
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+:".contains(&byte);
    let fits = (1..=NAME_MAX_BYTES).contains(&name.len()) && name.bytes().all(plain);
    if !fits
        || name
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        let rule = "letters, digits and - _ . + : only, a letter among them, 64 at most";
        let text = format!("{name:?} is no name for a guest: {rule}");
        return Err(Failure::new(Exit::Usage, text));
    }
    unique(domains, "named", name, |domain| &domain.name)
}

/// The UUID asked for, in lower case, if no guest has it.
pub fn uuid(asked: &str, domains: &[DomainInfo]) -> Result<String, Failure> {
    let groups = asked.split('-').map(str::len);
    let hex = asked
        .bytes()
        .all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if !hex || !groups.eq(UUID_GROUPS) {
        let shape = "expected 8-4-4-4-12 hexadecimal digits";
        let text = format!("{asked:?} is no UUID: {shape}");
        return Err(Failure::new(Exit::Usage, text));
    }
    let uuid = asked.to_ascii_lowercase();
    unique(domains, "with UUID", &uuid, |domain| &domain.uuid)
}

fn unique(
    domains: &[DomainInfo],
    what: &str,
    wanted: &str,
    of: impl Fn(&DomainInfo) -> &String,
) -> Result<String, Failure> {
    // A guest that is dying gives its name to the one that comes after it.
    let mut living = domains.iter().filter(|domain| !domain.dying);
    match living.find(|domain| of(domain) == wanted) {
        None => Ok(wanted.to_owned()),
        Some(domain) => Err(Failure::failed(format!(
            "there is a guest {what} {wanted} already: domain {}",
            domain.domid
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "0a1b2c3d-0000-4000-8000-00000000000f";

    fn guest(name: &str, dying: bool) -> DomainInfo {
        DomainInfo {
            domid: 3,
            name: name.into(),
            uuid: UUID.into(),
            memory_bytes: 0,
            guest_pid: None,
            backends: 0,
            mapped: 0,
            ports: 0,
            dying,
        }
    }

    #[test]
    fn a_guest_without_a_name_gets_the_next_free_one() {
        let there = [guest("guest1", false), guest("guest3", false)];
        assert_eq!(name(None, &there).unwrap(), "guest2");
    }

    #[test]
    fn a_name_is_free_again_when_its_guest_is_dying() {
        assert!(name(Some("a"), &[guest("a", false)]).is_err());
        assert!(name(Some("a"), &[guest("a", true)]).is_ok());
    }

    #[test]
    fn names_that_are_numbers_or_lead_elsewhere_are_refused() {
        for bad in ["", "7", "..", "a/b", "a b", "a\n", "ä"] {
            assert_eq!(name(Some(bad), &[]).unwrap_err().exit, Exit::Usage);
        }
    }

    #[test]
    fn a_uuid_has_five_groups_and_one_owner() {
        let upper = UUID.to_uppercase();
        assert_eq!(uuid(&upper, &[]).unwrap(), UUID);
        assert!(uuid(&upper, &[guest("a", false)]).is_err());
        assert!(uuid("0a1b2c3d00004000800000000000000f", &[]).is_err());
        assert!(uuid("../../..", &[]).is_err());
    }
}
