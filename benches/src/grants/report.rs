//! What each way of moving data cost, as a table.
//!
//! It measures nothing. Invariant: a count that is exact is printed without rounding it away.

use std::collections::BTreeMap;

use super::calls::Calls;
use crate::hypercalls::{GRANT_OPS, Tally};

/// Calls that change page tables or order the flush of what was cached of them.
const PAGE_TABLES: [u32; 3] = [1, 14, 26];

/// A PV domain returns from each system call, fault and interrupt by this one.
const IRET: u32 = 23;

/// One way for one size of request.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) what: String,
    pub(super) requests: u64,
    pub(super) calls: Calls,
    pub(super) tally: Tally,
}

/// `count` for each of `requests`, in as few digits as say it.
pub(super) fn ratio(count: u64, requests: u64) -> String {
    if count.is_multiple_of(requests.max(1)) {
        return (count / requests.max(1)).to_string();
    }
    let each = count as f64 / requests as f64;
    let digits = if each < 0.1 { 3 } else { 2 };
    format!("{each:.digits$}")
}

/// The grant calls that each request makes, and the operations in them by command; and how many calls
/// came beside them. Those are continuations: whatever is no part of each request.
#[derive(Debug, PartialEq, Eq)]
struct GrantWork {
    calls: u64,
    map: u64,
    unmap: u64,
    copy: u64,
    continued: u64,
}

fn grant_work(tally: &Tally, requests: u64) -> GrantWork {
    let regular = |(key, count): (&(u32, u32), &u64)| (*key, count / requests);
    let regular: Vec<_> = tally.grants.iter().map(regular).collect();
    let operations = |wanted: u32| -> u64 {
        let of = regular
            .iter()
            .filter(|((command, _), _)| *command == wanted);
        of.map(|((_, operations), each)| u64::from(*operations) * each)
            .sum()
    };
    let [map, unmap, copy] = GRANT_OPS.map(|(command, _)| operations(command));
    let calls: u64 = regular.iter().map(|(_, each)| each).sum();
    GrantWork {
        calls,
        map,
        unmap,
        copy,
        continued: tally.grant_calls() - calls * requests,
    }
}

/// The table.
pub(super) fn table(rows: &[Row]) -> String {
    let columns = [
        ["grant", "calls"],
        ["map", "ops"],
        ["unmap", "ops"],
        ["copy", "ops"],
        ["contin-", "ued"],
        ["iret", "calls"],
        ["page", "tables"],
        ["other", "calls"],
    ];
    let mut text = String::new();
    for (at, [what, calls]) in [["per request", "system calls"], ["", ""]]
        .iter()
        .enumerate()
    {
        text += &format!("{what:<28}{calls:<31}");
        text.extend(columns.iter().map(|words| format!("{:>8}", words[at])));
        text.push('\n');
    }
    text.extend(rows.iter().map(line));
    text
}

fn line(row: &Row) -> String {
    let Row {
        what,
        requests,
        calls,
        tally,
    } = row;
    let page_tables = |calls: &BTreeMap<u32, u64>| -> u64 {
        PAGE_TABLES.iter().filter_map(|op| calls.get(op)).sum()
    };
    let direct = page_tables(&tally.calls);
    let returns = tally.calls.get(&IRET).copied().unwrap_or(0);
    let calls = match calls.total() {
        0 => "0".to_owned(),
        _ => calls.each(*requests).to_string(),
    };
    let work = grant_work(tally, *requests);
    let columns = [
        work.calls.to_string(),
        work.map.to_string(),
        work.unmap.to_string(),
        work.copy.to_string(),
        ratio(work.continued, *requests),
        ratio(returns, *requests),
        ratio(direct + page_tables(&tally.carried), *requests),
        ratio(
            tally.total() - tally.grant_calls() - direct - returns,
            *requests,
        ),
    ];
    let columns: String = columns.iter().map(|text| format!("{text:>8}")).collect();
    format!("{what:<28}{calls:<31}{columns}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_counts_are_printed_whole() {
        assert_eq!(ratio(2000, 1000), "2");
        assert_eq!(ratio(0, 1000), "0");
        assert_eq!(ratio(1, 1000), "0.001");
        assert_eq!(ratio(1500, 1000), "1.50");
    }

    #[test]
    fn what_does_not_come_with_each_request_was_continued() {
        let tally = Tally {
            calls: [(20, 205)].into(),
            grants: [((5, 16), 200), ((5, 9), 3), ((5, 1), 2)].into(),
            ..Tally::default()
        };
        let work = grant_work(&tally, 100);
        assert_eq!((work.calls, work.copy, work.continued), (2, 32, 5));
    }
}
