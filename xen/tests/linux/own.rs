//! Claims about Linux's devices that no other platform has.

use std::io::ErrorKind;

use abi::event_channel::status;
use abi::{DomId, PAGE_SIZE, Port};
use evtchn::EventChannels as _;
use evtchn::linux::Evtchn;
use libtest_mimic::Trial;
use vm_memory::VolatileSlice;
use xen::linux::gntalloc::Gntalloc;
use xen::linux::privcmd::Privcmd;
use xen::linux::{self, Gntdev, Xenbus};
use xen::{Access, CopyOp, Direction, GrantStatus, Grants as _};

/// A domain that there is not, as whom to restrict to does not matter.
const SOMEBODY: DomId = DomId(7);

macro_rules! trials {
    ($($name:ident),* $(,)?) => {
        pub(crate) fn trials() -> Vec<Trial> {
            vec![$(Trial::test(concat!("linux::", stringify!($name)), || {
                $name();
                Ok(())
            })),*]
        }
    };
}

trials![
    a_batch_of_copies_is_one_system_call,
    a_map_is_two_system_calls_and_its_end_two_more,
    a_restricted_device_binds_to_one_domain_alone,
    a_restricted_device_stays_restricted,
    the_own_domain_is_that_of_xenstore,
    the_hypervisor_describes_a_port,
    the_hypervisor_tells_how_large_a_grant_table_is,
    a_device_of_a_guest_is_restricted_to_it,
    a_restricted_privcmd_makes_no_hypercalls,
];

fn a_batch_of_copies_is_one_system_call() {
    const SEGMENTS: usize = 40;
    let gntalloc = Gntalloc::open().expect("opening");
    let page = gntalloc.grant(DomId::DOM0, Access::ReadWrite);
    let gref = page.as_ref().expect("granting").gref();
    let mut arena = vec![0; SEGMENTS * PAGE_SIZE];
    let op = |number: usize| CopyOp {
        direction: Direction::FromGuest,
        domid: DomId::DOM0,
        gref,
        offset: 0,
        len: 4096,
        local: number * PAGE_SIZE,
        status: GrantStatus(-1),
    };
    let mut ops: Vec<CopyOp> = (0..SEGMENTS).map(op).collect();
    let mut gntdev = Gntdev::open().expect("opening");
    gntdev.copy(VolatileSlice::from(arena.as_mut_slice()), &mut ops);
    assert_eq!(gntdev.system_calls(), 1);
    assert!(ops.iter().all(|op| op.status == GrantStatus(0)));
}

fn a_map_is_two_system_calls_and_its_end_two_more() {
    let gntalloc = Gntalloc::open().expect("opening");
    let page = gntalloc.grant(DomId::DOM0, Access::ReadWrite);
    let gref = page.as_ref().expect("granting").gref();
    let mut gntdev = Gntdev::open().expect("opening");
    let mapped = gntdev.map(DomId::DOM0, &[gref], Access::ReadWrite);
    let mapped = mapped.expect("mapping");
    assert_eq!(gntdev.system_calls(), 2);
    drop(mapped);
    assert_eq!(gntdev.system_calls(), 4);
}

fn a_restricted_device_binds_to_one_domain_alone() {
    let mut evtchn = Evtchn::open().expect("opening");
    evtchn.restrict(SOMEBODY).expect("restricting");
    assert_eq!(evtchn.restricted_to(), Some(SOMEBODY));
    let other = evtchn
        .bind_unbound(DomId::DOM0)
        .expect_err("another domain");
    assert_eq!(other.source.kind(), ErrorKind::PermissionDenied);
    let virq = evtchn.bind_virq(0).expect_err("no domain at all");
    assert_eq!(virq.source.kind(), ErrorKind::PermissionDenied);
}

fn a_restricted_device_stays_restricted() {
    let mut evtchn = Evtchn::open().expect("opening");
    evtchn.restrict(SOMEBODY).expect("restricting");
    assert!(evtchn.restrict(DomId(SOMEBODY.0 + 1)).is_err());
    assert_eq!(evtchn.restricted_to(), Some(SOMEBODY));
}

fn the_own_domain_is_that_of_xenstore() {
    let mut store = Xenbus::open().expect("opening");
    assert_eq!(store.own_domid().expect("asking"), DomId::DOM0);
}

fn the_hypervisor_describes_a_port() {
    let mut evtchn = Evtchn::open().expect("opening");
    let mut privcmd = Privcmd::open().expect("opening");
    let offered = evtchn.bind_unbound(DomId::DOM0).expect("a free port");
    let mut told = |port| privcmd.event_channel_status(DomId::DOM0, port);
    let before = told(offered).expect("an own port");
    assert_eq!(
        (before.status, before.remote),
        (status::UNBOUND, DomId::DOM0)
    );
    let bound = evtchn.bind_interdomain(DomId::DOM0, offered);
    let after = told(offered).expect("an own port");
    assert_eq!(after.status, status::INTERDOMAIN);
    assert_eq!(after.remote_port, bound.expect("binding"));
    assert!(told(Port(u32::MAX)).is_err());
}

fn the_hypervisor_tells_how_large_a_grant_table_is() {
    let mut privcmd = Privcmd::open().expect("opening");
    let (frames, max) = privcmd.grant_table_size(DomId::DOM0).expect("asking");
    assert!((1..=max).contains(&frames), "{frames} of {max} frames");
}

fn a_device_of_a_guest_is_restricted_to_it() {
    let (mut platform, _descriptors) = linux::backend(SOMEBODY).expect("opening");
    let refused = platform.events.bind_unbound(DomId::DOM0);
    let kind = refused.map_err(|error| error.source.kind());
    assert_eq!(
        kind.expect_err("another domain"),
        ErrorKind::PermissionDenied
    );
}

fn a_restricted_privcmd_makes_no_hypercalls() {
    let mut privcmd = Privcmd::open().expect("opening");
    privcmd.restrict(SOMEBODY).expect("restricting");
    let refused = privcmd.grant_table_size(DomId::DOM0);
    let kind = refused.map_err(|error| error.kind());
    assert_eq!(kind.expect_err("restricted"), ErrorKind::PermissionDenied);
}
