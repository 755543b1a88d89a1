//! Why the host refuses a call: a number for the caller, words for its operator.

use std::fmt::Display;
use std::io;

/// A refusal. The caller may go on.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) errno: i32,
    pub(crate) why: String,
}

impl Failure {
    pub(crate) fn new(errno: i32, why: impl Display) -> Self {
        Self {
            errno,
            why: why.to_string(),
        }
    }

    /// No domain of that number, or none any more.
    pub(crate) fn no_domain(domid: u16) -> Self {
        Self::new(libc::ESRCH, format_args!("no domain {domid}"))
    }

    /// No port of that number.
    pub(crate) fn no_port(port: u32) -> Self {
        Self::new(
            libc::EINVAL,
            format_args!("no such event channel port {port}"),
        )
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(error.raw_os_error().unwrap_or(libc::EIO), error)
    }
}
