//! The nodes of a disk: frontend and backend directory, and libxl's record of both.
//!
//! It does not look at the image that `params` names.

use abi::DomId;
use xenstore::{BadPath, Batch};

use super::domain::{home, libxl};
use super::{Steps, private, readable};

/// The directories below `backend/` that disks may be in.
pub const KINDS: [&str; 3] = ["vbd3", "qdisk", "vbd"];

/// A disk of a guest, served by the control domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Whose it is.
    pub domid: DomId,
    /// Its number (xen-vbd-interface(7)): 51712 is xvda.
    pub devid: u32,
    /// Its name in the guest: `xvda`.
    pub dev: String,
    /// The backend's directory, one of [`KINDS`].
    pub kind: String,
    /// What the backend opens: `raw:/path`, or a path.
    pub params: String,
    /// Whether the guest may write.
    pub writable: bool,
}

impl Disk {
    /// The backend's directory.
    pub fn backend(&self) -> String {
        format!(
            "{}/backend/{}/{}/{}",
            home(DomId::DOM0),
            self.kind,
            self.domid,
            self.devid
        )
    }

    /// The frontend's directory.
    pub fn frontend(&self) -> String {
        format!("{}/device/vbd/{}", home(self.domid), self.devid)
    }

    /// Makes the disk known to both ends, in one transaction: both find state 1.
    pub fn attach(&self) -> Result<Batch, BadPath> {
        let (front, back) = (self.frontend(), self.backend());
        let devid = self.devid.to_string();
        let mut steps = Steps::default();
        steps.directory(&front, readable(self.domid, DomId::DOM0))?;
        steps.write_all(&front, &self.frontend_nodes(&back, &devid))?;
        steps.directory(&back, readable(DomId::DOM0, self.domid))?;
        let domid = self.domid.to_string();
        steps.write_all(&back, &self.backend_nodes(&front, &domid))?;
        let record = self.record();
        steps.directory(&record, private(DomId::DOM0))?;
        steps.write_all(&record, &[("frontend", &front), ("backend", &back)])?;
        steps.write_all(&record, &self.backend_nodes(&front, &domid)[1..])?;
        Ok(steps.transaction())
    }

    fn frontend_nodes<'a>(&'a self, back: &'a str, devid: &'a str) -> [(&'a str, &'a str); 6] {
        [
            ("backend", back),
            ("backend-id", "0"),
            ("state", "1"),
            ("virtual-device", devid),
            ("device-type", "disk"),
            ("trusted", "1"),
        ]
    }

    fn backend_nodes<'a>(&'a self, front: &'a str, domid: &'a str) -> [(&'a str, &'a str); 14] {
        [
            ("frontend", front),
            ("frontend-id", domid),
            ("params", &self.params),
            ("script", "/etc/xen/scripts/block-tap"),
            ("online", "1"),
            ("removable", "1"),
            ("bootable", "1"),
            ("dev", &self.dev),
            ("type", &self.kind),
            ("mode", if self.writable { "w" } else { "r" }),
            ("device-type", "disk"),
            ("discard-enable", if self.writable { "1" } else { "0" }),
            ("specification", "xen"),
            ("state", "1"),
        ]
    }

    /// What the hotplug script reports when the backend has opened the image.
    pub fn script_done(&self) -> Result<Batch, BadPath> {
        let mut steps = Steps::default();
        steps.write(&format!("{}/hotplug-status", self.backend()), "connected")?;
        Ok(steps.transaction())
    }

    /// Asks the backend to let go: it shall not wait for the frontend to come back, and close.
    pub fn request_detach(&self) -> Result<Batch, BadPath> {
        let mut steps = Steps::default();
        steps.write_all(&self.backend(), &[("online", "0"), ("state", "5")])?;
        Ok(steps.transaction())
    }

    /// Both directories and the record go. That one does not exist is no failure
    /// ([`super::wait::clear`]), so this is no transaction.
    pub fn remove(&self) -> Result<Batch, BadPath> {
        let mut steps = Steps::default();
        for path in [self.frontend(), self.backend(), self.record()] {
            steps.remove(&path)?;
        }
        Ok(steps.separate())
    }

    /// Libxl's own copy.
    fn record(&self) -> String {
        format!("{}/device/vbd/{}", libxl(self.domid), self.devid)
    }
}
