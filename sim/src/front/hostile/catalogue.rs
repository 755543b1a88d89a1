//! The named scripts: one per kind of lie, each as small as its lie allows.

use abi::io::blkif::{Operation, RawRequest, RawSegment, keys};
use abi::{GrantRef, Sector};

use super::script::{Act, Page, Script};

/// A one-page read of sector 0, as malformed requests start from.
pub(super) fn read() -> RawRequest {
    let segment = RawSegment {
        gref: GrantRef(0),
        first_sect: 0,
        last_sect: 7,
    };
    RawRequest {
        operation: Operation::READ,
        nr_segments: 1,
        segments: [segment; 11],
        ..RawRequest::default()
    }
}

pub(super) const LEND: Page = Page::Lend { readonly: false };

impl Script {
    pub(super) fn acting(name: &'static str, acts: Vec<Act>) -> Self {
        Self {
            name,
            lies: Vec::new(),
            acts,
        }
    }

    fn asking(name: &'static str, change: impl FnOnce(&mut RawRequest), page: Page) -> Self {
        let mut request = read();
        change(&mut request);
        Self::acting(name, vec![Act::Request { request, page }])
    }

    fn lying(name: &'static str, key: &'static str, value: Option<&str>) -> Self {
        let lies = vec![(key, value.map(|value| value.as_bytes().to_vec()))];
        Self {
            name,
            lies,
            acts: Vec::new(),
        }
    }

    /// Announces one request more than the ring holds.
    pub fn index_past_the_ring() -> Self {
        Self::acting("index_past_the_ring", vec![Act::Produce(33)])
    }

    /// Announces half of all possible requests.
    pub fn index_jump() -> Self {
        Self::acting("index_jump", vec![Act::Produce(1 << 31)])
    }

    /// Takes a request back that was announced.
    pub fn index_backwards() -> Self {
        let request = Act::Request {
            request: read(),
            page: LEND,
        };
        Self::acting(
            "index_backwards",
            vec![request.clone(), request, Act::Produce(u32::MAX)],
        )
    }

    /// Overwrites all four index words.
    pub fn index_scribble() -> Self {
        Self::acting(
            "index_scribble",
            vec![Act::Scribble([7; 4]), Act::Notify(1)],
        )
    }

    /// Asks for an operation that nobody knows.
    pub fn unknown_operation() -> Self {
        Self::asking("unknown_operation", |r| r.operation = Operation(200), LEND)
    }

    /// Asks for an operation that was not offered.
    pub fn indirect_not_offered() -> Self {
        Self::asking(
            "indirect_not_offered",
            |r| r.operation = Operation::INDIRECT,
            LEND,
        )
    }

    /// Reads nothing.
    pub fn no_segments() -> Self {
        Self::asking("no_segments", |r| r.nr_segments = 0, LEND)
    }

    /// Claims one segment more than a slot holds.
    pub fn twelve_segments() -> Self {
        Self::asking("twelve_segments", |r| r.nr_segments = 12, LEND)
    }

    /// Claims as many segments as the field can say.
    pub fn most_segments() -> Self {
        Self::asking("most_segments", |r| r.nr_segments = u8::MAX, LEND)
    }

    /// Names a grant that was never made.
    pub fn grant_never_made() -> Self {
        let change = |r: &mut RawRequest| r.segments[0].gref = GrantRef(32_000);
        Self::asking("grant_never_made", change, Page::AsWritten)
    }

    /// Names a grant beyond the table.
    pub fn grant_beyond_the_table() -> Self {
        let change = |r: &mut RawRequest| r.segments[0].gref = GrantRef(u32::MAX);
        Self::asking("grant_beyond_the_table", change, Page::AsWritten)
    }

    /// Reads into a page that was lent for looking at.
    pub fn read_into_readonly() -> Self {
        Self::asking("read_into_readonly", |_| {}, Page::Lend { readonly: true })
    }

    /// Reads into the ring.
    pub fn read_into_the_ring() -> Self {
        Self::asking("read_into_the_ring", |_| {}, Page::Ring)
    }

    /// A segment that ends before it starts.
    pub fn first_after_last() -> Self {
        let change =
            |r: &mut RawRequest| (r.segments[0].first_sect, r.segments[0].last_sect) = (5, 4);
        Self::asking("first_after_last", change, LEND)
    }

    /// A segment that leaves its page.
    pub fn last_beyond_the_page() -> Self {
        let change = |r: &mut RawRequest| r.segments[0].last_sect = 8;
        Self::asking("last_beyond_the_page", change, LEND)
    }

    /// A position that overflows when the length is added.
    pub fn sector_overflow() -> Self {
        Self::asking(
            "sector_overflow",
            |r| r.sector_number = Sector(u64::MAX),
            LEND,
        )
    }

    /// A position that overflows when it is counted in bytes.
    pub fn byte_overflow() -> Self {
        Self::asking("byte_overflow", |r| r.sector_number = Sector(1 << 55), LEND)
    }

    /// One page in all segments of a read, and again in the next request, under the same id.
    pub fn double_use() -> Self {
        let change = |r: &mut RawRequest| (r.operation, r.nr_segments) = (Operation::READ, 11);
        let mut script = Self::asking("double_use", change, LEND);
        let again = script.acts.iter().map(|act| match act {
            Act::Request { request, .. } => Act::Request {
                request: *request,
                page: Page::Last,
            },
            other => other.clone(),
        });
        let again: Vec<Act> = again.collect();
        script.acts.extend(again);
        script
    }

    /// Takes the page away as soon as the request is announced.
    pub fn revoked_while_under_way() -> Self {
        let mut script = Self::asking("revoked_while_under_way", |_| {}, LEND);
        script.acts.push(Act::Revoke);
        script
    }

    /// Goes through the states in every order it can think of.
    pub fn flapping_state() -> Self {
        let states = [4, 1, 4, 3, 6, 1, 3, 5, 4, 2, 7, 8, 0, 4, 99, 3, 4, 6, 5, 4];
        Self::acting("flapping_state", states.map(Act::State).into())
    }

    /// Closes with a full ring under way.
    pub fn closes_while_under_way() -> Self {
        let request = Act::Request {
            request: read(),
            page: LEND,
        };
        let mut acts = vec![request; 32];
        acts.push(Act::Abandon);
        Self::acting("closes_while_under_way", acts)
    }

    /// Notifies without end in sight.
    pub fn event_storm() -> Self {
        Self::acting("event_storm", vec![Act::Notify(1000); 10])
    }

    /// Publishes a ring reference that was never granted.
    pub fn ring_ref_never_granted() -> Self {
        Self::lying("ring_ref_never_granted", keys::RING_REF, Some("31999"))
    }

    /// Publishes a ring reference that is no number.
    pub fn ring_ref_no_number() -> Self {
        Self::lying("ring_ref_no_number", keys::RING_REF, Some("-1"))
    }

    /// Publishes no ring reference.
    pub fn ring_ref_missing() -> Self {
        Self::lying("ring_ref_missing", keys::RING_REF, None)
    }

    /// Publishes a port that does not exist.
    pub fn port_not_there() -> Self {
        Self::lying("port_not_there", keys::EVENT_CHANNEL, Some("4294967295"))
    }

    /// Publishes port 0.
    pub fn port_zero() -> Self {
        Self::lying("port_zero", keys::EVENT_CHANNEL, Some("0"))
    }

    /// Publishes no port.
    pub fn port_missing() -> Self {
        Self::lying("port_missing", keys::EVENT_CHANNEL, None)
    }

    /// Publishes a protocol that nobody speaks.
    pub fn protocol_unknown() -> Self {
        Self::lying("protocol_unknown", keys::PROTOCOL, Some("pdp11-abi"))
    }

    /// Publishes more ring pages than it was offered.
    pub fn ring_too_large() -> Self {
        Self::lying("ring_too_large", keys::RING_PAGE_ORDER, Some("32"))
    }

    /// Every named script.
    pub fn all() -> Vec<Self> {
        vec![
            Self::index_past_the_ring(),
            Self::index_jump(),
            Self::index_backwards(),
            Self::index_scribble(),
            Self::unknown_operation(),
            Self::indirect_not_offered(),
            Self::no_segments(),
            Self::twelve_segments(),
            Self::most_segments(),
            Self::grant_never_made(),
            Self::grant_beyond_the_table(),
            Self::read_into_readonly(),
            Self::read_into_the_ring(),
            Self::first_after_last(),
            Self::last_beyond_the_page(),
            Self::sector_overflow(),
            Self::byte_overflow(),
            Self::double_use(),
            Self::revoked_while_under_way(),
            Self::flapping_state(),
            Self::closes_while_under_way(),
            Self::event_storm(),
            Self::ring_ref_never_granted(),
            Self::ring_ref_no_number(),
            Self::ring_ref_missing(),
            Self::port_not_there(),
            Self::port_zero(),
            Self::port_missing(),
            Self::protocol_unknown(),
            Self::ring_too_large(),
        ]
    }
}
