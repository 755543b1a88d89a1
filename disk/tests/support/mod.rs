//! What the tests of this crate share: a driven world, the live reactor, images in a scratch
//! directory, and the file systems that this machine can mount.

#![expect(dead_code, reason = "each test binary uses its part of this")]

pub(crate) mod driven;
pub(crate) mod live;
pub(crate) mod machine;
pub(crate) mod scratch;

/// The device number that disks under test submit under.
pub(crate) const OWNER: u16 = 16;
