//! `lab-io`: makes I/O inside a guest (or anywhere) and checks every byte of it.
//!
//! Prints one line and exits with 0; or prints one line that says what went wrong and exits with 1
//! (I/O error), 2 (usage) or 3 (wrong data).

#![forbid(unsafe_code)]

use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, ValueEnum};
use lab::io::{
    self, Failure, Op, Order, Outcome, Pace, Pattern, RateOrder, Target, Verified, amount,
};

/// Makes I/O and checks every byte of it.
#[derive(Parser)]
enum Cli {
    /// How many requests a device or file does in a second.
    Rate(RateArgs),
    /// Random reads and writes of stamped sectors; every read is compared with what was written.
    WriteVerify {
        #[command(flatten)]
        order: OrderArgs,
        /// Makes the file, or makes it longer, so that it has this size.
        #[arg(long, value_parser = amount::bytes)]
        size: Option<u64>,
        /// A flush after so many requests.
        #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..))]
        flush_every: u64,
    },
    /// Reads all that a write-verify with the same arguments has left behind.
    Verify(OrderArgs),
}

#[derive(Args)]
struct RateArgs {
    /// The device or file.
    path: PathBuf,
    /// Where requests go.
    pattern: PatternArg,
    /// The length of each request in bytes.
    #[arg(value_parser = amount::bytes)]
    bytes: u64,
    /// How many are under way at once.
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1024))]
    depth: u32,
    /// How long.
    seconds: f64,
    /// Writes instead of reads. What the device held is lost.
    write: Option<WriteArg>,
}

#[derive(Clone, Copy, ValueEnum)]
enum PatternArg {
    Rand,
    Seq,
}

#[derive(Clone, Copy, ValueEnum)]
enum WriteArg {
    Write,
}

#[derive(Args)]
struct OrderArgs {
    /// The device or file.
    path: PathBuf,
    /// How many reads and writes.
    #[arg(long)]
    requests: u64,
    /// Decides every choice and all data.
    #[arg(long)]
    seed: u64,
    /// The longest request.
    #[arg(long, default_value = "64K", value_parser = amount::bytes)]
    bs_max: u64,
    /// How many requests are under way at once.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1024))]
    depth: u32,
    /// The part to stay in, START..END in bytes.
    #[arg(long, value_parser = amount::range)]
    range: Option<Range<u64>>,
}

impl OrderArgs {
    fn order(&self) -> Order {
        Order {
            seed: self.seed,
            requests: self.requests,
            bytes_max: self.bs_max,
            range: self.range.clone(),
        }
    }
}

fn main() -> ExitCode {
    match parse().and_then(|cli| run(&cli)) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("lab-io: {failure}");
            ExitCode::from(failure.code())
        }
    }
}

/// The command line, or one line that says what is wrong with it.
fn parse() -> Result<Cli, Failure> {
    Cli::try_parse().map_err(|error| {
        if !error.use_stderr() {
            error.exit();
        }
        let text = error.to_string();
        let first = text.split("\n\n").next().unwrap_or_default();
        let words = first.trim_start_matches("error: ").split_whitespace();
        let line = words.collect::<Vec<_>>().join(" ");
        Failure::Usage(format!("{line} (see lab-io --help)"))
    })
}

fn run(cli: &Cli) -> Result<String, Failure> {
    match cli {
        Cli::Rate(args) => rate(args),
        Cli::WriteVerify {
            order,
            size,
            flush_every,
        } => write_verify(order, *size, *flush_every),
        Cli::Verify(order) => verify(order),
    }
}

fn rate(args: &RateArgs) -> Result<String, Failure> {
    let op = args.write.map_or(Op::Read, |WriteArg::Write| Op::Write);
    let target = match op {
        Op::Read => Target::read(&args.path)?,
        Op::Write => Target::write(&args.path)?,
    };
    let pattern = match args.pattern {
        PatternArg::Rand => Pattern::Random,
        PatternArg::Seq => Pattern::Sequential,
    };
    let lasts = Duration::try_from_secs_f64(args.seconds)
        .map_err(|error| Failure::Usage(format!("{} seconds: {error}", args.seconds)))?;
    let order = RateOrder {
        pattern,
        op,
        bytes: args.bytes,
        depth: args.depth,
        lasts,
    };
    Ok(io::rate(&target, order)?.to_string())
}

fn write_verify(args: &OrderArgs, size: Option<u64>, flush_every: u64) -> Result<String, Failure> {
    let target = match size {
        Some(bytes) => Target::create(&args.path, bytes)?,
        None => Target::write(&args.path)?,
    };
    let pace = Pace {
        depth: args.depth,
        flush_every,
    };
    let Outcome {
        reads,
        writes,
        flushes,
        verified_sectors,
        unknown_sectors,
        written_sectors,
        took,
    } = io::write_verify(&target, &args.order(), pace)?;
    Ok(format!(
        "write-verify {} seed={} requests={} reads={reads} writes={writes} flushes={flushes} \
         sectors_verified={verified_sectors} sectors_unknown={unknown_sectors} \
         sectors_written={written_sectors} secs={:.2} ok",
        args.path.display(),
        args.seed,
        reads + writes,
        took.as_secs_f64(),
    ))
}

fn verify(args: &OrderArgs) -> Result<String, Failure> {
    let target = Target::read(&args.path)?;
    let Verified {
        verified_sectors,
        unknown_sectors,
    } = io::verify(&target, &args.order(), args.depth)?;
    Ok(format!(
        "verify {} seed={} requests={} sectors_verified={verified_sectors} \
         sectors_unknown={unknown_sectors} ok",
        args.path.display(),
        args.seed,
        args.requests,
    ))
}
