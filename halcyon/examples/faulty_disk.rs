//! A VM process whose disks fail: `halcyon vm` with `disk::fault` over every image.
//!
//! The shipped binary has no way to do this. A scenario puts this program in its place, with the
//! same command line, to see what a guest makes of a disk whose storage answers EIO:
//!
//! ```text
//! HALCYON_FAULT='write 20480-40959' faulty_disk --platform linux vm --domid 7
//! ```
//!
//! HALCYON_FAULT holds rules, separated by commas: `read`, `write`, `flush` or `io` (reads and
//! writes), then the first and the last of the 512-byte sectors that it concerns, and at the end,
//! if it is not for ever, `xN`: so many times. A flush has no sectors. Without the variable, or
//! with one that makes no sense, it does not start.
//!
//! Invariant: but for the faults that were asked for, it is the shipped process.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use blkback::Medium;
use disk::fault::{Fault, Faulty, Plan, Rule};
use disk::{Disk, OpKind};
use halcyon::broker::Image;
use halcyon::error::{Exit, Failure};
use halcyon::vm::live::{self, LiveImages};
use halcyon::vm::{Images, Opened};
use reactor::Completion;
use reactor::live::Uring;

mod planted;

/// What names the faults.
const VARIABLE: &str = "HALCYON_FAULT";
/// The decorator's layer; 0 is the engine's.
const LAYER: u16 = 1;

/// Images whose disks fail by these rules, each disk counting for itself.
struct Failing {
    images: LiveImages,
    rules: Vec<Rule>,
}

impl Images<Uring> for Failing {
    fn open(&mut self, reactor: &mut Uring, image: Image) {
        self.images.open(reactor, image);
    }

    fn complete(&mut self, reactor: &mut Uring, completion: Completion) {
        self.images.complete(reactor, completion);
    }

    fn opened(&mut self, reactor: &mut Uring) -> Option<Opened> {
        let (owner, opened) = self.images.opened(reactor)?;
        let around = |medium| match medium {
            Medium::Disk(disk) => Medium::Disk(self.around(owner, disk)),
            promised @ Medium::Promised(_) => promised,
        };
        Some((owner, opened.map(around)))
    }

    fn pending(&self) -> usize {
        self.images.pending()
    }
}

impl Failing {
    fn around(&self, owner: u16, disk: Box<dyn Disk>) -> Box<dyn Disk> {
        let plan = Plan::Script(self.rules.clone());
        Box::new(Faulty::new(disk, owner, LAYER, plan).0)
    }
}

/// `WHAT [FIRST-LAST] [xTIMES]`, separated by commas.
fn rules(text: &str) -> Option<Vec<Rule>> {
    text.split(',').map(rule).collect()
}

fn rule(text: &str) -> Option<Rule> {
    let mut words = text.split_whitespace();
    let kind = match words.next()? {
        "read" => Some(OpKind::Read),
        "write" => Some(OpKind::Write),
        "flush" => Some(OpKind::Flush),
        "io" => None,
        _ => return None,
    };
    let mut rule = Rule {
        kind,
        ..Rule::always(Fault::Error)
    };
    for word in words {
        match word.strip_prefix('x') {
            Some(times) => rule.times = times.parse().ok()?,
            None => {
                let (first, last) = word.split_once('-')?;
                rule.sectors = first.parse().ok()?..last.parse::<u64>().ok()?.checked_add(1)?;
            }
        }
    }
    Some(rule)
}

fn main() -> ExitCode {
    planted::main(|process| {
        let asked = std::env::var(VARIABLE).unwrap_or_default();
        let rules = rules(&asked).ok_or_else(|| {
            let text = format!("{VARIABLE}={asked:?} names no faults, such as 'write 20480-40959'");
            Failure::new(Exit::Usage, text)
        })?;
        process
            .with_images(|images| Failing { images, rules })
            .run(live::serve)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_names_what_fails_where_and_how_often() {
        let rules = rules("write 8-15,read 0-0 x2,flush x1,io").unwrap();
        let told = rules
            .iter()
            .map(|rule| (rule.kind, rule.sectors.clone(), rule.times));
        let expected = [
            (Some(OpKind::Write), 8..16, u32::MAX),
            (Some(OpKind::Read), 0..1, 2),
            (Some(OpKind::Flush), 0..u64::MAX, 1),
            (None, 0..u64::MAX, u32::MAX),
        ];
        assert!(told.eq(expected));
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        let refused = ["", "erase", "write 8", "write 9-x", "read xx", "read,,"];
        assert!(refused.iter().all(|text| rules(text).is_none()));
    }
}
