//! The binary started as libxl starts a device model, on a simulated host, and asked as libxl and
//! libxenstat ask.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use abi::DomId;
use serde_json::Value;
use sim::toolstack::wait::run;
use sim::toolstack::{Disk, plug, unplug};
use xenstore::blocking::Store;

use crate::support::{Dir, Host, Vm, halcyon, said, signal, until};

/// How long an answer may take: only a process that never answers takes so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// A guest's device model, serving.
struct Started {
    host: Host,
    domid: u16,
    vm: Vm,
}

impl Started {
    fn new() -> Self {
        let host = Host::start();
        let domid = host.domain();
        let command_line = command_line(&host, &domid);
        let path = format!("/local/domain/0/device-model/{domid}");
        store(&host).mkdir(&path).unwrap();
        let vm = host.device_model(&words(&command_line));
        let domid = domid.parse().unwrap();
        let started = Self { host, domid, vm };
        until(|| started.node("state").as_deref() == Some("running"));
        started
    }

    fn store(&self) -> Store {
        store(&self.host)
    }

    /// A node of the device model.
    fn node(&self, name: &str) -> Option<String> {
        let path = format!("/local/domain/0/device-model/{}/{name}", self.domid);
        let value = self.store().read(&path).unwrap();
        value.map(|value| String::from_utf8(value).unwrap())
    }

    fn socket(&self, whose: &str) -> PathBuf {
        self.host
            .dir
            .path()
            .join(format!("qmp-{whose}-{}", self.domid))
    }

    fn client(&self, whose: &str) -> Client {
        let mut client = Client::connect(&self.socket(whose));
        assert!(client.line()["QMP"]["version"]["qemu"]["major"].is_number());
        assert_eq!(client.asked("qmp_capabilities"), serde_json::json!({}));
        client
    }

    /// A disk as libxl describes it to qemu.
    fn disk(&self, image: &str) -> Disk {
        Disk {
            domid: DomId(self.domid),
            devid: 51712,
            dev: "xvda".into(),
            kind: "qdisk".into(),
            params: format!("aio:{image}"),
            writable: true,
        }
    }
}

fn store(host: &Host) -> Store {
    Store::connect(&host.dir.path().join("sim/xenstored.sock")).unwrap()
}

/// What libxl writes for a PV guest.
fn command_line(host: &Host, domid: &str) -> String {
    let dir = host.dir.path().display();
    let monitor = |whose: &str| {
        format!(
            "-chardev socket,id={whose}-cmd,path={dir}/qmp-{whose}-{domid},server=on,wait=off \
             -mon chardev={whose}-cmd,mode=control"
        )
    };
    format!(
        "-xen-domid {domid} -no-shutdown {} {} -nodefaults -no-user-config -xen-attach -name g \
         -vnc none -display none -nographic -machine xenpv -m 16",
        monitor("libxl"),
        monitor("libxenstat")
    )
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

struct Client {
    stream: BufReader<UnixStream>,
}

impl Client {
    fn connect(path: &PathBuf) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream: BufReader::new(stream),
        }
    }

    fn say(&mut self, text: &str) {
        self.stream.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// What a command returns, asked as libxl does.
    fn asked(&mut self, command: &str) -> Value {
        self.say(&format!(
            "{{\"execute\":\"{command}\",\"id\":2020372736}}\r\n"
        ));
        let mut answer = self.line();
        assert_eq!(answer["id"], 2020372736, "{answer}");
        answer["return"].take()
    }

    fn has_been_hung_up_on(&mut self) -> bool {
        self.stream.read_to_end(&mut Vec::new()).unwrap() == 0
    }
}

#[test]
fn a_device_model_that_serves_says_so_and_answers_what_libxl_asks() {
    let mut dm = Started::new();
    let mut libxl = dm.client("libxl");
    assert_eq!(libxl.asked("query-status")["status"], "running");
    assert_eq!(libxl.asked("query-chardev")[0]["label"], "libxl-cmd");
    assert_eq!(libxl.asked("query-vnc")["enabled"], false);
    assert_eq!(libxl.asked("query-version")["qemu"]["major"], 4);
    assert_eq!(libxl.asked("query-blockstats"), serde_json::json!([]));
    dm.vm.signal("HUP");
    assert_eq!(dm.vm.ended(), 0);
    assert!(libxl.has_been_hung_up_on());
    assert!(!dm.socket("libxl").exists() && !dm.socket("libxenstat").exists());
}

/// libxl lets the guest go at "running"; GRUB for PV guests looks at its disks once.
#[test]
fn a_device_model_says_that_it_runs_when_no_disk_is_in_initialising_any_more() {
    let host = Host::start();
    let domid = host.domain();
    let path = format!("/local/domain/0/device-model/{domid}");
    let mut libxl = store(&host);
    libxl.mkdir(&path).unwrap();
    let image = host.dir.file("a", 1 << 20);
    let held = std::fs::File::options()
        .read(true)
        .write(true)
        .open(&image)
        .unwrap();
    disk::lock::take(held.as_fd(), disk::lock::Mode::of(false)).unwrap();
    let disk = Disk {
        domid: DomId(domid.parse().unwrap()),
        devid: 51712,
        dev: "xvda".into(),
        kind: "qdisk".into(),
        params: format!("aio:{image}"),
        writable: true,
    };
    run(&mut libxl, disk.attach().unwrap()).unwrap();
    let mut vm = host.device_model(&words(&command_line(&host, &domid)));
    let state = |libxl: &mut Store, path: &str| libxl.read(&format!("{path}/state")).unwrap();
    until(|| state(&mut libxl, &path).as_deref() == Some(b"running"));
    assert_ne!(
        state(&mut libxl, &disk.backend()).as_deref(),
        Some(&b"1"[..])
    );
    vm.signal("HUP");
    assert_eq!(vm.ended(), 0, "{}", vm.logged());
}

/// By hand, say, or by a toolstack without transactions.
#[test]
fn a_directory_is_no_device_until_it_has_a_state() {
    let dm = Started::new();
    let mut toolstack = dm.store();
    let late = dm.disk(&dm.host.dir.file("a", 1 << 20));
    toolstack.mkdir(&late.backend()).unwrap();
    let other = Disk {
        devid: 51728,
        ..dm.disk(&dm.host.dir.file("b", 1 << 20))
    };
    plug(&mut toolstack, &other, PATIENCE).unwrap();
    plug(&mut toolstack, &late, PATIENCE).unwrap();
    assert!(!dm.vm.logged().contains("not served"), "{}", dm.vm.logged());
}

#[test]
fn why_a_disk_was_refused_goes_with_the_device_model() {
    let mut dm = Started::new();
    let mut libxl = dm.store();
    run(&mut libxl, dm.disk("/none").attach().unwrap()).unwrap();
    let mut reasons = || libxl.list("/local/domain/0/error/backend/qdisk").unwrap();
    until(|| reasons().is_some());
    dm.vm.signal("HUP");
    assert_eq!(dm.vm.ended(), 0, "{}", dm.vm.logged());
    assert_eq!(reasons(), Some(Vec::new()));
}

#[test]
fn libxenstat_finds_the_counters_of_a_disk_and_the_way_back_to_its_node() {
    let mut dm = Started::new();
    let image = dm.host.dir.file("a", 1 << 20);
    let disk = dm.disk(&image);
    plug(&mut dm.store(), &disk, PATIENCE).unwrap();
    let number = dm.domid.to_string();
    let mut guest = dm
        .host
        .command(&["guest", "--domid", &number, "--requests", "40"])
        .args(["--initial", "unknown"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let ran = BufReader::new(guest.stdout.take().unwrap()).lines();
    assert!(ran.map(Result::unwrap).any(|line| line.contains("\"ran\"")));
    // It writes before it reads the greeting, and ends its commands with nothing.
    let mut libxenstat = Client::connect(&dm.socket("libxenstat"));
    libxenstat.say("{ \"execute\": \"qmp_capabilities\" }");
    assert!(libxenstat.line()["QMP"].is_object());
    assert!(libxenstat.line()["return"].is_object());
    libxenstat.say("{ \"execute\": \"query-blockstats\" }");
    let stats = libxenstat.line()["return"][0].take();
    let operations = |name: &str| stats["stats"][name].as_u64().unwrap();
    assert!(
        operations("rd_operations") + operations("wr_operations") >= 40,
        "{stats}"
    );
    libxenstat.say("{ \"execute\": \"query-block\" }");
    let block = libxenstat.line()["return"][0].take();
    assert_eq!(block["device"], stats["device"]);
    assert_eq!(block["inserted"]["file"], image);
    unplug(&mut dm.store(), &disk, PATIENCE).unwrap();
    libxenstat.say("{ \"execute\": \"query-block\" }");
    until(|| {
        let gone = libxenstat.line()["return"] == serde_json::json!([]);
        libxenstat.say("{ \"execute\": \"query-block\" }");
        gone
    });
    guest.kill().unwrap();
    guest.wait().unwrap();
    dm.vm.signal("TERM");
    assert_eq!(dm.vm.ended(), 0);
}

#[test]
fn a_client_that_misbehaves_costs_its_connection_and_no_other() {
    let mut dm = Started::new();
    let mut first = dm.client("libxl");
    let mut noise = dm.client("libxl");
    noise.say("GET / HTTP/1.1\r\n");
    assert_eq!(noise.line()["error"]["class"], "GenericError");
    assert!(noise.has_been_hung_up_on());
    // More than there may be: the one that was silent longest makes room.
    let crowd: Vec<Client> = (0..3).map(|_| dm.client("libxl")).collect();
    assert_eq!(first.asked("query-status")["status"], "running");
    let mut last = dm.client("libxl");
    assert_eq!(first.asked("stop"), serde_json::json!({}));
    assert_eq!(last.asked("query-status")["status"], "paused");
    drop(crowd);
    last.say("{\"execute\":\"quit\"}");
    assert!(last.line()["return"].is_object());
    drop(last);
    assert_eq!(dm.vm.ended(), 0, "{}", dm.vm.logged());
}

#[test]
fn a_guest_whose_device_model_nobody_waits_for_any_more_is_not_announced() {
    let host = Host::start();
    let domid = host.domain();
    // libxl removes the directory of a device model before it tells it to end.
    let mut vm = host.device_model(&words(&command_line(&host, &domid)));
    vm.has_logged("not announced");
    let path = format!("/local/domain/0/device-model/{domid}");
    assert_eq!(store(&host).read(&path).unwrap(), None);
    vm.signal("HUP");
    assert_eq!(vm.ended(), 0, "{}", vm.logged());
}

#[test]
fn a_second_device_model_of_a_guest_leaves_the_sockets_of_the_first_alone() {
    let mut dm = Started::new();
    let domid = dm.domid.to_string();
    let mut second = dm
        .host
        .device_model(&words(&command_line(&dm.host, &domid)));
    assert_eq!(second.ended(), 4, "{}", second.logged());
    let mut libxl = dm.client("libxl");
    assert_eq!(libxl.asked("query-status")["status"], "running");
    // libxl asks twice, now and then.
    assert_eq!(libxl.asked("quit"), serde_json::json!({}));
    dm.vm.signal("HUP");
    assert_eq!(dm.vm.ended(), 0, "{}", dm.vm.logged());
    assert!(!dm.socket("libxl").exists());
}

#[test]
fn devices_that_only_another_device_model_serves_are_named_where_they_are() {
    let mut dm = Started::new();
    let dir = |kind: &str| format!("/local/domain/0/backend/{kind}/{}/0", dm.domid);
    let make = |kind: &str| {
        let node = format!("{}/frontend-id", dir(kind));
        dm.store().write(&node, dm.domid.to_string()).unwrap();
    };
    let node = |kind: &str| format!("{}/hotplug-error", dir(kind));
    let is_told = |kind: &str| dm.store().read(&node(kind)).unwrap().is_some();
    // libxl 4.19 and later makes them when the device model is ready.
    make("9pfs");
    make("qusb");
    until(|| is_told("9pfs") && is_told("qusb"));
    let line = |kind: &str| format!("{kind}/{}/0: no such devices are served here", dm.domid);
    assert_eq!(dm.vm.logged().matches(&line("9pfs")).count(), 1);
    assert_eq!(dm.vm.logged().matches(&line("qusb")).count(), 1);
    dm.vm.signal("HUP");
    assert_eq!(dm.vm.ended(), 0, "{}", dm.vm.logged());
}

#[test]
fn a_device_model_ends_with_its_guest() {
    let mut dm = Started::new();
    let image = dm.host.dir.file("a", 1 << 20);
    plug(&mut dm.store(), &dm.disk(&image), PATIENCE).unwrap();
    assert_eq!(dm.host.said(&["sim", "destroy", "g"]).code, 0);
    assert_eq!(dm.vm.ended(), 0);
    assert!(!dm.socket("libxl").exists());
    assert!(
        !dm.host
            .dir
            .path()
            .join("sim/run")
            .read_dir()
            .is_ok_and(|mut dir| dir.next().is_some())
    );
}

#[test]
fn the_probe_of_libxl_is_answered_without_a_host_and_over_an_inherited_socket() {
    let dir = Dir::new();
    let path = dir.path().join("qmp");
    let listener = OwnedFd::from(UnixListener::bind(&path).unwrap());
    let probe = "exec \"$0\" -S -no-user-config -nodefaults -nographic -machine none,accel=xen \
                 -chardev socket,id=libxl-cmd,fd=9,server=on,wait=off \
                 -mon chardev=libxl-cmd,mode=control 9<&0 </dev/null";
    let mut child = Command::new("sh")
        .args(["-c", probe, env!("CARGO_BIN_EXE_halcyon")])
        .env_remove("HALCYON_SIM")
        .stdin(listener)
        .spawn()
        .unwrap();
    let mut libxl = Client::connect(&path);
    assert!(libxl.line()["QMP"].is_object());
    libxl.asked("qmp_capabilities");
    assert_eq!(libxl.asked("query-status")["status"], "prelaunch");
    assert_eq!(
        libxl.asked("query-command-line-options"),
        serde_json::json!([])
    );
    assert_eq!(libxl.asked("quit"), serde_json::json!({}));
    assert!(
        child.try_wait().unwrap().is_none(),
        "libxl must be first to hang up"
    );
    drop(libxl);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// That whoever started xl ignores hangups, as nohup does, is inherited.
#[test]
fn the_probe_of_libxl_may_be_ended_by_a_signal() {
    let dir = Dir::new();
    let path = dir.path().join("qmp");
    let probe = format!(
        "trap '' HUP; exec \"$0\" -S -machine none \
         -chardev socket,id=a,path={},server=on,wait=off -mon chardev=a,mode=control",
        path.display()
    );
    let mut child = Command::new("sh")
        .args(["-c", &probe, env!("CARGO_BIN_EXE_halcyon")])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    until(|| path.exists());
    signal(child.id(), "HUP");
    child.wait().unwrap();
}

#[test]
fn the_version_is_told_in_qemus_words() {
    let said = said(&mut halcyon(&["-version"]));
    assert_eq!(said.code, 0);
    assert!(
        said.out
            .starts_with("QEMU emulator version 4.2.0 (Halcyon "),
        "{}",
        said.out
    );
}

#[test]
fn a_command_line_that_cannot_be_honoured_is_refused_in_one_line() {
    let refusal = |text: &str| {
        let said = said(&mut halcyon(&words(text)));
        assert_eq!((said.code, said.out.as_str()), (2, ""));
        assert_eq!(said.err.lines().count(), 1);
        said.err
    };
    assert!(refusal("-xen-domid 3 -machine xenfv -m 128").contains("no device model for HVM"));
    assert!(
        refusal("-xen-domid 3 -machine xenpv -frobnicate").contains("-frobnicate: not an option")
    );
    assert!(refusal("-xen-domid x -machine xenpv").contains("not the number of a guest"));
    assert!(refusal("-S").contains("-machine is missing"));
}

#[test]
fn a_guest_that_is_not_there_and_a_socket_that_cannot_be_are_named() {
    let host = Host::start();
    let mut vm = host.device_model(&words("-xen-domid 9 -machine xenpv"));
    assert_eq!(vm.ended(), 1);
    assert!(vm.logged().contains("domain 9"), "{}", vm.logged());
    let monitor = "-chardev socket,id=a,path=/nowhere/s,server=on,wait=off \
                   -mon chardev=a,mode=control";
    let guest = format!("-xen-domid {} -machine xenpv {monitor}", host.domain());
    let mut vm = host.device_model(&words(&guest));
    assert_eq!(vm.ended(), 1);
    assert!(
        vm.logged().contains("listen on /nowhere/s"),
        "{}",
        vm.logged()
    );
}
