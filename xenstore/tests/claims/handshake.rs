//! The xenbus handshake, over every triple of our state, their state and event; and what libxl
//! and Linux do, step by step (pure function: the test plays both nodes).

use abi::io::xenbus::XenbusState;
use xenstore::xenbus::{Action, Event, next};

const ONLINE: Event = Event::Changed { online: true };
const OFFLINE: Event = Event::Changed { online: false };
const EVENTS: [Event; 6] = [
    ONLINE,
    OFFLINE,
    Event::Prepared,
    Event::Attached,
    Event::Failed,
    Event::Detached,
];

const UNKNOWN: XenbusState = XenbusState::UNKNOWN;
const INITIALISING: XenbusState = XenbusState::INITIALISING;
const INIT_WAIT: XenbusState = XenbusState::INIT_WAIT;
const INITIALISED: XenbusState = XenbusState::INITIALISED;
const CONNECTED: XenbusState = XenbusState::CONNECTED;
const CLOSING: XenbusState = XenbusState::CLOSING;
const CLOSED: XenbusState = XenbusState::CLOSED;

fn states() -> Vec<XenbusState> {
    let nameless = [XenbusState(9), XenbusState(u32::MAX)];
    XenbusState::ALL.into_iter().chain(nameless).collect()
}

type Triple = (XenbusState, XenbusState, Event);

fn triples() -> Vec<Triple> {
    let pairs = states()
        .into_iter()
        .flat_map(|ours| states().into_iter().map(move |t| (ours, t)));
    pairs
        .flat_map(|(ours, theirs)| EVENTS.map(|event| (ours, theirs, event)))
        .collect()
}

/// The triples whose action is `action`.
fn asking_for(action: Action) -> Vec<Triple> {
    let matching = |(ours, theirs, event): &Triple| next(*ours, *theirs, *event) == action;
    triples().into_iter().filter(matching).collect()
}

#[test]
fn a_ring_is_attached_only_in_init_wait_and_once_the_frontend_has_published_it() {
    let expected = [(INIT_WAIT, INITIALISED), (INIT_WAIT, CONNECTED)];
    let expected: Vec<Triple> = expected
        .iter()
        .flat_map(|(o, t)| [ONLINE, OFFLINE].map(|event| (*o, *t, event)))
        .collect();
    assert_eq!(asking_for(Action::Attach), expected);
}

#[test]
fn connected_is_written_only_after_attaching_to_a_ring_that_is_still_there() {
    let expected = [
        (INIT_WAIT, INITIALISED, Event::Attached),
        (INIT_WAIT, CONNECTED, Event::Attached),
    ];
    assert_eq!(asking_for(Action::Switch(CONNECTED)), expected);
}

#[test]
fn init_wait_is_written_only_after_preparing_for_a_frontend_that_wants_us() {
    let theirs = [INITIALISING, INIT_WAIT, INITIALISED, CONNECTED];
    let expected: Vec<Triple> = [INITIALISING, CLOSED]
        .into_iter()
        .flat_map(|ours| theirs.map(|theirs| (ours, theirs, Event::Prepared)))
        .collect();
    assert_eq!(asking_for(Action::Switch(INIT_WAIT)), expected);
}

#[test]
fn closed_is_written_only_when_nothing_of_the_ring_is_left() {
    let detached = |(_, _, event): &Triple| *event == Event::Detached;
    assert!(asking_for(Action::Switch(CLOSED)).iter().all(detached));
}

#[test]
fn a_device_is_over_only_when_detached_and_withdrawn() {
    let over = |(ours, _, event): &Triple| {
        (*ours == CLOSED && *event == OFFLINE) || (*ours == UNKNOWN && *event == Event::Detached)
    };
    let finished = asking_for(Action::Finish);
    assert!(finished.iter().all(over));
    assert_eq!(finished.len(), 2 * states().len());
}

#[test]
fn nothing_is_ever_written_over_a_node_that_is_gone() {
    let switches = |(ours, theirs, event): &Triple| {
        *ours == UNKNOWN && matches!(next(*ours, *theirs, *event), Action::Switch(_))
    };
    assert_eq!(triples().into_iter().filter(switches).count(), 0);
}

#[test]
fn a_state_is_never_written_over_itself() {
    let repeated =
        |(ours, theirs, event): &Triple| next(*ours, *theirs, *event) == Action::Switch(*ours);
    assert_eq!(triples().into_iter().filter(repeated).count(), 0);
}

#[test]
fn only_four_states_are_ever_written() {
    let written = |state| !asking_for(Action::Switch(state)).is_empty();
    let written: Vec<XenbusState> = states()
        .into_iter()
        .filter(|state| written(*state))
        .collect();
    assert_eq!(written, [INIT_WAIT, CONNECTED, CLOSING, CLOSED]);
}

#[test]
fn a_frontend_directory_that_vanished_counts_as_closed() {
    for ours in states() {
        for event in EVENTS {
            assert_eq!(
                next(ours, UNKNOWN, event),
                next(ours, CLOSED, event),
                "{ours} {event:?}"
            );
        }
    }
}

#[test]
fn initialised_and_connected_are_the_same_to_a_backend() {
    for ours in states() {
        for event in EVENTS {
            assert_eq!(
                next(ours, INITIALISED, event),
                next(ours, CONNECTED, event),
                "{ours}"
            );
        }
    }
}

#[test]
fn a_failure_always_ends_in_closing() {
    for (ours, theirs, _) in triples() {
        let expected = match ours {
            UNKNOWN | CLOSING => Action::Nothing,
            _ => Action::Switch(CLOSING),
        };
        assert_eq!(next(ours, theirs, Event::Failed), expected);
    }
}

/// A backend that carries out every action at once. Counts what it did until it rests.
struct Backend {
    ours: XenbusState,
    works: bool,
    trace: Vec<Action>,
}

impl Backend {
    fn new(ours: XenbusState) -> Self {
        Self {
            ours,
            works: true,
            trace: Vec::new(),
        }
    }

    /// Looks at the nodes again and again until nothing is left to do.
    fn look(&mut self, theirs: XenbusState, online: bool) -> &[Action] {
        self.trace.clear();
        for _ in 0..16 {
            let mut action = next(self.ours, theirs, Event::Changed { online });
            while let Some(event) = self.carry_out(action) {
                action = next(self.ours, theirs, event);
            }
            if matches!(action, Action::Nothing | Action::Finish) {
                return &self.trace;
            }
        }
        panic!("no rest with theirs = {theirs}: {:?}", self.trace);
    }

    fn carry_out(&mut self, action: Action) -> Option<Event> {
        if action != Action::Nothing {
            self.trace.push(action);
        }
        match action {
            Action::Prepare if self.works => Some(Event::Prepared),
            Action::Attach if self.works => Some(Event::Attached),
            Action::Prepare | Action::Attach => Some(Event::Failed),
            Action::Detach => Some(Event::Detached),
            Action::Switch(state) => {
                self.ours = state;
                None
            }
            Action::Nothing | Action::Finish => None,
        }
    }
}

#[test]
fn from_every_pair_of_states_a_backend_comes_to_rest_whether_its_device_works_or_not() {
    for (ours, theirs, _) in triples() {
        for (works, online) in [(true, true), (true, false), (false, true), (false, false)] {
            let mut backend = Backend {
                works,
                ..Backend::new(ours)
            };
            assert!(backend.look(theirs, online).len() < 12);
        }
    }
}

#[test]
fn a_linux_frontend_connects() {
    let mut backend = Backend::new(INITIALISING);
    backend.look(INITIALISING, true);
    assert_eq!(backend.ours, INIT_WAIT);
    backend.look(INITIALISED, true);
    assert_eq!(backend.ours, CONNECTED);
    assert_eq!(backend.look(CONNECTED, true), []);
}

#[test]
fn a_frontend_that_skips_a_state_or_comes_first_connects_too() {
    let mut backend = Backend::new(INITIALISING);
    let expected = [
        Action::Prepare,
        Action::Switch(INIT_WAIT),
        Action::Attach,
        Action::Switch(CONNECTED),
    ];
    assert_eq!(backend.look(CONNECTED, true), expected);
}

#[test]
fn a_rebooting_guest_finds_its_device_again() {
    let mut backend = Backend::new(CONNECTED);
    assert_eq!(backend.look(CLOSING, true), [Action::Switch(CLOSING)]);
    assert_eq!(
        backend.look(CLOSED, true),
        [Action::Detach, Action::Switch(CLOSED)]
    );
    assert_eq!(
        backend.look(INITIALISING, true),
        [Action::Prepare, Action::Switch(INIT_WAIT)]
    );
    assert_eq!(
        backend.look(INITIALISED, true),
        [Action::Attach, Action::Switch(CONNECTED)]
    );
}

#[test]
fn a_frontend_that_starts_over_without_a_word_is_detached_first() {
    let mut backend = Backend::new(CONNECTED);
    let expected = [
        Action::Detach,
        Action::Switch(CLOSED),
        Action::Prepare,
        Action::Switch(INIT_WAIT),
    ];
    assert_eq!(backend.look(INITIALISING, true), expected);
}

#[test]
fn a_hot_unplug_serves_until_the_frontend_lets_go_and_then_finishes() {
    // libxl writes online=0 and state=5 into the backend's directory.
    let mut backend = Backend::new(CLOSING);
    assert_eq!(backend.look(CONNECTED, false), []);
    assert_eq!(backend.look(CLOSING, false), []);
    let expected = [Action::Detach, Action::Switch(CLOSED), Action::Finish];
    assert_eq!(backend.look(CLOSED, false), expected);
}

#[test]
fn a_device_that_no_driver_took_up_can_be_withdrawn() {
    let mut backend = Backend::new(CLOSING);
    let expected = [Action::Detach, Action::Switch(CLOSED), Action::Finish];
    assert_eq!(backend.look(INITIALISING, false), expected);
}

#[test]
fn a_device_whose_directory_is_taken_away_is_detached_and_forgotten() {
    let mut backend = Backend::new(UNKNOWN);
    let trace = backend.look(CONNECTED, true).to_vec();
    assert_eq!(trace[..2], [Action::Detach, Action::Finish]);
}

#[test]
fn a_device_that_cannot_be_prepared_says_so_once_and_waits_for_the_frontend_to_close() {
    let mut backend = Backend {
        works: false,
        ..Backend::new(INITIALISING)
    };
    assert_eq!(
        backend.look(INITIALISING, true),
        [Action::Prepare, Action::Switch(CLOSING)]
    );
    assert_eq!(backend.look(INITIALISING, true), []);
    assert_eq!(
        backend.look(CLOSED, true),
        [Action::Detach, Action::Switch(CLOSED)]
    );
}

#[test]
fn a_ring_that_was_withdrawn_while_it_was_being_attached_is_detached() {
    for (ours, theirs) in [
        (INIT_WAIT, CLOSING),
        (INIT_WAIT, CLOSED),
        (CLOSING, CONNECTED),
    ] {
        assert_eq!(next(ours, theirs, Event::Attached), Action::Detach);
    }
}

#[test]
fn while_a_ring_is_being_drained_no_new_one_is_attached() {
    // Detaching takes time: until Closed is written, a frontend that is ready again must wait.
    for theirs in [INITIALISING, INITIALISED, CONNECTED] {
        assert_eq!(next(CLOSING, theirs, ONLINE), Action::Nothing);
    }
    for event in [ONLINE, OFFLINE] {
        assert_eq!(next(CONNECTED, INITIALISING, event), Action::Detach);
    }
}
