//! The process of one guest, as a world steps it: everything of `halcyon vm` but the kernel.

use std::collections::VecDeque;

use blkback::Refusal;
use disk::raw::Raw;
use disk::{Disk, Geometry};
use halcyon::broker::Image;
use halcyon::cli::args::KindArg;
use halcyon::vm::streams::{Slots, Streams};
use halcyon::vm::{Connection, Guest, Images, Opened, Turn, Vm};
use reactor::Completion;
use reactor::world::World;
use sim::world::{DriveSlots, Process, Progress, Start};

use crate::bugs::Bug;

/// Starts the process of a guest, with a bug planted around it or none.
pub(crate) fn start(start: Start<'_>, bug: Option<Bug>) -> Box<dyn Process> {
    let Start {
        domid,
        mut platform,
        files,
        events,
        store,
        drives,
    } = start;
    if let Some(bug) = bug {
        platform.events = bug.around_events(platform.events);
    }
    let slots = Slots {
        events,
        store,
        signals: None,
    };
    let mut streams = Streams::new(slots).expect("memory for streams");
    streams.start(files);
    let connection = Connection {
        store: xenstore::Client::new(),
        streams,
    };
    let guest = Guest {
        domid,
        kinds: vec![KindArg::Vbd],
    };
    let images = Drives {
        drives,
        bug,
        opened: VecDeque::new(),
    };
    let page = telemetry::Page::anonymous(8).expect("memory for counters");
    let mut vm = Vm::new(guest, platform, connection, images, page, || {});
    vm.start(files);
    Box::new(Stepped { vm })
}

struct Stepped {
    vm: Vm<World, Drives>,
}

impl Process for Stepped {
    fn turn(&mut self, files: &mut World, completions: &mut Vec<Completion>) -> Progress {
        match self.vm.turn(files, completions) {
            Ok(Turn::Again) => Progress::Again,
            Ok(Turn::Idle) => Progress::Idle,
            Ok(Turn::Done) => {
                self.vm.finish(files);
                match files.open_files() {
                    0 => Progress::Done,
                    open => Progress::Failed(format!("{open} files are still open")),
                }
            }
            Err(ended) => Progress::Failed(ended.to_string()),
        }
    }
}

/// Opens the drives of the world where the broker would open images.
struct Drives {
    drives: DriveSlots,
    bug: Option<Bug>,
    opened: VecDeque<Opened>,
}

impl Drives {
    fn disk(&self, files: &mut World, image: &Image) -> Result<Box<dyn Disk>, Refusal> {
        let number = image
            .params
            .strip_prefix("raw:/drive/")
            .and_then(|text| text.parse().ok());
        let opened = number.and_then(|number| self.drives.open(files, number));
        let Some((slot, sectors)) = opened else {
            return Err(Refusal {
                errno: Refusal::EINVAL,
                text: "no such drive".into(),
            });
        };
        let raw = Box::new(Raw::new(slot, Geometry::of_sectors(sectors), image.owner));
        Ok(match self.bug {
            Some(bug) => bug.around_disk(raw),
            None => raw,
        })
    }
}

impl Images<World> for Drives {
    fn open(&mut self, files: &mut World, image: Image) {
        let disk = self.disk(files, &image);
        self.opened.push_back((image.owner, disk));
    }

    fn complete(&mut self, _: &mut World, _: Completion) {}

    fn opened(&mut self, _: &mut World) -> Option<Opened> {
        self.opened.pop_front()
    }

    fn pending(&self) -> usize {
        self.opened.len()
    }
}
