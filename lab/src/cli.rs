//! What may be asked of the `lab` command; help texts live here and nowhere else.
//!
//! It knows nothing of how any of it is done.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::scenario::Disk;

/// Boots the real Xen hypervisor in an emulated machine and runs guests against Halcyon.
#[derive(Debug, Parser)]
#[command(
    name = "lab",
    max_term_width = 100,
    after_help = "Exit codes: 0 all passed; 1 an expectation failed; 2 the lab could not do its work, one line \
                  says why; 3 a machine died or ran out of time.\n\
                  Environment: HALCYON_LAB is the directory for packages, images and results (else \
                  $XDG_CACHE_HOME/halcyon/lab or ~/.cache/halcyon/lab), HALCYON_LAB_MIRROR a Debian mirror."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run scenarios, by name or by set, on each stack.
    Test(TestArgs),
    /// Fetch the packages and assemble the stacks, without running anything.
    Setup(SetupArgs),
    /// Boot a stack and give a shell in its control domain, with halcyon and the scenarios' verbs.
    Shell(ShellArgs),
    /// Name the scenarios: set, stacks, title.
    List,
}

/// What and where to run.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// Names of scenarios; none means all, or all of --set.
    pub scenarios: Vec<String>,
    /// All of this set, where no scenario is named: quick, or full for all.
    #[arg(long, value_name = "quick|full", default_value = "full")]
    pub set: SetArg,
    /// A stack to run on; may be repeated. Default: each.
    #[arg(long, value_name = "NAME")]
    pub stack: Vec<String>,
    /// Run this program instead of building the one under test.
    #[arg(long, value_name = "FILE")]
    pub halcyon: Option<PathBuf>,
    /// Cargo's profile for what is built.
    #[arg(long, default_value = "release")]
    pub profile: String,
    /// How many times.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub repeat: u32,
    /// Multiply every bound in time by this, on a slow or loaded machine.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub patience: u32,
    /// Print results only, not the machine's console.
    #[arg(long)]
    pub quiet: bool,
}

/// Which scenarios.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum SetArg {
    /// Those of every run of the gate.
    Quick,
    /// All.
    Full,
}

/// What to fetch.
#[derive(Debug, Args)]
pub struct SetupArgs {
    /// A stack to set up; may be repeated. Default: each.
    #[arg(long, value_name = "NAME")]
    pub stack: Vec<String>,
    /// Ask the archive for newer packages than those that were fetched once.
    #[arg(long)]
    pub refresh: bool,
}

/// What to boot.
#[derive(Debug, Args)]
pub struct ShellArgs {
    /// The stack.
    #[arg(long, value_name = "NAME", default_value = "xen-4.17")]
    pub stack: String,
    /// Share this program instead of building one.
    #[arg(long, value_name = "FILE")]
    pub halcyon: Option<PathBuf>,
    /// Cargo's profile for what is built.
    #[arg(long, default_value = "release")]
    pub profile: String,
    /// A scratch disk of this size, as 768M; may be repeated.
    #[arg(long, value_name = "SIZE")]
    pub disk: Vec<Disk>,
}
