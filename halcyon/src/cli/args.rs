//! What may be asked of the `halcyon` command; help texts live here and nowhere else.
//!
//! It knows nothing of how any of it is done.

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};

use super::place::PlatformArg;

/// Serves the virtual disks of Xen guests, one small quiet process per guest.
#[derive(Debug, Parser)]
#[command(
    name = "halcyon",
    version,
    about,
    max_term_width = 100,
    after_help = "Exit codes: 0 done; 1 failed; 2 wrong command line; 3 verification failed or \
                  something leaked; 4 held by another process; 5 no Xen and no simulated host.\n\
                  Environment: HALCYON_SIM names the directory of a simulated host, HALCYON_LOG a \
                  log level (error, warn, info, debug, trace).\n\
                  First steps on a machine without Xen: `halcyon check`, then `halcyon demo`."
)]
pub struct Cli {
    /// Where the guests are: `linux` (this is a Xen control domain) or `sim:DIR` (a simulated
    /// host). Default: linux where /dev/xen exists, else sim:$HALCYON_SIM, else the simulated host
    /// that `halcyon sim start` without a directory has started.
    #[arg(long, global = true, value_name = "linux|sim:DIR")]
    pub platform: Option<PlatformArg>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve one guest: every disk that xenstore gives it, until the guest is gone.
    Vm(VmArgs),
    /// Serve every guest of this backend domain: a process for each one that gets a disk for us.
    #[command(
        after_help = "Stopping the daemon leaves the processes serving, and the next one takes \
                            them back. Installation: dist/README.md."
    )]
    Host(HostArgs),
    /// Run a simulated Xen host and play its toolstack.
    #[command(subcommand)]
    Sim(SimCommand),
    /// Show the counters of running VM processes, read from their shared pages.
    Stats(StatsArgs),
    /// Say whether this machine is fit to serve guests: one line each, with the remedy.
    Check,
    /// Show and verify the whole path here and now: no Xen and no privileges needed.
    Demo(DemoArgs),
    /// Run the benchmarks: `halcyon bench disk`, for one. Executes halcyon-bench.
    #[command(
        after_help = "`halcyon bench disk` puts the path of a guest's disk beside fio on the \
                            bare file; `halcyon bench COMMAND --help` says more.\n\
                            It executes the halcyon-bench that lies beside halcyon. To build it:\n  \
                      cargo build --release -p benches"
    )]
    Bench(BenchArgs),
    /// Play a guest of the simulated host, commanded over stdin.
    #[command(hide = true)]
    Guest(GuestArgs),
}

/// The numbers that a guest can have: below `DOMID_FIRST_RESERVED` (`xen.h`).
const DOMIDS: std::ops::RangeInclusive<u16> = 1..=0x7FEF;

/// `halcyon vm`
#[derive(Debug, PartialEq, Eq, Args)]
pub struct VmArgs {
    /// The guest's domain number.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=0x7FEF))]
    pub domid: u16,
    /// Which kinds of backend to serve: the directories under backend/ in xenstore.
    #[arg(long, value_delimiter = ',', default_values = ["vbd", "vbd3", "qdisk"])]
    pub kind: Vec<KindArg>,
    /// Let the host daemon that listens here open the images, instead of opening them itself.
    #[arg(long, value_name = "SOCKET")]
    pub broker: Option<PathBuf>,
}

/// `halcyon host`
#[derive(Debug, PartialEq, Eq, Args)]
pub struct HostArgs {
    /// Which kinds of backend to serve; vbd only where the kernel's xen-blkback is not loaded.
    #[arg(long, value_delimiter = ',', default_values = ["vbd", "vbd3"])]
    pub kind: Vec<KindArg>,
}

/// A kind of backend, as xenstore names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum KindArg {
    /// Where the kernel's own block backend is not loaded.
    Vbd,
    /// libxl's `backendtype=tap`.
    Vbd3,
    /// libxl's `backendtype=qdisk`.
    Qdisk,
}

impl KindArg {
    /// The directory under `backend/`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Vbd => "vbd",
            Self::Vbd3 => "vbd3",
            Self::Qdisk => "qdisk",
        }
    }

    /// The kind of a directory under `backend/`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let all = [Self::Vbd, Self::Vbd3, Self::Qdisk];
        all.into_iter().find(|kind| kind.name() == name)
    }
}

impl VmArgs {
    /// Reads the command lines that spawners use, `--platform P vm --domid N`, and the same with
    /// `--kind K --broker SOCKET`, and no other.
    ///
    /// The full parser leaves 80 KiB of touched heap and stack behind, which a thousand processes
    /// would keep; whatever this does not understand is for the full parser to judge.
    pub fn quick<'a>(words: impl IntoIterator<Item = &'a str>) -> Option<(PlatformArg, Self)> {
        let words: Vec<&str> = words.into_iter().collect();
        let [
            "--platform",
            platform,
            "vm",
            "--domid",
            domid,
            ref rest @ ..,
        ] = *words
        else {
            return None;
        };
        let (kind, broker) = match *rest {
            [] => (vec![KindArg::Vbd, KindArg::Vbd3, KindArg::Qdisk], None),
            ["--kind", kinds, "--broker", socket] => {
                let kinds = kinds.split(',').map(KindArg::named);
                (kinds.collect::<Option<_>>()?, Some(socket.into()))
            }
            _ => return None,
        };
        let domid = domid.parse().ok().filter(|domid| DOMIDS.contains(domid))?;
        let args = Self {
            domid,
            kind,
            broker,
        };
        Some((platform.parse().ok()?, args))
    }
}

/// `halcyon sim`
#[derive(Debug, Subcommand)]
pub enum SimCommand {
    /// Start a simulated host. Prints the lines that point other tools at it, for a shell to
    /// evaluate: eval "$(halcyon sim start ./host)".
    Start {
        /// Where it lives; created if missing. Default: $HALCYON_SIM, else the place that every
        /// command looks at: /run/halcyon-sim for root, $XDG_RUNTIME_DIR/halcyon-sim for others.
        dir: Option<PathBuf>,
        /// Stay in the foreground until interrupted.
        #[arg(long)]
        foreground: bool,
        /// End when standard input does.
        #[arg(long, requires = "foreground", hide = true)]
        while_stdin: bool,
    },
    /// Create a guest with its disks: start its VM process and a fake guest kernel.
    Create(CreateArgs),
    /// List the guests and their disks.
    List {
        /// For programs.
        #[arg(long)]
        json: bool,
    },
    /// Give a running guest one more disk.
    Attach {
        /// Which guest: its name or domain number.
        guest: String,
        /// The disk: `[FORMAT:]PATH[,VDEV][,r|w]`.
        disk: String,
    },
    /// Take a disk from a running guest; waits up to 10 s for what is still in the disk.
    Detach {
        /// Which guest: its name or domain number.
        guest: String,
        /// Which disk: xvda, say.
        vdev: String,
    },
    /// Destroy a guest at once, as pulling the plug does, and wait until its process is gone.
    Destroy {
        /// Which guest: its name or domain number.
        guest: String,
    },
    /// Destroy all guests and stop the simulated host.
    Stop,
}

impl SimCommand {
    /// The directory that a new host was given.
    #[must_use]
    pub fn new_dir(&self) -> Option<&Path> {
        match self {
            Self::Start { dir, .. } => dir.as_deref(),
            _ => None,
        }
    }
}

/// `halcyon sim create`
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// The guest's name: letters, digits and - _ . + : but not digits alone. Default: the first
    /// of guest1, guest2 and so on that is free.
    pub name: Option<String>,
    /// A disk: `[FORMAT:]PATH[,VDEV][,r|w]`; repeat for more. VDEV defaults to the next free xvdX.
    #[arg(long = "disk", value_name = "DISK")]
    pub disks: Vec<String>,
    /// Guest memory.
    #[arg(long, default_value_t = 16, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub memory_mib: u32,
    /// The guest's UUID; a new one by default.
    #[arg(long)]
    pub uuid: Option<String>,
    /// Let the guest read (and, on writable disks, write and verify) this many requests at once.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub requests: u64,
    /// Create the domain alone; start `halcyon vm --domid N` yourself.
    #[arg(long)]
    pub no_vm: bool,
    /// Start no fake guest kernel; the frontend stays in state Initialising.
    #[arg(long)]
    pub no_guest: bool,
}

/// `halcyon stats`
#[derive(Debug, Args)]
pub struct StatsArgs {
    /// For programs.
    #[arg(long, conflicts_with = "prometheus")]
    pub json: bool,
    /// For a Prometheus text-file collector.
    #[arg(long)]
    pub prometheus: bool,
    /// Only these VMs: a domain number, or the start of a UUID.
    #[arg(value_name = "VM")]
    pub vms: Vec<String>,
}

/// `halcyon demo`
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Your own file or block device instead of a scratch image. Only read, unless --write.
    #[arg(long, value_name = "PATH")]
    pub disk: Option<PathBuf>,
    /// Let the guest write to --disk. DESTROYS its content.
    #[arg(long, requires = "disk")]
    pub write: bool,
    /// This many guests at once, each with its own process and its own scratch disk; they all
    /// reconnect and reboot, too.
    #[arg(long, default_value_t = 1, value_name = "N", conflicts_with = "disk",
          value_parser = clap::value_parser!(u32).range(1..=4000))]
    pub vms: u32,
    /// Requests of the mixed load, shared among the guests, each of which makes 200 at least.
    /// Default: 100000, and at least 10 s where there is one guest.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub requests: Option<u64>,
    /// Seed of the workload; the same seed writes the same bytes.
    #[arg(long, default_value_t = 0x48_61_6c_63, value_name = "N")]
    pub seed: u64,
    /// The report as JSON on stdout, no progress.
    #[arg(long)]
    pub json: bool,
}

/// `halcyon bench`
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Passed to halcyon-bench as they are.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub rest: Vec<std::ffi::OsString>,
}

/// `halcyon guest`
#[derive(Debug, Args)]
pub struct GuestArgs {
    /// The domain to play.
    #[arg(long)]
    pub domid: u16,
    /// Seed of the disks' content; a disk adds its number.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// What the disks hold at first.
    #[arg(long, default_value = "image")]
    pub initial: InitialArg,
    /// What the disk holds is in this file: the dump of a guest that had it before.
    #[arg(long, value_name = "PATH")]
    pub model: Option<PathBuf>,
    /// Make this many requests on each disk at once, then stay.
    #[arg(long, default_value_t = 0, conflicts_with = "orders")]
    pub requests: u64,
    /// Take orders from standard input, and end with it.
    #[arg(long)]
    pub orders: bool,
}

/// What a disk holds before its guest writes to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum InitialArg {
    /// The content of a scratch image.
    Stamps,
    /// What the image holds, which the guest looks up itself, past its backend.
    Image,
    /// Nobody knows: what was not written by this guest is read without being compared.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    /// What either way makes of a command line.
    fn both_ways(words: &[&str]) -> [(Option<PlatformArg>, VmArgs); 2] {
        let (platform, args) = VmArgs::quick(words.iter().copied()).unwrap();
        let full = Cli::parse_from(["halcyon"].iter().chain(words));
        let Command::Vm(expected) = full.command else {
            unreachable!("vm was said")
        };
        [(Some(platform), args), (full.platform, expected)]
    }

    #[test]
    fn the_quick_way_reads_what_the_full_parser_reads() {
        let [quick, full] = both_ways(&["--platform", "sim:/x", "vm", "--domid", "7"]);
        assert_eq!(quick, full);
    }

    #[test]
    fn the_quick_way_reads_what_the_host_daemon_says() {
        let words = "--platform sim:/x vm --domid 7 --kind vbd,vbd3 --broker /run/s";
        let [quick, full] = both_ways(&words.split(' ').collect::<Vec<_>>());
        assert_eq!(quick, full);
    }

    #[test]
    fn the_quick_way_leaves_everything_unusual_to_the_full_parser() {
        assert!(VmArgs::quick(["--platform", "sim:/x", "vm", "--domid", "0"]).is_none());
        assert!(VmArgs::quick(["--platform", "x", "vm", "--domid", "1"]).is_none());
        assert!(VmArgs::quick(["vm", "--domid", "1"]).is_none());
    }
}
