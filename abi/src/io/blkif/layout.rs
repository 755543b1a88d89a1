//! Where the fields of a slot lie, per word size of the frontend.
//!
//! The layouts differ only in the alignment of 64-bit fields: 4 bytes on x86_32, 8 elsewhere.

use crate::io::ring;

/// The request layout that a frontend uses: the value of its `protocol` node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// 64-bit fields aligned to 4 bytes.
    X86_32,
    /// 64-bit fields aligned to 8 bytes. A frontend that names no protocol has this one: such
    /// frontends are as old as the backend's own word size.
    #[default]
    X86_64,
    /// As x86_64, on 32-bit and 64-bit Arm alike.
    Arm,
}

/// Offsets within a slot of one [`Protocol`], in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Bytes from one slot to the next: the size of the largest request.
    pub stride: usize,
    /// Bytes of a response, padding included.
    pub response_size: usize,
    /// A request's `id`; also a discard's.
    pub id: usize,
    /// A request's `sector_number`; also a discard's.
    pub sector_number: usize,
    /// The first of eleven segments.
    pub segments: usize,
    /// A discard's `nr_sectors`.
    pub discard_nr_sectors: usize,
    /// An indirect request's `id`.
    pub indirect_id: usize,
    /// An indirect request's `sector_number`.
    pub indirect_sector_number: usize,
    /// An indirect request's `handle`.
    pub indirect_handle: usize,
    /// The first of an indirect request's eight grant references.
    pub indirect_grefs: usize,
}

const X86_32: Layout = Layout {
    stride: 108,
    response_size: 12,
    id: 4,
    sector_number: 12,
    segments: 20,
    discard_nr_sectors: 20,
    indirect_id: 4,
    indirect_sector_number: 12,
    indirect_handle: 20,
    indirect_grefs: 24,
};

const X86_64: Layout = Layout {
    stride: 112,
    response_size: 16,
    id: 8,
    sector_number: 16,
    segments: 24,
    discard_nr_sectors: 24,
    indirect_id: 8,
    indirect_sector_number: 16,
    indirect_handle: 24,
    indirect_grefs: 28,
};

impl Protocol {
    /// Every protocol.
    pub const ALL: [Self; 3] = [Self::X86_32, Self::X86_64, Self::Arm];

    /// Reads the `protocol` node; `None` for a name that `io/protocols.h` does not have. Whoever
    /// finds no node at all takes the default, [`Protocol::X86_64`].
    pub fn parse(node: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|protocol| protocol.name().as_bytes() == node)
    }

    /// The value of the `protocol` node.
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_32 => "x86_32-abi",
            Self::X86_64 => "x86_64-abi",
            Self::Arm => "arm-abi",
        }
    }

    /// Where the fields lie.
    pub const fn layout(self) -> &'static Layout {
        match self {
            Self::X86_32 => &X86_32,
            Self::X86_64 | Self::Arm => &X86_64,
        }
    }

    /// Bytes from one slot to the next.
    pub const fn stride(self) -> usize {
        self.layout().stride
    }
}

/// Slots of a ring of `pages` pages: 32 for one page, in every protocol.
pub const fn entries(pages: usize, protocol: Protocol) -> u32 {
    ring::entries(pages, protocol.stride())
}
