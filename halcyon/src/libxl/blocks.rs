//! Disks in the words of `query-block` and `query-blockstats`, as libxenstat reads them.
//!
//! libxenstat asks for the counters, then, for each device, which image it has, and looks in
//! xenstore for the disk whose `params`, from its first slash on, is that image. Knows no device;
//! disks come as values. Invariant: a disk has the same name in both answers.

use blkback::{Counts, Device, Mode};
use serde_json::{Value, json};

/// What is told of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// `vbd-51712`: its number in xenstore.
    pub name: String,
    /// Its `params` in xenstore.
    pub params: String,
    /// Whether the guest may only read it.
    pub is_read_only: bool,
    /// Whether its medium can be taken out.
    pub is_removable: bool,
    /// What it served.
    pub counts: Counts,
}

impl Block {
    /// What there is to tell of a device; nothing before it was described to us.
    #[must_use]
    pub(super) fn of(device: &Device) -> Option<Self> {
        let description = device.description()?;
        Some(Self {
            name: format!("vbd-{}", device.id().devid),
            params: description.params.clone(),
            is_read_only: description.mode == Mode::ReadOnly,
            is_removable: description.removable,
            counts: device.counts(),
        })
    }

    /// The image, in libxenstat's reading of `params`.
    fn file(&self) -> &str {
        let slash = self.params.find('/').unwrap_or(0);
        self.params.get(slash..).unwrap_or(&self.params)
    }
}

/// The answer to `query-block`.
#[must_use]
pub(super) fn query_block(blocks: &[Block]) -> Value {
    let entry = |block: &Block| {
        json!({
            "device": block.name,
            "type": "unknown",
            "locked": false,
            "removable": block.is_removable,
            "inserted": {
                "file": block.file(),
                "drv": "raw",
                "ro": block.is_read_only,
            },
        })
    };
    blocks.iter().map(entry).collect()
}

/// The answer to `query-blockstats`.
#[must_use]
pub(super) fn query_blockstats(blocks: &[Block]) -> Value {
    let entry = |block: &Block| {
        let counts = &block.counts;
        json!({
            "device": block.name,
            "stats": {
                "rd_operations": counts.reads,
                "wr_operations": counts.writes,
                "flush_operations": counts.flushes,
                "rd_bytes": counts.read_bytes,
                "wr_bytes": counts.write_bytes,
                "rd_total_time_ns": counts.read_ns,
                "wr_total_time_ns": counts.write_ns,
                "flush_total_time_ns": counts.flush_ns,
            },
        })
    };
    blocks.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(params: &str) -> Block {
        Block {
            name: "vbd-51712".into(),
            params: params.into(),
            is_read_only: false,
            is_removable: false,
            counts: Counts {
                reads: 2,
                read_bytes: 8192,
                writes: 1,
                write_bytes: 512,
                ..Counts::default()
            },
        }
    }

    #[test]
    fn the_image_is_what_params_says_from_its_first_slash_on() {
        let file = |params| query_block(&[block(params)])[0]["inserted"]["file"].clone();
        assert_eq!(file("aio:/img/a:b.img"), "/img/a:b.img");
        assert_eq!(file("/dev/vg/a"), "/dev/vg/a");
        assert_eq!(file("a.img"), "a.img");
    }

    #[test]
    fn counters_and_image_of_a_disk_have_one_name() {
        let blocks = [block("aio:/a")];
        let stats = &query_blockstats(&blocks)[0];
        assert_eq!(stats["device"], query_block(&blocks)[0]["device"]);
        assert_eq!(stats["stats"]["rd_operations"], 2);
        assert_eq!(stats["stats"]["wr_bytes"], 512);
    }
}
