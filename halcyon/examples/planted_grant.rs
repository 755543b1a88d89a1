//! A VM process with a planted fault: every grant that it maps stays mapped.
//!
//! It serves its guest well. Invariant: the second mapping is the only difference to `halcyon vm`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use abi::{DomId, GrantRef};
use halcyon::vm::live;
use vm_memory::VolatileSlice;
use xen::{Access, CopyOp, Grants, MapError, Mapped};

mod planted;

/// Grants of which a second mapping is kept.
struct Leaky {
    inner: Box<dyn Grants>,
    kept: Vec<Box<dyn Mapped>>,
}

impl Grants for Leaky {
    fn copy(&mut self, arena: VolatileSlice<'_>, ops: &mut [CopyOp]) {
        self.inner.copy(arena, ops);
    }

    fn map(
        &mut self,
        domid: DomId,
        grefs: &[GrantRef],
        access: Access,
    ) -> Result<Box<dyn Mapped>, MapError> {
        self.kept.push(self.inner.map(domid, grefs, access)?);
        self.inner.map(domid, grefs, access)
    }

    fn system_calls(&self) -> u64 {
        self.inner.system_calls()
    }
}

fn main() -> ExitCode {
    planted::main(|mut process| {
        process.xen.grants = Box::new(Leaky {
            inner: process.xen.grants,
            kept: Vec::new(),
        });
        process.run(live::serve)
    })
}
