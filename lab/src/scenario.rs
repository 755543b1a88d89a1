//! A scenario: one bash file whose header says where and with what it runs.
//!
//! It knows nothing of the steps. Invariant: a header that is not understood is an error, so that a
//! misspelt condition is never a silently ignored one.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use crate::error::{Doing as _, Failure};
use crate::stack::Stack;

/// How often a scenario runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// In every run of the gate.
    Quick,
    /// When asked for, for it takes minutes.
    Full,
}

/// Something of the project that a scenario uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// A test binary: package and name of the test target.
    Test(String, String),
    /// A binary: package and name.
    Bin(String, String),
    /// An example: package and name.
    Example(String, String),
    /// A file of the repository.
    File(PathBuf),
}

/// A disk of the machine beside its root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// An empty one of so many bytes.
    Empty(u64),
    /// One with a Debian system for a guest.
    Debian,
}

impl FromStr for Disk {
    type Err = Failure;

    /// `debian`, or a size that may end in K, M or G.
    fn from_str(text: &str) -> Result<Self, Failure> {
        if text == "debian" {
            return Ok(Self::Debian);
        }
        let (digits, shift) = ["K", "M", "G"]
            .iter()
            .zip([10, 20, 30])
            .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)))
            .unwrap_or((text, 0));
        let number = digits.parse::<u64>().ok();
        let bytes = number.and_then(|number| number.checked_mul(1 << shift));
        bytes.map(Self::Empty).ok_or_else(|| {
            Failure::new(format!(
                "a disk is a size like 768M, or debian, not '{text}'"
            ))
        })
    }
}

/// The machine that a scenario runs in; scenarios with equal machines share one boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hardware {
    /// The scratch disks.
    pub disks: Vec<Disk>,
    /// Kernel modules to load first.
    pub modules: Vec<String>,
    /// The machine's memory; none is the usual.
    pub memory_mib: Option<u32>,
    /// The machine's processors, all of which the control domain has.
    pub processors: u16,
}

impl Default for Hardware {
    fn default() -> Self {
        Self {
            disks: Vec::new(),
            modules: Vec::new(),
            memory_mib: None,
            processors: 1,
        }
    }
}

impl Hardware {
    /// Whether the Debian system has to be there.
    #[must_use]
    pub fn has_debian(&self) -> bool {
        self.disks.contains(&Disk::Debian)
    }
}

/// One scenario's header.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its file's name without the ending.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// What it shows, in a line.
    pub title: String,
    /// Names of the stacks it runs on.
    pub stacks: Vec<String>,
    /// Why not on the others.
    pub not_elsewhere: String,
    /// How often it runs.
    pub set: Set,
    /// How long it may take.
    pub timeout: Duration,
    /// The machine it needs.
    pub hardware: Hardware,
    /// Whether it wants a machine that nothing else has used.
    pub fresh: bool,
    /// What is built and shared for it.
    pub needs: Vec<Need>,
}

/// All scenarios of a directory, by name.
pub fn all(dir: &Path) -> Result<Vec<Scenario>, Failure> {
    let what = || format!("reading {}", dir.display());
    let entries = fs::read_dir(dir)
        .doing(what)?
        .collect::<Result<Vec<_>, _>>()
        .doing(what)?;
    let mut paths: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "sh"));
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Result<Scenario, Failure> {
    let text = fs::read_to_string(path).doing(|| format!("reading {}", path.display()))?;
    parse(path, &text).map_err(|why| Failure::new(format!("{}: {why}", path.display())))
}

/// Reads the header: the comment lines `# key: value` before the first line that is none.
pub fn parse(path: &Path, text: &str) -> Result<Scenario, Failure> {
    let mut scenario = Scenario {
        name: path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        path: path.to_owned(),
        title: String::new(),
        stacks: Vec::new(),
        not_elsewhere: "not meant for this stack".to_owned(),
        set: Set::Full,
        timeout: Duration::ZERO,
        hardware: Hardware::default(),
        fresh: false,
        needs: Vec::new(),
    };
    for line in text.lines().take_while(|line| line.starts_with('#')) {
        // Ordinary comments may follow the header's lines.
        let Some((key, value)) = line.trim_start_matches('#').split_once(':') else {
            continue;
        };
        if line.starts_with("# ") && !key.trim().contains(' ') {
            scenario.header(key.trim(), value.trim())?;
        }
    }
    scenario.complete()
}

impl Scenario {
    fn header(&mut self, key: &str, value: &str) -> Result<(), Failure> {
        match key {
            "title" => self.title = value.to_owned(),
            "stacks" => self.on_stacks(value)?,
            "set" => self.set = set(value)?,
            "timeout" => self.timeout = Duration::from_secs(u64::from(number(key, value)?)),
            "disk" => {
                let disks = value.split_whitespace().map(str::parse);
                self.hardware.disks = disks.collect::<Result<_, _>>()?;
            }
            "modules" => self.hardware.modules = words(value),
            "memory" => self.hardware.memory_mib = Some(number(key, value)?),
            "processors" => self.hardware.processors = processors(value)?,
            "fresh" => self.fresh = value == "yes",
            "needs" => self.needs.push(need(value)?),
            _ => return Err(Failure::new(format!("there is no header '{key}'"))),
        }
        Ok(())
    }

    /// `xen-4.17 xen-4.20`, or `xen-4.20 (why not elsewhere)`.
    fn on_stacks(&mut self, value: &str) -> Result<(), Failure> {
        let (names, reason) = value.split_once('(').unwrap_or((value, ""));
        self.stacks = words(names);
        for name in &self.stacks {
            name.parse::<Stack>()?;
        }
        if !reason.is_empty() {
            self.not_elsewhere = reason.trim_end_matches(')').to_owned();
        }
        Ok(())
    }

    fn complete(self) -> Result<Self, Failure> {
        let lacking = [
            ("title", self.title.is_empty()),
            ("stacks", self.stacks.is_empty()),
            ("timeout", self.timeout.is_zero()),
        ];
        match lacking.iter().find(|(_, lacks)| *lacks) {
            Some((key, _)) => Err(Failure::new(format!(
                "the header '# {key}: ...' is missing"
            ))),
            None => Ok(self),
        }
    }

    /// Whether it runs there.
    #[must_use]
    pub fn runs_on(&self, stack: &Stack) -> bool {
        self.stacks.iter().any(|name| name == stack.name)
    }
}

fn set(value: &str) -> Result<Set, Failure> {
    match value {
        "quick" => Ok(Set::Quick),
        "full" => Ok(Set::Full),
        _ => Err(Failure::new(format!(
            "the set is quick or full, not '{value}'"
        ))),
    }
}

fn need(value: &str) -> Result<Need, Failure> {
    match words(value).as_slice() {
        [kind, package, name] if kind == "test" => Ok(Need::Test(package.clone(), name.clone())),
        [kind, package, name] if kind == "bin" => Ok(Need::Bin(package.clone(), name.clone())),
        [kind, package, name] if kind == "example" => {
            Ok(Need::Example(package.clone(), name.clone()))
        }
        [kind, path] if kind == "file" => Ok(Need::File(path.into())),
        _ => Err(Failure::new(format!(
            "needs are 'test|bin|example PACKAGE NAME' or 'file PATH', not '{value}'"
        ))),
    }
}

fn number(key: &str, value: &str) -> Result<u32, Failure> {
    value.parse().doing(|| format!("'# {key}: {value}'"))
}

fn processors(value: &str) -> Result<u16, Failure> {
    let count = value.parse().ok().filter(|count| (1..=8).contains(count));
    count.ok_or_else(|| Failure::new(format!("a machine has 1 to 8 processors, not '{value}'")))
}

fn words(value: &str) -> Vec<String> {
    value.split_whitespace().map(str::to_owned).collect()
}

/// Scenarios that share machines: one group for each kind of hardware, one each for those that want
/// a machine of their own. The order within a group is that of the names.
#[must_use]
pub fn groups(scenarios: &[Scenario]) -> Vec<Vec<Scenario>> {
    let mut groups: Vec<Vec<Scenario>> = Vec::new();
    for scenario in scenarios {
        let shares = |group: &&mut Vec<Scenario>| {
            !scenario.fresh
                && group
                    .iter()
                    .all(|other| !other.fresh && other.hardware == scenario.hardware)
        };
        match groups.iter_mut().find(shares) {
            Some(group) => group.push(scenario.clone()),
            None => groups.push(vec![scenario.clone()]),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "# title: t\n# stacks: xen-4.17\n# timeout: 60\n";

    fn parsed(more: &str) -> Result<Scenario, Failure> {
        parse(Path::new("/scenarios/one.sh"), &format!("{LEAST}{more}"))
    }

    #[test]
    fn a_header_is_read_up_to_the_first_line_that_is_no_comment() {
        let scenario = parsed("# set: quick\n# disk: 768M 64M\n\n# modules: loop\n").expect("good");
        assert_eq!(scenario.name, "one");
        assert_eq!(scenario.set, Set::Quick);
        assert_eq!(
            scenario.hardware.disks,
            [Disk::Empty(768 << 20), Disk::Empty(64 << 20)]
        );
        assert!(scenario.hardware.modules.is_empty());
    }

    #[test]
    fn a_disk_is_a_size_or_the_debian_system() {
        let disk = |text: &str| text.parse::<Disk>().ok();
        assert_eq!(disk("512"), Some(Disk::Empty(512)));
        assert_eq!(disk("2G"), Some(Disk::Empty(2 << 30)));
        assert_eq!(disk("debian"), Some(Disk::Debian));
        assert_eq!(["", "M", "1T", "-1", "99999999999G"].map(disk), [None; 5]);
    }

    #[test]
    fn a_sentence_with_a_colon_is_no_header() {
        assert!(parsed("# It shows this: that it works.\n#\n").is_ok());
    }

    #[test]
    fn a_misspelt_header_is_refused() {
        let error = parsed("# modlues: loop\n")
            .expect_err("refused")
            .to_string();
        assert_eq!(error, "there is no header 'modlues'");
    }

    #[test]
    fn a_missing_header_is_named() {
        let error =
            parse(Path::new("x.sh"), "# title: t\n# stacks: xen-4.17\n").expect_err("refused");
        assert_eq!(error.to_string(), "the header '# timeout: ...' is missing");
    }

    #[test]
    fn an_unknown_stack_is_refused() {
        assert!(parsed("# stacks: xen-3\n").is_err());
    }

    #[test]
    fn the_reason_why_it_runs_nowhere_else_stands_in_parentheses() {
        let scenario = parsed("# stacks: xen-4.20 (libxl knows tap from 4.19)\n").expect("good");
        assert_eq!(scenario.not_elsewhere, "libxl knows tap from 4.19");
        assert_eq!(scenario.stacks, ["xen-4.20"]);
    }

    #[test]
    fn needs_add_up_and_name_what_is_built() {
        let scenario = parsed("# needs: test xen linux\n# needs: file halcyon/x\n").expect("good");
        let test = Need::Test("xen".to_owned(), "linux".to_owned());
        assert_eq!(scenario.needs, [test, Need::File("halcyon/x".into())]);
        assert!(parsed("# needs: xen\n").is_err());
    }

    #[test]
    fn scenarios_with_equal_hardware_share_a_machine_and_fresh_ones_do_not() {
        let plain = parsed("").expect("good");
        let disk = parsed("# disk: 1G\n").expect("good");
        let fresh = parsed("# fresh: yes\n").expect("good");
        let sizes: Vec<usize> = groups(&[plain.clone(), fresh, disk, plain])
            .iter()
            .map(Vec::len)
            .collect();
        assert_eq!(sizes, [2, 1, 1]);
    }

    #[test]
    fn every_scenario_of_the_project_has_a_good_header() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        assert!(!all(&dir).expect("good headers").is_empty());
    }
}
