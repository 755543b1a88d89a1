//! Claims about which open files are served as disks, and what the others are told.

mod support;

use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use abi::Sector;
use disk::{Format, ImageSpec, Prepared, Refusal, prepare};
use support::scratch::{Scratch, named_raw, open, unnamed};

const MIB: u64 = 1 << 20;

fn line(result: Result<Prepared, Refusal>) -> String {
    result.expect_err("it is refused").to_string()
}

fn flags(fd: &OwnedFd) -> i32 {
    let path = format!("/proc/self/fdinfo/{}", fd.as_raw_fd());
    let text = fs::read_to_string(path).unwrap();
    let flags = text
        .lines()
        .find_map(|line| line.strip_prefix("flags:"))
        .unwrap();
    i32::from_str_radix(flags.trim(), 8).unwrap()
}

#[test]
fn a_plain_file_is_a_disk_of_its_length() {
    let scratch = Scratch::new();
    let image = unnamed(&scratch.image("a", MIB, b"", 0), false).unwrap();
    assert_eq!(image.geometry.sectors, Sector(MIB / 512));
    assert!(!image.geometry.read_only && image.geometry.flush);
    assert!(image.geometry.is_file);
    assert!(image.geometry.physical_sector_size_bytes >= image.geometry.sector_size_bytes);
}

#[test]
fn a_prepared_image_is_direct_or_lives_in_memory() {
    let scratch = Scratch::new();
    let image = unnamed(&scratch.image("a", MIB, b"", 0), false).unwrap();
    assert_eq!(flags(&image.fd) & libc::O_DIRECT == 0, image.cached);
    assert_eq!(flags(&image.fd) & libc::O_NONBLOCK, 0);
}

#[test]
fn a_file_in_memory_is_served_cached() {
    let scratch = Scratch::new();
    let fd = memory_file();
    File::from(fd.try_clone().unwrap()).set_len(MIB).unwrap();
    let spec = ImageSpec {
        format: Format::Unnamed,
        path: scratch.path("unused"),
    };
    let image = prepare(fd, &spec, false).unwrap();
    assert!(image.cached);
    assert_eq!(flags(&image.fd) & libc::O_DIRECT, 0);
}

/// A descriptor on the kernel's own tmpfs, which every machine has.
fn memory_file() -> OwnedFd {
    use std::os::fd::FromRawFd;
    // SAFETY: the name is a NUL-terminated literal.
    let fd = unsafe { libc::memfd_create(c"image".as_ptr(), libc::MFD_CLOEXEC) };
    assert!(fd >= 0);
    // SAFETY: the descriptor is new and nobody else's.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

#[test]
fn a_read_only_image_says_so() {
    let scratch = Scratch::new();
    let image = unnamed(&scratch.image("a", MIB, b"", 0), true).unwrap();
    assert!(image.geometry.read_only);
}

#[test]
fn a_writer_needs_a_descriptor_that_can_write() {
    let scratch = Scratch::new();
    let path = scratch.image("a", MIB, b"", 0);
    let spec = ImageSpec {
        format: Format::Unnamed,
        path: path.clone(),
    };
    let line = line(prepare(open(&path, true), &spec, false));
    assert_eq!(
        line,
        "image cannot be written: it was opened for reading only"
    );
}

#[test]
fn an_empty_file_is_refused() {
    let scratch = Scratch::new();
    let line = line(unnamed(&scratch.image("a", 0, b"", 0), false));
    assert_eq!(line, "image is empty (0 bytes)");
}

#[test]
fn a_directory_is_refused() {
    let scratch = Scratch::new();
    let line = line(unnamed(scratch.path("").as_path(), true));
    assert_eq!(
        line,
        "image is a directory, not a regular file or a block device"
    );
}

#[test]
fn a_fifo_is_refused_without_waiting_for_its_other_end() {
    let scratch = Scratch::new();
    let path = scratch.path("fifo");
    let status = std::process::Command::new("mkfifo")
        .arg(&path)
        .status()
        .expect("mkfifo runs");
    assert!(status.success());
    let line = line(unnamed(&path, true));
    assert_eq!(
        line,
        "image is a fifo, not a regular file or a block device"
    );
}

#[test]
fn a_character_device_is_refused() {
    let line = line(unnamed(Path::new("/dev/zero"), true));
    assert_eq!(
        line,
        "image is a character device, not a regular file or a block device"
    );
}

#[test]
fn an_odd_sized_file_is_refused() {
    let scratch = Scratch::new();
    let line = line(unnamed(&scratch.image("a", MIB + 100, b"", 0), false));
    assert_eq!(line, "image is 1048676 bytes long, not a multiple of 512");
}

#[test]
fn a_file_shorter_than_a_sector_is_refused() {
    let scratch = Scratch::new();
    let line = line(unnamed(&scratch.image("a", 3, b"QFI", 0), false));
    assert_eq!(line, "image is 3 bytes long, not a multiple of 512");
}

/// A file of 1 MiB with a signature in it, and what it is taken for.
const SIGNATURES: [(&[u8], u64, &str); 8] = [
    (b"conectix", 0, "a VHD image"),
    (b"conectix", MIB - 512, "a VHD image"),
    (b"conectix", MIB - 511, "a VHD image"),
    (b"vhdxfile", 0, "a VHDX image"),
    (b"KDMV", 0, "a VMDK image"),
    (b"COWD", 0, "a VMDK image"),
    (b"# Disk DescriptorFile\n", 0, "a VMDK image"),
    (b"QFI\xfb\0\0\0\x03", 0, "a qcow2 image"),
];

#[test]
fn a_foreign_signature_is_refused_where_no_format_was_named() {
    let scratch = Scratch::new();
    for (number, (magic, offset, name)) in SIGNATURES.into_iter().enumerate() {
        let path = scratch.image(&number.to_string(), MIB, magic, offset);
        let expected =
            format!("image looks like {name}; raw:PATH would serve its bytes as they are");
        assert_eq!(line(unnamed(&path, true)), expected);
    }
}

#[test]
fn an_explicit_raw_is_obeyed_with_a_warning_that_names_what_it_looks_like() {
    let scratch = Scratch::new();
    for (number, (magic, offset, name)) in SIGNATURES.into_iter().enumerate() {
        let path = scratch.image(&number.to_string(), MIB, magic, offset);
        let warnings = named_raw(&path, true).unwrap().warnings;
        let lines: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        let said = "but raw: was said: the guest sees its bytes as they are";
        assert_eq!(lines, [format!("image looks like {name}, {said}")]);
    }
}

#[test]
fn an_ordinary_image_gives_no_warning() {
    let scratch = Scratch::new();
    let path = scratch.image("a", MIB, b"\xeb\x63\x90 a boot sector", 0);
    assert_eq!(unnamed(&path, true).unwrap().warnings, []);
    assert_eq!(named_raw(&path, true).unwrap().warnings, []);
}

#[test]
fn a_signature_in_the_middle_is_data() {
    let scratch = Scratch::new();
    let path = scratch.image("a", MIB, b"conectix", MIB / 2);
    assert!(unnamed(&path, true).is_ok());
}

#[test]
fn an_image_of_one_sector_is_a_disk_where_the_file_system_lets_it() {
    let fd = memory_file();
    File::from(fd.try_clone().unwrap()).set_len(512).unwrap();
    let spec = ImageSpec {
        format: Format::Unnamed,
        path: "/unused".into(),
    };
    assert_eq!(
        prepare(fd, &spec, false).unwrap().geometry.sectors,
        Sector(1)
    );
}
