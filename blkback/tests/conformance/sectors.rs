//! Disks whose sectors are larger than 512 bytes: block devices are shown as they are, files only if
//! the toolstack asks for it, because their content was made for sectors of 512 bytes.

use crate::support::{ERROR, Host};

/// A device before its start, whose image is a file on storage with sectors of 4096 bytes.
fn file() -> Host {
    let host = Host::new();
    host.disk.state().geometry.sector_size_bytes = 4096;
    host.disk.state().geometry.is_file = true;
    host
}

#[test]
fn sectors_count_512_bytes_on_a_4k_disk() {
    let mut host = Host::new();
    host.disk.state().geometry.sector_size_bytes = 4096;
    host.start();
    host.connect();
    assert_eq!(host.backend("sectors").as_deref(), Some("2048"));
    assert_eq!(host.backend("sector-size").as_deref(), Some("4096"));
    assert!(host.serves());
    host.end();
}

#[test]
fn a_file_that_needs_large_sectors_is_refused_in_one_line() {
    let mut host = file();
    host.start();
    assert_eq!(host.backend("state").as_deref(), Some("5"));
    let told = host.read(ERROR).expect("an error node");
    let text = "22 raw:/images/a.img: its storage needs 4096-byte sectors, and images are made for \
                512-byte ones; move it, or write large-sectors = 1 beside params";
    assert_eq!(told, text);
    assert!(!host.disk.state().open);
    host.end();
}

#[test]
fn a_file_that_needs_large_sectors_is_served_where_the_toolstack_asks_for_it() {
    let mut host = file();
    host.set_backend("large-sectors", "1");
    host.start();
    host.connect();
    assert_eq!(host.backend("sector-size").as_deref(), Some("4096"));
    assert!(host.serves());
    host.end();
}

#[test]
fn a_file_of_small_sectors_is_served_whether_or_not_large_ones_are_asked_for() {
    let mut host = file();
    host.disk.state().geometry.sector_size_bytes = 512;
    host.set_backend("large-sectors", "1");
    host.start();
    host.connect();
    assert_eq!(host.backend("sector-size").as_deref(), Some("512"));
    host.end();
}

#[test]
fn a_promised_file_that_needs_large_sectors_is_refused_before_init_wait() {
    let mut host = file();
    host.promise_image = true;
    host.start();
    assert_eq!(host.backend("state").as_deref(), Some("5"));
    host.end();
}

#[test]
fn a_file_that_came_to_need_large_sectors_in_other_hands_is_refused() {
    let mut host = Host::new();
    host.promise_image = true;
    host.start();
    host.disk.state().geometry.sector_size_bytes = 4096;
    host.disk.state().geometry.is_file = true;
    host.connect();
    assert_eq!(host.asks.len(), 2);
    assert_eq!(host.backend("state").as_deref(), Some("5"));
    assert_eq!(host.machine.books().mapped, 0);
    host.end();
}
