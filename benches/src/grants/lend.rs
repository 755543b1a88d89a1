//! `halcyon-bench grants lend`: runs in a guest and lends pages to the control domain, for the other
//! parts of `halcyon-bench grants` to work on.
//!
//! It knows nothing of what is done with them. Invariant: they are lent until the process ends.

use abi::DomId;
use clap::Args;
use halcyon::error::{Doing as _, Failure};
use xen::Access;
use xen::linux::gntalloc::Gntalloc;

/// `halcyon-bench grants lend`
#[derive(Clone, Debug, Args)]
pub(super) struct LendArgs {
    /// To whom.
    #[arg(long, default_value_t = 0)]
    to: u16,
    /// How many pages.
    #[arg(long, default_value_t = 32)]
    pages: usize,
}

/// Prints `lent GREF,GREF,...` and sleeps for ever.
pub(super) fn run(args: &LendArgs) -> Result<(), Failure> {
    let device = Gntalloc::open().doing(|| "lend pages".to_owned())?;
    let lend = || device.grant(DomId(args.to), Access::ReadWrite);
    let pages: Result<Vec<_>, _> = (0..args.pages).map(|_| lend()).collect();
    let pages = pages.doing(|| format!("lend {} pages", args.pages))?;
    let grefs: Vec<_> = pages.iter().map(|page| page.gref().to_string()).collect();
    println!("lent {}", grefs.join(","));
    loop {
        std::thread::park();
    }
}
