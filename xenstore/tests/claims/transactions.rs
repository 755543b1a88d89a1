//! Transactions: one snapshot, all or nothing, conflict only with what was touched.

use super::bench::{Bench, ok, p, watch_depth};
use xenstore::StoreError;
use xenstore::wire::Request;

const CONFLICT: super::bench::Answer = Err(StoreError::Conflict);

#[test]
fn a_transaction_sees_the_store_as_it_was_when_it_started() {
    let mut bench = Bench::new();
    bench.write("/a", "old").unwrap();
    bench.write("/dir/x", "").unwrap();
    let (dom0, tx) = (bench.dom0, bench.start(bench.dom0));
    bench.write("/a", "new").unwrap();
    bench.write("/dir/y", "").unwrap();
    bench.remove("/dir/x").unwrap();
    assert_eq!(bench.read_as(dom0, tx, "/a"), Ok("old".to_owned()));
    assert_eq!(bench.list_as(dom0, tx, "/dir"), Ok("x".to_owned()));
    assert_eq!(bench.read("/a"), Ok("new".to_owned()));
}

#[test]
fn a_transaction_sees_its_own_changes_and_nobody_else_does_before_the_end() {
    let mut bench = Bench::new();
    let (dom0, tx) = (bench.dom0, bench.start(bench.dom0));
    bench.write_as(dom0, tx, "/a/b", "1").unwrap();
    assert_eq!(bench.read_as(dom0, tx, "/a/b"), Ok("1".to_owned()));
    assert_eq!(bench.list_as(dom0, tx, "/"), Ok("a".to_owned()));
    assert_eq!(bench.read("/a/b"), Err(StoreError::NotFound));
    assert_eq!(bench.commit(dom0, tx), ok());
    assert_eq!(bench.read("/a/b"), Ok("1".to_owned()));
}

#[test]
fn an_aborted_transaction_leaves_nothing_behind() {
    let mut bench = Bench::new();
    bench.write("/keep", "").unwrap();
    let (dom0, tx) = (bench.dom0, bench.start(bench.dom0));
    bench.write_as(dom0, tx, "/a", "1").unwrap();
    bench.remove_as(dom0, tx, "/keep").unwrap();
    assert_eq!(bench.abort(dom0, tx), ok());
    assert_eq!(bench.list("/"), Ok("keep".to_owned()));
    assert_eq!(bench.commit(dom0, tx), Err(StoreError::NotFound));
}

/// Runs `first` in a transaction and `then` outside of it, and commits.
fn race(first: impl Fn(&mut Bench, u32), then: impl Fn(&mut Bench)) -> super::bench::Answer {
    let mut bench = Bench::new();
    bench.write("/a/x", "1").unwrap();
    bench.write("/b", "1").unwrap();
    let (dom0, tx) = (bench.dom0, bench.start(bench.dom0));
    first(&mut bench, tx);
    then(&mut bench);
    bench.commit(dom0, tx)
}

fn write(path: &'static str) -> impl Fn(&mut Bench, u32) {
    move |bench, tx| drop(bench.write_as(bench.dom0, tx, path, "2").unwrap())
}

fn outside(change: impl Fn(&mut Bench, u32)) -> impl Fn(&mut Bench) {
    move |bench| change(bench, 0)
}

fn read(path: &'static str) -> impl Fn(&mut Bench, u32) {
    move |bench, tx| drop(bench.read_as(bench.dom0, tx, path))
}

fn list(path: &'static str) -> impl Fn(&mut Bench, u32) {
    move |bench, tx| drop(bench.list_as(bench.dom0, tx, path))
}

fn remove(path: &'static str) -> impl Fn(&mut Bench, u32) {
    move |bench, tx| drop(bench.remove_as(bench.dom0, tx, path).unwrap())
}

#[test]
fn a_change_of_what_was_read_or_written_is_a_conflict() {
    assert_eq!(race(read("/b"), outside(write("/b"))), CONFLICT);
    assert_eq!(race(write("/b"), outside(write("/b"))), CONFLICT);
    assert_eq!(race(write("/b"), outside(remove("/b"))), CONFLICT);
    assert_eq!(race(read("/new"), outside(write("/new"))), CONFLICT);
    assert_eq!(race(write("/new"), outside(write("/new"))), CONFLICT);
}

#[test]
fn a_changed_directory_is_a_conflict_for_who_listed_it() {
    assert_eq!(race(list("/a"), outside(write("/a/y"))), CONFLICT);
    assert_eq!(race(list("/a"), outside(remove("/a/x"))), CONFLICT);
    assert_eq!(race(list("/a"), outside(write("/a/x"))), ok());
}

#[test]
fn a_node_that_vanished_above_a_new_one_is_a_conflict() {
    assert_eq!(race(write("/a/y/z"), outside(remove("/a"))), CONFLICT);
}

#[test]
fn a_parent_that_vanished_is_a_conflict_for_who_found_nothing_to_remove_in_it() {
    assert_eq!(race(remove("/a/missing"), outside(remove("/a"))), CONFLICT);
    assert_eq!(race(remove("/a/missing"), outside(write("/a/x"))), ok());
}

#[test]
fn removing_what_was_changed_meanwhile_is_a_conflict() {
    assert_eq!(race(remove("/a"), outside(write("/a/x"))), CONFLICT);
    assert_eq!(race(remove("/a"), outside(write("/a/x/new"))), CONFLICT);
    assert_eq!(race(remove("/a"), outside(write("/b"))), ok());
}

#[test]
fn different_nodes_in_one_directory_are_no_conflict() {
    assert_eq!(race(write("/a/y"), outside(write("/a/z"))), ok());
    assert_eq!(race(write("/a/y/1"), outside(write("/a/z/1"))), ok());
    assert_eq!(race(write("/b"), outside(write("/a/x"))), ok());
}

#[test]
fn a_value_restored_to_what_it_was_is_a_conflict_all_the_same() {
    let there_and_back = |bench: &mut Bench| {
        bench.write("/b", "2").unwrap();
        bench.write("/b", "1").unwrap();
    };
    assert_eq!(race(read("/b"), there_and_back), CONFLICT);
}

#[test]
fn of_two_conflicting_transactions_the_first_to_end_wins() {
    let mut bench = Bench::new();
    let dom0 = bench.dom0;
    let (first, second) = (bench.start(dom0), bench.start(dom0));
    bench.write_as(dom0, second, "/a", "second").unwrap();
    bench.write_as(dom0, first, "/a", "first").unwrap();
    assert_eq!(bench.commit(dom0, first), ok());
    assert_eq!(bench.commit(dom0, second), CONFLICT);
    assert_eq!(bench.read("/a"), Ok("first".to_owned()));
}

#[test]
fn watches_fire_at_the_commit_and_not_before() {
    let mut bench = Bench::new();
    let dom0 = bench.dom0;
    bench.watch_quietly(dom0, "/a");
    let tx = bench.start(dom0);
    bench.write_as(dom0, tx, "/a/b", "").unwrap();
    bench.write_as(dom0, tx, "/a/c", "").unwrap();
    bench.write_as(dom0, tx, "/a/c", "again").unwrap();
    assert_eq!(bench.events(dom0), Vec::<String>::new());
    bench.commit(dom0, tx).unwrap();
    assert_eq!(bench.events(dom0), ["/a/b", "/a/c"]);
}

#[test]
fn a_conflict_or_an_abort_fires_nothing() {
    let mut bench = Bench::new();
    let dom0 = bench.dom0;
    bench.watch_quietly(dom0, "/a");
    let (aborted, conflicting) = (bench.start(dom0), bench.start(dom0));
    bench.write_as(dom0, aborted, "/a/x", "").unwrap();
    bench.write_as(dom0, conflicting, "/a/x", "").unwrap();
    bench.abort(dom0, aborted).unwrap();
    bench.write("/a/x", "").unwrap();
    assert_eq!(bench.commit(dom0, conflicting), CONFLICT);
    assert_eq!(bench.events(dom0), ["/a/x"]);
}

#[test]
fn a_watch_within_a_transaction_is_set_at_once() {
    let mut bench = Bench::new();
    let (dom0, tx) = (bench.dom0, bench.start(bench.dom0));
    assert_eq!(bench.ask_in(dom0, tx, &watch_depth("/a", 3)), ok());
    assert_eq!(bench.events(dom0), ["/a"]);
}

#[test]
fn a_transaction_within_a_transaction_is_refused() {
    let mut bench = Bench::new();
    let (dom0, tx) = (bench.dom0, bench.start(bench.dom0));
    assert_eq!(
        bench.ask_in(dom0, tx, &Request::TransactionStart),
        Err(StoreError::Busy)
    );
}

#[test]
fn an_unknown_transaction_is_refused() {
    let mut bench = Bench::new();
    bench.write("/a", "").unwrap();
    let (dom0, tx) = (bench.dom0, bench.start(bench.dom0));
    assert_eq!(bench.read_as(dom0, tx + 1, "/a"), Err(StoreError::NotFound));
    assert_eq!(bench.commit(dom0, 0), Err(StoreError::NotFound));
}

#[test]
fn a_transaction_belongs_to_its_connection() {
    let mut bench = Bench::new();
    bench.write("/a", "").unwrap();
    let tx = bench.start(bench.dom0);
    let other = bench.server.connect(abi::DomId::DOM0);
    assert_eq!(bench.read_as(other, tx, "/a"), Err(StoreError::NotFound));
    assert_eq!(bench.commit(other, tx), Err(StoreError::NotFound));
    assert_eq!(bench.commit(bench.dom0, tx), ok());
}

#[test]
fn reset_watches_drops_transactions_too() {
    let mut bench = Bench::new();
    let (dom0, tx) = (bench.dom0, bench.start(bench.dom0));
    assert_eq!(bench.ask(dom0, &Request::ResetWatches), ok());
    assert_eq!(bench.commit(dom0, tx), Err(StoreError::NotFound));
}

#[test]
fn permissions_hold_within_a_transaction() {
    let mut bench = Bench::new();
    let guest = bench.guest(5);
    bench.write("/hidden", "").unwrap();
    let tx = bench.start(guest);
    assert_eq!(bench.read_as(guest, tx, "/hidden"), Err(StoreError::Denied));
    assert_eq!(
        bench.write_as(guest, tx, "/hidden", ""),
        Err(StoreError::Denied)
    );
    assert_eq!(bench.write_as(guest, tx, "mine", ""), ok());
    assert_eq!(
        bench.ask_in(guest, tx, &Request::GetPerms(p("mine"))),
        Ok("n5".to_owned())
    );
    assert_eq!(bench.commit(guest, tx), ok());
}
