//! `halcyon sim attach` and `detach`: one disk of a running guest.

use std::path::Path;

use abi::DomId;
use sim::live::DomainInfo;
use sim::toolstack::{Disk, plug, unplug};
use xenstore::blocking::Store;

use super::create::{PATIENCE, number};
use super::{Host, diskspec};
use crate::cli::place::{PlatformArg, state_dir};
use crate::error::{Doing as _, Exit, Failure};
use crate::stats;

/// Gives a guest one more disk.
pub(super) fn attach(host: &mut Host, guest: &str, disk: &str) -> Result<(), Failure> {
    let spec = diskspec::parse(disk)?;
    let domain = host.find(guest)?;
    let disk = number(&domain, &spec, &devids(&mut host.store, &domain)?)?;
    plug(&mut host.store, &disk, PATIENCE)
        .doing(|| format!("attach {} to guest {}", disk.dev, domain.name))?;
    println!("{} {}", disk.dev, disk.params);
    Ok(())
}

/// Takes a disk from a guest.
pub(super) fn detach(host: &mut Host, guest: &str, vdev: &str) -> Result<(), Failure> {
    let devid = diskspec::device_number(vdev)
        .ok_or_else(|| Failure::new(Exit::Usage, format!("{vdev:?} is no disk name (xvda)")))?;
    let domain = host.find(guest)?;
    let disk = find(&mut host.store, &domain, devid)?.ok_or_else(|| {
        Failure::failed(format!(
            "guest {} has no disk {vdev}: see `halcyon sim list`",
            domain.name
        ))
    })?;
    unplug(&mut host.store, &disk, PATIENCE).doing(|| {
        let vm_dir = state_dir(&PlatformArg::Sim(host.dir.clone())).join(&domain.uuid);
        let still = still_in_the_disk(&vm_dir, &disk);
        format!("detach {vdev} of guest {}{still}", domain.name)
    })
}

/// How many requests a disk that does not let go still has, in words; nothing where that is not
/// known or none.
fn still_in_the_disk(vm_dir: &Path, disk: &Disk) -> String {
    let snapshot = stats::read(vm_dir).ok().flatten();
    let name = format!("{}/{}/{}", disk.kind, disk.domid, disk.devid);
    let count = snapshot.and_then(|all| all.block(&name)?.counter("in_flight"));
    match count {
        None | Some(0) => String::new(),
        Some(count) => format!(": {count} requests still in the disk, ask again once they landed"),
    }
}

/// The numbers of a guest's disks.
pub(super) fn devids(store: &mut Store, domain: &DomainInfo) -> Result<Vec<u32>, Failure> {
    let path = format!("/local/domain/{}/device/vbd", domain.domid);
    let names = store.list(&path).doing(|| format!("list {path}"))?;
    Ok(names
        .unwrap_or_default()
        .iter()
        .filter_map(|name| name.parse().ok())
        .collect())
}

/// A disk as its nodes describe it.
pub(super) fn find(
    store: &mut Store,
    domain: &DomainInfo,
    devid: u32,
) -> Result<Option<Disk>, Failure> {
    let front = format!("/local/domain/{}/device/vbd/{devid}", domain.domid);
    let Some(back) = text(store, &format!("{front}/backend"))? else {
        return Ok(None);
    };
    // .../backend/<kind>/<domid>/<devid>
    let kind = back.rsplit('/').nth(2).unwrap_or_default().to_owned();
    let mut node = |key: &str| text(store, &format!("{back}/{key}"));
    Ok(Some(Disk {
        domid: DomId(domain.domid),
        devid,
        dev: node("dev")?.unwrap_or_default(),
        kind,
        params: node("params")?.unwrap_or_default(),
        writable: node("mode")?.as_deref() == Some("w"),
    }))
}

/// The value of a node as text.
pub(super) fn text(store: &mut Store, path: &str) -> Result<Option<String>, Failure> {
    let value = store.read(path).doing(|| format!("read {path}"))?;
    Ok(value.map(|value| String::from_utf8_lossy(&value).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a process shows whose disk has so many requests.
    fn stuck_with(name: &str, count: u64) -> String {
        let dir = std::env::temp_dir().join(format!("halcyon-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let mut options = std::fs::OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(true);
        let file = options.open(dir.join(stats::FILE)).unwrap();
        let page = telemetry::Page::create(&file, 1).unwrap();
        let mut block = page.block("vbd3/7/51712").unwrap();
        block.counter("in_flight").set(count);
        let block = block.publish();
        let disk = Disk {
            domid: DomId(7),
            devid: 51712,
            dev: "xvda".into(),
            kind: "vbd3".into(),
            params: String::new(),
            writable: true,
        };
        let said = still_in_the_disk(&dir, &disk);
        drop(block);
        std::fs::remove_dir_all(&dir).unwrap();
        said
    }

    #[test]
    fn a_disk_that_does_not_let_go_is_said_to_have_so_many_requests() {
        let line = ": 3 requests still in the disk, ask again once they landed";
        assert_eq!(stuck_with("stuck", 3), line);
    }

    #[test]
    fn a_disk_without_requests_is_not_blamed() {
        assert_eq!(stuck_with("free", 0), "");
    }
}
