//! Which VM a domain number means: the UUID, asked of xenstore before anything is served.
//!
//! It is the one place where the process waits for an answer, because without it there is neither
//! a claim nor a state directory. Whoever asks the process to stop meanwhile is heard. Invariant: the
//! name that comes back is safe as a file name.

use abi::DomId;
use evtchn::EventChannels;
use reactor::{Reactor, Sleep};
use xenstore::{Batch, Event, Path, Reply, Step, StoreError};

use super::streams::Heard;
use super::{Connection, Ended};
use crate::error::{Doing as _, Exit, Failure};

/// Which VM a domain is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its UUID: the last part of what its `vm` node says.
    pub uuid: String,
    node: Path,
    value: Vec<u8>,
}

impl Identity {
    /// Insists that the domain is there, and still this VM.
    #[must_use]
    pub fn unchanged(&self) -> Step {
        Step::Expect(self.node.clone(), self.value.clone())
    }
}

/// Asks which VM `domid` is: `/local/domain/<domid>/vm` says so.
pub fn ask(
    reactor: &mut dyn Reactor,
    connection: &mut Connection,
    events: &mut dyn EventChannels,
    domid: DomId,
) -> Result<Identity, Failure> {
    let what = || format!("ask xenstore for domain {domid}");
    let node = Path::home(domid).join("vm").doing(what)?;
    let read = Step::Read(node.clone());
    connection.store.submit(Batch::new(vec![read]));
    match answer(reactor, connection, events).doing(what)? {
        Answer::Value(value) => match name(&value) {
            Some(uuid) => Ok(Identity { uuid, node, value }),
            None => {
                let value = value.escape_ascii();
                let line = format!("domain {domid}: {value} in its vm node is no UUID");
                Err(Failure::failed(line))
            }
        },
        Answer::Missing => Err(Failure::failed(format!(
            "no domain {domid} on this host: `halcyon sim list` or your toolstack shows them"
        ))),
        Answer::Refused(error) => Err(error).doing(what),
        Answer::Stopped => Err(Failure::new(
            Exit::Ok,
            format!("domain {domid}: told to stop before it was served"),
        )),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Value(Vec<u8>),
    Missing,
    /// Nothing is known of the domain: another one may read the node, say.
    Refused(StoreError),
    /// Somebody was faster.
    Stopped,
}

fn answer(
    reactor: &mut dyn Reactor,
    connection: &mut Connection,
    events: &mut dyn EventChannels,
) -> Result<Answer, Ended> {
    let Connection { store, streams } = connection;
    let (mut completions, mut ports) = (Vec::new(), Vec::new());
    loop {
        streams.send(reactor, store);
        reactor.wait(Sleep::UntilWork, &mut completions);
        for completion in completions.drain(..) {
            let heard = streams.complete(reactor, store, events, &mut ports, completion)?;
            if matches!(heard, Heard::Stop(_)) {
                return Ok(Answer::Stopped);
            }
        }
        if let Some(Event::Replies { replies, .. }) = store.next_event() {
            return Ok(understood(replies.into_iter().next()));
        }
    }
}

fn understood(reply: Option<Result<Reply, StoreError>>) -> Answer {
    match reply {
        Some(Ok(Reply::Value(value))) => Answer::Value(value),
        Some(Err(error)) if error != StoreError::NotFound => Answer::Refused(error),
        _ => Answer::Missing,
    }
}

/// `/vm/<uuid>` to `<uuid>`: letters, digits and dashes, nothing that leads out of a directory.
pub fn name(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?;
    let last = text.rsplit('/').next()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let fits = (1..=64).contains(&last.len()) && last.bytes().all(plain);
    fits.then(|| last.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::streams::{Slots, Streams};
    use abi::Port;
    use evtchn::Error;
    use reactor::world::{OpId, World};
    use vm_memory::Bytes as _;
    use xenstore::Client;

    /// Nothing ever happens on them.
    struct Quiet;

    impl EventChannels for Quiet {
        fn bind_interdomain(&mut self, _: DomId, _: Port) -> Result<Port, Error> {
            unreachable!("nobody has a port")
        }

        fn bind_unbound(&mut self, _: DomId) -> Result<Port, Error> {
            unreachable!("nobody has a port")
        }

        fn unbind(&mut self, _: Port) -> Result<(), Error> {
            unreachable!("nobody has a port")
        }

        fn notify(&mut self, _: Port) -> Result<(), Error> {
            unreachable!("nobody has a port")
        }

        fn unmask(&mut self, _: Port) -> Result<(), Error> {
            unreachable!("nobody has a port")
        }

        fn pending(&mut self, _: &[u8], _: &mut Vec<Port>) {}

        fn system_calls(&self) -> u64 {
            0
        }
    }

    /// The receive that waits on a slot.
    fn receive(world: &World, slot: reactor::Slot) -> OpId {
        let mut pending = world.pending();
        let found = pending.find(|(_, submission)| submission.slot == slot);
        found.unwrap().0
    }

    #[test]
    fn a_process_that_is_told_to_stop_before_it_knows_its_guest_ends_well() {
        let mut world = World::new();
        let [events, store, signals] = [(); 3].map(|()| world.add());
        let slots = Slots {
            events,
            store,
            signals: Some(signals),
        };
        let mut streams = Streams::new(slots).unwrap();
        streams.start(&mut world);
        let hang_up = receive(&world, signals);
        let lease = world.operation(hang_up).unwrap().lease.as_ref().unwrap();
        let told = libc::SIGHUP.to_ne_bytes();
        lease.slice().write_slice(&told, 0).unwrap();
        world.finish(hang_up, Ok(size_of::<libc::signalfd_siginfo>()));
        // Whoever does not hear it comes to an end, too.
        world.finish(receive(&world, store), Ok(0));
        let mut connection = Connection {
            store: Client::new(),
            streams,
        };
        let failure = ask(&mut world, &mut connection, &mut Quiet, DomId(7)).unwrap_err();
        assert_eq!(failure.exit, Exit::Ok, "{failure}");
        assert_eq!(
            failure.to_string(),
            "domain 7: told to stop before it was served"
        );
    }

    #[test]
    fn a_node_that_cannot_be_read_is_not_taken_for_one_that_is_missing() {
        assert_eq!(understood(Some(Err(StoreError::NotFound))), Answer::Missing);
        let forbidden = StoreError::Denied;
        assert_eq!(understood(Some(Err(forbidden))), Answer::Refused(forbidden));
    }

    #[test]
    fn the_uuid_is_the_last_part_of_the_vm_node() {
        assert_eq!(name(b"/vm/12-ab").as_deref(), Some("12-ab"));
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        assert_eq!(name(b"/vm/.."), None);
        assert_eq!(name(b"/vm/"), None);
        assert_eq!(name(b"/vm/a b"), None);
    }
}
