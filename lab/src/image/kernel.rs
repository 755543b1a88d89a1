//! Hypervisor and kernel as plain ELF files.
//!
//! It knows nothing of who boots them. A bzImage is searched for its compressed kernel, for both
//! Xen and libxl take the ELF file inside as it is and need not decompress it.

use std::fs;
use std::path::Path;

use crate::cache;
use crate::elf;
use crate::error::{Doing as _, Failure};
use crate::stack::Stack;
use crate::tools;

pub(super) fn hypervisor(root: &Path, stack: &Stack, to: &Path) -> Result<(), Failure> {
    let packed = root.join(format!("boot/xen-{}-amd64.gz", stack.xen));
    let xen = tools::run(
        tools::command("gzip").arg("-dc").arg(&packed),
        "decompressing the hypervisor",
    )?;
    cache::write(to, xen)
}

pub(super) fn vmlinux(root: &Path, release: &str, to: &Path) -> Result<(), Failure> {
    let path = root.join("boot").join(format!("vmlinuz-{release}"));
    let bz_image = fs::read(&path).doing(|| format!("reading {}", path.display()))?;
    for (at, program) in elf::streams(&bz_image) {
        let what = format!("decompressing {}", path.display());
        let stream = bz_image.get(at..).unwrap_or_default();
        let kernel = tools::filter(tools::command(program).arg("-dc"), stream, &what)?;
        if kernel.starts_with(elf::MAGIC) {
            return cache::write(to, kernel);
        }
    }
    Err(Failure::new(format!(
        "{} holds no kernel in a known compression",
        path.display()
    )))
}
