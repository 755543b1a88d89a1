//! What a backend says of its disk, and how answers of xenstore read.

use std::ops::RangeInclusive;

use abi::Sector;
use abi::io::blkif::{keys, vdisk};
use abi::io::xenbus::XenbusState;
use xenstore::{Batch, Reply, Step, StoreError};

use super::{Blkfront, Kernel, Phase, Question};

/// The answers to a batch.
pub(super) type Replies = [Result<Reply, StoreError>];

/// Logical sectors that fit a page, of which a request is made.
const SECTOR_SIZES: RangeInclusive<u32> = 512..=4096;

/// What a backend says of its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Properties {
    /// Capacity.
    pub sectors: Sector,
    /// Logical sector size in bytes.
    pub sector_size_bytes: u32,
    /// Physical sector size in bytes.
    pub physical_sector_size_bytes: u32,
    /// Whether FLUSH_DISKCACHE is understood.
    pub flush: bool,
    /// Whether writes are refused.
    pub read_only: bool,
}

impl Blkfront {
    pub(super) fn read_properties(&mut self, kernel: &mut Kernel<'_>) {
        let Some(backend) = &self.backend else { return };
        let nodes = [
            keys::SECTORS,
            keys::SECTOR_SIZE,
            keys::PHYSICAL_SECTOR_SIZE,
            keys::FEATURE_FLUSH_CACHE,
            keys::INFO,
        ];
        let reads = nodes
            .iter()
            .filter_map(|key| backend.path.join(key).ok())
            .map(Step::Read);
        let batch = Batch::new(reads.collect());
        self.ask(kernel, Question::Properties, batch);
    }

    pub(super) fn found_properties(&mut self, kernel: &mut Kernel<'_>, replies: &Replies) {
        let small = |index| number(replies, index).and_then(|value| u32::try_from(value).ok());
        let (Some(sectors), Some(sector_size_bytes)) = (number(replies, 0), small(1)) else {
            return self.fail("a backend without sectors or sector-size".into());
        };
        if !SECTOR_SIZES.contains(&sector_size_bytes) || !sector_size_bytes.is_power_of_two() {
            return self.fail(format!(
                "a backend with sectors of {sector_size_bytes} bytes"
            ));
        }
        self.properties = Some(Properties {
            sectors: Sector(sectors),
            sector_size_bytes,
            physical_sector_size_bytes: small(2).unwrap_or(sector_size_bytes),
            flush: small(3) == Some(1),
            read_only: small(4).unwrap_or(0) & vdisk::READONLY != 0,
        });
        if self.phase == Phase::Initialised {
            self.phase = Phase::Connected;
            self.switch(kernel, XenbusState::CONNECTED);
        }
    }
}

pub(super) fn value(replies: &Replies, index: usize) -> Option<&[u8]> {
    replies.get(index)?.as_ref().ok()?.value()
}

pub(super) fn text(replies: &Replies, index: usize) -> Option<&str> {
    std::str::from_utf8(value(replies, index)?).ok()
}

pub(super) fn number(replies: &Replies, index: usize) -> Option<u64> {
    text(replies, index)?.parse().ok()
}
