//! Devices that a toolstack leaves to a device model and that nobody serves here.
//!
//! libxl starts a device model for a guest with any of them, waits for none, and makes some of them
//! only when the device model says that it is ready; so their directories are watched. Whoever made
//! one is told, in the log and in the device's own directory, and that is all that is done about it.
//!
//! Invariant: a device is told of once while it is there, and nothing is written where none is.

use abi::DomId;
use abi::io::blkif::keys::HOTPLUG_ERROR;
use reactor::Reactor;
use xenstore::{Batch, Path, Step};

use super::tree::devid;
use super::{Images, Question, Vm};

/// The watch token of their directories.
pub(super) const TOKEN: &str = "unserved";

/// Their kinds, as `libxl_types_internal.idl` names them, and what brings them about (`xl.cfg(5)`).
const KINDS: [(&str, &str); 4] = [
    ("9pfs", "p9="),
    ("vfb", "vfb="),
    ("vkbd", "vkb= or vfb="),
    ("qusb", "usbctrl="),
];

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Unserved {
    domid: DomId,
    /// One for each of [`KINDS`].
    roots: Vec<Path>,
    /// The devices that were told of and are there: place in [`KINDS`], number.
    told: Vec<(usize, u32)>,
}

impl Unserved {
    /// Those of `domid` under the backend domain `own`.
    pub(super) fn new(own: DomId, domid: DomId) -> Self {
        let roots = KINDS.iter().filter_map(|(kind, _)| {
            Path::new(format!("/local/domain/{own}/backend/{kind}/{domid}")).ok()
        });
        Self {
            domid,
            roots: roots.collect(),
            told: Vec::new(),
        }
    }

    /// Asks to be told of each; a watch tells at once of what is there already.
    pub(super) fn watches(&self) -> Vec<Step> {
        let watch = |path: &Path| Step::Watch {
            path: path.clone(),
            token: TOKEN.into(),
        };
        self.roots.iter().map(watch).collect()
    }

    /// Of which kind a device has changed.
    fn kind(&self, changed: &Path) -> Option<usize> {
        self.roots.iter().position(|root| root.contains(changed))
    }

    /// What there is to write of those among the devices of a kind that nobody was told of.
    fn tell(&mut self, kind: usize, names: &[String]) -> Vec<Batch> {
        let there = names.iter().filter_map(|name| devid(name));
        let there: Vec<_> = there.map(|devid| (kind, devid)).collect();
        let is_there = |told: &(usize, u32)| told.0 != kind || there.contains(told);
        self.told.retain(is_there);
        let fresh = there.into_iter().filter(|it| !self.told.contains(it));
        let fresh: Vec<_> = fresh.collect();
        self.told.extend(&fresh);
        let words = fresh
            .iter()
            .filter_map(|(_, devid)| self.word(kind, *devid));
        words.collect()
    }

    fn word(&self, kind: usize, devid: u32) -> Option<Batch> {
        let (name, option) = KINDS.get(kind)?;
        let dir = self.roots.get(kind)?.join(devid).ok()?;
        let text = format!(
            "no such devices are served here; remove {option} from the guest's configuration"
        );
        tracing::error!("{name}/{}/{devid}: {text}", self.domid);
        // libxl writes it with the device, so where it is missing the device is gone.
        let whose = self.domid.to_string().into_bytes();
        Some(Batch::transaction(vec![
            Step::Expect(dir.join("frontend-id").ok()?, whose),
            Step::Write(dir.join(HOTPLUG_ERROR).ok()?, text.into_bytes()),
        ]))
    }
}

impl<R: Reactor, I: Images<R>> Vm<R, I> {
    /// Something changed in one of their directories.
    pub(super) fn unserved_changed(&mut self, path: &Path) {
        let kind = self.unserved.as_ref().and_then(|them| them.kind(path));
        kind.into_iter().for_each(|kind| self.list_unserved(kind));
    }

    /// Asks which devices of a kind there are, unless the answer is on its way.
    pub(super) fn list_unserved(&mut self, kind: usize) {
        let question = Question::Unserved(kind);
        let root = self.unserved.as_ref().and_then(|them| them.roots.get(kind));
        let is_asked = self.questions.iter().any(|(_, asked)| *asked == question);
        if let (Some(root), false) = (root.cloned(), is_asked) {
            self.ask(vec![Step::Directory(root)], question);
        }
    }

    /// These are there.
    pub(super) fn tell_of_unserved(&mut self, kind: usize, names: &[String]) {
        let words = self.unserved.as_mut().map(|them| them.tell(kind, names));
        for batch in words.unwrap_or_default() {
            self.ask_batch(batch, Question::Aside);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unserved() -> Unserved {
        Unserved::new(DomId(0), DomId(7))
    }

    fn names(devids: &[&str]) -> Vec<String> {
        devids.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_change_is_of_the_kind_whose_directory_it_is_in() {
        let kind = |path: &str| unserved().kind(&Path::new(path).unwrap());
        assert_eq!(kind("/local/domain/0/backend/9pfs/7/0/state"), Some(0));
        assert_eq!(kind("/local/domain/0/backend/qusb/7"), Some(3));
        assert_eq!(kind("/local/domain/0/backend/qusb/71"), None);
    }

    #[test]
    fn a_device_is_told_of_once_and_again_when_it_was_gone_meanwhile() {
        let mut unserved = unserved();
        let mut told = |devids: &[&str]| unserved.tell(1, &names(devids)).len();
        assert_eq!(told(&["0"]), 1);
        assert_eq!(told(&["0", "1", "x"]), 1);
        assert_eq!(told(&["1"]), 0);
        assert_eq!(told(&["0", "1"]), 1);
    }

    #[test]
    fn the_word_stands_with_the_device_if_it_is_still_there() {
        let dir = "/local/domain/0/backend/vfb/7/0";
        let node = |name: &str| Path::new(format!("{dir}/{name}")).unwrap();
        let text = "no such devices are served here; remove vfb= from the guest's configuration";
        let expected = vec![
            Step::Expect(node("frontend-id"), b"7".to_vec()),
            Step::Write(node("hotplug-error"), text.into()),
        ];
        let words = unserved().tell(1, &names(&["0"]));
        assert_eq!(words, [Batch::transaction(expected)]);
    }
}
