//! `halcyon-bench`: what `halcyon bench` executes. One line and an exit code when it goes wrong.
//!
//! The host, guests and VM processes that it starts are this program again, called as `halcyon`
//! would be: they run what ships, from the same library.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use benches::disk::{self, DiskArgs};
use benches::grants::{self, GrantsArgs};
use benches::hypercalls::{self, HypercallsArgs};
use benches::table::{self, TableArgs};
use clap::{Parser, Subcommand};
use halcyon::cli::args::Command as Part;
use halcyon::cli::{args, place};
use halcyon::error::{Exit, Failure};
use halcyon::{guest, log, simctl, vm};

/// Benchmarks of whole paths, each beside its floor on the same machine.
#[derive(Debug, Parser)]
#[command(name = "halcyon bench", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Random 4 KiB requests on one file: fio directly, and through a guest's disk.
    Disk(DiskArgs),
    /// System calls and hypercalls of grants on real Xen, and io_uring on mapped grants.
    Grants(GrantsArgs),
    /// Count the hypercalls in a file of xentrace.
    Hypercalls(HypercallsArgs),
    /// The medians of the last `cargo bench` in one table.
    Table(TableArgs),
}

fn main() -> ExitCode {
    let is_part = std::env::args_os()
        .nth(1)
        .is_some_and(|first| first == "--platform");
    let result = if is_part {
        play(args::Cli::parse())
    } else {
        bench(&Cli::parse())
    };
    match result {
        Ok(()) => ExitCode::from(Exit::Ok.code()),
        Err(failure) => {
            eprintln!("halcyon-bench: {failure}");
            ExitCode::from(failure.exit.code())
        }
    }
}

fn bench(cli: &Cli) -> Result<(), Failure> {
    log::to_stderr(log::level_from_environment(tracing::Level::WARN));
    match &cli.command {
        Command::Disk(args) => disk::run(args),
        Command::Grants(args) => grants::run(args),
        Command::Hypercalls(args) => hypercalls::run(args),
        Command::Table(args) => table::run(args),
    }
}

/// A part of the path that is measured.
fn play(cli: args::Cli) -> Result<(), Failure> {
    log::to_stderr(log::level_from_environment(tracing::Level::INFO));
    match cli.command {
        Part::Vm(args) => vm::live::run(&place::platform(cli.platform)?, &args),
        Part::Sim(command) => simctl::run(&place::sim_dir(cli.platform)?, &command),
        Part::Guest(args) => guest::run(&place::sim_dir(cli.platform)?, args),
        _ => Err(Failure::new(
            Exit::Usage,
            "only parts of a measured path take --platform here",
        )),
    }
}
