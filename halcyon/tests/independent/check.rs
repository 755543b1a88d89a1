//! The check itself: one scene from the first process to the last, and the faults found in it.
//!
//! It does not know which VM process it judges. Invariant: whatever the process did before, every
//! later step is made too, so that a fault is found by each check that can see it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::fault::{Fault, Faults, What};
use crate::grants::Table;
use crate::processes::{Guest, Host, Process, settles};
use crate::scratch::Scratch;
use crate::{image, proc, store};

/// How long everything rests.
const REST: Duration = Duration::from_secs(30);
/// Longer than a cool-down, which comes 2 s after the last request.
const COOLS: Duration = Duration::from_secs(4);
/// How long a process may take to let go of something after it was told to, cool-down included.
const LETS_GO: Duration = Duration::from_secs(5);

/// 8 MiB.
const SECTORS: u64 = 16_384;
/// The largest request: 11 pages.
const SECTORS_MAX: u64 = 88;
const MEMORY_MIB: u64 = 16;
/// Disks attached and detached again while the guest runs.
const CYCLES: u32 = 3;

/// The numbers of xvda and xvdb (xen-vbd-interface(7)).
const XVDA: u32 = 51712;
const XVDB: u32 = 51728;

/// Directories that stay for the next guest.
const STAYS: [&str; 7] = [
    "/libxl",
    "/local",
    "/local/domain",
    "/local/domain/0",
    "/local/domain/0/backend",
    "/local/domain/0/backend/vbd3",
    "/vm",
];

/// A domain, whoever serves it, and its guest.
struct Machine {
    domid: String,
    seed: u64,
    vm: Process,
    /// What the process had open before it had a disk.
    files: Vec<String>,
    guest: Guest,
    table: Table,
    image: PathBuf,
}

/// Plays a scene with guests served by the VM process `program`.
pub(crate) fn check(program: &Path, guests: u32) -> Vec<Fault> {
    let mut faults = Faults::default();
    let images = Scratch::on_disk();
    let host = Host::start();
    let (host_files, nodes) = (proc::files(host.process.pid()), store::paths(&host.store()));
    let mut machines: Vec<Machine> = (1..=guests)
        .map(|number| create(&host, program, &images, number))
        .collect();
    load(&mut machines, &mut faults);
    rest(&host, &machines, &mut faults);
    wake(&mut machines, &mut faults);
    for machine in &mut machines {
        written(machine, &images, &mut faults);
        other_disks(&host, machine, &images, &mut faults);
        close(&host, machine, &mut faults);
    }
    for machine in machines {
        destroy(&host, machine, &mut faults);
    }
    nothing_left(&host, &host_files, &nodes, &mut faults);
    faults.0
}

fn create(host: &Host, program: &Path, images: &Scratch, number: u32) -> Machine {
    let name = format!("guest{number}");
    let memory = MEMORY_MIB.to_string();
    let before = proc::memory_files(host.process.pid());
    let said = host.sim(&[
        "create",
        &name,
        "--no-vm",
        "--no-guest",
        "--memory-mib",
        &memory,
    ]);
    let domid = said.split(' ').next().unwrap().to_owned();
    let table = Table::find(host.process.pid(), &before, MEMORY_MIB << 20);
    let vm = host.serve(program, &domid);
    let files = proc::files(vm.pid());
    let (seed, image) = (u64::from(number), images.path().join(format!("{name}.img")));
    image::create(&image, SECTORS, image::disk_seed(seed, XVDA));
    host.sim(&["attach", &domid, image.to_str().unwrap()]);
    let mut guest = host.play(&domid, seed);
    assert_eq!(guest.says("connected"), json!({ "sectors": [SECTORS] }));
    assert!(table.is_mapped_by(guest.process.pid()), "{table:?}");
    Machine {
        domid,
        seed,
        vm,
        files,
        guest,
        table,
        image,
    }
}

/// Every sector is written, then all kinds of requests come in all sizes, then every sector is read.
fn load(machines: &mut [Machine], faults: &mut Faults) {
    run(machines, "sequential-write", SECTORS / SECTORS_MAX, faults);
    run(machines, "mixed", 3_000, faults);
    run(machines, "sequential-read", SECTORS / SECTORS_MAX, faults);
}

/// One load on all machines at once.
fn run(machines: &mut [Machine], pattern: &str, requests: u64, faults: &mut Faults) {
    for machine in &mut *machines {
        order(machine, pattern, requests);
    }
    for machine in machines {
        ran(machine, requests, faults);
    }
}

fn order(machine: &mut Machine, pattern: &str, requests: u64) {
    machine.guest.order(&json!({ "run": {
        "pattern": pattern,
        "seed": machine.seed,
        "depth": 16,
        "requests": requests,
        "seconds": 0,
        "write": true,
    }}));
}

/// The end of a load: all was answered, without an error, and what was read was what was written.
fn ran(machine: &mut Machine, requests: u64, faults: &mut Faults) {
    let mut ran = machine.guest.says("ran");
    ran.as_object_mut().unwrap().remove("latencies");
    let count = |key: &str| ran[key].as_u64().unwrap();
    let wrong = count("failed") + count("mismatched_sectors") + count("violations");
    let fine = wrong == 0 && count("requests") >= requests && count("bytes") > 0;
    faults.unless(fine, What::Answers, || {
        format!(
            "domain {}: a load of {requests} requests: {ran}",
            machine.domid
        )
    });
}

/// Nobody runs for 30 s: no task of a VM process, of what it started, or of the host.
fn rest(host: &Host, machines: &[Machine], faults: &mut Faults) {
    let vms = machines.iter().map(|machine| machine.vm.pid());
    let pids: Vec<u32> = vms.chain([host.process.pid()]).collect();
    thread::sleep(COOLS);
    let before = proc::switches(&pids);
    thread::sleep(REST);
    let after = proc::switches(&pids);
    faults.unless(before == after, What::Switches, || {
        format!("(process, task): switches before {before:?} and after {after:?}")
    });
}

/// One verified read by every guest.
fn wake(machines: &mut [Machine], faults: &mut Faults) {
    for machine in machines {
        order(machine, "random-read", 1);
        let ran = machine.guest.says("ran");
        let fine = ran["requests"] == 1 && ran["verified_bytes"] == 4096;
        faults.unless(fine, What::Answers, || {
            format!(
                "domain {}: the first read after the rest: {ran}",
                machine.domid
            )
        });
    }
}

/// The image holds what the guest's model says.
fn written(machine: &mut Machine, images: &Scratch, faults: &mut Faults) {
    let model = images.path().join(format!("{}.model", machine.domid));
    machine.guest.order(&json!({ "dump": { "path": model } }));
    machine.guest.says("dumped");
    let seed = image::disk_seed(machine.seed, XVDA);
    image::compare(&machine.image, &model, seed, faults);
}

/// Disks come, are used and go while the first one stays; the process is left as it was.
fn other_disks(host: &Host, machine: &mut Machine, images: &Scratch, faults: &mut Faults) {
    let files = proc::files(machine.vm.pid());
    let path = images.path().join(format!("{}-xvdb.img", machine.domid));
    for _ in 0..CYCLES {
        image::create(&path, SECTORS / 4, image::disk_seed(machine.seed, XVDB));
        host.sim(&["attach", &machine.domid, path.to_str().unwrap()]);
        let sectors = json!([SECTORS, SECTORS / 4]);
        assert_eq!(machine.guest.says("connected")["sectors"], sectors);
        order(machine, "mixed", 300);
        ran(machine, 300, faults);
        host.sim(&["detach", &machine.domid, "xvdb"]);
    }
    same_files(&machine.vm, &files, "after disks came and went", faults);
    // The ring of the disk that stayed.
    same_grants(machine, 1, "after disks came and went", faults);
}

/// The guest gives its disk up, and the toolstack takes it away.
fn close(host: &Host, machine: &mut Machine, faults: &mut Faults) {
    machine.guest.order(&Value::from("close"));
    machine.guest.says("closed");
    same_grants(machine, 0, "after the guest closed its disk", faults);
    host.sim(&["detach", &machine.domid, "xvda"]);
    same_files(&machine.vm, &machine.files, "without a disk", faults);
    let left: Vec<String> = store::paths(&host.store())
        .into_iter()
        .filter(|path| path.contains(&format!("{}/{XVDA}", machine.domid)))
        .collect();
    faults.unless(left.is_empty(), What::Store, || {
        format!("after the disk was detached: {left:?}")
    });
}

fn same_files(vm: &Process, before: &[String], when: &str, faults: &mut Faults) {
    let same = settles(|| proc::files(vm.pid()) == before, LETS_GO);
    faults.unless(same, What::Files, || {
        let now = proc::files(vm.pid());
        format!(
            "process {}, {when}: {now:?} instead of {before:?}",
            vm.pid()
        )
    });
}

fn same_grants(machine: &Machine, count: usize, when: &str, faults: &mut Faults) {
    let same = settles(|| machine.table.in_use().len() == count, LETS_GO);
    faults.unless(same, What::Grants, || {
        let now = machine.table.in_use();
        format!(
            "domain {}, {when}: {now:?} instead of {count}",
            machine.domid
        )
    });
}

/// The domain goes, and with it both processes, by themselves.
fn destroy(host: &Host, machine: Machine, faults: &mut Faults) {
    host.sim(&["destroy", &machine.domid]);
    let [mut vm, mut guest] = [machine.vm, machine.guest.process];
    for (who, process) in [("serves", &mut vm), ("plays", &mut guest)] {
        let ended = process.ended();
        faults.unless(
            ended.is_some_and(|status| status.success()),
            What::Ending,
            || {
                format!(
                    "the process that {who} domain {} ended with {ended:?}",
                    machine.domid
                )
            },
        );
    }
}

/// Host and xenstore are as before the first guest.
fn nothing_left(host: &Host, files: &[String], nodes: &BTreeSet<String>, faults: &mut Faults) {
    same_files(&host.process, files, "without a guest", faults);
    let mut left = store::paths(&host.store());
    left.retain(|path| !nodes.contains(path) && !STAYS.contains(&path.as_str()));
    faults.unless(left.is_empty(), What::Store, || {
        format!("after every guest was destroyed: {left:?}")
    });
}
