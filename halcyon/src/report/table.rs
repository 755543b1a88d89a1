//! A [`Report`] as text for a person at a terminal.

use std::fmt::Write as _;

use super::{Load, Report, Verified};

/// The whole report.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    let wrote = head(&mut text, report)
        .and_then(|()| loads(&mut text, &report.loads))
        .and_then(|()| rest(&mut text, report))
        .and_then(|()| verdict(&mut text, report));
    debug_assert!(wrote.is_ok(), "writing to a string cannot fail");
    text
}

fn head(text: &mut String, report: &Report) -> std::fmt::Result {
    let guests = if report.vms == 1 { "guest" } else { "guests" };
    writeln!(text, "host      {}", report.host)?;
    writeln!(text, "disk      {}", report.disk)?;
    writeln!(
        text,
        "started   {} {guests} in {:.3} s, each served by its own process; seed {}\n",
        report.vms, report.start_seconds, report.seed
    )
}

fn loads(text: &mut String, loads: &[Load]) -> std::fmt::Result {
    writeln!(
        text,
        "{:<26}{:>9}{:>7}{:>9}{:>9}{:>8}{:>8}{:>8}{:>8}{:>9}{:>8}",
        "load",
        "requests",
        "s",
        "IOPS",
        "MB/s",
        "p50 µs",
        "p99",
        "p99.9",
        "CPU µs",
        "syscalls",
        "notifs"
    )?;
    for load in loads {
        writeln!(
            text,
            "{:<26}{:>9}{:>7.1}{:>9.0}{:>9.1}{:>8.0}{:>8.0}{:>8.0}{:>8.2}{:>9.2}{:>8.2}",
            load.name,
            load.requests,
            load.seconds,
            load.iops(),
            load.mb_per_s(),
            load.p50_us,
            load.p99_us,
            load.p999_us,
            load.cpu_us_per_request,
            load.system_calls_per_request,
            load.notifications_per_request,
        )?;
    }
    writeln!(
        text,
        "{:>109}\n",
        "CPU, system calls and notifications: of the VM process, per request"
    )
}

fn rest(text: &mut String, report: &Report) -> std::fmt::Result {
    for idle in &report.idle {
        writeln!(
            text,
            "idle      {} context switches of {} tasks in {:.0} s (VM processes, brokers, host)",
            idle.context_switches, idle.tasks, idle.seconds
        )?;
    }
    let (disks, processes) = match report.vms {
        1 => ("disk".to_owned(), "process"),
        vms => (format!("{vms} disks"), "processes"),
    };
    if let Some(ms) = report.reconnect_ms {
        writeln!(
            text,
            "reconnect {disks} back after {ms:.1} ms, same {processes}"
        )?;
    }
    if let Some(ms) = report.reboot_ms {
        writeln!(
            text,
            "reboot    {disks} back after {ms:.1} ms, each with a new domain and a new process"
        )?;
    }
    let memory = &report.memory;
    let kinds = &memory.largest;
    writeln!(
        text,
        "memory    largest VM process {} KiB private (anonymous {}, shared alone {}, page tables \
         {}, stacks {}, rings {})",
        memory.largest_kib,
        kinds.anonymous_kib,
        kinds.shared_alone_kib,
        kinds.page_tables_kib,
        kinds.stacks_kib,
        kinds.rings_kib
    )?;
    writeln!(
        text,
        "          mean {} KiB; MemAvailable fell by {} KiB per VM, guests included",
        memory.mean_kib, memory.available_fall_kib_per_vm
    )
}

fn verdict(text: &mut String, report: &Report) -> std::fmt::Result {
    let Verified {
        by_guests_bytes,
        by_reader_bytes,
        mismatched_sectors,
    } = report.verified;
    writeln!(
        text,
        "verified  {} MiB by the guests, {} MiB of image by an independent reader, {} sectors differ",
        by_guests_bytes >> 20,
        by_reader_bytes >> 20,
        mismatched_sectors
    )?;
    for fault in &report.faults {
        writeln!(text, "FAULT     {fault}")?;
    }
    let last = if report.is_good() {
        "all well"
    } else {
        "NOT WELL"
    };
    writeln!(text, "result    {last}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_shown_and_spoils_the_result() {
        let report = Report {
            faults: vec!["2 grants leaked".into()],
            ..Report::default()
        };
        let text = render(&report);
        assert!(text.contains("FAULT     2 grants leaked\n"));
        assert!(text.ends_with("NOT WELL\n"));
    }

    #[test]
    fn rates_are_per_second_and_zero_of_nothing() {
        let load = Load {
            requests: 500,
            bytes: 2_000_000,
            seconds: 2.0,
            ..Load::default()
        };
        assert_eq!(load.iops().round(), 250.0);
        assert_eq!(load.mb_per_s().round(), 1.0);
        assert_eq!(Load::default().iops().round(), 0.0);
    }
}
