//! The hypercalls of PV domains in a file that xentrace wrote: `xen/trace.h` and xentrace(8).
//!
//! It knows nothing of who made them. A record says only on which processor; whoever counts one domain's
//! calls keeps that processor to it.
//!
//! Invariant: every record of the file is looked at, or the file is refused; records that the hypervisor
//! dropped are counted.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::PathBuf;

use clap::Args;
use halcyon::error::{Doing as _, Failure};

/// `TRC_LOST_RECORDS`.
const LOST_RECORDS: u32 = 0x0001_f001;
/// `TRC_TRACE_CPU_CHANGE`: xentrace's own, before the records of each processor.
const CPU_CHANGE: u32 = 0x0001_f003;
/// `TRC_PV_HYPERCALL_V2`.
const HYPERCALL: u32 = 0x0020_100d;
/// `TRC_PV_HYPERCALL_SUBCALL`: one of those that a multicall carries.
const SUBCALL: u32 = 0x0020_200e;
/// `TRC_64_FLAG`, which some versions set.
const FLAG_64: u32 = 0x100;
/// The hypercall's number within the first word; above it stands which arguments follow.
const OP_MASK: u32 = 0xf_ffff;
/// `__HYPERVISOR_grant_table_op` of `xen.h`.
const GRANT_TABLE_OP: u32 = 20;

/// `__HYPERVISOR_*` of `xen.h`, for those that a control domain makes.
const NAMES: [(u32, &str); 17] = [
    (1, "mmu_update"),
    (3, "stack_switch"),
    (5, "fpu_taskswitch"),
    (12, "memory_op"),
    (13, "multicall"),
    (14, "update_va_mapping"),
    (15, "set_timer_op"),
    (17, "xen_version"),
    (20, "grant_table_op"),
    (23, "iret"),
    (24, "vcpu_op"),
    (25, "set_segment_base"),
    (26, "mmuext_op"),
    (29, "sched_op"),
    (32, "event_channel_op"),
    (33, "physdev_op"),
    (34, "hvm_op"),
];

/// `GNTTABOP_*` of `grant_table.h`.
pub(crate) const GRANT_OPS: [(u32, &str); 3] = [(0, "map"), (1, "unmap"), (5, "copy")];

/// What one processor did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Hypercalls by number; what a multicall carries is not among them.
    pub calls: BTreeMap<u32, u64>,
    /// What multicalls carried, by number.
    pub carried: BTreeMap<u32, u64>,
    /// How often each `grant_table_op` came: by command and count of operations. One that the
    /// hypervisor interrupted comes again, with the operations that were left.
    pub grants: BTreeMap<(u32, u32), u64>,
    /// Records that found no room. With any, the rest is too small.
    pub lost: u64,
}

impl Tally {
    /// All hypercalls.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.calls.values().sum()
    }

    /// Hypercalls on grants.
    #[must_use]
    pub fn grant_calls(&self) -> u64 {
        self.calls.get(&GRANT_TABLE_OP).copied().unwrap_or(0)
    }
}

/// The file is none of xentrace's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a file of xentrace: the record at byte {0} is cut short")]
pub struct Malformed(usize);

/// Counts what `cpu` did.
pub fn tally(file: &[u8], cpu: u32) -> Result<Tally, Malformed> {
    let words: Vec<u32> = file
        .as_chunks()
        .0
        .iter()
        .copied()
        .map(u32::from_le_bytes)
        .collect();
    let mut tally = Tally::default();
    let (mut at, mut current) = (0, None);
    while let Some(head) = words.get(at) {
        // `struct t_rec`: 28 bits of event, 3 of how many words follow, 1 for a time before them.
        let (event, extra, time) = (head & 0x0fff_ffff, head >> 28 & 7, head >> 31);
        let from = at + 1 + 2 * time as usize;
        let body = words.get(from..from + extra as usize);
        let body = body.ok_or(Malformed(4 * at))?;
        match event {
            CPU_CHANGE => current = body.first().copied(),
            _ if current == Some(cpu) => tally.take(event, body),
            _ => {}
        }
        at = from + body.len();
    }
    Ok(tally)
}

impl Tally {
    fn take(&mut self, event: u32, body: &[u32]) {
        let Some((first, arguments)) = body.split_first() else {
            return;
        };
        let op = first & OP_MASK;
        match event & !FLAG_64 {
            LOST_RECORDS => self.lost += u64::from(*first),
            HYPERCALL => *self.calls.entry(op).or_default() += 1,
            SUBCALL => *self.carried.entry(op).or_default() += 1,
            _ => return,
        }
        // Of this call Xen keeps the command and the count, as one word each.
        if event & !FLAG_64 != LOST_RECORDS
            && op == GRANT_TABLE_OP
            && let [command, count] = arguments
        {
            *self.grants.entry((*command, *count)).or_default() += 1;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hypercalls {}", self.total())?;
        for (op, count) in &self.calls {
            write!(f, " {}={count}", name(&NAMES, *op))?;
        }
        for (op, count) in &self.carried {
            write!(f, " carried-{}={count}", name(&NAMES, *op))?;
        }
        for ((command, operations), count) in &self.grants {
            write!(f, " {}-of-{operations}={count}", name(&GRANT_OPS, *command))?;
        }
        write!(f, " lost={}", self.lost)
    }
}

pub(crate) fn name(names: &[(u32, &str)], number: u32) -> String {
    let known = names.iter().find(|(known, _)| *known == number);
    known.map_or_else(|| format!("op{number}"), |(_, name)| (*name).to_owned())
}

/// `halcyon-bench hypercalls`
#[derive(Clone, Debug, Args)]
pub struct HypercallsArgs {
    /// What `xentrace -e 0x0020f000 FILE` wrote.
    pub file: PathBuf,
    /// The processor whose calls are counted.
    #[arg(long, default_value_t = 0)]
    pub cpu: u32,
}

/// Prints the tally of a file in one line.
pub fn run(args: &HypercallsArgs) -> Result<(), Failure> {
    let doing = || format!("read {}", args.file.display());
    let bytes = fs::read(&args.file).doing(doing)?;
    println!("{}", tally(&bytes, args.cpu).doing(doing)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record with a time.
    fn record(event: u32, extra: &[u32]) -> Vec<u32> {
        let words = u32::try_from(extra.len()).unwrap();
        let head = event | words << 28 | 1 << 31;
        [&[head, 7, 0], extra].concat()
    }

    /// The records of one processor, after xentrace's own, which has no time.
    fn on(cpu: u32, records: &[Vec<u32>]) -> Vec<u8> {
        let records = records.concat();
        let bytes = 4 * u32::try_from(records.len()).unwrap();
        let change = [CPU_CHANGE | 2 << 28, cpu, bytes];
        let words = change.iter().chain(&records);
        words.flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn calls_of_the_asked_processor_alone_are_counted() {
        let iret = record(HYPERCALL, &[23]);
        let file = [on(0, &[iret.clone(), iret.clone()]), on(1, &[iret])].concat();
        assert_eq!(
            tally(&file, 0).unwrap().to_string(),
            "hypercalls 2 iret=2 lost=0"
        );
    }

    #[test]
    fn grant_calls_are_counted_with_their_operations() {
        let arguments = 1 << 20 | 1 << 24;
        let copy = record(HYPERCALL, &[20 | arguments, 5, 16]);
        let unmap = record(HYPERCALL | FLAG_64, &[20 | arguments, 1, 3]);
        let tally = tally(&on(0, &[copy.clone(), copy, unmap]), 0).unwrap();
        assert_eq!(tally.grant_calls(), 3);
        assert_eq!(
            tally.to_string(),
            "hypercalls 3 grant_table_op=3 unmap-of-3=1 copy-of-16=2 lost=0"
        );
    }

    #[test]
    fn what_a_multicall_carries_is_no_call_of_its_own() {
        let records = [record(HYPERCALL, &[13]), record(SUBCALL, &[1])];
        assert_eq!(
            tally(&on(0, &records), 0).unwrap().to_string(),
            "hypercalls 1 multicall=1 carried-mmu_update=1 lost=0"
        );
    }

    #[test]
    fn lost_records_are_told() {
        assert_eq!(
            tally(&on(0, &[record(LOST_RECORDS, &[9, 0, 0, 0])]), 0)
                .unwrap()
                .lost,
            9
        );
    }

    #[test]
    fn a_record_cut_short_is_refused() {
        let mut file = on(0, &[record(HYPERCALL, &[23])]);
        file.truncate(file.len() - 4);
        assert_eq!(tally(&file, 0), Err(Malformed(12)));
    }
}
