//! Raw disks on the running kernel.

use std::fs;
use std::path::Path;

use disk::conformance::Rig;
use disk::{Prepared, Raw};
use reactor::live::{Config, Uring};
use reactor::{Completion, Nanos, Reactor, Sleep, Slot, Submission, Token};

use super::OWNER;
use super::scratch::named_raw;

/// A raw disk of the image at `path`, on a reactor of the calling thread.
pub(crate) fn rig(path: &Path, read_only: bool) -> Rig {
    let image = named_raw(path, read_only).expect("the image is served");
    let mut reactor = Uring::new(Config::default()).expect("a ring");
    let geometry = image.geometry;
    let slot = add(&mut reactor, image);
    Rig::new(
        Box::new(Raw::new(slot, geometry, OWNER)),
        Box::new(Watched(reactor)),
    )
}

fn add(reactor: &mut Uring, image: Prepared) -> Slot {
    let added = match image.cached {
        true => reactor.add_cached_image(image.fd),
        false => reactor.add_image(image.fd),
    };
    added.expect("room for one file")
}

/// A reactor that looks for io-wq whenever a disk closes: a worker of the kernel's lives five
/// seconds after its last job, so one that ran is still there, as long as its ring is.
struct Watched(Uring);

impl Watched {
    /// The kernel's io_uring workers among the tasks of this process: there must be none.
    fn io_wq_workers() -> Vec<String> {
        let tasks = fs::read_dir("/proc/self/task")
            .expect("our tasks")
            .flatten();
        let name = |task: fs::DirEntry| fs::read_to_string(task.path().join("comm"));
        let names = tasks.map(|task| name(task).unwrap_or_default());
        names.filter(|name| name.starts_with("iou-wrk")).collect()
    }
}

impl Reactor for Watched {
    fn now(&self) -> Nanos {
        self.0.now()
    }

    fn submit(&mut self, submission: Submission) {
        self.0.submit(submission);
    }

    fn set_deadline(&mut self, token: Token, at: Nanos) {
        self.0.set_deadline(token, at);
    }

    fn cancel_deadline(&mut self, token: Token) {
        self.0.cancel_deadline(token);
    }

    fn wait(&mut self, sleep: Sleep, completions: &mut Vec<Completion>) {
        self.0.wait(sleep, completions);
    }

    fn close(&mut self, slot: Slot) {
        assert_eq!(Self::io_wq_workers(), [""; 0], "io-wq never runs");
        self.0.close(slot);
    }

    fn cool(&mut self) {
        self.0.cool();
    }

    fn is_warm(&self) -> bool {
        self.0.is_warm()
    }

    fn system_calls(&self) -> u64 {
        self.0.system_calls()
    }
}
