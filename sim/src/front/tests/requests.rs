//! Requests, and what a backend can do wrong with them.

use abi::io::blkif::{Operation, Status};
use abi::{SECTOR_SIZE, Sector};

use super::naive::Fault;
use super::{Town, honest};
use crate::front::blkfront::{Refused, SECTORS_MAX};
use crate::front::{Blkfront, Config, Done, Io, Kind, Outcome, Violation};

fn io(kind: Kind, sector: u64, sectors: u32, first_sect: u8) -> Io {
    Io {
        kind,
        sector: Sector(sector),
        sectors,
        first_sect,
        token: 9,
    }
}

/// Submits one request whose sectors are filled with their number, and lets it be served.
fn carried_out(town: &mut Town, front: &mut Blkfront, io: Io) -> Option<(Done, Vec<u8>)> {
    let fill = |index: u32, to: vm_memory::VolatileSlice<'_>| {
        to.copy_from(&[u8::try_from(index + 1).unwrap(); SECTOR_SIZE]);
    };
    front.submit(&mut town.kernel(), io, fill).unwrap();
    front.kick(&mut town.kernel());
    town.backend.serve();
    front.kicked(&mut town.kernel());
    front.next_done(&mut town.kernel(), |done, data| {
        let mut bytes = Vec::new();
        data.each(|_, sector| {
            let mut block = [0; SECTOR_SIZE];
            sector.copy_to(&mut block);
            bytes.extend(block);
        });
        (*done, bytes)
    })
}

fn broken(fault: Fault, io: Io) -> Vec<Violation> {
    let mut town = Town::new();
    let mut front = town.connected(honest());
    town.backend.fault = fault;
    carried_out(&mut town, &mut front, io);
    front.violations().to_vec()
}

#[test]
fn what_is_written_is_read_back_in_every_abi() {
    for protocol in abi::io::blkif::Protocol::ALL {
        let mut town = Town::new();
        let mut front = town.connected(Config {
            protocol,
            ..honest()
        });
        let okay = Outcome::Answered(Status::OKAY);
        let write = io(Kind::Write, 100, SECTORS_MAX - 5, 5);
        let (done, _) = carried_out(&mut town, &mut front, write).unwrap();
        assert_eq!(
            done,
            Done {
                io: write,
                outcome: okay
            }
        );
        let read = io(Kind::Read, 101, 3, 2);
        let (done, bytes) = carried_out(&mut town, &mut front, read).unwrap();
        assert_eq!(
            done,
            Done {
                io: read,
                outcome: okay
            }
        );
        assert_eq!(bytes, [[2; 512], [3; 512], [4; 512]].concat());
        let flush = io(Kind::Flush, 0, 0, 0);
        assert_eq!(
            carried_out(&mut town, &mut front, flush).unwrap().0.outcome,
            okay
        );
        assert_eq!((front.violations(), town.lent()), (&[][..], 1));
    }
}

#[test]
fn an_error_is_reported_as_one() {
    let mut town = Town::new();
    let mut front = town.connected(honest());
    town.backend.fault = Fault::Error;
    let (done, _) = carried_out(&mut town, &mut front, io(Kind::Read, 0, 1, 0)).unwrap();
    assert_eq!(done.outcome, Outcome::Answered(Status::ERROR));
    assert_eq!(front.violations(), []);
}

#[test]
fn a_response_to_nothing_is_a_violation() {
    let violations = broken(Fault::UnknownId, io(Kind::Read, 0, 1, 0));
    assert_eq!(violations, [Violation::UnknownId(0xDEAD_0000_0000)]);
}

#[test]
fn a_second_response_is_a_violation() {
    let mut town = Town::new();
    let mut front = town.connected(honest());
    carried_out(&mut town, &mut front, io(Kind::Read, 0, 1, 0)).unwrap();
    // The first request of a connection had this id, in the only free place at the time.
    town.backend.fault = Fault::Twice;
    assert!(carried_out(&mut town, &mut front, io(Kind::Read, 8, 1, 0)).is_none());
    assert_eq!(front.violations(), [Violation::Duplicate(1 << 16)]);
}

#[test]
fn a_response_to_another_operation_is_a_violation() {
    let violations = broken(Fault::WrongOperation, io(Kind::Read, 0, 1, 0));
    let (asked, answered) = (Operation::READ, Operation::DISCARD);
    assert_eq!(violations, [Violation::WrongOperation { asked, answered }]);
}

#[test]
fn a_read_that_writes_outside_of_its_segment_is_a_violation() {
    let violations = broken(Fault::WholePage, io(Kind::Read, 0, 6, 1));
    assert_eq!(
        violations,
        [Violation::OutsideSegment(0), Violation::OutsideSegment(7)]
    );
}

#[test]
fn a_wild_response_index_is_a_violation() {
    let violations = broken(Fault::WildIndex, io(Kind::Read, 0, 1, 0));
    let ring = ring::Corrupt::Index {
        prod: 1 << 30,
        cons: 0,
    };
    assert_eq!(violations, [Violation::Ring(ring)]);
}

#[test]
fn the_ring_takes_as_many_requests_as_it_has_slots() {
    let mut town = Town::new();
    let mut front = town.connected(honest());
    for sector in 0..32 {
        let read = io(Kind::Read, sector, 1, 0);
        front.submit(&mut town.kernel(), read, |_, _| {}).unwrap();
    }
    let one_more = front.submit(&mut town.kernel(), io(Kind::Read, 0, 1, 0), |_, _| {});
    assert_eq!(one_more, Err(Refused::RingFull));
    assert_eq!(front.in_flight(), 32);
}

#[test]
fn requests_of_impossible_sizes_are_not_put_on_the_ring() {
    let mut town = Town::new();
    let mut front = town.connected(honest());
    for (sectors, first_sect) in [(0, 0), (SECTORS_MAX + 1, 0), (SECTORS_MAX, 1), (1, 8)] {
        let read = io(Kind::Read, 0, sectors, first_sect);
        assert_eq!(
            front.submit(&mut town.kernel(), read, |_, _| {}),
            Err(Refused::Size)
        );
    }
    assert_eq!(town.lent(), 1);
}

#[test]
fn the_backend_is_told_once_while_it_is_awake() {
    let mut town = Town::new();
    let mut front = town.connected(honest());
    for sector in 0..3 {
        let read = io(Kind::Read, sector, 1, 0);
        front.submit(&mut town.kernel(), read, |_, _| {}).unwrap();
        front.kick(&mut town.kernel());
    }
    assert_eq!(front.counts().notifications, 1);
    assert!(town.backend.serve());
    front.kicked(&mut town.kernel());
    assert_eq!((front.counts().events, front.counts().spurious), (1, 0));
    front.kicked(&mut town.kernel());
    assert_eq!((front.counts().events, front.counts().spurious), (2, 1));
}
