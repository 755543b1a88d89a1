//! What a device reads and writes in the store, as batches; no decisions.
//!
//! Knows names and formats. Invariant: a look reads every node that a decision needs, whatever an
//! event was about, and what belongs together is written at once, the state last.

use abi::DomId;
use abi::io::blkif::keys;
use abi::io::xenbus::XenbusState;
use disk::Geometry;
use xenstore::{Batch, Path, Reply, Step, StoreError};

use crate::config::{self, BACKEND_KEYS, Description, FRONTEND_KEYS, Invalid, Values};
use crate::device::DeviceId;
use crate::report::Refusal;

/// Answers to a batch, in the order of its steps.
pub(crate) type Replies = [Result<Reply, StoreError>];

/// Who serves the device: a name from XenServer's blkback, which no header has.
const KTHREAD_PID: &str = "kthread-pid";

/// The kind that libxl starts a process for and runs no script.
const QDISK: &str = "qdisk";

/// Why a join of a checked directory and a name of ours cannot fail.
const SHORT: &str = "directory of checked length, constant name";

/// The directories of a device.
pub(crate) struct Nodes {
    backend: Path,
    frontend: Option<Path>,
    error: Path,
    /// `params` as the device was introduced with it: what it is made of.
    introduced: Option<Vec<u8>>,
    /// `state` and `params` as the last look read them, to the letter.
    state: Vec<u8>,
    params: Option<Vec<u8>>,
    /// Of every watch of this device.
    token: String,
    /// The process that serves it, where others are to know.
    pid: Option<u32>,
    /// The kind is one that toolstacks run a hotplug script for.
    may_have_script: bool,
    /// The toolstack runs a hotplug script once we are in InitWait, and reads the state before.
    has_script: bool,
}

/// What a look found.
pub(crate) struct Look {
    /// Our `state`.
    pub(crate) ours: XenbusState,
    /// The frontend's `state`.
    pub(crate) theirs: XenbusState,
    /// Whether the device shall outlive the frontend's connection.
    pub(crate) online: bool,
    /// Whether the device is made of something else than it was.
    pub(crate) differs: bool,
    /// The toolstack has seen InitWait: its hotplug script has run, or it has none.
    pub(crate) released: bool,
    /// The frontend's offer, if it was looked for.
    pub(crate) offer: Values,
}

impl Nodes {
    /// `backend_domid` is the domain that this process lives in.
    pub(crate) fn new(
        id: &DeviceId,
        backend_domid: DomId,
        owner: u16,
    ) -> Result<Self, xenstore::BadPath> {
        let home = Path::home(backend_domid);
        let name = format!("backend/{id}");
        if name.len() > config::DIRECTORY_MAX {
            return Err(xenstore::BadPath::TooLong);
        }
        Ok(Self {
            backend: home.join(&name)?,
            frontend: None,
            error: home.join(format!("error/{name}"))?,
            introduced: None,
            state: Vec::new(),
            params: None,
            token: owner.to_string(),
            pid: None,
            may_have_script: id.kind != QDISK,
            has_script: false,
        })
    }

    /// Publishes this process beside Connected.
    pub(crate) fn served_by(&mut self, pid: u32) {
        self.pid = Some(pid);
    }

    /// Reads what the toolstack wrote about the device.
    pub(crate) fn introduce(&self) -> Batch {
        Batch::new(
            BACKEND_KEYS
                .iter()
                .map(|key| read(&self.backend, key))
                .collect(),
        )
    }

    /// Whether there is a device yet, by the answer to [`Nodes::introduce`]: a toolstack that does
    /// not write it in one transaction makes the directory first, and the state comes last.
    pub(crate) fn is_written(replies: &Replies) -> bool {
        values(&BACKEND_KEYS, replies).get(keys::STATE).is_some()
    }

    /// The answer to [`Nodes::introduce`]: learns the frontend's directory, returns the rest.
    pub(crate) fn introduced(
        &mut self,
        replies: &Replies,
        domid: DomId,
    ) -> Result<Description, Invalid> {
        let values = values(&BACKEND_KEYS, replies);
        self.introduced = values.get(keys::PARAMS).map(<[u8]>::to_vec);
        let script = values.get(keys::SCRIPT).unwrap_or_default();
        self.has_script = self.may_have_script && !script.is_empty();
        self.frontend = Some(config::frontend(&values, domid)?);
        Description::parse(&values)
    }

    /// Whether the frontend's directory is known.
    pub(crate) fn knows_frontend(&self) -> bool {
        self.frontend.is_some()
    }

    /// Sets the watches: one node each, so that nothing else a guest writes wakes us (XSA-349).
    pub(crate) fn watch(&self) -> Batch {
        let token = || self.token.clone();
        let watch = |path| Step::Watch {
            path,
            token: token(),
        };
        Batch::new(self.watched().map(watch).collect())
    }

    /// Takes the watches back, and what there was to report: nobody is there to read it any more.
    pub(crate) fn unwatch(&self) -> Batch {
        let token = || self.token.clone();
        let unwatch = |path| Step::Unwatch {
            path,
            token: token(),
        };
        let words = Step::Remove(self.error.clone());
        Batch::new(self.watched().map(unwatch).chain([words]).collect())
    }

    /// Reads where both ends are and, if asked, what the frontend offers. The states come first:
    /// a frontend writes its keys before it writes its state, so what is read after the state is
    /// at least as new.
    pub(crate) fn look(&self, offer: bool) -> Batch {
        let mut steps = vec![
            read(&self.backend, keys::STATE),
            read(&self.backend, keys::ONLINE),
            read(&self.backend, keys::PARAMS),
            read(&self.backend, keys::HOTPLUG_STATUS),
        ];
        if let Some(frontend) = &self.frontend {
            steps.push(read(frontend, keys::STATE));
            let wanted = FRONTEND_KEYS.iter().filter(|_| offer);
            steps.extend(wanted.map(|key| read(frontend, key)));
        }
        Batch::new(steps)
    }

    /// The answer to [`Nodes::look`]. What could not be read is not known to be absent; but where
    /// our own directory is gone, nothing else matters.
    pub(crate) fn looked(&mut self, replies: &Replies) -> Result<Look, StoreError> {
        if replies.first() != Some(&Err(StoreError::NotFound)) {
            readable(replies)?;
        }
        let node = |index: usize| replies.get(index).and_then(value);
        let state = |index| node(index).map_or(XenbusState::UNKNOWN, XenbusState::parse);
        self.state = node(0).unwrap_or_default().to_vec();
        self.params = node(2).map(<[u8]>::to_vec);
        Ok(Look {
            ours: state(0),
            online: node(1) == Some(b"1"),
            differs: self.introduced.is_some() && self.introduced != self.params,
            released: !self.has_script || node(3).is_some_and(|status| !status.is_empty()),
            theirs: state(4),
            offer: values(&FRONTEND_KEYS, replies.get(5..).unwrap_or_default()),
        })
    }

    /// Publishes InitWait with the features that frontends look for this early, and takes back
    /// what an earlier attempt had to report. Where there is a script, it says that it is done.
    pub(crate) fn init_wait(&self, geometry: &Geometry) -> Batch {
        let flush = if geometry.flush { "1" } else { "0" };
        let mut steps = vec![
            Step::Remove(node(&self.backend, keys::HOTPLUG_ERROR)),
            Step::Remove(self.error.clone()),
            self.write(keys::FEATURE_FLUSH_CACHE, &flush),
        ];
        if !self.has_script {
            steps.push(self.write(keys::HOTPLUG_STATUS, &"connected"));
        }
        self.switch(XenbusState::INIT_WAIT, steps)
    }

    /// Publishes Connected with the properties of the disk. Sectors count 512 bytes (`io/blkif.h`).
    pub(crate) fn connected(&self, geometry: &Geometry, info: u32) -> Batch {
        let mut steps = vec![
            self.write(keys::SECTORS, &geometry.sectors),
            self.write(keys::SECTOR_SIZE, &geometry.sector_size_bytes),
            self.write(
                keys::PHYSICAL_SECTOR_SIZE,
                &geometry.physical_sector_size_bytes,
            ),
            self.write(keys::INFO, &info),
        ];
        steps.extend(self.pid.map(|pid| self.write(KTHREAD_PID, &pid)));
        self.switch(XenbusState::CONNECTED, steps)
    }

    /// Publishes Closing, and why, where Linux's `xenbus_dev_error` writes it and where xl looks.
    pub(crate) fn failed(&self, refusal: &Refusal) -> Batch {
        self.switch(XenbusState::CLOSING, self.words(refusal))
    }

    /// Publishes why, with InitWait: libxl waits for this state and for no other, and then runs the
    /// script, which finds the words and has them shown.
    pub(crate) fn announce(&self, refusal: &Refusal) -> Batch {
        let words = self.reasons(refusal).to_vec();
        self.switch(XenbusState::INIT_WAIT, words)
    }

    /// Publishes why, whatever the state says.
    pub(crate) fn report(&self, refusal: &Refusal) -> Batch {
        Batch::transaction(self.expected().chain(self.words(refusal)).collect())
    }

    fn words(&self, refusal: &Refusal) -> Vec<Step> {
        let status = self.write(keys::HOTPLUG_STATUS, &"error");
        self.reasons(refusal).into_iter().chain([status]).collect()
    }

    fn reasons(&self, refusal: &Refusal) -> [Step; 2] {
        [
            Step::Write(node(&self.error, "error"), refusal.node_value()),
            self.write(keys::HOTPLUG_ERROR, refusal),
        ]
    }

    /// Publishes Closed for good: the image is not open any more.
    pub(crate) fn closed(&self) -> Batch {
        let steps = vec![Step::Remove(node(&self.backend, keys::HOTPLUG_STATUS))];
        self.switch(XenbusState::CLOSED, steps)
    }

    /// Publishes a state with nothing else.
    pub(crate) fn plain(&self, state: XenbusState) -> Batch {
        self.switch(state, Vec::new())
    }

    /// One transaction, the state last. It does not happen if the toolstack has written our state
    /// since the last look, or has removed or replaced the directory: what is gone must not come
    /// back, and what was asked for meanwhile must not be overwritten.
    fn switch(&self, state: XenbusState, steps: Vec<Step>) -> Batch {
        let switch = self.write(keys::STATE, &state);
        Batch::transaction(self.expected().chain(steps).chain([switch]).collect())
    }

    /// Whether a switch met a directory that had changed since the last look.
    pub(crate) fn is_outdated(&self, replies: &Replies) -> bool {
        let changed = [Err(StoreError::NotFound), Err(StoreError::Conflict)];
        let expected = replies.iter().zip(self.expected());
        expected
            .map(|(reply, _)| reply)
            .any(|reply| changed.contains(reply))
    }

    fn expected(&self) -> impl Iterator<Item = Step> {
        let expect = |key, value: &[u8]| Step::Expect(node(&self.backend, key), value.to_vec());
        let params = self
            .params
            .as_deref()
            .map(|params| expect(keys::PARAMS, params));
        [expect(keys::STATE, &self.state)].into_iter().chain(params)
    }

    fn write(&self, key: &str, value: &dyn std::fmt::Display) -> Step {
        Step::Write(node(&self.backend, key), value.to_string().into_bytes())
    }

    fn watched(&self) -> impl Iterator<Item = Path> {
        let ours = [keys::STATE, keys::ONLINE].map(|key| node(&self.backend, key));
        let theirs = self
            .frontend
            .as_ref()
            .map(|frontend| node(frontend, keys::STATE));
        let script = self
            .has_script
            .then(|| node(&self.backend, keys::HOTPLUG_STATUS));
        ours.into_iter().chain(script).chain(theirs)
    }
}

fn node(directory: &Path, key: &str) -> Path {
    directory.join(key).expect(SHORT)
}

fn read(directory: &Path, key: &str) -> Step {
    Step::Read(node(directory, key))
}

/// Only ENOENT says that a node is absent; after any other error nothing is known of it.
pub(crate) fn readable(replies: &Replies) -> Result<(), StoreError> {
    let mut errors = replies.iter().filter_map(|reply| reply.as_ref().err());
    let first = errors.find(|error| **error != StoreError::NotFound);
    first.map_or(Ok(()), |error| Err(*error))
}

fn value(reply: &Result<Reply, StoreError>) -> Option<&[u8]> {
    reply.as_ref().ok().and_then(Reply::value)
}

fn values(keys: &[&'static str], replies: &[Result<Reply, StoreError>]) -> Values {
    let found = keys.iter().zip(replies);
    found
        .map(|(key, reply)| (*key, value(reply).map(<[u8]>::to_vec)))
        .collect()
}
