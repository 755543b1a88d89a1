//! Runs scenarios: machine after machine until each has had its turn, and brings their results back.
//!
//! It knows nothing of how a machine is made. Invariant: every scenario ends with one outcome on
//! every stack, and every machine that boots settles at least one, so a run comes to its end.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::cache::{self, Cache};
use crate::error::{Doing as _, Failure};
use crate::image::{self, Image};
use crate::machine::{self, End, Machine};
use crate::outcome::{Ended, Outcome};
use crate::payload::{self, Built};
use crate::qemu::{self, Qemu};
use crate::scenario::{self, Scenario};
use crate::stack::Stack;

/// What a machine may take until its first scenario begins, and from a scenario's own time limit to
/// its end: both many times what they take on an idle host.
const BOOT: Duration = Duration::from_secs(240);
const TIDYING: Duration = Duration::from_secs(90);
/// Runs whose directories are kept.
const KEPT_RUNS: usize = 20;

/// What a run is asked to do.
#[derive(Debug)]
pub struct Order<'a> {
    /// The scenarios, in order.
    pub scenarios: &'a [Scenario],
    /// The stacks.
    pub stacks: &'a [Stack],
    /// The program under test, if it is not to be built.
    pub halcyon: Option<&'a Path>,
    /// Cargo's profile for what is built.
    pub profile: &'a str,
    /// How often.
    pub repeat: u32,
    /// What every bound in time is multiplied by.
    pub patience: u32,
    /// Results only, no console.
    pub quiet: bool,
}

/// What every machine of a run has in common.
struct Run<'a> {
    order: &'a Order<'a>,
    qemu: Qemu,
    built: Built,
    cache: &'a Cache,
    dir: PathBuf,
}

/// Sets up, builds, boots and judges. Everything about each machine is kept in the directory named.
pub fn run(cache: &Cache, order: &Order<'_>) -> Result<Vec<Outcome>, Failure> {
    let (qemu, images) = set_up(cache, order.stacks, false)?;
    if order.scenarios.iter().any(|one| one.hardware.has_debian()) {
        let _lock = cache.lock()?;
        let mut stacks = order.stacks.iter();
        stacks.try_for_each(|stack| image::debian(cache, stack, false))?;
    }
    let dir = new_dir(cache)?;
    let built = payload::build(
        order.scenarios,
        order.halcyon,
        order.profile,
        &dir.join("built"),
    )?;
    let run = Run {
        order,
        qemu,
        built,
        cache,
        dir,
    };
    println!("results: {}", run.dir.display());
    let mut outcomes = Vec::new();
    for turn in 1..=order.repeat {
        for (stack, image) in order.stacks.iter().zip(&images) {
            let (meant, others): (Vec<Scenario>, Vec<Scenario>) = order
                .scenarios
                .iter()
                .cloned()
                .partition(|scenario| scenario.runs_on(stack));
            outcomes.extend(
                others
                    .iter()
                    .map(|other| Outcome::not_run(stack.name, &other.name, &other.not_elsewhere)),
            );
            for (index, group) in scenario::groups(&meant).iter().enumerate() {
                let name = format!("{}-{turn}-{}", stack.name, index + 1);
                outcomes.extend(run.group(stack, image, &name, group)?);
            }
        }
    }
    outcomes.sort_by(|a, b| a.stack.cmp(&b.stack));
    Ok(outcomes)
}

/// Everything that needs the network or takes long, once; another process doing so is waited for.
pub fn set_up(
    cache: &Cache,
    stacks: &[Stack],
    refresh: bool,
) -> Result<(Qemu, Vec<Image>), Failure> {
    let lock = cache.lock()?;
    crate::tools::require_all()?;
    let qemu = qemu::ready(cache, refresh)?;
    let images = stacks
        .iter()
        .map(|stack| image::ready(cache, stack, refresh))
        .collect::<Result<_, _>>()?;
    drop(lock);
    Ok((qemu, images))
}

impl Run<'_> {
    /// Boots machines for one group until all of it has an outcome.
    fn group(
        &self,
        stack: &Stack,
        image: &Image,
        name: &str,
        group: &[Scenario],
    ) -> Result<Vec<Outcome>, Failure> {
        let mut outcomes: Vec<Outcome> = Vec::new();
        while let Some(rest @ [first, ..]) = group.get(outcomes.len()..) {
            let boot = format!("{name}-{}", first.name);
            let dir = self.dir.join(&boot);
            payload::lay_out(
                &dir.join("payload"),
                &self.built,
                image,
                "run",
                rest,
                self.order.patience,
            )?;
            fs::create_dir_all(dir.join("results"))
                .doing(|| format!("creating {}", dir.display()))?;
            let room = machine::room(&self.cache.dir, first.hardware.processors)?;
            println!("== {boot}: {} scenarios", rest.len());
            let end = self.boot(image, &dir, first)?;
            drop(room);
            let settled = settle(stack, rest, &dir.join("results"), end);
            for outcome in &settled {
                println!("{outcome}");
            }
            outcomes.extend(settled);
            cache::remove(&dir.join("payload"))?;
        }
        Ok(outcomes)
    }

    fn boot(&self, image: &Image, dir: &Path, first: &Scenario) -> Result<End, Failure> {
        let machine = Machine {
            qemu: &self.qemu,
            image,
            hardware: &first.hardware,
            dir,
        };
        let start = Instant::now();
        let mut log = String::new();
        let boot = BOOT * self.order.patience;
        let mut deadline = start + boot;
        let end = machine.run(boot, |line| {
            let stamped = format!("{:8.2} {line}", start.elapsed().as_secs_f64());
            if !self.order.quiet || is_result(line) {
                println!("{stamped}");
            }
            log += &stamped;
            log.push('\n');
            deadline = allowed(line).map_or(deadline, |more| Instant::now() + more);
            (!line.contains("### lab: ended "))
                .then(|| deadline.saturating_duration_since(Instant::now()))
        });
        cache::write(&dir.join("results/console"), log)?;
        end
    }
}

fn is_result(line: &str) -> bool {
    [
        "ok ",
        "not ok ",
        "skipped ",
        "note ",
        "faulted ",
        "### begin ",
    ]
    .iter()
    .any(|start| line.starts_with(start))
}

/// How long the machine may run after this line, where the line says so.
fn allowed(line: &str) -> Option<Duration> {
    let (_, rest) = line.split_once("### ")?;
    let mut words = rest.split(' ');
    match (words.next()?, words.next()?) {
        ("begin", _) => Some(Duration::from_secs(words.next()?.parse().ok()?) + TIDYING),
        ("end", _) => Some(TIDYING),
        _ => None,
    }
}

/// Outcomes of the scenarios that had their turn in one machine: at least one, for a machine that
/// settles nothing would be booted for ever.
fn settle(stack: &Stack, scenarios: &[Scenario], results: &Path, end: End) -> Vec<Outcome> {
    let progress = fs::read_to_string(results.join("progress")).unwrap_or_default();
    let mut outcomes = Vec::new();
    for scenario in scenarios {
        let begun = moment(&progress, "begin", &scenario.name);
        if begun.is_none() && !outcomes.is_empty() {
            break;
        }
        let ended = moment(&progress, "end", &scenario.name);
        let lines =
            fs::read_to_string(results.join(&scenario.name).join("results")).unwrap_or_default();
        let status = ended
            .and_then(|(_, status)| status)
            .map_or(Ended::Never, Ended::With);
        let took = ended
            .zip(begun)
            .map_or(0, |(end, begin)| end.0.saturating_sub(begin.0));
        let mut outcome = Outcome::judge(
            stack.name,
            &scenario.name,
            &lines,
            status,
            Duration::from_secs(took),
        );
        if ended.is_none() {
            let when = if begun.is_some() {
                "during it"
            } else {
                "before it began"
            };
            let how = if end == End::OutOfTime {
                "the machine ran out of time"
            } else {
                "the machine died"
            };
            outcome.verdict = crate::outcome::Verdict::Died(format!(
                "{how} {when}; see {}",
                results.join("console").display()
            ));
        }
        outcomes.push(outcome);
    }
    outcomes
}

/// A line of the machine's progress: `begin NAME SECONDS`, `end NAME SECONDS STATUS`.
fn moment(progress: &str, what: &str, name: &str) -> Option<(u64, Option<i32>)> {
    let line = progress.lines().find_map(|line| {
        line.strip_prefix(what)?
            .strip_prefix(' ')?
            .strip_prefix(name)?
            .strip_prefix(' ')
    })?;
    let mut words = line.split(' ');
    let seconds = words.next()?.parse().ok()?;
    Some((seconds, words.next().and_then(|status| status.parse().ok())))
}

/// A directory for one run; old ones go.
pub fn new_dir(cache: &Cache) -> Result<PathBuf, Failure> {
    let runs = cache.dir.join("runs");
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let dir = runs.join(format!("{seconds}-{}", std::process::id()));
    fs::create_dir_all(&dir).doing(|| format!("creating {}", dir.display()))?;
    let entries = fs::read_dir(&runs).doing(|| format!("reading {}", runs.display()))?;
    let mut old: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    old.sort();
    for path in old.iter().rev().skip(KEPT_RUNS) {
        cache::remove(path)?;
    }
    Ok(dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Verdict;
    use crate::scratch::Scratch;
    use crate::stack::STACKS;

    fn scenarios(names: &[&str]) -> Vec<Scenario> {
        let header = "# title: t\n# stacks: xen-4.17\n# timeout: 9\n";
        names
            .iter()
            .map(|name| scenario::parse(Path::new(&format!("{name}.sh")), header).expect("good"))
            .collect()
    }

    fn results(name: &str, progress: &str, lines: &[(&str, &str)]) -> Scratch {
        let dir = Scratch::new(name);
        cache::write(&dir.join("progress"), progress).expect("writable");
        for (scenario, text) in lines {
            cache::write(&dir.join(scenario).join("results"), text).expect("writable");
        }
        dir
    }

    #[test]
    fn a_line_of_the_console_says_how_long_the_machine_may_go_on() {
        assert_eq!(
            allowed("### begin boots 100"),
            Some(Duration::from_secs(190))
        );
        assert_eq!(allowed("(XEN) x### end boots 0"), Some(TIDYING));
        assert_eq!(allowed("begin boots 100"), None);
    }

    #[test]
    fn scenarios_that_had_no_turn_are_left_for_another_machine() {
        let dir = results(
            "turn",
            "begin a 10\nend a 13 0\nbegin b 13\nend b 20 124\n",
            &[("a", "ok x\n"), ("b", "ok y\n")],
        );
        let settled = settle(&STACKS[0], &scenarios(&["a", "b", "c"]), &dir, End::Done);
        assert_eq!(settled.len(), 2);
        assert_eq!(
            (&settled[0].verdict, settled[0].took.as_secs()),
            (&Verdict::Passed, 3)
        );
        assert_eq!(settled[1].verdict, Verdict::Died("out of time".to_owned()));
    }

    #[test]
    fn a_machine_that_dies_takes_down_the_scenario_that_ran() {
        let dir = results(
            "death",
            "begin a 10\nend a 13 0\nbegin b 13\n",
            &[("a", "ok x\n")],
        );
        let settled = settle(
            &STACKS[0],
            &scenarios(&["a", "b", "c"]),
            &dir,
            End::OutOfTime,
        );
        assert_eq!(settled.len(), 2);
        assert!(
            matches!(&settled[1].verdict, Verdict::Died(why) if why.starts_with("the machine ran out of time during it"))
        );
    }

    #[test]
    fn a_machine_that_never_came_up_settles_its_first_scenario() {
        let dir = results("never", "", &[]);
        let settled = settle(&STACKS[0], &scenarios(&["a", "b"]), &dir, End::Done);
        assert_eq!(settled.len(), 1);
        assert!(
            matches!(&settled[0].verdict, Verdict::Died(why) if why.contains("before it began"))
        );
    }

    #[test]
    fn a_name_that_begins_like_another_is_not_taken_for_it() {
        assert_eq!(
            moment("end boots-twice 9 0\nend boots 8 1\n", "end", "boots"),
            Some((8, Some(1)))
        );
    }
}
