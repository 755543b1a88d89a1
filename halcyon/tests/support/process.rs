//! The process of one guest, as a world steps it: everything of `halcyon vm` but the kernel.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

use blkback::{LockBy, Medium, Refusal};
use disk::raw::Raw;
use disk::{Disk, Geometry};
use evtchn::EventChannels;
use halcyon::broker::Image;
use halcyon::cli::args::KindArg;
use halcyon::vm::streams::{By, Slots, Streams};
use halcyon::vm::{Connection, Ended, Guest, Images, Opened, Turn, Vm};
use reactor::Completion;
use reactor::world::World;
use sim::world::{DriveSlots, Process, Progress, Start};

/// What a test puts around parts of a process; as they are, where it says nothing.
pub(crate) trait Around {
    /// Around its event channels.
    fn events(&self, inner: Box<dyn EventChannels>) -> Box<dyn EventChannels> {
        inner
    }

    /// Whether the image of these `params` is not opened yet.
    fn is_late(&self, _params: &str) -> bool {
        false
    }

    /// Whether the lock of this image is another domain's until the frontend is there.
    fn is_promised(&self, _params: &str) -> bool {
        false
    }

    /// Who has asked it to stop since its last turn.
    fn stops(&self) -> Vec<By> {
        Vec::new()
    }

    /// Around each of its disks.
    fn disk(&self, inner: Box<dyn Disk>) -> Box<dyn Disk> {
        inner
    }
}

/// Starts the process of a guest.
pub(crate) fn start(start: Start<'_>, around: impl Around + 'static) -> Box<dyn Process> {
    let Start {
        domid,
        mut platform,
        files,
        events,
        store,
        drives,
    } = start;
    platform.events = around.events(platform.events);
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
    let answers = Rc::new(Cell::new(false));
    let around = Rc::new(around);
    let images = Drives {
        drives,
        around: Rc::clone(&around),
        asked: VecDeque::new(),
        answers: Rc::clone(&answers),
    };
    let page = telemetry::Page::anonymous(8).expect("memory for counters");
    let mut vm = Vm::new(guest, platform, connection, images, page, || {});
    vm.start(files);
    Box::new(Stepped {
        vm,
        answers,
        around,
    })
}

struct Stepped<A: Around> {
    vm: Vm<World, Drives<A>>,
    answers: Rc<Cell<bool>>,
    around: Rc<A>,
}

impl<A: Around> Stepped<A> {
    fn step(
        &mut self,
        files: &mut World,
        completions: &mut Vec<Completion>,
    ) -> Result<Turn, Ended> {
        for by in self.around.stops() {
            match by {
                By::Toolstack => self.vm.stop(files),
                By::Hand => self.vm.stop_by_hand(files)?,
            }
        }
        self.vm.turn(files, completions)
    }
}

impl<A: Around> Process for Stepped<A> {
    fn turn(&mut self, files: &mut World, completions: &mut Vec<Completion>) -> Progress {
        match self.step(files, completions) {
            Ok(Turn::Again) => Progress::Again,
            // The bell of a broker wakes its process.
            Ok(Turn::Idle) if self.answers.get() => Progress::Again,
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
struct Drives<A: Around> {
    drives: DriveSlots,
    around: Rc<A>,
    asked: VecDeque<Image>,
    /// An image was asked for and can be had.
    answers: Rc<Cell<bool>>,
}

impl<A: Around> Drives<A> {
    fn medium(&self, files: &mut World, image: &Image) -> Result<Medium, Refusal> {
        let number = image.params.strip_prefix("raw:/drive/");
        let number = number.and_then(|text| text.parse().ok());
        let medium = number.and_then(|number| {
            if image.lock_by == LockBy::Connect && self.around.is_promised(&image.params) {
                let sectors = self.drives.sectors(number)?;
                return Some(Medium::Promised(Geometry::of_sectors(sectors)));
            }
            let (slot, sectors) = self.drives.open(files, number)?;
            let raw = Raw::new(slot, Geometry::of_sectors(sectors), image.owner);
            Some(Medium::Disk(self.around.disk(Box::new(raw))))
        });
        medium.ok_or_else(|| Refusal {
            errno: Refusal::EINVAL,
            text: "no such drive".into(),
        })
    }
}

impl<A: Around> Images<World> for Drives<A> {
    fn open(&mut self, _: &mut World, image: Image) {
        let is_late = self.around.is_late(&image.params);
        self.answers.set(self.answers.get() || !is_late);
        self.asked.push_back(image);
    }

    fn complete(&mut self, _: &mut World, _: Completion) {}

    fn opened(&mut self, files: &mut World) -> Option<Opened> {
        let is_here = |image: &Image| !self.around.is_late(&image.params);
        let at = self.asked.iter().position(is_here);
        self.answers.set(at.is_some());
        let at = at?;
        let image = self.asked.remove(at)?;
        let medium = self.medium(files, &image);
        Some((image.owner, medium))
    }

    fn pending(&self) -> usize {
        self.asked.len()
    }
}
