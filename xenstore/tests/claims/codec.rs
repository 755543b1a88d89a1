//! Bytes to messages and back.

use abi::io::xs_wire::Op;
use abi::{DomId, Port};
use proptest::prelude::*;
use xenstore::wire::{self, Frame, Request, Splitter};
use xenstore::{Access, BadPath, Corrupt, Path, Perm, StoreError};

fn path() -> impl Strategy<Value = Path> {
    let name = "[A-Za-z0-9_-]{1,8}";
    let names = prop::collection::vec(name, 1..5).prop_map(|names| names.join("/"));
    (names, prop::sample::select(vec!["/", "", "@"]))
        .prop_map(|(names, start)| Path::new(format!("{start}{names}")).unwrap())
}

fn domid() -> impl Strategy<Value = DomId> {
    any::<u16>().prop_map(DomId)
}

fn token() -> impl Strategy<Value = String> {
    "[ -~]{0,20}"
}

fn perms() -> impl Strategy<Value = Vec<Perm>> {
    let access = vec![Access::None, Access::Read, Access::Write, Access::Both];
    let perm =
        (domid(), prop::sample::select(access)).prop_map(|(id, access)| Perm::new(id, access));
    prop::collection::vec(perm, 1..6)
}

fn node_request() -> impl Strategy<Value = Request> {
    prop_oneof![
        path().prop_map(Request::Directory),
        path().prop_map(Request::Read),
        path().prop_map(Request::GetPerms),
        path().prop_map(Request::Mkdir),
        path().prop_map(Request::Rm),
        (path(), any::<Vec<u8>>()).prop_map(|(path, value)| Request::Write(path, value)),
        (path(), perms()).prop_map(|(path, perms)| Request::SetPerms(path, perms)),
        (path(), any::<u32>()).prop_map(|(path, offset)| Request::DirectoryPart { path, offset }),
        (path(), token(), any::<Option<u32>>()).prop_map(|(path, token, depth)| Request::Watch {
            path,
            token,
            depth
        }),
        (path(), token()).prop_map(|(path, token)| Request::Unwatch { path, token }),
        Just(Request::TransactionStart),
        any::<bool>().prop_map(|commit| Request::TransactionEnd { commit }),
        Just(Request::ResetWatches),
    ]
}

fn administrative_request() -> impl Strategy<Value = Request> {
    let name = || "[a-z-]{1,12}".prop_map(String::from);
    prop_oneof![
        prop::collection::vec("[a-z ]{0,6}", 1..4).prop_map(Request::Control),
        (domid(), any::<i64>(), any::<u32>()).prop_map(|(domid, mfn, port)| {
            Request::Introduce {
                domid,
                mfn,
                port: Port(port),
            }
        }),
        domid().prop_map(Request::Release),
        domid().prop_map(Request::GetDomainPath),
        domid().prop_map(Request::IsDomainIntroduced),
        domid().prop_map(Request::Resume),
        (domid(), domid()).prop_map(|(domid, target)| Request::SetTarget { domid, target }),
        prop::option::of(domid()).prop_map(Request::GetFeature),
        (domid(), any::<u32>())
            .prop_map(|(domid, features)| Request::SetFeature { domid, features }),
        Just(Request::GetQuota {
            domid: None,
            name: None
        }),
        (prop::option::of(domid()), name()).prop_map(|(domid, name)| Request::GetQuota {
            domid,
            name: Some(name)
        }),
        (prop::option::of(domid()), name(), any::<u32>())
            .prop_map(|(domid, name, value)| Request::SetQuota { domid, name, value }),
    ]
}

proptest! {
    #![proptest_config(super::config(128))]

    #[test]
    fn every_request_survives_the_wire(
        request in prop_oneof![node_request(), administrative_request()],
    ) {
        let payload = request.payload().unwrap();
        prop_assert_eq!(Request::decode(request.op(), &payload), Ok(request));
    }

    #[test]
    fn a_stream_of_messages_may_be_split_at_any_byte(
        messages in prop::collection::vec((any::<[u32; 3]>(), any::<Vec<u8>>()), 0..6),
        chunk in 1_usize..40,
    ) {
        let frame = |([op, req_id, tx_id], payload): ([u32; 3], Vec<u8>)| {
            Frame { op: Op(op), req_id, tx_id, payload }
        };
        let sent: Vec<Frame> = messages.into_iter().map(frame).collect();
        let mut bytes = Vec::new();
        sent.iter().for_each(|frame| frame.encode(&mut bytes));
        let mut splitter = Splitter::default();
        let mut received = Vec::new();
        for chunk in bytes.chunks(chunk) {
            splitter.push(chunk);
            while let Some(frame) = splitter.next_frame().unwrap() {
                received.push(frame);
            }
        }
        prop_assert_eq!(received, sent);
        prop_assert_eq!(splitter.buffered(), 0);
    }

    #[test]
    fn decoding_any_payload_as_any_operation_never_panics(op in 0_u32..40, payload: Vec<u8>) {
        drop(Request::decode(Op(op), &payload));
        drop(wire::parse_names(&payload));
        drop(wire::parse_perms(&payload));
        drop(wire::parse_directory_part(&payload));
    }

    #[test]
    fn decoding_payloads_of_nearly_right_form_never_panics(
        op in 0_u32..40,
        words in prop::collection::vec("[/@a-z0-9nrwb-]{0,6}", 0..5),
    ) {
        drop(Request::decode(Op(op), words.join("\0").as_bytes()));
        drop(Request::decode(Op(op), &wire::names(words.iter().map(String::as_str))));
    }

    #[test]
    fn splitting_any_bytes_never_panics(bytes: Vec<u8>) {
        let mut splitter = Splitter::default();
        splitter.push(&bytes);
        while let Ok(Some(_)) = splitter.next_frame() {}
    }

    #[test]
    fn permissions_survive_the_wire(perms in perms()) {
        prop_assert_eq!(wire::parse_perms(&wire::perms(&perms)), Some(perms));
    }

    #[test]
    fn a_directory_read_in_parts_is_the_directory(
        names in prop::collection::btree_set("[a-z]{1,400}", 0..30),
    ) {
        let mut read = Vec::new();
        let mut offset = 0;
        let mut parts = 0;
        loop {
            let part = wire::directory_part(3, names.iter().map(String::as_str), offset).unwrap();
            prop_assert!(part.len() <= 4096);
            let (generation, some, len_bytes, ended) = wire::parse_directory_part(&part).unwrap();
            prop_assert_eq!(generation, "3");
            read.extend(some);
            offset += len_bytes;
            parts += 1;
            if ended || parts > names.len() {
                break;
            }
        }
        prop_assert_eq!(read, names.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn a_payload_of_4096_bytes_is_accepted_and_one_of_4097_is_not() {
    let message = |len: u32| {
        let header = abi::io::xs_wire::Header {
            op: Op::WRITE,
            req_id: 1,
            tx_id: 0,
            len,
        };
        let mut splitter = Splitter::default();
        splitter.push(&header.encode());
        splitter.push(&[0; 4097]);
        splitter
            .next_frame()
            .map(|frame| frame.unwrap().payload.len())
    };
    assert_eq!(message(4096), Ok(4096));
    assert_eq!(message(4097), Err(Corrupt::Oversize(4097)));
    assert_eq!(message(u32::MAX), Err(Corrupt::Oversize(u32::MAX)));
}

#[test]
fn an_operation_that_nobody_knows_is_not_supported() {
    assert_eq!(
        Request::decode(Op(20), b"3\0"),
        Err(StoreError::Unsupported)
    );
    assert_eq!(
        Request::decode(Op::INVALID, b""),
        Err(StoreError::Unsupported)
    );
    assert_eq!(
        Request::decode(Op::WATCH_EVENT, b"/a\0t\0"),
        Err(StoreError::Unsupported)
    );
}

#[test]
fn a_payload_without_its_nul_is_invalid() {
    assert_eq!(Request::decode(Op::READ, b"/a"), Err(StoreError::Invalid));
    assert_eq!(Request::decode(Op::WRITE, b"/a"), Err(StoreError::Invalid));
    assert_eq!(Request::decode(Op::READ, b""), Err(StoreError::Invalid));
}

#[test]
fn numbers_out_of_range_are_invalid() {
    for domid in ["65536", "-1", "+1", "0x7", " 7", ""] {
        let payload = [domid.as_bytes(), b"\0"].concat();
        assert_eq!(
            Request::decode(Op::RELEASE, &payload),
            Err(StoreError::Invalid),
            "{domid:?}"
        );
    }
}

#[test]
fn a_token_too_long_for_an_event_is_invalid() {
    let watch = |len| {
        let payload = [b"/a\0", "t".repeat(len).as_bytes(), b"\0"].concat();
        Request::decode(Op::WATCH, &payload).map(drop)
    };
    assert_eq!(watch(wire::TOKEN_MAX), Ok(()));
    assert_eq!(watch(wire::TOKEN_MAX + 1), Err(StoreError::Invalid));
}

#[test]
fn a_request_beyond_4096_bytes_is_refused_before_it_is_sent() {
    let request = Request::Write(Path::root(), vec![0; 4095]);
    assert_eq!(request.payload(), Err(StoreError::TooBig));
}

#[test]
fn paths_are_what_the_protocol_permits_and_nothing_else() {
    for good in [
        "/",
        "/a",
        "/local/domain/0",
        "device/vbd/51712",
        "@releaseDomain/3",
        "/a_b-C/9@",
    ] {
        assert_eq!(
            Path::new(good).map(|path| path.to_string()),
            Ok(good.to_owned())
        );
    }
    assert_eq!(Path::new(""), Err(BadPath::Empty));
    for bad in ["/a/", "//", "/a//b", "a/"] {
        assert_eq!(Path::new(bad), Err(BadPath::Slash), "{bad}");
    }
    for bad in ["/a b", "/a.b", "/ä", "/a\0"] {
        assert_eq!(Path::new(bad), Err(BadPath::Character), "{bad:?}");
    }
    let long = |start: &str, len: usize| Path::new(start.to_owned() + &"x".repeat(len)).map(drop);
    assert_eq!(long("/", 3071), Ok(()));
    assert_eq!(long("/", 3072), Err(BadPath::TooLong));
    assert_eq!(long("x", 2047), Ok(()));
    assert_eq!(long("x", 2048), Err(BadPath::TooLong));
}

#[test]
fn a_path_contains_itself_and_what_is_below_it_only() {
    let contains = |above: &str, below: &str| {
        Path::new(above)
            .unwrap()
            .contains(&Path::new(below).unwrap())
    };
    assert!(contains("/a", "/a"));
    assert!(contains("/a", "/a/b"));
    assert!(contains("/", "/a"));
    assert!(!contains("/a", "/ab"));
    assert!(!contains("/a/b", "/a"));
    assert!(!contains("/", "@releaseDomain"));
}

#[test]
fn every_error_name_of_the_protocol_survives_the_wire() {
    for (name, errno) in abi::io::xs_wire::ERRORS {
        let error = StoreError::from_name(name.as_bytes());
        assert_eq!((error.name(), error.errno()), (name, errno));
    }
    assert_eq!(StoreError::from_name(b"EWHATEVER"), StoreError::Invalid);
}
