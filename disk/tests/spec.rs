//! Claims about the text that names an image.

use std::path::Path;

use disk::spec::{ImageSpec, SPEC_MAX_BYTES};
use disk::{Format, SpecError};
use proptest::prelude::*;

fn accepted(params: &str) -> (Format, String) {
    let spec = ImageSpec::parse(params.as_bytes()).expect("it names an image");
    (spec.format, spec.path.to_str().unwrap().to_owned())
}

fn refused(params: &[u8]) -> String {
    ImageSpec::parse(params)
        .expect_err("it names no image")
        .to_string()
}

#[test]
fn a_bare_path_names_no_format() {
    assert_eq!(
        accepted("/srv/a.img"),
        (Format::Unnamed, "/srv/a.img".into())
    );
}

#[test]
fn raw_names_a_format() {
    assert_eq!(
        accepted("raw:/srv/a.img"),
        (Format::Raw, "/srv/a.img".into())
    );
}

#[test]
fn aio_is_what_libxl_says_of_every_raw_image_and_names_no_format() {
    assert_eq!(
        accepted("aio:/srv/a.img"),
        (Format::Unnamed, "/srv/a.img".into())
    );
}

#[test]
fn raw_names_a_format_also_behind_what_libxl_says() {
    assert_eq!(
        accepted("aio:raw:/srv/a.img"),
        (Format::Raw, "/srv/a.img".into())
    );
    assert_eq!(refused(b"aio:raw:"), "no image is named");
    assert_eq!(
        refused(b"aio:raw:raw:/a"),
        "image path \"raw:/a\" is not absolute"
    );
}

#[test]
fn a_colon_in_a_path_is_part_of_the_path() {
    let path = "/dev/disk/by-path/pci-0000:00:1f.2";
    assert_eq!(accepted(path), (Format::Unnamed, path.into()));
    assert_eq!(accepted("raw:/a:b"), (Format::Raw, "/a:b".into()));
}

#[test]
fn a_format_that_is_not_served_is_refused_naming_those_that_are() {
    let line = refused(b"qcow2:/srv/a.qcow2");
    assert_eq!(line, "format \"qcow2\" is not supported; supported: raw");
}

#[test]
fn a_format_is_spelled_in_lower_case() {
    assert_eq!(
        refused(b"RAW:/a"),
        "format \"RAW\" is not supported; supported: raw"
    );
}

#[test]
fn no_text_and_no_path_name_no_image() {
    assert_eq!(refused(b""), "no image is named");
    assert_eq!(refused(b"raw:"), "no image is named");
    assert_eq!(refused(b"aio:"), "no image is named");
}

#[test]
fn a_relative_path_is_refused() {
    assert_eq!(refused(b"a.img"), "image path \"a.img\" is not absolute");
    assert_eq!(
        refused(b"raw:a.img"),
        "image path \"a.img\" is not absolute"
    );
}

#[test]
fn a_nul_byte_is_refused() {
    assert_eq!(refused(b"/srv/a\0b"), "image name has a NUL byte in it");
}

#[test]
fn a_text_longer_than_any_path_is_refused() {
    let line = refused(&vec![b'/'; SPEC_MAX_BYTES + 1]);
    assert_eq!(line, "image name of 4113 bytes is too long");
}

#[test]
fn a_path_need_not_be_utf8() {
    use std::os::unix::ffi::OsStrExt;
    let spec = ImageSpec::parse(b"/srv/\xff").unwrap();
    assert_eq!(
        spec.path,
        Path::new(std::ffi::OsStr::from_bytes(b"/srv/\xff"))
    );
}

#[test]
fn a_refusal_repeats_little_and_escapes_it() {
    let long = format!("{}:/", "\n\u{1b}[31mx".repeat(400));
    let line = refused(long.as_bytes());
    assert!(line.len() < 400, "{line}");
    assert!(!line.contains(char::is_control));
}

/// Fewest cases of each property; PROPTEST_CASES may raise it.
const CASES: u32 = 512;

fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = default.cases.max(CASES);
    println!("cases: {cases}");
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..default
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_bytes_get_an_answer_of_one_line(params in prop::collection::vec(any::<u8>(), 0..300)) {
        let line = ImageSpec::parse(&params).map_or_else(|error| error.to_string(), |_| String::new());
        prop_assert!(!line.contains(char::is_control));
    }

    #[test]
    fn any_absolute_path_without_nul_comes_back(path in "/[^\\x00]{0,200}") {
        let spec = ImageSpec::parse(format!("raw:{path}").as_bytes());
        let expected = ImageSpec { format: Format::Raw, path: path.into() };
        prop_assert_eq!(spec, Ok::<_, SpecError>(expected));
    }
}
