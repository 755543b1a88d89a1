//! Reading and changing nodes, outside of transactions.

use super::bench::{Bench, ok, p};
use xenstore::StoreError;
use xenstore::wire::Request;

#[test]
fn a_value_is_read_as_it_was_written() {
    let mut bench = Bench::new();
    assert_eq!(bench.write("/a", "value"), ok());
    assert_eq!(bench.read("/a"), Ok("value".to_owned()));
}

#[test]
fn a_write_creates_missing_parents_with_empty_values() {
    let mut bench = Bench::new();
    bench.write("/a/b/c", "1").unwrap();
    assert_eq!(bench.read("/a"), Ok(String::new()));
    assert_eq!(bench.list("/a"), Ok("b".to_owned()));
    assert_eq!(bench.list("/a/b"), Ok("c".to_owned()));
    assert_eq!(bench.server.nodes(), 4);
}

#[test]
fn a_missing_node_is_reported_as_missing() {
    let mut bench = Bench::new();
    assert_eq!(bench.read("/a"), Err(StoreError::NotFound));
    assert_eq!(bench.list("/a/b"), Err(StoreError::NotFound));
    assert_eq!(bench.perms("/a", &["n0"]), Err(StoreError::NotFound));
}

#[test]
fn mkdir_leaves_an_existing_value_alone() {
    let mut bench = Bench::new();
    bench.write("/a", "1").unwrap();
    assert_eq!(bench.ask(bench.dom0, &Request::Mkdir(p("/a"))), ok());
    assert_eq!(bench.ask(bench.dom0, &Request::Mkdir(p("/b/c"))), ok());
    assert_eq!(bench.read("/a"), Ok("1".to_owned()));
    assert_eq!(bench.read("/b/c"), Ok(String::new()));
}

#[test]
fn rm_removes_everything_below_and_nothing_beside() {
    let mut bench = Bench::new();
    for path in ["/a/b/c", "/a/b/d/e", "/a/b-b", "/a/b0", "/a/bb"] {
        bench.write(path, "").unwrap();
    }
    assert_eq!(bench.remove("/a/b"), ok());
    assert_eq!(bench.list("/a"), Ok("b-b b0 bb".to_owned()));
    assert_eq!(bench.server.nodes(), 5);
}

#[test]
fn rm_of_a_missing_node_succeeds_unless_its_parent_is_missing_too() {
    let mut bench = Bench::new();
    bench.write("/a", "").unwrap();
    assert_eq!(bench.remove("/a/b"), ok());
    assert_eq!(bench.remove("/a/b/c"), Err(StoreError::NotFound));
}

#[test]
fn the_root_cannot_be_removed() {
    let mut bench = Bench::new();
    assert_eq!(bench.remove("/"), Err(StoreError::Invalid));
    assert_eq!(bench.list("/"), Ok(String::new()));
}

#[test]
fn children_are_listed_in_order_without_grandchildren() {
    let mut bench = Bench::new();
    for path in ["/b/x/y", "/a-b", "/a/z", "/a0", "/a/b/c"] {
        bench.write(path, "").unwrap();
    }
    assert_eq!(bench.list("/"), Ok("a a-b a0 b".to_owned()));
    assert_eq!(bench.list("/a"), Ok("b z".to_owned()));
}

#[test]
fn a_relative_path_starts_at_the_home_of_its_domain() {
    let mut bench = Bench::new();
    let guest = bench.guest(3);
    assert_eq!(bench.write_as(guest, 0, "device/vbd", "x"), ok());
    assert_eq!(bench.read("/local/domain/3/device/vbd"), Ok("x".to_owned()));
    bench.write("domid", "0").unwrap();
    assert_eq!(bench.read("/local/domain/0/domid"), Ok("0".to_owned()));
}

#[test]
fn a_special_path_is_no_node() {
    let mut bench = Bench::new();
    assert_eq!(bench.read("@releaseDomain"), Err(StoreError::Invalid));
    assert_eq!(bench.write("@releaseDomain", ""), Err(StoreError::Invalid));
    assert_eq!(bench.remove("@releaseDomain"), Err(StoreError::Invalid));
}

#[test]
fn a_directory_that_exceeds_a_payload_is_too_big_and_comes_in_parts() {
    let mut bench = Bench::new();
    let name = |index: usize| format!("{index:0>64}");
    for index in 0..100 {
        bench.write(&format!("/dir/{}", name(index)), "").unwrap();
    }
    assert_eq!(bench.list("/dir"), Err(StoreError::TooBig));
    let mut part = |offset| {
        let request = Request::DirectoryPart {
            path: p("/dir"),
            offset,
        };
        bench.ask(bench.dom0, &request).unwrap()
    };
    let (first, second) = (part(0), part(62 * 65));
    assert_eq!(first.split('\0').count(), 1 + 62);
    assert_eq!(second.split('\0').nth(1), Some(name(62).as_str()));
    assert_eq!(
        second.split('\0').filter(|name| !name.is_empty()).count(),
        1 + 38
    );
    assert_eq!(first.split('\0').next(), second.split('\0').next());
}

#[test]
fn a_part_of_a_directory_changes_its_generation_when_a_child_comes_or_goes() {
    let mut bench = Bench::new();
    bench.write("/dir/a", "").unwrap();
    let generation = |bench: &mut Bench| {
        let request = Request::DirectoryPart {
            path: p("/dir"),
            offset: 0,
        };
        let part = bench.ask(bench.dom0, &request).unwrap();
        part.split('\0').next().unwrap().to_owned()
    };
    let before = generation(&mut bench);
    bench.write("/dir/a", "new value").unwrap();
    assert_eq!(generation(&mut bench), before);
    bench.write("/dir/b", "").unwrap();
    let after = generation(&mut bench);
    assert_ne!(after, before);
    bench.remove("/dir/a").unwrap();
    assert_ne!(generation(&mut bench), after);
}

#[test]
fn a_part_that_starts_within_a_name_is_refused() {
    let mut bench = Bench::new();
    bench.write("/dir/name", "").unwrap();
    let request = Request::DirectoryPart {
        path: p("/dir"),
        offset: 2,
    };
    assert_eq!(bench.ask(bench.dom0, &request), Err(StoreError::Invalid));
}
