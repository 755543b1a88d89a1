//! Devices whose nodes go and come again while the process is in the middle of something: the new
//! device is found, and gets its own image and no other. And a process that is told to stop
//! meanwhile, more than once.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use abi::DomId;
use halcyon::vm::streams::By;
use sim::live::NewDomain;
use sim::toolstack::{Disk, Domain};
use sim::world::process::{Possible, Progress, Running};
use sim::world::{Drive, Host, Rng, Trace};
use xenstore::client::Client;
use xenstore::server::ConnId;
use xenstore::{Batch, Event, Path, Step};

#[path = "../support/process.rs"]
mod process;

/// More steps than a device takes to come or to go, so that every moment of it is met.
const MOMENTS: usize = 80;

/// The first drive takes its time to open while this says so.
#[derive(Clone, Default)]
struct Late(Rc<Cell<bool>>, Rc<RefCell<Vec<By>>>);

impl process::Around for Late {
    fn is_late(&self, params: &str) -> bool {
        self.0.get() && params == "raw:/drive/0"
    }

    fn stops(&self) -> Vec<By> {
        self.1.take()
    }
}

/// A process and the toolstack that gives it devices.
struct Town {
    host: Host,
    domid: DomId,
    process: Running,
    late: Late,
    tool: Client,
    conn: ConnId,
    rng: Rng,
    trace: Trace,
}

impl Town {
    fn new() -> Self {
        let (host, late) = (Host::new(), Late::default());
        let (name, uuid) = ("guest".to_owned(), "00000000-0000-0000-0000-000000000001");
        let new = NewDomain {
            name: name.clone(),
            uuid: uuid.to_owned(),
            memory_bytes: 1 << 20,
        };
        let domid = host.create(&new).expect("a domain");
        let drives = [1, 2].map(|sectors| Drive::new(vec![0; sectors * abi::SECTOR_SIZE]));
        let around = late.clone();
        let spawn = move |start: sim::world::Start<'_>| process::start(start, around.clone());
        let process = Running::start(&host, domid, &drives, &spawn).expect("a process");
        let mut town = Self {
            conn: host.store(DomId::DOM0),
            host,
            domid,
            process,
            late,
            tool: Client::new(),
            rng: Rng::new(1),
            trace: Trace::new(false),
        };
        let domain = Domain {
            domid,
            name,
            uuid: uuid.to_owned(),
            memory_kib: 1 << 10,
        };
        town.write(domain.create().expect("short paths"));
        town
    }

    fn disk(&self, devid: u32, drive: usize) -> Disk {
        Disk {
            domid: self.domid,
            devid,
            dev: "xvd".into(),
            kind: "vbd".into(),
            params: format!("raw:/drive/{drive}"),
            writable: true,
        }
    }

    fn attach(&mut self, disk: &Disk) {
        self.write(disk.attach().expect("short paths"));
        self.write(disk.script_done().expect("short paths"));
    }

    fn remove(&mut self, disk: &Disk) {
        self.write(disk.remove().expect("short paths"));
    }

    fn write(&mut self, batch: Batch) -> Option<Event> {
        self.tool.submit(batch);
        while !self.tool.outgoing().is_empty() {
            let bytes = self.tool.outgoing().to_vec();
            self.host.store_input(self.conn, &bytes);
            self.tool.sent(bytes.len());
            let heard = self.host.store_output(self.conn);
            self.tool.incoming(&heard).expect("a sane server");
        }
        self.tool.next_event()
    }

    fn state(&mut self, disk: &Disk) -> Option<String> {
        let path = Path::new(format!("{}/state", disk.backend())).expect("a short path");
        let read = self.write(Batch::new(vec![Step::Read(path)]));
        let Some(Event::Replies { mut replies, .. }) = read else {
            panic!("instead of a reply: {read:?}");
        };
        let value = replies.remove(0).ok()?.value()?.to_vec();
        Some(String::from_utf8(value).expect("text"))
    }

    /// Tells the process to stop, so often and by whom.
    fn stop(&mut self, by: &[By]) -> Progress {
        self.late.1.borrow_mut().extend(by);
        self.process.turn(&mut self.trace)
    }

    /// Steps the process, so many times at most.
    fn run(&mut self, steps: usize) {
        let taken = (0..steps).take_while(|_| self.step()).count();
        assert!(taken < 10_000, "the process chases itself");
    }

    fn rest(&mut self) {
        self.run(10_000);
    }

    fn step(&mut self) -> bool {
        let mut all = Vec::new();
        self.process.possible(&self.host, &mut all);
        match all.first() {
            Some(Possible::Stream(id)) => {
                let (rng, trace) = (&mut self.rng, &mut self.trace);
                self.process.stream(&self.host, *id, rng, trace);
            }
            Some(Possible::Turn) => drop(self.process.turn(&mut self.trace)),
            Some(Possible::Drive(_)) | None => {}
        }
        !all.is_empty()
    }
}

/// A device that waits for its frontend, and what shall stand in its place.
fn waiting() -> (Town, Disk, Disk) {
    let mut town = Town::new();
    let (old, new) = (town.disk(51712, 0), town.disk(51712, 1));
    town.attach(&old);
    town.rest();
    assert_eq!(town.state(&old).as_deref(), Some("2"));
    assert_eq!(town.process.drives_open(), [0]);
    (town, old, new)
}

/// The new device is served, with its image and no other.
fn is_served(mut town: Town, new: &Disk) {
    town.rest();
    assert_eq!(town.state(new).as_deref(), Some("2"));
    assert_eq!(town.process.drives_open(), [1]);
    assert_eq!(town.process.images_open(), 1);
}

#[test]
fn a_device_that_comes_back_at_any_moment_is_found() {
    for moment in 0..MOMENTS {
        let (mut town, old, new) = waiting();
        town.remove(&old);
        town.run(moment);
        town.attach(&new);
        is_served(town, &new);
    }
}

#[test]
fn a_device_that_is_replaced_by_another_at_any_moment_gets_its_image() {
    for moment in 0..MOMENTS {
        let mut town = Town::new();
        let (old, new) = (town.disk(51712, 0), town.disk(51712, 1));
        town.attach(&old);
        town.run(moment);
        town.attach(&new);
        is_served(town, &new);
    }
}

#[test]
fn a_device_that_was_closed_and_comes_back_at_any_moment_is_found() {
    for moment in 0..MOMENTS {
        let (mut town, old, new) = waiting();
        town.write(old.request_detach().expect("short paths"));
        town.run(moment);
        town.remove(&old);
        town.attach(&new);
        is_served(town, &new);
    }
}

#[test]
fn an_image_that_comes_too_late_is_given_to_nobody_else() {
    let mut town = Town::new();
    town.late.0.set(true);
    let (old, new) = (town.disk(51712, 0), town.disk(51728, 1));
    town.attach(&old);
    town.rest();
    town.remove(&old);
    town.rest();
    town.attach(&new);
    town.rest();
    assert_eq!(town.process.drives_open(), [1]);
    town.late.0.set(false);
    // Something happens, so that the process wakes and finds it.
    town.write(new.script_done().expect("short paths"));
    is_served(town, &new);
}

/// A process that waits for an image.
fn opening() -> Town {
    let mut town = Town::new();
    town.late.0.set(true);
    let disk = town.disk(51712, 0);
    town.attach(&disk);
    town.rest();
    town
}

#[test]
fn a_toolstack_that_asks_to_stop_more_than_once_is_not_taken_for_impatient() {
    let mut town = opening();
    let asked = [By::Toolstack, By::Hand, By::Toolstack, By::Toolstack];
    assert_ne!(town.stop(&asked), Progress::Done);
    town.rest();
    town.late.0.set(false);
    assert_eq!(town.stop(&[]), Progress::Done);
}

#[test]
fn whoever_stops_a_process_by_hand_twice_has_it_end_without_what_it_waits_for() {
    let mut town = opening();
    assert_ne!(town.stop(&[By::Hand]), Progress::Done);
    let line = "stopped for the second time, with 0 requests still in the disk and 1 images being \
                opened";
    assert_eq!(town.stop(&[By::Hand]), Progress::Failed(line.into()));
}

#[test]
fn a_process_that_waits_for_no_disk_ends_well_however_often_it_is_stopped() {
    let mut town = Town::new();
    let disk = town.disk(51712, 0);
    town.attach(&disk);
    town.rest();
    assert_ne!(town.stop(&[By::Hand, By::Hand]), Progress::Done);
    town.rest();
    assert_eq!(town.stop(&[]), Progress::Done);
}
