//! Who may do what: owner, default, single domains; domain 0 may do everything.

use super::bench::{Bench, ok, p};
use xenstore::StoreError;
use xenstore::wire::Request;

const DENIED: super::bench::Answer = Err(StoreError::Denied);

#[test]
fn a_domain_may_read_what_it_owns_or_is_named_for_or_the_default_allows() {
    let mut bench = Bench::new();
    let guest = bench.guest(5);
    let mut reads = |perms: &[&str]| {
        bench.write("/node", "v").unwrap();
        bench.perms("/node", perms).unwrap();
        bench.read_as(guest, 0, "/node").is_ok()
    };
    assert!(reads(&["n5"]));
    assert!(reads(&["n0", "r5"]));
    assert!(reads(&["n0", "b5"]));
    assert!(reads(&["r0"]));
    assert!(!reads(&["n0"]));
    assert!(!reads(&["n0", "w5"]));
    assert!(!reads(&["n0", "r6"]));
    assert!(!reads(&["r0", "n5"]));
}

#[test]
fn a_domain_may_write_what_it_owns_or_is_named_for_or_the_default_allows() {
    let mut bench = Bench::new();
    let guest = bench.guest(5);
    let mut writes = |perms: &[&str]| {
        bench.write("/node", "v").unwrap();
        bench.perms("/node", perms).unwrap();
        bench.write_as(guest, 0, "/node", "mine").is_ok()
    };
    assert!(writes(&["n5"]));
    assert!(writes(&["n0", "w5"]));
    assert!(writes(&["n0", "b5"]));
    assert!(writes(&["b0"]));
    assert!(!writes(&["n0"]));
    assert!(!writes(&["n0", "r5"]));
    assert!(!writes(&["b0", "n5"]));
}

#[test]
fn domain_0_may_do_everything() {
    let mut bench = Bench::new();
    let guest = bench.guest(5);
    bench.write_as(guest, 0, "secret", "s").unwrap();
    bench.perms_as(guest, "secret", &["n5"]).unwrap();
    assert_eq!(bench.read("/local/domain/5/secret"), Ok("s".to_owned()));
    assert_eq!(bench.write("/local/domain/5/secret", "t"), ok());
    assert_eq!(bench.perms("/local/domain/5/secret", &["n9"]), ok());
    assert_eq!(bench.remove("/local/domain/5/secret"), ok());
}

#[test]
fn what_a_domain_creates_is_its_own_and_inherits_the_rest() {
    let mut bench = Bench::new();
    let guest = bench.guest(5);
    bench.write("/shared", "").unwrap();
    bench.perms("/shared", &["n0", "b5", "r6"]).unwrap();
    bench.write_as(guest, 0, "/shared/a/b", "").unwrap();
    bench.write("/shared/c", "").unwrap();
    let perms = |path| Request::GetPerms(p(path));
    assert_eq!(
        bench.ask(guest, &perms("/shared/a")),
        Ok("n5\0b5\0r6".to_owned())
    );
    assert_eq!(
        bench.ask(guest, &perms("/shared/a/b")),
        Ok("n5\0b5\0r6".to_owned())
    );
    assert_eq!(
        bench.ask(guest, &perms("/shared/c")),
        Ok("n0\0b5\0r6".to_owned())
    );
}

#[test]
fn creating_needs_the_right_to_write_the_nearest_node_above() {
    let mut bench = Bench::new();
    let guest = bench.guest(5);
    assert_eq!(bench.write_as(guest, 0, "/local/domain/6/x", ""), DENIED);
    assert_eq!(bench.ask(guest, &Request::Mkdir(p("/x"))), DENIED);
    assert_eq!(bench.write_as(guest, 0, "data/x/y/z", ""), ok());
}

#[test]
fn whether_a_hidden_node_exists_is_hidden_too() {
    let mut bench = Bench::new();
    let guest = bench.guest(5);
    bench.write("/hidden/there", "").unwrap();
    assert_eq!(bench.read_as(guest, 0, "/hidden/there"), DENIED);
    assert_eq!(bench.read_as(guest, 0, "/hidden/absent"), DENIED);
    assert_eq!(bench.read_as(guest, 0, "absent"), Err(StoreError::NotFound));
}

#[test]
fn removing_needs_the_right_to_write() {
    let mut bench = Bench::new();
    let guest = bench.guest(5);
    bench.write("/a", "").unwrap();
    bench.perms("/a", &["r0"]).unwrap();
    assert_eq!(bench.remove_as(guest, 0, "/a"), DENIED);
    bench.perms("/a", &["n0", "w5"]).unwrap();
    assert_eq!(bench.remove_as(guest, 0, "/a"), ok());
}

#[test]
fn only_the_owner_sets_permissions_and_cannot_give_the_node_away() {
    let mut bench = Bench::new();
    let guest = bench.guest(5);
    bench.write("/a", "").unwrap();
    bench.perms("/a", &["b0"]).unwrap();
    assert_eq!(bench.perms_as(guest, "/a", &["n5"]), DENIED);
    bench.write_as(guest, 0, "mine", "").unwrap();
    assert_eq!(bench.perms_as(guest, "mine", &["n5", "r0", "b7"]), ok());
    assert_eq!(
        bench.perms_as(guest, "mine", &["n7"]),
        Err(StoreError::NotPermitted)
    );
}

#[test]
fn a_domain_acts_with_the_rights_of_its_target() {
    let mut bench = Bench::new();
    let (stub, guest) = (bench.guest(6), bench.guest(5));
    bench.write_as(guest, 0, "mine", "v").unwrap();
    assert_eq!(bench.read_as(stub, 0, "/local/domain/5/mine"), DENIED);
    let request = Request::SetTarget {
        domid: abi::DomId(6),
        target: abi::DomId(5),
    };
    assert_eq!(bench.ask(stub, &request), DENIED);
    assert_eq!(bench.ask(bench.dom0, &request), ok());
    assert_eq!(
        bench.read_as(stub, 0, "/local/domain/5/mine"),
        Ok("v".to_owned())
    );
}

#[test]
fn permissions_of_a_dead_domain_are_void_for_the_next_one_of_its_number() {
    let mut bench = Bench::new();
    let guest = bench.guest(5);
    bench.write_as(guest, 0, "secret", "s").unwrap();
    bench.write("/shared", "").unwrap();
    bench.perms("/shared", &["n0", "r5"]).unwrap();
    bench.server.release(abi::DomId(5));
    bench.server.introduce(abi::DomId(5));
    let next = bench.server.connect(abi::DomId(5));
    assert_eq!(bench.read_as(next, 0, "secret"), DENIED);
    assert_eq!(bench.read_as(next, 0, "/shared"), DENIED);
    bench.perms("/shared", &["n0", "r5"]).unwrap();
    assert_eq!(bench.read_as(next, 0, "/shared"), Ok(String::new()));
    bench.write("/shared/new", "").unwrap();
    assert_eq!(bench.read_as(next, 0, "/shared/new"), Ok(String::new()));
}

#[test]
fn what_is_created_below_a_dead_domains_node_is_not_its_successors() {
    let mut bench = Bench::new();
    let guest = bench.guest(5);
    bench.write_as(guest, 0, "dir", "").unwrap();
    bench.server.release(abi::DomId(5));
    bench.write("/local/domain/5/dir/new", "s").unwrap();
    let next = bench.server.connect(abi::DomId(5));
    assert_eq!(bench.read_as(next, 0, "dir/new"), DENIED);
    let perms = bench.ask(bench.dom0, &Request::GetPerms(p("/local/domain/5/dir/new")));
    assert_eq!(perms, Ok("n0".to_owned()));
}

#[test]
fn nobody_but_domain_0_administers() {
    let mut bench = Bench::new();
    let guest = bench.guest(5);
    let domid = abi::DomId(5);
    for request in [
        Request::Introduce {
            domid,
            mfn: 1,
            port: abi::Port(1),
        },
        Request::Release(domid),
        Request::Resume(domid),
        Request::IsDomainIntroduced(abi::DomId(6)),
        Request::Control(vec!["check".to_owned()]),
        Request::GetFeature(None),
        Request::SetQuota {
            domid: None,
            name: "nodes".to_owned(),
            value: 1,
        },
    ] {
        assert_eq!(bench.ask(guest, &request), DENIED, "{request:?}");
    }
    let itself = Request::IsDomainIntroduced(domid);
    assert_eq!(bench.ask(guest, &itself), Ok("T".to_owned()));
}
