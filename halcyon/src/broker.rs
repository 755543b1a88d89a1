//! The broker: the one file where a path becomes a descriptor.
//!
//! A VM process that the host daemon has started asks the daemon to open ([`open_file`] runs there
//! then); any other one opens itself.
//!
//! Opening, judging and locking an image may take long (a lock that a dying process still holds is
//! waited for, see [`lock`]; how long, says [`patience`]), so each image has a helper thread of its own, which ends with its
//! answer. The answer waits in its job; a byte in a pipe that the reactor reads says that it is
//! there.
//!
//! It knows nothing of guests. Invariant: the broker keeps no copy of a descriptor it handed on,
//! for a copy kept would be a lock never freed.

use std::ffi::CStr;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, PipeReader, PipeWriter, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use blkback::{DeviceId, LockBy, Refusal};
use disk::prepare::OPEN_FLAGS;
use disk::spec::ImageSpec;
use reactor::live::helper::{Helper, Work};

use lock::{Found, Siblings};

mod asking;
mod in_use;
pub mod lock;
pub mod patience;
pub mod socket;
pub mod wire;

/// An image to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The device that asks: its owner number.
    pub owner: u16,
    /// The device that asks, as xenstore names it.
    pub device: DeviceId,
    /// `params` of the backend: `[FORMAT:]PATH`.
    pub params: String,
    /// Whether it is opened for reading alone.
    pub read_only: bool,
    /// When its lock is needed.
    pub lock_by: LockBy,
}

/// An answer: for whom, and the judged image with its lock, or promised, or one line why not.
pub type Answer = (u16, Result<Found, Refusal>);

/// See the head of this file.
pub struct Broker {
    /// Where the host daemon opens images, if it does.
    daemon: Option<Arc<Path>>,
    bell: Arc<PipeWriter>,
    siblings: Arc<Siblings>,
    /// Images being opened, and those whose answer was not taken yet.
    jobs: Vec<Job>,
}

/// One image and the thread that opens it, which is waited for when this is dropped.
struct Job {
    /// `None` if there is no thread: the answer is there already.
    helper: Option<Helper>,
    opening: Arc<Opening>,
}

/// What the helper thread and the broker share.
struct Opening {
    daemon: Option<Arc<Path>>,
    image: Image,
    /// When it is given up.
    until: Instant,
    siblings: Arc<Siblings>,
    answer: Mutex<Option<Answer>>,
    bell: Arc<PipeWriter>,
}

impl Broker {
    /// A broker with nothing to do, and what becomes readable with each answer. It has no thread.
    /// Images are opened by the host daemon that listens at `daemon`, or else here; `siblings` may
    /// pass locks on to us.
    pub fn new(siblings: Siblings, daemon: Option<&Path>) -> io::Result<(Self, PipeReader)> {
        let (heard, bell) = io::pipe()?;
        Ok((
            Self {
                daemon: daemon.map(Arc::from),
                bell: Arc::new(bell),
                siblings: Arc::new(siblings),
                jobs: Vec::new(),
            },
            heard,
        ))
    }

    /// Images asked for whose answer was not taken yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.jobs.len()
    }

    /// Starts to open an image.
    pub fn open(&mut self, image: Image) {
        let (answer, bell) = (Mutex::new(None), Arc::clone(&self.bell));
        let opening = Arc::new(Opening {
            daemon: self.daemon.clone(),
            until: Instant::now() + patience::image(image.lock_by),
            image,
            siblings: Arc::clone(&self.siblings),
            answer,
            bell,
        });
        let helper = Helper::start(&opening).map_err(|error| {
            opening.answered(Err(Refusal::new(Refusal::ENOMEM, &error)));
        });
        self.jobs.push(Job {
            helper: helper.ok(),
            opening,
        });
    }

    /// The next answer, if one is there.
    pub fn answer(&mut self) -> Option<Answer> {
        let answers = |job: &Job| job.opening.lock().is_some();
        let at = self.jobs.iter().position(answers)?;
        let Job { helper, opening } = self.jobs.swap_remove(at);
        // It has said all it had to say, and is about to end.
        drop(helper);
        opening.lock().take()
    }
}

impl Opening {
    fn answered(&self, result: Result<Found, Refusal>) {
        *self.lock() = Some((self.image.owner, result));
        // A pipe that is full has been heard already.
        drop((&*self.bell).write(b"."));
    }

    fn lock(&self) -> MutexGuard<'_, Option<Answer>> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work for Opening {
    const NAME: &CStr = c"halcyon-image";

    fn work(&self) {
        self.answered(self.open());
    }
}

impl Opening {
    fn open(&self) -> Result<Found, Refusal> {
        let image = &self.image;
        let spec = ImageSpec::parse(image.params.as_bytes())
            .map_err(|error| Refusal::new(Refusal::EINVAL, &error))?;
        let file = match &self.daemon {
            Some(socket) => asking::ask(socket, image, self.until)?,
            None => open_file(&spec, image.read_only)?,
        };
        let found = lock::Wanted {
            spec: &spec,
            read_only: image.read_only,
            lock_by: image.lock_by,
            until: self.until,
        };
        let found = found
            .judge_and_lock(file, &self.siblings)
            .map_err(|error| refused(&spec.path, error.errno(), &error.to_string()))?;
        say(&spec.path, &found);
        Ok(found)
    }
}

fn say(path: &Path, found: &Found) {
    let path = path.display();
    match found {
        Found::Locked(prepared) => {
            for warning in &prepared.warnings {
                tracing::warn!("{path}: {warning}");
            }
        }
        Found::Promised(_) => {
            tracing::info!("{path}: another domain of this VM has it still: waited for on connect");
        }
    }
}

/// Opens the file of an image, unless it is to be written to and this domain uses it itself. What
/// it is, is judged by whoever serves it.
pub fn open_file(spec: &ImageSpec, read_only: bool) -> Result<OwnedFd, Refusal> {
    let path = &spec.path;
    let file = open_path(path, read_only)
        .map_err(|error| refused(path, errno(&error), &remedy(&error, read_only)))?;
    let used = if read_only {
        None
    } else {
        in_use::by_this_domain(&file)
    };
    match used {
        Some(how) => Err(refused(path, libc::EBUSY, &how)),
        None => Ok(file.into()),
    }
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
