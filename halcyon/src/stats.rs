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
    let mut vms = Vec::new();
    for uuid in uuids(state)? {
        let wanted = args.uuid.is_empty() || args.uuid.iter().any(|start| uuid.starts_with(start));
        if let Some(snapshot) = wanted
            .then(|| read(&state.join(&uuid)))
            .transpose()?
            .flatten()
        {
            vms.push((uuid, snapshot));
        }
    }
    if vms.is_empty() && !args.json && !args.prometheus {
        eprintln!(
            "halcyon: no VM process has counters below {}",
            state.display()
        );
    }
    print!("{}", render(&vms, args));
    Ok(())
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
            uuid: Vec::new(),
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
