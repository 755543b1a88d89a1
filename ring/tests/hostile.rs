//! What a peer can write into the ring's memory, and what it gets for it.

use std::sync::atomic::{AtomicU32, Ordering};

use fixture::{Memory, config};
use proptest::prelude::*;
use ring::{Back, Corrupt, Front, Notify};
use vm_memory::{VolatileMemory, VolatileSlice};

mod fixture;

const ENTRIES: u32 = 4;
const STRIDE: usize = 12;
const BYTES: usize = 64 + STRIDE * ENTRIES as usize;
const REQ_PROD: usize = 0;
const REQ_EVENT: usize = 4;
const RSP_PROD: usize = 8;
const RSP_EVENT: usize = 12;

fn write(pages: VolatileSlice<'_>, at: usize, value: u32) {
    pages
        .get_atomic_ref::<AtomicU32>(at)
        .unwrap()
        .store(value, Ordering::Relaxed);
}

fn read(pages: VolatileSlice<'_>, at: usize) -> u32 {
    pages
        .get_atomic_ref::<AtomicU32>(at)
        .unwrap()
        .load(Ordering::Relaxed)
}

fn back(pages: VolatileSlice<'_>) -> Back<VolatileSlice<'_>> {
    Back::new(pages, ENTRIES, STRIDE).unwrap()
}

#[test]
fn a_full_ring_is_no_overflow() {
    let mut memory = Memory::new(BYTES);
    let pages = memory.slice();
    write(pages, REQ_PROD, ENTRIES);
    assert_eq!(back(pages).refresh(), Ok(ENTRIES));
}

#[test]
fn one_request_more_than_the_ring_holds_is_corrupt() {
    let mut memory = Memory::new(BYTES);
    let pages = memory.slice();
    write(pages, REQ_PROD, ENTRIES + 1);
    let corrupt = Corrupt::Index {
        prod: ENTRIES + 1,
        cons: 0,
    };
    assert_eq!(back(pages).refresh(), Err(corrupt));
    assert_eq!(back(pages).arm(), Err(corrupt));
}

#[test]
fn a_jump_by_half_the_index_space_is_corrupt() {
    let mut memory = Memory::new(BYTES);
    let pages = memory.slice();
    write(pages, REQ_PROD, 1 << 31);
    assert_eq!(
        back(pages).refresh(),
        Err(Corrupt::Index {
            prod: 1 << 31,
            cons: 0
        })
    );
}

#[test]
fn an_index_moving_backwards_is_corrupt() {
    let mut memory = Memory::new(BYTES);
    let pages = memory.slice();
    let mut back = back(pages);
    write(pages, REQ_PROD, 2);
    assert_eq!(back.refresh(), Ok(2));
    write(pages, REQ_PROD, 1);
    assert_eq!(back.refresh(), Err(Corrupt::Index { prod: 1, cons: 0 }));
}

#[test]
fn an_index_moving_behind_what_was_taken_is_corrupt() {
    let mut memory = Memory::new(BYTES);
    let pages = memory.slice();
    let mut back = back(pages);
    write(pages, REQ_PROD, 3);
    assert_eq!(back.refresh(), Ok(3));
    assert!(back.take(&mut [0; STRIDE]) && back.take(&mut [0; STRIDE]));
    write(pages, REQ_PROD, 1);
    assert_eq!(back.refresh(), Err(Corrupt::Index { prod: 1, cons: 2 }));
}

#[test]
fn requests_in_flight_count_against_the_ring() {
    let mut memory = Memory::new(BYTES);
    let pages = memory.slice();
    let mut back = back(pages);
    write(pages, REQ_PROD, ENTRIES);
    assert_eq!(back.refresh(), Ok(ENTRIES));
    assert!(back.take(&mut [0; STRIDE]));
    write(pages, REQ_PROD, ENTRIES + 1);
    assert_eq!(
        back.refresh(),
        Err(Corrupt::Index {
            prod: ENTRIES + 1,
            cons: 1
        })
    );
}

#[test]
fn nothing_is_taken_that_was_not_looked_at() {
    let mut memory = Memory::new(BYTES);
    let pages = memory.slice();
    let mut back = back(pages);
    write(pages, REQ_PROD, 1);
    assert!(!back.take(&mut [0; STRIDE]));
    assert_eq!(back.refresh(), Ok(1));
    write(pages, REQ_PROD, 3);
    assert!(back.take(&mut [0; STRIDE]));
    assert!(!back.take(&mut [0; STRIDE]));
}

#[test]
fn indices_wrap_at_two_to_the_32() {
    let mut memory = Memory::new(BYTES);
    let pages = memory.slice();
    write(pages, REQ_PROD, 1);
    write(pages, RSP_EVENT, u32::MAX);
    let mut back = Back::attach(pages, ENTRIES, STRIDE, u32::MAX - 1).unwrap();
    assert_eq!(back.refresh(), Ok(3));
    let mut slot = [0; STRIDE];
    for _ in 0..3 {
        assert!(back.take(&mut slot));
        back.put(&[7]);
    }
    assert_eq!(back.publish(), Notify::Peer);
    assert_eq!((read(pages, RSP_PROD), back.in_flight()), (1, 0));
    assert_eq!(back.arm(), Ok(false));
    assert_eq!(read(pages, REQ_EVENT), 2);
}

#[test]
fn a_reattached_backend_is_given_what_was_in_flight_again() {
    let mut memory = Memory::new(BYTES);
    let pages = memory.slice();
    write(pages, REQ_PROD, 10);
    let mut back = Back::attach(pages, ENTRIES, STRIDE, 7).unwrap();
    assert_eq!(
        (back.refresh(), back.req_cons(), back.rsp_prod()),
        (Ok(3), 7, 7)
    );
}

#[test]
fn a_peer_that_did_not_ask_is_not_told() {
    let mut memory = Memory::new(BYTES);
    let pages = memory.slice();
    let mut back = back(pages);
    write(pages, REQ_PROD, 2);
    assert_eq!(back.refresh(), Ok(2));
    assert!(back.take(&mut [0; STRIDE]) && back.take(&mut [0; STRIDE]));
    write(pages, RSP_EVENT, 2);
    back.put(&[0; STRIDE]);
    assert_eq!(back.publish(), Notify::Nobody);
    back.put(&[0; STRIDE]);
    assert_eq!(back.publish(), Notify::Peer);
    assert_eq!(back.publish(), Notify::Nobody);
}

#[test]
fn a_backend_that_answers_more_than_was_asked_is_corrupt() {
    let mut memory = Memory::new(BYTES);
    let pages = memory.slice();
    let mut front = Front::new(pages, ENTRIES, STRIDE).unwrap();
    front.put(&[0; STRIDE]);
    assert_eq!(front.publish(), Notify::Peer);
    front.put(&[0; STRIDE]);
    write(pages, RSP_PROD, 2);
    assert_eq!(front.refresh(), Err(Corrupt::Index { prod: 2, cons: 0 }));
    write(pages, RSP_PROD, 1);
    assert_eq!(front.refresh(), Ok(1));
}

#[test]
fn a_ring_that_does_not_fit_its_memory_is_refused() {
    let mut memory = Memory::new(BYTES);
    let pages = memory.slice();
    let refused = |entries, stride| Back::new(pages, entries, stride).is_err();
    assert!(refused(ENTRIES * 2, STRIDE));
    assert!(refused(ENTRIES, STRIDE + 1));
    assert!(refused(3, STRIDE));
    assert!(refused(0, STRIDE));
    assert!(refused(1 << 31, usize::MAX));
    let odd = pages.subslice(1, BYTES - 1).unwrap();
    assert!(Back::new(odd, 1, STRIDE).is_err());
}

proptest! {
    #![proptest_config(config())]

    /// Whatever the words hold, looking takes one step and gives at most a ring of requests.
    #[test]
    fn any_words_cost_a_bounded_amount_of_work(
        words: [u32; 4],
        later: [u32; 4],
        taken in 0..ENTRIES,
        rsp_prod: u32,
    ) {
        let mut memory = Memory::new(BYTES);
        let pages = memory.slice();
        let mut back = Back::attach(pages, ENTRIES, STRIDE, rsp_prod).unwrap();
        let mut served = 0;
        for words in [words, later] {
            for (at, value) in [REQ_PROD, REQ_EVENT, RSP_PROD, RSP_EVENT].into_iter().zip(words) {
                // Half of the values lie close to what is plausible.
                write(pages, at, if value % 2 == 0 { value } else { rsp_prod.wrapping_add(value % 8) });
            }
            let found = back.refresh().unwrap_or(0);
            prop_assert!(found <= ENTRIES - back.in_flight());
            for _ in 0..taken {
                served += u32::from(back.take(&mut [0; STRIDE]));
            }
            for _ in 0..back.in_flight() / 2 {
                back.put(&[0; STRIDE]);
            }
            let _told = back.publish();
            let _armed = back.arm();
        }
        prop_assert!(served <= 2 * ENTRIES);
    }
}
