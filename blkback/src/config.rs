//! Store keys to typed values, or a refusal that names the key.
//!
//! Everything below the frontend's directory was written by the guest, so each number has a
//! bound and each text a length. This file knows nothing of connections or states, and its
//! refusals never repeat what the guest wrote: they end up in logs and in other nodes.
//!
//! Invariant: a value that left this file is within the limits of the table in the crate root.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

use abi::io::blkif::{Protocol, keys, vdisk};
use abi::{DomId, GrantRef, Port};
use disk::Geometry;
use xenstore::Path;

use crate::report::Refusal;

pub use crate::values::{Invalid, Values};

/// Longest text accepted from a frontend, in bytes. The one it writes is `protocol`.
pub const FRONTEND_TEXT_MAX: usize = 63;

/// Longest path of a directory, in bytes; leaves room for the names below it (xs_wire.h permits
/// 3072 in all).
pub const DIRECTORY_MAX: usize = 2048;

/// Highest event channel port that exists: the FIFO ABI has 2^17 (`event_channel.h`).
pub const PORT_MAX: u32 = (1 << 17) - 1;

/// Backend: "1" permits an image file to have sectors larger than 512 bytes, where its storage needs
/// them. A node of ours, for toolstacks.
pub const LARGE_SECTORS: &str = "large-sectors";

/// Nodes of the backend's directory that describe the device: the state, without which there is none
/// yet, and what the toolstack writes once, before it asks for the device.
pub const BACKEND_KEYS: [&str; 9] = [
    keys::STATE,
    keys::FRONTEND,
    keys::FRONTEND_ID,
    keys::PARAMS,
    keys::MODE,
    keys::DEVICE_TYPE,
    keys::REMOVABLE,
    keys::SCRIPT,
    LARGE_SECTORS,
];

/// Nodes of the frontend's directory that offer a ring.
pub const FRONTEND_KEYS: [&str; 6] = [
    keys::RING_REF,
    keys::EVENT_CHANNEL,
    keys::PROTOCOL,
    keys::RING_PAGE_ORDER,
    keys::NUM_RING_PAGES,
    keys::MULTI_QUEUE_NUM_QUEUES,
];

/// Whether the guest may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Writes are refused.
    ReadOnly,
    /// Writes are served.
    ReadWrite,
}

/// The device as the toolstack described it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// What to open, in the toolstack's words: a path, or `format:path`.
    pub params: String,
    /// Whether the guest may write.
    pub mode: Mode,
    /// Whether it is presented as a CD-ROM.
    pub cdrom: bool,
    /// Whether its medium can be taken out.
    pub removable: bool,
    /// Whether a file may have large sectors.
    pub large_sectors: bool,
}

impl Description {
    /// Reads [`BACKEND_KEYS`].
    pub fn parse(values: &Values) -> Result<Self, Invalid> {
        let params = values.text(keys::PARAMS)?;
        if params.is_empty() {
            return Err(Invalid::NoMedium);
        }
        Ok(Self {
            params: params.to_owned(),
            mode: mode(values.text(keys::MODE)?)?,
            cdrom: values.get(keys::DEVICE_TYPE) == Some(b"cdrom"),
            removable: values.get(keys::REMOVABLE) == Some(b"1"),
            large_sectors: values.get(LARGE_SECTORS) == Some(b"1"),
        })
    }

    /// Whether a guest may be given a disk of this shape. Those who misread large sectors do so
    /// without an error, some with writes at eight times their place (FreeBSD), and a file was most
    /// likely made with small ones; so nobody gets them because a file was moved.
    pub fn admits(&self, geometry: &Geometry) -> Result<(), Refusal> {
        let bytes = geometry.sector_size_bytes;
        if bytes <= 512 || !geometry.is_file || self.large_sectors {
            return Ok(());
        }
        let params = &self.params;
        let text = format!(
            "{params}: its storage needs {bytes}-byte sectors, and images are made for 512-byte \
             ones; move it, or write {LARGE_SECTORS} = 1 beside params"
        );
        Err(Refusal::saying(Refusal::EINVAL, &text))
    }

    /// The `info` bits of `io/blkif.h`; `read_only` is the disk's own word, which may be stricter
    /// than the mode.
    pub fn info(&self, read_only: bool) -> u32 {
        let bit = |set: bool, bit: u32| if set { bit } else { 0 };
        bit(self.cdrom, vdisk::CDROM)
            | bit(self.removable, vdisk::REMOVABLE)
            | bit(read_only || self.mode == Mode::ReadOnly, vdisk::READONLY)
    }
}

/// The frontend's directory; it must be one of `domid`, to whom this device belongs.
pub fn frontend(values: &Values, domid: DomId) -> Result<Path, Invalid> {
    let owner = values.number(keys::FRONTEND_ID, u32::from(DomId::FIRST_RESERVED.0))?;
    let key = keys::FRONTEND;
    let text = values.text(key)?;
    if text.len() > DIRECTORY_MAX {
        return Err(Invalid::TooLong {
            key,
            max: DIRECTORY_MAX,
        });
    }
    let path = Path::new(text).map_err(|_| Invalid::NotUnderstood { key })?;
    if owner != u32::from(domid.0) || !Path::home(domid).contains(&path) {
        return Err(Invalid::ForeignFrontend);
    }
    Ok(path)
}

/// A `w` anywhere permits writing, as it does for xen-blkback (`w!` is an old way to say "even if
/// it is in use elsewhere"); what names neither right is refused instead of guessed.
fn mode(text: &str) -> Result<Mode, Invalid> {
    if text.contains('w') {
        return Ok(Mode::ReadWrite);
    }
    if text.contains('r') {
        return Ok(Mode::ReadOnly);
    }
    Err(Invalid::NotUnderstood { key: keys::MODE })
}

/// The ring that a frontend offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The grant of the ring's only page.
    pub ring_ref: GrantRef,
    /// The guest's end of the event channel.
    pub event_channel: Port,
    /// Which layout its slots have.
    pub protocol: Protocol,
}

impl Offer {
    /// Reads [`FRONTEND_KEYS`].
    pub fn parse(values: &Values) -> Result<Self, Invalid> {
        values.only(keys::RING_PAGE_ORDER, 0)?;
        values.only(keys::NUM_RING_PAGES, 1)?;
        values.only(keys::MULTI_QUEUE_NUM_QUEUES, 1)?;
        let event_channel = values.number(keys::EVENT_CHANNEL, PORT_MAX)?;
        if event_channel == 0 {
            return Err(Invalid::NotUnderstood {
                key: keys::EVENT_CHANNEL,
            });
        }
        Ok(Self {
            ring_ref: GrantRef(values.number(keys::RING_REF, u32::MAX)?),
            event_channel: Port(event_channel),
            protocol: protocol(values)?,
        })
    }
}

/// A frontend that writes no `protocol` speaks the native one, which is x86_64 here; tapback takes
/// it for x86_32 (`io/blkif.h`, `protocol`).
fn protocol(values: &Values) -> Result<Protocol, Invalid> {
    let key = keys::PROTOCOL;
    if values.get(key).is_none() {
        return Ok(Protocol::X86_64);
    }
    let name = values.required(key)?;
    if name.len() > FRONTEND_TEXT_MAX {
        return Err(Invalid::TooLong {
            key,
            max: FRONTEND_TEXT_MAX,
        });
    }
    Protocol::parse(name).ok_or(Invalid::NotUnderstood { key })
}
