//! The stats file from both sides, and what a reader makes of any bytes.

use proptest::prelude::*;
use telemetry::{
    Distribution, Page, RECORD_WORDS_MAX, RateLimit, Record, Snapshot, Verdict, export,
};

/// Cases per property; `PROPTEST_CASES` may raise it.
const CASES: u32 = 256;

fn config() -> ProptestConfig {
    let config = ProptestConfig::default();
    let cases = config.cases.max(CASES);
    println!("{cases} cases");
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..config
    }
}

fn scratch(name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("halcyon-telemetry-{}-{name}", std::process::id()))
}

fn recorded(times: &[u64]) -> Distribution {
    let mut distribution = Distribution::default();
    times.iter().for_each(|ns| distribution.record(*ns));
    distribution
}

#[test]
fn a_record_is_as_long_as_its_words_and_takes_no_more() {
    let path = scratch("record");
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true);
    let file = options.open(&path).unwrap();
    let record = Record::create(&file, 3).unwrap();
    (0..5).for_each(|index| record.set(index, 7));
    assert_eq!(
        std::fs::read(&path).unwrap(),
        [7, 0, 0, 0, 0, 0, 0, 0].repeat(3)
    );
    assert!(Record::create(&file, 0).is_err());
    assert!(Record::create(&file, RECORD_WORDS_MAX + 1).is_err());
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_reader_of_the_file_sees_what_was_counted() {
    let path = scratch("file");
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true);
    let file = options.open(&path).unwrap();
    let page = Page::create(&file, 4).unwrap();
    let mut builder = page.block("vbd 5/51712").unwrap();
    let (reads, depth) = (builder.counter("reads"), builder.counter("in_flight"));
    let latency = builder.histogram("read_latency_ns");
    let _block = builder.publish();
    reads.add(2);
    reads.add(40);
    depth.set(7);
    latency.record(100_000);
    let snapshot = Snapshot::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let block = snapshot.block("vbd 5/51712").unwrap();
    assert_eq!(
        (block.counter("reads"), block.counter("in_flight")),
        (Some(42), Some(7))
    );
    assert_eq!(
        block.histogram("read_latency_ns"),
        Some(&recorded(&[100_000]))
    );
    assert_eq!(
        (block.counter("read_latency_ns"), block.histogram("reads")),
        (None, None)
    );
    assert_eq!(snapshot.blocks.len(), 1);
}

#[test]
fn a_block_is_gone_once_its_last_handle_is() {
    let page = Page::anonymous(1).unwrap();
    let mut builder = page.block("one").unwrap();
    let counter = builder.counter("n");
    let block = builder.publish();
    counter.add(3);
    drop(block);
    assert!(page.block("two").is_none());
    drop(counter);
    assert_eq!(Snapshot::parse(&page.bytes()).unwrap().blocks, []);
    let mut builder = page.block("two").unwrap();
    let counter = builder.counter("n");
    assert_eq!(counter.get(), 0);
}

#[test]
fn an_unpublished_block_is_not_seen() {
    let page = Page::anonymous(2).unwrap();
    let mut builder = page.block("half").unwrap();
    builder.counter("n").add(1);
    assert_eq!(Snapshot::parse(&page.bytes()).unwrap().blocks, []);
}

#[test]
fn a_block_holds_three_histograms_and_twenty_counters() {
    let page = Page::anonymous(1).unwrap();
    let mut builder = page.block("full").unwrap();
    let histograms: Vec<_> = (0..3)
        .map(|i| builder.histogram(&format!("h{i}")))
        .collect();
    let counters: Vec<_> = (0..20).map(|i| builder.counter(&format!("c{i}"))).collect();
    histograms
        .iter()
        .for_each(|histogram| histogram.record(u64::MAX));
    counters
        .iter()
        .zip(1..)
        .for_each(|(counter, n)| counter.set(n));
    let _block = builder.publish();
    let snapshot = Snapshot::parse(&page.bytes()).unwrap();
    let block = snapshot.block("full").unwrap();
    assert!((0..20).all(|i| block.counter(&format!("c{i}")) == Some(i + 1)));
    assert!((0..3).all(|i| block.histogram(&format!("h{i}")).unwrap().count() == 1));
}

#[test]
fn a_file_of_another_version_is_refused() {
    let mut bytes = Page::anonymous(1).unwrap().bytes();
    bytes[8] += 1;
    assert!(Snapshot::parse(&bytes).is_err());
    assert!(Snapshot::parse(&[]).is_err());
}

#[test]
fn nothing_has_quantile_zero() {
    assert_eq!(
        (recorded(&[]).quantile_ns(500), recorded(&[]).mean_ns()),
        (0, 0)
    );
}

#[test]
fn the_limiter_lets_a_burst_pass_and_then_one_per_interval() {
    let mut limit = RateLimit::new(2, 1_000, 0);
    let verdicts = [0, 0, 10, 999, 1_000, 1_500, 2_100].map(|now_ns| limit.check(now_ns));
    let pass = |suppressed| Verdict::Pass { suppressed };
    let suppress = Verdict::Suppress;
    assert_eq!(
        verdicts,
        [
            pass(0),
            pass(0),
            suppress,
            suppress,
            pass(2),
            suppress,
            pass(1)
        ]
    );
}

#[test]
fn the_limiter_takes_a_clock_that_goes_back_for_one_that_stands() {
    let mut limit = RateLimit::new(1, 1_000, 5_000);
    assert_eq!(limit.check(0), Verdict::Pass { suppressed: 0 });
    assert_eq!(limit.check(5_999), Verdict::Suppress);
    assert_eq!(limit.check(6_000), Verdict::Pass { suppressed: 1 });
}

#[test]
fn every_form_names_block_and_value() {
    let page = Page::anonymous(2).unwrap();
    let mut builder = page.block("vbd \"1\"\n").unwrap();
    let (requests, latency) = (builder.counter("reads"), builder.histogram("latency"));
    let _block = builder.publish();
    requests.add(5);
    latency.record(1_000);
    let snapshot = Snapshot::parse(&page.bytes()).unwrap();
    let json = r#"{"vbd \"1\"?":{"reads":5,"latency":{"count":1,"sum_ns":1000,"max_ns":1000,"p50_ns":1000,"p99_ns":1000,"p999_ns":1000}}}"#;
    assert_eq!(export::json(&snapshot), json);
    let prometheus = export::prometheus(&snapshot);
    assert!(
        prometheus.contains("halcyon_reads{block=\"vbd \\\"1\\\"?\"} 5\n"),
        "{prometheus}"
    );
    assert!(prometheus.contains("halcyon_latency_count{block=\"vbd \\\"1\\\"?\"} 1\n"));
    let text = export::text(&snapshot);
    assert!(
        text.contains("reads") && text.contains("p99.9 1.0 us"),
        "{text}"
    );
}

proptest! {
    #![proptest_config(config())]

    /// The naive answer is the sorted list's; a bucket is a quarter of an octave wide.
    #[test]
    fn quantiles_are_within_a_quarter_of_the_sorted_answer(
        mut times in prop::collection::vec(128_u64..1 << 36, 1..200),
        per_mille in 0_u32..=1000,
    ) {
        let distribution = recorded(&times);
        times.sort_unstable();
        let rank = (times.len() * per_mille as usize).div_ceil(1000).max(1);
        let exact = times[rank - 1];
        let got = distribution.quantile_ns(per_mille);
        prop_assert!(got.abs_diff(exact) <= exact / 4 + 1, "{got} for {exact}");
        prop_assert_eq!(distribution.count(), times.len() as u64);
        prop_assert_eq!(distribution.max_ns(), *times.last().unwrap());
    }

    #[test]
    fn merged_distributions_are_those_of_all_times(
        left in prop::collection::vec(any::<u32>().prop_map(u64::from), 0..50),
        right in prop::collection::vec(any::<u32>().prop_map(u64::from), 0..50),
    ) {
        let mut merged = recorded(&left);
        merged.merge(&recorded(&right));
        prop_assert_eq!(merged, recorded(&[left, right].concat()));
    }

    #[test]
    fn any_page_after_a_true_header_is_read_without_a_panic(
        words in prop::collection::vec((0_usize..512, any::<u64>(), 0_u64..600), 0..64),
        cut in 0_usize..8192,
    ) {
        let mut bytes = Page::anonymous(1).unwrap().bytes();
        bytes[4096] = 1;
        for (at, wild, plausible) in words {
            let value = if wild % 2 == 0 { wild } else { plausible << 32 | (1 + wild % 4 / 2) };
            bytes[4096 + at * 8..][..8].copy_from_slice(&value.to_le_bytes());
        }
        bytes.truncate(cut.max(16));
        let snapshot = Snapshot::parse(&bytes).unwrap();
        let forms = [export::text(&snapshot), export::json(&snapshot), export::prometheus(&snapshot)];
        prop_assert!(forms.iter().all(|form| form.len() < 1 << 20));
    }
}
