//! The options of qemu's command line that libxl and its users write, and what becomes of each.
//!
//! A table; it parses nothing. What an option means here, if anything, is in `dialect`. Invariant:
//! an option that is not in the table is refused, so that nothing asked for is dropped unsaid.

/// One option.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) name: &'static str,
    /// Whether the next word belongs to it.
    pub(super) takes_value: bool,
    pub(super) fate: Fate,
}

/// What becomes of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is acted upon.
    Meant,
    /// What it asks for is so in any case.
    Moot,
    /// What it asks for is not to be had, and the guest does without; the log says so, except
    /// where it asks for nothing.
    Unused,
    /// The guest cannot do without what it asks for, or its user relies on it: why not.
    Refused(&'static str),
    /// As [`Fate::Refused`], except where it asks for nothing.
    Absent(&'static str),
}

const RESTRICTED: &str = "a process that serves disks cannot be confined in this way; remove \
                          dm_restrict from the guest's configuration";
const EMULATED: &str = "no emulated devices here, PV and PVH guests have none; remove it from \
                        the guest's configuration";
/// libxl writes a display for a PV or PVH guest only where its configuration has a `vfb`, sets its
/// password by a command that it does not do without, and has the guest wait for its device.
const UNSEEN: &str = "there is no frame buffer here; remove vfb= from the guest's configuration";
const SAVED: &str = "the state of a device model cannot be restored here, PV and PVH guests have \
                     none";

/// The rows of options that share their fate.
const GROUPS: [(bool, Fate, &[&str]); 10] = [
    (false, Fate::Meant, &["-S", "-version"]),
    (
        true,
        Fate::Meant,
        &["-xen-domid", "-chardev", "-mon", "-machine", "-M"],
    ),
    (
        false,
        Fate::Moot,
        &[
            "-no-shutdown",
            "-nodefaults",
            "-no-user-config",
            "-xen-attach",
            "-nographic",
            "-no-acpi",
        ],
    ),
    (true, Fate::Moot, &["-name", "-m", "-smp", "-uuid"]),
    (
        true,
        Fate::Unused,
        &[
            "-k",
            "-boot",
            "-net",
            "-monitor",
            "-serial",
            "-parallel",
            "-usbdevice",
            "-trace",
            "-global",
            "-sandbox",
            "-D",
            "-d",
        ],
    ),
    (false, Fate::Unused, &["-usb"]),
    (true, Fate::Absent(UNSEEN), &["-vnc", "-display"]),
    (false, Fate::Refused(UNSEEN), &["-sdl"]),
    (false, Fate::Refused(RESTRICTED), &["-xen-domid-restrict"]),
    (
        true,
        Fate::Refused(RESTRICTED),
        &["-chroot", "-run-with", "-runas"],
    ),
];

/// More of them, whose values are not looked at.
const REFUSED: [(Fate, &[&str]); 2] = [
    (Fate::Refused(SAVED), &["-incoming", "-loadvm"]),
    (
        Fate::Refused(EMULATED),
        &[
            "-device", "-drive", "-netdev", "-object", "-kernel", "-initrd", "-append", "-spice",
            "-vga", "-soundhw", "-cdrom", "-hda", "-hdb", "-hdc", "-hdd", "-fda",
        ],
    ),
];

/// What is known of an option.
pub(super) fn known(name: &str) -> Option<Known> {
    let refused = REFUSED.iter().map(|(fate, names)| (true, *fate, *names));
    let mut groups = GROUPS.iter().copied().chain(refused);
    groups.find_map(|(takes_value, fate, names)| {
        let name = names.iter().find(|known| **known == name)?;
        Some(Known {
            name,
            takes_value,
            fate,
        })
    })
}

/// Whether a value asks for nothing: `-vnc none`, `-serial /dev/null`.
pub(super) fn asks_for_nothing(value: &str) -> bool {
    matches!(value, "none" | "null" | "/dev/null")
}
