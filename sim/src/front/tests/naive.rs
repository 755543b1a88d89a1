//! The simplest backend: one request after the other, on a disk in memory.

use abi::io::blkif::{
    Operation, Protocol, RawRequest, RawSegment, Response, SLOT_MAX, Status, entries,
};
use abi::{DomId, GrantRef, Port, SECTOR_SIZE};
use ring::{Back, Notify, SharedPages};
use vm_memory::VolatileSlice;
use xen::{Access, CopyOp, Direction, GrantStatus, Mapped, Platform};

use super::{SECTORS, Store};
use crate::toolstack::Disk;
use crate::world::Host;

/// How the backend breaks the protocol, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Not at all.
    None,
    /// A byte of what is read is wrong.
    FlippedByte,
    /// A write is answered and does not happen.
    LostWrite,
    /// A read is answered and nothing is copied.
    LostRead,
    /// A read fills the whole page, whatever was asked for.
    WholePage,
    /// A second response instead of the next request's.
    Twice,
    /// A response to nothing.
    UnknownId,
    /// A response that names another operation.
    WrongOperation,
    /// An error.
    Error,
    /// An error for every flush, as from a disk that lost its cache.
    FlushError,
    /// A response index out of range.
    WildIndex,
}

pub(super) struct Naive {
    platform: Platform,
    store: Store,
    disk: Disk,
    pub(super) bytes: Vec<u8>,
    link: Option<Link>,
    pub(super) fault: Fault,
}

struct Link {
    back: Back<Pages>,
    protocol: Protocol,
    port: Port,
}

struct Pages(Box<dyn Mapped>);

impl SharedPages for Pages {
    fn slice(&self) -> VolatileSlice<'_> {
        self.0.slice()
    }
}

impl Naive {
    pub(super) fn new(host: &Host, domid: DomId, disk: Disk, store: Store) -> Self {
        let platform = host.attach_backend(domid).unwrap().platform;
        let bytes = vec![0; SECTORS * SECTOR_SIZE];
        Self {
            platform,
            store,
            disk,
            bytes,
            link: None,
            fault: Fault::None,
        }
    }

    pub(super) fn set(&mut self, host: &Host, key: &str, value: &str) {
        self.store
            .write(host, &format!("{}/{key}", self.disk.backend()), value);
    }

    pub(super) fn front(&mut self, host: &Host, key: &str) -> Option<String> {
        self.store
            .read(host, &format!("{}/{key}", self.disk.frontend()))
    }

    /// Publishes the disk and goes to InitWait.
    pub(super) fn offer(&mut self, host: &Host) {
        let sectors = (self.bytes.len() / SECTOR_SIZE).to_string();
        for (key, value) in [
            ("sectors", sectors.as_str()),
            ("sector-size", "512"),
            ("info", "0"),
        ] {
            self.set(host, key, value);
        }
        self.set(host, "feature-flush-cache", "1");
        self.set(host, "state", "2");
    }

    /// Maps the ring, binds the port and goes to Connected.
    pub(super) fn attach(&mut self, host: &Host) {
        let gref = GrantRef(self.front(host, "ring-ref").unwrap().parse().unwrap());
        let port = Port(self.front(host, "event-channel").unwrap().parse().unwrap());
        let named = self.front(host, "protocol");
        let protocol = named.map_or(Protocol::X86_64, |p| Protocol::parse(p.as_bytes()).unwrap());
        let domid = self.disk.domid;
        let mapped = self
            .platform
            .grants
            .map(domid, &[gref], Access::ReadWrite)
            .unwrap();
        let back = Back::new(Pages(mapped), entries(1, protocol), protocol.stride()).unwrap();
        let port = self.platform.events.bind_interdomain(domid, port).unwrap();
        self.link = Some(Link {
            back,
            protocol,
            port,
        });
        self.set(host, "state", "4");
    }

    /// Lets go of everything and goes to Closed.
    pub(super) fn detach(&mut self, host: &Host) {
        if let Some(link) = self.link.take() {
            self.platform.events.unbind(link.port).unwrap();
        }
        self.set(host, "state", "6");
    }

    /// Serves what is on the ring; true if the frontend was notified.
    pub(super) fn serve(&mut self) -> bool {
        let mut link = self.link.take().unwrap();
        let mut slot = [0; SLOT_MAX];
        while link.back.arm().unwrap() {
            while link.back.take(&mut slot) {
                let request = RawRequest::decode(link.protocol, &slot);
                let response = self.answer(&request);
                link.back.put(&response.encode());
            }
        }
        let notify = link.back.publish() == Notify::Peer;
        if self.fault == Fault::WildIndex {
            let index = [0, 0, 0, 0x40_u8];
            link.back
                .memory()
                .slice()
                .subslice(8, 4)
                .unwrap()
                .copy_from(&index);
        }
        if notify {
            self.platform.events.notify(link.port).unwrap();
        }
        self.link = Some(link);
        notify
    }

    fn answer(&mut self, request: &RawRequest) -> Response {
        self.carry_out(request);
        let mut response = Response {
            id: request.id,
            operation: request.operation,
            status: Status::OKAY,
        };
        match self.fault {
            Fault::UnknownId => response.id = 0xDEAD_0000_0000,
            Fault::Twice => response.id = 1 << 16,
            Fault::WrongOperation => response.operation = Operation::DISCARD,
            Fault::Error => response.status = Status::ERROR,
            Fault::FlushError if request.operation == Operation::FLUSH_DISKCACHE => {
                response.status = Status::ERROR;
            }
            _ => {}
        }
        response
    }

    fn carry_out(&mut self, request: &RawRequest) {
        let mut at = usize::try_from(request.sector_number.0).unwrap() * SECTOR_SIZE;
        for segment in &request.segments[..usize::from(request.nr_segments)] {
            let count = usize::from(segment.last_sect - segment.first_sect) + 1;
            let range = at..at + count * SECTOR_SIZE;
            match (request.operation, self.fault) {
                (Operation::READ, Fault::LostRead) | (Operation::WRITE, Fault::LostWrite) => {}
                (Operation::READ, _) => self.read(segment, range.clone()),
                _ => self.write(segment, range.clone()),
            }
            at = range.end;
        }
    }

    fn read(&mut self, segment: &RawSegment, range: std::ops::Range<usize>) {
        let mut data = self.bytes[range].to_vec();
        data[77] ^= u8::from(self.fault == Fault::FlippedByte);
        let mut first = segment.first_sect;
        if self.fault == Fault::WholePage {
            (data, first) = (vec![0; 4096], 0);
        }
        self.copy(Direction::ToGuest, segment.gref, first, &mut data);
    }

    fn write(&mut self, segment: &RawSegment, range: std::ops::Range<usize>) {
        let mut data = vec![0; range.len()];
        self.copy(
            Direction::FromGuest,
            segment.gref,
            segment.first_sect,
            &mut data,
        );
        self.bytes[range].copy_from_slice(&data);
    }

    fn copy(&mut self, direction: Direction, gref: GrantRef, first_sect: u8, data: &mut [u8]) {
        let mut op = [CopyOp {
            direction,
            domid: self.disk.domid,
            gref,
            offset: u16::from(first_sect) * 512,
            len: data.len().try_into().unwrap(),
            local: 0,
            status: GrantStatus::default(),
        }];
        self.platform.grants.copy(data.into(), &mut op);
        assert_eq!(op[0].status, GrantStatus(0));
    }
}
