//! `halcyon-bench grants`: what grants cost on this host, counted by its kernel and its hypervisor.
//!
//! It needs real Xen, root, tracefs, and a guest that runs the part `lend`. Run the part `count` on one
//! processor (taskset), and keep others off it: what runs there beside it is counted with it.
//!
//! Invariant: counts are counts; nothing here is a time, except where `--instructions` makes an
//! emulator's clock one.

use std::time::Instant;

use abi::{DomId, GrantRef};
use clap::{Args, Subcommand};
use halcyon::error::{Doing as _, Failure};
use xen::linux::Gntdev;

use self::calls::Counter;
use self::direct::DirectArgs;
use self::lend::LendArgs;
use self::report::Row;
use self::trace::Tracer;
use self::ways::{Server, Way};

mod calls;
mod direct;
mod lend;
mod report;
mod trace;
mod ways;

/// Not counted: first use allocates what later use does not.
const WARM_UP: u64 = 20;

/// `halcyon-bench grants`
#[derive(Clone, Debug, Args)]
pub struct GrantsArgs {
    #[command(subcommand)]
    part: Part,
}

#[derive(Clone, Debug, Subcommand)]
enum Part {
    /// In a guest: lend pages to the control domain, until killed.
    Lend(LendArgs),
    /// Count system calls and hypercalls of copying and mapping what a guest lends.
    Count(CountArgs),
    /// Try io_uring on what a guest lends, with files and block devices. Overwrites them.
    Direct(DirectArgs),
    /// Start a read of a slow disk into what a guest lends, and die before it is done.
    Abandon(DirectArgs),
}

/// What a guest lends.
#[derive(Clone, Debug, Args)]
struct Lent {
    /// Which guest.
    #[arg(long)]
    domid: u16,
    /// What its `lend` printed.
    #[arg(long, value_delimiter = ',', required = true)]
    grefs: Vec<u32>,
}

impl Lent {
    fn grefs(&self) -> Vec<GrantRef> {
        self.grefs.iter().copied().map(GrantRef).collect()
    }

    fn domid(&self) -> DomId {
        DomId(self.domid)
    }
}

#[derive(Clone, Debug, Args)]
struct CountArgs {
    #[command(flatten)]
    lent: Lent,
    /// How many of each kind.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..))]
    requests: u64,
    /// The physical processor that this runs on.
    #[arg(long, default_value_t = 0)]
    cpu: u32,
    /// Another one, for xentrace.
    #[arg(long, default_value_t = 1)]
    elsewhere: u32,
    /// Instead: nanoseconds of this machine's clock, which an emulator that advances it by one for
    /// each instruction (qemu -icount shift=0,sleep=off) makes a count of instructions.
    #[arg(long)]
    instructions: bool,
}

/// Runs the part that was asked for.
pub fn run(args: &GrantsArgs) -> Result<(), Failure> {
    match &args.part {
        Part::Lend(args) => lend::run(args),
        Part::Count(args) if args.instructions => instructions(args),
        Part::Count(args) => count(args),
        Part::Direct(args) => direct::run(args),
        Part::Abandon(args) => direct::abandon(args),
    }
}

/// Requests of one page, and of all.
fn sizes(grefs: &[GrantRef]) -> Vec<&[GrantRef]> {
    let mut sizes = vec![&grefs[..1]];
    if grefs.len() > 1 {
        sizes.push(grefs);
    }
    sizes
}

fn title(grefs: &[GrantRef], way: Way) -> String {
    format!("{} KiB {}", 4 * grefs.len(), way.name())
}

fn count(args: &CountArgs) -> Result<(), Failure> {
    let mut grants = Gntdev::open().doing(|| "count grants".to_owned())?;
    let all = args.lent.grefs();
    let mut rows = Vec::new();
    for grefs in sizes(&all) {
        for way in Way::ALL {
            let mut server = Server::new(&mut grants, args.lent.domid(), grefs, way)?;
            let mut serve = |requests| (0..requests).try_for_each(|_| server.serve(way));
            serve(WARM_UP)?;
            let counter = Counter::new().doing(|| "count system calls".to_owned())?;
            let counted = counter.during(|| serve(args.requests));
            let (calls, served) = counted.doing(|| "count system calls".to_owned())?;
            served?;
            drop(counter);
            let tracer = Tracer::new(args.cpu, args.elsewhere);
            let (tally, served) = tracer.during(|| serve(args.requests))?;
            served?;
            rows.push(Row {
                what: title(grefs, way),
                requests: args.requests,
                calls,
                tally,
            });
        }
    }
    println!("{} requests of each kind", args.requests);
    print!("{}", report::table(&rows));
    Ok(())
}

fn instructions(args: &CountArgs) -> Result<(), Failure> {
    let mut grants = Gntdev::open().doing(|| "count instructions".to_owned())?;
    let all = args.lent.grefs();
    println!("{} requests of each kind", args.requests);
    println!("{:<28}{:>14}", "per request", "instructions");
    for grefs in sizes(&all) {
        for way in Way::ALL {
            let mut server = Server::new(&mut grants, args.lent.domid(), grefs, way)?;
            let mut serve = |requests| (0..requests).try_for_each(|_| server.serve(way));
            serve(WARM_UP)?;
            let started = Instant::now();
            serve(args.requests)?;
            let each = started.elapsed().as_nanos() / u128::from(args.requests);
            println!("{:<28}{each:>14}", title(grefs, way));
        }
    }
    Ok(())
}
