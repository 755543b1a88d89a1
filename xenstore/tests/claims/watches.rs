//! Watches: what fires them, how the event reads, who is told.

use super::bench::{Bench, ok, p, watch, watch_depth};
use abi::DomId;
use xenstore::StoreError;
use xenstore::wire::Request;

const NOTHING: [&str; 0] = [];

#[test]
fn a_watch_fires_once_when_it_is_set() {
    let mut bench = Bench::new();
    let dom0 = bench.dom0;
    assert_eq!(bench.watch(dom0, "/not/there"), ok());
    assert_eq!(bench.events(dom0), ["/not/there"]);
    assert_eq!(bench.events(dom0), NOTHING);
}

#[test]
fn a_watch_fires_for_its_node_and_everything_below_with_the_path_that_changed() {
    let mut bench = Bench::new();
    let dom0 = bench.dom0;
    bench.watch_quietly(dom0, "/a");
    for path in ["/a", "/a/b", "/a/c/d", "/ab", "/b"] {
        bench.write(path, "").unwrap();
    }
    assert_eq!(bench.events(dom0), ["/a", "/a/b", "/a/c/d"]);
}

#[test]
fn a_watch_on_a_node_that_a_write_creates_on_the_way_fires() {
    let mut bench = Bench::new();
    let dom0 = bench.dom0;
    bench.watch_quietly(dom0, "/a/b");
    bench.write("/a/b/c", "").unwrap();
    assert_eq!(bench.events(dom0), ["/a/b/c"]);
}

#[test]
fn mkdir_fires_for_a_new_node_only() {
    let mut bench = Bench::new();
    let dom0 = bench.dom0;
    bench.watch_quietly(dom0, "/a");
    bench.ask(dom0, &Request::Mkdir(p("/a/b"))).unwrap();
    bench.ask(dom0, &Request::Mkdir(p("/a/b"))).unwrap();
    assert_eq!(bench.events(dom0), ["/a/b"]);
}

#[test]
fn a_change_of_permissions_fires() {
    let mut bench = Bench::new();
    let dom0 = bench.dom0;
    bench.write("/a/b", "").unwrap();
    bench.watch_quietly(dom0, "/a");
    bench.perms("/a/b", &["r0"]).unwrap();
    assert_eq!(bench.events(dom0), ["/a/b"]);
}

#[test]
fn reading_and_failing_fire_nothing() {
    let mut bench = Bench::new();
    let (dom0, guest) = (bench.dom0, bench.guest(5));
    bench.write("/a", "").unwrap();
    bench.watch_quietly(dom0, "/");
    bench.read("/a").unwrap();
    bench.list("/").unwrap();
    bench.remove("/missing").unwrap();
    bench.write_as(guest, 0, "/a", "").unwrap_err();
    assert_eq!(bench.events(dom0), NOTHING);
}

#[test]
fn a_recursive_rm_fires_above_with_the_removed_path_and_below_with_the_watched_one() {
    let mut bench = Bench::new();
    let (dom0, other) = (bench.dom0, bench.server.connect(DomId::DOM0));
    bench.write("/a/b/c/d", "").unwrap();
    bench.watch_quietly(dom0, "/a");
    bench.watch_quietly(other, "/a/b/c");
    bench.remove("/a/b").unwrap();
    assert_eq!(bench.events(dom0), ["/a/b"]);
    assert_eq!(bench.events(other), ["/a/b/c"]);
}

#[test]
fn a_relative_watch_gets_relative_events() {
    let mut bench = Bench::new();
    let guest = bench.guest(5);
    bench.watch_quietly(guest, "device");
    bench
        .write("/local/domain/5/device/vbd/state", "1")
        .unwrap();
    assert_eq!(bench.events(guest), ["device/vbd/state"]);
}

#[test]
fn an_absolute_watch_gets_absolute_events_of_relative_writes() {
    let mut bench = Bench::new();
    let guest = bench.guest(5);
    bench.watch_quietly(guest, "/local/domain/5/device");
    bench.write_as(guest, 0, "device/x", "1").unwrap();
    assert_eq!(bench.events(guest), ["/local/domain/5/device/x"]);
}

#[test]
fn a_depth_limits_how_far_below_a_watch_reaches() {
    let mut bench = Bench::new();
    let mut heard = |depth| {
        let conn = bench.server.connect(DomId::DOM0);
        bench.ask(conn, &watch_depth("/a", depth)).unwrap();
        bench.events(conn);
        for path in ["/a", "/a/b", "/a/b/c"] {
            bench.write(path, "").unwrap();
        }
        bench.events(conn).len()
    };
    assert_eq!([heard(0), heard(1), heard(2), heard(9)], [1, 2, 3, 3]);
}

#[test]
fn the_same_watch_twice_is_refused_and_a_second_token_is_not() {
    let mut bench = Bench::new();
    let dom0 = bench.dom0;
    assert_eq!(bench.ask(dom0, &watch("/a", "one")), ok());
    assert_eq!(
        bench.ask(dom0, &watch("/a", "one")),
        Err(StoreError::Exists)
    );
    assert_eq!(bench.ask(dom0, &watch("/a", "two")), ok());
    bench.events(dom0);
    bench.write("/a", "").unwrap();
    assert_eq!(bench.events(dom0), ["/a", "/a"]);
}

#[test]
fn after_unwatch_nothing_comes_not_even_what_was_waiting() {
    let mut bench = Bench::new();
    let (dom0, other) = (bench.dom0, bench.server.connect(DomId::DOM0));
    bench.watch_quietly(other, "/a");
    bench.write_as(dom0, 0, "/a/b", "").unwrap();
    let unwatch = Request::Unwatch {
        path: p("/a"),
        token: "token".to_owned(),
    };
    assert_eq!(bench.ask(other, &unwatch), ok());
    bench.write("/a", "").unwrap();
    assert_eq!(bench.events(other), NOTHING);
    assert_eq!(bench.ask(other, &unwatch), Err(StoreError::NotFound));
}

#[test]
fn reset_watches_takes_all_watches_back() {
    let mut bench = Bench::new();
    let dom0 = bench.dom0;
    bench.watch_quietly(dom0, "/a");
    bench.watch_quietly(dom0, "/b");
    bench.ask(dom0, &Request::ResetWatches).unwrap();
    bench.write("/a", "").unwrap();
    bench.write("/b", "").unwrap();
    assert_eq!(bench.events(dom0), NOTHING);
    assert_eq!(bench.watch(dom0, "/a"), ok());
}

#[test]
fn equal_events_that_wait_are_told_once() {
    let mut bench = Bench::new();
    let (dom0, other) = (bench.dom0, bench.server.connect(DomId::DOM0));
    bench.watch_quietly(other, "/a");
    for value in 0..100 {
        bench.write_as(dom0, 0, "/a/b", &value.to_string()).unwrap();
    }
    assert_eq!(bench.events(other), ["/a/b"]);
    bench.write_as(dom0, 0, "/a/b", "").unwrap();
    assert_eq!(bench.events(other), ["/a/b"]);
}

#[test]
fn a_domain_is_not_told_of_what_it_may_not_read() {
    let mut bench = Bench::new();
    let guest = bench.guest(5);
    bench.watch_quietly(guest, "/a");
    bench.write("/a/secret", "").unwrap();
    assert_eq!(bench.events(guest), NOTHING);
    bench.perms("/a/secret", &["n0", "r5"]).unwrap();
    assert_eq!(bench.events(guest), ["/a/secret"]);
    bench.write("/a/secret", "1").unwrap();
    assert_eq!(bench.events(guest), ["/a/secret"]);
    bench.perms("/a/secret", &["n0"]).unwrap();
    assert_eq!(bench.events(guest), ["/a/secret"]);
    bench.write("/a/secret", "2").unwrap();
    assert_eq!(bench.events(guest), NOTHING);
}

#[test]
fn a_domain_is_told_that_what_it_could_read_is_gone() {
    let mut bench = Bench::new();
    let guest = bench.guest(5);
    bench.write("/a/b", "").unwrap();
    bench.perms("/a/b", &["n0", "r5"]).unwrap();
    bench.watch_quietly(guest, "/a/b");
    bench.remove("/a").unwrap();
    assert_eq!(bench.events(guest), ["/a/b"]);
}

#[test]
fn a_disconnected_client_watches_nothing() {
    let mut bench = Bench::new();
    let other = bench.server.connect(DomId::DOM0);
    bench.watch_quietly(other, "/a");
    bench.server.disconnect(other);
    let before = bench.server.watches_examined();
    bench.write("/a", "").unwrap();
    assert_eq!(bench.server.watches_examined(), before);
}

#[test]
fn the_reply_to_a_watch_comes_before_its_first_event() {
    let mut bench = Bench::new();
    let request = watch("/a", "token");
    let frame = xenstore::wire::Frame {
        op: request.op(),
        req_id: 1,
        tx_id: 0,
        payload: request.payload().unwrap(),
    };
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bench.server.input(bench.dom0, &bytes);
    let mut splitter = xenstore::wire::Splitter::default();
    splitter.push(&bench.server.output(bench.dom0));
    let mut next = || splitter.next_frame().unwrap().unwrap().op;
    assert_eq!(
        [next(), next()],
        [request.op(), abi::io::xs_wire::Op::WATCH_EVENT]
    );
}
