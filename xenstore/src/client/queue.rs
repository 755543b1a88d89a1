//! Events that wait to be fetched. Equal watch events are kept once, and when very many different
//! ones wait, an event names the watched path instead of what changed: a guest decides how often
//! and under how many names things change, so neither may cost us memory.

use std::collections::{BTreeSet, VecDeque};

use crate::{Event, Path, Step, StoreError};

/// Watch events with paths of their own that may wait at once.
const DETAILED_MAX: usize = 1024;

/// The queue, and the watches that its events belong to.
#[derive(Debug, Default)]
pub(super) struct Queue {
    events: VecDeque<Event>,
    waiting: BTreeSet<(String, Path)>,
    watched: BTreeSet<(String, Path)>,
}

impl Queue {
    pub(super) fn push(&mut self, event: Event) {
        self.events.push_back(event);
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        if let Event::Watch { path, token } = &event {
            self.waiting.remove(&(token.clone(), path.clone()));
        }
        Some(event)
    }

    /// An event arrived. One without a watch is dropped: its watch has been taken back.
    pub(super) fn push_watch(&mut self, path: &str, token: &str) {
        let path = Path::new(path).ok();
        let Some(watched) = self.watch_of(path.as_ref(), token) else {
            return;
        };
        let path = match path {
            Some(path) if self.waiting.len() < DETAILED_MAX => path,
            _ => watched.clone(),
        };
        let token = token.to_owned();
        if self.waiting.insert((token.clone(), path.clone())) {
            self.events.push_back(Event::Watch { path, token });
        }
    }

    fn watch_of(&self, path: Option<&Path>, token: &str) -> Option<&Path> {
        let from = (token.to_owned(), Path::root());
        // "/" sorts before every path that starts with a letter, but not before "-".
        let all = self
            .watched
            .range(..&from)
            .rev()
            .chain(self.watched.range(&from..));
        all.filter(|(known, _)| known == token)
            .map(|(_, watched)| watched)
            .find(|watched| path.is_none_or(|path| watched.contains(path)))
    }

    /// A step is being sent.
    pub(super) fn asked(&mut self, step: &Step) {
        if let Step::Watch { path, token } | Step::WatchDepth { path, token, .. } = step {
            self.watched.insert((token.clone(), path.clone()));
        }
    }

    /// A step was answered.
    pub(super) fn answered(&mut self, step: &Step, error: Option<StoreError>) {
        let refused = error.is_some_and(|error| error != StoreError::Exists);
        match step {
            Step::Watch { path, token } | Step::WatchDepth { path, token, .. } if refused => {
                self.forget(path, token);
            }
            Step::Unwatch { path, token } if error.is_none() => self.forget(path, token),
            _ => {}
        }
    }

    fn forget(&mut self, watched: &Path, token: &str) {
        self.watched.remove(&(token.to_owned(), watched.clone()));
        let waiting = &mut self.waiting;
        self.events.retain(|event| match event {
            Event::Watch { path, token: other } if other == token && watched.contains(path) => {
                waiting.remove(&(other.clone(), path.clone()));
                false
            }
            _ => true,
        });
    }
}
