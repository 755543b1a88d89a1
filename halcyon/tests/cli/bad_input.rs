//! Bad input of every kind gets an exit code and one clear line.

use std::fs::OpenOptions;
use std::os::fd::AsFd as _;

use crate::support::{Dir, Host, halcyon, refused, said};

#[test]
fn an_unknown_flag_is_a_usage_error() {
    let line = "unexpected argument '--bogus' found (see halcyon --help)";
    assert_eq!(said(&mut halcyon(&["check", "--bogus"])), refused(2, line));
}

#[test]
fn a_domain_number_beyond_the_last_is_a_usage_error() {
    let line = "invalid value '32752' for '--domid <N>': 32752 is not in 1..=32751 \
                (see halcyon --help)";
    assert_eq!(
        said(&mut halcyon(&["vm", "--domid", "32752"])),
        refused(2, line)
    );
}

#[test]
fn a_platform_that_is_neither_linux_nor_sim_is_a_usage_error() {
    let line = "invalid value 'kvm' for '--platform <linux|sim:DIR>': expected linux or sim:DIR \
                (see halcyon --help)";
    assert_eq!(
        said(&mut halcyon(&["--platform", "kvm", "check"])),
        refused(2, line)
    );
}

#[test]
fn writing_to_no_disk_in_particular_is_a_usage_error() {
    let line = "the following required arguments were not provided: --disk <PATH> \
                (see halcyon --help)";
    assert_eq!(said(&mut halcyon(&["demo", "--write"])), refused(2, line));
}

#[test]
fn a_machine_without_xen_says_so() {
    let line = "no /dev/xen here: this machine is no domain of a Xen host";
    let said = said(&mut halcyon(&["--platform", "linux", "vm", "--domid", "1"]));
    assert_eq!(said, refused(5, line));
}

#[test]
fn a_host_that_does_not_run_is_named_with_the_remedy() {
    let dir = Dir::new();
    let place = format!("sim:{}", dir.path().display());
    let said = said(&mut halcyon(&["--platform", &place, "sim", "list"]));
    assert_eq!(said.code, 5);
    assert!(said.err.contains("(halcyon sim start;"), "{}", said.err);
    assert_eq!(said.err.lines().count(), 1);
}

#[test]
fn a_second_host_in_the_same_directory_is_refused() {
    let host = Host::start();
    let line = format!(
        "start a simulated host in {}/sim: address in use",
        host.dir.path().display()
    );
    assert_eq!(host.said(&["sim", "start"]), refused(1, &line));
}

#[test]
fn a_domain_that_does_not_exist_is_not_served() {
    let host = Host::start();
    let said = host.said(&["vm", "--domid", "9"]);
    assert_eq!(
        (said.code, said.err.lines().count()),
        (1, 1),
        "{}",
        said.err
    );
    assert!(said.err.contains("domain 9"), "{}", said.err);
}

#[test]
fn a_guest_that_does_not_exist_is_named() {
    let line = "no guest \"x\" on this host: see `halcyon sim list`";
    assert_eq!(
        Host::start().said(&["sim", "destroy", "x"]),
        refused(1, line)
    );
}

#[test]
fn a_name_that_is_taken_is_refused() {
    let host = Host::start();
    let domid = host.domain();
    let line = format!("there is a guest named g already: domain {domid}");
    assert_eq!(host.said(&["sim", "create", "g"]), refused(1, &line));
}

#[test]
fn a_name_or_a_uuid_that_is_none_leaves_no_domain() {
    let host = Host::start();
    let line = "\"a/b\" is no name for a guest: letters, digits and - _ . + : only, a letter among \
                them, 64 at most";
    assert_eq!(host.said(&["sim", "create", "a/b"]), refused(2, line));
    let line = "\"x\" is no UUID: expected 8-4-4-4-12 hexadecimal digits";
    assert_eq!(
        host.said(&["sim", "create", "--uuid", "x"]),
        refused(2, line)
    );
    assert_eq!(host.said(&["sim", "list", "--json"]).out, "[]\n");
}

#[test]
fn help_for_benchmarks_needs_no_benchmarks() {
    let said = said(&mut halcyon(&["bench", "--help"]));
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(
        said.out.contains("cargo build --release -p benches"),
        "{}",
        said.out
    );
}

#[test]
fn a_disk_that_a_guest_does_not_have_cannot_be_detached() {
    let host = Host::start();
    host.domain();
    let line = "guest g has no disk xvdb: see `halcyon sim list`";
    assert_eq!(host.said(&["sim", "detach", "g", "xvdb"]), refused(1, line));
}

#[test]
fn a_disk_argument_with_an_unknown_part_is_a_usage_error() {
    let line = "disk \"/a,sda\": \"sda\" is neither xvdX, r nor w; expected \
                [FORMAT:]PATH[,VDEV][,r|w]";
    assert_eq!(Host::start().create("/a,sda"), refused(2, line));
}

/// What a guest whose only disk is refused leaves behind: a line, and nothing on the host.
fn image_refused(host: &Host, disk: &str, why: &str) {
    let line = format!("guest g, disk xvda: backend refused the device: {why}");
    assert_eq!(host.create(disk), refused(1, &line));
    assert_eq!(host.said(&["sim", "list", "--json"]).out, "[]\n");
}

#[test]
fn a_missing_image_is_refused() {
    let host = Host::start();
    let path = format!("{}/missing", host.dir.path().display());
    image_refused(&host, &path, &format!("{path}: no such file"));
}

#[test]
fn a_directory_is_no_image() {
    let host = Host::start();
    let path = host.dir.path().to_str().unwrap();
    image_refused(
        &host,
        path,
        &format!("{path}: is a directory, not a file or a block device"),
    );
}

#[test]
fn a_directory_is_no_image_to_read_either() {
    let host = Host::start();
    let path = host.dir.path().to_str().unwrap();
    let why = format!("{path}: image is a directory, not a regular file or a block device");
    image_refused(&host, &format!("{path},r"), &why);
}

#[test]
fn a_character_device_is_no_image() {
    let why = "/dev/null: image is a character device, not a regular file or a block device";
    image_refused(&Host::start(), "/dev/null", why);
}

#[test]
fn an_empty_image_is_refused() {
    let host = Host::start();
    let path = host.dir.file("empty", 0);
    image_refused(&host, &path, &format!("{path}: image is empty (0 bytes)"));
}

#[test]
fn an_odd_sized_image_is_refused_with_its_size() {
    let host = Host::start();
    let path = host.dir.file("odd", 4096 + 100);
    let said = host.create(&path);
    assert_eq!(said.code, 1);
    let why = format!("{path}: image is 4196 bytes long, not a multiple of ");
    assert!(said.err.contains(&why), "{}", said.err);
}

#[test]
fn a_format_that_is_not_served_is_named() {
    let why = "format \"vhd\" is not supported; supported: raw";
    image_refused(&Host::start(), "vhd:/a", why);
}

#[test]
fn a_relative_path_is_refused() {
    image_refused(
        &Host::start(),
        "a.img",
        "image path \"a.img\" is not absolute",
    );
}

#[test]
fn an_image_that_looks_like_qcow2_is_not_taken_for_raw() {
    let host = Host::start();
    let path = host.dir.file("a", 1 << 16);
    std::fs::write(
        &path,
        [b"QFI\xfb\0\0\0\x03".as_slice(), &[0; 65528]].concat(),
    )
    .unwrap();
    let said = host.create(&path);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("qcow2"), "{}", said.err);
    assert!(
        said.err
            .contains("raw:PATH would serve its bytes as they are"),
        "{}",
        said.err
    );
}

#[test]
fn a_locked_image_is_waited_for_and_then_refused_with_its_holder() {
    let host = Host::start();
    let path = host.dir.file("a", 1 << 16);
    let image = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    disk::lock::take(image.as_fd(), disk::lock::Mode::Exclusive).unwrap();
    let said = host.create(&path);
    assert_eq!(said.code, 1);
    let why = format!("{path}: image is locked by ");
    assert!(said.err.contains(&why), "{}", said.err);
    assert!(
        said.err.contains(&std::process::id().to_string()),
        "{}",
        said.err
    );
}

#[test]
fn a_missing_demo_disk_is_named_and_nothing_is_left() {
    let said = said(&mut halcyon(&[
        "demo",
        "--json",
        "--disk",
        "/nonexistent/disk",
    ]));
    let line = "halcyon: look for /nonexistent/disk: No such file or directory (os error 2)\n";
    assert_eq!(
        (said.code, said.out.as_str(), said.err.as_str()),
        (1, "", line)
    );
}

#[test]
fn a_demo_disk_that_cannot_be_served_says_why() {
    let dir = Dir::new();
    let path = dir.file("empty", 0);
    let said = said(&mut halcyon(&["demo", "--json", "--disk", &path]));
    let line = format!("halcyon: backend refused the device: {path}: image is empty (0 bytes)");
    assert_eq!(said.code, 1);
    assert_eq!(said.err.lines().last().unwrap(), line);
}
