//! Where VM processes have their images opened.
//!
//! A process is answered if it serves the guest it asks for (the kernel says who asks, the claim
//! says who serves) and if what it asks for stands in xenstore for a device of that guest. Opening
//! may take for ever, a file server may be away; so each image has a thread, which ends with its
//! answer.
//!
//! It asks xenstore nothing itself. Invariant: no copy of a descriptor outlives its answer, for a
//! copy kept would be a lock never freed; and nobody is turned away for coming while there is much
//! to do: who comes when every place is taken waits in the socket's queue, and who asks for more
//! than a guest may have opened at a time waits here ([`super::lanes`]).

use std::collections::BTreeMap;
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use abi::DomId;
use blkback::Refusal;
use disk::spec::ImageSpec;
use xenstore::{Reply, StoreError};

use super::lanes::Lanes;
use super::permit::permitted;
use super::wait::{Source, Waiter};
use crate::broker::open_file;
use crate::broker::socket::{Listener, Socket};
use crate::broker::wire::{Answer, Question};

/// Connections and images being opened, at a time: what a hundred guests have under way whose
/// storage hangs.
pub(super) const ASKERS_MAX: usize = 1024;
/// An open and a message.
const STACK_BYTES: usize = 64 << 10;

/// A process that has connected.
pub(super) struct Asker {
    socket: Socket,
    number: u32,
    /// Who it is.
    pub(super) pid: u32,
    /// Counted for as long as it is here or its image is being opened.
    _place: Arc<()>,
}

/// See the head of this file.
pub(super) struct Desk {
    listener: Listener,
    /// Whether those who come are let in.
    is_open: bool,
    askers: BTreeMap<u32, Asker>,
    last: u32,
    places: Arc<()>,
    places_max: usize,
    lanes: Lanes<Order>,
    done: Arc<Done>,
    heard: PipeReader,
}

/// An image to open.
struct Order {
    asker: Asker,
    domid: DomId,
    spec: ImageSpec,
    read_only: bool,
}

/// What the threads tell.
struct Done {
    /// Whose images were opened, or were not.
    of: Mutex<Vec<DomId>>,
    /// A byte for each; there are never more than places, which a pipe takes without waiting.
    bell: PipeWriter,
}

impl Desk {
    /// Opens the desk at `socket`, with so many places.
    pub(super) fn open(socket: &Path, waiter: &Waiter, places_max: usize) -> io::Result<Self> {
        let listener = Listener::bind(socket)?;
        waiter.add(&listener, Source::Broker)?;
        let (heard, bell) = io::pipe()?;
        waiter.add(&heard, Source::Opened)?;
        let of = Mutex::default();
        Ok(Self {
            listener,
            is_open: true,
            askers: BTreeMap::new(),
            last: 0,
            places: Arc::new(()),
            places_max,
            lanes: Lanes::new(),
            done: Arc::new(Done { of, bell }),
            heard,
        })
    }

    /// Somebody has connected.
    pub(super) fn accept(&mut self, waiter: &Waiter) {
        while self.has_room()
            && let Ok((socket, pid)) = self.listener.accept()
        {
            self.last = self.last.wrapping_add(1);
            let asker = Asker {
                socket,
                number: self.last,
                pid,
                _place: Arc::clone(&self.places),
            };
            match waiter.add(&asker.socket, Source::Asker(self.last)) {
                Ok(()) => drop(self.askers.insert(self.last, asker)),
                Err(error) => asker.refuse(Refusal::ENOMEM, &error.to_string()),
            }
        }
        self.breathe(waiter);
    }

    /// Lets people in exactly while there is room.
    pub(super) fn breathe(&mut self, waiter: &Waiter) {
        let has_room = self.has_room();
        if has_room == self.is_open {
            return;
        }
        match waiter.listen(&self.listener, Source::Broker, has_room) {
            Ok(()) => self.is_open = has_room,
            Err(error) => tracing::error!("listening to VM processes: {error}"),
        }
    }

    fn has_room(&self) -> bool {
        // One of the places is the desk's own.
        Arc::strong_count(&self.places) <= self.places_max
    }

    /// An asker has said something, or has gone: its question, if it has one.
    pub(super) fn hear(&mut self, waiter: &Waiter, number: u32) -> Option<(Asker, Question)> {
        // One that waits has no more to say.
        drop(self.lanes.give_up(number));
        let asker = self.askers.remove(&number)?;
        // It may go while its image is being opened, which would be told again and again.
        drop(waiter.remove(&asker.socket, Source::Asker(number)));
        let (message, _) = asker.socket.receive().ok()??;
        match Question::parse(&message) {
            Some(question) => Some((asker, question)),
            None => {
                asker.refuse(Refusal::EINVAL, "the host daemon is of another version");
                None
            }
        }
    }

    /// Opens what was asked for, if it is what `replies` to [`super::permit::steps`] say, and answers. Returns
    /// before that.
    pub(super) fn serve(
        &mut self,
        waiter: &Waiter,
        asker: Asker,
        question: &Question,
        replies: &[Result<Reply, StoreError>],
    ) {
        let spec = match permitted(question, replies) {
            Ok(spec) => spec,
            Err(why) => return asker.refuse(libc::EACCES, why),
        };
        let (domid, number) = (question.domid, asker.number);
        // It is heard of again if it goes while it waits.
        if let Err(error) = waiter.add(&asker.socket, Source::Asker(number)) {
            return asker.refuse(Refusal::ENOMEM, &error.to_string());
        }
        let order = Order {
            asker,
            domid,
            spec,
            read_only: question.read_only,
        };
        if let Some(order) = self.lanes.enter(domid, number, order) {
            self.begin(waiter, order);
        }
    }

    /// Images were opened, or were not: those that have waited for that come next.
    pub(super) fn opened(&mut self, waiter: &Waiter) {
        drop(self.heard.read(&mut [0; ASKERS_MAX]));
        for domid in self.done.take() {
            if let Some(order) = self.lanes.leave(domid) {
                self.begin(waiter, order);
            }
        }
    }

    fn begin(&self, waiter: &Waiter, order: Order) {
        let number = order.asker.number;
        drop(waiter.remove(&order.asker.socket, Source::Asker(number)));
        let (done, domid) = (Arc::clone(&self.done), order.domid);
        let order = Arc::new(order);
        let theirs = Arc::clone(&order);
        let work = move || {
            theirs.execute();
            drop(theirs);
            done.say(domid);
        };
        let thread = thread::Builder::new().name("halcyon-open".into());
        if let Err(error) = thread.stack_size(STACK_BYTES).spawn(work) {
            order.asker.refuse(Refusal::ENOMEM, &error.to_string());
            self.done.say(domid);
        }
    }
}

impl Order {
    fn execute(&self) {
        answer(&self.asker.socket, open_file(&self.spec, self.read_only));
    }
}

impl Done {
    fn say(&self, domid: DomId) {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        of.push(domid);
        // Nobody hears it only where the daemon has ended.
        drop((&self.bell).write(b"."));
    }

    fn take(&self) -> Vec<DomId> {
        std::mem::take(&mut *self.of.lock().unwrap_or_else(PoisonError::into_inner))
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
    use std::time::{Duration, Instant};

    use super::super::permit::examples::{question, stands};
    use crate::demo::scratch::Scratch;

    fn happened(waiter: &Waiter) -> Vec<Source> {
        let mut happened = Vec::new();
        waiter.wait(&mut happened).unwrap();
        happened
    }

    /// A desk with two places, and three clients, the last of which has asked something.
    fn busy(dir: &Scratch) -> (Waiter, Desk, [Socket; 3]) {
        let path = dir.path().join("s");
        let waiter = Waiter::new().unwrap();
        let desk = Desk::open(&path, &waiter, 2).unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        let clients = [(); 3].map(|()| Socket::connect(&path, until).unwrap());
        clients[2].send(b"what?", None).unwrap();
        (waiter, desk, clients)
    }

    #[test]
    fn whoever_comes_when_every_place_is_taken_waits_and_is_answered() {
        let dir = Scratch::new().unwrap();
        let (waiter, mut desk, [first, _second, third]) = busy(&dir);
        desk.accept(&waiter);
        assert_eq!(desk.askers.len(), 2);
        drop(first);
        // Of the third nothing is told.
        assert_eq!(happened(&waiter), [Source::Asker(1)]);
        assert!(desk.hear(&waiter, 1).is_none());
        desk.breathe(&waiter);
        assert_eq!(happened(&waiter), [Source::Broker]);
        desk.accept(&waiter);
        assert_eq!(happened(&waiter), [Source::Asker(3)]);
        assert!(desk.hear(&waiter, 3).is_none());
        let (answer, _) = third.receive().unwrap().unwrap();
        let text = "the host daemon is of another version".to_owned();
        assert_eq!(
            Answer::parse(&answer),
            Some(Answer::Refused(Refusal::EINVAL, text))
        );
    }

    /// A client that has asked for `params`, which stand in xenstore for its device.
    fn asked(waiter: &Waiter, desk: &mut Desk, path: &Path, params: &str) -> Socket {
        let until = Instant::now() + Duration::from_secs(20);
        let client = Socket::connect(path, until).unwrap();
        desk.accept(waiter);
        let bytes = question(true, params).to_bytes().unwrap();
        client.send(&bytes, None).unwrap();
        let (asker, asked) = desk.hear(waiter, desk.last).unwrap();
        desk.serve(waiter, asker, &asked, &stands(params, "r"));
        client
    }

    /// Lets all be opened; nothing else happens meanwhile.
    fn finish(waiter: &Waiter, desk: &mut Desk) {
        while Arc::strong_count(&desk.places) > 1 {
            assert_eq!(happened(waiter), [Source::Opened]);
            desk.opened(waiter);
        }
    }

    #[test]
    fn an_image_that_has_to_wait_is_opened_when_another_one_was() {
        let dir = Scratch::new().unwrap();
        let (path, image) = (dir.path().join("s"), dir.path().join("image"));
        std::fs::write(&image, "x").unwrap();
        let waiter = Waiter::new().unwrap();
        let mut desk = Desk::open(&path, &waiter, ASKERS_MAX).unwrap();
        let params = image.to_str().unwrap();
        let asked = [(); 20].map(|()| asked(&waiter, &mut desk, &path, params));
        finish(&waiter, &mut desk);
        let opened = |client: &Socket| client.receive().unwrap().unwrap().1.is_some();
        assert!(asked.iter().all(opened));
    }

    #[test]
    fn whoever_goes_while_its_image_is_being_opened_is_not_told_of_again() {
        let dir = Scratch::new().unwrap();
        let (path, image) = (dir.path().join("s"), dir.path().join("image"));
        std::fs::write(&image, "x").unwrap();
        let waiter = Waiter::new().unwrap();
        let mut desk = Desk::open(&path, &waiter, ASKERS_MAX).unwrap();
        drop(asked(&waiter, &mut desk, &path, image.to_str().unwrap()));
        finish(&waiter, &mut desk);
    }
}
