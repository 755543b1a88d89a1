//! Which guests and devices the paths below the domain's own `backend` node are about.
//!
//! It asks xenstore nothing: it makes steps and understands paths. All paths but those of guests'
//! homes are relative, so the daemon need not know which domain it is in.
//!
//! Invariant: what is not `backend/<kind of ours>/<number>/<number>` is no device.

use std::fmt;

use abi::DomId;
use abi::io::blkif::keys;
use abi::io::xenbus::XenbusState;
use blkback::Refusal;
use xenstore::{Batch, Path, Step};

use crate::cli::args::KindArg;
use crate::vm::tree::devid;

/// The one node that the daemon watches.
pub(super) const ROOT: &str = "backend";

/// Names a device of a guest that is known from elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name {
    /// Which kind of backend.
    pub(super) kind: KindArg,
    /// Its number.
    pub(super) devid: u32,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.name(), self.devid)
    }
}

/// What a changed path is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// Anything: the watch is new, or too much has changed to be told one by one.
    Everything,
    /// The devices of a guest, as a whole: they were removed.
    Guest(DomId),
    /// The directory of a device: the toolstack makes it and takes it away, and nobody else does.
    Directory(DomId, Name),
    /// The state of a device.
    State(DomId, Name),
    /// Something else, which is for the guest's own process.
    Nothing,
}

impl About {
    /// Understands a path.
    pub(super) fn of(path: &Path, kinds: &[KindArg]) -> Self {
        let mut parts = path.segments();
        let known = |name: &str| KindArg::named(name).filter(|kind| kinds.contains(kind));
        let root = parts.next() == Some(ROOT);
        let kind = parts.next().map(known);
        let guest = parts.next().map(domid);
        let device = parts.next().map(devid);
        let rest = (parts.next(), parts.next());
        match (root, kind, guest, device, rest) {
            (true, None, ..) => Self::Everything,
            (true, Some(Some(_)), Some(Some(domid)), None, _) => Self::Guest(domid),
            (true, Some(Some(kind)), Some(Some(domid)), Some(Some(devid)), rest) => {
                let name = Name { kind, devid };
                match rest {
                    (None, _) => Self::Directory(domid, name),
                    (Some(keys::STATE), None) => Self::State(domid, name),
                    _ => Self::Nothing,
                }
            }
            _ => Self::Nothing,
        }
    }
}

/// The number of a guest's directory.
pub(super) fn domid(name: &str) -> Option<DomId> {
    devid(name)?.try_into().ok().map(DomId)
}

fn path(text: String) -> Option<Path> {
    Path::new(text).ok()
}

/// The directory of a device.
pub(super) fn device(domid: DomId, name: Name) -> Option<Path> {
    path(format!(
        "{ROOT}/{}/{domid}/{}",
        name.kind.name(),
        name.devid
    ))
}

/// Asks to be told of every change.
pub(super) fn watch() -> Option<Step> {
    Some(Step::Watch {
        path: path(ROOT.to_owned())?,
        token: String::new(),
    })
}

/// Lists the guests that have devices of `kind`.
pub(super) fn guests(kind: KindArg) -> Option<Step> {
    path(format!("{ROOT}/{}", kind.name())).map(Step::Directory)
}

/// Lists the devices of `kind` of a guest.
pub(super) fn devices(domid: DomId, kind: KindArg) -> Option<Step> {
    path(format!("{ROOT}/{}/{domid}", kind.name())).map(Step::Directory)
}

/// Reads a node of a device.
pub(super) fn read(domid: DomId, name: Name, key: &str) -> Option<Step> {
    device(domid, name)?.join(key).ok().map(Step::Read)
}

/// Reads which VM a domain is.
pub(super) fn vm(domid: DomId) -> Option<Step> {
    Path::home(domid).join("vm").ok().map(Step::Read)
}

/// Closes a device that has nobody to close it, if it still is in `state`.
pub(super) fn close(domid: DomId, name: Name, state: XenbusState) -> Option<Batch> {
    let directory = device(domid, name)?;
    let node = directory.join(keys::STATE).ok()?;
    Some(Batch::transaction(vec![
        Step::Expect(node.clone(), state.to_string().into_bytes()),
        Step::Write(node, XenbusState::CLOSED.to_string().into_bytes()),
    ]))
}

/// Says why a device is not served, where Linux's `xenbus_dev_error` says it and where the hotplug
/// script looks, and lets the toolstack go on to its script, which reports it.
pub(super) fn refuse(domid: DomId, name: Name, refusal: &Refusal) -> Option<Batch> {
    let directory = device(domid, name)?;
    let node = |key: &str| directory.join(key).ok();
    let error = path(format!("error/{directory}/error"))?;
    let initialising = XenbusState::INITIALISING.to_string().into_bytes();
    let init_wait = XenbusState::INIT_WAIT.to_string().into_bytes();
    Some(Batch::transaction(vec![
        Step::Expect(node(keys::STATE)?, initialising),
        Step::Write(error, refusal.node_value()),
        Step::Write(
            node(keys::HOTPLUG_ERROR)?,
            refusal.text.clone().into_bytes(),
        ),
        Step::Write(node(keys::STATE)?, init_wait),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: Name = Name {
        kind: KindArg::Vbd3,
        devid: 51712,
    };

    fn about(text: &str) -> About {
        About::of(&Path::new(text).unwrap(), &[KindArg::Vbd, KindArg::Vbd3])
    }

    #[test]
    fn a_devices_directory_and_its_state_are_of_interest_and_nothing_else_of_it() {
        let domid = DomId(7);
        assert_eq!(about("backend/vbd3/7/51712"), About::Directory(domid, NAME));
        assert_eq!(
            about("backend/vbd3/7/51712/state"),
            About::State(domid, NAME)
        );
        assert_eq!(about("backend/vbd3/7/51712/sectors"), About::Nothing);
        assert_eq!(about("backend/vbd3/7/51712/queue-0/state"), About::Nothing);
    }

    #[test]
    fn the_root_itself_means_that_anything_may_have_changed() {
        assert_eq!(about("backend"), About::Everything);
        assert_eq!(about("backend/vbd3"), About::Nothing);
        assert_eq!(about("backend/vbd3/7"), About::Guest(DomId(7)));
    }

    #[test]
    fn kinds_of_others_and_names_that_are_no_numbers_are_nothing_of_ours() {
        for path in [
            "backend/vif/7/0",
            "backend/qdisk/7/51712/state",
            "backend/vbd/x/1",
        ] {
            assert_eq!(about(path), About::Nothing);
        }
        assert_eq!(about("backend/vbd/70000/1/state"), About::Nothing);
        assert_eq!(about("device/vbd/7/1"), About::Nothing);
    }
}
