//! `halcyon-bench table`: the medians of the last `cargo bench` in one table, for records.
//!
//! It reads the JSON that criterion leaves behind and measures nothing.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use halcyon::error::{Doing as _, Failure};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// `halcyon-bench table`
#[derive(Clone, Debug, Args)]
pub struct TableArgs {
    /// Criterion's output directory.
    #[arg(long, default_value = "target/criterion", value_name = "DIR")]
    pub criterion: PathBuf,
}

/// `benchmark.json`
#[derive(Deserialize)]
struct Benchmark {
    full_id: String,
    throughput: Option<Throughput>,
}

#[derive(Deserialize)]
struct Throughput {
    #[serde(rename = "Elements")]
    elements: Option<u64>,
}

/// `estimates.json`; times in ns.
#[derive(Deserialize)]
struct Estimates {
    median: Estimate,
}

#[derive(Deserialize)]
struct Estimate {
    point_estimate: f64,
    confidence_interval: Interval,
}

#[derive(Deserialize)]
struct Interval {
    lower_bound: f64,
    upper_bound: f64,
}

/// Prints the table.
pub fn run(args: &TableArgs) -> Result<(), Failure> {
    let mut found = Vec::new();
    collect(&args.criterion, &mut found)?;
    if found.is_empty() {
        let dir = args.criterion.display();
        return Err(Failure::failed(format!(
            "no results in {dir}: run cargo bench -p benches"
        )));
    }
    found.sort_by(|(a, _), (b, _)| order(&a.full_id).cmp(&order(&b.full_id)));
    println!(
        "{:<58}{:>12}{:>26}{:>14}",
        "", "median", "95 % interval", "per element"
    );
    for (benchmark, Estimates { median }) in &found {
        println!("{}", line(benchmark, median));
    }
    Ok(())
}

/// By name, and by the number that a name may end with.
fn order(id: &str) -> (&str, u64) {
    let (name, end) = id.rsplit_once('/').unwrap_or((id, ""));
    end.parse().map_or((id, 0), |number| (name, number))
}

/// Every benchmark's last run below `dir`: the directories called `new`.
fn collect(dir: &Path, found: &mut Vec<(Benchmark, Estimates)>) -> Result<(), Failure> {
    let what = || format!("list {}", dir.display());
    for entry in fs::read_dir(dir).doing(what)? {
        let path = entry.doing(what)?.path();
        if path.is_dir() && path.ends_with("new") {
            found.push((
                read(&path.join("benchmark.json"))?,
                read(&path.join("estimates.json"))?,
            ));
        } else if path.is_dir() {
            collect(&path, found)?;
        }
    }
    Ok(())
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    let what = || format!("read {}", path.display());
    serde_json::from_slice(&fs::read(path).doing(what)?).doing(what)
}

fn line(benchmark: &Benchmark, median: &Estimate) -> String {
    let Interval {
        lower_bound,
        upper_bound,
    } = median.confidence_interval;
    let elements = benchmark
        .throughput
        .as_ref()
        .and_then(|throughput| throughput.elements);
    let each = elements
        .filter(|count| *count > 1)
        .map_or(String::new(), |count| {
            time(median.point_estimate / count as f64)
        });
    format!(
        "{:<58}{:>12}{:>26}{:>14}",
        benchmark.full_id,
        time(median.point_estimate),
        format!("{}..{}", time(lower_bound), time(upper_bound)),
        each
    )
}

/// Three to four digits and a unit.
fn time(ns: f64) -> String {
    match ns {
        ..1e3 => format!("{ns:.1} ns"),
        ..1e6 => format!("{:.2} µs", ns / 1e3),
        _ => format!("{:.2} ms", ns / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_shown_whole_and_per_element() {
        let json = r#"{"full_id": "ring/round trip/32", "throughput": {"Elements": 32}}"#;
        let benchmark: Benchmark = serde_json::from_str(json).unwrap();
        let confidence_interval = Interval {
            lower_bound: 3000.0,
            upper_bound: 3400.0,
        };
        let median = Estimate {
            point_estimate: 3200.0,
            confidence_interval,
        };
        let line = line(&benchmark, &median);
        let fields: Vec<&str> = line.split("  ").filter(|field| !field.is_empty()).collect();
        let fields: Vec<&str> = fields.into_iter().map(str::trim).collect();
        assert_eq!(
            fields,
            [
                "ring/round trip/32",
                "3.20 µs",
                "3.00 µs..3.40 µs",
                "100.0 ns"
            ]
        );
    }

    #[test]
    fn numbers_at_the_end_are_ordered_as_numbers() {
        let mut ids = ["a/b/352", "a/b/32", "a/c", "a/b/4"];
        ids.sort_by_key(|id| order(id));
        assert_eq!(ids, ["a/b/4", "a/b/32", "a/b/352", "a/c"]);
    }

    #[test]
    fn without_a_run_it_says_what_to_do() {
        let dir = std::env::temp_dir().join(format!("halcyon-table-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        let failure = run(&TableArgs {
            criterion: dir.clone(),
        })
        .unwrap_err();
        fs::remove_dir(&dir).unwrap();
        assert!(failure.to_string().contains("run cargo bench"));
    }
}
