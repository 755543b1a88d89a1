//! Hostile frontends do what they say, and nothing they do hurts the guest's own kernel.

use std::collections::BTreeSet;

use super::{Town, honest};
use crate::front::hostile::{Act, Script};
use crate::front::{Hostile, Phase};

/// Connects a hostile frontend as far as its lies allow, and plays its script.
fn played(script: Script) -> (Town, Hostile) {
    let mut town = Town::new();
    let mut hostile = Hostile::new(honest(), script);
    hostile.start(&mut town.kernel());
    town.settle(|kernel, event| hostile.store_event(kernel, event));
    town.backend.offer(&town.host);
    town.settle(|kernel, event| hostile.store_event(kernel, event));
    for _ in 0..hostile.script().acts.len() {
        hostile.step(&mut town.kernel());
    }
    (town, hostile)
}

#[test]
fn every_script_has_a_name_of_its_own_and_is_played_to_its_end() {
    let names: BTreeSet<_> = Script::all().iter().map(|script| script.name).collect();
    assert_eq!(names.len(), Script::all().len());
    for script in Script::all() {
        assert!(played(script).1.finished());
    }
}

#[test]
fn random_scripts_are_the_same_for_the_same_seed_and_are_played_to_their_end() {
    for seed in 0..50 {
        assert_eq!(Script::random(seed, 40), Script::random(seed, 40));
        assert!(played(Script::random(seed, 40)).1.finished());
    }
    assert_ne!(Script::random(1, 40), Script::random(2, 40));
}

#[test]
fn an_index_jump_moves_the_index() {
    assert_eq!(played(Script::index_jump()).1.req_prod(), Some(1 << 31));
    assert_eq!(played(Script::index_past_the_ring()).1.req_prod(), Some(33));
    assert_eq!(played(Script::index_backwards()).1.req_prod(), Some(1));
}

#[test]
fn a_lying_frontend_gets_as_far_as_its_lie() {
    let (mut town, hostile) = played(Script::port_zero());
    assert_eq!(
        town.backend.front(&town.host, "event-channel").as_deref(),
        Some("0")
    );
    assert_eq!(*hostile.phase(), Phase::Initialised);
}

#[test]
fn a_second_request_on_the_same_page_is_put_on_the_ring() {
    let (mut town, mut hostile) = played(Script::double_use());
    town.backend.attach(&town.host);
    town.backend.serve();
    assert_eq!(hostile.responses().len(), 2);
    assert_eq!(hostile.revoke_all(&mut town.kernel()), []);
}

#[test]
fn random_scripts_never_write_to_the_disk() {
    let acts = (0..200).flat_map(|seed| Script::random(seed, 40).acts);
    let operations = acts.filter_map(|act| match act {
        Act::Request { request, .. } => Some(request.operation.0),
        Act::RawSlot([operation, ..]) => Some(operation),
        _ => None,
    });
    assert!(
        operations
            .into_iter()
            .all(|operation| ![1, 2, 5].contains(&operation))
    );
}
