//! `halcyon sim attach` and `detach`: one disk of a running guest.

use abi::DomId;
use sim::live::DomainInfo;
use sim::toolstack::{Disk, plug, unplug};
use xenstore::blocking::Store;

use super::create::{PATIENCE, number};
use super::{Host, diskspec};
use crate::error::{Doing as _, Exit, Failure};

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
    unplug(&mut host.store, &disk, PATIENCE)
        .doing(|| format!("detach {vdev} of guest {}", domain.name))
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
