//! Why the devices cannot be used, in one line that says what to do.

use std::io;
use std::path::Path;

use abi::linux::{DEVICES, evtchn, gntalloc, gntdev, privcmd};

/// The platform could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not under Xen.
    #[error("no {DEVICES} here: this machine is no domain of a Xen host")]
    NoXen,
    /// One of the devices is not there.
    #[error("{path} is missing: {remedy}")]
    Missing {
        /// Which.
        path: &'static str,
        /// How it comes there.
        remedy: &'static str,
    },
    /// It is there, for others.
    #[error("{path}: permission denied: run as root, or give the device to this user")]
    Denied {
        /// Which.
        path: &'static str,
    },
    /// It cannot be opened or asked for another reason.
    #[error("use {path}")]
    Os {
        /// Which.
        path: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Xenstore did not answer as it should.
    #[error("read the own domain's number in xenstore: {0}")]
    Store(String),
    /// The device does not want to be restricted.
    #[error("restrict {}", evtchn::PATH)]
    Restrict(#[source] ::evtchn::Error),
}

impl Error {
    /// What the failure to open `path` means.
    pub(super) fn open(path: &'static str, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::NotFound if !Path::new(DEVICES).exists() => Self::NoXen,
            io::ErrorKind::NotFound => Self::Missing {
                path,
                remedy: remedy(path),
            },
            io::ErrorKind::PermissionDenied => Self::Denied { path },
            _ => Self::Os { path, source },
        }
    }

    /// What a failed call on `path` means.
    pub(super) fn os(path: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Os { path, source }
    }
}

/// How a missing device comes into being.
fn remedy(path: &str) -> &'static str {
    match path {
        evtchn::PATH => "modprobe xen-evtchn",
        gntdev::PATH => "modprobe xen-gntdev",
        gntalloc::PATH => "modprobe xen-gntalloc",
        privcmd::PATH | privcmd::BUFFER_PATH => "modprobe xen-privcmd",
        // The kernel has it built in, and says this also while xenstored is not up.
        _ => "start xenstored (systemctl start xenstored)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_of_others_says_so() {
        let error = Error::open(gntdev::PATH, io::ErrorKind::PermissionDenied.into());
        assert!(
            error
                .to_string()
                .starts_with("/dev/xen/gntdev: permission denied")
        );
    }

    #[test]
    fn each_missing_device_has_its_module() {
        assert_eq!(remedy(gntdev::PATH), "modprobe xen-gntdev");
        assert_eq!(remedy(evtchn::PATH), "modprobe xen-evtchn");
        assert_eq!(remedy(privcmd::BUFFER_PATH), "modprobe xen-privcmd");
    }
}
