//! Paths: validated once, then known to be good.
//!
//! The rules are those of `docs/misc/xenstore.txt`: ASCII letters, digits and `-/_@`; no doubled
//! slash, no trailing one. A path is absolute (`/local/domain/3`), relative to the home of the
//! domain that uses it (`device/vbd`), or special (`@releaseDomain/3`).

use std::fmt;
use std::str::FromStr;

use abi::DomId;
use abi::io::xs_wire::{ABS_PATH_MAX, REL_PATH_MAX};

/// A path that the protocol accepts. Cheap to compare, not cheap to clone: it owns its text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(Box<str>);

/// Why a text is not a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// Nothing at all.
    #[error("empty xenstore path")]
    Empty,
    /// Longer than 3072 bytes, or 2048 for one that is not absolute.
    #[error("xenstore path too long")]
    TooLong,
    /// A byte outside of the permitted set.
    #[error("forbidden character in a xenstore path")]
    Character,
    /// A doubled or trailing slash.
    #[error("doubled or trailing slash in a xenstore path")]
    Slash,
}

impl Path {
    /// Checks `text` and takes a copy of it.
    pub fn new(text: impl AsRef<str>) -> Result<Self, BadPath> {
        let text = text.as_ref();
        check(text)?;
        Ok(Self(text.into()))
    }

    /// `/`.
    pub fn root() -> Self {
        Self("/".into())
    }

    /// `/local/domain/<domid>`, to which that domain's relative paths are relative.
    pub fn home(domid: DomId) -> Self {
        Self(format!("/local/domain/{domid}").into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The node `name` below this one; `name` may have several segments, but no leading slash.
    pub fn join(&self, name: impl fmt::Display) -> Result<Self, BadPath> {
        let base = if self.is_root() { "" } else { &self.0 };
        Self::new(format!("{base}/{name}"))
    }

    /// The node above, or `None` for the root, a special path and a relative single name.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() || self.is_special() {
            return None;
        }
        match self.0.rsplit_once('/')? {
            ("", _) => Some(Self::root()),
            (parent, _) => Some(Self(parent.into())),
        }
    }

    /// The names along the path, outermost first; none for the root.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> + Clone {
        self.0.split('/').filter(|name| !name.is_empty())
    }

    /// Whether this is `/`.
    pub fn is_root(&self) -> bool {
        &*self.0 == "/"
    }

    /// Whether the path does not depend on who uses it and names a node.
    pub fn is_absolute(&self) -> bool {
        self.0.starts_with('/')
    }

    /// Whether this names an event of the server, such as `@releaseDomain`, and no node.
    pub fn is_special(&self) -> bool {
        self.0.starts_with('@')
    }

    /// The path as the server sees it when `domid` uses it.
    pub fn resolve(&self, domid: DomId) -> Self {
        if self.is_absolute() || self.is_special() {
            return self.clone();
        }
        Self(format!("/local/domain/{domid}/{}", self.0).into())
    }

    /// Whether `other` is this path or below it ("child" in `docs/misc/xenstore.txt`).
    pub fn contains(&self, other: &Self) -> bool {
        if self.is_root() {
            return other.is_absolute();
        }
        match other.0.strip_prefix(&*self.0) {
            Some(rest) => rest.is_empty() || rest.starts_with('/'),
            None => false,
        }
    }
}

fn check(text: &str) -> Result<(), BadPath> {
    let longest = if text.starts_with('/') {
        ABS_PATH_MAX
    } else {
        REL_PATH_MAX
    };
    if text.is_empty() {
        return Err(BadPath::Empty);
    }
    if text.len() > longest {
        return Err(BadPath::TooLong);
    }
    if !text.bytes().all(permitted) {
        return Err(BadPath::Character);
    }
    if text != "/" && (text.ends_with('/') || text.contains("//")) {
        return Err(BadPath::Slash);
    }
    Ok(())
}

fn permitted(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-/_@".contains(&byte)
}

impl FromStr for Path {
    type Err = BadPath;

    fn from_str(text: &str) -> Result<Self, BadPath> {
        Self::new(text)
    }
}

impl TryFrom<&str> for Path {
    type Error = BadPath;

    fn try_from(text: &str) -> Result<Self, BadPath> {
        Self::new(text)
    }
}

impl AsRef<str> for Path {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
