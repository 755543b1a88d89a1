//! Slots full of any bytes: each is answered exactly once, and the device goes on.

use abi::io::blkif::{Protocol, RawRequest, SLOT_MAX};
use blkback::request::answered_as;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::Config;

use crate::support::Host;

/// Least number of cases; `PROPTEST_CASES` may raise it.
const CASES: u32 = 256;

fn config() -> Config {
    let config = Config::default();
    let cases = config.cases.max(CASES);
    println!("{cases} cases");
    Config {
        cases,
        failure_persistence: None,
        ..config
    }
}

/// Any bytes, but often of an operation that is served, with a likely number of segments, near the
/// start of the disk.
fn slot() -> impl Strategy<Value = [u8; SLOT_MAX]> {
    let bytes = vec(any::<u8>(), SLOT_MAX);
    let likely = prop_oneof![Just(None), (0_u8..7, 0_u8..13, 0_u8..32).prop_map(Some)];
    (bytes, likely).prop_map(|(bytes, likely)| {
        let mut slot = [0; SLOT_MAX];
        slot.copy_from_slice(&bytes);
        if let Some((operation, segments, sector)) = likely {
            slot[..2].copy_from_slice(&[operation, segments]);
            slot[12..24].copy_from_slice(&[0; 12]);
            slot[16] = sector;
        }
        slot
    })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_slots_are_answered_once_each(
        slots in vec(slot(), 1..=32),
        protocol in prop::sample::select(Protocol::ALL.to_vec()),
    ) {
        let mut host = Host::waiting();
        host.guest.protocol = protocol;
        host.connect();
        slots.iter().for_each(|slot| host.guest.put_bytes(slot));
        host.guest.publish(&host.machine);
        host.pump();
        let mut asked: Vec<_> = slots
            .iter()
            .map(|slot| RawRequest::decode(protocol, slot))
            .map(|raw| (raw.id, answered_as(&raw).0))
            .collect();
        let answers = host.guest.take();
        let mut told: Vec<_> = answers.iter().map(|it| (it.id, it.operation.0)).collect();
        asked.sort_unstable();
        told.sort_unstable();
        prop_assert_eq!(asked, told);
        prop_assert!(host.serves());
        host.end();
    }
}
