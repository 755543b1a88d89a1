//! Permissions of a node: a list whose first entry names the owner and what everybody else may
//! do, and whose further entries are exceptions for single domains.

use std::fmt;
use std::str::FromStr;

use abi::DomId;

use crate::StoreError;

/// What a domain may do with a node: the letters n, r, w, b.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// `n`: nothing.
    None,
    /// `r`: read it and list its children.
    Read,
    /// `w`: write it and create children.
    Write,
    /// `b`: both.
    Both,
}

impl Access {
    /// Whether reading is included.
    pub fn reads(self) -> bool {
        matches!(self, Self::Read | Self::Both)
    }

    /// Whether writing is included.
    pub fn writes(self) -> bool {
        matches!(self, Self::Write | Self::Both)
    }

    fn letter(self) -> char {
        match self {
            Self::None => 'n',
            Self::Read => 'r',
            Self::Write => 'w',
            Self::Both => 'b',
        }
    }
}

/// One entry of a permission list, written `r7`: domain 7 may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Perm {
    /// Whom the entry is about; in a list's first entry, the owner.
    pub domid: DomId,
    /// What it grants; in a list's first entry, to everybody that no other entry names.
    pub access: Access,
}

impl Perm {
    /// The entry for `domid`.
    pub fn new(domid: DomId, access: Access) -> Self {
        Self { domid, access }
    }
}

impl fmt::Display for Perm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.access.letter(), self.domid)
    }
}

impl FromStr for Perm {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        let mut letters = text.chars();
        let access = match letters.next() {
            Some('n') => Access::None,
            Some('r') => Access::Read,
            Some('w') => Access::Write,
            Some('b') => Access::Both,
            _ => return Err(StoreError::Invalid),
        };
        let domid = crate::wire::number(letters.as_str()).ok_or(StoreError::Invalid)?;
        Ok(Self::new(DomId(domid), access))
    }
}
