//! Debian's own command line tools (package xenstore-utils) against this server, unmodified.
//!
//! They speak through libxenstore, which takes the socket's path from `XENSTORED_PATH`. Where a
//! tool is not installed, its test counts as ignored and says why.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use libtest_mimic::{Arguments, Failed, Trial};
use xenstore::blocking::Store;

#[path = "support/host.rs"]
mod host;

use host::Host;

type Check = fn(&Host) -> Result<(), Failed>;

const CHECKS: [(&str, &str, Check); 10] = [
    ("xenstore-write", "writes_what_we_read", writes),
    ("xenstore-read", "reads_what_we_wrote", reads),
    ("xenstore-read", "fails_on_a_missing_node", reads_nothing),
    ("xenstore-list", "lists_children", lists),
    (
        "xenstore-list",
        "lists_a_directory_that_exceeds_a_payload",
        lists_many,
    ),
    ("xenstore-ls", "shows_the_tree_with_permissions", shows),
    ("xenstore-exists", "tells_there_from_not_there", exists),
    ("xenstore-rm", "removes_a_subtree", removes),
    ("xenstore-chmod", "changes_permissions", chmods),
    ("xenstore-watch", "prints_changes_as_they_happen", watches),
];

fn main() {
    let arguments = Arguments::from_args();
    let trials = CHECKS
        .map(|(tool, claim, check)| trial(tool, claim, check))
        .into();
    libtest_mimic::run(&arguments, trials).exit();
}

fn trial(tool: &'static str, claim: &'static str, check: Check) -> Trial {
    let name = format!("{}_{claim}", tool.replace('-', "_"));
    let present = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(tool).exists()));
    let reason = "not installed, package xenstore-utils";
    Trial::test(name.clone(), move || check(&Host::start(&name)))
        .with_kind(if present { "" } else { reason })
        .with_ignored_flag(!present)
}

fn command(host: &Host, tool: &str, args: &[&str]) -> Command {
    let mut command = Command::new(tool);
    command
        .args(args)
        .env("XENSTORED_PATH", host.socket())
        .stdin(Stdio::null());
    command
}

/// Runs a tool that should succeed, and returns what it printed.
fn run(host: &Host, tool: &str, args: &[&str]) -> Result<String, Failed> {
    let output = command(host, tool, args).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(format!("{tool} {args:?}: {}", text(&output.stderr)).into()),
    }
}

fn store(host: &Host) -> Result<Store, Failed> {
    Ok(Store::connect(&host.socket())?)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "calls read better with values"
)]
fn expect<T: PartialEq + std::fmt::Debug>(found: T, expected: T) -> Result<(), Failed> {
    match found == expected {
        true => Ok(()),
        false => Err(format!("found {found:?}, expected {expected:?}").into()),
    }
}

fn writes(host: &Host) -> Result<(), Failed> {
    run(host, "xenstore-write", &["/a/b", "one", "/a/c", "two"])?;
    let mut store = store(host)?;
    expect(store.read("/a/b")?, Some(b"one".to_vec()))?;
    expect(store.read("/a/c")?, Some(b"two".to_vec()))
}

fn reads(host: &Host) -> Result<(), Failed> {
    store(host)?.write("/a/b", "value")?;
    expect(run(host, "xenstore-read", &["/a/b"])?, "value\n".to_owned())?;
    expect(
        run(host, "xenstore-read", &["-p", "/a/b"])?,
        "/a/b: value\n".to_owned(),
    )
}

fn reads_nothing(host: &Host) -> Result<(), Failed> {
    expect(run(host, "xenstore-read", &["/a/b"]).is_err(), true)
}

fn lists(host: &Host) -> Result<(), Failed> {
    let mut store = store(host)?;
    store.write("/a/b/below", "")?;
    store.write("/a/c", "")?;
    expect(run(host, "xenstore-list", &["/a"])?, "b\nc\n".to_owned())
}

fn lists_many(host: &Host) -> Result<(), Failed> {
    let names: Vec<String> = (0..300).map(|index| format!("{index:0>40}")).collect();
    let mut store = store(host)?;
    for name in &names {
        store.write(&format!("/a/{name}"), "")?;
    }
    let listed = run(host, "xenstore-list", &["/a"])?;
    expect(
        listed.lines().collect::<Vec<_>>(),
        names.iter().map(String::as_str).collect(),
    )
}

fn shows(host: &Host) -> Result<(), Failed> {
    let mut store = store(host)?;
    store.write("/a/b", "value")?;
    store.set_perms("/a/b", &["n7".parse()?, "r0".parse()?])?;
    let shown = run(host, "xenstore-ls", &["-f", "-p", "/"])?;
    let lines: Vec<String> = shown.lines().map(collapse).collect();
    let expected = ["/a = \"\" (n0)", "/a/b = \"value\" (n7,r0)"];
    expect(lines, expected.map(String::from).to_vec())
}

/// The line with its runs of dots and spaces shortened, which align the columns.
fn collapse(line: &str) -> String {
    let words = line.split_whitespace().map(|word| word.trim_matches('.'));
    words
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

fn exists(host: &Host) -> Result<(), Failed> {
    store(host)?.write("/a", "")?;
    expect(
        command(host, "xenstore-exists", &["/a"])
            .status()?
            .success(),
        true,
    )?;
    expect(
        command(host, "xenstore-exists", &["/b"])
            .status()?
            .success(),
        false,
    )
}

fn removes(host: &Host) -> Result<(), Failed> {
    let mut store = store(host)?;
    store.write("/a/b/c", "")?;
    store.write("/a/d", "")?;
    run(host, "xenstore-rm", &["/a/b"])?;
    expect(store.list("/a")?, Some(vec!["d".to_owned()]))
}

fn chmods(host: &Host) -> Result<(), Failed> {
    let mut store = store(host)?;
    store.write("/a/b", "")?;
    run(host, "xenstore-chmod", &["-r", "/a", "n3", "r4"])?;
    let expected = Some(vec!["n3".parse()?, "r4".parse()?]);
    expect(store.perms("/a")?, expected.clone())?;
    expect(store.perms("/a/b")?, expected)
}

fn watches(host: &Host) -> Result<(), Failed> {
    let mut child = Killed(
        command(host, "xenstore-watch", &["-n", "3", "/a"])
            .stdout(Stdio::piped())
            .spawn()?,
    );
    let stdout = child.0.stdout.take().ok_or("no output")?;
    let mut lines = BufReader::new(stdout).lines();
    let mut next = || {
        lines
            .next()
            .unwrap_or_else(|| Ok("end of output".to_owned()))
    };
    expect(next()?, "/a".to_owned())?;
    let mut store = store(host)?;
    store.write("/a/b", "1")?;
    expect(next()?, "/a/b".to_owned())?;
    store.remove("/a")?;
    expect(next()?, "/a".to_owned())?;
    expect(child.0.wait()?.success(), true)
}

/// Ends the child with the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // A child that has ended already has nothing to be killed.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
