//! The `halcyon` command: the command line, and one line and an exit code when it goes wrong.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;
use halcyon::cli::args::{Cli, Command, VmArgs};
use halcyon::cli::{bench, place};
use halcyon::error::{Exit, Failure};
use halcyon::{check, demo, guest, host, libxl, log, simctl, stats, vm};

fn main() -> ExitCode {
    log::to_stderr(log::level_from_environment(tracing::Level::INFO));
    match serve_quickly().unwrap_or_else(|| run(parse()?)) {
        Ok(()) => ExitCode::from(Exit::Ok.code()),
        Err(failure) => {
            eprintln!("halcyon: {failure}");
            ExitCode::from(failure.exit.code())
        }
    }
}

/// The VM process as spawners start it, a toolstack's device model among them, without the weight
/// of the full parser.
fn serve_quickly() -> Option<Result<(), Failure>> {
    let words: Option<Vec<String>> = std::env::args_os()
        .skip(1)
        .map(|word| word.into_string().ok())
        .collect();
    let words = words?;
    if words
        .first()
        .is_some_and(|first| libxl::dialect::is_spoken(first))
    {
        return Some(libxl::run(&words));
    }
    let (platform, args) = VmArgs::quick(words.iter().map(String::as_str))?;
    Some(vm::live::run(&platform, &args))
}

/// The command line, or one line that says what is wrong with it.
fn parse() -> Result<Cli, Failure> {
    Cli::try_parse().map_err(|error| {
        if !error.use_stderr()
            || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        {
            error.exit();
        }
        let text = error.to_string();
        let first = text.split("\n\n").next().unwrap_or_default();
        let first = first.trim_start_matches("error: ").split_whitespace();
        let line = first.collect::<Vec<_>>().join(" ");
        Failure::new(Exit::Usage, format!("{line} (see halcyon --help)"))
    })
}

fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Vm(args) => vm::live::run(&place::platform(cli.platform)?, &args),
        Command::Host(args) => host::run(&place::platform(cli.platform)?, &args),
        Command::Sim(command) => {
            let dir = place::new_sim_dir(cli.platform, command.new_dir())?;
            simctl::run(&dir, &command)
        }
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
