//! `halcyon demo`: the whole path on this machine, measured and verified.
//!
//! `script` and `acts` say what happens on the stage that is [`show::Show`].
//! Invariant: everything that was not as it must be ends up in the report's faults, and a report
//! with faults is a failure.

use crate::cli::args::DemoArgs;
use crate::error::{Doing as _, Exit, Failure};
use crate::report::{Report, table};
use progress::Progress;
use scale::Scale;
use script::Script;
use show::Show;

mod acts;
pub mod cleanup;
pub mod crew;
pub mod leaks;
pub mod meter;
pub mod progress;
pub mod reader;
pub mod scale;
pub mod scratch;
mod script;
pub mod show;

/// Runs the demo and prints what it found.
pub fn run(args: &DemoArgs) -> Result<(), Failure> {
    let progress = Progress::new(args.json);
    let mut show = Show::new(args)?;
    let performed = Script {
        args,
        scale: Scale::of(args),
        progress: &progress,
        show: &mut show,
    }
    .perform();
    progress.end();
    if !performed.as_ref().is_ok_and(Report::is_good) {
        eprint!("{}", show.last_words());
    }
    let report = performed?;
    show.close()?;
    if args.json {
        println!(
            "{}",
            serde_json::to_string_pretty(&report).doing(|| "write JSON".into())?
        );
    } else {
        print!("{}", table::render(&report));
    }
    match report.faults.first() {
        None => Ok(()),
        Some(first) => Err(Failure::new(
            Exit::Unverified,
            format!("{} faults, the first: {first}", report.faults.len()),
        )),
    }
}
