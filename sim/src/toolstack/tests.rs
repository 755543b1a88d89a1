//! Claims about the nodes that the toolstack writes.

use abi::DomId;
use xenstore::{Batch, Path, Perm, Step};

use super::{Disk, Domain};

fn domain() -> Domain {
    let uuid = "0c1e5f2a-4d3b-4c6e-9a77-8a3b1c2d3e4f".to_owned();
    Domain {
        domid: DomId(7),
        name: "web".to_owned(),
        uuid,
        memory_kib: 16384,
    }
}

fn disk() -> Disk {
    Disk {
        domid: DomId(7),
        devid: 51712,
        dev: "xvda".to_owned(),
        kind: "vbd3".to_owned(),
        params: "raw:/srv/a.img".to_owned(),
        writable: true,
    }
}

fn written(batch: &Batch, path: &str) -> Option<String> {
    batch.steps.iter().find_map(|step| match step {
        Step::Write(at, value) if at.as_str() == path => {
            Some(String::from_utf8(value.clone()).unwrap())
        }
        _ => None,
    })
}

fn perms(batch: &Batch, path: &str) -> Option<String> {
    batch.steps.iter().find_map(|step| match step {
        Step::SetPerms(at, perms) if at.as_str() == path => Some(
            perms
                .iter()
                .map(Perm::to_string)
                .collect::<Vec<_>>()
                .join(","),
        ),
        _ => None,
    })
}

#[test]
fn a_domain_may_read_its_home_and_write_what_is_its_own() {
    let batch = domain().create().unwrap();
    assert_eq!(perms(&batch, "/local/domain/7").as_deref(), Some("n0,r7"));
    assert_eq!(perms(&batch, "/local/domain/7/data").as_deref(), Some("n7"));
    assert_eq!(
        written(&batch, "/local/domain/7/name").as_deref(),
        Some("web")
    );
    assert!(batch.transaction);
}

#[test]
fn a_disk_has_two_directories_that_point_at_each_other() {
    let (batch, disk) = (disk().attach().unwrap(), disk());
    let front = "/local/domain/7/device/vbd/51712";
    let back = "/local/domain/0/backend/vbd3/7/51712";
    assert_eq!(
        (disk.frontend().as_str(), disk.backend().as_str()),
        (front, back)
    );
    assert_eq!(
        written(&batch, &format!("{front}/backend")).as_deref(),
        Some(back)
    );
    assert_eq!(
        written(&batch, &format!("{back}/frontend")).as_deref(),
        Some(front)
    );
    assert_eq!(perms(&batch, front).as_deref(), Some("n7,r0"));
    assert_eq!(perms(&batch, back).as_deref(), Some("n0,r7"));
}

#[test]
fn a_read_only_disk_says_so() {
    let disk = Disk {
        writable: false,
        ..disk()
    };
    let mode = written(&disk.attach().unwrap(), &format!("{}/mode", disk.backend()));
    assert_eq!(mode.as_deref(), Some("r"));
}

#[test]
fn removing_a_domain_removes_its_backend_directories() {
    let batch = domain().remove(false).unwrap();
    let backend = Path::new("/local/domain/0/backend/vbd3/7").unwrap();
    assert!(batch.steps.contains(&Step::Remove(backend)));
}

#[test]
fn a_name_that_cannot_stand_in_a_path_is_refused() {
    let disk = Disk {
        kind: "vbd 3".to_owned(),
        ..disk()
    };
    assert!(disk.attach().is_err());
}
