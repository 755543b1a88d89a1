//! Which devices xenstore gives a guest: the directories `backend/<kind>/<domid>`.
//!
//! It reads no node itself: it says what to watch and to list, and understands what came back.
//! Invariant: a device is named by (kind, devid) alone; what is not a decimal number is no device.

use abi::DomId;
use xenstore::wire::Request;
use xenstore::{Path, Step};

use crate::cli::args::KindArg;

/// The watch token of the device directories.
pub const TOKEN_TREE: &str = "tree";
/// The watch token of the guest's end.
pub const TOKEN_GONE: &str = "gone";

/// The places where devices of one guest appear.
#[derive(Debug)]
pub struct Tree {
    roots: Vec<(KindArg, Path)>,
    domid: DomId,
}

/// What a changed path is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// The directory of a kind: list it.
    Directory(KindArg),
    /// One device.
    Device(KindArg, u32),
    /// Nothing of ours.
    Nothing,
}

impl Tree {
    /// The trees of `domid` under the backend domain `own`.
    pub fn new(own: DomId, domid: DomId, kinds: &[KindArg]) -> Self {
        let root = |kind: &KindArg| {
            let text = format!("/local/domain/{own}/backend/{}/{domid}", kind.name());
            Path::new(text).ok().map(|path| (*kind, path))
        };
        Self {
            roots: kinds.iter().filter_map(root).collect(),
            domid,
        }
    }

    /// The steps that ask to be told of every change, and of the end of the guest.
    ///
    /// A toolstack that destroys a domain removes its home, and then lets Xen release it, which
    /// xenstored tells to all who watch `@releaseDomain`. The form that concerns one domain alone
    /// is in `docs/misc/xenstore.txt` since Xen 4.17, but before 4.22 xenstored takes it and never
    /// fires it (others may refuse it). So the home is watched as well; the plain form would wake
    /// every VM process when any domain ends. The last of the steps may be refused.
    pub fn watches(&self) -> Vec<Step> {
        let watch = |path: Path, token: &str| Step::Watch {
            path,
            token: token.into(),
        };
        let trees = self
            .roots
            .iter()
            .map(|(_, path)| watch(path.clone(), TOKEN_TREE));
        let gone = Path::new(format!("@releaseDomain/{}", self.domid)).ok();
        let gone = self.vm().into_iter().chain(gone);
        trees
            .chain(gone.map(|path| watch(path, TOKEN_GONE)))
            .collect()
    }

    /// The steps that ask whether the guest still is: `super::answers::is_alive` reads the replies.
    pub fn whether_alive(&self) -> Vec<Step> {
        let introduced = Step::Request(Request::IsDomainIntroduced(self.domid));
        let vm = self.vm().map(Step::Read);
        std::iter::once(introduced).chain(vm).collect()
    }

    /// A node of the guest's home that is there from its creation to its end, and never changes.
    fn vm(&self) -> Option<Path> {
        Path::home(self.domid).join("vm").ok()
    }

    /// The steps that remove what reasons for refusals leave: each takes its own node back, and
    /// nobody the directory that they stood in, which is ours as the devices are.
    pub fn remove_reasons(&self, own: DomId) -> Vec<Step> {
        let reasons = |(kind, _): &(KindArg, Path)| {
            let name = format!("error/backend/{}/{}", kind.name(), self.domid);
            Path::home(own).join(&name).ok()
        };
        let paths = self.roots.iter().filter_map(reasons);
        paths.map(Step::Remove).collect()
    }

    /// The step that lists the devices of `kind`.
    pub fn listing(&self, kind: KindArg) -> Option<Step> {
        let (_, root) = self.roots.iter().find(|(of, _)| *of == kind)?;
        Some(Step::Directory(root.clone()))
    }

    /// What a change of `path` is about.
    pub fn about(&self, path: &Path) -> About {
        let below = self.roots.iter().find_map(|(kind, root)| {
            let rest = path.as_str().strip_prefix(root.as_str())?;
            Some((*kind, rest))
        });
        match below {
            Some((kind, "")) => About::Directory(kind),
            Some((kind, rest)) => {
                let name = rest
                    .strip_prefix('/')
                    .and_then(|rest| rest.split('/').next());
                name.and_then(devid)
                    .map_or(About::Nothing, |devid| About::Device(kind, devid))
            }
            None => About::Nothing,
        }
    }
}

/// The number that a device's directory is named by.
#[must_use]
pub fn devid(name: &str) -> Option<u32> {
    let digits = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    if digits { name.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        Tree::new(DomId(0), DomId(7), &[KindArg::Vbd, KindArg::Vbd3])
    }

    fn about(path: &str) -> About {
        tree().about(&Path::new(path).unwrap())
    }

    #[test]
    fn a_change_below_a_device_is_about_that_device() {
        let expected = About::Device(KindArg::Vbd3, 51712);
        assert_eq!(about("/local/domain/0/backend/vbd3/7/51712"), expected);
        assert_eq!(
            about("/local/domain/0/backend/vbd3/7/51712/state"),
            expected
        );
    }

    #[test]
    fn a_change_of_the_directory_itself_asks_for_a_listing() {
        assert_eq!(
            about("/local/domain/0/backend/vbd/7"),
            About::Directory(KindArg::Vbd)
        );
    }

    #[test]
    fn other_guests_and_names_that_are_no_numbers_are_nothing_of_ours() {
        assert_eq!(
            about("/local/domain/0/backend/vbd/71/51712"),
            About::Nothing
        );
        assert_eq!(about("/local/domain/0/backend/vbd/7/x"), About::Nothing);
        assert_eq!(about("/local/domain/0/backend/vbd/7/5x"), About::Nothing);
    }

    #[test]
    fn the_reasons_of_one_guest_and_no_others_are_removed() {
        let path = |kind| Path::new(format!("/local/domain/0/error/backend/{kind}/7")).unwrap();
        let expected = ["vbd", "vbd3"].map(|kind| Step::Remove(path(kind)));
        assert_eq!(tree().remove_reasons(DomId(0)), expected);
    }

    #[test]
    fn the_end_of_the_guest_alone_is_watched_not_that_of_every_guest() {
        let watches = tree().watches();
        let last = Step::Watch {
            path: Path::new("@releaseDomain/7").unwrap(),
            token: TOKEN_GONE.into(),
        };
        assert_eq!(watches.len(), 4);
        assert_eq!(watches.last(), Some(&last));
        let home = Step::Watch {
            path: Path::new("/local/domain/7/vm").unwrap(),
            token: TOKEN_GONE.into(),
        };
        assert_eq!(watches.get(2), Some(&home));
    }
}
