//! `halcyon stats`: the counters of every VM process, read from the pages they share.
//!
//! No process is asked anything, so looking never wakes one. A process removes its page when it
//! ends well; the page of one that crashed stays, as its last words.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use telemetry::{Snapshot, export};

use crate::cli::args::StatsArgs;
use crate::error::{Doing as _, Failure};

/// The name of the stats file in a VM's state directory.
pub const FILE: &str = "stats";

/// Prints the counters of the VMs that `args` names, or of all.
pub fn run(state: &Path, args: &StatsArgs) -> Result<(), Failure> {
    let all = uuids(state)?;
    let meant = args.vms.iter().map(|text| meant(state, &all, text));
    let meant: Vec<Vec<&str>> = meant.collect();
    let mut vms = Vec::new();
    for uuid in &all {
        let is_meant = meant.iter().any(|some| some.contains(&uuid.as_str()));
        let wanted = (args.vms.is_empty() || is_meant).then(|| read(&state.join(uuid)));
        if let Some(snapshot) = wanted.transpose()?.flatten() {
            vms.push((uuid.clone(), snapshot));
        }
    }
    if vms.is_empty() && args.vms.is_empty() && !args.json && !args.prometheus {
        eprintln!(
            "halcyon: no VM process has counters below {}",
            state.display()
        );
    }
    print!("{}", render(&vms, args));
    let shown = |some: &Vec<&str>| vms.iter().any(|(uuid, _)| some.contains(&uuid.as_str()));
    let mut asked = args.vms.iter().zip(&meant);
    match asked.find(|(_, some)| !shown(some)) {
        Some((text, _)) => Err(Failure::failed(format!(
            "\"{text}\" is neither the domain number of a VM with counters nor the start of its \
             UUID: `xl list -v` shows both"
        ))),
        None => Ok(()),
    }
}

/// The VMs that somebody means: the one that has this domain number, or else those whose UUIDs
/// start so.
fn meant<'a>(state: &Path, uuids: &'a [String], text: &str) -> Vec<&'a str> {
    let uuids = || uuids.iter().map(String::as_str);
    let is_served = |uuid: &&str| match text.parse() {
        Ok(domid) => has_claim(&state.join(uuid), domid),
        Err(_) => false,
    };
    let numbered: Vec<&str> = uuids().filter(is_served).collect();
    match numbered.is_empty() {
        true => uuids().filter(|uuid| uuid.starts_with(text)).collect(),
        false => numbered,
    }
}

/// Whether a process that serves this domain has, or had when it was killed, this state directory.
fn has_claim(vm_dir: &Path, domid: u16) -> bool {
    let prefix = format!("claim-{domid}-");
    let entries = fs::read_dir(vm_dir).into_iter().flatten().flatten();
    let mut names = entries.map(|entry| entry.file_name());
    names.any(|name| name.as_encoded_bytes().starts_with(prefix.as_bytes()))
}

/// The stats page of one VM; `None` where there is none, because its process has just ended.
pub fn read(vm_dir: &Path) -> Result<Option<Snapshot>, Failure> {
    let path = vm_dir.join(FILE);
    match Snapshot::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        result => result
            .map(Some)
            .doing(|| format!("read {}", path.display())),
    }
}

/// The VMs that have a state directory.
pub fn uuids(state: &Path) -> Result<Vec<String>, Failure> {
    let entries = match fs::read_dir(state) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        result => result.doing(|| format!("list {}", state.display()))?,
    };
    let is_dir = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    let entries = entries.filter_map(Result::ok).filter(is_dir);
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.collect();
    names.sort();
    Ok(names)
}

fn render(vms: &[(String, Snapshot)], args: &StatsArgs) -> String {
    if args.json {
        let vm = |(uuid, snapshot): &(String, Snapshot)| {
            format!(
                "{}:{}",
                serde_json::Value::from(uuid.as_str()),
                export::json(snapshot)
            )
        };
        return format!("{{{}}}\n", vms.iter().map(vm).collect::<Vec<_>>().join(","));
    }
    if args.prometheus {
        return export::prometheus(&together(vms));
    }
    vms.iter()
        .map(|(uuid, snapshot)| format!("{uuid}\n{}", export::text(snapshot)))
        .collect()
}

/// One snapshot of all VMs: metrics of one name must stand together, whosever they are.
fn together(vms: &[(String, Snapshot)]) -> Snapshot {
    let blocks = vms.iter().flat_map(|(uuid, snapshot)| {
        snapshot.blocks.iter().map(move |block| {
            let mut block = block.clone();
            block.name = format!("{uuid}/{}", block.name);
            block
        })
    });
    Snapshot {
        blocks: blocks.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::scratch::Scratch;

    #[test]
    fn a_number_means_a_domain_before_it_means_the_start_of_a_uuid() {
        let state = Scratch::new().unwrap();
        let uuids = ["2af0", "30c1", "31d2"].map(str::to_owned);
        for uuid in &uuids {
            fs::create_dir(state.path().join(uuid)).unwrap();
        }
        fs::write(state.path().join("2af0/claim-3-qdisk"), "").unwrap();
        let meant = |text| meant(state.path(), &uuids, text);
        assert_eq!(meant("3"), ["2af0"]);
        assert_eq!(meant("30"), ["30c1"]);
        assert_eq!(meant("2a"), ["2af0"]);
        assert!(meant("7").is_empty());
    }

    fn one_vm() -> Vec<(String, Snapshot)> {
        let page = telemetry::Page::anonymous(1).unwrap();
        let mut builder = page.block("loop").unwrap();
        builder.counter("turns").add(3);
        let block = builder.publish();
        let snapshot = Snapshot::parse(&page.bytes()).unwrap();
        drop(block);
        vec![("abc".into(), snapshot)]
    }

    fn args(json: bool, prometheus: bool) -> StatsArgs {
        StatsArgs {
            json,
            prometheus,
            vms: Vec::new(),
        }
    }

    #[test]
    fn json_is_an_object_of_vms_of_blocks_of_values() {
        let text = render(&one_vm(), &args(true, false));
        assert_eq!(text, "{\"abc\":{\"loop\":{\"turns\":3}}}\n");
    }

    #[test]
    fn prometheus_labels_say_whose_block_it_is() {
        let text = render(&one_vm(), &args(false, true));
        assert_eq!(text, "halcyon_turns{block=\"abc/loop\"} 3\n");
    }
}
