//! The session that the README shows, and what it leaves behind, which is nothing.

use std::process::Command;

use crate::support::{Dir, Host, done, halcyon, said};

#[test]
fn a_host_in_a_directory_prints_what_a_shell_needs_to_reach_it() {
    let dir = Dir::new();
    let host = dir.path().join("my host");
    let started = said(halcyon(&["sim", "start", "my host"]).current_dir(dir.path()));
    assert_eq!(started.code, 0, "{}", started.err);
    let session = format!("{}\n\"$0\" sim list --json && \"$0\" sim stop", started.out);
    let listed = said(Command::new("sh").args(["-c", &session, env!("CARGO_BIN_EXE_halcyon")]));
    assert_eq!(
        (listed.code, listed.out.as_str()),
        (0, "[]\n"),
        "{}",
        listed.err
    );
    let lines: Vec<&str> = started.out.lines().skip(1).collect();
    let place = host.display();
    let exports = [
        format!("export HALCYON_SIM='{place}'"),
        format!("export XENSTORED_PATH='{place}/xenstored.sock'"),
    ];
    assert_eq!(lines, exports);
}

#[test]
fn guests_without_a_name_are_numbered_and_leave_nothing() {
    let host = Host::start();
    let disk = host.dir.file("a", 1 << 20);
    let spec = format!("raw:{disk},xvda,w");
    let first = host.said(&["sim", "create", "--disk", &spec]);
    assert_eq!(first.out.split(' ').nth(1), Some("guest1"), "{}", first.err);
    let second = host.said(&["sim", "create", "--no-guest"]);
    assert_eq!(
        second.out.split(' ').nth(1),
        Some("guest2"),
        "{}",
        second.err
    );
    let run = host.dir.path().join("sim/run");
    let uuid = first.out.split_whitespace().nth(2).unwrap();
    assert_eq!(host.said(&["sim", "destroy", "guest1"]), done());
    assert!(!run.join(uuid).exists());
    assert_eq!(host.said(&["sim", "stop"]), done());
    assert!(!run.exists());
}

#[test]
fn the_logs_of_a_process_that_was_killed_stay_and_are_named() {
    let host = Host::start();
    let domid = host.domain();
    let mut vm = host.serve(&domid);
    vm.kill();
    let destroyed = host.said(&["sim", "destroy", "g"]);
    assert_eq!(destroyed.code, 0);
    assert!(
        destroyed
            .err
            .ends_with("stays: its process failed, what it said last is there\n"),
        "{}",
        destroyed.err
    );
    assert_eq!(destroyed.err.lines().count(), 1);
}
