//! Starts VM processes.
//!
//! A process is a group of its own, so that what is typed at the daemon's terminal does not reach
//! it, and shares nothing with the daemon but standard error (the journal) and the control group:
//! under systemd the daemon's unit says KillMode=process.
//!
//! Invariant: it is the very program that the daemon is, found where the daemon was found.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use abi::DomId;

use super::notify;
use crate::cli::args::KindArg;
use crate::cli::place::PlatformArg;

/// Whoever drives a kind of backend in the kernel shows it here.
const KERNEL_VBD: &str = "/sys/bus/xen-backend/drivers/vbd";

/// See the head of this file.
pub(super) struct Spawner {
    program: PathBuf,
    platform: PlatformArg,
    kinds: Vec<KindArg>,
    socket: PathBuf,
}

impl Spawner {
    /// Starts processes that serve `kinds` and have their images opened at `socket`.
    pub(super) fn new(
        platform: &PlatformArg,
        kinds: &[KindArg],
        socket: &Path,
    ) -> io::Result<Self> {
        Ok(Self {
            program: std::env::current_exe()?,
            platform: platform.clone(),
            kinds: kinds.to_vec(),
            socket: socket.to_owned(),
        })
    }

    /// The kinds that are ours at this moment: the kernel's own backend, once loaded, takes every
    /// device of its kind (`dist/block-halcyon` says so to the toolstack).
    pub(super) fn kinds(&self) -> Vec<KindArg> {
        let on_xen = self.platform == PlatformArg::Linux;
        let kernel_has_vbd = on_xen && Path::new(KERNEL_VBD).exists();
        let kinds = self.kinds.iter().copied();
        kinds
            .filter(|kind| *kind != KindArg::Vbd || !kernel_has_vbd)
            .collect()
    }

    /// Starts the process of a guest.
    pub(super) fn spawn(&self, domid: DomId, kinds: &[KindArg]) -> io::Result<Child> {
        let kinds: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
        Command::new(&self.program)
            .arg("--platform")
            .arg(self.platform.to_string())
            .args(["vm", "--domid", &domid.to_string()])
            .args(["--kind", &kinds.join(",")])
            .arg("--broker")
            .arg(&self.socket)
            .env_remove(notify::SOCKET)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
    }
}
