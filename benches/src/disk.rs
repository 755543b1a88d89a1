//! `halcyon-bench disk`: random 4 KiB requests on one file, by fio directly and through a guest's
//! disk, in turns.
//!
//! A pair is one run of each, right after another; which comes first alternates. What counts is the
//! ratio within a pair: absolute numbers of a shared machine wander by more than the difference.
//!
//! Invariant: both runs of a pair use the same file, size, depth, duration and placement.

use std::path::{Path, PathBuf};

use clap::Args;
use halcyon::error::{Exit, Failure};
use halcyon::guest::wire::Pattern;

pub mod fio;
pub mod path;
pub mod report;

use crate::machine::{self, Machine};
use crate::place;
use fio::Fio;
use path::DemoPath;
use report::{Pair, Report, Row};

/// `halcyon-bench disk`
#[derive(Clone, Debug, Args)]
pub struct DiskArgs {
    /// Your own file or block device instead of a scratch image. Only read, unless --write.
    #[arg(long, value_name = "PATH")]
    pub disk: Option<PathBuf>,
    /// Write to --disk. DESTROYS its content.
    #[arg(long, requires = "disk")]
    pub write: bool,
    /// Pairs of runs per row.
    #[arg(long, default_value_t = 9, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub pairs: u32,
    /// How long each run takes.
    #[arg(long, default_value_t = 2, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// Let the scheduler place fio, guest and VM process. By default depth 1 is on processor 0
    /// alone; deeper, the guest is on processor 0 and what does the I/O, VM process or fio, on 1.
    #[arg(long)]
    pub unpinned: bool,
    /// The report as JSON, every single run included.
    #[arg(long)]
    pub json: bool,
}

/// What both sides of a pair do.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Reads or writes.
    pub pattern: Pattern,
    /// Requests under way at once.
    pub depth: u32,
    /// How long.
    pub seconds: u64,
    /// Where.
    pub place: Placement,
}

/// Processors of a run; `None` leaves it to the scheduler.
#[derive(Clone, Copy, Debug)]
pub struct Placement {
    /// Of whatever does the I/O: fio, or the VM process.
    pub disk: Option<usize>,
    /// Of the guest.
    pub guest: Option<usize>,
}

impl Run {
    /// Whether it writes.
    #[must_use]
    pub fn writes(&self) -> bool {
        self.pattern == Pattern::RandomWrite
    }
}

/// Runs the benchmark and prints its report.
pub fn run(args: &DiskArgs) -> Result<(), Failure> {
    let machine = Machine::here();
    let fio = fio::version();
    let mut demo = DemoPath::start(args)?;
    let mut report = Report {
        storage: machine::storage(demo.image()),
        image: demo.image().display().to_string(),
        image_bytes: machine::size_bytes(demo.image()),
        machine,
        fio,
        placement: placement_in_words(args.unpinned).to_owned(),
        pairs: args.pairs,
        seconds: args.seconds,
        rows: Vec::new(),
    };
    for run in runs(args) {
        let row = row(args, run, &mut demo, report.fio.is_some())?;
        if !args.json {
            eprintln!("{}: {} pairs done", row.name, row.pairs.len());
        }
        report.rows.push(row);
    }
    demo.end()?;
    print(args, &report)
}

/// Reads first: what fio writes the guest does not know, so nothing it reads afterwards would be
/// what it expects.
fn runs(args: &DiskArgs) -> Vec<Run> {
    let patterns = [Pattern::RandomRead, Pattern::RandomWrite];
    let wanted = patterns
        .into_iter()
        .filter(|pattern| *pattern == Pattern::RandomRead || args.disk.is_none() || args.write);
    let all = wanted.flat_map(|pattern| [1, 32].map(|depth| (pattern, depth)));
    let placed = all.map(|(pattern, depth)| Run {
        pattern,
        depth,
        seconds: args.seconds,
        place: placement(args.unpinned, depth),
    });
    placed.collect()
}

/// At depth 1 the ends take turns, so two processors only add the time to wake one another; deeper,
/// they work at the same time.
fn placement(unpinned: bool, depth: u32) -> Placement {
    let apart = depth > 1 && place::processors() > 1;
    match unpinned {
        true => Placement {
            disk: None,
            guest: None,
        },
        false => Placement {
            disk: Some(usize::from(apart)),
            guest: Some(0),
        },
    }
}

fn placement_in_words(unpinned: bool) -> &'static str {
    match (unpinned, place::processors()) {
        (true, _) => "left to the scheduler",
        (false, 1) => "everything on the one processor",
        (false, _) => {
            "depth 1: everything on processor 0; depth 32: guest on processor 0, VM process and fio \
             on processor 1"
        }
    }
}

fn row(args: &DiskArgs, run: Run, demo: &mut DemoPath, fio: bool) -> Result<Row, Failure> {
    let what = if run.writes() {
        "random write"
    } else {
        "random read"
    };
    let mut row = Row {
        name: format!("{what}, depth {}", run.depth),
        pairs: Vec::new(),
    };
    for number in 0..args.pairs {
        let bare = |image: &Path| fio.then(|| fio::run(image, &run)).transpose();
        let image = demo.image().to_owned();
        let (fio, ours): (Option<Fio>, _) = match number % 2 {
            0 => {
                let fio = bare(&image)?;
                (fio, demo.run(&run, number)?)
            }
            _ => {
                let ours = demo.run(&run, number)?;
                (bare(&image)?, ours)
            }
        };
        row.pairs.push(Pair { fio, ours });
    }
    Ok(row)
}

fn print(args: &DiskArgs, report: &Report) -> Result<(), Failure> {
    if !args.json {
        print!("{}", report::render(report));
        return Ok(());
    }
    match serde_json::to_string_pretty(report) {
        Ok(text) => println!("{text}"),
        Err(error) => return Err(Failure::new(Exit::Failed, format!("write JSON: {error}"))),
    }
    Ok(())
}
