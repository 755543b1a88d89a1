//! Closing, in order and not, and coming back.

use abi::Sector;
use abi::io::blkif::Status;

use super::{Town, honest};
use crate::front::{Blkfront, Io, Kind, Outcome, Phase};

fn submit(town: &mut Town, front: &mut Blkfront) {
    let io = Io {
        kind: Kind::Write,
        sector: Sector(5),
        sectors: 20,
        first_sect: 0,
        token: 1,
    };
    front.submit(&mut town.kernel(), io, |_, _| {}).unwrap();
    front.kick(&mut town.kernel());
}

fn outcome(town: &mut Town, front: &mut Blkfront) -> Option<Outcome> {
    front.next_done(&mut town.kernel(), |done, _| done.outcome)
}

#[test]
fn closing_waits_for_what_is_under_way() {
    let mut town = Town::new();
    let mut front = town.connected(honest());
    submit(&mut town, &mut front);
    front.close(&mut town.kernel());
    town.settle_front(&mut front);
    town.backend.set(&town.host, "state", "5");
    town.settle_front(&mut front);
    assert_eq!(
        town.backend.front(&town.host, "state").as_deref(),
        Some("5")
    );
    town.backend.serve();
    front.kicked(&mut town.kernel());
    town.settle_front(&mut front);
    assert_eq!(
        town.backend.front(&town.host, "state").as_deref(),
        Some("6")
    );
    town.backend.detach(&town.host);
    town.settle_front(&mut front);
    assert_eq!((front.phase(), town.lent()), (&Phase::Down, 0));
    assert_eq!(
        outcome(&mut town, &mut front),
        Some(Outcome::Answered(Status::OKAY))
    );
    assert_eq!(front.violations(), []);
}

#[test]
fn abandoned_requests_are_lost_once_the_backend_has_let_go() {
    let mut town = Town::new();
    let mut front = town.connected(honest());
    submit(&mut town, &mut front);
    front.abandon(&mut town.kernel());
    town.settle_front(&mut front);
    assert_eq!((front.phase(), town.lent()), (&Phase::Closed, 4));
    assert_eq!(outcome(&mut town, &mut front), None);
    town.backend.detach(&town.host);
    town.settle_front(&mut front);
    assert_eq!((front.phase(), town.lent()), (&Phase::Down, 0));
    assert_eq!(outcome(&mut town, &mut front), Some(Outcome::Lost));
}

#[test]
fn an_answer_that_came_just_before_the_end_is_not_lost() {
    let mut town = Town::new();
    let mut front = town.connected(honest());
    submit(&mut town, &mut front);
    front.abandon(&mut town.kernel());
    town.settle_front(&mut front);
    town.backend.serve();
    town.backend.detach(&town.host);
    town.settle_front(&mut front);
    assert_eq!((front.phase(), town.lent()), (&Phase::Down, 0));
    assert_eq!(
        outcome(&mut town, &mut front),
        Some(Outcome::Answered(Status::OKAY))
    );
}

#[test]
fn a_backend_that_closes_on_its_own_loses_what_was_under_way() {
    let mut town = Town::new();
    let mut front = town.connected(honest());
    submit(&mut town, &mut front);
    town.backend.detach(&town.host);
    town.settle_front(&mut front);
    assert_eq!((front.phase(), town.lent()), (&Phase::Down, 0));
    assert_eq!(outcome(&mut town, &mut front), Some(Outcome::Lost));
    assert_eq!(
        town.backend.front(&town.host, "state").as_deref(),
        Some("6")
    );
}

#[test]
fn it_connects_again_as_after_kexec() {
    let mut town = Town::new();
    let mut front = town.connected(honest());
    front.close(&mut town.kernel());
    town.backend.set(&town.host, "state", "5");
    town.settle_front(&mut front);
    town.backend.detach(&town.host);
    town.settle_front(&mut front);
    front.reconnect(&mut town.kernel());
    town.settle_front(&mut front);
    assert_eq!(*front.phase(), Phase::Waiting);
    town.connect(&mut front);
    assert_eq!(*front.phase(), Phase::Connected);
    submit(&mut town, &mut front);
    town.backend.serve();
    front.kicked(&mut town.kernel());
    assert_eq!(
        outcome(&mut town, &mut front),
        Some(Outcome::Answered(Status::OKAY))
    );
}
