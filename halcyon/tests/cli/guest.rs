//! What a simulated guest makes of disks that are taken away while it gets to know them.

use std::fs::File;
use std::path::PathBuf;
use std::process::Child;

use abi::DomId;
use halcyon::simctl::{self, create};
use sim::live::DomainInfo;
use sim::toolstack::Disk;
use sim::toolstack::wait::{clear, run};

use crate::support::{Host, until};

/// xvda, xvdb and xvdc (xen-vbd-interface(7)).
const DEVIDS: [u32; 3] = [51712, 51728, 51744];

/// A simulated host with a domain that has three disks, and nobody who serves them.
struct Town {
    tool: simctl::Host,
    domain: DomainInfo,
    disks: [Disk; 3],
    host: Host,
}

/// What a guest says goes to a file.
struct Guest {
    child: Child,
    says: PathBuf,
}

impl Guest {
    fn has_run(&self) {
        until(|| std::fs::read_to_string(&self.says).is_ok_and(|said| said.contains("\"ran\"")));
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Town {
    fn new() -> Self {
        let host = Host::start();
        let mut tool = simctl::Host::connect(&host.dir.path().join("sim")).unwrap();
        let uuid = create::new_uuid().unwrap();
        let domain = create::new_domain(&mut tool, "g", &uuid, 16 << 20).unwrap();
        let disks = DEVIDS.map(|devid| Disk {
            domid: DomId(domain.domid),
            devid,
            dev: devid.to_string(),
            kind: create::KIND.into(),
            params: host.dir.file(&devid.to_string(), 1 << 20),
            writable: true,
        });
        for disk in &disks {
            for batch in [disk.attach(), disk.script_done()] {
                run(&mut tool.store, batch.unwrap()).unwrap();
            }
        }
        Self {
            tool,
            domain,
            disks,
            host,
        }
    }

    /// Boots the guest, which makes some requests when all its disks are connected.
    fn boot(&self) -> Guest {
        let says = self.host.dir.path().join("says");
        let child = self
            .host
            .command(&["guest", "--domid", &self.domid(), "--requests", "100"])
            .stdout(File::create(&says).unwrap())
            .spawn()
            .unwrap();
        Guest { child, says }
    }

    fn domid(&self) -> String {
        self.domain.domid.to_string()
    }

    fn frontend_is(&mut self, disk: &Disk, state: &str) -> bool {
        let path = format!("{}/state", disk.frontend());
        let value = self.tool.store.read(&path).unwrap();
        value.is_some_and(|value| value == state.as_bytes())
    }
}

#[test]
fn a_disk_that_is_taken_away_before_it_was_ready_does_not_keep_the_others_waiting() {
    let mut town = Town::new();
    let [_, unready, ready] = town.disks.clone();
    let state = format!("{}/state", ready.backend());
    town.tool.store.write(&state, "2").unwrap();
    let guest = town.boot();
    // By then the guest waits for the other two.
    until(|| town.frontend_is(&ready, "3"));
    for disk in [unready, ready] {
        clear(&mut town.tool.store, disk.remove().unwrap()).unwrap();
    }
    let _vm = town.host.serve(&town.domid());
    guest.has_run();
}

#[test]
fn a_driver_that_gives_up_while_its_disk_is_there_ends_the_guest() {
    let mut town = Town::new();
    let backend = format!("{}/backend", town.disks[1].frontend());
    town.tool.store.remove(&backend).unwrap();
    let ended = town.host.said(&["guest", "--domid", &town.domid()]);
    assert_eq!(ended.code, 1, "{}", ended.err);
    let line = "disk 51728: no backend in the frontend's directory\n";
    assert!(ended.err.ends_with(line), "{}", ended.err);
}
