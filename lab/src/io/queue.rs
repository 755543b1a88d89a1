//! A queue of reads and writes on one file: an io_uring with a buffer for each request that may be
//! under way.
//!
//! It knows nothing of what is read or written.
//!
//! UNSAFETY: an entry names a buffer that the kernel reads or writes until its result is there. The
//! buffer of a request under way is never handed out, and none is freed before its result came.
#![expect(unsafe_code, reason = "io_uring entries; see the head of this file")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;

use io_uring::{IoUring, opcode, types};
use memmap2::MmapMut;

/// A place in the queue, with its buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(usize);

/// Which way the data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// From the file into the buffer.
    Read,
    /// From the buffer into the file.
    Write,
}

/// A queue of requests.
pub(super) struct Queue<'a> {
    ring: IoUring,
    file: &'a File,
    buffers: Vec<MmapMut>,
    idle: Vec<Slot>,
}

impl<'a> Queue<'a> {
    /// A queue for `depth` requests of at most `bytes_max` each.
    pub(super) fn new(file: &'a File, depth: u32, bytes_max: usize) -> io::Result<Self> {
        let buffers: io::Result<Vec<_>> =
            (0..depth).map(|_| MmapMut::map_anon(bytes_max)).collect();
        let buffers = buffers?;
        Ok(Self {
            ring: IoUring::new(depth)?,
            file,
            idle: (0..buffers.len()).rev().map(Slot).collect(),
            buffers,
        })
    }

    /// A slot whose buffer is free. It stays free until something is submitted in it.
    pub(super) fn idle(&self) -> Option<Slot> {
        self.idle.last().copied()
    }

    /// How many requests are under way.
    pub(super) fn under_way(&self) -> usize {
        self.buffers.len() - self.idle.len()
    }

    /// The buffer of an idle slot.
    ///
    /// # Panics
    /// The slot is not idle.
    pub(super) fn buffer(&mut self, slot: Slot) -> &mut [u8] {
        assert!(self.idle.contains(&slot), "the kernel has that buffer");
        &mut self.buffers[slot.0]
    }

    /// Queues a request in an idle slot; it goes out with the next [`Self::wait`].
    ///
    /// # Panics
    /// The slot is not idle, or the request is longer than its buffer.
    pub(super) fn submit(&mut self, slot: Slot, way: Way, offset: u64, bytes: usize) {
        let at = self.idle.iter().position(|idle| *idle == slot);
        self.idle.remove(at.expect("the kernel has that slot"));
        let buffer = &mut self.buffers[slot.0];
        assert!(bytes <= buffer.len(), "longer than the buffer");
        let len = u32::try_from(bytes).expect("a request is shorter than 4 GiB");
        let fd = types::Fd(self.file.as_raw_fd());
        let entry = match way {
            Way::Read => opcode::Read::new(fd, buffer.as_mut_ptr(), len)
                .offset(offset)
                .build(),
            Way::Write => opcode::Write::new(fd, buffer.as_ptr(), len)
                .offset(offset)
                .build(),
        }
        .user_data(slot.0 as u64);
        // SAFETY: the buffer is as long as the entry says, and the slot is not idle until the
        // entry's result was taken: nobody else touches the buffer, and it is not freed.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        pushed.expect("the ring has an entry for each slot");
    }

    /// Waits for a request to end. Its slot is idle again, its buffer holds what was read. The
    /// result is the number of bytes that were moved.
    pub(super) fn wait(&mut self) -> io::Result<(Slot, io::Result<usize>)> {
        self.wait_in_batches(1)
    }

    /// The same where nobody needs each answer at once: sleeps until half of what is under way has
    /// ended. Requests then come in batches, and waking up, which emulation makes dear, is rare.
    pub(super) fn wait_for_half(&mut self) -> io::Result<(Slot, io::Result<usize>)> {
        self.wait_in_batches((self.under_way() / 2).max(1))
    }

    fn wait_in_batches(&mut self, batch: usize) -> io::Result<(Slot, io::Result<usize>)> {
        loop {
            if let Some(entry) = self.ring.completion().next() {
                let number = usize::try_from(entry.user_data());
                let slot = Slot(number.expect("a number that was given as one"));
                self.idle.push(slot);
                let result = usize::try_from(entry.result())
                    .map_err(|_| io::Error::from_raw_os_error(-entry.result()));
                return Ok((slot, result));
            }
            match self.ring.submit_and_wait(batch) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
    }
}

impl Drop for Queue<'_> {
    fn drop(&mut self) {
        while self.under_way() > 0 {
            if self.wait().is_err() {
                // The kernel may still write to them.
                std::mem::forget(std::mem::take(&mut self.buffers));
                return;
            }
        }
    }
}
