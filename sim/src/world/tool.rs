//! The toolstack of a world: writes what libxl writes and waits as it waits.
//!
//! Invariant: a disk's directories go only after its backend said Closed, or when patience is lost.

use abi::DomId;
use abi::io::xenbus::XenbusState;
use xenstore::client::Client;
use xenstore::server::ConnId;
use xenstore::{Batch, BatchId, Event, Path, Reply, Step, StoreError};

use super::{Host, Trace};
use crate::toolstack::Disk;

/// A disk that is being detached.
#[derive(Debug)]
struct Leaving {
    disk: Disk,
    token: String,
    /// The backend's state is being read.
    reading: Option<BatchId>,
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Tool {
    store: Client,
    conn: ConnId,
    leaving: Vec<Leaving>,
    removed: u64,
    last_token: u64,
    /// Something was heard and not yet looked at.
    stale: bool,
}

impl Tool {
    /// A toolstack with nothing to do.
    pub(super) fn new(host: &Host) -> Self {
        let conn = host.store(DomId::DOM0);
        Self {
            store: Client::new(),
            conn,
            leaving: Vec::new(),
            removed: 0,
            last_token: 0,
            stale: false,
        }
    }

    /// Has something written at once, as a toolstack that blocks.
    pub(super) fn write(&mut self, host: &Host, batch: Batch) -> Result<(), StoreError> {
        // What is to be removed may never have been there.
        let mut failed = self.run(host, batch).into_iter().filter_map(Result::err);
        let first = failed.find(|error| *error != StoreError::NotFound);
        first.map_or(Ok(()), Err)
    }

    /// Reads a node at once; `None` if there is none.
    pub(super) fn read(&mut self, host: &Host, path: Path) -> Option<Vec<u8>> {
        let mut replies = self.run(host, Batch::new(vec![Step::Read(path)]));
        Some(replies.pop()?.ok()?.value()?.to_vec())
    }

    fn run(&mut self, host: &Host, batch: Batch) -> Vec<Result<Reply, StoreError>> {
        let wanted = self.store.submit(batch);
        loop {
            self.exchange(host);
            while let Some(event) = self.store.next_event() {
                match event {
                    Event::Replies { batch, replies } if batch == wanted => return replies,
                    event => self.take(&event),
                }
            }
        }
    }

    /// Loses patience with every disk that is still being detached: its directories go, whoever
    /// uses them. How many there were.
    pub(super) fn give_up(&mut self) -> usize {
        let impatient = self.leaving.len();
        for leaving in std::mem::take(&mut self.leaving) {
            self.clear(leaving);
        }
        impatient
    }

    /// Starts to detach a disk.
    pub(super) fn detach(&mut self, host: &Host, disk: Disk) -> Result<(), String> {
        let batch = disk.request_detach().map_err(|bad| bad.to_string())?;
        self.write(host, batch)
            .map_err(|error| format!("detaching {}: {error}", disk.devid))?;
        self.last_token += 1;
        let token = self.last_token.to_string();
        let path = state(&disk)?;
        self.store.submit(Batch::new(vec![Step::Watch {
            path,
            token: token.clone(),
        }]));
        self.leaving.push(Leaving {
            disk,
            token,
            reading: None,
        });
        Ok(())
    }

    /// Whether it has something to say or to hear.
    pub(super) fn is_possible(&mut self, host: &Host) -> bool {
        let heard = host.store_output(self.conn);
        self.hear(&heard);
        self.stale |= !heard.is_empty();
        self.stale || !self.store.outgoing().is_empty()
    }

    /// Goes on with what is being detached.
    pub(super) fn step(&mut self, host: &Host, trace: &mut Trace) {
        self.exchange(host);
        self.stale = false;
        while let Some(event) = self.store.next_event() {
            self.take(&event);
        }
        trace.note("tool", &[self.leaving.len() as u64, self.removed]);
    }

    /// Whether a disk of a guest is still being detached.
    pub(super) fn is_detaching(&self, domid: DomId) -> bool {
        self.leaving
            .iter()
            .any(|leaving| leaving.disk.domid == domid)
    }

    /// A guest is gone; its directories go with it, and nobody waits for them.
    pub(super) fn forget(&mut self, domid: DomId) {
        self.leaving.retain(|leaving| leaving.disk.domid != domid);
    }

    fn exchange(&mut self, host: &Host) {
        let bytes = self.store.outgoing().to_vec();
        host.store_input(self.conn, &bytes);
        self.store.sent(bytes.len());
        let heard = host.store_output(self.conn);
        self.hear(&heard);
    }

    fn hear(&mut self, bytes: &[u8]) {
        let heard = self.store.incoming(bytes);
        debug_assert!(
            heard.is_ok(),
            "the server speaks its own protocol: {heard:?}"
        );
    }

    fn take(&mut self, event: &Event) {
        match event {
            Event::Watch { token, .. } => {
                let watched = self
                    .leaving
                    .iter_mut()
                    .find(|leaving| leaving.token == *token);
                if let Some(leaving) = watched
                    && let Ok(path) = state(&leaving.disk)
                {
                    let read = Batch::new(vec![Step::Read(path)]);
                    leaving.reading = Some(self.store.submit(read));
                }
            }
            Event::Replies { batch, replies } => self.answered(*batch, replies),
        }
    }

    fn answered(&mut self, batch: BatchId, replies: &[Result<Reply, StoreError>]) {
        let reading = Some(batch);
        let Some(at) = self
            .leaving
            .iter()
            .position(|leaving| leaving.reading == reading)
        else {
            return;
        };
        let value = match replies.first() {
            Some(Ok(reply)) => reply.value().map(XenbusState::parse),
            // Somebody removed it before us.
            Some(Err(StoreError::NotFound)) => Some(XenbusState::CLOSED),
            _ => None,
        };
        if value != Some(XenbusState::CLOSED) {
            return;
        }
        let leaving = self.leaving.swap_remove(at);
        self.clear(leaving);
    }

    fn clear(&mut self, leaving: Leaving) {
        let Leaving { disk, token, .. } = leaving;
        self.removed += 1;
        if let (Ok(path), Ok(remove)) = (state(&disk), disk.remove()) {
            self.store
                .submit(Batch::new(vec![Step::Unwatch { path, token }]));
            self.store.submit(remove);
        }
    }
}

fn state(disk: &Disk) -> Result<Path, String> {
    Path::new(format!("{}/state", disk.backend())).map_err(|bad| bad.to_string())
}
