//! The devices of one guest and the small tables that lead to them: by owner number and by event
//! port.
//!
//! It drives nothing. Invariant: an owner number belongs to one device at a time, and is given to
//! another only after the first is gone, and with it the image that was being opened for it.

use abi::Port;
use blkback::Device;

use super::td3;

/// The lowest owner number of a device; below are the loop itself and the broker.
pub const OWNER_FIRST: u16 = 16;

/// Devices per guest: more than xl lets a configuration have, and what keeps a mistaken or hostile
/// toolstack from making the process grow without bound.
pub const DEVICES_MAX: usize = 256;

/// A device and whether it has work.
pub struct Entry {
    /// The number that its tokens and watches carry.
    pub owner: u16,
    /// The device.
    pub device: Device,
    /// Whether its next turn may find something to do.
    pub runnable: bool,
    /// Its image is being opened.
    pub opening: bool,
    /// Something happened to its nodes when it had come to its end: they may be those of a new
    /// device in its place.
    pub succeeded: bool,
    /// Where others read its counters, if they do.
    pub td3: Option<td3::File>,
}

/// See the head of this file.
#[derive(Default)]
pub struct Devices {
    /// Position + [`OWNER_FIRST`] is the owner number; a hole is free for the next device.
    entries: Vec<Option<Entry>>,
    /// Owners that are gone while their image is still being opened.
    abandoned: Vec<u16>,
}

impl Devices {
    /// The owner number that the next device gets, if there is room for one.
    #[must_use]
    pub fn next_owner(&self) -> Option<u16> {
        let owners = (OWNER_FIRST..).take(DEVICES_MAX).zip(0..);
        let mut free = owners.filter(|(owner, at)| {
            let hole = self.entries.get::<usize>(*at).is_none_or(Option::is_none);
            hole && !self.abandoned.contains(owner)
        });
        free.next().map(|(owner, _)| owner)
    }

    /// The image that was being opened for `owner` is there, or is not to be had. Whether the
    /// device still is.
    pub fn image_came(&mut self, owner: u16) -> bool {
        self.abandoned.retain(|other| *other != owner);
        match self.by_owner(owner) {
            Some(entry) => {
                entry.opening = false;
                true
            }
            None => false,
        }
    }

    /// Adds a device under the owner number that [`Devices::next_owner`] gave.
    pub fn add(&mut self, owner: u16, device: Device) {
        let at = usize::from(owner - OWNER_FIRST);
        if at >= self.entries.len() {
            self.entries.resize_with(at + 1, || None);
        }
        self.entries[at] = Some(Entry {
            owner,
            device,
            runnable: true,
            opening: false,
            succeeded: false,
            td3: None,
        });
    }

    /// The device of an owner number.
    pub fn by_owner(&mut self, owner: u16) -> Option<&mut Entry> {
        let at = usize::from(owner.checked_sub(OWNER_FIRST)?);
        self.entries.get_mut(at)?.as_mut()
    }

    /// The device bound to a port.
    pub fn by_port(&mut self, port: Port) -> Option<&mut Entry> {
        self.iter_mut()
            .find(|entry| entry.device.port() == Some(port))
    }

    /// Every device.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.iter_mut().flatten()
    }

    /// Every device.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().flatten()
    }

    /// The owner number of every device.
    #[must_use]
    pub fn owners(&self) -> Vec<u16> {
        self.iter().map(|entry| entry.owner).collect()
    }

    /// How many devices there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes out a device that has nothing left to do or to hold.
    pub fn take_finished(&mut self) -> Option<Entry> {
        let finished = |entry: &mut Entry| entry.device.is_finished();
        let gone = self
            .entries
            .iter_mut()
            .find_map(|entry| entry.take_if(finished))?;
        if gone.opening {
            self.abandoned.push(gone.owner);
        }
        Some(gone)
    }
}
