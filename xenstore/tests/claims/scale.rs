//! What an operation costs does not grow with what others have. Counted, not timed.

use super::bench::{Bench, watch};

const GUESTS: u16 = 500;

fn crowded() -> Bench {
    let mut bench = Bench::new();
    for domid in 1..=GUESTS {
        let guest = bench.guest(domid);
        for path in ["device", "control", "data", "@releaseDomain"] {
            bench.watch_quietly(guest, path);
        }
        let worker = bench.server.connect(abi::DomId::DOM0);
        bench.watch_quietly(worker, &format!("/local/domain/0/backend/vbd3/{domid}"));
        bench.watch_quietly(worker, &format!("@releaseDomain/{domid}"));
    }
    bench
}

fn examined(bench: &mut Bench, change: impl FnOnce(&mut Bench)) -> u64 {
    let before = bench.server.watches_examined();
    change(bench);
    bench.server.watches_examined() - before
}

#[test]
fn a_write_examines_only_the_watches_on_its_path() {
    let mut bench = crowded();
    let write = |path: &'static str| move |bench: &mut Bench| drop(bench.write(path, "1"));
    assert_eq!(
        examined(&mut bench, write("/local/domain/7/device/vbd/51712/state")),
        1
    );
    assert_eq!(
        examined(
            &mut bench,
            write("/local/domain/0/backend/vbd3/7/51712/state")
        ),
        1
    );
    assert_eq!(
        examined(&mut bench, write("/local/domain/7/memory/target")),
        0
    );
    assert_eq!(examined(&mut bench, write("/elsewhere")), 0);
}

#[test]
fn removing_a_guests_home_examines_only_watches_on_it() {
    let mut bench = crowded();
    bench
        .write("/local/domain/7/device/vbd/51712/state", "1")
        .unwrap();
    let remove = |bench: &mut Bench| drop(bench.remove("/local/domain/7").unwrap());
    assert_eq!(examined(&mut bench, remove), 1);
}

#[test]
fn a_release_examines_those_who_asked_for_all_releases_or_for_this_one() {
    let mut bench = crowded();
    // The guest's own watch goes with its connection.
    let others = u64::from(GUESTS) - 1;
    let release = |bench: &mut Bench| bench.server.release(abi::DomId(7));
    assert_eq!(examined(&mut bench, release), others + 1);
}

#[test]
fn only_those_concerned_have_output_after_a_write() {
    let mut bench = crowded();
    bench.server.take_ready();
    bench
        .write("/local/domain/7/device/vbd/51712/state", "1")
        .unwrap();
    let ready = bench.server.take_ready();
    assert_eq!(ready.len(), 1, "{ready:?}");
}

#[test]
fn a_watch_among_many_on_the_same_path_is_taken_back_alone() {
    let mut bench = Bench::new();
    for token in 0..1000 {
        bench
            .ask(bench.dom0, &watch("/a", &token.to_string()))
            .unwrap();
    }
    bench.events(bench.dom0);
    let path = super::bench::p("/a");
    let unwatch = xenstore::wire::Request::Unwatch {
        path,
        token: "500".to_owned(),
    };
    assert_eq!(
        examined(&mut bench, |bench| drop(
            bench.ask(bench.dom0, &unwatch).unwrap()
        )),
        0
    );
    bench.write("/a", "").unwrap();
    assert_eq!(bench.events(bench.dom0).len(), 999);
}
