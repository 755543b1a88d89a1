//! A device end to end inside one process: a simulated host, the loop of a VM process with its
//! reactor and backend, and a guest's frontend.
//!
//! What is measured is the code that ships; only the image is replaced, by a disk without storage
//! ([`Backing`]), and processes are threads. The host has a thread of its own that sleeps while
//! requests travel. It measures nothing.
//!
//! Invariant: nothing of a rig outlives it but its last error message.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

use abi::DomId;
use halcyon::error::{Doing as _, Failure};
use sim::live::host::Host;
use sim::live::{Control, NewDomain, STORE_SOCKET};
use sim::toolstack::wait::run;
use sim::toolstack::{Disk, Domain};
use xenstore::blocking::Store;

use crate::place;

mod back;
mod front;

pub use back::{Back, Backing, Stats};
pub use front::Front;

/// The disk's number: xvda.
const DEVID: u32 = 51712;

/// The guest's memory.
const GUEST_BYTES: u64 = 32 << 20;

/// A host with one domain that has one disk, which nobody serves yet.
#[derive(Debug)]
pub struct Rig {
    dir: PathBuf,
    domid: DomId,
    control: Control,
    host: Option<JoinHandle<()>>,
}

impl Rig {
    /// Starts a host and makes a domain with a disk in it.
    pub fn start() -> Result<Self, Failure> {
        let dir = new_dir()?;
        let host = Host::bind(&dir, |line| eprintln!("simulated host: {line}"));
        let mut host = host.doing(|| format!("start a simulated host in {}", dir.display()))?;
        let host = std::thread::spawn(move || {
            if let Err(error) = host.run() {
                eprintln!("simulated host: {error}");
            }
        });
        let what = || format!("set up a guest on the simulated host in {}", dir.display());
        let control = Control::connect(&dir).doing(what)?;
        let domid = control.create(&domain()).doing(what)?;
        let mut store = Store::connect(&dir.join(STORE_SOCKET)).doing(what)?;
        run(&mut store, nodes(domid).create().doing(what)?).doing(what)?;
        for batch in [disk(domid).attach(), disk(domid).script_done()] {
            run(&mut store, batch.doing(what)?).doing(what)?;
        }
        Ok(Self {
            dir,
            domid,
            control,
            host: Some(host),
        })
    }

    /// Where the host is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The guest.
    #[must_use]
    pub fn domid(&self) -> DomId {
        self.domid
    }

    /// The backend in a thread of its own, kept on `cpu`, and the frontend here, connected. The
    /// thread ends when the frontend is dropped.
    pub fn apart(&self, backing: Backing, cpu: usize) -> Result<(JoinHandle<()>, Front), Failure> {
        let (dir, domid) = (self.dir.clone(), self.domid);
        let back = std::thread::spawn(move || {
            let pinned = place::pin(cpu).doing(|| format!("run on processor {cpu}"));
            let served = pinned.and_then(|()| Back::new(&dir, domid, backing)?.serve());
            if let Err(failure) = served {
                eprintln!("backend: {failure}");
            }
        });
        let mut front = Front::new(&self.dir, self.domid)?;
        while !front.is_connected()? {
            front.wake()?;
        }
        Ok((back, front))
    }

    /// Both ends, connected, in the calling thread.
    pub fn connected(&self, backing: Backing) -> Result<(Back, Front), Failure> {
        let mut back = Back::new(&self.dir, self.domid, backing)?;
        let mut front = Front::new(&self.dir, self.domid)?;
        while !front.is_connected()? {
            back.step()?;
            front.step()?;
            std::thread::yield_now();
        }
        // What the last change of state leads to.
        back.step()?;
        Ok((back, front))
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let stopped = self
            .control
            .stop()
            .doing(|| "stop the simulated host".into());
        let ended = stopped.map(|()| self.host.take().map(JoinHandle::join));
        let removed = fs::remove_dir_all(&self.dir);
        if let (Err(failure), _) | (_, Err(failure)) = (
            ended,
            removed.doing(|| format!("remove {}", self.dir.display())),
        ) {
            eprintln!("{failure}");
        }
    }
}

/// A new directory with a name that sockets below it can have.
fn new_dir() -> Result<PathBuf, Failure> {
    static RIGS: AtomicU32 = AtomicU32::new(0);
    let number = RIGS.fetch_add(1, Ordering::Relaxed);
    let dir = PathBuf::from(format!("/tmp/halcyon-rig-{}-{number}", std::process::id()));
    fs::create_dir(&dir).doing(|| format!("create {}", dir.display()))?;
    Ok(dir)
}

fn domain() -> NewDomain {
    let uuid = "00000000-0000-4000-8000-000000000001".to_owned();
    NewDomain {
        name: "bench".to_owned(),
        uuid,
        memory_bytes: GUEST_BYTES,
    }
}

fn nodes(domid: DomId) -> Domain {
    let NewDomain {
        name,
        uuid,
        memory_bytes,
    } = domain();
    Domain {
        domid,
        name,
        uuid,
        memory_kib: memory_bytes >> 10,
    }
}

fn disk(domid: DomId) -> Disk {
    Disk {
        domid,
        devid: DEVID,
        dev: "xvda".to_owned(),
        kind: "vbd3".to_owned(),
        params: "a disk without storage".to_owned(),
        writable: true,
    }
}
