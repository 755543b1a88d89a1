//! A guest in a process of its own, doing what the conformance suite asks of it.

use std::cell::RefCell;
use std::path::Path;

use abi::{DomId, GrantRef, Port};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sim::live::Guest;
use sim::probe::Probe;
use xen::conformance::GuestSide;

use super::{LiveHost, Part, serve_lines};

#[derive(Debug, Serialize, Deserialize)]
enum Command {
    Attached,
    Lend {
        to: u16,
        readonly: bool,
    },
    End {
        gref: u32,
    },
    Write {
        gref: u32,
        offset: usize,
        bytes: Vec<u8>,
    },
    Read {
        gref: u32,
        offset: usize,
        len: usize,
    },
    OfferPort {
        to: u16,
    },
    Bind {
        to: u16,
        port: u32,
    },
    Notify {
        port: u32,
    },
    TakeEvents,
    IsUnbound {
        port: u32,
    },
}

/// Plays the part.
pub(crate) fn serve(dir: &Path, domid: DomId) {
    let mut probe = Probe::new(Guest::attach(dir, domid).expect("attaching"));
    serve_lines(|command| carry_out(&mut probe, command));
}

fn carry_out(probe: &mut Probe, command: Command) -> serde_json::Value {
    match command {
        Command::Attached => ().into_value(),
        Command::Lend { to, readonly } => probe.lend(DomId(to), readonly).0.into_value(),
        Command::End { gref } => probe.end(GrantRef(gref)).into_value(),
        Command::Write {
            gref,
            offset,
            bytes,
        } => {
            probe.write(GrantRef(gref), offset, &bytes);
            ().into_value()
        }
        Command::Read { gref, offset, len } => probe.read(GrantRef(gref), offset, len).into_value(),
        Command::OfferPort { to } => probe.offer_port(DomId(to)).0.into_value(),
        Command::Bind { to, port } => probe.bind(DomId(to), Port(port)).0.into_value(),
        Command::Notify { port } => {
            probe.notify(Port(port));
            ().into_value()
        }
        Command::TakeEvents => {
            let ports = probe.take_events();
            ports
                .iter()
                .map(|port| port.0)
                .collect::<Vec<u32>>()
                .into_value()
        }
        Command::IsUnbound { port } => probe.is_unbound(Port(port)).into_value(),
    }
}

trait IntoValue {
    fn into_value(self) -> serde_json::Value;
}

impl<T: Serialize> IntoValue for T {
    fn into_value(self) -> serde_json::Value {
        serde_json::to_value(self).expect("a plain value")
    }
}

/// The test's end of it.
#[derive(Debug)]
pub(crate) struct RemoteGuest {
    domid: DomId,
    part: RefCell<Part>,
}

impl RemoteGuest {
    /// Starts a guest in a new domain; it is attached when this returns.
    pub(crate) fn start(host: &LiveHost) -> Self {
        let domid = host.create();
        let part = RefCell::new(Part::start("guest", host.dir(), &[domid.to_string()]));
        let guest = Self { domid, part };
        guest.ask::<()>(&Command::Attached);
        guest
    }

    /// Kills its process.
    pub(crate) fn kill(&self) {
        self.part.borrow_mut().kill();
    }

    fn ask<A: DeserializeOwned>(&self, command: &Command) -> A {
        self.part.borrow_mut().ask(command)
    }
}

impl GuestSide for RemoteGuest {
    fn domid(&self) -> DomId {
        self.domid
    }

    fn lend(&mut self, to: DomId, readonly: bool) -> GrantRef {
        GrantRef(self.ask(&Command::Lend { to: to.0, readonly }))
    }

    fn end(&mut self, gref: GrantRef) -> bool {
        self.ask(&Command::End { gref: gref.0 })
    }

    fn write(&mut self, gref: GrantRef, offset: usize, bytes: &[u8]) {
        self.ask::<()>(&Command::Write {
            gref: gref.0,
            offset,
            bytes: bytes.to_vec(),
        });
    }

    fn read(&mut self, gref: GrantRef, offset: usize, len: usize) -> Vec<u8> {
        self.ask(&Command::Read {
            gref: gref.0,
            offset,
            len,
        })
    }

    fn offer_port(&mut self, to: DomId) -> Port {
        Port(self.ask(&Command::OfferPort { to: to.0 }))
    }

    fn bind(&mut self, to: DomId, port: Port) -> Port {
        Port(self.ask(&Command::Bind {
            to: to.0,
            port: port.0,
        }))
    }

    fn notify(&mut self, port: Port) {
        self.ask::<()>(&Command::Notify { port: port.0 });
    }

    fn take_events(&mut self) -> Vec<Port> {
        self.ask::<Vec<u32>>(&Command::TakeEvents)
            .into_iter()
            .map(Port)
            .collect()
    }

    fn is_unbound(&mut self, port: Port) -> bool {
        self.ask(&Command::IsUnbound { port: port.0 })
    }
}
