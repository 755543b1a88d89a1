//! Every request number, size and offset of `abi::linux`, against those of Linux's own headers.
//!
//! The numbers stand here a second time on purpose: each is `_IOC(_IOC_NONE, 'E' | 'G' | 'P', nr,
//! size)` as a C compiler makes it of `include/uapi/xen/*.h` on x86-64.

use std::mem::{offset_of, size_of};

use abi::grant_table::gntdev_copy;
use abi::linux::{evtchn, gntalloc, gntdev, privcmd};

#[test]
fn evtchn_requests_have_linuxs_numbers() {
    assert_eq!(evtchn::BIND_VIRQ, 0x0004_4500);
    assert_eq!(evtchn::BIND_INTERDOMAIN, 0x0008_4501);
    assert_eq!(evtchn::BIND_UNBOUND_PORT, 0x0004_4502);
    assert_eq!(evtchn::UNBIND, 0x0004_4503);
    assert_eq!(evtchn::NOTIFY, 0x0004_4504);
    assert_eq!(evtchn::RESET, 0x0000_4505);
    assert_eq!(evtchn::RESTRICT_DOMID, 0x0002_4506);
}

#[test]
fn evtchn_structures_are_as_large_as_their_numbers_say() {
    assert_eq!(size_of::<evtchn::OneNumber>(), 4);
    assert_eq!(size_of::<evtchn::BindInterdomain>(), 8);
    assert_eq!(offset_of!(evtchn::BindInterdomain, remote_port), 4);
    assert_eq!(size_of::<evtchn::RestrictDomid>(), 2);
}

#[test]
fn gntdev_requests_have_linuxs_numbers() {
    assert_eq!(gntdev::MAP_GRANT_REF, 0x0018_4700);
    assert_eq!(gntdev::UNMAP_GRANT_REF, 0x0010_4701);
    assert_eq!(gntdev::GRANT_COPY, 0x0010_4708);
}

#[test]
fn gntdev_structures_lie_as_linux_reads_them() {
    assert_eq!(
        size_of::<gntdev::MapHead>() + size_of::<gntdev::MapRef>(),
        24
    );
    assert_eq!(offset_of!(gntdev::MapHead, index), 8);
    assert_eq!(offset_of!(gntdev::MapRef, gref), 4);
    assert_eq!(size_of::<gntdev::Unmap>(), 16);
    assert_eq!(offset_of!(gntdev::Unmap, count), 8);
    assert_eq!(size_of::<gntdev::GrantCopy>(), 16);
    assert_eq!(offset_of!(gntdev::GrantCopy, segments), 8);
}

#[test]
fn a_copy_segment_lies_as_linux_reads_it() {
    assert_eq!(size_of::<gntdev::Segment>(), gntdev_copy::SEGMENT_SIZE);
    assert_eq!(offset_of!(gntdev::Segment, source), gntdev_copy::SOURCE);
    assert_eq!(offset_of!(gntdev::Segment, dest), gntdev_copy::DEST);
    assert_eq!(offset_of!(gntdev::Segment, len), gntdev_copy::LEN);
    assert_eq!(offset_of!(gntdev::Segment, flags), gntdev_copy::FLAGS);
    assert_eq!(offset_of!(gntdev::Segment, status), gntdev_copy::STATUS);
}

#[test]
fn a_foreign_end_has_its_fields_where_linux_reads_them() {
    let end = gntdev::foreign(0x0102_0304, 0x0506, 0x0708).to_le_bytes();
    assert_eq!(end[gntdev_copy::FOREIGN_REF..][..4], [4, 3, 2, 1]);
    assert_eq!(end[gntdev_copy::FOREIGN_OFFSET..][..2], [6, 5]);
    assert_eq!(end[gntdev_copy::FOREIGN_DOMID..][..2], [8, 7]);
}

#[test]
fn gntalloc_has_linuxs_numbers_and_layouts() {
    assert_eq!(gntalloc::ALLOC_GREF, 0x0018_4705);
    assert_eq!(gntalloc::DEALLOC_GREF, 0x0010_4706);
    assert_eq!(size_of::<gntalloc::AllocGref>(), 24);
    assert_eq!(offset_of!(gntalloc::AllocGref, flags), 2);
    assert_eq!(offset_of!(gntalloc::AllocGref, count), 4);
    assert_eq!(offset_of!(gntalloc::AllocGref, index), 8);
    assert_eq!(offset_of!(gntalloc::AllocGref, gref), 16);
    assert_eq!(size_of::<gntalloc::DeallocGref>(), 16);
    assert_eq!(offset_of!(gntalloc::DeallocGref, count), 8);
}

#[test]
fn privcmd_requests_have_linuxs_numbers() {
    assert_eq!(privcmd::HYPERCALL, 0x0030_5000);
    assert_eq!(privcmd::MMAPBATCH_V2, 0x0020_5004);
    assert_eq!(privcmd::DM_OP, 0x0010_5005);
    assert_eq!(privcmd::RESTRICT, 0x0002_5006);
    assert_eq!(privcmd::MMAP_RESOURCE, 0x0020_5007);
}

#[test]
fn privcmd_structures_lie_as_linux_reads_them() {
    assert_eq!(size_of::<privcmd::Hypercall>(), 48);
    assert_eq!(offset_of!(privcmd::Hypercall, arg), 8);
    assert_eq!(size_of::<privcmd::MmapBatchV2>(), 32);
    assert_eq!(offset_of!(privcmd::MmapBatchV2, dom), 4);
    assert_eq!(offset_of!(privcmd::MmapBatchV2, addr), 8);
    assert_eq!(offset_of!(privcmd::MmapBatchV2, arr), 16);
    assert_eq!(offset_of!(privcmd::MmapBatchV2, err), 24);
    assert_eq!(size_of::<privcmd::DmOp>(), 16);
    assert_eq!(offset_of!(privcmd::DmOp, ubufs), 8);
    assert_eq!(size_of::<privcmd::DmOpBuf>(), 16);
    assert_eq!(size_of::<privcmd::MmapResource>(), 32);
    assert_eq!(offset_of!(privcmd::MmapResource, kind), 4);
    assert_eq!(offset_of!(privcmd::MmapResource, idx), 12);
    assert_eq!(offset_of!(privcmd::MmapResource, num), 16);
    assert_eq!(offset_of!(privcmd::MmapResource, addr), 24);
}
