//! The `halcyon` command: the command line, and one line and an exit code when it goes wrong.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use halcyon::cli::args::{Cli, Command};
use halcyon::cli::{bench, place};
use halcyon::error::{Exit, Failure};
use halcyon::{check, demo, guest, log, simctl, stats, vm};

fn main() -> ExitCode {
    log::to_stderr(log::level_from_environment(tracing::Level::INFO));
    match run(Cli::parse()) {
        Ok(()) => ExitCode::from(Exit::Ok.code()),
        Err(failure) => {
            eprintln!("halcyon: {failure}");
            ExitCode::from(failure.exit.code())
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Vm(args) => vm::live::run(&place::platform(cli.platform)?, &args),
        Command::Sim(command) => simctl::run(&place::sim_dir(cli.platform)?, &command),
        Command::Stats(args) => {
            let platform = place::platform(cli.platform)?;
            stats::run(&place::state_dir(&platform), &args)
        }
        Command::Check => check::run(),
        Command::Bench(args) => bench::run(args),
        Command::Guest(args) => guest::run(&place::sim_dir(cli.platform)?, args),
        Command::Demo(args) => demo::run(&args),
    }
}
