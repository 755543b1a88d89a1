//! Claims about regions, windows and the frame allocator.

use std::collections::HashSet;
use std::os::fd::OwnedFd;

use abi::{Gfn, PAGE_SIZE};
use vm_memory::Bytes;

use super::{Frames, GuestMemory, Region};

const LEN_BYTES: u64 = 1 << 24;

#[test]
fn creating_a_guest_touches_nothing() {
    use std::os::unix::fs::MetadataExt;
    let memory = GuestMemory::create(LEN_BYTES).unwrap();
    assert_eq!(memory.region().file().metadata().unwrap().blocks(), 0);
}

#[test]
fn a_region_can_neither_shrink_nor_grow() {
    let region = Region::create(LEN_BYTES).unwrap();
    assert!(region.file().set_len(LEN_BYTES - 4096).is_err());
    assert!(region.file().set_len(LEN_BYTES + 4096).is_err());
}

#[test]
fn an_unsealed_file_is_refused() {
    let ordinary = std::fs::File::open("/proc/self/exe").unwrap();
    assert!(Region::from_fd(OwnedFd::from(ordinary)).is_err());
}

#[test]
fn frames_beyond_the_end_are_refused() {
    let memory = GuestMemory::create(LEN_BYTES).unwrap();
    assert!(memory.frame(Gfn(memory.frames())).is_none());
    assert!(memory.frame(Gfn(u64::MAX)).is_none());
    assert!(memory.window(&[Gfn(0), Gfn(memory.frames())]).is_err());
}

#[test]
fn a_part_shows_the_same_bytes_and_ends_within_its_region() {
    let region = Region::create(LEN_BYTES).unwrap();
    let part = region.map_part(2 * PAGE_SIZE, PAGE_SIZE).unwrap();
    part.slice().write_obj(7u64, 8).unwrap();
    let whole = region.map().unwrap();
    let seen: u64 = whole.slice().read_obj(2 * PAGE_SIZE + 8).unwrap();
    assert_eq!((seen, part.slice().len()), (7, PAGE_SIZE));
    let all = whole.slice().len();
    assert!(region.map_part(all - PAGE_SIZE, 2 * PAGE_SIZE).is_err());
}

#[test]
fn a_window_shows_its_frames_in_the_order_asked_for() {
    let memory = GuestMemory::create(LEN_BYTES).unwrap();
    memory.frame(Gfn(9)).unwrap().write_obj(9u64, 0).unwrap();
    memory.frame(Gfn(3)).unwrap().write_obj(3u64, 0).unwrap();
    memory.frame(Gfn(4)).unwrap().write_obj(4u64, 0).unwrap();
    let window = memory.window(&[Gfn(9), Gfn(3), Gfn(4)]).unwrap();
    let at = |page: usize| window.slice().read_obj::<u64>(page * PAGE_SIZE).unwrap();
    assert_eq!([at(0), at(1), at(2)], [9, 3, 4]);
}

#[test]
fn every_frame_but_the_first_is_lent_exactly_once() {
    let memory = GuestMemory::create(1000 * PAGE_SIZE as u64).unwrap();
    let mut frames = Frames::new(&memory, 7);
    let lent: HashSet<Gfn> = std::iter::from_fn(|| frames.take()).collect();
    assert_eq!(lent, (1..1000).map(Gfn).collect());
}

#[test]
fn fresh_frames_are_scattered_and_follow_the_seed() {
    let memory = GuestMemory::create(LEN_BYTES).unwrap();
    let order = |seed| {
        let mut frames = Frames::new(&memory, seed);
        std::iter::from_fn(move || frames.take())
            .take(256)
            .collect::<Vec<_>>()
    };
    let neighbours = order(1)
        .windows(2)
        .filter(|pair| pair[0].0 + 1 == pair[1].0)
        .count();
    assert!(neighbours < 16, "{neighbours} of 255 neighbours");
    assert_eq!(order(1), order(1));
    assert_ne!(order(1), order(2));
}

#[test]
fn the_frame_returned_last_is_lent_first() {
    let memory = GuestMemory::create(LEN_BYTES).unwrap();
    let mut frames = Frames::new(&memory, 7);
    let gfn = frames.take().unwrap();
    frames.give(gfn);
    assert_eq!(frames.take(), Some(gfn));
}
