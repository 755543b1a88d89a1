//! A ring's birth and end: what is lent to the backend for the length of a connection.
//!
//! Invariant: what was lent at its birth is taken back at its end, and nothing is lent after.

use abi::io::blkif::{self, keys};
use ring::Front;
use xenstore::{Batch, Step};

use super::shadow::Shadow;
use super::{Blkfront, Connection, Kernel, Outcome, Phase, Question, RingPage};

impl Blkfront {
    /// Makes a ring and a port and writes them where the backend looks.
    pub(super) fn publish(&mut self, kernel: &mut Kernel<'_>) {
        self.phase = Phase::Initialised;
        match self.make_connection(kernel) {
            Ok(connection) => {
                let steps = self.nodes(&connection);
                self.connection = Some(connection);
                self.ask(kernel, Question::Publish, Batch::transaction(steps));
            }
            Err(why) => self.fail(why),
        }
    }

    fn make_connection(&mut self, kernel: &mut Kernel<'_>) -> Result<Connection, String> {
        let domid = self
            .backend
            .as_ref()
            .map(|backend| backend.domid)
            .ok_or("no backend")?;
        let gfn = kernel.frames.take().ok_or("no frame for the ring")?;
        let page = kernel
            .memory
            .page(gfn)
            .ok_or("a frame beyond the guest's memory")?;
        let entries = blkif::entries(1, self.config.protocol);
        let ring = Front::new(RingPage(page), entries, self.config.protocol.stride());
        let ring = ring.map_err(|corrupt| corrupt.to_string())?;
        let gref = kernel
            .grants
            .grant(domid, gfn, false)
            .ok_or("no grant for the ring")?;
        let port = kernel
            .events
            .bind_unbound(domid)
            .map_err(|error| error.to_string())?;
        Ok(Connection {
            ring,
            gref,
            port,
            shadow: Shadow::new(entries),
        })
    }

    /// What is published, lies included.
    fn nodes(&self, connection: &Connection) -> Vec<Step> {
        let protocol = self.config.protocol.name();
        let mut nodes = vec![
            (keys::RING_REF, connection.gref.to_string().into_bytes()),
            (
                keys::EVENT_CHANNEL,
                connection.port.to_string().into_bytes(),
            ),
        ];
        if self.config.name_protocol {
            nodes.push((keys::PROTOCOL, protocol.into()));
        }
        for (key, lie) in &self.config.overrides {
            nodes.retain(|(known, _)| known != key);
            nodes.extend(lie.clone().map(|value| (*key, value)));
        }
        nodes
            .into_iter()
            .map(|(key, value)| Step::Write(self.node(key), value))
            .collect()
    }

    /// Takes everything back that the backend had.
    pub(super) fn release(&mut self, kernel: &mut Kernel<'_>) {
        // Answers that came before the backend let go are answers.
        self.reap(kernel);
        self.phase = Phase::Down;
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        // An unbind fails only where the port is gone, with its domain.
        drop(kernel.events.unbind(connection.port));
        // What was still in use after its response must be free now; its frame stays unused.
        for (gref, gfn) in std::mem::take(&mut self.held) {
            self.end_grant(kernel, gref, gfn);
        }
        while let Some(entry) = connection.shadow.take_any() {
            self.retire(kernel, entry, Outcome::Lost);
        }
        let gfn = connection.ring.into_memory().0.gfn();
        if self.end_grant(kernel, connection.gref, gfn) {
            kernel.frames.give(gfn);
        }
    }
}
