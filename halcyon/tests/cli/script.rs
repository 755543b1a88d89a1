//! The hotplug script `dist/block-halcyon`, run as the toolstack runs it, on a xenstore of files.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Dir, Said, done, said};

const SCRIPT: &str = include_str!("../../../dist/block-halcyon");
/// As libxl names a backend to its scripts.
const BACKEND: &str = "backend/vbd/7/51712";
const READ: &str = "#!/bin/sh\nexec cat \"$STORE/$1\"\n";
/// It makes the directories that are missing, as xenstored does.
const WRITE: &str = "#!/bin/sh\nwhile [ $# -gt 1 ]; do\nmkdir -p \"$STORE/${1%/*}\"\n\
                     printf %s \"$2\" > \"$STORE/$1\"\nshift 2\ndone\n";

/// A xenstore of files, and the script.
struct Town(Dir);

impl Town {
    fn new() -> Self {
        let dir = Dir::new();
        // The kernel is a directory, too.
        let kernel = dir.path().join("sys");
        let script = SCRIPT.replace("=/sys", &format!("={}", kernel.display()));
        for (name, text) in [
            ("xenstore-read", READ),
            ("xenstore-write", WRITE),
            ("block-halcyon", &script),
        ] {
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        }
        Self(dir)
    }

    fn store(&self) -> PathBuf {
        self.0.path().join("store")
    }

    fn node(&self, key: &str) -> PathBuf {
        self.store().join(BACKEND).join(key)
    }

    fn write(&self, key: &str, value: &str) {
        let node = self.node(key);
        fs::create_dir_all(node.parent().unwrap()).unwrap();
        fs::write(node, value).unwrap();
    }

    fn read(&self, key: &str) -> Option<String> {
        fs::read_to_string(self.node(key)).ok()
    }

    fn add(&self, kind: &str) -> Said {
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{path}", self.0.path().display());
        let mut command = Command::new(self.0.path().join("block-halcyon"));
        command.arg("add").env("PATH", path);
        command.env("XENBUS_PATH", BACKEND).env("XENBUS_TYPE", kind);
        said(command.env("STORE", self.store()))
    }

    fn has_blkback(&self) {
        let driver = Path::new("sys/bus/xen-backend/drivers/vbd");
        fs::create_dir_all(self.0.path().join(driver)).unwrap();
    }
}

fn failed(why: &str) -> Said {
    Said {
        code: 1,
        out: String::new(),
        err: format!("block-halcyon: {BACKEND}: {why}\n"),
    }
}

#[test]
fn a_disk_that_waits_is_connected() {
    let town = Town::new();
    town.write("state", "2");
    assert_eq!(town.add("vbd3"), done());
    assert_eq!(town.read("hotplug-status").unwrap(), "connected");
}

#[test]
fn a_refusal_is_printed_and_passed_on() {
    let town = Town::new();
    town.write("state", "2");
    town.write("hotplug-error", "/a: no such file");
    assert_eq!(town.add("vbd3"), failed("/a: no such file"));
    assert_eq!(town.read("hotplug-status").unwrap(), "error");
}

#[test]
fn a_disk_that_was_withdrawn_is_not_made_anew() {
    let town = Town::new();
    let why = "the backend does not wait for this script: its state is gone";
    assert_eq!(town.add("vbd3"), failed(why));
    assert!(!town.store().exists());
}

#[test]
fn a_disk_that_is_being_closed_is_left_alone() {
    let town = Town::new();
    town.write("state", "5");
    let why = "the backend does not wait for this script: its state is 5";
    assert_eq!(town.add("vbd3"), failed(why));
    assert_eq!(town.read("hotplug-status"), None);
}

#[test]
fn a_disk_that_the_kernel_has_taken_is_refused_with_the_remedy() {
    let town = Town::new();
    town.has_blkback();
    town.write("state", "2");
    let why = "xen-blkback is loaded and owns vbd: rmmod xen-blkback or use backendtype=tap";
    assert_eq!(town.add("vbd"), failed(why));
    assert_eq!(town.read("hotplug-status").unwrap(), "error");
    assert_eq!(town.read("hotplug-error").unwrap(), why);
    fs::remove_file(town.node("hotplug-error")).unwrap();
    assert_eq!(town.add("vbd3"), done());
}
