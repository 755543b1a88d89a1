//! Claims about event channels: `event_channel.h` as a backend meets it.

use abi::{DomId, Port};

use super::{Fixture, Pair, claims};

claims! {
    /// Everything about event channels.
    EVENTS: [
        a_new_binding_starts_pending,
        an_event_reaches_the_backend_once,
        an_event_reaches_the_guest,
        many_events_become_one,
        a_delivered_port_is_masked_until_unmasked,
        an_event_that_came_while_masked_is_delivered_at_unmask,
        unmasking_without_an_event_delivers_nothing,
        closing_a_port_makes_the_peer_unbound,
        a_successor_binds_to_the_same_port,
        an_event_sent_while_unbound_is_dropped,
        a_guest_binds_to_a_backends_port,
        a_port_that_was_not_offered_cannot_be_bound,
        closed_ports_cannot_be_used,
        many_ports_are_told_apart,
        a_backend_that_is_gone_leaves_its_peers_unbound,
    ]
}

fn a_new_binding_starts_pending(fixture: &dyn Fixture) {
    let mut pair = Pair::new(fixture);
    let (host, domid) = (pair.host(), pair.guest.domid());
    let theirs = pair.guest.offer_port(host);
    let ours = pair
        .backend
        .platform()
        .events
        .bind_interdomain(domid, theirs)
        .expect("binding");
    assert_eq!(pair.backend_events(), [ours]);
    assert_eq!(pair.guest.take_events(), []);
}

fn an_event_reaches_the_backend_once(fixture: &dyn Fixture) {
    let mut pair = Pair::new(fixture);
    let (theirs, ours) = pair.channel();
    pair.guest.notify(theirs);
    assert_eq!(pair.backend_events(), [ours]);
    pair.unmask(ours);
    assert_eq!(pair.backend_events(), []);
}

fn an_event_reaches_the_guest(fixture: &dyn Fixture) {
    let mut pair = Pair::new(fixture);
    let (theirs, ours) = pair.channel();
    pair.notify(ours);
    assert_eq!(pair.guest.take_events(), [theirs]);
    assert_eq!(pair.guest.take_events(), []);
}

fn many_events_become_one(fixture: &dyn Fixture) {
    let mut pair = Pair::new(fixture);
    let (theirs, ours) = pair.channel();
    (0..100).for_each(|_| pair.guest.notify(theirs));
    (0..100).for_each(|_| pair.notify(ours));
    assert_eq!(pair.backend_events(), [ours]);
    assert_eq!(pair.guest.take_events(), [theirs]);
}

fn a_delivered_port_is_masked_until_unmasked(fixture: &dyn Fixture) {
    let mut pair = Pair::new(fixture);
    let (theirs, ours) = pair.channel();
    pair.guest.notify(theirs);
    assert_eq!(pair.backend_events(), [ours]);
    pair.guest.notify(theirs);
    assert_eq!(pair.backend_events(), []);
}

fn an_event_that_came_while_masked_is_delivered_at_unmask(fixture: &dyn Fixture) {
    let mut pair = Pair::new(fixture);
    let (theirs, ours) = pair.channel();
    pair.guest.notify(theirs);
    assert_eq!(pair.backend_events(), [ours]);
    pair.guest.notify(theirs);
    pair.unmask(ours);
    assert_eq!(pair.backend_events(), [ours]);
}

fn unmasking_without_an_event_delivers_nothing(fixture: &dyn Fixture) {
    let mut pair = Pair::new(fixture);
    let (_, ours) = pair.channel();
    pair.unmask(ours);
    pair.unmask(ours);
    assert_eq!(pair.backend_events(), []);
}

fn closing_a_port_makes_the_peer_unbound(fixture: &dyn Fixture) {
    let mut pair = Pair::new(fixture);
    let (theirs, ours) = pair.channel();
    assert!(!pair.guest.is_unbound(theirs));
    pair.unbind(ours);
    assert!(pair.guest.is_unbound(theirs));
}

fn a_successor_binds_to_the_same_port(fixture: &dyn Fixture) {
    let mut pair = Pair::new(fixture);
    let (theirs, ours) = pair.channel();
    pair.unbind(ours);
    let mut successor = Pair {
        backend: fixture.backend(&*pair.guest),
        guest: pair.guest,
    };
    let domid = successor.guest.domid();
    let events = &mut successor.backend.platform().events;
    let ours = events
        .bind_interdomain(domid, theirs)
        .expect("binding again");
    assert_eq!(successor.backend_events(), [ours]);
    successor.unmask(ours);
    successor.guest.notify(theirs);
    assert_eq!(successor.backend_events(), [ours]);
    successor.notify(ours);
    assert_eq!(successor.guest.take_events(), [theirs]);
}

fn an_event_sent_while_unbound_is_dropped(fixture: &dyn Fixture) {
    let mut pair = Pair::new(fixture);
    let (theirs, ours) = pair.channel();
    pair.unbind(ours);
    pair.guest.notify(theirs);
    assert_eq!(pair.backend_events(), []);
}

fn a_guest_binds_to_a_backends_port(fixture: &dyn Fixture) {
    let mut pair = Pair::new(fixture);
    let (host, domid) = (pair.host(), pair.guest.domid());
    let ours = pair
        .backend
        .platform()
        .events
        .bind_unbound(domid)
        .expect("allocating");
    let theirs = pair.guest.bind(host, ours);
    assert_eq!(pair.guest.take_events(), [theirs]);
    pair.guest.notify(theirs);
    assert_eq!(pair.backend_events(), [ours]);
    pair.notify(ours);
    assert_eq!(pair.guest.take_events(), [theirs]);
}

fn a_port_that_was_not_offered_cannot_be_bound(fixture: &dyn Fixture) {
    let mut pair = Pair::new(fixture);
    let elsewhere = pair.guest.offer_port(DomId(DomId::FIRST_RESERVED.0 - 1));
    let (theirs, _) = pair.channel();
    let domid = pair.guest.domid();
    let events = &mut pair.backend.platform().events;
    assert!(
        events.bind_interdomain(domid, elsewhere).is_err(),
        "offered to another domain"
    );
    assert!(
        events.bind_interdomain(domid, theirs).is_err(),
        "bound already"
    );
    assert!(
        events.bind_interdomain(domid, Port(u32::MAX)).is_err(),
        "no such port"
    );
    assert!(
        events.bind_interdomain(domid, Port(0)).is_err(),
        "never valid"
    );
}

fn closed_ports_cannot_be_used(fixture: &dyn Fixture) {
    let mut pair = Pair::new(fixture);
    let (_, ours) = pair.channel();
    pair.unbind(ours);
    let events = &mut pair.backend.platform().events;
    assert!(events.notify(ours).is_err());
    assert!(events.unbind(ours).is_err());
    assert!(events.unmask(Port(u32::MAX)).is_err());
}

fn many_ports_are_told_apart(fixture: &dyn Fixture) {
    const CHANNELS: usize = 100;
    let mut pair = Pair::new(fixture);
    let channels: Vec<(Port, Port)> = (0..CHANNELS).map(|_| pair.channel()).collect();
    let some = || channels.iter().step_by(3);
    some().for_each(|&(theirs, _)| pair.guest.notify(theirs));
    let mut expected: Vec<Port> = some().map(|&(_, ours)| ours).collect();
    expected.sort_unstable();
    assert_eq!(pair.backend_events(), expected);
}

fn a_backend_that_is_gone_leaves_its_peers_unbound(fixture: &dyn Fixture) {
    let mut pair = Pair::new(fixture);
    let (theirs, _) = pair.channel();
    drop(pair.backend);
    let mut pair = Pair {
        backend: fixture.backend(&*pair.guest),
        guest: pair.guest,
    };
    assert!(pair.guest.is_unbound(theirs));
    let domid = pair.guest.domid();
    assert!(
        pair.backend
            .platform()
            .events
            .bind_interdomain(domid, theirs)
            .is_ok()
    );
}
