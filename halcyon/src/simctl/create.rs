//! `halcyon sim create`: a domain, its disks, the process that serves it, a guest inside.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use abi::DomId;
use sim::live::{DomainInfo, NewDomain};
use sim::toolstack::wait;
use sim::toolstack::{Disk, plug};

use super::diskspec::{self, DiskSpec};
use super::leftovers::LOG;
use super::{Host, naming, nodes};
use crate::cli::args::CreateArgs;
use crate::cli::place::{PlatformArg, state_dir};
use crate::error::{Doing as _, Failure};
use crate::vm::claim::vm_dir;

/// Under which kind the toolstack offers disks: what libxl writes for `backendtype=tap`.
pub const KIND: &str = "vbd3";

/// How long a backend may take to open an image: libxl's 10 s (`LIBXL_INIT_TIMEOUT`), and time on a
/// busy machine.
pub const PATIENCE: Duration = Duration::from_secs(12);

/// Creates a guest as the command line says; on failure nothing of it is left.
pub fn run(host: &mut Host, args: &CreateArgs) -> Result<(), Failure> {
    let specs: Vec<DiskSpec> = args
        .disks
        .iter()
        .map(|text| diskspec::parse(text))
        .collect::<Result<_, _>>()?;
    let domains = host.domains()?;
    let name = naming::name(args.name.as_deref(), &domains)?;
    let asked = args.uuid.as_deref();
    let uuid = asked.map_or_else(new_uuid, |uuid| naming::uuid(uuid, &domains))?;
    let domain = new_domain(host, &name, &uuid, u64::from(args.memory_mib) << 20)?;
    let disks = numbered(&domain, &specs);
    match disks.and_then(|disks| furnish(host, args, &domain, &disks)) {
        Ok(()) => {
            println!("{} {} {}", domain.domid, domain.name, domain.uuid);
            Ok(())
        }
        Err(failure) => {
            host.give_up(&domain);
            Err(failure)
        }
    }
}

/// A UUID that nobody has had.
pub fn new_uuid() -> Result<String, Failure> {
    let path = "/proc/sys/kernel/random/uuid";
    let text = std::fs::read_to_string(path).doing(|| format!("read {path}"))?;
    Ok(text.trim().to_owned())
}

/// Creates a domain and its nodes; it has no device and no guest yet.
pub fn new_domain(
    host: &mut Host,
    name: &str,
    uuid: &str,
    memory_bytes: u64,
) -> Result<DomainInfo, Failure> {
    let what = || format!("create guest {name}");
    let new = NewDomain {
        name: name.to_owned(),
        uuid: uuid.to_owned(),
        memory_bytes,
    };
    let domid = host.control.create(&new).doing(what)?;
    let domain = DomainInfo {
        domid: domid.0,
        name: new.name,
        uuid: new.uuid,
        memory_bytes,
        guest_pid: None,
        backends: 0,
        mapped: 0,
        ports: 0,
        dying: false,
    };
    let batch = nodes(&domain).create().doing(what)?;
    match wait::run(&mut host.store, batch).doing(what) {
        Ok(()) => Ok(domain),
        Err(failure) => {
            host.give_up(&domain);
            Err(failure)
        }
    }
}

/// Names and numbers for the disks: xvda, xvdb and so on where none was named.
fn numbered(domain: &DomainInfo, specs: &[DiskSpec]) -> Result<Vec<Disk>, Failure> {
    let mut disks: Vec<Disk> = Vec::new();
    for spec in specs {
        let taken: Vec<u32> = disks.iter().map(|disk| disk.devid).collect();
        disks.push(number(domain, spec, &taken)?);
    }
    Ok(disks)
}

/// A disk of a guest that has disks `taken` already.
pub fn number(domain: &DomainInfo, spec: &DiskSpec, taken: &[u32]) -> Result<Disk, Failure> {
    let free = || {
        let names = (0..=u8::MAX).map(diskspec::device_name);
        names.into_iter().find(|name| {
            diskspec::device_number(name).is_some_and(|number| !taken.contains(&number))
        })
    };
    let dev = spec.vdev.clone().or_else(free).unwrap_or_default();
    match diskspec::device_number(&dev) {
        Some(devid) if !taken.contains(&devid) => Ok(Disk {
            domid: DomId(domain.domid),
            devid,
            dev,
            kind: KIND.to_owned(),
            params: spec.params.clone(),
            writable: spec.writable,
        }),
        _ => Err(Failure::failed(format!(
            "guest {} already has a disk {dev}",
            domain.name
        ))),
    }
}

fn furnish(
    host: &mut Host,
    args: &CreateArgs,
    domain: &DomainInfo,
    disks: &[Disk],
) -> Result<(), Failure> {
    let number = domain.domid.to_string();
    if !args.no_vm {
        behind_us(&host.dir, domain, LOG, &["vm", "--domid", &number])?;
    }
    for disk in disks {
        let what = || format!("guest {}, disk {}", domain.name, disk.dev);
        if args.no_vm {
            // Nobody waits, so nobody would run the script later.
            for batch in [disk.attach(), disk.script_done()] {
                wait::run(&mut host.store, batch.doing(what)?).doing(what)?;
            }
        } else {
            plug(&mut host.store, disk, PATIENCE).doing(what)?;
        }
    }
    if !args.no_guest {
        let requests = args.requests.to_string();
        let guest = ["guest", "--domid", &number, "--requests", &requests];
        behind_us(&host.dir, domain, "guest.log", &guest)?;
    }
    Ok(())
}

/// Starts a process of ours that outlives us; what it says goes to a log in the VM's directory.
fn behind_us(dir: &Path, domain: &DomainInfo, log: &str, args: &[&str]) -> Result<(), Failure> {
    let platform = PlatformArg::Sim(dir.to_owned());
    let path = vm_dir(&state_dir(&platform), &domain.uuid)?.join(log);
    let what = || format!("start halcyon {} (log: {})", args[0], path.display());
    let out = File::create(&path).doing(what)?;
    let err = out.try_clone().doing(what)?;
    Command::new(std::env::current_exe().doing(what)?)
        .arg("--platform")
        .arg(format!("sim:{}", dir.display()))
        .args(args)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .spawn()
        .map(drop)
        .doing(what)
}
