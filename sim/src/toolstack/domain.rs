//! The nodes of a domain: its home, its `/vm` directory, libxl's own.
//!
//! It knows nothing of devices but where they will be.

use abi::DomId;
use xenstore::{BadPath, Batch};

use super::{Steps, private, readable};

/// A domain as the toolstack describes it in xenstore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// Its number.
    pub domid: DomId,
    /// Its name.
    pub name: String,
    /// Its UUID; stays the same over reboots, while the number changes.
    pub uuid: String,
    /// Its memory, in KiB.
    pub memory_kib: u64,
}

/// Nodes that the guest itself writes, to be found empty (`libxl__domain_make`).
const GUEST_WRITES: [&str; 8] = [
    "control/shutdown",
    "control/feature-poweroff",
    "control/feature-reboot",
    "control/feature-suspend",
    "device/suspend/event-channel",
    "data",
    "drivers",
    "attr",
];

impl Domain {
    /// `/local/domain/N`.
    pub fn home(&self) -> String {
        home(self.domid)
    }

    /// Everything that a guest and its backends expect to find, in one transaction.
    pub fn create(&self) -> Result<Batch, BadPath> {
        let (home, vm) = (self.home(), format!("/vm/{}", self.uuid));
        let guest_reads = || readable(DomId::DOM0, self.domid);
        let memory_kib = self.memory_kib.to_string();
        let mut steps = Steps::default();
        steps.directory(&home, guest_reads())?;
        steps.directory(&vm, guest_reads())?;
        steps.directory(&libxl(self.domid), private(DomId::DOM0))?;
        for name in ["cpu", "memory", "device", "control"] {
            steps.directory(&format!("{home}/{name}"), guest_reads())?;
        }
        for name in GUEST_WRITES {
            steps.node(&format!("{home}/{name}"), "", private(self.domid))?;
        }
        let of_domain = [
            ("vm", vm.as_str()),
            ("name", &self.name),
            ("domid", &self.domid.to_string()),
            ("control/platform-feature-multiprocessor-suspend", "1"),
            ("control/platform-feature-xs_reset_watches", "1"),
            ("memory/static-max", &memory_kib),
            ("memory/target", &memory_kib),
        ];
        steps.write_all(&home, &of_domain)?;
        steps.write_all(&vm, &[("name", &self.name), ("uuid", &self.uuid)])?;
        steps.write(&format!("{}/type", libxl(self.domid)), "pvh")?;
        Ok(steps.transaction())
    }

    /// Everything of the domain goes, the backend directories of its devices included. That a node
    /// does not exist is no failure ([`super::wait::clear`]), so this is no transaction. The `/vm` directory stays if the domain is about to come back (`xl reboot`).
    pub fn remove(&self, returns: bool) -> Result<Batch, BadPath> {
        let mut steps = Steps::default();
        for kind in super::disk::KINDS {
            steps.remove(&format!(
                "{}/backend/{kind}/{}",
                home(DomId::DOM0),
                self.domid
            ))?;
        }
        steps.remove(&self.home())?;
        steps.remove(&libxl(self.domid))?;
        if !returns {
            steps.remove(&format!("/vm/{}", self.uuid))?;
        }
        Ok(steps.separate())
    }
}

pub(super) fn home(domid: DomId) -> String {
    format!("/local/domain/{domid}")
}

pub(super) fn libxl(domid: DomId) -> String {
    format!("/libxl/{domid}")
}
