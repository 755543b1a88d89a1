//! Every size, offset and number of this crate, against those of Xen's public headers.
//!
//! The numbers stand here a second time on purpose: they were printed by a C program that includes
//! the headers of Xen 4.17 (Debian's libxen-dev), the x86_32 ones derived from the same structures
//! with 64-bit fields aligned to 4 bytes.

use abi::io::blkif::{self, Layout, Operation, Protocol, Response, Status, vdisk};
use abi::io::xenbus::XenbusState;
use abi::io::{ring, xs_wire};
use abi::{DomId, GrantRef, event_channel, grant_table};

#[test]
fn pages_and_sectors_are_those_of_the_abi() {
    assert_eq!(
        (abi::PAGE_SIZE, abi::PAGE_SHIFT, abi::SECTOR_SIZE),
        (4096, 12, 512)
    );
    assert_eq!((DomId::DOM0.0, DomId::FIRST_RESERVED.0), (0, 0x7FF0));
}

#[test]
fn native_requests_are_112_bytes_apart() {
    let native = Layout {
        stride: 112,
        response_size: 16,
        id: 8,
        sector_number: 16,
        segments: 24,
        discard_nr_sectors: 24,
        indirect_id: 8,
        indirect_sector_number: 16,
        indirect_handle: 24,
        indirect_grefs: 28,
    };
    assert_eq!(*Protocol::X86_64.layout(), native);
    assert_eq!(*Protocol::Arm.layout(), native);
}

#[test]
fn x86_32_requests_are_108_bytes_apart() {
    let x86_32 = Layout {
        stride: 108,
        response_size: 12,
        id: 4,
        sector_number: 12,
        segments: 20,
        discard_nr_sectors: 20,
        indirect_id: 4,
        indirect_sector_number: 12,
        indirect_handle: 20,
        indirect_grefs: 24,
    };
    assert_eq!(*Protocol::X86_32.layout(), x86_32);
}

#[test]
fn blkif_limits_and_codes() {
    assert_eq!((blkif::MAX_SEGMENTS, blkif::MAX_INDIRECT_PAGES), (11, 8));
    assert_eq!(
        (blkif::SEGMENT_SIZE, blkif::SEGMENTS_PER_INDIRECT_PAGE),
        (8, 512)
    );
    assert_eq!(
        (
            blkif::SLOT_MAX,
            blkif::RESPONSE_MAX,
            blkif::SECTORS_PER_PAGE
        ),
        (112, 16, 8)
    );
    assert_eq!(blkif::DISCARD_SECURE, 1);
    let operations = [
        Operation::READ,
        Operation::WRITE,
        Operation::WRITE_BARRIER,
        Operation::FLUSH_DISKCACHE,
        Operation::RESERVED_1,
        Operation::DISCARD,
        Operation::INDIRECT,
    ];
    assert_eq!(
        operations.map(|operation| operation.0),
        [0, 1, 2, 3, 4, 5, 6]
    );
    assert_eq!(
        [Status::OKAY, Status::ERROR, Status::EOPNOTSUPP].map(|s| s.0),
        [0, -1, -2]
    );
    assert_eq!((vdisk::CDROM, vdisk::REMOVABLE, vdisk::READONLY), (1, 2, 4));
}

#[test]
fn the_protocol_names_are_those_of_protocols_h() {
    assert_eq!(
        Protocol::ALL.map(Protocol::name),
        ["x86_32-abi", "x86_64-abi", "arm-abi"]
    );
    assert_eq!(
        Protocol::ALL.map(|p| Protocol::parse(p.name().as_bytes())),
        Protocol::ALL.map(Some)
    );
    assert_eq!(Protocol::parse(b"x86_64-abi\0"), None);
    assert_eq!(Protocol::parse(b""), None);
    assert_eq!(Protocol::default(), Protocol::X86_64);
}

#[test]
fn a_request_lies_in_its_slot_as_the_header_says() {
    let mut request = blkif::RawRequest {
        operation: Operation::WRITE,
        nr_segments: 11,
        handle: 0x0203,
        id: 0x1112_1314_1516_1718,
        sector_number: abi::Sector(0x2122_2324_2526_2728),
        ..Default::default()
    };
    request.segments[10] = blkif::RawSegment {
        gref: GrantRef(0x3132_3334),
        first_sect: 0x41,
        last_sect: 0x42,
    };
    let slot = request.encode(Protocol::X86_32);
    assert_eq!(slot[..4], [1, 11, 3, 2]);
    assert_eq!(slot[4..12], 0x1112_1314_1516_1718_u64.to_le_bytes());
    assert_eq!(slot[12..20], 0x2122_2324_2526_2728_u64.to_le_bytes());
    assert_eq!(slot[100..108], [0x34, 0x33, 0x32, 0x31, 0x41, 0x42, 0, 0]);
    assert_eq!(slot[108..], [0; 4]);
    let slot = request.encode(Protocol::X86_64);
    assert_eq!(slot[4..8], [0; 4]);
    assert_eq!(slot[8..16], 0x1112_1314_1516_1718_u64.to_le_bytes());
    assert_eq!(slot[104..112], [0x34, 0x33, 0x32, 0x31, 0x41, 0x42, 0, 0]);
}

#[test]
fn a_response_lies_in_its_slot_as_the_header_says_with_zero_padding() {
    let id = 0x1112_1314_1516_1718_u64;
    let response = Response {
        id,
        operation: Operation(0x21),
        status: Status(-2),
    };
    let bytes = response.encode();
    assert_eq!(bytes[..8], id.to_le_bytes());
    assert_eq!(bytes[8..], [0x21, 0, 0xFE, 0xFF, 0, 0, 0, 0]);
}

#[test]
fn ring_header_and_sizes() {
    let words = [
        ring::REQ_PROD,
        ring::REQ_EVENT,
        ring::RSP_PROD,
        ring::RSP_EVENT,
    ];
    assert_eq!((words, ring::HEADER_SIZE), ([0, 4, 8, 12], 64));
    for protocol in Protocol::ALL {
        let sizes = [0, 1, 2, 4, 8, 16].map(|pages| blkif::entries(pages, protocol));
        assert_eq!(sizes, [0, 32, 64, 128, 256, 512]);
    }
    assert_eq!(
        (ring::entries(1, 0), ring::entries(usize::MAX, 1)),
        (0, 1 << 30)
    );
}

#[test]
fn xenbus_states_count_from_unknown_to_reconfigured() {
    assert_eq!(
        XenbusState::ALL.map(|state| state.0),
        [0, 1, 2, 3, 4, 5, 6, 7, 8]
    );
    assert_eq!(XenbusState::parse(b"4"), XenbusState::CONNECTED);
    assert_eq!(XenbusState::parse(b"4\n"), XenbusState::CONNECTED);
    assert_eq!(XenbusState::parse(b"4294967296"), XenbusState::UNKNOWN);
    assert_eq!(XenbusState::parse(b"\xFF"), XenbusState::UNKNOWN);
    assert_eq!(XenbusState::INIT_WAIT.to_string(), "2");
}

#[test]
fn xenstore_wire_numbers() {
    assert_eq!((xs_wire::HEADER_SIZE, xs_wire::PAYLOAD_MAX), (16, 4096));
    assert_eq!(
        (
            xs_wire::ABS_PATH_MAX,
            xs_wire::REL_PATH_MAX,
            xs_wire::RING_SIZE
        ),
        (3072, 2048, 1024)
    );
    use xs_wire::Op;
    let low = [
        Op::CONTROL,
        Op::DIRECTORY,
        Op::READ,
        Op::GET_PERMS,
        Op::WATCH,
        Op::UNWATCH,
        Op::TRANSACTION_START,
        Op::TRANSACTION_END,
        Op::INTRODUCE,
        Op::RELEASE,
        Op::GET_DOMAIN_PATH,
        Op::WRITE,
        Op::MKDIR,
        Op::RM,
        Op::SET_PERMS,
        Op::WATCH_EVENT,
        Op::ERROR,
        Op::IS_DOMAIN_INTRODUCED,
        Op::RESUME,
        Op::SET_TARGET,
    ];
    assert!(low.iter().map(|op| op.0).eq(0..20));
    let high = [
        Op::RESET_WATCHES,
        Op::DIRECTORY_PART,
        Op::GET_FEATURE,
        Op::SET_FEATURE,
        Op::GET_QUOTA,
        Op::SET_QUOTA,
    ];
    assert!(high.iter().map(|op| op.0).eq(21..27));
    assert_eq!(Op::INVALID.0, 0xFFFF);
}

#[test]
fn xenstore_errors_travel_by_name() {
    let names = [
        "EINVAL",
        "EACCES",
        "EEXIST",
        "EISDIR",
        "ENOENT",
        "ENOMEM",
        "ENOSPC",
        "EIO",
        "ENOTEMPTY",
        "ENOSYS",
        "EROFS",
        "EBUSY",
        "EAGAIN",
        "EISCONN",
        "E2BIG",
        "EPERM",
    ];
    assert_eq!(xs_wire::ERRORS.map(|(name, _)| name), names);
    assert_eq!(xs_wire::errno("EAGAIN"), Some(11));
    assert_eq!(xs_wire::errno("EWHATEVER"), None);
    assert_eq!(
        (xs_wire::error_name(2), xs_wire::error_name(-1)),
        ("ENOENT", "EINVAL")
    );
}

#[test]
fn event_channel_numbers() {
    use event_channel::{fifo, op, status, two_level};
    let operations = [
        op::BIND_INTERDOMAIN,
        op::BIND_VIRQ,
        op::BIND_PIRQ,
        op::CLOSE,
        op::SEND,
        op::STATUS,
        op::ALLOC_UNBOUND,
        op::BIND_IPI,
        op::BIND_VCPU,
        op::UNMASK,
        op::RESET,
        op::INIT_CONTROL,
        op::EXPAND_ARRAY,
        op::SET_PRIORITY,
    ];
    assert!(operations.into_iter().eq(0..14));
    assert_eq!(
        [status::CLOSED, status::UNBOUND, status::INTERDOMAIN],
        [0, 1, 2]
    );
    let bits = [fifo::PENDING, fifo::MASKED, fifo::LINKED, fifo::BUSY];
    assert_eq!(bits, [0x8000_0000, 0x4000_0000, 0x2000_0000, 0x1000_0000]);
    assert_eq!(
        (fifo::LINK_BITS, fifo::LINK_MASK, fifo::NR_CHANNELS),
        (17, 0x1_FFFF, 131_072)
    );
    assert_eq!((fifo::MAX_QUEUES, fifo::CONTROL_SIZE), (16, 72));
    assert_eq!((fifo::CONTROL_READY, fifo::CONTROL_HEAD), (0, 8));
    assert_eq!((fifo::WORDS_PER_PAGE, fifo::MAX_PAGES), (1024, 128));
    let priorities = [
        fifo::PRIORITY_MAX,
        fifo::PRIORITY_DEFAULT,
        fifo::PRIORITY_MIN,
    ];
    assert_eq!(priorities, [0, 7, 15]);
    assert_eq!(
        (two_level::NR_CHANNELS, two_level::NR_CHANNELS_32),
        (4096, 1024)
    );
}

#[test]
fn grant_table_numbers() {
    use grant_table::{gntdev_copy as copy, gntst, gtf};
    assert_eq!(
        (
            grant_table::RESERVED_CONSOLE.0,
            grant_table::RESERVED_XENSTORE.0
        ),
        (0, 1)
    );
    assert_eq!(
        (grant_table::ENTRY_SIZE, grant_table::ENTRIES_PER_PAGE),
        (8, 512)
    );
    assert_eq!(
        (
            grant_table::ENTRY_FLAGS,
            grant_table::ENTRY_DOMID,
            grant_table::ENTRY_FRAME
        ),
        (0, 2, 4)
    );
    assert_eq!(grant_table::DEFAULT_MAX_FRAMES, 64);
    let types = [
        gtf::INVALID,
        gtf::PERMIT_ACCESS,
        gtf::ACCEPT_TRANSFER,
        gtf::TRANSITIVE,
    ];
    assert_eq!((types, gtf::TYPE_MASK), ([0, 1, 2, 3], 3));
    assert_eq!(
        [gtf::READONLY, gtf::READING, gtf::WRITING, gtf::SUB_PAGE],
        [4, 8, 16, 256]
    );
    let verdicts = [
        gntst::OKAY,
        gntst::GENERAL_ERROR,
        gntst::BAD_DOMAIN,
        gntst::BAD_GNTREF,
        gntst::BAD_HANDLE,
        gntst::BAD_VIRT_ADDR,
        gntst::BAD_DEV_ADDR,
        gntst::NO_DEVICE_SPACE,
        gntst::PERMISSION_DENIED,
        gntst::BAD_PAGE,
        gntst::BAD_COPY_ARG,
        gntst::ADDRESS_TOO_BIG,
        gntst::EAGAIN,
        gntst::NO_SPACE,
    ];
    assert!(verdicts.into_iter().rev().eq(-13..=0));
    assert_eq!(
        (copy::SOURCE_GREF, copy::DEST_GREF, copy::SEGMENT_SIZE),
        (1, 2, 24)
    );
    assert_eq!(
        [
            copy::SOURCE,
            copy::DEST,
            copy::LEN,
            copy::FLAGS,
            copy::STATUS
        ],
        [0, 8, 16, 18, 20]
    );
    assert_eq!(
        [copy::FOREIGN_REF, copy::FOREIGN_OFFSET, copy::FOREIGN_DOMID],
        [0, 4, 6]
    );
}
