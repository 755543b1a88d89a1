//! The emulator: Debian 12's QEMU 7.2 with its libraries, patched, runnable on any distribution.
//!
//! It knows nothing of what is emulated. Later versions were tried and do not run guests: with 10.0
//! and 11.1 a PVH guest ends at once without a line on its console, nearly every time. Invariant:
//! no program or library of the host is used, so its version and distribution do not matter.

mod patch;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache::{self, Cache};
use crate::error::{Doing as _, Failure};
use crate::image::Tree;
use crate::packages::{self, Fetched};
use crate::tools;

/// Directories of the package, below the emulator's own.
const LIBRARIES: &str = "/usr/lib/x86_64-linux-gnu";
const MODULES: &str = "/usr/lib/x86_64-linux-gnu/qemu";
const FIRMWARE: [&str; 3] = [
    "/usr/share/qemu",
    "/usr/share/seabios",
    "/usr/lib/ipxe/qemu",
];
const LOADER: &str = "/usr/lib64/ld-linux-x86-64.so.2";
const PROGRAM: &str = "/usr/bin/qemu-system-x86_64";
/// What translates the machine's code; the other modules are displays and sound.
const TRANSLATOR: &str = "/usr/lib/x86_64-linux-gnu/qemu/accel-tcg-x86_64.so";

/// An emulator that is ready to run.
#[derive(Clone, Debug)]
pub struct Qemu {
    dir: PathBuf,
}

/// Fetches, patches and sets up the emulator where that has not been done from the same inputs.
pub fn ready(cache: &Cache, refresh: bool) -> Result<Qemu, Failure> {
    let wanted = ["qemu-system-x86".to_owned()];
    let fetched = packages::fetch(
        cache,
        "qemu-7.2",
        "bookworm",
        &wanted,
        packages::NEVER_RUN,
        refresh,
    )?;
    let packages = fetched.inputs();
    let sources = [
        include_str!("mod.rs"),
        include_str!("patch.rs"),
        include_str!("../image/tree.rs"),
    ];
    let inputs = [
        &packages[..],
        sources[0].as_bytes(),
        sources[1].as_bytes(),
        sources[2].as_bytes(),
    ];
    let dir = cache.dir.join("qemu-7.2").join("files");
    let made = cache::make(&dir, &cache::stamp(&inputs), |into| {
        assemble(&fetched, into)
    })?;
    println!(
        "qemu-7.2: {}",
        if made { "assembled" } else { "up to date" }
    );
    Ok(Qemu { dir })
}

fn assemble(fetched: &Fetched, into: &Path) -> Result<(), Failure> {
    println!("qemu-7.2: unpacking {} packages", fetched.debs.len());
    let root = into.join("unpacked");
    fetched.unpack(&root)?;
    let libraries = [LIBRARIES.to_owned(), format!("{LIBRARIES}/ceph")];
    let mut tree = Tree::new(&root, into, &libraries)?;
    for file in [PROGRAM, TRANSLATOR, LOADER] {
        tree.take(file)?;
    }
    for firmware in FIRMWARE {
        tree.take_directory(firmware, &|_| true)?;
    }
    cache::remove(&root)?;
    let program = into.join(PROGRAM.trim_start_matches('/'));
    let mut binary = fs::read(&program).doing(|| format!("reading {}", program.display()))?;
    for report in patch::apply(&mut binary)? {
        println!("qemu-7.2: {report}");
    }
    fs::write(&program, binary).doing(|| format!("writing {}", program.display()))
}

impl Qemu {
    /// A command that runs the emulator through its own loader and that the kernel kills when this
    /// process ends, however it ends.
    #[must_use]
    pub fn command(&self) -> Command {
        let inner = |path: &str| self.dir.join(path.trim_start_matches('/'));
        let mut command = tools::command("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .arg(inner(LOADER))
            .arg("--library-path");
        command
            .arg(format!("{0}:{0}/ceph", inner(LIBRARIES).display()))
            .arg(inner(PROGRAM));
        for firmware in FIRMWARE {
            command.arg("-L").arg(inner(firmware));
        }
        command.env("QEMU_MODULE_DIR", inner(MODULES));
        command
    }
}
