//! What an unprivileged domain may use up. Domain 0 has no quotas.

use super::bench::{Answer, Bench, ok, p, watch};
use abi::DomId;
use xenstore::StoreError;
use xenstore::server::ConnId;
use xenstore::wire::Request;

const FULL: Answer = Err(StoreError::Quota);

fn set(bench: &mut Bench, name: &str, value: u32) {
    let request = Request::SetQuota {
        domid: None,
        name: name.to_owned(),
        value,
    };
    bench.ask(bench.dom0, &request).unwrap();
}

/// How many of `count` numbered attempts succeed.
fn successes(count: u32, mut attempt: impl FnMut(u32) -> Answer) -> usize {
    (0..count).filter(|index| attempt(*index).is_ok()).count()
}

fn write_many(bench: &mut Bench, conn: ConnId, prefix: &str, count: u32) -> usize {
    successes(count, |index| {
        bench.write_as(conn, 0, &format!("{prefix}{index}"), "")
    })
}

#[test]
fn a_domain_may_own_1000_nodes() {
    let mut bench = Bench::new();
    let guest = bench.guest(5);
    // Its home is the first of them.
    assert_eq!(write_many(&mut bench, guest, "n", 1100), 999);
    assert_eq!(bench.write_as(guest, 0, "more", ""), FULL);
    assert_eq!(bench.write_as(guest, 0, "n1", "an old one"), ok());
}

#[test]
fn a_write_that_would_create_too_many_parents_creates_none() {
    let mut bench = Bench::new();
    let guest = bench.guest(5);
    set(&mut bench, "nodes", 4);
    let before = bench.server.nodes();
    assert_eq!(bench.write_as(guest, 0, "a/b/c/d", ""), FULL);
    assert_eq!(bench.server.nodes(), before);
    assert_eq!(bench.write_as(guest, 0, "a/b/c", ""), ok());
}

#[test]
fn removing_nodes_makes_room() {
    let mut bench = Bench::new();
    let guest = bench.guest(5);
    set(&mut bench, "nodes", 4);
    bench.write_as(guest, 0, "a/b/c", "").unwrap();
    bench.remove("/local/domain/5/a").unwrap();
    assert_eq!(write_many(&mut bench, guest, "n", 9), 3);
}

#[test]
fn nodes_that_change_hands_are_paid_for_by_the_new_owner() {
    let mut bench = Bench::new();
    let guest = bench.guest(5);
    set(&mut bench, "nodes", 2);
    bench.write("/given", "").unwrap();
    bench.perms("/given", &["n5"]).unwrap();
    assert_eq!(bench.write_as(guest, 0, "a", ""), FULL);
    bench.perms("/given", &["n0"]).unwrap();
    assert_eq!(bench.write_as(guest, 0, "a", ""), ok());
}

#[test]
fn nodes_created_in_a_transaction_count_from_its_start_and_again_at_its_end() {
    let mut bench = Bench::new();
    let guest = bench.guest(5);
    set(&mut bench, "nodes", 3);
    let tx = bench.start(guest);
    assert_eq!(
        successes(5, |index| bench.write_as(
            guest,
            tx,
            &format!("t{index}"),
            ""
        )),
        2
    );
    bench.write_as(guest, 0, "outside", "").unwrap();
    assert_eq!(bench.commit(guest, tx), FULL);
    assert_eq!(
        bench.list_as(guest, 0, "/local/domain/5"),
        Ok("outside".to_owned())
    );
    assert_eq!(write_many(&mut bench, guest, "n", 5), 1);
}

#[test]
fn a_dead_domains_nodes_do_not_weigh_on_its_successor() {
    let mut bench = Bench::new();
    let guest = bench.guest(5);
    set(&mut bench, "nodes", 3);
    assert_eq!(write_many(&mut bench, guest, "n", 9), 2);
    bench.server.release(DomId(5));
    bench.remove("/local/domain/5").unwrap();
    let next = bench.guest(5);
    assert_eq!(write_many(&mut bench, next, "n", 9), 2);
}

#[test]
fn a_domain_may_set_128_watches() {
    let mut bench = Bench::new();
    let guest = bench.guest(5);
    let set = successes(200, |index| {
        bench.ask(guest, &watch("device", &index.to_string()))
    });
    assert_eq!(set, 128);
    assert_eq!(
        bench.ask(guest, &watch("device", "more")),
        Err(StoreError::TooBig)
    );
    let unwatch = Request::Unwatch {
        path: p("device"),
        token: "7".to_owned(),
    };
    bench.ask(guest, &unwatch).unwrap();
    assert_eq!(bench.ask(guest, &watch("device", "more")), ok());
}

#[test]
fn a_second_connection_brings_no_second_quota() {
    let mut bench = Bench::new();
    let guest = bench.guest(5);
    let other = bench.server.connect(DomId(5));
    set(&mut bench, "watches", 1);
    assert_eq!(bench.watch(guest, "a"), ok());
    assert_eq!(bench.watch(other, "a"), Err(StoreError::TooBig));
    bench.server.disconnect(guest);
    assert_eq!(bench.watch(other, "a"), ok());
}

#[test]
fn a_domain_may_have_10_transactions_open() {
    let mut bench = Bench::new();
    let guest = bench.guest(5);
    let started = successes(20, |_| bench.ask(guest, &Request::TransactionStart));
    assert_eq!(started, 10);
    assert_eq!(bench.ask(guest, &Request::TransactionStart), FULL);
    bench.ask(guest, &Request::ResetWatches).unwrap();
    let tx = bench.start(guest);
    assert_eq!(bench.abort(guest, tx), ok());
}

#[test]
fn a_transaction_may_touch_1024_nodes() {
    let mut bench = Bench::new();
    let guest = bench.guest(5);
    let tx = bench.start(guest);
    // Reads of nodes that are not there have to be remembered as well.
    let read = successes(1100, |index| {
        match bench.read_as(guest, tx, &format!("n{index}")) {
            Err(StoreError::NotFound) => ok(),
            other => other,
        }
    });
    assert_eq!(read, 1024);
    assert_eq!(bench.write_as(guest, tx, "one-more", ""), FULL);
    assert_eq!(bench.commit(guest, tx), ok());
    assert_eq!(
        bench.read_as(guest, 0, "one-more"),
        Err(StoreError::NotFound)
    );
}

#[test]
fn a_transaction_may_repeat_a_write_1024_times() {
    let mut bench = Bench::new();
    let guest = bench.guest(5);
    let tx = bench.start(guest);
    let written = successes(1100, |index| {
        bench.write_as(guest, tx, "n", &index.to_string())
    });
    assert_eq!(written, 1024);
}

#[test]
fn a_domains_values_have_at_most_2048_bytes() {
    let mut bench = Bench::new();
    let guest = bench.guest(5);
    assert_eq!(bench.write_as(guest, 0, "a", &"x".repeat(2048)), ok());
    assert_eq!(bench.write_as(guest, 0, "a", &"x".repeat(2049)), FULL);
    assert_eq!(bench.write("/a", &"x".repeat(4000)), ok());
}

#[test]
fn a_domains_nodes_have_at_most_5_permissions() {
    let mut bench = Bench::new();
    let guest = bench.guest(5);
    bench.write_as(guest, 0, "a", "").unwrap();
    assert_eq!(
        bench.perms_as(guest, "a", &["n5", "r1", "r2", "r3", "r4"]),
        ok()
    );
    assert_eq!(
        bench.perms_as(guest, "a", &["n5", "r1", "r2", "r3", "r4", "r6"]),
        FULL
    );
}

#[test]
fn a_domains_paths_have_at_most_2048_bytes() {
    let mut bench = Bench::new();
    let guest = bench.guest(5);
    let path = |len: usize| format!("/{}", "x".repeat(len - 1));
    assert_eq!(
        bench.read_as(guest, 0, &path(2049)),
        Err(StoreError::Invalid)
    );
    assert_eq!(
        bench.read_as(guest, 0, &path(2048)),
        Err(StoreError::Denied)
    );
    assert_eq!(bench.write(&path(3072), ""), ok());
}

#[test]
fn quotas_can_be_read_and_set_for_all_and_for_one() {
    let mut bench = Bench::new();
    bench.guest(5);
    let get = |domid, name: &str| Request::GetQuota {
        domid,
        name: Some(name.to_owned()),
    };
    let put = |domid, name: &str, value| Request::SetQuota {
        domid,
        name: name.to_owned(),
        value,
    };
    let five = Some(DomId(5));
    let mut ask = |request: Request| bench.ask(bench.dom0, &request);
    assert_eq!(ask(get(None, "nodes")), Ok("1000".to_owned()));
    assert_eq!(ask(put(five, "nodes", 7)), ok());
    assert_eq!(ask(put(None, "nodes", 2000)), ok());
    assert_eq!(ask(get(five, "nodes")), Ok("7".to_owned()));
    assert_eq!(ask(get(None, "nodes")), Ok("2000".to_owned()));
    assert_eq!(ask(get(None, "colour")), Err(StoreError::Invalid));
    assert_eq!(ask(get(Some(DomId(9)), "nodes")), Err(StoreError::NotFound));
    let names = ask(Request::GetQuota {
        domid: None,
        name: None,
    })
    .unwrap();
    assert!(names.split(' ').all(|name| ask(get(None, name)).is_ok()));
}
