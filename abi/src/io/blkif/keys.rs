//! The xenstore nodes of a block device, relative to the backend's or frontend's directory, and
//! nothing about who watches them: `io/blkif.h`, and for those that every device has, xenbus.

/// Both ends: the handshake state.
pub const STATE: &str = "state";

/// Toolstack, in the backend's directory.
/// `r` or `w`.
pub const MODE: &str = "mode";
/// Toolstack: what to open, `<format>:<path>`.
pub const PARAMS: &str = "params";
/// Toolstack: `phy`, `file`, `tap`, `qdisk`.
pub const TYPE: &str = "type";
/// Toolstack: hotplug script.
pub const SCRIPT: &str = "script";
/// Toolstack: 1 while the device shall survive a guest's reboot.
pub const ONLINE: &str = "online";
/// Toolstack: absolute path of the frontend's directory.
pub const FRONTEND: &str = "frontend";
/// Toolstack: domain of the frontend.
pub const FRONTEND_ID: &str = "frontend-id";
/// Toolstack: `xvda` and the like.
pub const DEV: &str = "dev";
/// Toolstack: whether the guest boots from it.
pub const BOOTABLE: &str = "bootable";
/// Toolstack: whether the medium can change.
pub const REMOVABLE: &str = "removable";
/// Toolstack: `disk` or `cdrom`; also in the frontend's directory.
pub const DEVICE_TYPE: &str = "device-type";
/// Toolstack: 1 where O_DIRECT on granted memory is safe.
pub const DIRECT_IO_SAFE: &str = "direct-io-safe";
/// Toolstack: 0 hides discard from the guest.
pub const DISCARD_ENABLE: &str = "discard-enable";
/// Backend or script: `connected` once the image is open.
pub const HOTPLUG_STATUS: &str = "hotplug-status";
/// Backend or script: why it is not.
pub const HOTPLUG_ERROR: &str = "hotplug-error";

/// Backend: WRITE_BARRIER is understood.
pub const FEATURE_BARRIER: &str = "feature-barrier";
/// Backend: FLUSH_DISKCACHE is understood.
pub const FEATURE_FLUSH_CACHE: &str = "feature-flush-cache";
/// Backend: DISCARD is understood.
pub const FEATURE_DISCARD: &str = "feature-discard";
/// Both ends: grants may stay mapped.
pub const FEATURE_PERSISTENT: &str = "feature-persistent";
/// Backend: most segments of an indirect request; absent forbids INDIRECT.
pub const FEATURE_MAX_INDIRECT_SEGMENTS: &str = "feature-max-indirect-segments";
/// Backend: log2 of the most ring pages.
pub const MAX_RING_PAGE_ORDER: &str = "max-ring-page-order";
/// Backend: most ring pages, the older spelling.
pub const MAX_RING_PAGES: &str = "max-ring-pages";
/// Backend: most rings of a device.
pub const MULTI_QUEUE_MAX_QUEUES: &str = "multi-queue-max-queues";
/// Backend: capacity, always in 512-byte units.
pub const SECTORS: &str = "sectors";
/// Backend: logical sector size in bytes.
pub const SECTOR_SIZE: &str = "sector-size";
/// Backend: physical sector size in bytes.
pub const PHYSICAL_SECTOR_SIZE: &str = "physical-sector-size";
/// Backend: [`crate::io::blkif::vdisk`] bits.
pub const INFO: &str = "info";

/// Toolstack, in the frontend's directory: absolute path of the backend's directory.
pub const BACKEND: &str = "backend";
/// Toolstack, in the frontend's directory: domain of the backend.
pub const BACKEND_ID: &str = "backend-id";
/// Toolstack, in the frontend's directory: the device number.
pub const VIRTUAL_DEVICE: &str = "virtual-device";
/// Frontend: grant of a single-page ring; with an index appended, of each page of a larger one.
pub const RING_REF: &str = "ring-ref";
/// Frontend: log2 of the ring's pages; its presence means `ring-ref0` and so on.
pub const RING_PAGE_ORDER: &str = "ring-page-order";
/// Frontend: ring pages, the older spelling.
pub const NUM_RING_PAGES: &str = "num-ring-pages";
/// Frontend: unbound port that the backend binds to.
pub const EVENT_CHANNEL: &str = "event-channel";
/// Frontend: layout of its requests, [`crate::io::blkif::Protocol`].
pub const PROTOCOL: &str = "protocol";
/// Frontend: how many rings it uses.
pub const MULTI_QUEUE_NUM_QUEUES: &str = "multi-queue-num-queues";
