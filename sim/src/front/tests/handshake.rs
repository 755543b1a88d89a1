//! Getting connected.

use abi::Sector;
use abi::io::blkif::{Protocol, keys};

use super::{SECTORS, Town, honest};
use crate::front::{Blkfront, Config, Phase, Properties};

#[test]
fn it_waits_for_the_backend_to_be_ready() {
    let mut town = Town::new();
    let mut front = Blkfront::new(honest());
    front.start(&mut town.kernel());
    town.settle_front(&mut front);
    assert_eq!(*front.phase(), Phase::Waiting);
    town.backend.offer(&town.host);
    town.settle_front(&mut front);
    assert_eq!(*front.phase(), Phase::Initialised);
    assert_eq!(
        town.backend.front(&town.host, "state").as_deref(),
        Some("3")
    );
}

#[test]
fn it_connects_and_knows_the_disk() {
    let mut town = Town::new();
    let front = town.connected(honest());
    assert_eq!(*front.phase(), Phase::Connected);
    assert_eq!(
        town.backend.front(&town.host, "state").as_deref(),
        Some("4")
    );
    let disk = Properties {
        sectors: Sector(SECTORS as u64),
        sector_size_bytes: 512,
        physical_sector_size_bytes: 512,
        flush: true,
        read_only: false,
    };
    assert_eq!(front.properties(), Some(disk));
}

#[test]
fn it_names_its_protocol_unless_told_not_to() {
    let mut town = Town::new();
    let arm = Config {
        protocol: Protocol::Arm,
        ..honest()
    };
    let _front = town.connected(arm);
    assert_eq!(
        town.backend.front(&town.host, "protocol").as_deref(),
        Some("arm-abi")
    );
    let mut town = Town::new();
    let _front = town.connected(Config {
        name_protocol: false,
        ..honest()
    });
    assert_eq!(town.backend.front(&town.host, "protocol"), None);
}

#[test]
fn it_publishes_lies_where_told_to() {
    let mut town = Town::new();
    let lies = vec![
        (keys::RING_REF, Some(b"-1".to_vec())),
        (keys::EVENT_CHANNEL, None),
    ];
    let mut front = Blkfront::new(Config {
        overrides: lies,
        ..honest()
    });
    front.start(&mut town.kernel());
    town.settle_front(&mut front);
    town.backend.offer(&town.host);
    town.settle_front(&mut front);
    assert_eq!(
        town.backend.front(&town.host, "ring-ref").as_deref(),
        Some("-1")
    );
    assert_eq!(town.backend.front(&town.host, "event-channel"), None);
}

#[test]
fn it_learns_a_new_size_while_connected() {
    let mut town = Town::new();
    let mut front = town.connected(honest());
    town.backend.set(&town.host, "sectors", "9000");
    town.backend.set(&town.host, "state", "4");
    town.settle_front(&mut front);
    assert_eq!(
        front.properties().map(|disk| disk.sectors),
        Some(Sector(9000))
    );
    assert_eq!(*front.phase(), Phase::Connected);
}

#[test]
fn a_backend_that_gives_up_before_connecting_is_followed() {
    let mut town = Town::new();
    let mut front = Blkfront::new(honest());
    front.start(&mut town.kernel());
    town.backend.set(&town.host, "state", "5");
    town.settle_front(&mut front);
    assert_eq!(
        town.backend.front(&town.host, "state").as_deref(),
        Some("6")
    );
    town.backend.detach(&town.host);
    town.settle_front(&mut front);
    assert_eq!((front.phase(), town.lent()), (&Phase::Down, 0));
}

#[test]
fn a_backend_with_impossible_sectors_is_not_used() {
    let mut town = Town::new();
    let mut front = Blkfront::new(honest());
    front.start(&mut town.kernel());
    town.backend.offer(&town.host);
    town.settle_front(&mut front);
    town.backend.set(&town.host, "sector-size", "520");
    town.backend.attach(&town.host);
    town.settle_front(&mut front);
    assert_eq!(
        *front.phase(),
        Phase::Failed("a backend with sectors of 520 bytes".into())
    );
}
