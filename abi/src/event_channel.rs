//! Event channel numbers and shared-memory layouts: `event_channel.h`.

/// Hypercall operations of `HYPERVISOR_event_channel_op`.
pub mod op {
    /// Connects to an unbound port of another domain.
    pub const BIND_INTERDOMAIN: u32 = 0;
    /// Binds a virtual interrupt.
    pub const BIND_VIRQ: u32 = 1;
    /// Binds a physical interrupt.
    pub const BIND_PIRQ: u32 = 2;
    /// Closes a port; the peer's falls back to unbound.
    pub const CLOSE: u32 = 3;
    /// Sends an event to the peer.
    pub const SEND: u32 = 4;
    /// Describes a port.
    pub const STATUS: u32 = 5;
    /// Allocates a port that one domain may bind to.
    pub const ALLOC_UNBOUND: u32 = 6;
    /// Binds an inter-processor port.
    pub const BIND_IPI: u32 = 7;
    /// Chooses the processor that a port is delivered to.
    pub const BIND_VCPU: u32 = 8;
    /// Delivers a port that became pending while masked.
    pub const UNMASK: u32 = 9;
    /// Closes all ports of a domain.
    pub const RESET: u32 = 10;
    /// Registers a processor's FIFO control block.
    pub const INIT_CONTROL: u32 = 11;
    /// Adds a page to the FIFO event array.
    pub const EXPAND_ARRAY: u32 = 12;
    /// Chooses a port's FIFO priority.
    pub const SET_PRIORITY: u32 = 13;
}

/// What `EVTCHNOP_status` says of a port (`EVTCHNSTAT_*`).
pub mod status {
    /// Not in use.
    pub const CLOSED: u32 = 0;
    /// Waits for the other domain to bind.
    pub const UNBOUND: u32 = 1;
    /// Connected to another domain.
    pub const INTERDOMAIN: u32 = 2;
}

/// The FIFO ABI, Xen 4.4 and later.
pub mod fifo {
    /// Bit of an event word: the event was raised.
    pub const PENDING: u32 = 1 << 31;
    /// Bit of an event word: the receiver does not want it now.
    pub const MASKED: u32 = 1 << 30;
    /// Bit of an event word: it stands in a queue.
    pub const LINKED: u32 = 1 << 29;
    /// Bit of an event word: the hypervisor is moving it between queues.
    pub const BUSY: u32 = 1 << 28;
    /// Width of the link field.
    pub const LINK_BITS: u32 = 17;
    /// The link field: the next port in the queue, 0 for the last.
    pub const LINK_MASK: u32 = (1 << LINK_BITS) - 1;
    /// Ports of a domain: as many as a link can name. Port 0 is never used.
    pub const NR_CHANNELS: usize = 1 << LINK_BITS;

    /// Queues of a control block, one per priority.
    pub const MAX_QUEUES: usize = 16;
    /// The most urgent priority.
    pub const PRIORITY_MAX: u32 = 0;
    /// The priority of a new port.
    pub const PRIORITY_DEFAULT: u32 = 7;
    /// The least urgent priority.
    pub const PRIORITY_MIN: u32 = 15;

    /// Offset of the control block's `ready`, one bit per queue that may hold events.
    pub const CONTROL_READY: usize = 0;
    /// Offset of the control block's `head[0]`; each head is 4 bytes.
    pub const CONTROL_HEAD: usize = 8;
    /// Bytes of a control block. It must not cross a page.
    pub const CONTROL_SIZE: usize = 72;

    /// Event words of one page of the array.
    pub const WORDS_PER_PAGE: usize = crate::PAGE_SIZE / 4;
    /// Pages of a full array.
    pub const MAX_PAGES: usize = NR_CHANNELS / WORDS_PER_PAGE;
}

/// The older two-level ABI: a pending and a mask bitmap, and a selector word per processor.
pub mod two_level {
    /// Bits of a word, of the selector, and words of a bitmap: `xen_ulong_t` of a 64-bit domain.
    pub const WORD_BITS: usize = 64;
    /// Ports of a 64-bit domain (EVTCHN_2L_NR_CHANNELS). Port 0 is never used.
    pub const NR_CHANNELS: usize = WORD_BITS * WORD_BITS;
    /// Ports of a 32-bit domain.
    pub const NR_CHANNELS_32: usize = 32 * 32;
}
