//! A snapshot as text for people, as JSON, and in the Prometheus exposition format. Pure functions.

use std::fmt::Write;

use crate::{Distribution, Snapshot, Value};

/// The quantiles that every form shows, per mille, with the names that they go by.
const QUANTILES: [(u32, &str, &str); 3] = [
    (500, "p50_ns", "0.5"),
    (990, "p99_ns", "0.99"),
    (999, "p999_ns", "0.999"),
];

/// One line per value, blocks under their name.
pub fn text(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    for block in &snapshot.blocks {
        line(&mut out, format_args!("{}", printable(&block.name)));
        for item in &block.items {
            let name = printable(&item.name);
            match &item.value {
                Value::Counter(value) => line(&mut out, format_args!("  {name:<24} {value:>16}")),
                Value::Histogram(times) => {
                    line(
                        &mut out,
                        format_args!("  {name:<24} {:>16}  {}", times.count(), summary(times)),
                    );
                }
            }
        }
    }
    out
}

/// `{"<block>": {"<counter>": 1, "<histogram>": {"count": .., "p50_ns": ..}}}`.
pub fn json(snapshot: &Snapshot) -> String {
    let blocks = snapshot.blocks.iter().map(|block| {
        let items = block.items.iter().map(|item| {
            let value = match &item.value {
                Value::Counter(value) => value.to_string(),
                Value::Histogram(times) => json_times(times),
            };
            format!("{}:{value}", quote(&item.name))
        });
        format!("{}:{{{}}}", quote(&block.name), join(items))
    });
    format!("{{{}}}", join(blocks))
}

/// Metrics named `halcyon_<value>`, with the block as a label; histograms as summaries in
/// nanoseconds.
pub fn prometheus(snapshot: &Snapshot) -> String {
    let mut lines = Vec::new();
    for block in &snapshot.blocks {
        let label = quote(&block.name);
        for item in &block.items {
            let name = metric(&item.name);
            let samples = match &item.value {
                Value::Counter(value) => format!("{name}{{block={label}}} {value}\n"),
                Value::Histogram(times) => prometheus_times(&name, &label, times),
            };
            lines.push((name, samples));
        }
    }
    // The samples of one metric must stand together, whichever block they come from.
    lines.sort_by(|(left, _), (right, _)| left.cmp(right));
    lines.into_iter().map(|(_, samples)| samples).collect()
}

fn summary(times: &Distribution) -> String {
    let micros = |ns: u64| format!("{}.{} us", ns / 1000, ns % 1000 / 100);
    let [p50, p99, p999] = QUANTILES.map(|(per_mille, ..)| micros(times.quantile_ns(per_mille)));
    format!(
        "p50 {p50}  p99 {p99}  p99.9 {p999}  max {}",
        micros(times.max_ns())
    )
}

fn json_times(times: &Distribution) -> String {
    let fixed = [
        format!("\"count\":{}", times.count()),
        format!("\"sum_ns\":{}", times.sum_ns()),
        format!("\"max_ns\":{}", times.max_ns()),
    ];
    let quantiles = QUANTILES
        .iter()
        .map(|(per_mille, name, _)| format!("\"{name}\":{}", times.quantile_ns(*per_mille)));
    format!("{{{}}}", join(fixed.into_iter().chain(quantiles)))
}

fn prometheus_times(name: &str, label: &str, times: &Distribution) -> String {
    let mut out = String::new();
    for (per_mille, _, quantile) in QUANTILES {
        let value = times.quantile_ns(per_mille);
        line(
            &mut out,
            format_args!("{name}{{block={label},quantile=\"{quantile}\"}} {value}"),
        );
    }
    line(
        &mut out,
        format_args!("{name}_sum{{block={label}}} {}", times.sum_ns()),
    );
    line(
        &mut out,
        format_args!("{name}_count{{block={label}}} {}", times.count()),
    );
    out
}

fn metric(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    format!("halcyon_{}", name.chars().map(plain).collect::<String>())
}

/// A name in quotes, escaped so that JSON and Prometheus both read it back.
fn quote(name: &str) -> String {
    let mut out = String::from("\"");
    for c in printable(name).chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

/// A name without control characters: it comes from a file.
fn printable(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(",")
}

fn line(out: &mut String, args: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _infallible = out.write_fmt(args);
    out.push('\n');
}
