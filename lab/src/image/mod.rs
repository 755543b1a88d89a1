//! Assembles what a machine of one stack boots: hypervisor, kernel, root image, guests' base archive.
//!
//! It knows nothing of how the machine runs and of nothing that the project builds: that comes in at
//! run time, so a change of the project assembles nothing again. Invariant: the files depend on the
//! packages, on this folder's own text and on the scripts it puts in, which is what the stamp is of.

mod debian;
mod dom0;
mod guest;
mod kernel;
mod modules;
mod tree;

use std::path::{Path, PathBuf};

use crate::cache::{self, Cache};
use crate::error::Failure;
use crate::packages::{self, Fetched};
use crate::stack::Stack;
use crate::tools;
pub use debian::ready as debian;
use modules::Modules;
pub use tree::Tree;

/// The text of all that decides what comes out.
const SOURCES: [&str; 7] = [
    include_str!("mod.rs"),
    include_str!("dom0.rs"),
    include_str!("guest.rs"),
    include_str!("kernel.rs"),
    include_str!("modules.rs"),
    include_str!("tree.rs"),
    include_str!("../../dom0/init"),
];

/// The finished files of one stack.
#[derive(Clone, Debug)]
pub struct Image {
    dir: PathBuf,
    debian: PathBuf,
}

impl Image {
    /// The hypervisor, an ELF file as multiboot wants it.
    #[must_use]
    pub fn xen(&self) -> PathBuf {
        self.dir.join("xen")
    }

    /// The kernel of the control domain and of guests, an ELF file too: Xen's own decompression
    /// takes 7 s under emulation.
    #[must_use]
    pub fn vmlinux(&self) -> PathBuf {
        self.dir.join("vmlinux")
    }

    /// The archive that finds and mounts the root image.
    #[must_use]
    pub fn initrd(&self) -> PathBuf {
        self.dir.join("initrd")
    }

    /// The control domain's root file system.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.dir.join("root.img")
    }

    /// A disk with a Debian system for a guest.
    #[must_use]
    pub fn debian(&self) -> &Path {
        &self.debian
    }

    /// The part of a guest's archive that packages provide.
    #[must_use]
    pub fn guest_base(&self) -> PathBuf {
        self.dir.join("guest-base.gz")
    }
}

/// Fetches and assembles one stack where that has not been done from the same inputs.
pub fn ready(cache: &Cache, stack: &Stack, refresh: bool) -> Result<Image, Failure> {
    let fetched = packages::fetch(
        cache,
        stack.name,
        stack.suite,
        &stack.packages(),
        packages::NEVER_RUN,
        refresh,
    )?;
    let mut inputs = vec![fetched.inputs()];
    inputs.extend(SOURCES.map(|text| text.as_bytes().to_vec()));
    let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
    let dir = cache.dir.join(stack.name).join("image");
    let made = cache::make(&dir, &cache::stamp(&inputs), |into| {
        assemble(stack, &fetched, into)
    })?;
    println!(
        "{}: {}",
        stack.name,
        if made { "assembled" } else { "up to date" }
    );
    let debian = debian::path(&cache.dir, stack);
    Ok(Image { dir, debian })
}

fn assemble(stack: &Stack, fetched: &Fetched, into: &Path) -> Result<(), Failure> {
    println!("{}: unpacking {} packages", stack.name, fetched.debs.len());
    let (root, dom0, guest, boot) = (
        into.join("root"),
        into.join("dom0"),
        into.join("guest"),
        into.join("boot"),
    );
    fetched.unpack(&root)?;
    println!("{}: assembling", stack.name);
    let modules = Modules::read(&root)?;
    let image = Image {
        dir: into.to_owned(),
        debian: PathBuf::new(),
    };
    kernel::hypervisor(&root, stack, &image.xen())?;
    kernel::vmlinux(&root, &modules.release, &image.vmlinux())?;
    guest::base(&root, &guest, &modules, &image.guest_base())?;
    dom0::initrd(&root, &boot, &modules, &image.initrd())?;
    dom0::tree(&root, &dom0, &modules, stack, &image.vmlinux())?;
    dom0::file_system(&dom0, &image.root())?;
    [root, dom0, guest, boot]
        .iter()
        .try_for_each(|scratch| cache::remove(scratch))
}

/// Makes the tree's programs that are not there in full from busybox, under all its names.
fn busybox(tree: &mut Tree, from: &Path) -> Result<(), Failure> {
    tree.take("/usr/bin/busybox")?;
    let program = tree::resolve(from, "/usr/bin/busybox").unwrap_or_default();
    let names = tools::run(
        std::process::Command::new(program).arg("--list"),
        "asking busybox for its names",
    )?;
    for name in String::from_utf8_lossy(&names).split_whitespace() {
        if !["usr/bin", "usr/sbin"]
            .iter()
            .any(|dir| tree.has(&format!("{dir}/{name}")))
        {
            tree.link(&format!("usr/bin/{name}"), "busybox")?;
        }
    }
    Ok(())
}
