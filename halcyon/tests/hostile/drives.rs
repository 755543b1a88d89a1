//! A drive without space, one that fails and one that hangs, behind one disk of two.

use abi::io::xenbus::XenbusState;
use libtest_mimic::{Failed, Trial};
use sim::world::{Ending, Odd};

use crate::log::lines_of;
use crate::{explain, scene};

/// Orders of events in which each is tried.
const ORDERS: u64 = 8;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("a_disk_without_space_fails_its_own_writes_alone", || {
            in_every_order(&Odd::Failing(libc::ENOSPC), no_space)
        }),
        Trial::test("a_disk_that_returns_eio_fails_its_own_writes_alone", || {
            in_every_order(&Odd::Failing(libc::EIO), broken)
        }),
        Trial::test(
            "a_disk_that_hangs_keeps_its_requests_and_nobody_elses",
            || in_every_order(&Odd::Hung, hung),
        ),
    ]
}

fn in_every_order(odd: &Odd, check: fn(&Ending, &[String])) -> Result<(), Failed> {
    for seed in 0..ORDERS {
        let mut ending = None;
        let said = lines_of(|| ending = Some(scene(seed, odd.clone(), false)));
        let ending = ending.expect("a scene that was played");
        let ending = ending.map_err(|failure| explain(&failure, "drives"))?;
        check(&ending, &said);
    }
    Ok(())
}

/// Errors reach the guest as such, and the device goes on.
fn failing(ending: &Ending, said: &[String], why: &str) {
    assert!(ending.errors > 0, "{ending:?}");
    assert_eq!(XenbusState(ending.state), XenbusState::CONNECTED);
    assert!(!ending.impatient, "the disk was not let go");
    // The device fails for seconds of virtual time, so the line may come again.
    let known = [
        format!("request failed: {why}"),
        format!("flush failed: {why}; writes are refused until the guest connects anew"),
    ];
    assert!(
        !said.is_empty() && said.iter().all(|line| known.contains(line)),
        "{said:?}"
    );
}

fn no_space(ending: &Ending, said: &[String]) {
    let why = "storage failed: No space left on device (os error 28)";
    failing(ending, said, why);
}

fn broken(ending: &Ending, said: &[String]) {
    let why = "storage failed: Input/output error (os error 5)";
    failing(ending, said, why);
}

/// Requests stay where they are; a detach says how many and ends when they have landed.
fn hung(ending: &Ending, said: &[String]) {
    assert!(ending.in_flight > 0, "{ending:?}");
    assert_eq!(ending.errors, 0);
    assert_eq!(XenbusState(ending.state), XenbusState::CONNECTED);
    assert_eq!(XenbusState(ending.leaving), XenbusState::CLOSING);
    assert_eq!(ending.in_drive, ending.in_flight);
    let line = format!("closing: {} requests still in the disk", ending.in_drive);
    assert_eq!(said, [line]);
    assert!(!ending.impatient, "the disk was not let go");
}
