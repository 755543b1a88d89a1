//! What a toolstack calls an image: the text of `params`, taken apart.
//!
//! It opens nothing and looks at no file; whether the path leads anywhere is for the one who
//! opens it to find out.
//! Invariant: no text makes it panic, and no refusal it prints spans a second line.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Longest text accepted, in bytes: a path of PATH_MAX and a format before it.
pub const SPEC_MAX_BYTES: usize = 4096 + 16;

/// How much of a refused text a message repeats, in bytes.
const QUOTED_MAX_BYTES: usize = 64;

/// How an image's bytes become sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Nobody said. Served as raw, unless it looks like something else.
    Unnamed,
    /// `raw:` was said: served as raw, whatever it looks like.
    Raw,
}

/// An image, as a toolstack or a command line names it.
///
/// `/path` and `aio:/path` name no format: libxl writes `aio:` for every raw image, also when its
/// user chose nothing. `raw:/path` names one, and so does `aio:raw:/path`, which libxl makes of
/// `target=raw:/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSpec {
    /// The format that was named.
    pub format: Format,
    /// Where it lies; absolute.
    pub path: PathBuf,
}

/// Why a text names no image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// There is no text, or no path in it: an empty drive.
    #[error("no image is named")]
    Empty,
    /// More than [`SPEC_MAX_BYTES`].
    #[error("image name of {0} bytes is too long")]
    Long(usize),
    /// A NUL byte, which no path can have.
    #[error("image name has a NUL byte in it")]
    Nul,
    /// A format that is not served.
    #[error("format {0} is not supported; supported: raw")]
    Format(Quoted),
    /// A path that depends on the current directory.
    #[error("image path {0} is not absolute")]
    Relative(Quoted),
}

impl ImageSpec {
    /// Takes `[FORMAT:]/PATH` apart.
    pub fn parse(params: &[u8]) -> Result<Self, SpecError> {
        if params.len() > SPEC_MAX_BYTES {
            return Err(SpecError::Long(params.len()));
        }
        if params.contains(&0) {
            return Err(SpecError::Nul);
        }
        let (format, path) = split(params)?;
        match path.first() {
            None => Err(SpecError::Empty),
            Some(b'/') => Ok(Self {
                format,
                path: PathBuf::from(OsStr::from_bytes(path)),
            }),
            Some(_) => Err(SpecError::Relative(Quoted::new(path))),
        }
    }
}

/// Tells the format from the path. A colon after a slash is part of a path, as in
/// `/dev/disk/by-path/pci-0000:00:1f.2`.
fn split(params: &[u8]) -> Result<(Format, &[u8]), SpecError> {
    let mut parts = params.splitn(2, |&byte| byte == b':');
    let name = parts.next().unwrap_or_default();
    match (name, parts.next()) {
        (b"raw", Some(path)) => Ok((Format::Raw, path)),
        (b"aio", Some(path)) => Ok(path
            .strip_prefix(b"raw:")
            .map_or((Format::Unnamed, path), |path| (Format::Raw, path))),
        (name, Some(_)) if !name.contains(&b'/') => Err(SpecError::Format(Quoted::new(name))),
        _ => Ok((Format::Unnamed, params)),
    }
}

/// Text from outside, shortened and escaped so that it fits into one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quoted(String);

impl Quoted {
    fn new(bytes: &[u8]) -> Self {
        let shown = bytes.get(..QUOTED_MAX_BYTES).unwrap_or(bytes);
        let mark = if shown.len() < bytes.len() { "..." } else { "" };
        Self(format!("\"{}{mark}\"", shown.escape_ascii()))
    }
}

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
