//! What the daemon has asked xenstore and was not yet answered.
//!
//! It decides nothing. Invariant: every batch of the daemon that has an answer worth hearing is
//! here exactly until that answer comes.

use std::collections::BTreeMap;

use abi::DomId;
use abi::io::blkif::keys;
use abi::io::xenbus::XenbusState;
use xenstore::{Batch, BatchId, Reply, Step, StoreError};

use super::desk::Asker;
use super::guests::Ended;
use super::judge::Seen;
use super::link::Link;
use super::tree::{self, Name};
use crate::broker::wire::Question;
use crate::cli::args::KindArg;
use crate::vm::identity;
use crate::vm::tree::devid;

/// Answers to a batch, one for each step.
pub(super) type Replies = [Result<Reply, StoreError>];

/// Devices of a guest that are looked at: as many as one process serves.
const DEVICES_MAX: usize = crate::vm::devices::DEVICES_MAX;

/// Why it was asked.
pub(super) enum Inquiry {
    /// Whether the watch is set.
    Watch,
    /// Which guests there are.
    Guests,
    /// Which devices a guest has.
    Devices(DomId, Vec<KindArg>, Why),
    /// How devices of a guest are.
    States(DomId, Vec<Name>, Why),
    /// Whether a process may have an image.
    Image(Asker, Question),
    /// Whether a device that the kernel has taken is meant for us.
    Ignored(DomId, Name),
    /// Whether a write has succeeded.
    Written(DomId, Name),
}

/// Why a guest is looked at.
pub(super) enum Why {
    /// Something has changed.
    Changed,
    /// Its process was lost, and perhaps its last device has gone now.
    Remains,
    /// Its process has ended.
    Ended(Ended),
}

/// See the head of this file.
#[derive(Default)]
pub(super) struct Inquiries(BTreeMap<BatchId, Inquiry>);

impl Inquiries {
    /// Asks.
    pub(super) fn ask(&mut self, link: &mut Link, steps: Vec<Step>, inquiry: Inquiry) {
        self.submit(link, Batch::new(steps), inquiry);
    }

    /// Asks, or writes.
    pub(super) fn submit(&mut self, link: &mut Link, batch: Batch, inquiry: Inquiry) {
        self.0.insert(link.submit(batch), inquiry);
    }

    /// Asks which devices a guest has.
    pub(super) fn devices(&mut self, link: &mut Link, domid: DomId, kinds: &[KindArg], why: Why) {
        let steps = kinds.iter().filter_map(|kind| tree::devices(domid, *kind));
        let inquiry = Inquiry::Devices(domid, kinds.to_vec(), why);
        self.ask(link, steps.collect(), inquiry);
    }

    /// Asks how devices of a guest are, and which VM it is.
    pub(super) fn states(&mut self, link: &mut Link, domid: DomId, names: Vec<Name>, why: Why) {
        let of_device = |name: &Name| {
            let read = |key| tree::read(domid, *name, key);
            [read(keys::STATE), read(keys::ONLINE)]
        };
        let devices = names.iter().flat_map(of_device);
        let steps = [tree::vm(domid)].into_iter().chain(devices).flatten();
        let steps = steps.collect();
        self.ask(link, steps, Inquiry::States(domid, names, why));
    }

    /// Asks which script a device has.
    pub(super) fn script(&mut self, link: &mut Link, domid: DomId, name: Name) {
        let steps = tree::read(domid, name, keys::SCRIPT).into_iter().collect();
        self.ask(link, steps, Inquiry::Ignored(domid, name));
    }

    /// Why a batch was sent that is answered now.
    pub(super) fn answered(&mut self, batch: BatchId) -> Option<Inquiry> {
        self.0.remove(&batch)
    }
}

/// The guests that a list of every kind names.
pub(super) fn guests(replies: &Replies) -> Vec<DomId> {
    let names = replies.iter().flat_map(names);
    let mut guests: Vec<DomId> = names.filter_map(|name| tree::domid(name)).collect();
    guests.sort();
    guests.dedup();
    guests
}

/// The devices that a list of every kind names.
pub(super) fn devices(kinds: &[KindArg], replies: &Replies) -> Vec<Name> {
    let of_kind = kinds.iter().zip(replies).flat_map(|(kind, reply)| {
        let devids = names(reply).iter().filter_map(|name| devid(name));
        devids.map(|devid| Name { kind: *kind, devid })
    });
    of_kind.take(DEVICES_MAX).collect()
}

/// How the devices are, and which VM the guest is.
pub(super) fn states(names: &[Name], replies: &Replies) -> (Option<String>, Vec<Seen>) {
    let value = |at: usize| replies.get(at)?.as_ref().ok()?.value();
    let seen = names.iter().zip((1..).step_by(2)).map(|(name, at)| Seen {
        name: *name,
        state: value(at).map_or(XenbusState::UNKNOWN, XenbusState::parse),
        online: value(at + 1) == Some(b"1"),
    });
    (value(0).and_then(identity::name), seen.collect())
}

/// The value that was read alone.
pub(super) fn value(replies: &Replies) -> Option<&[u8]> {
    replies.first()?.as_ref().ok()?.value()
}

fn names(reply: &Result<Reply, StoreError>) -> &[String] {
    match reply {
        Ok(Reply::Names(names)) => names,
        _ => &[],
    }
}
