//! Two domains of one VM and its image, as when a guest is restored or migrates to the very host it
//! runs on: the newcomer waits without the lock, and has it before it serves anything.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::process::{Child, ChildStdout, Stdio};

use halcyon::simctl::{self, create};
use sim::live::DomainInfo;
use sim::toolstack::wait::{clear, run};
use sim::toolstack::{Disk, plug};

use crate::support::{Host, Vm, until};

const UUID: &str = "00000000-0000-4000-8000-000000000001";
/// Another VM.
const OTHER: &str = "00000000-0000-4000-8000-000000000002";
/// xvda (xen-vbd-interface(7)).
const DEVID: u32 = 51712;
/// 1 MiB.
const IMAGE_BYTES: usize = 1 << 20;

/// A simulated host with a VM that may have two domains.
struct Town {
    tool: simctl::Host,
    image: String,
    host: Host,
}

/// A domain of the VM: the process that serves it and the guest in it.
struct Side {
    domain: DomainInfo,
    vm: Vm,
    guest: Option<Guest>,
}

struct Guest {
    child: Child,
    says: Lines<BufReader<ChildStdout>>,
}

impl Guest {
    fn order(&mut self, order: &str) {
        let mut input = self.child.stdin.as_ref().unwrap();
        writeln!(input, "{order}").unwrap();
    }

    /// Waits until it says something with this word in it.
    fn says(&mut self, word: &str) -> String {
        let mut said = self.says.by_ref().map(Result::unwrap);
        said.find(|line| line.contains(word)).expect("said")
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Town {
    fn new() -> Self {
        let host = Host::start();
        let tool = simctl::Host::connect(&host.dir.path().join("sim")).unwrap();
        let image = host.dir.file("image", IMAGE_BYTES);
        Self { tool, image, host }
    }

    /// A new domain of the VM, whose disk the toolstack has plugged in; no guest yet.
    fn side(&mut self, name: &str, writable: bool) -> Side {
        let domain = create::new_domain(&mut self.tool, name, UUID, 16 << 20).unwrap();
        let vm = self.host.serve(&domain.domid.to_string());
        let disk = self.disk(&domain, writable);
        plug(&mut self.tool.store, &disk, create::PATIENCE).unwrap();
        let guest = None;
        Side { domain, vm, guest }
    }

    fn disk(&self, domain: &DomainInfo, writable: bool) -> Disk {
        Disk {
            domid: abi::DomId(domain.domid),
            devid: DEVID,
            dev: "xvda".into(),
            kind: create::KIND.into(),
            params: self.image.clone(),
            writable,
        }
    }

    /// Boots the guest of a domain.
    fn boot<'a>(&self, side: &'a mut Side) -> &'a mut Guest {
        let domid = side.domain.domid.to_string();
        let mut child = self
            .host
            .command(&["guest", "--orders", "--domid", &domid])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let says = BufReader::new(child.stdout.take().unwrap()).lines();
        side.guest.insert(Guest { child, says })
    }

    fn read(&mut self, path: &str) -> String {
        let value = self.tool.store.read(path).unwrap().unwrap_or_default();
        String::from_utf8(value).unwrap()
    }

    fn backend(&mut self, side: &Side, key: &str) -> String {
        let domid = side.domain.domid;
        self.read(&format!(
            "/local/domain/0/backend/vbd3/{domid}/{DEVID}/{key}"
        ))
    }

    fn frontend_is(&mut self, side: &Side, state: &str) -> bool {
        let domid = side.domain.domid;
        self.read(&format!("/local/domain/{domid}/device/vbd/{DEVID}/state")) == state
    }

    /// As the sender of a migration does at its end; the VM has another domain by now.
    fn destroy(&mut self, mut side: Side) {
        self.tool.destroy(&side.domain, true).unwrap();
        assert_eq!(side.vm.ended(), 0, "{}", side.vm.logged());
    }
}

#[test]
fn the_newcomer_connects_when_the_first_is_gone_and_nothing_of_the_first_lands_later() {
    let mut town = Town::new();
    let mut first = town.side("first", true);
    let guest = town.boot(&mut first);
    guest.says("connected");
    guest.order(
        r#"{"run":{"pattern":"random-write","seed":1,"depth":32,"requests":0,"seconds":600,"write":true}}"#,
    );
    let mut second = town.side("second", true);
    assert_eq!(town.backend(&second, "state"), "2");
    town.boot(&mut second);
    until(|| town.frontend_is(&second, "3"));
    // Whatever the first still writes, the second does not look.
    first.guest.as_mut().unwrap().says("progress");
    assert_eq!(town.backend(&second, "state"), "2");
    town.destroy(first);
    let guest = second.guest.as_mut().unwrap();
    guest.says("connected");
    let then = std::fs::read(&town.image).unwrap();
    guest.order(
        r#"{"run":{"pattern":"sequential-read","seed":1,"depth":8,"requests":500,"seconds":0,"write":false}}"#,
    );
    guest.says("ran");
    assert_eq!(town.backend(&second, "state"), "4");
    assert_eq!(std::fs::read(&town.image).unwrap(), then);
    town.destroy(second);
}

#[test]
fn a_first_that_stays_is_named_and_goes_on() {
    let mut town = Town::new();
    let mut first = town.side("first", true);
    town.boot(&mut first).says("connected");
    let mut second = town.side("second", true);
    town.boot(&mut second);
    until(|| !town.backend(&second, "hotplug-error").is_empty());
    let why = format!("image is locked by process {} (halcyon)", first.vm.pid());
    let told = town.backend(&second, "hotplug-error");
    assert!(told.contains(&why), "{told}");
    assert!(second.vm.logged().contains(&why), "{}", second.vm.logged());
    let guest = first.guest.as_mut().unwrap();
    guest.order(
        r#"{"run":{"pattern":"mixed","seed":1,"depth":8,"requests":500,"seconds":0,"write":true}}"#,
    );
    assert!(guest.says("ran").contains(r#""violations":0"#));
    town.destroy(second);
    town.destroy(first);
}

#[test]
fn a_device_that_is_withdrawn_while_its_image_is_held_leaves_a_line_that_says_by_whom() {
    let mut town = Town::new();
    let first = town.side("first", true);
    let other = create::new_domain(&mut town.tool, "other", OTHER, 16 << 20).unwrap();
    let vm = town.host.serve(&other.domid.to_string());
    let disk = town.disk(&other, true);
    run(&mut town.tool.store, disk.attach().unwrap()).unwrap();
    until(|| threads(vm.pid()).contains("halcyon-image"));
    clear(&mut town.tool.store, disk.remove().unwrap()).unwrap();
    let pid = first.vm.pid();
    vm.has_logged(&format!("image is locked by process {pid} (halcyon)"));
    town.destroy(first);
    let guest = None;
    let domain = other;
    town.destroy(Side { domain, vm, guest });
}

/// The names of a process's threads.
fn threads(pid: u32) -> String {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let names = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")));
    names.map(Result::unwrap_or_default).collect()
}

#[test]
fn readers_need_not_wait_for_each_other() {
    let mut town = Town::new();
    let mut first = town.side("first", false);
    town.boot(&mut first).says("connected");
    let mut second = town.side("second", false);
    town.boot(&mut second).says("connected");
    town.destroy(second);
    town.destroy(first);
}
