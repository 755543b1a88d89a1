//! The commands: from what was asked to what is done, and what is printed about it.
//!
//! It knows nothing of packages, machines and scenarios beyond asking for them.

use std::fs;

use crate::cache::Cache;
use crate::cli::{Command, SetArg, SetupArgs, ShellArgs, TestArgs};
use crate::error::{Doing as _, Failure};
use crate::machine::Machine;
use crate::outcome;
use crate::payload;
use crate::run::{self, Order};
use crate::scenario::{self, Hardware, Scenario, Set};
use crate::stack::{STACKS, Stack};

/// Does it; returns the exit status.
pub fn run(command: &Command) -> Result<u8, Failure> {
    match command {
        Command::Test(args) => test(args),
        Command::Setup(args) => setup(args),
        Command::Shell(args) => shell(args),
        Command::List => list(),
    }
}

fn test(args: &TestArgs) -> Result<u8, Failure> {
    let scenarios = chosen(scenarios()?, args)?;
    let order = Order {
        scenarios: &scenarios,
        stacks: &stacks(&args.stack)?,
        halcyon: args.halcyon.as_deref(),
        profile: &args.profile,
        repeat: args.repeat,
        patience: args.patience,
        quiet: args.quiet,
    };
    let outcomes = run::run(&Cache::open()?, &order)?;
    print!("\n{}", outcome::summary(&outcomes));
    Ok(outcome::exit_status(&outcomes))
}

fn scenarios() -> Result<Vec<Scenario>, Failure> {
    scenario::all(&payload::repository().join("lab/scenarios"))
}

fn chosen(all: Vec<Scenario>, args: &TestArgs) -> Result<Vec<Scenario>, Failure> {
    let unknown = args
        .scenarios
        .iter()
        .find(|name| all.iter().all(|scenario| scenario.name != **name));
    if let Some(name) = unknown {
        return Err(Failure::new(format!(
            "no scenario named {name} (see lab list)"
        )));
    }
    let wanted = |scenario: &Scenario| {
        let by_set =
            args.scenarios.is_empty() && (args.set == SetArg::Full || scenario.set == Set::Quick);
        by_set || args.scenarios.contains(&scenario.name)
    };
    Ok(all.into_iter().filter(wanted).collect())
}

fn stacks(names: &[String]) -> Result<Vec<Stack>, Failure> {
    if names.is_empty() {
        return Ok(STACKS.to_vec());
    }
    names.iter().map(|name| name.parse()).collect()
}

fn setup(args: &SetupArgs) -> Result<u8, Failure> {
    let cache = Cache::open()?;
    run::set_up(&cache, &stacks(&args.stack)?, args.refresh)?;
    println!("ready in {}", cache.dir.display());
    Ok(0)
}

fn shell(args: &ShellArgs) -> Result<u8, Failure> {
    let cache = Cache::open()?;
    let stack: Stack = args.stack.parse()?;
    let (qemu, images) = run::set_up(&cache, &[stack], false)?;
    let dir = run::new_dir(&cache)?;
    let built = payload::build(
        &[],
        args.halcyon.as_deref(),
        &args.profile,
        &dir.join("built"),
    )?;
    fs::create_dir_all(dir.join("results")).doing(|| format!("creating {}", dir.display()))?;
    let hardware = Hardware {
        disks: args.disk.clone(),
        ..Hardware::default()
    };
    for image in &images {
        payload::lay_out(&dir.join("payload"), &built, image, "shell", &[], 1)?;
        Machine {
            qemu: &qemu,
            image,
            hardware: &hardware,
            dir: &dir,
        }
        .interact()?;
    }
    Ok(0)
}

fn list() -> Result<u8, Failure> {
    for scenario in scenarios()? {
        let set = if scenario.set == Set::Quick {
            "quick"
        } else {
            "full"
        };
        println!(
            "{:28} {set:5}  {:17}  {}",
            scenario.name,
            scenario.stacks.join(" "),
            scenario.title
        );
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    fn names(words: &[&str]) -> Result<Vec<String>, Failure> {
        let header =
            |set: &str| format!("# title: t\n# stacks: xen-4.17\n# timeout: 9\n# set: {set}\n");
        let parse =
            |name: &str, set: &str| scenario::parse(name.as_ref(), &header(set)).expect("good");
        let all = vec![parse("a.sh", "quick"), parse("b.sh", "full")];
        let cli =
            crate::cli::Cli::try_parse_from([&["lab", "test"], words].concat()).expect("good");
        let args = match cli.command {
            Command::Test(args) => args,
            other => unreachable!("{other:?}"),
        };
        Ok(chosen(all, &args)?
            .into_iter()
            .map(|scenario| scenario.name)
            .collect())
    }

    #[test]
    fn without_names_the_set_decides() {
        assert_eq!(names(&["--set", "quick"]).expect("good"), ["a"]);
        assert_eq!(names(&[]).expect("good"), ["a", "b"]);
    }

    #[test]
    fn a_named_scenario_runs_whatever_its_set() {
        assert_eq!(names(&["--set", "quick", "b"]).expect("good"), ["b"]);
    }

    #[test]
    fn an_unknown_scenario_is_refused() {
        let refusal = names(&["c"]).expect_err("refused").to_string();
        assert_eq!(refusal, "no scenario named c (see lab list)");
    }
}
