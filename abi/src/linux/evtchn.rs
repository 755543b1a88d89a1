//! `/dev/xen/evtchn`: `xen/evtchn.h`.
//!
//! A read gives ports, each 32 bits in the machine's order; a port that was read is masked until it
//! is written back.

use super::ioc;

/// The device.
pub const PATH: &str = "/dev/xen/evtchn";
/// Bytes of a port in what is read and written.
pub const PORT_SIZE: usize = 4;

/// `IOCTL_EVTCHN_BIND_VIRQ`: [`OneNumber`], the virtual interrupt. Returns the port.
pub const BIND_VIRQ: u32 = ioc(b'E', 0, 4);
/// `IOCTL_EVTCHN_BIND_INTERDOMAIN`: [`BindInterdomain`]. Returns the local port.
pub const BIND_INTERDOMAIN: u32 = ioc(b'E', 1, 8);
/// `IOCTL_EVTCHN_BIND_UNBOUND_PORT`: [`OneNumber`], the remote domain. Returns the port.
pub const BIND_UNBOUND_PORT: u32 = ioc(b'E', 2, 4);
/// `IOCTL_EVTCHN_UNBIND`: [`OneNumber`], the port.
pub const UNBIND: u32 = ioc(b'E', 3, 4);
/// `IOCTL_EVTCHN_NOTIFY`: [`OneNumber`], the port.
pub const NOTIFY: u32 = ioc(b'E', 4, 4);
/// `IOCTL_EVTCHN_RESET`: nothing. Forgets what is pending, and that something was lost.
pub const RESET: u32 = ioc(b'E', 5, 0);
/// `IOCTL_EVTCHN_RESTRICT_DOMID`: [`RestrictDomid`]. For good.
pub const RESTRICT_DOMID: u32 = ioc(b'E', 6, 2);

/// The structures with a single `unsigned int`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct OneNumber {
    /// A port, a domain or a virtual interrupt.
    pub number: u32,
}

/// `struct ioctl_evtchn_bind_interdomain`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct BindInterdomain {
    /// Whose port.
    pub remote_domain: u32,
    /// Which port of theirs.
    pub remote_port: u32,
}

/// `struct ioctl_evtchn_restrict_domid`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct RestrictDomid {
    /// The only domain to bind to from now on.
    pub domid: u16,
}
