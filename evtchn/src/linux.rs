//! Event channels of a Linux control or driver domain: `/dev/xen/evtchn`.
//!
//! The kernel consumes the queues of `event_channel.h`; what is read from the device is an array
//! of ports, each masked from then on, and writing a port to the device unmasks it.
//!
//! UNSAFETY: every request passes the address of a structure to ioctl(2).
//!
//! Invariant: `bound` holds exactly the ports that the kernel has bound to this descriptor.
#![expect(unsafe_code, reason = "ioctl and write; see the head of this file")]

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;

use abi::linux::evtchn::{self, BindInterdomain, OneNumber, PORT_SIZE, RestrictDomid};
use abi::{DomId, Port};

use crate::{Error, EventChannels};

/// Ports that one write can carry: the kernel takes a page at most.
const PORTS_PER_WRITE: usize = abi::PAGE_SIZE / PORT_SIZE;

/// The event channels of one open device. Closing it closes every port.
#[derive(Debug)]
pub struct Evtchn {
    file: File,
    /// Sorted.
    bound: Vec<Port>,
    restricted_to: Option<DomId>,
    system_calls: u64,
}

impl Evtchn {
    /// Opens the device, nonblocking.
    pub fn open() -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true);
        let file = options.custom_flags(libc::O_NONBLOCK).open(evtchn::PATH)?;
        Ok(Self {
            file,
            bound: Vec::new(),
            restricted_to: None,
            system_calls: 0,
        })
    }

    /// A descriptor of the same open device. What a read of it gives goes to
    /// [`EventChannels::pending`]. A read fails with EFBIG once events were lost.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        Ok(self.file.try_clone()?.into())
    }

    /// Lets the device bind to ports of `domid` alone, for good. Linux refuses domain 0.
    pub fn restrict(&mut self, domid: DomId) -> Result<(), Error> {
        let argument = RestrictDomid { domid: domid.0 };
        self.request("restrict", Port(0), evtchn::RESTRICT_DOMID, &argument)?;
        self.restricted_to = Some(domid);
        Ok(())
    }

    /// The only domain that the device may still bind to, if it was restricted.
    pub fn restricted_to(&self) -> Option<DomId> {
        self.restricted_to
    }

    /// Binds a virtual interrupt (`VIRQ_*` of `xen.h`) of the first processor.
    pub fn bind_virq(&mut self, virq: u32) -> Result<Port, Error> {
        let argument = OneNumber { number: virq };
        self.bind("bind_virq", Port(0), evtchn::BIND_VIRQ, &argument)
    }

    /// [`EventChannels::unmask`] of many ports by one system call for each 1024.
    pub fn unmask_all(&mut self, ports: &[Port]) -> Result<(), Error> {
        for ports in ports.chunks(PORTS_PER_WRITE) {
            let bytes: Vec<u8> = ports.iter().flat_map(|it| it.0.to_ne_bytes()).collect();
            self.write("unmask", ports.first().copied().unwrap_or_default(), &bytes)?;
        }
        Ok(())
    }

    fn write(&mut self, operation: &'static str, port: Port, bytes: &[u8]) -> Result<(), Error> {
        self.system_calls += 1;
        match self.file.write(bytes) {
            Ok(written) if written == bytes.len() => Ok(()),
            Ok(_) => Err(failed(operation, port, io::ErrorKind::WriteZero.into())),
            Err(source) => Err(failed(operation, port, source)),
        }
    }

    fn bind<T>(
        &mut self,
        operation: &'static str,
        port: Port,
        request: u32,
        argument: &T,
    ) -> Result<Port, Error> {
        let bound = Port(self.request(operation, port, request, argument)?);
        if let Err(at) = self.bound.binary_search(&bound) {
            self.bound.insert(at, bound);
        }
        Ok(bound)
    }

    /// One ioctl. `argument` is what `xen/evtchn.h` says that `request` takes: all of them are
    /// read by the kernel only.
    fn request<T>(
        &mut self,
        operation: &'static str,
        port: Port,
        request: u32,
        argument: &T,
    ) -> Result<u32, Error> {
        self.system_calls += 1;
        let (fd, address) = (self.file.as_raw_fd(), std::ptr::from_ref(argument));
        // SAFETY: the argument outlives the call; none of this driver's requests writes to it.
        let result = unsafe { libc::ioctl(fd, libc::Ioctl::from(request), address) };
        u32::try_from(result).map_err(|_| failed(operation, port, io::Error::last_os_error()))
    }
}

fn failed(operation: &'static str, port: Port, source: io::Error) -> Error {
    Error {
        operation,
        port,
        source,
    }
}

impl EventChannels for Evtchn {
    fn bind_interdomain(&mut self, remote: DomId, remote_port: Port) -> Result<Port, Error> {
        let argument = BindInterdomain {
            remote_domain: remote.0.into(),
            remote_port: remote_port.0,
        };
        let request = evtchn::BIND_INTERDOMAIN;
        self.bind("bind_interdomain", remote_port, request, &argument)
    }

    fn bind_unbound(&mut self, remote: DomId) -> Result<Port, Error> {
        let number = remote.0.into();
        let request = evtchn::BIND_UNBOUND_PORT;
        self.bind("bind_unbound", Port(0), request, &OneNumber { number })
    }

    fn unbind(&mut self, port: Port) -> Result<(), Error> {
        let argument = OneNumber { number: port.0 };
        self.request("unbind", port, evtchn::UNBIND, &argument)?;
        if let Ok(at) = self.bound.binary_search(&port) {
            self.bound.remove(at);
        }
        Ok(())
    }

    fn notify(&mut self, port: Port) -> Result<(), Error> {
        let argument = OneNumber { number: port.0 };
        self.request("notify", port, evtchn::NOTIFY, &argument)?;
        Ok(())
    }

    fn unmask(&mut self, port: Port) -> Result<(), Error> {
        // The kernel takes any number and says nothing.
        if self.bound.binary_search(&port).is_err() {
            return Err(failed("unmask", port, io::ErrorKind::NotConnected.into()));
        }
        self.write("unmask", port, &port.0.to_ne_bytes())
    }

    fn pending(&mut self, read: &[u8], ports: &mut Vec<Port>) {
        let (whole, _) = read.as_chunks::<PORT_SIZE>();
        let named = whole.iter().map(|bytes| Port(u32::from_ne_bytes(*bytes)));
        // A port may have been closed after the kernel had put it into the stream.
        ports.extend(named.filter(|port| self.bound.binary_search(port).is_ok()));
    }

    fn system_calls(&self) -> u64 {
        self.system_calls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device that can only be asked what needs no kernel.
    fn bound_to(ports: &[u32]) -> Evtchn {
        Evtchn {
            file: File::open("/dev/null").expect("opening /dev/null"),
            bound: ports.iter().map(|&port| Port(port)).collect(),
            restricted_to: None,
            system_calls: 0,
        }
    }

    fn pending(evtchn: &mut Evtchn, bytes: &[u8]) -> Vec<Port> {
        let mut ports = Vec::new();
        evtchn.pending(bytes, &mut ports);
        ports
    }

    #[test]
    fn a_read_names_as_many_ports_as_it_holds() {
        let bytes: Vec<u8> = [3u32, 70_000]
            .iter()
            .flat_map(|it| it.to_ne_bytes())
            .collect();
        assert_eq!(
            pending(&mut bound_to(&[3, 70_000]), &bytes),
            [Port(3), Port(70_000)]
        );
    }

    #[test]
    fn bytes_that_are_no_whole_port_name_none() {
        let mut bytes = 3u32.to_ne_bytes().to_vec();
        bytes.extend([9, 9, 9]);
        assert_eq!(pending(&mut bound_to(&[3]), &bytes), [Port(3)]);
        assert_eq!(pending(&mut bound_to(&[3]), &[]), []);
    }

    #[test]
    fn a_port_that_was_closed_meanwhile_is_not_named() {
        assert_eq!(pending(&mut bound_to(&[4]), &3u32.to_ne_bytes()), []);
    }

    #[test]
    fn a_port_that_is_not_bound_cannot_be_unmasked() {
        let error = bound_to(&[4]).unmask(Port(5)).expect_err("not bound");
        assert_eq!(error.source.kind(), io::ErrorKind::NotConnected);
    }
}
