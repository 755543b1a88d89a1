//! The waiting store, over a real socket.

use abi::{DomId, Port};
use xenstore::blocking::{Error, Store};
use xenstore::{Batch, Reply, Step, StoreError};

use super::bench::p;
use super::host::Host;

#[test]
fn a_store_over_a_socket_reads_writes_lists_removes_and_sets_permissions() {
    let host = Host::start("everything");
    let mut store = Store::connect(&host.socket()).unwrap();
    store.write("/a/b", "1").unwrap();
    store.mkdir("/a/c").unwrap();
    assert_eq!(store.read("/a/b").unwrap(), Some(b"1".to_vec()));
    assert_eq!(
        store.list("/a").unwrap(),
        Some(vec!["b".to_owned(), "c".to_owned()])
    );
    let perms = ["n0".parse().unwrap(), "r7".parse().unwrap()];
    store.set_perms("/a", &perms).unwrap();
    assert_eq!(store.perms("/a").unwrap(), Some(perms.to_vec()));
    store.remove("/a").unwrap();
    store.remove("/a/b/c").unwrap();
    assert_eq!(store.read("/a").unwrap(), None);
    assert_eq!(store.list("/a").unwrap(), None);
    assert!(matches!(
        store.write("@a", ""),
        Err(Error::Refused(StoreError::Invalid))
    ));
    assert!(matches!(store.write("/ä", ""), Err(Error::Path(_))));
}

#[test]
fn a_store_waits_for_a_change_that_another_client_makes() {
    let host = Host::start("watch");
    let mut store = Store::connect(&host.socket()).unwrap();
    let mut other = Store::connect(&host.socket()).unwrap();
    store.watch("/a", "t").unwrap();
    assert_eq!(store.next_watch().unwrap(), (p("/a"), "t".to_owned()));
    other.write("/a/b", "").unwrap();
    assert_eq!(store.next_watch().unwrap(), (p("/a/b"), "t".to_owned()));
    store.unwatch("/a", "t").unwrap();
}

#[test]
fn a_store_hears_of_domains_that_come_and_go() {
    let host = Host::start("domains");
    let mut store = Store::connect(&host.socket()).unwrap();
    store.watch("@releaseDomain/7", "t").unwrap();
    store.next_watch().unwrap();
    store.introduce(DomId(7), 1, Port(1)).unwrap();
    store.release(DomId(7)).unwrap();
    assert_eq!(store.next_watch().unwrap().0, p("@releaseDomain/7"));
}

#[test]
fn a_batch_of_thousands_of_big_values_blocks_nobody() {
    let host = Host::start("big");
    let mut store = Store::connect(&host.socket()).unwrap();
    let value = vec![b'x'; 4000];
    let writes = (0..2000).map(|index| Step::Write(p(&format!("/a/{index}")), value.clone()));
    let replies = store.run(Batch::transaction(writes.collect())).unwrap();
    assert!(replies.iter().all(|reply| *reply == Ok(Reply::Done)));
    let reads = (0..2000).map(|index| Step::Read(p(&format!("/a/{index}"))));
    let replies = store.run(Batch::new(reads.collect())).unwrap();
    assert!(
        replies
            .iter()
            .all(|reply| *reply == Ok(Reply::Value(value.clone())))
    );
}

#[test]
fn two_clients_whose_transactions_conflict_all_the_time_both_get_through() {
    let host = Host::start("conflict");
    let work = |name: &str| {
        let mut store = Store::connect(&host.socket()).unwrap();
        for index in 0..50 {
            let own = p(&format!("/own/{name}-{index}"));
            let steps = vec![Step::Write(p("/shared"), name.into()), Step::Mkdir(own)];
            let replies = store.run(Batch::transaction(steps)).unwrap();
            assert_eq!(replies, [Ok(Reply::Done), Ok(Reply::Done)]);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| work("one"));
        scope.spawn(|| work("two"));
    });
    let mut store = Store::connect(&host.socket()).unwrap();
    assert_eq!(
        store.list("/own").unwrap().map(|names| names.len()),
        Some(100)
    );
}

#[test]
fn after_unwatch_no_event_is_left_over() {
    let host = Host::start("unwatch");
    let mut store = Store::connect(&host.socket()).unwrap();
    store.watch("/a", "old").unwrap();
    store.write("/a", "").unwrap();
    store.unwatch("/a", "old").unwrap();
    store.watch("/b", "new").unwrap();
    assert_eq!(store.next_watch().unwrap(), (p("/b"), "new".to_owned()));
}

#[test]
fn a_server_that_hangs_up_is_an_error_and_no_hang() {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut store = Store::over(ours);
    drop(theirs);
    assert!(matches!(store.read("/a"), Err(Error::Io(_))));
}
