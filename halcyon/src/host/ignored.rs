//! Devices that ask for us and that the kernel's own backend has taken.
//!
//! It reads nothing: it remembers which were looked into, so that one line is said of each.
//! Invariant: it has no device that is not there any more, as far as xenstore tells.

use std::collections::BTreeSet;

use abi::DomId;
use abi::io::xenbus::XenbusState;

use super::judge::Seen;

/// What `script` of a device ends with that is meant for us.
const SCRIPT: &[u8] = b"/block-halcyon";

/// See the head of this file.
#[derive(Default)]
pub(super) struct Ignored(BTreeSet<(DomId, u32)>);

impl Ignored {
    /// A device of the kernel's was looked at: whether it is the first time.
    pub(super) fn is_new(&mut self, domid: DomId, device: &Seen) -> bool {
        let which = (domid, device.name.devid);
        if device.state == XenbusState::UNKNOWN {
            self.0.remove(&which);
            return false;
        }
        self.0.insert(which)
    }

    /// All devices of a guest were removed.
    pub(super) fn forget(&mut self, domid: DomId) {
        let all = self.0.range((domid, 0)..=(domid, u32::MAX));
        for which in all.copied().collect::<Vec<_>>() {
            self.0.remove(&which);
        }
    }
}

/// Whether a device with this script expects us.
pub(super) fn asks_for_us(script: Option<&[u8]>) -> bool {
    script.is_some_and(|script| script.ends_with(SCRIPT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::KindArg;
    use crate::host::tree::Name;

    fn device(devid: u32, state: XenbusState) -> Seen {
        Seen {
            name: Name {
                kind: KindArg::Vbd,
                devid,
            },
            state,
            online: true,
        }
    }

    #[test]
    fn a_device_is_new_once_for_as_long_as_it_is_there() {
        let mut ignored = Ignored::default();
        let waits = device(51712, XenbusState::INIT_WAIT);
        assert!(ignored.is_new(DomId(7), &waits));
        assert!(!ignored.is_new(DomId(7), &waits));
        assert!(!ignored.is_new(DomId(7), &device(51712, XenbusState::UNKNOWN)));
        assert!(ignored.is_new(DomId(7), &waits));
    }

    #[test]
    fn the_devices_of_a_guest_are_forgotten_with_it_and_those_of_others_are_not() {
        let mut ignored = Ignored::default();
        let waits = device(51712, XenbusState::INIT_WAIT);
        assert!(ignored.is_new(DomId(7), &waits));
        assert!(ignored.is_new(DomId(8), &waits));
        ignored.forget(DomId(7));
        assert!(ignored.is_new(DomId(7), &waits));
        assert!(!ignored.is_new(DomId(8), &waits));
    }

    #[test]
    fn the_kernels_own_disks_are_none_of_our_business() {
        assert!(asks_for_us(Some(b"/etc/xen/scripts/block-halcyon")));
        assert!(!asks_for_us(Some(b"/etc/xen/scripts/block")));
        assert!(!asks_for_us(None));
    }
}
