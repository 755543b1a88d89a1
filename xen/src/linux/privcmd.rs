//! Hypercalls that no other device makes, through `/dev/xen/privcmd`.
//!
//! What a hypercall reads and writes lies in memory of `/dev/xen/hypercall`, which is never paged
//! out or moved. It knows nothing of who asks.
//!
//! UNSAFETY: addresses travel inside the hypercall's arguments.
//!
//! Invariant: a hypercall reads and writes the one page of its buffer alone.
#![expect(unsafe_code, reason = "hypercalls; see the head of this file")]

use std::fs::File;
use std::io;

use abi::linux::privcmd::{self, Hypercall};
use abi::{DomId, PAGE_SIZE, Port, event_channel, grant_table};
use vm_memory::{ByteValued, Bytes as _};

use super::Error;
use super::sys::{self, Map, ioctl};
use crate::Access;

/// `__HYPERVISOR_grant_table_op` of `xen.h`.
const GRANT_TABLE_OP: u64 = 20;
/// `__HYPERVISOR_event_channel_op` of `xen.h`.
const EVENT_CHANNEL_OP: u64 = 32;

/// The open devices.
#[derive(Debug)]
pub struct Privcmd {
    file: File,
    buffer: Map,
}

impl Privcmd {
    /// Opens the devices.
    pub fn open() -> Result<Self, Error> {
        let file = sys::open(privcmd::PATH)?;
        let memory = sys::open(privcmd::BUFFER_PATH)?;
        let buffer = Map::new(&memory, PAGE_SIZE, 0, Access::ReadWrite);
        let buffer = buffer.map_err(Error::os(privcmd::BUFFER_PATH))?;
        Ok(Self { file, buffer })
    }

    /// Lets the device make device-model calls for `domid` alone, and no hypercalls, for good.
    pub fn restrict(&mut self, domid: DomId) -> io::Result<()> {
        let mut argument = domid.0;
        // SAFETY: a domid_t, as the request says.
        unsafe { ioctl(&self.file, privcmd::RESTRICT, &mut argument) }.map(drop)
    }

    /// How a port of `domid` stands.
    pub fn event_channel_status(&mut self, domid: DomId, port: Port) -> io::Result<PortStatus> {
        let asked = StatusOp {
            dom: domid.0,
            port: port.0,
            ..StatusOp::default()
        };
        let operation = event_channel::op::STATUS.into();
        let told = self.hypercall(EVENT_CHANNEL_OP, asked, |address| [operation, address, 0])?;
        Ok(PortStatus {
            status: told.status,
            remote: DomId(told.remote),
            remote_port: Port(told.remote_port),
        })
    }

    /// Frames of the grant table of `domid`: how many it has, and how many it may have.
    pub fn grant_table_size(&mut self, domid: DomId) -> io::Result<(u32, u32)> {
        let asked = QuerySize {
            dom: domid.0,
            ..QuerySize::default()
        };
        let operation = grant_table::op::QUERY_SIZE.into();
        let told = self.hypercall(GRANT_TABLE_OP, asked, |address| [operation, address, 1])?;
        match told.status {
            grant_table::gntst::OKAY => Ok((told.nr_frames, told.max_nr_frames)),
            status => Err(io::Error::other(format!("grant status {status}"))),
        }
    }

    /// One hypercall with one structure, which lies at the address that `arguments` is given.
    fn hypercall<T: ByteValued>(
        &mut self,
        op: u64,
        structure: T,
        arguments: impl Fn(u64) -> [u64; 3],
    ) -> io::Result<T> {
        let page = self.buffer.slice();
        page.write_obj(structure, 0).map_err(io::Error::other)?;
        let [first, second, third] = arguments(self.buffer.address());
        let mut argument = Hypercall {
            op,
            arg: [first, second, third, 0, 0],
        };
        // SAFETY: the callers in this file name operations that read and write one structure, which
        // lies at the start of the page.
        unsafe { ioctl(&self.file, privcmd::HYPERCALL, &mut argument) }?;
        page.read_obj(0).map_err(io::Error::other)
    }
}

/// What the hypervisor says of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortStatus {
    /// A number of [`event_channel::status`].
    pub status: u32,
    /// Unbound or connected: the other domain.
    pub remote: DomId,
    /// Connected: the other port.
    pub remote_port: Port,
}

/// `struct evtchn_status` of `event_channel.h`; of its union, the two domains and the port.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct StatusOp {
    dom: u16,
    pad: u16,
    port: u32,
    status: u32,
    vcpu: u32,
    remote: u16,
    pad2: u16,
    remote_port: u32,
}

/// `struct gnttab_query_size` of `grant_table.h`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct QuerySize {
    dom: u16,
    pad: u16,
    nr_frames: u32,
    max_nr_frames: u32,
    status: i16,
    pad2: u16,
}

// SAFETY: plain numbers without padding: every bit pattern is a value.
unsafe impl ByteValued for StatusOp {}
// SAFETY: as above.
unsafe impl ByteValued for QuerySize {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::{offset_of, size_of};

    #[test]
    fn the_structures_lie_as_xen_reads_them() {
        assert_eq!(size_of::<StatusOp>(), 24);
        assert_eq!(offset_of!(StatusOp, status), 8);
        assert_eq!(offset_of!(StatusOp, remote), 16);
        assert_eq!(offset_of!(StatusOp, remote_port), 20);
        assert_eq!(size_of::<QuerySize>(), 16);
        assert_eq!(offset_of!(QuerySize, max_nr_frames), 8);
        assert_eq!(offset_of!(QuerySize, status), 12);
    }
}
