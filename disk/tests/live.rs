//! Claims about raw disks on the running kernel that need one place only: the directory for
//! temporary files.

mod support;

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use disk::conformance::{Rig, SECTORS, pattern};
use disk::lock::{self, Mode};
use disk::{Disk, DiskError, OpKind, Raw, prepare};
use reactor::live::{Config, Uring};
use reactor::{Reactor, Sleep};
use support::scratch::{Scratch, named_raw, open};
use support::{OWNER, live};

const IMAGE_BYTES: u64 = SECTORS * 512;

fn image(scratch: &Scratch) -> std::path::PathBuf {
    scratch.image("image", IMAGE_BYTES, b"", 0)
}

#[test]
fn an_independent_reader_finds_what_was_written() {
    let scratch = Scratch::new();
    let path = image(&scratch);
    let mut rig = live::rig(&path, false);
    rig.write(64, &pattern(1, 32 * 1024));
    rig.close();
    let bytes = fs::read(&path).unwrap();
    assert_eq!(bytes[64 * 512..][..32 * 1024], pattern(1, 32 * 1024));
    assert_eq!(bytes.len() as u64, IMAGE_BYTES);
}

#[test]
fn an_image_truncated_behind_our_back_reads_as_truncated() {
    let scratch = Scratch::new();
    let path = image(&scratch);
    let mut rig = live::rig(&path, false);
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(0)
        .unwrap();
    let op = rig.op(OpKind::Read, 0, 4096);
    assert_eq!(rig.run(op).result, Err(DiskError::Truncated));
    rig.close();
}

/// A disk that holds its image's lock, and the reactor it is on.
fn locked(path: &Path) -> (Raw, Uring) {
    let image = named_raw(path, false).unwrap();
    lock::take(image.fd.as_fd(), Mode::Exclusive).unwrap();
    let mut reactor = Uring::new(Config::default()).unwrap();
    let slot = reactor.add_image(image.fd).unwrap();
    (Raw::new(slot, image.geometry, OWNER), reactor)
}

#[test]
fn a_closed_disk_holds_neither_lock_nor_descriptor_while_its_ring_lives_on() {
    let scratch = Scratch::new();
    let path = image(&scratch);
    let (mut raw, mut reactor) = locked(&path);
    let next = open(&path, false);
    assert!(lock::take(next.as_fd(), Mode::Exclusive).is_err());
    raw.close(&mut reactor);
    lock::take(next.as_fd(), Mode::Exclusive).unwrap();
    drop(next);
    assert_eq!(descriptors_of(&path), 0);
    reactor.wait(Sleep::No, &mut Vec::new());
}

#[test]
fn a_disk_that_was_used_frees_its_lock_when_it_closes() {
    let scratch = Scratch::new();
    let path = image(&scratch);
    let (raw, reactor) = locked(&path);
    let mut rig = Rig::new(Box::new(raw), Box::new(reactor));
    rig.write(0, &pattern(1, 4096));
    let flush = rig.flush_op();
    rig.run(flush).result.unwrap();
    rig.disk.close(&mut *rig.reactor);
    let next = open(&path, false);
    lock::take(next.as_fd(), Mode::Exclusive).unwrap();
}

/// How many of our descriptors lead to this file.
fn descriptors_of(path: &Path) -> usize {
    let inode = fs::metadata(path).unwrap().ino();
    let descriptors = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let metadata = descriptors.filter_map(|entry| fs::metadata(entry.path()).ok());
    metadata.filter(|metadata| metadata.ino() == inode).count()
}

#[test]
fn a_read_only_disk_needs_only_a_descriptor_for_reading() {
    let scratch = Scratch::new();
    let path = scratch.image("image", IMAGE_BYTES, &pattern(9, 4096), 0);
    let spec = disk::ImageSpec::parse(path.to_str().unwrap().as_bytes()).unwrap();
    let image = prepare(open(&path, true), &spec, true).unwrap();
    lock::take(image.fd.as_fd(), Mode::of(true)).unwrap();
    let mut reactor = Uring::new(Config::default()).unwrap();
    let slot = reactor.add_image(image.fd).unwrap();
    let disk = Box::new(Raw::new(slot, image.geometry, OWNER));
    let mut rig = Rig::new(disk, Box::new(reactor));
    assert_eq!(rig.read(0, rig.unit()), pattern(9, rig.unit()));
    rig.close();
}
