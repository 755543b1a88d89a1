//! The pairs of hypervisor and kernel that the lab boots, and the Debian releases they come from.
//!
//! It knows names only; what is done with them is `packages` and `image`.

use std::str::FromStr;

use crate::error::Failure;

/// One hypervisor with one control domain's kernel and tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stack {
    /// What the command line and scenarios call it.
    pub name: &'static str,
    /// The Debian release all its packages come from.
    pub suite: &'static str,
    /// Xen's version as Debian's package names carry it.
    pub xen: &'static str,
    /// The kernel series of both the control domain and its guests; for display.
    pub linux: &'static str,
}

/// All of them, oldest first.
pub const STACKS: [Stack; 2] = [
    Stack {
        name: "xen-4.17",
        suite: "bookworm",
        xen: "4.17",
        linux: "6.1",
    },
    Stack {
        name: "xen-4.20",
        suite: "trixie",
        xen: "4.20",
        linux: "6.12",
    },
];

/// What every stack's control domain is made of, beside its hypervisor and its xen-utils.
const COMMON: [&str; 14] = [
    "linux-image-amd64",
    "xen-utils-common",
    "xenstore-utils",
    "qemu-system-xen",
    "seabios",
    "ipxe-qemu",
    "bash",
    "busybox-static",
    "e2fsprogs",
    "util-linux",
    "mount",
    "iproute2",
    "strace",
    "fio",
];

impl Stack {
    /// The packages asked for by name; apt adds what they depend on.
    #[must_use]
    pub fn packages(&self) -> Vec<String> {
        let versioned = [
            format!("xen-hypervisor-{}-amd64", self.xen),
            format!("xen-utils-{}", self.xen),
        ];
        COMMON
            .iter()
            .map(ToString::to_string)
            .chain(versioned)
            .collect()
    }

    /// Where Debian keeps this version's own programs and libraries.
    #[must_use]
    pub fn xen_dir(&self) -> String {
        format!("/usr/lib/xen-{}", self.xen)
    }
}

impl FromStr for Stack {
    type Err = Failure;

    fn from_str(name: &str) -> Result<Self, Failure> {
        let known = || STACKS.map(|stack| stack.name).join(", ");
        let found = STACKS.into_iter().find(|stack| stack.name == name);
        found.ok_or_else(|| Failure::new(format!("no stack named {name} (there are: {})", known())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_is_found_by_its_name() {
        let stack: Stack = "xen-4.20".parse().expect("known");
        assert_eq!(stack.suite, "trixie");
    }

    #[test]
    fn an_unknown_stack_is_refused_with_the_known_ones_named() {
        let refusal = "xen-4.4".parse::<Stack>().expect_err("unknown").to_string();
        assert!(refusal.contains("xen-4.17, xen-4.20"), "{refusal}");
    }

    #[test]
    fn the_hypervisor_is_asked_for_by_the_stacks_own_version() {
        assert!(
            STACKS[0]
                .packages()
                .contains(&"xen-hypervisor-4.17-amd64".to_owned())
        );
    }
}
