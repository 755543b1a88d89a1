//! What the runs gave: medians, ratios with their spread, and the text that is recorded.
//!
//! It measures nothing.

use std::fmt::Write as _;

use serde::Serialize;

use super::fio::Fio;
use super::path::Ours;
use crate::machine::Machine;

/// Everything that one benchmark run found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where it ran.
    pub machine: Machine,
    /// What the image is on.
    pub storage: String,
    /// The image.
    pub image: String,
    /// Its size; 0 where it has none that can be asked for.
    pub image_bytes: u64,
    /// Which fio, if there is one.
    pub fio: Option<String>,
    /// Who ran on which processor, in words.
    pub placement: String,
    /// Pairs per row.
    pub pairs: u32,
    /// Duration of a run.
    pub seconds: u64,
    /// The loads.
    pub rows: Vec<Row>,
}

/// One load.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Which.
    pub name: String,
    /// Its runs, in order.
    pub pairs: Vec<Pair>,
}

/// Two runs, one right after the other.
#[derive(Clone, Debug, Serialize)]
pub struct Pair {
    /// On the bare file; `None` without fio.
    pub fio: Option<Fio>,
    /// Through the guest's disk.
    pub ours: Ours,
}

/// The middle of an odd number of values, the mean of the middle two of an even number, and the
/// ends.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    /// `None` of no values.
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Self {
            median: f64::midpoint(low, high),
            min,
            max,
        })
    }
}

impl Row {
    fn ours(&self, of: impl Fn(&Ours) -> f64) -> f64 {
        let values = self.pairs.iter().map(|pair| of(&pair.ours));
        Spread::of(values).map_or(0.0, |spread| spread.median)
    }

    fn fio(&self, of: impl Fn(&Fio) -> f64) -> Option<f64> {
        let values = self
            .pairs
            .iter()
            .filter_map(|pair| pair.fio.as_ref().map(&of));
        Spread::of(values).map(|spread| spread.median)
    }

    fn ratio(&self) -> Option<Spread> {
        let ratio = |pair: &Pair| pair.fio.map(|fio| pair.ours.load.iops() / fio.iops);
        Spread::of(self.pairs.iter().filter_map(ratio))
    }
}

/// The report as text.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    let wrote = head(&mut text, report)
        .and_then(|()| throughput(&mut text, &report.rows))
        .and_then(|()| cost(&mut text, &report.rows));
    debug_assert!(wrote.is_ok(), "writing to a string cannot fail");
    text
}

fn head(text: &mut String, report: &Report) -> std::fmt::Result {
    let Machine {
        processors,
        kernel,
        rustc,
        commit,
        load_average,
    } = &report.machine;
    let fio = report.fio.as_deref();
    let fio = fio.unwrap_or("not installed: no floor and no ratios (Debian: apt install fio)");
    writeln!(text, "halcyon bench disk: 4 KiB, O_DIRECT")?;
    writeln!(text, "host       {processors}; {}", report.storage)?;
    writeln!(
        text,
        "kernel     {kernel}; load average {load_average} at the start"
    )?;
    writeln!(text, "build      commit {commit}, {rustc}")?;
    writeln!(text, "fio        {fio}")?;
    writeln!(
        text,
        "image      {}, {} MiB",
        report.image,
        report.image_bytes >> 20
    )?;
    writeln!(text, "placement  {}", report.placement)?;
    writeln!(
        text,
        "runs       {} pairs of {} s each, in alternating order; medians, ratio with min..max\n",
        report.pairs, report.seconds
    )
}

fn throughput(text: &mut String, rows: &[Row]) -> std::fmt::Result {
    writeln!(
        text,
        "{:<24}{:>10}{:>11}{:>8}{:>14}{:>10}{:>10}{:>10}{:>10}",
        "",
        "fio IOPS",
        "guest IOPS",
        "ratio",
        "min..max",
        "fio p50",
        "guest p50",
        "fio p99",
        "guest p99"
    )?;
    for row in rows {
        let ratio = row.ratio();
        writeln!(
            text,
            "{:<24}{:>10}{:>11.0}{:>8}{:>14}{:>10}{:>10.1}{:>10}{:>10.1}",
            row.name,
            number(row.fio(|fio| fio.iops), 0),
            row.ours(|ours| ours.load.iops()),
            number(ratio.map(|ratio| ratio.median), 3),
            ratio.map_or("-".into(), |ratio| format!(
                "{:.3}..{:.3}",
                ratio.min, ratio.max
            )),
            number(row.fio(|fio| fio.p50_us), 1),
            row.ours(|ours| ours.load.p50_us),
            number(row.fio(|fio| fio.p99_us), 1),
            row.ours(|ours| ours.load.p99_us),
        )?;
    }
    writeln!(
        text,
        "{:>107}\n",
        "p50, p99: µs from submission to completion"
    )
}

fn cost(text: &mut String, rows: &[Row]) -> std::fmt::Result {
    writeln!(
        text,
        "{:<24}{:>11}{:>11}{:>14}{:>14}{:>15}{:>10}",
        "per request",
        "fio CPU µs",
        "VM CPU µs",
        "guest CPU µs",
        "system calls",
        "notifications",
        "switches"
    )?;
    for row in rows {
        writeln!(
            text,
            "{:<24}{:>11}{:>11.2}{:>14.2}{:>14.3}{:>15.3}{:>10.3}",
            row.name,
            number(row.fio(|fio| fio.cpu_us_per_request), 2),
            row.ours(|ours| ours.load.cpu_us_per_request),
            row.ours(|ours| ours.guest_cpu_us_per_request),
            row.ours(|ours| ours.load.system_calls_per_request),
            row.ours(|ours| ours.load.notifications_per_request),
            row.ours(|ours| ours.context_switches_per_request),
        )?;
    }
    writeln!(
        text,
        "CPU: schedstat, every task. System calls, notifications (events sent to the guest) and\n\
         context switches: of the VM process, the first two by its own count."
    )
}

fn number(value: Option<f64>, decimals: usize) -> String {
    value.map_or("-".into(), |value| format!("{value:.decimals$}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use halcyon::report::Load;

    fn row(runs: &[(f64, u64)]) -> Row {
        let pair = |(fio, ours): &(f64, u64)| Pair {
            fio: Some(Fio {
                iops: *fio,
                p50_us: 1.0,
                p99_us: 2.0,
                cpu_us_per_request: 3.0,
            }),
            ours: Ours {
                load: Load {
                    requests: *ours,
                    seconds: 1.0,
                    ..Load::default()
                },
                ..Ours::default()
            },
        };
        Row {
            name: "random read, depth 1".into(),
            pairs: runs.iter().map(pair).collect(),
        }
    }

    #[test]
    fn the_ratio_is_the_median_of_paired_ratios_and_not_of_medians() {
        let ratio = row(&[(100.0, 50), (200.0, 180), (1000.0, 800)])
            .ratio()
            .unwrap();
        assert_eq!(
            ratio,
            Spread {
                median: 0.8,
                min: 0.5,
                max: 0.9
            }
        );
    }

    #[test]
    fn an_even_number_of_values_has_the_mean_of_the_middle_two() {
        let spread = Spread::of([4.0, 1.0, 2.0, 8.0].into_iter()).unwrap();
        assert_eq!(
            spread,
            Spread {
                median: 3.0,
                min: 1.0,
                max: 8.0
            }
        );
        assert_eq!(Spread::of(std::iter::empty()), None);
    }

    #[test]
    fn without_fio_there_are_no_ratios_but_all_the_rest() {
        let mut row = row(&[(100.0, 50)]);
        row.pairs.iter_mut().for_each(|pair| pair.fio = None);
        let mut text = String::new();
        throughput(&mut text, &[row]).unwrap();
        let line = text.lines().nth(1).unwrap();
        let fields: Vec<&str> = line.split_whitespace().skip(4).collect();
        assert_eq!(fields, ["-", "50", "-", "-", "-", "0.0", "-", "0.0"]);
    }
}
