//! Which VM a domain number means: the UUID, asked of xenstore before anything is served.
//!
//! It is the one place where the process waits for an answer, because without it there is neither
//! a claim nor a state directory. Invariant: the name that comes back is safe as a file name.

use abi::DomId;
use evtchn::EventChannels;
use reactor::{Reactor, Sleep};
use xenstore::{Batch, Event, Path, Reply, Step};

use super::{Connection, Ended};
use crate::error::{Doing as _, Exit, Failure};

/// The UUID of `domid`: the last part of what `/local/domain/<domid>/vm` says.
pub fn uuid(
    reactor: &mut dyn Reactor,
    connection: &mut Connection,
    events: &mut dyn EventChannels,
    domid: DomId,
) -> Result<String, Failure> {
    let what = || format!("ask xenstore for domain {domid}");
    let path = Path::home(domid).join("vm").doing(what)?;
    connection.store.submit(Batch::new(vec![Step::Read(path)]));
    match answer(reactor, connection, events).doing(what)? {
        Some(value) => name(&value).ok_or_else(|| {
            let value = value.escape_ascii();
            Failure::failed(format!("domain {domid}: {value} in its vm node is no UUID"))
        }),
        None => Err(Failure::new(
            Exit::Failed,
            format!(
                "no domain {domid} on this host: `halcyon sim list` or your toolstack shows them"
            ),
        )),
    }
}

fn answer(
    reactor: &mut dyn Reactor,
    connection: &mut Connection,
    events: &mut dyn EventChannels,
) -> Result<Option<Vec<u8>>, Ended> {
    let Connection { store, streams } = connection;
    let (mut completions, mut ports) = (Vec::new(), Vec::new());
    loop {
        streams.send(reactor, store);
        reactor.wait(Sleep::UntilWork, &mut completions);
        for completion in completions.drain(..) {
            streams.complete(reactor, store, events, &mut ports, completion)?;
        }
        if let Some(Event::Replies { replies, .. }) = store.next_event() {
            return Ok(replies.into_iter().next().and_then(|reply| match reply {
                Ok(Reply::Value(value)) => Some(value),
                _ => None,
            }));
        }
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
