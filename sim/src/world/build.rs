//! What a world is made of: how many guests, which disks, which loads. All from the seed.
//!
//! It also keeps what outlives a guest: the models of its disks, against which the drives are
//! checked at the end.
//!
//! Invariant: a drive belongs to one disk of one guest.

use abi::io::blkif::Protocol;
use abi::{DomId, Sector};
use xenstore::{BadPath, Batch, Path};

use super::guest::Guest;
use super::tool::Tool;
use super::{Drive, Host, Rng};
use crate::front::workload::{Initial, Model, stamp};
use crate::front::{Blkfront, Config, Hostile, Pattern, Plan as Load, Script, Workload};
use crate::live::NewDomain;
use crate::toolstack::{Disk, Domain};

/// Memory of a guest: enough for two rings and all the pages in flight on them.
const MEMORY_BYTES: u64 = 8 << 20;
/// The first disk, xvda.
const DEVID: u32 = 51712;
/// How far the numbers of two disks are apart.
const DEVID_STEP: u32 = 16;
/// Requests of each disk.
const REQUESTS_MIN: u64 = 100;
/// So many more on the disk that nothing takes away ([`SPARED`]): a world has at least 200.
const REQUESTS_MORE: u64 = 100;
const REQUESTS_SPREAD: u64 = 80;
/// Sectors of a drive: small, so that requests meet.
const SECTORS_MIN: u64 = 128;
const SECTORS_SPREAD: u64 = 512;
const DEPTH_MAX: u64 = 32;

/// A guest that does not die and the disk of it that nobody detaches, so that a whole load is seen
/// to its end in every world.
pub(super) const SPARED: (usize, usize) = (0, 0);

/// One guest of a world.
#[derive(Debug)]
pub(super) struct Plan {
    domain: Domain,
    /// `None` once it is being detached.
    disks: Vec<Option<Disk>>,
    loads: Vec<DiskPlan>,
    /// Models of the disks, once the guest is gone.
    kept: Vec<(usize, Model)>,
}

#[derive(Debug)]
struct DiskPlan {
    drive: usize,
    /// What its frontend does, if that means harm.
    script: Option<Script>,
    disk_seed: u64,
    sectors: u64,
    protocol: Protocol,
    name_protocol: bool,
    load: Load,
}

/// How many guests a world has.
pub(super) fn guests(rng: &mut Rng) -> usize {
    2 + rng.index(2)
}

/// Makes a domain with its disks known to the host and to xenstore.
pub(super) fn plan(
    host: &Host,
    tool: &mut Tool,
    rng: &mut Rng,
    drives: &mut Vec<Drive>,
    number: usize,
) -> Result<Plan, String> {
    let mut plan = bare(host, tool, number)?;
    for _ in 0..1 + rng.index(2) {
        plan.add_disk(host, tool, rng, drives, None)?;
    }
    let spared = (number == SPARED.0).then(|| plan.loads.get_mut(SPARED.1));
    if let Some(disk) = spared.flatten() {
        disk.load.requests += REQUESTS_MORE;
    }
    Ok(plan)
}

/// A domain with an honest disk and one that is not as it should be: by its drive, or because its
/// frontend follows `script`.
pub(super) fn odd_plan(
    host: &Host,
    tool: &mut Tool,
    rng: &mut Rng,
    drives: &mut Vec<Drive>,
    script: Option<Script>,
) -> Result<Plan, String> {
    let mut plan = bare(host, tool, 0)?;
    plan.add_disk(host, tool, rng, drives, None)?;
    plan.add_disk(host, tool, rng, drives, script)?;
    Ok(plan)
}

/// A domain without disks.
fn bare(host: &Host, tool: &mut Tool, number: usize) -> Result<Plan, String> {
    let (name, uuid) = (
        format!("guest{number}"),
        format!("00000000-0000-0000-0000-{number:012}"),
    );
    let new = NewDomain {
        name: name.clone(),
        uuid: uuid.clone(),
        memory_bytes: MEMORY_BYTES,
    };
    let domid = host.create(&new).map_err(|error| error.to_string())?;
    let domain = Domain {
        domid,
        name,
        uuid,
        memory_kib: MEMORY_BYTES >> 10,
    };
    let create = domain.create().map_err(|bad| bad.to_string())?;
    tool.write(host, create)
        .map_err(|error| format!("creating {domid}: {error}"))?;
    Ok(Plan {
        domain,
        disks: Vec::new(),
        loads: Vec::new(),
        kept: Vec::new(),
    })
}

impl Plan {
    pub(super) fn domid(&self) -> DomId {
        self.domain.domid
    }

    pub(super) fn disks(&self) -> usize {
        self.disks.len()
    }

    /// A disk that is not being detached.
    pub(super) fn disk(&self, at: usize) -> Option<Disk> {
        self.disks.get(at)?.clone()
    }

    /// A disk, to be detached; once.
    pub(super) fn take_disk(&mut self, at: usize) -> Option<Disk> {
        self.disks.get_mut(at)?.take()
    }

    /// The domain's directories go.
    pub(super) fn remove(&self) -> Result<Batch, BadPath> {
        self.domain.remove(false)
    }

    /// Starts the guest.
    pub(super) fn boot(&self, host: &Host, rng: &mut Rng) -> Result<Guest, String> {
        let (mut honest, mut hostile) = (Vec::new(), None);
        for (disk, plan) in self.disks.iter().flatten().zip(&self.loads) {
            let config = plan.config(disk).map_err(|bad| bad.to_string())?;
            match &plan.script {
                Some(script) => hostile = Some(Hostile::new(config, script.clone())),
                None => honest.push(plan.front(config)),
            }
        }
        Guest::boot(host, self.domid(), rng.draw(), honest, hostile)
            .map_err(|error| error.to_string())
    }

    /// Keeps what a guest knew of its disks.
    pub(super) fn keep_models(&mut self, guest: Guest) {
        self.kept = guest
            .disks
            .into_iter()
            .map(|disk| (disk.drive, disk.load.into_model()))
            .collect();
    }

    /// Whether the drives hold what the guest must believe.
    pub(super) fn check_drives(&mut self, drives: &[Drive]) -> Result<(), String> {
        for (drive, model) in &mut self.kept {
            let Some(drive) = drives.get(*drive) else {
                continue;
            };
            let (blocks, _) = drive.bytes().as_chunks();
            let wrong = blocks
                .iter()
                .zip(0..)
                .find(|(block, at)| !model.admits(Sector(*at), block));
            if let Some((_, at)) = wrong {
                let generation = model.certain(Sector(at));
                return Err(format!(
                    "sector {at} on the drive is not generation {generation}"
                ));
            }
        }
        Ok(())
    }

    fn add_disk(
        &mut self,
        host: &Host,
        tool: &mut Tool,
        rng: &mut Rng,
        drives: &mut Vec<Drive>,
        script: Option<Script>,
    ) -> Result<(), String> {
        let number = self.disks.len();
        let devid = DEVID + DEVID_STEP * u32::try_from(number).unwrap_or(0);
        let letter = char::from(b'a' + u8::try_from(number).unwrap_or(0));
        let drive = drives.len();
        let disk = Disk {
            domid: self.domid(),
            devid,
            dev: format!("xvd{letter}"),
            kind: "vbd".into(),
            params: format!("raw:/drive/{drive}"),
            writable: true,
        };
        for batch in [disk.attach(), disk.script_done()] {
            let batch = batch.map_err(|bad| bad.to_string())?;
            tool.write(host, batch)
                .map_err(|error| format!("attaching {devid}: {error}"))?;
        }
        let plan = DiskPlan {
            script,
            ..DiskPlan::draw(rng, drive)
        };
        drives.push(plan.drive());
        self.disks.push(Some(disk));
        self.loads.push(plan);
        Ok(())
    }
}

impl DiskPlan {
    fn draw(rng: &mut Rng, drive: usize) -> Self {
        let protocols = [Protocol::X86_64, Protocol::X86_32, Protocol::Arm];
        let protocol = protocols[rng.index(protocols.len())];
        let load = Load {
            pattern: Pattern::Mixed,
            seed: rng.draw(),
            depth: u32::try_from(1 + rng.below(DEPTH_MAX)).unwrap_or(1),
            requests: REQUESTS_MIN + rng.below(REQUESTS_SPREAD),
            duration_ns: 0,
            write: true,
        };
        Self {
            drive,
            script: None,
            disk_seed: rng.draw(),
            sectors: SECTORS_MIN + rng.below(SECTORS_SPREAD),
            protocol,
            // A frontend that does not name its layout is taken for x86_64.
            name_protocol: protocol != Protocol::X86_64 || rng.once_in(2),
            load,
        }
    }

    fn drive(&self) -> Drive {
        let sectors = (0..self.sectors).map(|at| stamp(self.disk_seed, Sector(at), 0));
        Drive::new(sectors.flatten().collect())
    }

    fn config(&self, disk: &Disk) -> Result<Config, BadPath> {
        let mut config = Config::new(Path::new(format!("device/vbd/{}", disk.devid))?);
        config.protocol = self.protocol;
        config.name_protocol = self.name_protocol;
        Ok(config)
    }

    fn front(&self, config: Config) -> (Blkfront, Workload, usize) {
        let model = Model::new(self.disk_seed, Sector(self.sectors), Initial::Stamps);
        (
            Blkfront::new(config),
            Workload::new(self.load, model),
            self.drive,
        )
    }
}
