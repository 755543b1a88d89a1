//! Where VM processes have their images opened.
//!
//! A process is answered if it serves the guest it asks for (the kernel says who asks, the claim
//! says who serves) and if what it asks for stands in xenstore for a device of that guest. Opening
//! may take for ever, a file server may be away; so each image has a thread, which ends with its
//! answer.
//!
//! It asks xenstore nothing itself. Invariant: no copy of a descriptor outlives its answer, for a
//! copy kept would be a lock never freed.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use abi::io::blkif::keys;
use blkback::Refusal;
use disk::spec::ImageSpec;
use xenstore::{Reply, Step, StoreError};

use super::tree::{self, Name};
use super::wait::{Source, Waiter};
use crate::broker::open_file;
use crate::broker::socket::{Listener, Socket};
use crate::broker::wire::{Answer, Question};

/// Connections and images being opened, at a time. Whoever comes after that is turned away.
const ASKERS_MAX: usize = 256;
/// An open and a message.
const STACK_BYTES: usize = 64 << 10;

/// A process that has connected.
pub(super) struct Asker {
    socket: Socket,
    /// Who it is.
    pub(super) pid: u32,
    /// Counted for as long as it is here or its image is being opened.
    _place: Arc<()>,
}

/// See the head of this file.
pub(super) struct Desk {
    listener: Listener,
    askers: BTreeMap<u32, Asker>,
    last: u32,
    places: Arc<()>,
}

impl Desk {
    /// Opens the desk at `socket`.
    pub(super) fn open(socket: &Path, waiter: &Waiter) -> io::Result<Self> {
        let listener = Listener::bind(socket)?;
        waiter.add(&listener, Source::Broker)?;
        Ok(Self {
            listener,
            askers: BTreeMap::new(),
            last: 0,
            places: Arc::new(()),
        })
    }

    /// Somebody has connected.
    pub(super) fn accept(&mut self, waiter: &Waiter) {
        while let Ok((socket, pid)) = self.listener.accept() {
            let asker = Asker {
                socket,
                pid,
                _place: Arc::clone(&self.places),
            };
            if Arc::strong_count(&self.places) > ASKERS_MAX {
                asker.refuse(libc::EAGAIN, "the host daemon is opening too many images");
                continue;
            }
            self.last = self.last.wrapping_add(1);
            match waiter.add(&asker.socket, Source::Asker(self.last)) {
                Ok(()) => drop(self.askers.insert(self.last, asker)),
                Err(error) => asker.refuse(Refusal::ENOMEM, &error.to_string()),
            }
        }
    }

    /// An asker has said something, or has gone: its question, if it has one.
    pub(super) fn hear(&mut self, number: u32) -> Option<(Asker, Question)> {
        let asker = self.askers.remove(&number)?;
        let (message, _) = asker.socket.receive().ok()??;
        match Question::parse(&message) {
            Some(question) => Some((asker, question)),
            None => {
                asker.refuse(Refusal::EINVAL, "the host daemon is of another version");
                None
            }
        }
    }
}

impl Asker {
    /// Says no.
    pub(super) fn refuse(&self, errno: i32, text: &str) {
        answer(
            &self.socket,
            Err(Refusal::new(errno, &io::Error::other(text.to_owned()))),
        );
    }

    /// Opens what was asked for, if it is what `replies` to [`steps`] say, and answers. Returns
    /// before that.
    pub(super) fn serve(self, question: &Question, replies: &[Result<Reply, StoreError>]) {
        match permitted(question, replies) {
            Ok(spec) => self.open(spec, question.read_only),
            Err(why) => self.refuse(libc::EACCES, why),
        }
    }

    fn open(self, spec: ImageSpec, read_only: bool) {
        let asker = Arc::new(self);
        let theirs = Arc::clone(&asker);
        let work = move || answer(&theirs.socket, open_file(&spec, read_only));
        let thread = thread::Builder::new().name("halcyon-open".into());
        if let Err(error) = thread.stack_size(STACK_BYTES).spawn(work) {
            asker.refuse(Refusal::ENOMEM, &error.to_string());
        }
    }
}

/// Reads what decides on a question.
pub(super) fn steps(question: &Question) -> Option<Vec<Step>> {
    let name = Name {
        kind: question.kind,
        devid: question.devid,
    };
    let read = |key| tree::read(question.domid, name, key);
    Some(vec![
        read(keys::PARAMS)?,
        read(keys::MODE)?,
        tree::vm(question.domid)?,
    ])
}

/// Whether the toolstack gave the guest what is asked for.
fn permitted(
    question: &Question,
    replies: &[Result<Reply, StoreError>],
) -> Result<ImageSpec, &'static str> {
    let value = |at: usize| replies.get(at)?.as_ref().ok()?.value();
    if value(0) != Some(question.params.as_bytes()) {
        return Err("this is not what stands in xenstore for the device");
    }
    let writable = value(1).is_some_and(|mode| mode.contains(&b'w'));
    if !question.read_only && !writable {
        return Err("the device is for reading only");
    }
    ImageSpec::parse(question.params.as_bytes()).map_err(|_| "its params name no image")
}

fn answer(socket: &Socket, opened: Result<std::os::fd::OwnedFd, Refusal>) {
    let sent = match opened {
        Ok(fd) => socket.send(&Answer::Opened.to_bytes(), Some(fd.as_fd())),
        Err(Refusal { errno, text }) => socket.send(&Answer::Refused(errno, text).to_bytes(), None),
    };
    if let Err(error) = sent {
        tracing::warn!("answering a VM process: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::KindArg;
    use abi::DomId;

    fn question(read_only: bool, params: &str) -> Question {
        Question {
            domid: DomId(7),
            kind: KindArg::Vbd3,
            devid: 51712,
            read_only,
            params: params.into(),
        }
    }

    fn stands(params: &str, mode: &str) -> Vec<Result<Reply, StoreError>> {
        [params, mode]
            .map(|text| Ok(Reply::Value(text.into())))
            .to_vec()
    }

    #[test]
    fn a_process_gets_what_xenstore_gives_its_guest() {
        let asked = permitted(&question(false, "raw:/a"), &stands("raw:/a", "w"));
        assert_eq!(asked.unwrap().path, Path::new("/a"));
        assert!(permitted(&question(true, "raw:/a"), &stands("raw:/a", "r")).is_ok());
    }

    #[test]
    fn a_process_gets_nothing_else() {
        assert!(permitted(&question(false, "/etc/shadow"), &stands("raw:/a", "w")).is_err());
        assert!(permitted(&question(false, "raw:/a"), &stands("raw:/a", "r")).is_err());
        let gone = [Err(StoreError::NotFound), Err(StoreError::NotFound)];
        assert!(permitted(&question(true, "raw:/a"), &gone).is_err());
    }
}
