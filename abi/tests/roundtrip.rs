//! Whatever is encoded decodes to the same, in every ABI; whatever bytes come, nothing panics.

use abi::grant_table::EntryV1;
use abi::io::blkif::{
    Operation, Protocol, RawDiscard, RawIndirect, RawRequest, RawSegment, Response, SLOT_MAX,
    Status, decode_segment,
};
use abi::io::xenbus::XenbusState;
use abi::io::xs_wire::{self, Header, Op};
use abi::{DomId, GrantRef, Sector};
use proptest::prelude::*;

/// Cases per property; `PROPTEST_CASES` may raise it.
const CASES: u32 = 256;

fn config() -> ProptestConfig {
    let config = ProptestConfig::default();
    let cases = config.cases.max(CASES);
    println!("{cases} cases");
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..config
    }
}

fn any_protocol() -> impl Strategy<Value = Protocol> {
    prop::sample::select(Protocol::ALL.to_vec())
}

fn any_slot() -> impl Strategy<Value = [u8; SLOT_MAX]> {
    prop::collection::vec(any::<u8>(), SLOT_MAX).prop_map(|bytes| bytes.try_into().unwrap())
}

/// The bytes of a slot that the layout of `struct blkif_request` gives a meaning to.
fn meaningful(protocol: Protocol, slot: &[u8; SLOT_MAX]) -> Vec<u8> {
    let layout = protocol.layout();
    let fixed = [
        0..4,
        layout.id..layout.id + 8,
        layout.sector_number..layout.sector_number + 8,
    ];
    let segments = (0..11).map(|i| layout.segments + 8 * i..layout.segments + 8 * i + 6);
    fixed
        .into_iter()
        .chain(segments)
        .flat_map(|range| slot[range].to_vec())
        .collect()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_slot_decodes_and_its_fields_encode_back(protocol in any_protocol(), slot in any_slot()) {
        let request = RawRequest::decode(protocol, &slot);
        let again = request.encode(protocol);
        prop_assert_eq!(meaningful(protocol, &slot), meaningful(protocol, &again));
        prop_assert_eq!(RawRequest::decode(protocol, &again), request);
        prop_assert_eq!(Operation::of(&slot), request.operation);
    }

    #[test]
    fn discards_survive_the_slot(protocol in any_protocol(), slot in any_slot()) {
        let discard = RawDiscard::decode(protocol, &slot);
        let again = discard.encode(protocol);
        prop_assert_eq!(RawDiscard::decode(protocol, &again), discard);
        prop_assert_eq!(Operation::of(&again), Operation::DISCARD);
    }

    #[test]
    fn indirect_requests_survive_the_slot(protocol in any_protocol(), slot in any_slot()) {
        let indirect = RawIndirect::decode(protocol, &slot);
        let again = indirect.encode(protocol);
        prop_assert_eq!(RawIndirect::decode(protocol, &again), indirect);
        prop_assert_eq!(Operation::of(&again), Operation::INDIRECT);
    }

    #[test]
    fn nothing_is_written_past_the_stride(protocol in any_protocol(), slot in any_slot()) {
        let tail = protocol.stride()..;
        prop_assert!(RawRequest::decode(protocol, &slot).encode(protocol)[tail.clone()].iter().all(|b| *b == 0));
        prop_assert!(RawDiscard::decode(protocol, &slot).encode(protocol)[tail.clone()].iter().all(|b| *b == 0));
        prop_assert!(RawIndirect::decode(protocol, &slot).encode(protocol)[tail].iter().all(|b| *b == 0));
    }

    #[test]
    fn responses_survive_the_slot(id: u64, operation: u8, status: i16) {
        let response = Response { id, operation: Operation(operation), status: Status(status) };
        prop_assert_eq!(Response::decode(&response.encode()), response);
    }

    #[test]
    fn segments_survive_an_indirect_page(gref: u32, first_sect: u8, last_sect: u8) {
        let segment = RawSegment { gref: GrantRef(gref), first_sect, last_sect };
        prop_assert_eq!(decode_segment(&segment.encode()), segment);
    }

    #[test]
    fn grant_entries_survive_the_table(flags: u16, domid: u16, frame: u32) {
        let entry = EntryV1 { flags, domid: DomId(domid), frame };
        prop_assert_eq!(EntryV1::decode(&entry.encode()), entry);
    }

    #[test]
    fn xenstore_headers_survive_the_wire(op: u32, req_id: u32, tx_id: u32, len: u32) {
        let header = Header { op: Op(op), req_id, tx_id, len };
        prop_assert_eq!(Header::decode(&header.encode()), header);
    }

    #[test]
    fn any_node_parses_to_some_state(node in prop::collection::vec(any::<u8>(), 0..16)) {
        let state = XenbusState::parse(&node);
        prop_assert_eq!(XenbusState::parse(state.to_string().as_bytes()), state);
    }

    #[test]
    fn any_protocol_node_is_known_or_refused(node in prop::collection::vec(any::<u8>(), 0..16)) {
        let named = Protocol::parse(&node).map(|protocol| protocol.name().as_bytes().to_vec());
        prop_assert!(named.is_none_or(|name| name == node));
    }

    #[test]
    fn every_errno_has_a_name_that_the_protocol_knows(errno: i32) {
        prop_assert!(xs_wire::errno(xs_wire::error_name(errno)).is_some());
    }

    #[test]
    fn a_segment_lies_where_the_layout_says(protocol in any_protocol(), index in 0_usize..11, gref: u32) {
        let mut request = RawRequest { sector_number: Sector(1), ..Default::default() };
        request.segments[index].gref = GrantRef(gref);
        let at = protocol.layout().segments + 8 * index;
        prop_assert_eq!(&request.encode(protocol)[at..at + 4], &gref.to_le_bytes()[..]);
    }
}
