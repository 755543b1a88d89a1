//! The `lab` command: the command line, and one line and an exit status when it goes wrong.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use lab::cli::Cli;
use lab::commands;

fn main() -> ExitCode {
    match commands::run(&Cli::parse().command) {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            eprintln!("lab: {failure}");
            ExitCode::from(2)
        }
    }
}
