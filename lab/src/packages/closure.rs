//! Which files a closure consists of: apt's list, less what the lab never runs.
//!
//! It knows nothing of apt beyond the form of that list. Invariant: what is dropped is dropped by
//! package name, whichever version or suite it comes from.

/// One package file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deb {
    /// `name_version_arch.deb`, as it lies in the cache.
    pub file: String,
    /// The package.
    pub name: String,
    /// The version, its epoch's colon put back.
    pub version: String,
}

/// Packages that dependencies pull in and that no machine of the lab runs: what configures
/// packages, scripting languages, and the service managers that the lab's own init stands for. A
/// name that ends in `*` stands for all that begin so.
pub const NEVER_RUN: &[&str] = &[
    "adduser",
    "base-*",
    "coreutils",
    "dbus*",
    "debconf*",
    "dpkg",
    "dracut*",
    "gcc-*",
    "grub*",
    "init-system-helpers",
    "initramfs-tools*",
    "iso-codes",
    "klibc-utils",
    "kmod",
    "libfile-find-rule-perl",
    "libgdbm*",
    "libklibc",
    "libnumber-*",
    "libpam*",
    "libperl*",
    "libpython3*",
    "libsqlite3*",
    "libtext-*",
    "linux-base",
    "login*",
    "logsave",
    "mawk",
    "media-types",
    "ovmf*",
    "passwd",
    "perl*",
    "python3*",
    "sensible-utils",
    "sgml*",
    "sgabios",
    "systemd*",
    "sysvinit-utils",
    "tar",
    "ucf",
    "udev",
    "xen-doc",
    "xen-hypervisor-common",
];

impl Deb {
    /// Takes a file name apart.
    pub fn parse(file: &str) -> Option<Self> {
        let mut parts = file.strip_suffix(".deb")?.split('_');
        let (name, version) = (parts.next()?, parts.next()?);
        parts.next()?;
        let version = version.replace("%3a", ":");
        let whole = parts.next().is_none() && !name.is_empty() && !file.contains('/');
        whole.then(|| Self {
            file: file.to_owned(),
            name: name.to_owned(),
            version,
        })
    }

    /// Whether it bears one of these names; one that ends in `*` stands for all that begin so.
    pub(super) fn is_any_of(&self, patterns: &[&str]) -> bool {
        patterns.iter().any(|pattern| matches(pattern, &self.name))
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern
        .strip_suffix('*')
        .map_or(name == pattern, |start| name.starts_with(start))
}

/// The files that `apt-get install --print-uris` lists, less those never run.
#[must_use]
pub(super) fn listed(print_uris: &str) -> Vec<Deb> {
    let second_word = |line: &str| {
        line.strip_prefix('\'')?
            .split_once("' ")?
            .1
            .split(' ')
            .next()
            .and_then(Deb::parse)
    };
    print_uris.lines().filter_map(second_word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "Reading package lists...\n\
        'http://deb.debian.org/debian/pool/main/x/xen/xen-utils-4.17_4.17.5-1_amd64.deb' xen-utils-4.17_4.17.5-1_amd64.deb 1234 SHA256:ab\n\
        'http://deb.debian.org/debian/pool/main/p/perl/perl-base_5.36.0-7_amd64.deb' perl-base_5.36.0-7_amd64.deb 9 SHA256:cd\n\
        'http://deb.debian.org/debian/pool/main/q/qemu/qemu-system-x86_1%3a7.2+dfsg-7_amd64.deb' qemu-system-x86_1%3a7.2+dfsg-7_amd64.deb 8 SHA256:ef\n";

    #[test]
    fn only_package_files_are_taken_from_the_list() {
        let names: Vec<String> = listed(LIST).into_iter().map(|deb| deb.name).collect();
        assert_eq!(names, ["xen-utils-4.17", "perl-base", "qemu-system-x86"]);
    }

    #[test]
    fn what_is_never_run_is_left_out() {
        let mut debs = listed(LIST);
        debs.retain(|deb| !deb.is_any_of(NEVER_RUN));
        let names: Vec<String> = debs.into_iter().map(|deb| deb.name).collect();
        assert_eq!(names, ["xen-utils-4.17", "qemu-system-x86"]);
    }

    #[test]
    fn an_epochs_colon_is_put_back() {
        assert_eq!(listed(LIST)[2].version, "1:7.2+dfsg-7");
    }

    #[test]
    fn a_pattern_without_a_star_means_that_name_alone() {
        assert!(matches("tar", "tar") && !matches("tar", "target"));
        assert!(matches("perl*", "perl-base") && !matches("perl*", "libperl5.36"));
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_no_package_file() {
        assert_eq!(Deb::parse("../x_1_amd64.deb"), None);
        assert_eq!(Deb::parse("x_1.deb"), None);
        assert_eq!(Deb::parse("x_1_amd64.txt"), None);
    }
}
