//! The server against a model that copies everything and logs every change: two connections, each
//! with transactions of its own, do the same to both.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use xenstore::StoreError;
use xenstore::server::ConnId;
use xenstore::wire::Request;

use super::bench::{Answer, Bench, ok, p};

#[derive(Clone, Debug)]
enum Op {
    Read(String),
    List(String),
    Write(String, String),
    Mkdir(String),
    Remove(String),
    Start,
    Commit,
    Abort,
}

type Nodes = BTreeMap<String, String>;
/// A node's content, or (true) its list of children.
type Aspect = (String, bool);

#[derive(Clone)]
struct Copy {
    base: Nodes,
    nodes: Nodes,
    started: usize,
    touched: BTreeSet<Aspect>,
    writes: Vec<Op>,
}

#[derive(Default)]
struct Model {
    nodes: Nodes,
    /// Everything that ever changed, in order.
    log: Vec<Aspect>,
    events: BTreeSet<String>,
    open: [Option<Copy>; 2],
}

/// What an operation did to a set of nodes.
struct Outcome {
    answer: Answer,
    touched: Vec<Aspect>,
    changed: Vec<Aspect>,
    events: Vec<String>,
}

fn parent(path: &str) -> String {
    match path.rsplit_once('/').unwrap() {
        ("", _) => "/".to_owned(),
        (parent, _) => parent.to_owned(),
    }
}

fn below<'a>(nodes: &'a Nodes, path: &str) -> impl Iterator<Item = &'a String> {
    let prefix = format!("{}/", path.trim_end_matches('/'));
    nodes
        .keys()
        .filter(move |key| key.starts_with(&prefix) && key.len() > prefix.len())
}

impl Outcome {
    fn answer(answer: Answer, touched: &str) -> Self {
        let touched = vec![(touched.to_owned(), false)];
        Self {
            answer,
            touched,
            changed: Vec::new(),
            events: Vec::new(),
        }
    }
}

fn ensure(nodes: &mut Nodes, path: &str, out: &mut Outcome) {
    out.touched.push((path.to_owned(), false));
    if nodes.contains_key(path) {
        return;
    }
    let above = parent(path);
    ensure(nodes, &above, out);
    nodes.insert(path.to_owned(), String::new());
    out.changed
        .extend([(path.to_owned(), false), (above, true)]);
}

fn apply(nodes: &mut Nodes, op: &Op) -> Outcome {
    let missing = || Err(StoreError::NotFound);
    match op {
        Op::Read(path) => Outcome::answer(nodes.get(path).cloned().map_or_else(missing, Ok), path),
        Op::List(path) => {
            let names = below(nodes, path).filter(|child| parent(child) == *path);
            let names: Vec<&str> = names
                .map(|child| child.rsplit('/').next().unwrap())
                .collect();
            let known = nodes.contains_key(path);
            let mut out = Outcome::answer(
                if known {
                    Ok(names.join(" "))
                } else {
                    missing()
                },
                path,
            );
            out.touched.extend(known.then(|| (path.clone(), true)));
            out
        }
        Op::Write(path, value) => {
            let mut out = Outcome::answer(ok(), path);
            ensure(nodes, path, &mut out);
            nodes.insert(path.clone(), value.clone());
            out.changed.push((path.clone(), false));
            out.events.push(path.clone());
            out
        }
        Op::Mkdir(path) => {
            let mut out = Outcome::answer(ok(), path);
            let new = !nodes.contains_key(path);
            ensure(nodes, path, &mut out);
            out.events.extend(new.then(|| path.clone()));
            out
        }
        Op::Remove(path) => remove(nodes, path),
        Op::Start | Op::Commit | Op::Abort => unreachable!("no operation on nodes"),
    }
}

fn remove(nodes: &mut Nodes, path: &str) -> Outcome {
    if !nodes.contains_key(path) {
        let parent_there = nodes.contains_key(&parent(path));
        let answer = if parent_there {
            ok()
        } else {
            Err(StoreError::NotFound)
        };
        let mut out = Outcome::answer(answer, path);
        out.touched.push((parent(path), false));
        return out;
    }
    let mut out = Outcome::answer(ok(), path);
    let mut gone: Vec<String> = below(nodes, path).cloned().collect();
    gone.push(path.to_owned());
    for path in gone {
        nodes.remove(&path);
        out.touched
            .extend([(path.clone(), false), (path.clone(), true)]);
        out.changed
            .extend([(path.clone(), false), (path.clone(), true)]);
        out.events.push(path);
    }
    out.changed.push((parent(path), true));
    out
}

impl Model {
    fn new() -> Self {
        let nodes = [("/".to_owned(), String::new())].into();
        Self {
            nodes,
            ..Self::default()
        }
    }

    fn step(&mut self, who: usize, op: &Op) -> Answer {
        match op {
            Op::Start => {
                self.open[who] = Some(Copy {
                    base: self.nodes.clone(),
                    nodes: self.nodes.clone(),
                    started: self.log.len(),
                    touched: BTreeSet::new(),
                    writes: Vec::new(),
                });
                ok()
            }
            Op::Abort => self.open[who]
                .take()
                .map_or(Err(StoreError::NotFound), |_| ok()),
            Op::Commit => {
                let copy = self.open[who].take();
                copy.map_or(Err(StoreError::NotFound), |copy| self.commit(&copy))
            }
            op => match &mut self.open[who] {
                Some(copy) => {
                    let outcome = apply(&mut copy.nodes, op);
                    copy.touched.extend(outcome.touched);
                    copy.writes.push(op.clone());
                    outcome.answer
                }
                None => self.outside(op),
            },
        }
    }

    fn outside(&mut self, op: &Op) -> Answer {
        let outcome = apply(&mut self.nodes, op);
        self.log.extend(outcome.changed);
        self.events.extend(outcome.events);
        outcome.answer
    }

    fn commit(&mut self, copy: &Copy) -> Answer {
        // That a node came and went meanwhile is nothing to who saw that there was none.
        let there = |path: &String| copy.base.contains_key(path) || self.nodes.contains_key(path);
        let conflict = |change: &Aspect| copy.touched.contains(change) && there(&change.0);
        if self.log[copy.started..].iter().any(conflict) {
            return Err(StoreError::Conflict);
        }
        copy.writes.iter().for_each(|op| drop(self.outside(op)));
        ok()
    }
}

/// Both sides of the comparison.
struct Pair {
    bench: Bench,
    conns: [ConnId; 2],
    open: [u32; 2],
    model: Model,
    conflicts: usize,
}

impl Pair {
    fn step(&mut self, who: usize, op: &Op) -> Result<(), TestCaseError> {
        let (conn, tx) = (self.conns[who], self.open[who]);
        let request = match op {
            Op::Read(path) => Request::Read(p(path)),
            Op::List(path) => Request::Directory(p(path)),
            Op::Write(path, value) => Request::Write(p(path), value.clone().into()),
            Op::Mkdir(path) => Request::Mkdir(p(path)),
            Op::Remove(path) => Request::Rm(p(path)),
            Op::Start if tx == 0 => {
                self.open[who] = self.bench.start(conn);
                self.model.step(who, op).unwrap();
                return Ok(());
            }
            Op::Start => return Ok(()),
            Op::Commit => Request::TransactionEnd { commit: true },
            Op::Abort => Request::TransactionEnd { commit: false },
        };
        if matches!(op, Op::Commit | Op::Abort) {
            self.open[who] = 0;
        }
        let answer = self
            .bench
            .ask_in(conn, tx, &request)
            .map(|text| text.replace('\0', " "));
        self.conflicts += usize::from(answer == Err(StoreError::Conflict));
        prop_assert_eq!(answer, self.model.step(who, op), "{:?} by {}", op, who);
        self.compare_events()
    }

    /// The watch on `/` hears of changed paths, those on every path of what went with its parent.
    fn compare_events(&mut self) -> Result<(), TestCaseError> {
        let events: BTreeSet<String> = self.bench.events(self.bench.dom0).into_iter().collect();
        prop_assert_eq!(events, std::mem::take(&mut self.model.events));
        Ok(())
    }
}

fn compare(steps: &[(usize, Op)]) -> Result<usize, TestCaseError> {
    let mut bench = Bench::new();
    for path in all_paths() {
        let watch = xenstore_watch(&path);
        bench.ask(bench.dom0, &watch).unwrap();
    }
    bench.events(bench.dom0);
    let conns = [(); 2].map(|()| bench.server.connect(abi::DomId::DOM0));
    let mut pair = Pair {
        bench,
        conns,
        open: [0; 2],
        model: Model::new(),
        conflicts: 0,
    };
    for (who, op) in steps {
        pair.step(*who, op)?;
    }
    prop_assert_eq!(pair.bench.server.nodes(), pair.model.nodes.len());
    Ok(pair.conflicts)
}

/// Depth 0: an event for exactly this path.
fn xenstore_watch(path: &str) -> Request {
    Request::Watch {
        path: p(path),
        token: "t".to_owned(),
        depth: Some(0),
    }
}

fn all_paths() -> Vec<String> {
    let mut paths = Vec::new();
    for a in ["a", "a-b", "b"] {
        paths.push(format!("/{a}"));
        for b in ["a", "b"] {
            paths.extend([format!("/{a}/{b}"), format!("/{a}/{b}/c")]);
        }
    }
    paths
}

fn op() -> impl Strategy<Value = Op> {
    let path = || prop::sample::select(all_paths());
    prop_oneof![
        2 => path().prop_map(Op::Read),
        2 => path().prop_map(Op::List),
        1 => Just(Op::List("/".to_owned())),
        4 => (path(), "[a-c]").prop_map(|(path, value)| Op::Write(path, value)),
        1 => path().prop_map(Op::Mkdir),
        2 => path().prop_map(Op::Remove),
        3 => Just(Op::Start),
        3 => Just(Op::Commit),
        1 => Just(Op::Abort),
    ]
}

proptest! {
    #![proptest_config(super::config(256))]

    #[test]
    fn the_server_does_what_a_naive_model_does(
        steps in prop::collection::vec((0_usize..2, op()), 1..80),
    ) {
        compare(&steps)?;
    }
}

#[test]
fn the_model_knows_conflicts() {
    let write = Op::Write("/a".to_owned(), "x".to_owned());
    let steps = [
        (0, Op::Start),
        (0, write.clone()),
        (1, write),
        (0, Op::Commit),
    ];
    assert_eq!(compare(&steps).unwrap(), 1);
}
