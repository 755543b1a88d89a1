//! The frontend's side of the handshake: whose state calls for what.
//!
//! Knows no request. Follows Linux's `blkback_changed`: what matters is the backend's state as it
//! reads now, not how often it changed.

use abi::DomId;
use abi::io::blkif::keys;
use abi::io::xenbus::XenbusState;
use xenstore::{Batch, Event, Path, Step};

use super::properties::{Replies, number, text, value};
use super::{Backend, Blkfront, Kernel, Phase, Question, Violation};

impl Blkfront {
    /// Looks for the backend, as a driver does when it is loaded.
    pub fn start(&mut self, kernel: &mut Kernel<'_>) {
        self.phase = Phase::Waiting;
        let nodes = [keys::BACKEND, keys::BACKEND_ID].map(|key| self.node(key));
        self.ask(
            kernel,
            Question::Backend,
            Batch::new(nodes.map(Step::Read).into()),
        );
    }

    /// Stops taking requests and closes once those under way are answered.
    pub fn close(&mut self, kernel: &mut Kernel<'_>) {
        if matches!(self.phase, Phase::Connected | Phase::Initialised) {
            self.phase = Phase::Closing;
            self.switch(kernel, XenbusState::CLOSING);
            self.react(kernel);
        }
    }

    /// Closes without waiting for anything, as a kernel that is being replaced does. What was under
    /// way is lost.
    pub fn abandon(&mut self, kernel: &mut Kernel<'_>) {
        if matches!(
            self.phase,
            Phase::Connected | Phase::Initialised | Phase::Closing
        ) {
            self.phase = Phase::Closed;
            self.switch(kernel, XenbusState::CLOSED);
            self.react(kernel);
        }
    }

    /// The disk was taken away, its directory with it, and what may be there now is another one's:
    /// takes everything back and writes nothing.
    pub fn remove(&mut self, kernel: &mut Kernel<'_>) {
        let backend = self.backend.take();
        if let Some(path) = backend.and_then(|backend| backend.path.join(keys::STATE).ok()) {
            let token = self.token();
            let unwatch = Step::Unwatch { path, token };
            kernel.store.submit(Batch::new(vec![unwatch]));
        }
        self.release(kernel);
    }

    /// Connects again after [`Phase::Down`], as a new kernel does.
    pub fn reconnect(&mut self, kernel: &mut Kernel<'_>) {
        if self.phase == Phase::Down {
            self.phase = Phase::Waiting;
            self.switch(kernel, XenbusState::INITIALISING);
            self.read_state(kernel);
        }
    }

    /// Takes an event of the guest's xenstore connection; `false` if it was not for this frontend.
    pub fn store_event(&mut self, kernel: &mut Kernel<'_>, event: &Event) -> bool {
        match event {
            Event::Watch { token, .. } => {
                let ours = *token == self.token();
                if ours {
                    self.read_state(kernel);
                }
                ours
            }
            Event::Replies { batch, replies } => {
                let Some(at) = self.asking.iter().position(|(asked, _)| asked == batch) else {
                    return false;
                };
                let (_, question) = self.asking.swap_remove(at);
                self.answered(kernel, question, replies);
                true
            }
        }
    }

    /// Writes the frontend's state without regard to anything.
    pub(crate) fn switch(&mut self, kernel: &mut Kernel<'_>, state: XenbusState) {
        let write = Step::Write(self.node(keys::STATE), state.to_string().into_bytes());
        kernel.store.submit(Batch::new(vec![write]));
    }

    fn answered(&mut self, kernel: &mut Kernel<'_>, question: Question, replies: &Replies) {
        match question {
            Question::Backend => self.found_backend(kernel, replies),
            Question::State => {
                self.theirs = value(replies, 0).map_or(XenbusState::UNKNOWN, XenbusState::parse);
                if std::mem::take(&mut self.read_again) {
                    self.read_state(kernel);
                }
                self.react(kernel);
            }
            Question::Publish => match replies.iter().find_map(|reply| reply.as_ref().err()) {
                Some(error) => self.fail(format!("publishing the ring: {error}")),
                None if self.phase == Phase::Initialised => {
                    self.switch(kernel, XenbusState::INITIALISED);
                }
                None => {}
            },
            Question::Properties => self.found_properties(kernel, replies),
        }
    }

    fn found_backend(&mut self, kernel: &mut Kernel<'_>, replies: &Replies) {
        let path = text(replies, 0).and_then(|path| Path::new(path).ok());
        let domid = number(replies, 1).and_then(|domid| u16::try_from(domid).ok());
        let (Some(path), Some(domid)) = (path, domid) else {
            return self.fail("no backend in the frontend's directory".into());
        };
        let Ok(state) = path.join(keys::STATE) else {
            return self.fail("a backend path of an impossible length".into());
        };
        self.backend = Some(Backend {
            path,
            domid: DomId(domid),
        });
        // The watch fires once as soon as it is set, which leads to the first look.
        let watch = Step::Watch {
            path: state,
            token: self.token(),
        };
        kernel.store.submit(Batch::new(vec![watch]));
    }

    /// Does what the backend's state calls for.
    pub(super) fn react(&mut self, kernel: &mut Kernel<'_>) {
        let gone = matches!(self.theirs, XenbusState::CLOSED | XenbusState::UNKNOWN);
        let leaving = gone || self.theirs == XenbusState::CLOSING;
        match self.phase {
            Phase::Waiting if self.theirs == XenbusState::INIT_WAIT => self.publish(kernel),
            Phase::Initialised | Phase::Connected if self.theirs == XenbusState::CONNECTED => {
                // Also when connected already: that is how a backend announces a new size.
                self.read_properties(kernel);
            }
            Phase::Initialised | Phase::Connected if leaving => self.close(kernel),
            Phase::Closing if gone || leaving && self.in_flight() == 0 => {
                self.phase = Phase::Closed;
                self.switch(kernel, XenbusState::CLOSED);
                if gone {
                    self.release(kernel);
                }
            }
            // Withdrawn before it was ever connected.
            Phase::Waiting if self.theirs == XenbusState::CLOSING => {
                self.phase = Phase::Closed;
                self.switch(kernel, XenbusState::CLOSED);
            }
            Phase::Closed if gone => self.release(kernel),
            _ => {}
        }
    }

    fn read_state(&mut self, kernel: &mut Kernel<'_>) {
        if self
            .asking
            .iter()
            .any(|(_, question)| *question == Question::State)
        {
            self.read_again = true;
            return;
        }
        let state = self
            .backend
            .as_ref()
            .and_then(|backend| backend.path.join(keys::STATE).ok());
        if let Some(state) = state {
            self.ask(kernel, Question::State, Batch::new(vec![Step::Read(state)]));
        }
    }

    pub(super) fn ask(&mut self, kernel: &mut Kernel<'_>, question: Question, batch: Batch) {
        self.asking.push((kernel.store.submit(batch), question));
    }

    pub(super) fn node(&self, key: &str) -> Path {
        self.config
            .directory
            .join(key)
            .expect("node names are short and plain")
    }

    /// Tells this frontend's watch from those of others on the same connection.
    fn token(&self) -> String {
        format!("front:{}", self.config.directory)
    }

    pub(super) fn fail(&mut self, why: String) {
        self.phase = Phase::Failed(why);
    }

    pub(super) fn corrupt(&mut self, corrupt: ring::Corrupt) {
        self.violations.push(Violation::Ring(corrupt));
        self.fail(corrupt.to_string());
    }
}
