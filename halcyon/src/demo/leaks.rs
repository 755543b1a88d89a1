//! What must be left of a guest: nothing. Each check asks somebody else than the process that was
//! to clean up: /proc, the hypervisor, xenstore, the file's lock.
//!
//! Invariant: a check that cannot be made is a failure, not a pass.

use std::fs::OpenOptions;
use std::os::fd::AsFd as _;

use disk::lock::{self, Mode};
use sim::toolstack::unplug;
use sim::toolstack::wait::PATIENCE;

use super::show::{Player, Show};
use crate::error::{Doing as _, Failure};
use crate::{proc, simctl, stats};

/// Takes the disk from a guest that has closed it, and looks for what the process still holds.
pub fn after_detach(
    toolstack: &mut simctl::Host,
    player: &Player,
    faults: &mut Vec<String>,
) -> Result<(), Failure> {
    let domid = player.domain.domid;
    unplug(&mut toolstack.store, &player.disk, PATIENCE)
        .doing(|| format!("detach the disk of domain {domid}"))?;
    let pid = player.vm.pid();
    let files = proc::open_files(pid).doing(|| format!("list the files of process {pid}"))?;
    if files.contains(&player.image) {
        faults.push(format!("process {pid}: image still open after detach"));
    }
    let domain = toolstack.find(&domid.to_string())?;
    if domain.mapped > 0 {
        faults.push(format!(
            "domain {domid}: {} grants still mapped after detach",
            domain.mapped
        ));
    }
    if domain.ports > 0 {
        faults.push(format!(
            "domain {domid}: {} ports still open after detach",
            domain.ports
        ));
    }
    let image = OpenOptions::new().read(true).open(&player.image);
    let image = image.doing(|| format!("open {}", player.image.display()))?;
    // Shared: the image may be one that this user cannot write; a writer's lock stands in its way.
    if let Err(error) = lock::take(image.as_fd(), Mode::Shared) {
        faults.push(format!("domain {domid}: after detach {error}"));
    }
    Ok(())
}

/// Looks for what is left after every guest was destroyed and every process has ended.
pub fn after_all(show: &mut Show, faults: &mut Vec<String>) -> Result<(), Failure> {
    let left = show.toolstack.domains()?.len();
    if left > 0 {
        faults.push(format!("{left} domains left"));
    }
    let places = [
        "/local/domain/0/backend/vbd3",
        "/local/domain/0/error",
        "/libxl",
        "/vm",
    ];
    for path in places {
        let names = show
            .toolstack
            .store
            .list(path)
            .doing(|| format!("list {path}"))?;
        for name in names.unwrap_or_default() {
            faults.push(format!("xenstore: {path}/{name} left"));
        }
    }
    for uuid in stats::uuids(&show.toolstack.state_dir())? {
        faults.push(format!("state directory of {uuid} left"));
    }
    Ok(())
}
