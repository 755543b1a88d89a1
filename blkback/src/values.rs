//! Values of store keys: text and numbers with bounds, or a refusal that names the key.
//!
//! Knows no key. What it refuses it never repeats: refusals end up in logs and in other nodes.
//! Invariant: a number that left this file is within the bound it was asked for with.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

use crate::report::Refusal;

/// What was found under a list of keys, in their order; `None` where there is no such node.
#[derive(Clone, Debug, Default)]
pub struct Values {
    found: Vec<(&'static str, Option<Vec<u8>>)>,
}

impl FromIterator<(&'static str, Option<Vec<u8>>)> for Values {
    fn from_iter<I: IntoIterator<Item = (&'static str, Option<Vec<u8>>)>>(found: I) -> Self {
        Self {
            found: found.into_iter().collect(),
        }
    }
}

impl Values {
    /// The value of `key`, if there is such a node.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.found
            .iter()
            .find(|(name, _)| *name == key)?
            .1
            .as_deref()
    }

    pub(crate) fn required(&self, key: &'static str) -> Result<&[u8], Invalid> {
        self.get(key).ok_or(Invalid::Missing { key })
    }

    pub(crate) fn text(&self, key: &'static str) -> Result<&str, Invalid> {
        let value = self.required(key)?;
        std::str::from_utf8(value).map_err(|_| Invalid::NotText { key })
    }

    /// A required number of at most `max`.
    pub(crate) fn number(&self, key: &'static str, max: u32) -> Result<u32, Invalid> {
        match decimal(self.required(key)?) {
            Some(value) if value <= u64::from(max) => u32::try_from(value).ok(),
            Some(_) => return Err(Invalid::TooLarge { key, max }),
            None => None,
        }
        .ok_or(Invalid::NotANumber { key })
    }

    /// Checks that an option this backend does not offer was not taken: absent, or its default.
    pub(crate) fn only(&self, key: &'static str, default: u32) -> Result<(), Invalid> {
        let absent = self.get(key).is_none();
        if absent || self.number(key, u32::MAX)? == default {
            return Ok(());
        }
        Err(Invalid::NotOffered { key })
    }
}

/// Decimal digits and nothing else; no sign, no space, no other base, at most what a u64 holds.
fn decimal(bytes: &[u8]) -> Option<u64> {
    let all_digits = !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit);
    if !all_digits {
        return None;
    }
    // More digits than a u64 holds are a number all the same, and too large for any bound here.
    let text = std::str::from_utf8(bytes).ok()?;
    Some(text.parse().unwrap_or(u64::MAX))
}

/// A key that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// There is no such node.
    #[error("{key} is missing")]
    Missing {
        /// Which key.
        key: &'static str,
    },
    /// Not decimal digits.
    #[error("{key} is not a decimal number")]
    NotANumber {
        /// Which key.
        key: &'static str,
    },
    /// Beyond its bound.
    #[error("{key} is larger than {max}")]
    TooLarge {
        /// Which key.
        key: &'static str,
        /// The largest value accepted.
        max: u32,
    },
    /// Not UTF-8.
    #[error("{key} is not text")]
    NotText {
        /// Which key.
        key: &'static str,
    },
    /// More bytes than any meaningful value has.
    #[error("{key} is longer than {max} bytes")]
    TooLong {
        /// Which key.
        key: &'static str,
        /// The longest accepted.
        max: usize,
    },
    /// None of the values that exist.
    #[error("{key} has no known value")]
    NotUnderstood {
        /// Which key.
        key: &'static str,
    },
    /// Asks for what this backend did not advertise.
    #[error("{key} asks for what was not offered")]
    NotOffered {
        /// Which key.
        key: &'static str,
    },
    /// The device of one guest names the frontend of another.
    #[error("frontend belongs to another domain")]
    ForeignFrontend,
    /// An empty drive.
    #[error("params is empty: no medium")]
    NoMedium,
}

impl From<Invalid> for Refusal {
    fn from(invalid: Invalid) -> Self {
        let errno = match invalid {
            Invalid::Missing { .. } => Self::ENOENT,
            Invalid::NoMedium => Self::ENOMEDIUM,
            _ => Self::EINVAL,
        };
        Self {
            errno,
            text: invalid.to_string(),
        }
    }
}
