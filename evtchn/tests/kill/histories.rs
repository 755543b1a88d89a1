//! Random histories, in which several senders die.

use std::rc::Rc;

use super::domain::{DEFAULT, Domain, LIVING, PORTS, URGENT};
use super::{ACCESSES_MAX, die, sync};

/// One random history: sends that are killed or not, at priorities that change, with a receiver
/// that is in the middle of anything.
fn history(seed: u64) {
    let mut random = Random(seed);
    let domain = Rc::new(Domain::new());
    for _ in 0..STEPS {
        match random.below(3) {
            0 => act(&domain, &mut random),
            1 => receive_among_sends(&domain, &mut random),
            _ => send_among_receipts(&domain, &mut random),
        }
    }
    domain.settle(&format!("seed {seed}"));
}

/// One thing that a sender, a dying sender or a toolstack may do.
fn act(domain: &Rc<Domain>, random: &mut Random) {
    let port = PORTS[random.below(3) as usize];
    match random.below(4) {
        0 => domain.send(LIVING, port),
        1 => {
            let priority = [DEFAULT, URGENT][random.below(2) as usize];
            domain
                .view()
                .set_priority(port, priority)
                .expect("the port exists");
        }
        _ => {
            die(domain, port, random.below(ACCESSES_MAX), u32::MAX, |_| {});
        }
    }
}

/// The receiver drains; before one access in four something else happens.
fn receive_among_sends(domain: &Rc<Domain>, random: &mut Random) {
    let (seen, mut inner) = (domain.clone(), random.split());
    let hook = move |_| {
        (inner.below(4) == 0).then(|| act(&seen, &mut inner));
    };
    sync::with_hook(hook, || domain.drain_at_most(8));
}

/// A sender dies; at one of its accesses the receiver takes some ports.
fn send_among_receipts(domain: &Rc<Domain>, random: &mut Random) {
    let port = PORTS[random.below(3) as usize];
    let (killed_at, received_at) = (random.below(ACCESSES_MAX), random.below(ACCESSES_MAX));
    let pops = random.below(4);
    die(domain, port, killed_at, received_at, move |it| {
        it.drain_at_most(pops);
    });
}

/// Histories, and steps of each.
const HISTORIES: u64 = 10_000;
const STEPS: u32 = 12;

#[test]
fn random_histories_of_dying_senders_lose_nothing() {
    println!("{HISTORIES} histories, seeds 0..{HISTORIES}");
    (0..HISTORIES).for_each(history);
}

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: u32) -> u32 {
        u32::try_from(self.next() % u64::from(bound)).expect("less than the bound")
    }

    fn split(&mut self) -> Self {
        Self(self.next())
    }
}
