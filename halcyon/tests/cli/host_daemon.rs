//! The host daemon: a process for every guest, and what happens when either of them ends.

use std::path::Path;

use abi::DomId;
use halcyon::simctl::{self, create};
use sim::toolstack::{Disk, plug};

use crate::support::{Host, Vm, done, signal, until};

/// A daemon on this host that is ready.
fn daemon(host: &Host, name: &str) -> Vm {
    let daemon = host.logging(&["host"], name);
    daemon.has_logged("host daemon is ready");
    daemon
}

/// A guest without a process, whose disk is this image; it makes some requests.
fn guest(host: &Host, name: &str, image: &str) -> Guest {
    let disk = host.dir.file(image, 1 << 20);
    let made = host.said(&[
        "sim",
        "create",
        name,
        "--no-vm",
        "--requests",
        "100",
        "--disk",
        &disk,
    ]);
    assert_eq!(made.code, 0, "{}", made.err);
    let mut words = made.out.split_whitespace();
    let domid = words.next().unwrap().to_owned();
    let log = host.dir.path().join("sim/run");
    let log = log.join(words.nth(1).unwrap()).join("guest.log");
    Guest { domid, log }
}

struct Guest {
    domid: String,
    log: std::path::PathBuf,
}

impl Guest {
    fn has_run(&self) {
        until(|| std::fs::read_to_string(&self.log).is_ok_and(|log| log.contains("\"ran\"")));
    }
}

/// The process that the daemon has started for a guest.
fn process_of(daemon: &Vm, domid: &str) -> u32 {
    let line = format!("domain {domid}: process ");
    daemon.has_logged(&line);
    let logged = daemon.logged();
    let rest = logged.split(&line).nth(1).unwrap();
    rest.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn every_guest_with_a_disk_gets_a_process_and_a_second_disk_starts_none() {
    let host = Host::start();
    let daemon = daemon(&host, "host.log");
    let guests = [guest(&host, "g", "a"), guest(&host, "h", "b")];
    guests.iter().for_each(Guest::has_run);
    let more = host.dir.file("c", 1 << 20);
    assert_eq!(host.said(&["sim", "attach", "g", &more]).code, 0);
    assert_eq!(daemon.logged().matches("started").count(), 2);
    for name in ["g", "h"] {
        assert_eq!(host.said(&["sim", "destroy", name]), done());
    }
}

#[test]
fn a_second_daemon_is_refused() {
    let host = Host::start();
    let first = daemon(&host, "host.log");
    let second = host.said(&["host"]);
    assert_eq!(second.code, 4);
    let line = format!("(process {}): stop it first", first.pid());
    assert!(second.err.contains(&line), "{}", second.err);
}

#[test]
fn processes_outlive_their_daemon_and_the_next_one_opens_images_for_them() {
    let host = Host::start();
    let mut first = daemon(&host, "first.log");
    let guest = guest(&host, "g", "a");
    guest.has_run();
    first.kill();
    let second = daemon(&host, "second.log");
    second.has_logged("1 guests have a process");
    let more = host.dir.file("b", 1 << 20);
    assert_eq!(host.said(&["sim", "attach", "g", &more]).code, 0);
    assert_eq!(host.said(&["sim", "destroy", "g"]), done());
    second.has_logged(&format!("domain {}: process ", guest.domid));
}

#[test]
fn an_image_asked_for_while_there_is_no_daemon_waits_for_the_next_one() {
    let host = Host::start();
    let mut first = daemon(&host, "first.log");
    guest(&host, "g", "a").has_run();
    first.signal("TERM");
    assert_eq!(first.ended(), 0);
    let more = host.dir.file("b", 1 << 20);
    let mut attach = host
        .command(&["sim", "attach", "g", &more])
        .spawn()
        .unwrap();
    let _second = daemon(&host, "second.log");
    assert!(attach.wait().unwrap().success());
    assert_eq!(host.said(&["sim", "destroy", "g"]), done());
}

#[test]
fn a_refused_image_is_reported_and_the_other_disk_goes_on() {
    let host = Host::start();
    let _daemon = daemon(&host, "host.log");
    let guest = guest(&host, "g", "a");
    let missing = host.dir.path().join("none");
    let refused = host.said(&["sim", "attach", "g", missing.to_str().unwrap()]);
    assert_eq!(refused.code, 1);
    assert!(
        refused.err.ends_with("none: no such file\n"),
        "{}",
        refused.err
    );
    guest.has_run();
    assert_eq!(host.said(&["sim", "destroy", "g"]), done());
}

#[test]
fn why_a_disk_was_refused_does_not_outlive_the_guest() {
    let host = Host::start();
    let daemon = daemon(&host, "host.log");
    let guest = guest(&host, "g", "a");
    guest.has_run();
    let missing = host.dir.path().join("none");
    let refused = host.said(&["sim", "attach", "g", missing.to_str().unwrap()]);
    assert_eq!(refused.code, 1);
    assert_eq!(host.said(&["sim", "detach", "g", "xvda"]), done());
    assert_eq!(host.said(&["sim", "destroy", "g"]), done());
    daemon.has_logged("ended with exit code 0");
    let mut tool = simctl::Host::connect(&host.dir.path().join("sim")).unwrap();
    let reasons = tool.store.list("/local/domain/0/error/backend/vbd3");
    assert_eq!(reasons.unwrap(), Some(Vec::new()));
}

#[test]
fn a_killed_process_is_one_error_line_and_its_disk_is_served_again_when_attached_again() {
    let host = Host::start();
    let daemon = daemon(&host, "host.log");
    let guest = guest(&host, "g", "a");
    guest.has_run();
    let pid = process_of(&daemon, &guest.domid);
    signal(pid, "KILL");
    daemon.has_logged(&format!(
        "process {pid} was killed by signal 9; not served until attached again or rebooted: \
         vbd3/51712"
    ));
    assert_eq!(host.said(&["sim", "detach", "g", "xvda"]), done());
    let again = host.dir.path().join("a");
    assert_eq!(
        host.said(&["sim", "attach", "g", again.to_str().unwrap()])
            .code,
        0
    );
    assert_eq!(daemon.logged().matches("started").count(), 2);
    host.said(&["sim", "destroy", "g"]);
}

/// A guest whose process was killed while there was no daemon, and the daemon that came then.
fn orphan(host: &Host, forget: impl FnOnce(&Path)) -> (Guest, Vm) {
    let mut first = daemon(host, "first.log");
    let guest = guest(host, "g", "a");
    guest.has_run();
    first.kill();
    let pid = process_of(&first, &guest.domid);
    signal(pid, "KILL");
    until(|| has_ended(pid));
    forget(guest.log.parent().unwrap());
    (guest, daemon(host, "second.log"))
}

/// Whether a process is gone, or waits for whoever has inherited it.
fn has_ended(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |stat| stat.contains(") Z "))
}

#[test]
fn the_disk_of_a_process_that_was_killed_while_there_was_no_daemon_can_be_detached() {
    let host = Host::start();
    let (guest, daemon) = orphan(&host, |_| {});
    let line = format!("domain {}: its process was lost", guest.domid);
    daemon.has_logged(&line);
    assert_eq!(host.said(&["sim", "detach", "g", "xvda"]), done());
    let again = host.dir.path().join("a");
    let again = host.said(&["sim", "attach", "g", again.to_str().unwrap()]);
    assert_eq!(again.code, 0, "{}", again.err);
    assert_eq!(host.said(&["sim", "destroy", "g"]), done());
}

#[test]
fn a_disk_whose_process_left_no_trace_can_be_detached() {
    let host = Host::start();
    let claim = |dir: &Path| std::fs::remove_file(dir.join("claim-1-vbd3")).unwrap();
    let (guest, _daemon) = orphan(&host, claim);
    assert_eq!(guest.domid, "1");
    assert_eq!(host.said(&["sim", "detach", "g", "xvda"]), done());
    host.said(&["sim", "destroy", "g"]);
}

#[test]
fn what_a_killed_process_left_of_a_guest_that_is_gone_is_tidied_up() {
    let host = Host::start();
    let mut first = daemon(&host, "first.log");
    first.kill();
    let vm = host
        .dir
        .path()
        .join("sim/run/00000000-0000-4000-8000-000000000009");
    std::fs::create_dir(&vm).unwrap();
    std::fs::write(vm.join("claim-9-vbd3"), "domain 9, process 1\n").unwrap();
    let _second = daemon(&host, "second.log");
    until(|| !vm.exists());
}

#[test]
fn a_disk_that_a_bootloader_is_to_read_in_domain_0_is_refused_with_the_remedy() {
    let host = Host::start();
    let daemon = daemon(&host, "host.log");
    let mut tool = simctl::Host::connect(&host.dir.path().join("sim")).unwrap();
    let disk = Disk {
        domid: DomId::DOM0,
        devid: 51712,
        dev: "xvda".into(),
        kind: create::KIND.into(),
        params: host.dir.file("a", 1 << 20),
        writable: true,
    };
    let refused = plug(&mut tool.store, &disk, create::PATIENCE).unwrap_err();
    let why = refused.to_string();
    assert!(why.contains("bootloader="), "{why}");
    assert_eq!(daemon.logged().matches("started").count(), 0);
}

#[test]
fn a_process_that_fails_at_its_start_is_not_started_again_and_its_device_says_so() {
    let host = Host::start();
    let daemon = daemon(&host, "host.log");
    let domain = host.said(&["sim", "create", "g", "--no-guest", "--no-vm"]);
    let uuid = domain.out.split_whitespace().nth(2).unwrap();
    // Where its state directory would be.
    std::fs::write(host.dir.path().join("sim/run").join(uuid), "").unwrap();
    let disk = host.dir.file("a", 1 << 20);
    let refused = host.said(&["sim", "attach", "g", &disk]);
    let line = "the process that was to serve it has failed\n";
    assert!(refused.err.ends_with(line), "{}", refused.err);
    assert_eq!(daemon.logged().matches("started").count(), 1);
    std::fs::remove_file(host.dir.path().join("sim/run").join(uuid)).unwrap();
    assert_eq!(host.said(&["sim", "attach", "g", &disk]).code, 0);
    assert_eq!(host.said(&["sim", "destroy", "g"]), done());
}
