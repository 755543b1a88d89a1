//! What keeps a ring from being made or a file from being added, as one line for the operator:
//! what was being done, what stood in the way, what removes it.
//!
//! Invariant: the explanation is a pure function of the errno and of what /proc says.

use std::fs;
use std::io;

/// Why a [`Uring`](super::Uring) cannot be had, or cannot take a file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel lacks the ring modes that Linux 6.1 brought.
    #[error(
        "create io_uring: kernel {release} is too old or built without it; boot Linux 6.1 or later"
    )]
    Kernel {
        /// `uname -r`.
        release: String,
    },
    /// The administrator switched io_uring off.
    #[error(
        "create io_uring: forbidden by sysctl kernel.io_uring_disabled = {value}; \
         set it to 0, or to 1 and this process's group in kernel.io_uring_group"
    )]
    Disabled {
        /// The value of the sysctl.
        value: String,
    },
    /// A system call filter or security module said no.
    #[error(
        "create io_uring: not permitted by a seccomp filter or security module; \
         allow io_uring_setup, io_uring_enter and io_uring_register for this process"
    )]
    Filtered,
    /// The rings do not fit.
    #[error(
        "create io_uring: no memory for the rings; raise the locked-memory limit \
         (ulimit -l, LimitMEMLOCK=) or the memory limit of the control group"
    )]
    Memory,
    /// The file table is larger than the process may have files.
    #[error(
        "create io_uring: the limit of open files is below {files}; \
         raise it (ulimit -n, LimitNOFILE=)"
    )]
    Descriptors {
        /// How many files the table is to have.
        files: u32,
    },
    /// Anything else that io_uring_setup or the file table said.
    #[error("create io_uring")]
    Create(#[source] io::Error),
    /// Every slot of the file table is taken.
    #[error(
        "add a file to io_uring: all {files} slots of this process are taken; \
         they become free as devices that it serves are detached"
    )]
    TableFull {
        /// How many there are.
        files: usize,
    },
    /// The kernel did not take the file.
    #[error("add a file to io_uring")]
    Add(#[source] io::Error),
}

impl Error {
    /// Explains why io_uring_setup failed on this host.
    pub(super) fn create(error: io::Error) -> Self {
        let sysctl = |name: &str| match fs::read_to_string(format!("/proc/sys/kernel/{name}")) {
            Ok(value) => value.trim().to_owned(),
            Err(_) => "unknown".to_owned(),
        };
        explain(error, &sysctl("osrelease"), &sysctl("io_uring_disabled"))
    }

    /// Explains why there is no table for so many files.
    pub(super) fn table(error: io::Error, files: u32) -> Self {
        match error.raw_os_error() {
            Some(libc::EMFILE) => Self::Descriptors { files },
            _ => Self::Create(error),
        }
    }
}

fn explain(error: io::Error, release: &str, disabled: &str) -> Error {
    match error.raw_os_error() {
        // EINVAL: a flag this kernel does not know. ENOSYS: no io_uring at all.
        Some(libc::EINVAL | libc::ENOSYS) => Error::Kernel {
            release: release.to_owned(),
        },
        Some(libc::EPERM | libc::EACCES) if matches!(disabled, "1" | "2") => Error::Disabled {
            value: disabled.to_owned(),
        },
        Some(libc::EPERM | libc::EACCES) => Error::Filtered,
        Some(libc::ENOMEM) => Error::Memory,
        _ => Error::Create(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(errno: i32, disabled: &str) -> String {
        explain(io::Error::from_raw_os_error(errno), "5.10.0", disabled).to_string()
    }

    #[test]
    fn an_old_kernel_is_named_with_the_version_that_would_do() {
        assert!(text(libc::EINVAL, "0").contains("kernel 5.10.0"));
        assert!(text(libc::EINVAL, "0").contains("6.1"));
    }

    #[test]
    fn a_forbidding_sysctl_is_named_with_its_value() {
        assert!(text(libc::EPERM, "2").contains("kernel.io_uring_disabled = 2"));
    }

    #[test]
    fn a_refusal_that_is_not_the_sysctl_is_put_down_to_a_filter() {
        assert!(text(libc::EPERM, "0").contains("seccomp"));
    }

    #[test]
    fn missing_memory_names_the_limits() {
        assert!(text(libc::ENOMEM, "0").contains("LimitMEMLOCK"));
    }

    #[test]
    fn every_explanation_is_one_line() {
        let errnos = [libc::EINVAL, libc::EPERM, libc::ENOMEM, libc::EMFILE];
        assert!(errnos.iter().all(|errno| !text(*errno, "1").contains('\n')));
    }
}
