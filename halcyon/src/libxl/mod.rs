//! Started as a device model: libxl's `device_model_override`, with qemu's command line and QMP.
//!
//! ```text
//!  argv ─► dialect ─► sockets ─► monitors ─► commands
//!                └──► vm::live::Process (kind qdisk) ─► readiness node
//! ```
//!
//! It composes; the dialect, the sockets and the answers are below. What libxl has started must not
//! fork away and must not end before it is ready, for libxl takes either for a failed guest; and a
//! guest without disks for the moment still has its process. Standard output and error are the
//! file that libxl names when something is wrong.
//!
//! Invariant: the readiness node is written when the watches on the guest's devices are set, so
//! that no device that libxl adds after it has read the node is missed; and only while somebody
//! waits for it, so that none is left of a guest that was destroyed meanwhile.

use abi::DomId;
use reactor::live::{Config, OPERATIONS, Uring};
use reactor::{Reactor as _, Sleep};
use xenstore::{Path, Step};

use self::blocks::Block;
use self::commands::{Answers, Status, VERSION};
use self::dialect::{Monitor, Order, Serve};
use self::monitors::Monitors;
use self::sockets::{Promised, Socket};
use crate::cli::args::{KindArg, VmArgs};
use crate::cli::place;
use crate::error::{Doing as _, Exit, Failure};
use crate::signals;
use crate::vm::live::{LiveImages, Process};
use crate::vm::{Ended, Turn, Vm};

mod blocks;
mod commands;
pub mod dialect;
mod inherited;
mod listeners;
mod monitors;
mod options;
mod pairs;
mod sockets;

pub use monitors::FILES_MAX;

/// Does what a command line in qemu's dialect asks for.
pub fn run(words: &[String]) -> Result<(), Failure> {
    match dialect::parse(words).map_err(|line| Failure::new(Exit::Usage, line))? {
        Order::Version => {
            let [major, minor, micro] = VERSION.numbers;
            println!(
                "QEMU emulator version {major}.{minor}.{micro} ({})",
                VERSION.package
            );
            Ok(())
        }
        Order::Probe(monitors) => answer_probe(monitors),
        Order::Serve(order) => serve_guest(order),
    }
}

/// Tells what can be asked for, until told to quit.
fn answer_probe(monitors: Vec<Monitor>) -> Result<(), Failure> {
    signals::obey().doing(|| "take signals".into())?;
    let promised = take(monitors)?;
    let mut asked = Asked::new(&promised, Status::Prelaunch);
    let config = Config {
        files: u32::try_from(FILES_MAX).unwrap_or(u32::MAX),
        ..Config::default()
    };
    let mut reactor = Uring::new(config).doing(|| "start".into())?;
    let mut monitors = Monitors::listen(&mut reactor, listen(promised)?)?;
    let mut completions = Vec::new();
    while !monitors.is_over() {
        reactor.wait(Sleep::UntilWork, &mut completions);
        let mut answers = asked.answers(&Vec::new);
        monitors.turn(&mut reactor, &mut completions, &mut answers);
    }
    monitors.close(&mut reactor);
    Ok(())
}

/// Serves the disks of a guest until it is gone or somebody tells us to end.
fn serve_guest(order: Serve) -> Result<(), Failure> {
    if !order.unused.is_empty() {
        tracing::info!("not to be had here, ignored: {}", order.unused.join(" "));
    }
    let domid = order.domid;
    let args = VmArgs {
        domid: domid.0,
        kind: vec![KindArg::Qdisk],
        broker: None,
    };
    let promised = take(order.monitors)?;
    let status = match order.is_paused {
        true => Status::Prelaunch,
        false => Status::Running,
    };
    let mut asked = Asked::new(&promised, status);
    let mut process = Process::prepare(&place::platform(None)?, &args)?;
    let mut monitors = Monitors::listen(&mut process.reactor, listen(promised)?)?;
    let mut announcement = vec![process.identity.unchanged()];
    announcement.extend(running(process.xen.domid, domid).doing(|| "announce".into())?);
    process.run(move |vm, reactor| {
        vm.announce(announcement);
        let served = serve(vm, reactor, &mut monitors, &mut asked);
        monitors.close(reactor);
        served
    })
}

/// As [`crate::vm::live::serve`], and answers on the side.
fn serve(
    vm: &mut Vm<Uring, LiveImages>,
    reactor: &mut Uring,
    monitors: &mut Monitors,
    asked: &mut Asked,
) -> Result<(), Ended> {
    let mut completions = Vec::with_capacity(OPERATIONS);
    let mut has_quit = false;
    loop {
        let sleep = match vm.turn(reactor, &mut completions)? {
            Turn::Again => Sleep::No,
            Turn::Idle => Sleep::UntilWork,
            Turn::Done => return Ok(()),
        };
        reactor.wait(sleep, &mut completions);
        let disks = || disks(vm);
        monitors.turn(reactor, &mut completions, &mut asked.answers(&disks));
        if monitors.is_over() && !has_quit {
            has_quit = true;
            vm.stop(reactor);
        }
    }
}

fn disks(vm: &Vm<Uring, LiveImages>) -> Vec<Block> {
    let devices = vm.devices().iter();
    devices
        .filter_map(|entry| Block::of(&entry.device))
        .collect()
}

/// Before anything is opened: what is inherited is known by its number alone.
fn take(monitors: Vec<Monitor>) -> Result<Vec<Promised>, Failure> {
    monitors.into_iter().map(Promised::take).collect()
}

/// Once the guest is claimed, for until then the names may be those of another process's sockets.
/// libxl connects when it has read the readiness node.
fn listen(promised: Vec<Promised>) -> Result<Vec<Socket>, Failure> {
    promised.into_iter().map(Promised::listen).collect()
}

/// The node that libxl waits for. In the control domain libxl makes its directory before it starts
/// us, and removes it before it tells us to end; in a driver domain the node may be the first.
fn running(own: DomId, domid: DomId) -> Result<Vec<Step>, xenstore::BadPath> {
    let dir = Path::new(format!("/local/domain/{own}/device-model/{domid}"))?;
    let write = Step::Write(dir.join("state")?, b"running".to_vec());
    let is_made = (own == DomId::DOM0).then(|| Step::Expect(dir, Vec::new()));
    Ok(is_made.into_iter().chain([write]).collect())
}

/// What answers need to know beside the disks.
struct Asked {
    status: Status,
    sockets: Vec<(String, String)>,
}

impl Asked {
    fn new(sockets: &[Promised], status: Status) -> Self {
        let named = sockets
            .iter()
            .map(|socket| (socket.id.clone(), socket.filename()));
        let sockets = named.collect();
        Self { status, sockets }
    }

    fn answers<'a>(&'a mut self, disks: &'a dyn Fn() -> Vec<Block>) -> Answers<'a> {
        Answers {
            status: &mut self.status,
            sockets: &self.sockets,
            disks,
        }
    }
}
