//! The slow lane against files that hang: pipes that nobody writes to stand for disks that do not
//! answer.
//!
//! UNSAFETY: makes jobs by hand, and keeps their pool and pipes until all have come back.
#![expect(unsafe_code, reason = "makes jobs by hand; see the head of this file")]

use std::io::{PipeReader, PipeWriter, Write};
use std::thread;

use super::*;
use crate::live::inflight::{InFlight, Operation, Stage};
use crate::{Pool, Slot, Submission, Token, Verb};

/// Some pipes, files from 0 up, and a lane for them.
struct Bench {
    lane: SlowLane,
    table: InFlight,
    pipes: Vec<(PipeReader, PipeWriter)>,
    pool: Pool,
}

impl Bench {
    fn new() -> Self {
        Self::of(2)
    }

    fn of(files: usize) -> Self {
        let pipes = std::iter::repeat_with(|| io::pipe().unwrap());
        Self {
            lane: SlowLane::new(files).unwrap(),
            table: InFlight::with_capacity(0),
            pipes: pipes.take(files).collect(),
            pool: Pool::new(64, 4096).unwrap(),
        }
    }

    /// Gives a job that reads one byte of a pipe.
    fn give(&mut self, file: u32) {
        let token = Token {
            owner: 0,
            layer: 0,
            tag: file,
        };
        let (verb, lease, range) = (Verb::Receive, self.pool.lease(), 0..1);
        let submission = Submission {
            slot: Slot(file),
            verb,
            offset: 0,
            lease,
            range,
            token,
        };
        let stage = Stage::Transfer;
        let id = self.table.insert(Operation {
            submission,
            file,
            stage,
        });
        let fd = self.pipes[file as usize].0.as_raw_fd();
        let operation = self.table.get_mut(id).unwrap();
        // SAFETY: the table keeps the lease, and the bench the pipe, until the job is back.
        self.lane
            .give(unsafe { Job::new(id, operation, fd) })
            .unwrap();
    }

    fn feed(&mut self, file: usize, bytes: usize) {
        self.pipes[file].1.write_all(&vec![1; bytes]).unwrap();
    }

    /// The files of the next `count` jobs to come back.
    fn collect(&mut self, count: usize) -> Vec<u32> {
        let mut files = Vec::new();
        while files.len() < count {
            thread::yield_now();
            for (id, result) in self.lane.take() {
                assert_eq!(result, Ok(1));
                files.push(self.table.remove(id).unwrap().file);
            }
        }
        files
    }
}

#[test]
fn every_job_comes_back_once() {
    let mut bench = Bench::new();
    bench.feed(0, 50);
    (0..50).for_each(|_| bench.give(0));
    assert_eq!(bench.collect(50).len(), 50);
    assert!(bench.table.is_empty());
    assert!(bench.lane.cool());
}

#[test]
fn a_file_that_hangs_does_not_keep_others_waiting() {
    let mut bench = Bench::new();
    (0..20).for_each(|_| bench.give(0));
    (0..20).for_each(|_| bench.give(1));
    bench.feed(1, 20);
    assert_eq!(bench.collect(20), [1; 20]);
    assert_eq!(bench.lane.outstanding(), 20);
    bench.feed(0, 20);
    assert_eq!(bench.collect(20), [0; 20]);
    assert!(bench.lane.cool());
}

#[test]
fn three_files_that_hang_do_not_keep_a_fourth_waiting() {
    let mut bench = Bench::of(4);
    (0..3).for_each(|file| (0..10).for_each(|_| bench.give(file)));
    (0..10).for_each(|_| bench.give(3));
    bench.feed(3, 10);
    assert_eq!(bench.collect(10), [3; 10]);
    (0..3).for_each(|file| bench.feed(file, 10));
    assert_eq!(bench.collect(30).len(), 30);
    assert!(bench.lane.cool());
}

#[test]
fn seven_files_that_hang_with_one_job_each_do_not_keep_an_eighth_waiting() {
    let mut bench = Bench::of(8);
    (0..8).for_each(|file| bench.give(file));
    bench.feed(7, 1);
    assert_eq!(bench.collect(1), [7]);
    (0..7).for_each(|file| bench.feed(file, 1));
    assert_eq!(bench.collect(7).len(), 7);
    assert!(bench.lane.cool());
}

#[test]
fn a_lane_is_cooling_until_it_is_used_again() {
    let mut bench = Bench::new();
    bench.give(0);
    assert!(!bench.lane.is_cooling());
    bench.lane.cool();
    assert!(bench.lane.is_cooling());
    bench.give(0);
    assert!(!bench.lane.is_cooling());
    bench.feed(0, 2);
    bench.collect(2);
    assert!(bench.lane.cool());
}

#[test]
fn there_are_never_more_helpers_than_the_bound() {
    let mut bench = Bench::of(10);
    (0..20).for_each(|job| bench.give(job % 10));
    assert_eq!(bench.lane.helpers.len(), HELPERS_MAX);
    (0..10).for_each(|file| bench.feed(file, 2));
    bench.collect(20);
    assert!(bench.lane.cool());
}

#[test]
fn cooling_ends_every_idle_helper() {
    let mut bench = Bench::new();
    bench.feed(0, 4);
    (0..4).for_each(|_| bench.give(0));
    bench.collect(4);
    assert!(bench.lane.cool());
    assert!(bench.lane.helpers.is_empty());
    assert_eq!(bench.lane.shared.lock().alive, 0);
}

#[test]
fn a_lane_cooled_while_a_disk_hangs_is_cold_once_the_disk_has_answered() {
    let mut bench = Bench::new();
    bench.give(0);
    assert!(!bench.lane.cool());
    assert!(!bench.lane.is_cold());
    bench.feed(0, 1);
    bench.collect(1);
    assert!(bench.lane.is_cold());
    assert!(bench.lane.cool());
    assert_eq!(bench.lane.shared.lock().alive, 0);
}

#[test]
fn a_cooled_lane_takes_work_again() {
    let mut bench = Bench::new();
    bench.feed(0, 2);
    bench.give(0);
    bench.collect(1);
    assert!(bench.lane.cool());
    bench.give(0);
    assert_eq!(bench.collect(1), [0]);
    assert!(bench.lane.cool());
}
