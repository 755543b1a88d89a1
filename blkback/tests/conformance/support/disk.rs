//! A disk in memory whose completions a test can withhold.

use std::cell::RefCell;
use std::rc::Rc;

use abi::Sector;
use disk::{Disk, DiskError, Done, Geometry, Op, OpKind, Submitted};
use reactor::{Completion, Outcome, Reactor, Token};
use vm_memory::Bytes;

/// Sectors of the disk: 1 MiB.
pub(crate) const SECTORS: u64 = 2048;

/// The test's hand on a disk; clones share it.
#[derive(Clone)]
pub(crate) struct Control {
    state: Rc<RefCell<State>>,
}

/// What the disk holds and how it behaves.
pub(crate) struct State {
    pub(crate) geometry: Geometry,
    pub(crate) bytes: Vec<u8>,
    /// Operations stay in the disk until they are let go.
    pub(crate) hold: bool,
    /// What operations end with.
    pub(crate) fail: Option<DiskError>,
    /// Kinds of all operations so far.
    pub(crate) seen: Vec<OpKind>,
    pub(crate) open: bool,
    held: Vec<Op>,
}

impl Control {
    pub(crate) fn new() -> Self {
        let geometry = Geometry {
            sectors: Sector(SECTORS),
            sector_size_bytes: 512,
            physical_sector_size_bytes: 4096,
            read_only: false,
            flush: true,
            is_file: false,
        };
        let bytes = (0..SECTORS * 512)
            .map(|at| (at / 512 % 251) as u8)
            .collect();
        let state = State {
            geometry,
            bytes,
            hold: false,
            fail: None,
            seen: Vec::new(),
            open: false,
            held: Vec::new(),
        };
        Self {
            state: Rc::new(RefCell::new(state)),
        }
    }

    pub(crate) fn state(&self) -> std::cell::RefMut<'_, State> {
        self.state.borrow_mut()
    }

    /// The names of the operations in the disk, oldest first.
    pub(crate) fn held(&self) -> Vec<u32> {
        self.state().held.iter().map(|op| op.id).collect()
    }

    /// A handle for a device.
    pub(crate) fn open(&self) -> Box<dyn Disk> {
        self.state().open = true;
        Box::new(self.clone())
    }

    /// What the reactor says when a held operation ends.
    pub(crate) fn completion(owner: u16, id: u32) -> Completion {
        let token = Token {
            owner,
            layer: 0,
            tag: id,
        };
        Completion {
            token,
            outcome: Outcome::Io {
                result: Ok(0),
                lease: None,
            },
        }
    }
}

impl State {
    fn execute(&mut self, op: Op) -> Done {
        let at = usize::try_from(op.sector.0).expect("a small disk") * 512;
        let range = at..at + op.len_bytes;
        if let (None, Some(lease)) = (self.fail, &op.lease) {
            let slice = lease.slice();
            match op.kind {
                OpKind::Read => slice.write_slice(&self.bytes[range], 0).expect("fits"),
                _ => slice.read_slice(&mut self.bytes[range], 0).expect("fits"),
            }
        }
        Done {
            id: op.id,
            lease: op.lease,
            result: self.fail.map_or(Ok(()), Err),
        }
    }
}

impl Disk for Control {
    fn geometry(&self) -> Geometry {
        self.state().geometry
    }

    fn submit(&mut self, _: &mut dyn Reactor, op: Op) -> Submitted {
        let mut state = self.state();
        state.seen.push(op.kind);
        if state.hold {
            state.held.push(op);
            return Submitted::Pending;
        }
        Submitted::Done(state.execute(op))
    }

    fn complete(&mut self, _: &mut dyn Reactor, completion: Completion) -> Option<Done> {
        let mut state = self.state();
        let at = state
            .held
            .iter()
            .position(|op| op.id == completion.token.tag)?;
        let op = state.held.remove(at);
        Some(state.execute(op))
    }

    fn outstanding(&self) -> usize {
        self.state().held.len()
    }

    fn close(&mut self, _: &mut dyn Reactor) {
        let mut state = self.state();
        assert!(state.held.is_empty(), "closed with operations outstanding");
        state.open = false;
    }
}
