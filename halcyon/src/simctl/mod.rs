//! `halcyon sim`: a simulated host and the toolstack that manages its guests.
//!
//! It does what xl and libxl do, by the same means: nodes in xenstore, and processes started. It
//! serves no disk and plays no guest. Invariant: every command ends with what it did, or with one
//! line that says why not and what is left.

use std::io::ErrorKind::{DirectoryNotEmpty, NotFound};
use std::path::{Path, PathBuf};

use abi::DomId;
use sim::live::{Control, DomainInfo, STORE_SOCKET};
use sim::toolstack::wait;
use xenstore::blocking::Store;

use crate::cli::args::SimCommand;
use crate::cli::place::{PlatformArg, state_dir};
use crate::error::{Doing as _, Exit, Failure, chain};
use crate::stats;
use leftovers::Kept;

pub mod create;
mod disks;
pub mod diskspec;
pub mod leftovers;
mod list;
pub mod naming;
pub mod start;

/// Does one command on the host in `dir`.
pub fn run(dir: &Path, command: &SimCommand) -> Result<(), Failure> {
    match command {
        SimCommand::Start {
            foreground,
            while_stdin,
            dir: _,
        } => start::run(dir, *foreground, *while_stdin),
        SimCommand::Create(args) => create::run(&mut Host::connect(dir)?, args),
        SimCommand::List { json } => list::run(&mut Host::connect(dir)?, *json),
        SimCommand::Attach { guest, disk } => disks::attach(&mut Host::connect(dir)?, guest, disk),
        SimCommand::Detach { guest, vdev } => disks::detach(&mut Host::connect(dir)?, guest, vdev),
        SimCommand::Destroy { guest } => {
            let mut host = Host::connect(dir)?;
            let domain = host.find(guest)?;
            host.end(&domain)
        }
        SimCommand::Stop => stop(&mut Host::connect(dir)?),
    }
}

/// A toolstack's two connections to a simulated host.
#[derive(Debug)]
pub struct Host {
    /// Where it lives.
    pub dir: PathBuf,
    /// The hypervisor's part.
    pub control: Control,
    /// The store.
    pub store: Store,
}

impl Host {
    /// Connects to the host in `dir`.
    pub fn connect(dir: &Path) -> Result<Self, Failure> {
        let absent = |error: &dyn std::error::Error| {
            let (dir, why) = (dir.display(), chain(error));
            let text = format!(
                "no simulated host in {dir} (halcyon sim start; if yours lives elsewhere, export \
                 HALCYON_SIM=DIR): {why}"
            );
            Failure::new(Exit::NoPlatform, text)
        };
        let control = Control::connect(dir).map_err(|error| absent(&error))?;
        let store = Store::connect(&dir.join(STORE_SOCKET)).map_err(|error| absent(&error))?;
        Ok(Self {
            dir: dir.to_owned(),
            control,
            store,
        })
    }

    /// All guests.
    pub fn domains(&self) -> Result<Vec<DomainInfo>, Failure> {
        self.control.list().doing(|| "list the domains".into())
    }

    /// The guest of a name or number.
    pub fn find(&self, guest: &str) -> Result<DomainInfo, Failure> {
        let is_it = |domain: &DomainInfo| {
            domain.name == guest || guest.parse().is_ok_and(|domid: u16| domain.domid == domid)
        };
        self.domains()?.into_iter().find(is_it).ok_or_else(|| {
            Failure::failed(format!(
                "no guest {guest:?} on this host: see `halcyon sim list`"
            ))
        })
    }

    /// Destroys a guest and removes its nodes; those of the VM stay if it is about to come back.
    pub fn destroy(&mut self, domain: &DomainInfo, returns: bool) -> Result<(), Failure> {
        let what = || format!("destroy domain {}", domain.domid);
        if !domain.dying {
            self.control.destroy(DomId(domain.domid)).doing(what)?;
        }
        let nodes = nodes(domain).remove(returns).doing(what)?;
        wait::clear(&mut self.store, nodes).doing(what)
    }

    /// Destroys a guest for good: nothing is left of it, unless its process failed.
    pub fn end(&mut self, domain: &DomainInfo) -> Result<(), Failure> {
        let dir = self.state_dir().join(&domain.uuid);
        let failed = leftovers::has_given_up(&dir)?;
        self.destroy(domain, false)?;
        if failed {
            stays(&dir, leftovers::FAILED);
            return Ok(());
        }
        self.forget(&domain.uuid)
    }

    /// Removes the state of a VM that was destroyed, as soon as its process has ended; says on
    /// stderr if it has to stay.
    pub fn forget(&self, uuid: &str) -> Result<(), Failure> {
        let dir = self.state_dir().join(uuid);
        if let Kept::Because(why) = leftovers::remove_state(&dir, disk::lock::LIMIT)? {
            stays(&dir, why);
        }
        Ok(())
    }

    /// As [`Host::end`], on the way out of another failure, which is the one to report.
    pub fn give_up(&mut self, domain: &DomainInfo) {
        if let Err(failure) = self.end(domain) {
            tracing::warn!("{failure}");
        }
    }

    /// Where the VMs of this host have their state.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        state_dir(&PlatformArg::Sim(self.dir.clone()))
    }
}

/// A domain as xenstore describes it.
#[must_use]
pub fn nodes(domain: &DomainInfo) -> sim::toolstack::Domain {
    sim::toolstack::Domain {
        domid: DomId(domain.domid),
        name: domain.name.clone(),
        uuid: domain.uuid.clone(),
        memory_kib: domain.memory_bytes >> 10,
    }
}

fn stays(dir: &Path, why: &str) {
    eprintln!("halcyon: {} stays: {why}", dir.display());
}

fn stop(host: &mut Host) -> Result<(), Failure> {
    for domain in host.domains()? {
        host.end(&domain)?;
    }
    let state = host.state_dir();
    for uuid in stats::uuids(&state)? {
        if !leftovers::has_given_up(&state.join(&uuid))? {
            host.forget(&uuid)?;
        }
    }
    match std::fs::remove_dir(&state) {
        Err(error) if !matches!(error.kind(), NotFound | DirectoryNotEmpty) => {
            tracing::warn!("remove {}: {error}", state.display());
        }
        _ => {}
    }
    host.control
        .stop()
        .doing(|| "stop the simulated host".into())
}
