//! The independent test: the shipped binary, driven and judged from outside.
//!
//! It links nothing of Halcyon. Guests run a verified load, everything rests for 30 s, every guest
//! does I/O once more, disks come and go, and all ends; meanwhile /proc, the guests' grant tables,
//! xenstore and the images are read by code of its own. The same check is made on three VM
//! processes with a planted fault each (`examples/planted_*.rs`), which it must find, and nothing
//! else.
//!
//! Invariant: what cannot be checked is a failure. Xenstore is read by a client of the test's own;
//! where xenstore-ls is installed, the two must agree.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::thread;

use libtest_mimic::{Arguments, Failed, Trial};

mod check;
mod fault;
mod grants;
mod image;
mod proc;
mod processes;
mod scratch;
mod store;

use fault::{Fault, What};

/// Guests of the shipped binary; a planted one has one.
const GUESTS: u32 = 4;

/// What became of one scene: its faults, or why it could not be played to its end.
type Verdict = Result<Vec<Fault>, String>;

/// Every scene, in the order of [`play`].
struct Verdicts {
    shipped: Verdict,
    timer: Verdict,
    grant: Verdict,
    byte: Verdict,
}

fn main() -> ExitCode {
    let planted =
        |verdict: fn(&Verdicts) -> &Verdict, what| move || is_found(verdict(verdicts()), what);
    let trials = vec![
        Trial::test(
            "the_shipped_binary_rests_for_30_s_without_a_switch_and_leaves_nothing",
            || has_none(&verdicts().shipped),
        ),
        Trial::test(
            "a_planted_timer_is_found_by_its_context_switches_alone",
            planted(|all| &all.timer, &[What::Switches]),
        ),
        Trial::test(
            "a_planted_grant_is_found_in_the_guests_grant_table_alone",
            planted(|all| &all.grant, &[What::Grants]),
        ),
        Trial::test(
            "a_planted_byte_is_found_by_its_guest_and_in_the_image_alone",
            planted(|all| &all.byte, &[What::Answers, What::Image]),
        ),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// All scenes, played once however many trials ask, and side by side: they share the 30 s.
fn verdicts() -> &'static Verdicts {
    static ALL: OnceLock<Verdicts> = OnceLock::new();
    ALL.get_or_init(|| {
        thread::scope(|scope| {
            let shipped = PathBuf::from(env!("CARGO_BIN_EXE_halcyon"));
            let shipped = scope.spawn(move || check::check(&shipped, GUESTS));
            let [timer, grant, byte] = ["timer", "grant", "byte"]
                .map(|name| scope.spawn(move || check::check(&planted(name), 1)));
            Verdicts {
                shipped: verdict(shipped),
                timer: verdict(timer),
                grant: verdict(grant),
                byte: verdict(byte),
            }
        })
    })
}

fn verdict(scene: thread::ScopedJoinHandle<'_, Vec<Fault>>) -> Verdict {
    scene.join().map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.unwrap_or_else(|| "without a word".into())
    })
}

/// The VM process with this fault: cargo builds it beside the test.
fn planted(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let built = test.parent().and_then(Path::parent).unwrap();
    let planted = built.join(format!("examples/planted_{name}"));
    assert!(
        planted.exists(),
        "{} is not built: cargo build -p halcyon --examples",
        planted.display()
    );
    planted
}

fn has_none(verdict: &Verdict) -> Result<(), Failed> {
    let faults = verdict
        .as_ref()
        .map_err(|why| format!("broke off: {why}"))?;
    assert!(faults.is_empty(), "{faults:#?}");
    Ok(())
}

/// Each of these checks, and no other, found something.
fn is_found(verdict: &Verdict, expected: &[What]) -> Result<(), Failed> {
    let faults = verdict
        .as_ref()
        .map_err(|why| format!("broke off: {why}"))?;
    for Fault { what, text } in faults {
        println!("found by {what:?}: {text}");
    }
    let found: BTreeSet<What> = faults.iter().map(|fault| fault.what).collect();
    assert_eq!(found, expected.iter().copied().collect());
    Ok(())
}
