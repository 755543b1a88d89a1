//! What the planted VM processes share: they are started like `halcyon vm`, by the same command
//! line, and are made of the same parts.
//!
//! Each has one fault, which the test `independent` must find. Invariant: but for that fault, they
//! are the shipped process.

use std::process::ExitCode;

use halcyon::cli::args::VmArgs;
use halcyon::error::{Exit, Failure};
use halcyon::log;
use halcyon::vm::live::{LiveImages, Process};

/// Takes the guest that the command line names, and has `run` serve it.
pub(crate) fn main(run: impl FnOnce(Process<LiveImages>) -> Result<(), Failure>) -> ExitCode {
    log::to_stderr(log::level_from_environment(tracing::Level::INFO));
    match prepare().and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("planted: {failure}");
            ExitCode::from(failure.exit.code())
        }
    }
}

fn prepare() -> Result<Process<LiveImages>, Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words = words.iter().map(String::as_str);
    let usage = || Failure::new(Exit::Usage, "say --platform linux|sim:DIR vm --domid N");
    let (platform, args) = VmArgs::quick(words).ok_or_else(usage)?;
    Process::prepare(&platform, &args)
}
