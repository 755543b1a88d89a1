//! The broker: the one file where a path becomes a descriptor.
//!
//! Opening, judging and locking an image may take long (a lock that a dying process still holds is
//! waited for), so each image has a helper thread of its own, which ends with its answer. The
//! answer waits in a channel; a byte in a pipe that the reactor reads says that it is there.
//!
//! It knows nothing of guests. Invariant: the broker keeps no copy of a descriptor it handed on,
//! for a copy kept would be a lock never freed.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, PipeReader, PipeWriter, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use blkback::Refusal;
use disk::lock;
use disk::prepare::{OPEN_FLAGS, Prepared, prepare};
use disk::spec::ImageSpec;

/// Stack of a helper thread: it formats one line of text at most.
const STACK_BYTES: usize = 64 << 10;

/// An image to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The device that asks: its owner number.
    pub owner: u16,
    /// `params` of the backend: `[FORMAT:]PATH`.
    pub params: String,
    /// Whether it is opened for reading alone.
    pub read_only: bool,
}

/// An answer: for whom, and the judged and locked image or one line why not.
pub type Answer = (u16, Result<Prepared, Refusal>);

/// See the head of this file.
#[derive(Debug)]
pub struct Broker {
    bell: Arc<PipeWriter>,
    answers: Receiver<Answer>,
    answer: Sender<Answer>,
    pending: usize,
}

impl Broker {
    /// A broker with nothing to do, and what becomes readable with each answer. It has no thread.
    pub fn new() -> io::Result<(Self, PipeReader)> {
        let (answer, answers) = channel();
        let (heard, bell) = io::pipe()?;
        Ok((
            Self {
                bell: Arc::new(bell),
                answers,
                answer,
                pending: 0,
            },
            heard,
        ))
    }

    /// Images asked for and not yet answered.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending
    }

    /// Starts to open an image.
    pub fn open(&mut self, image: Image) {
        self.pending += 1;
        let (owner, answer, bell) = (image.owner, self.answer.clone(), Arc::clone(&self.bell));
        let work = move || {
            let result = open(&image);
            // The loop may be gone already; then nobody waits for an answer.
            drop(answer.send((image.owner, result)));
            drop((&*bell).write(b"."));
        };
        let builder = thread::Builder::new()
            .name("halcyon-image".into())
            .stack_size(STACK_BYTES);
        if let Err(error) = builder.spawn(work) {
            let refusal = Refusal::new(Refusal::ENOMEM, &error);
            drop(self.answer.send((owner, Err(refusal))));
            drop((&*self.bell).write(b"."));
        }
    }

    /// The next answer, if one is there.
    pub fn answer(&mut self) -> Option<Answer> {
        let answer = self.answers.try_recv().ok()?;
        self.pending -= 1;
        Some(answer)
    }
}

/// Opens, judges and locks, in that order: a file that cannot be served must not be waited for.
fn open(image: &Image) -> Result<Prepared, Refusal> {
    let spec = ImageSpec::parse(image.params.as_bytes())
        .map_err(|error| Refusal::new(Refusal::EINVAL, &error))?;
    let file = open_path(&spec.path, image.read_only)
        .map_err(|error| refused(&spec.path, errno(&error), &remedy(&error, image.read_only)))?;
    let prepared = prepare(file.into(), &spec, image.read_only)
        .map_err(|error| refused(&spec.path, Refusal::EINVAL, &error.to_string()))?;
    for warning in &prepared.warnings {
        tracing::warn!("{}: {warning}", spec.path.display());
    }
    lock::wait(
        prepared.fd.as_fd(),
        lock::Mode::of(image.read_only),
        lock::LIMIT,
    )
    .map_err(|error| refused(&spec.path, libc::EBUSY, &error.to_string()))?;
    Ok(prepared)
}

fn open_path(path: &Path, read_only: bool) -> io::Result<File> {
    // The standard library adds O_CLOEXEC; `prepare` adds O_DIRECT, which open() would refuse
    // without a word.
    OpenOptions::new()
        .read(true)
        .write(!read_only)
        .custom_flags(OPEN_FLAGS)
        .open(path)
}

/// What the system said, in words that name the remedy.
fn remedy(error: &io::Error, read_only: bool) -> String {
    match error.kind() {
        ErrorKind::NotFound => "no such file".into(),
        ErrorKind::PermissionDenied if read_only => "no permission to read it".into(),
        ErrorKind::PermissionDenied => "no permission to read and write it".into(),
        ErrorKind::IsADirectory => "is a directory, not a file or a block device".into(),
        ErrorKind::ReadOnlyFilesystem => "its file system is mounted read-only; use mode r".into(),
        ErrorKind::ExecutableFileBusy => "is a program that is running".into(),
        _ => error.to_string(),
    }
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(Refusal::EIO)
}

fn refused(path: &Path, errno: i32, why: &str) -> Refusal {
    Refusal::new(
        errno,
        &io::Error::other(format!("{}: {why}", path.display())),
    )
}
