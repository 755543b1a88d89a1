//! How the process of a guest lives and ends.

use std::fs::{File, Metadata};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::Stdio;

use crate::support::{Dir, Host, Vm, done, halcyon, refused, signal, until};

#[test]
fn a_terminated_process_closes_its_devices_and_ends_well() {
    let host = Host::start();
    let domid = host.domain();
    let mut vm = host.serve(&domid);
    let disk = host.dir.file("a", 1 << 20);
    assert_eq!(host.said(&["sim", "attach", "g", &disk]).code, 0);
    vm.signal("TERM");
    assert_eq!(vm.ended(), 0, "{}", vm.logged());
    assert!(host.said(&["sim", "list"]).out.contains("closed"));
}

/// What a process logs to a file while the environment names this one as the journal's.
fn logged_beside_a_journal(named: impl Fn(&Metadata) -> String) -> String {
    let dir = Dir::new();
    let path = dir.path().join("log");
    let log = File::create(&path).unwrap();
    let domid_of_nobody = ["-xen-domid", "9", "-k", "de", "-machine", "xenpv"];
    let ended = halcyon(&domid_of_nobody)
        .env("HALCYON_SIM", dir.path())
        .env("JOURNAL_STREAM", named(&log.metadata().unwrap()))
        .stderr(log)
        .status();
    assert_eq!(ended.unwrap().code(), Some(1));
    std::fs::read_to_string(&path).unwrap()
}

#[test]
fn log_lines_have_priorities_where_they_go_to_the_journal_and_nowhere_else() {
    let line = "not to be had here, ignored: -k de";
    let journal = logged_beside_a_journal(|log| format!("{}:{}", log.dev(), log.ino()));
    assert!(journal.starts_with(&format!("<6>{line}")), "{journal}");
    let file = logged_beside_a_journal(|log| format!("{}:{}", log.dev(), log.ino() + 1));
    assert!(file.starts_with(&format!("halcyon: {line}")), "{file}");
}

#[test]
fn the_process_ends_when_its_guest_is_destroyed() {
    let host = Host::start();
    let domid = host.domain();
    let mut vm = host.serve(&domid);
    assert_eq!(host.said(&["sim", "destroy", "g"]).code, 0);
    assert_eq!(vm.ended(), 0, "{}", vm.logged());
}

#[test]
fn the_process_ends_when_its_host_is_stopped() {
    let host = Host::start();
    let domid = host.domain();
    let mut vm = host.serve(&domid);
    assert_eq!(host.said(&["sim", "stop"]), done());
    assert_eq!(vm.ended(), 0, "{}", vm.logged());
}

#[test]
fn a_host_that_crashes_ends_the_process_with_one_line() {
    let mut host = Host::start();
    let domid = host.domain();
    let mut vm = host.serve(&domid);
    host.crash();
    assert_eq!(vm.ended(), 1);
    let line = format!("halcyon: domain {domid}: xenstore closed the connection");
    assert!(
        vm.logged().lines().last().unwrap().starts_with(&line),
        "{}",
        vm.logged()
    );
}

/// Where the process of domain 1 shows a disk's counters as tapdisk does.
fn shown(host: &Host, vm: &Vm) -> PathBuf {
    let dir = host.dir.path().join(format!("sim/td3-{}", vm.pid()));
    dir.join("vbd-1-51712")
}

#[test]
fn a_process_shows_its_counters_as_tapdisk_does_and_takes_them_back() {
    let host = Host::start();
    let domid = host.domain();
    let mut vm = host.serve(&domid);
    assert!(!shown(&host, &vm).exists());
    let disk = host.dir.file("a", 1 << 20);
    assert_eq!(host.said(&["sim", "attach", "g", &disk]).code, 0);
    let bytes = std::fs::read(shown(&host, &vm)).unwrap();
    assert_eq!((bytes.len(), bytes[0]), (96, 1));
    vm.signal("TERM");
    assert_eq!(vm.ended(), 0, "{}", vm.logged());
    assert!(!shown(&host, &vm).parent().unwrap().exists());
}

#[test]
fn what_a_killed_process_showed_is_taken_back_by_the_next() {
    let host = Host::start();
    let domid = host.domain();
    let mut killed = host.serve(&domid);
    let disk = host.dir.file("a", 1 << 20);
    assert_eq!(host.said(&["sim", "attach", "g", &disk]).code, 0);
    killed.kill();
    assert!(shown(&host, &killed).exists());
    let mut next = host.serve(&domid);
    assert!(!shown(&host, &killed).parent().unwrap().exists());
    next.signal("TERM");
    assert_eq!(next.ended(), 0, "{}", next.logged());
}

#[test]
fn an_interrupted_demo_leaves_neither_files_nor_processes() {
    let dir = Dir::new();
    let mut demo = halcyon(&["demo"])
        .env("TMPDIR", dir.path())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(demo.stderr.take().unwrap()).lines();
    // By now there are a host, a guest and a process that serves it.
    assert!(
        said.map_while(Result::ok)
            .any(|line| line.contains("random read"))
    );
    let children = halcyon::proc::children(demo.id()).unwrap();
    assert_eq!(children.len(), 3);
    signal(demo.id(), "INT");
    assert_eq!(demo.wait().unwrap().code(), Some(130));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    until(|| children.iter().all(|pid| has_ended(*pid)));
}

/// Whether a process that nobody waits for has ended.
fn has_ended(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
    status.is_err() || status.is_ok_and(|text| text.contains("State:\tZ"))
}

#[test]
fn a_second_process_for_the_same_guest_waits_and_then_names_the_first() {
    let host = Host::start();
    let domid = host.domain();
    let mut vm = host.serve(&domid);
    let second = host.said(&["vm", "--domid", &domid]);
    assert_eq!(second.code, 4, "{}", second.err);
    let line = format!("halcyon: kind qdisk of domain {domid} is already served (domain {domid}, ");
    assert!(second.err.starts_with(&line), "{}", second.err);
    assert_eq!(second.err.lines().count(), 1);
    vm.signal("TERM");
    assert_eq!(vm.ended(), 0);
}

#[test]
fn a_guest_verifies_its_disk_and_stats_show_what_it_did() {
    let host = Host::start();
    let disk = host.dir.file("a", 1 << 20);
    let made = host.said(&["sim", "create", "g", "--requests", "500", "--disk", &disk]);
    assert_eq!(made.code, 0, "{}", made.err);
    let uuid = made.out.split_whitespace().nth(2).unwrap().to_owned();
    let log = host
        .dir
        .path()
        .join("sim/run")
        .join(&uuid)
        .join("guest.log");
    until(|| std::fs::read_to_string(&log).unwrap().contains("\"ran\""));
    let ran = std::fs::read_to_string(&log).unwrap();
    assert!(
        ran.contains("\"mismatched_sectors\":0,\"violations\":0"),
        "{ran}"
    );
    let stats = host.said(&["stats", "--json", &uuid]).out;
    let stats: serde_json::Value = serde_json::from_str(&stats).unwrap();
    assert_eq!(stats[&uuid]["vbd3/1/51712"]["connects"], 1);
    let domid = made.out.split(' ').next().unwrap();
    let stats = host.said(&["stats", domid]);
    assert!(stats.out.starts_with(&uuid), "{}", stats.err);
    let line = "\"z\" is neither the domain number of a VM with counters nor the start of its UUID: \
                `xl list -v` shows both";
    assert_eq!(host.said(&["stats", "z"]), refused(1, line));
    assert_eq!(host.said(&["sim", "detach", "g", "xvda"]), done());
    assert_eq!(host.said(&["sim", "destroy", "g"]), done());
}

#[test]
fn destroying_a_guest_twice_says_that_it_is_gone() {
    let host = Host::start();
    host.domain();
    assert_eq!(host.said(&["sim", "destroy", "g"]), done());
    let line = "no guest \"g\" on this host: see `halcyon sim list`";
    assert_eq!(host.said(&["sim", "destroy", "g"]), refused(1, line));
}
