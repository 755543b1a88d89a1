//! `halcyon sim list`: the guests, and in what state their disks are.

use abi::io::xenbus::XenbusState;
use serde::Serialize;
use sim::live::DomainInfo;

use super::{Host, disks};
use crate::error::{Doing as _, Failure};

#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    domain: DomainInfo,
    disks: Vec<DiskRow>,
}

#[derive(Serialize)]
struct DiskRow {
    dev: String,
    params: String,
    mode: &'static str,
    state: String,
    error: Option<String>,
}

/// Prints every guest.
pub(super) fn run(host: &mut Host, json: bool) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for domain in host.domains()? {
        rows.push(Row {
            disks: disk_rows(host, &domain)?,
            domain,
        });
    }
    if json {
        println!(
            "{}",
            serde_json::to_string(&rows).doing(|| "write JSON".into())?
        );
        return Ok(());
    }
    println!(
        "{:>5} {:<16} {:<37}{:>8} {:>7} {:>6}  disks",
        "domid", "name", "uuid", "MiB", "grants", "ports"
    );
    rows.iter().for_each(print);
    Ok(())
}

fn print(Row { domain, disks }: &Row) {
    let name = if domain.dying {
        format!("{} (dying)", domain.name)
    } else {
        domain.name.clone()
    };
    println!(
        "{:>5} {name:<16} {:<37}{:>8} {:>7} {:>6}  {}",
        domain.domid,
        domain.uuid,
        domain.memory_bytes >> 20,
        domain.mapped,
        domain.ports,
        disks.iter().map(one).collect::<Vec<_>>().join(", ")
    );
}

fn one(disk: &DiskRow) -> String {
    let error = disk
        .error
        .as_ref()
        .map_or(String::new(), |error| format!(" ({error})"));
    format!(
        "{}={} {} {}{error}",
        disk.dev, disk.params, disk.mode, disk.state
    )
}

fn disk_rows(host: &mut Host, domain: &DomainInfo) -> Result<Vec<DiskRow>, Failure> {
    let mut rows = Vec::new();
    for devid in disks::devids(&mut host.store, domain)? {
        let Some(disk) = disks::find(&mut host.store, domain, devid)? else {
            continue;
        };
        let mut node =
            |key: &str| disks::text(&mut host.store, &format!("{}/{key}", disk.backend()));
        let state = node("state")?.map_or(XenbusState::UNKNOWN, |text| {
            XenbusState::parse(text.as_bytes())
        });
        let error = node("hotplug-error")?;
        let mode = if disk.writable { "w" } else { "r" };
        let state = state_name(state).to_owned();
        rows.push(DiskRow {
            dev: disk.dev,
            params: disk.params,
            mode,
            state,
            error,
        });
    }
    Ok(rows)
}

/// The names of `io/xenbus.h`, in lower case.
fn state_name(state: XenbusState) -> &'static str {
    const NAMES: [&str; 9] = [
        "unknown",
        "initialising",
        "init-wait",
        "initialised",
        "connected",
        "closing",
        "closed",
        "reconfiguring",
        "reconfigured",
    ];
    usize::try_from(state.0)
        .ok()
        .and_then(|at| NAMES.get(at).copied())
        .unwrap_or("nonsense")
}
