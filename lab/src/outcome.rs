//! What happened: the lines that scenarios left, judged, and the summary of a run.
//!
//! It knows nothing of how they came to be. Invariant: a scenario passes only if it expected
//! something, all of it held and the script came to its own end.

use std::fmt;
use std::time::Duration;

/// The judgement of one scenario on one stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All that it expected held.
    Passed,
    /// Something did not, or it expected nothing.
    Failed(String),
    /// All of it was skipped.
    Skipped(String),
    /// The machine died under it, or the time was up.
    Died(String),
}

/// One scenario's result on one stack.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The stack's name.
    pub stack: String,
    /// The scenario's name.
    pub scenario: String,
    /// The judgement.
    pub verdict: Verdict,
    /// Expectations that held.
    pub held: usize,
    /// Expectations that did not: claim and why.
    pub broken: Vec<String>,
    /// Claims that could not be seen here: claim and reason.
    pub skipped: Vec<String>,
    /// Measurements.
    pub notes: Vec<String>,
    /// Guests repeated after a fault of the emulator: a triple fault, or flags that no processor has.
    pub faults: usize,
    /// How long it took.
    pub took: Duration,
}

/// How a scenario's script ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With this exit status.
    With(i32),
    /// Not at all: the machine did.
    Never,
}

/// Exit statuses of `timeout` when it had to end the script.
const OUT_OF_TIME: [i32; 3] = [124, 137, 143];

impl Outcome {
    /// One that did not run on this stack.
    #[must_use]
    pub fn not_run(stack: &str, scenario: &str, reason: &str) -> Self {
        let mut outcome = Self::judge(stack, scenario, "", Ended::With(0), Duration::ZERO);
        outcome.verdict = Verdict::Skipped(reason.to_owned());
        outcome
    }

    /// Judges the lines of a scenario's results.
    #[must_use]
    pub fn judge(stack: &str, scenario: &str, results: &str, ended: Ended, took: Duration) -> Self {
        let of = |kind: &str| {
            let lines = results.lines().filter_map(|line| line.strip_prefix(kind));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let (broken, skipped) = (of("not ok "), of("skipped "));
        let held = of("ok ").len();
        Self {
            stack: stack.to_owned(),
            scenario: scenario.to_owned(),
            verdict: verdict(held, &broken, &skipped, ended),
            held,
            broken,
            skipped,
            notes: of("note "),
            faults: of("faulted ").len(),
            took,
        }
    }
}

fn verdict(held: usize, broken: &[String], skipped: &[String], ended: Ended) -> Verdict {
    match (ended, broken, skipped) {
        (Ended::Never, ..) => Verdict::Died("the machine ended under it".to_owned()),
        (Ended::With(status), ..) if OUT_OF_TIME.contains(&status) => {
            Verdict::Died("out of time".to_owned())
        }
        (_, [first, ..], _) => Verdict::Failed(first.clone()),
        // The last command's status is no judgement; bash's own complaints (a syntax error: 2, an
        // unset variable under -u: 1) come before anything was expected.
        (Ended::With(_), [], _) if held > 0 => Verdict::Passed,
        (_, [], [reason, ..]) => Verdict::Skipped(reason.clone()),
        (Ended::With(status), [], []) => {
            Verdict::Failed(format!("it expected nothing (exit status {status})"))
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, why) = match &self.verdict {
            Verdict::Passed => ("passed", None),
            Verdict::Failed(why) => ("FAILED", Some(why)),
            Verdict::Skipped(why) => ("skipped", Some(why)),
            Verdict::Died(why) => ("DIED", Some(why)),
        };
        write!(
            out,
            "  {word:7} {} ({} held, {} s)",
            self.scenario,
            self.held,
            self.took.as_secs()
        )?;
        if let Some(why) = why.filter(|_| self.broken.is_empty()) {
            write!(out, ": {why}")?;
        }
        for line in &self.broken {
            write!(out, "\n          not ok {line}")?;
        }
        if self.verdict == Verdict::Passed || !self.broken.is_empty() {
            for line in &self.skipped {
                write!(out, "\n          skipped {line}")?;
            }
        }
        for line in &self.notes {
            write!(out, "\n          {line}")?;
        }
        if self.faults > 0 {
            write!(
                out,
                "\n          {} guests repeated after a fault of the emulator",
                self.faults
            )?;
        }
        Ok(())
    }
}

/// The whole run on paper: a paragraph for each stack, and one line for all.
#[must_use]
pub fn summary(outcomes: &[Outcome]) -> String {
    let mut stacks: Vec<&str> = outcomes
        .iter()
        .map(|outcome| outcome.stack.as_str())
        .collect();
    stacks.dedup();
    stacks.sort_unstable();
    stacks.dedup();
    let mut text = String::new();
    for stack in stacks {
        let of_stack: Vec<&Outcome> = outcomes
            .iter()
            .filter(|outcome| outcome.stack == stack)
            .collect();
        text += &format!("{stack}: {}\n", counts(&of_stack));
        for outcome in of_stack {
            text += &format!("{outcome}\n");
        }
    }
    let all: Vec<&Outcome> = outcomes.iter().collect();
    text + &format!("all: {}\n", counts(&all))
}

fn counts(outcomes: &[&Outcome]) -> String {
    let count = |wanted: fn(&Verdict) -> bool| {
        outcomes
            .iter()
            .filter(|outcome| wanted(&outcome.verdict))
            .count()
    };
    let died = count(|verdict| matches!(verdict, Verdict::Died(_)));
    let faults: usize = outcomes.iter().map(|outcome| outcome.faults).sum();
    let mut text = format!(
        "{} passed, {} failed, {} skipped",
        count(|verdict| matches!(verdict, Verdict::Passed)),
        count(|verdict| matches!(verdict, Verdict::Failed(_))),
        count(|verdict| matches!(verdict, Verdict::Skipped(_))),
    );
    if died > 0 {
        text += &format!(", {died} died");
    }
    if faults > 0 {
        text += &format!("; {faults} faults of the emulator, those guests were repeated");
    }
    text
}

/// The exit status of a run: 0 all passed, 1 something failed, 3 a machine died or ran out of time.
#[must_use]
pub fn exit_status(outcomes: &[Outcome]) -> u8 {
    let any =
        |wanted: fn(&Verdict) -> bool| outcomes.iter().any(|outcome| wanted(&outcome.verdict));
    if any(|verdict| matches!(verdict, Verdict::Died(_))) {
        3
    } else {
        u8::from(any(|verdict| matches!(verdict, Verdict::Failed(_))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(results: &str, ended: Ended) -> Outcome {
        Outcome::judge("xen-4.17", "one", results, ended, Duration::from_secs(7))
    }

    #[test]
    fn a_scenario_passes_when_all_it_expected_held() {
        let outcome = judged("ok a\nok b\nskipped c: no tap\n", Ended::With(0));
        assert_eq!(outcome.verdict, Verdict::Passed);
        assert_eq!(
            outcome.to_string(),
            "  passed  one (2 held, 7 s)\n          skipped c: no tap"
        );
    }

    #[test]
    fn one_broken_expectation_fails_it_and_is_quoted() {
        let outcome = judged("ok a\nnot ok b: 1 is not 2\n", Ended::With(0));
        assert_eq!(outcome.verdict, Verdict::Failed("b: 1 is not 2".to_owned()));
        assert!(outcome.to_string().contains("not ok b: 1 is not 2"));
    }

    #[test]
    fn a_scenario_that_expects_nothing_fails() {
        let outcome = judged("note just looking\n", Ended::With(2));
        assert_eq!(
            outcome.verdict,
            Verdict::Failed("it expected nothing (exit status 2)".to_owned())
        );
    }

    #[test]
    fn a_scenario_that_could_see_nothing_is_skipped_with_the_reason() {
        let outcome = judged("skipped a: no device\n", Ended::With(0));
        assert_eq!(outcome.verdict, Verdict::Skipped("a: no device".to_owned()));
    }

    #[test]
    fn a_scenario_out_of_time_died_whatever_held_before() {
        assert_eq!(
            judged("ok a\n", Ended::With(124)).verdict,
            Verdict::Died("out of time".to_owned())
        );
        assert!(matches!(
            judged("ok a\n", Ended::Never).verdict,
            Verdict::Died(_)
        ));
    }

    #[test]
    fn the_summary_counts_by_stack_and_shows_faults_of_the_emulator() {
        let other = Outcome::not_run("xen-4.20", "one", "not meant for this stack");
        let text = summary(&[judged("faulted r1\nok a\n", Ended::With(0)), other]);
        assert!(
            text.starts_with("xen-4.17: 1 passed, 0 failed, 0 skipped; 1 faults of the emulator"),
            "{text}"
        );
        assert!(
            text.contains("xen-4.20: 0 passed, 0 failed, 1 skipped\n  skipped one"),
            "{text}"
        );
        assert!(
            text.contains("all: 1 passed, 0 failed, 1 skipped"),
            "{text}"
        );
    }

    #[test]
    fn the_exit_status_tells_failed_from_died() {
        let passed = judged("ok a\n", Ended::With(0));
        let failed = judged("not ok a: b\n", Ended::With(0));
        let died = judged("", Ended::Never);
        assert_eq!(exit_status(std::slice::from_ref(&passed)), 0);
        assert_eq!(exit_status(&[passed, failed.clone()]), 1);
        assert_eq!(exit_status(&[failed, died]), 3);
    }
}
