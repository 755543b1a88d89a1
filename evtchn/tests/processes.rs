//! Senders that are processes, killed by SIGKILL wherever they happen to be.
//!
//! Maps memory that a fork shares, forks, and kills: hence the unsafe code. `tests/kill` tries every
//! instruction that matters in turn; this test shows that the same holds for real processes.

use std::num::NonZeroU32;
use std::ptr;
use std::sync::atomic::Ordering;

use abi::Port;
use abi::event_channel::fifo::{MASKED, WORDS_PER_PAGE};
use evtchn::SharedMemory;
use evtchn::fifo::{Client, Consumer, PRIVATE_BYTES, Queues, Raise, Words};
use vm_memory::VolatileSlice;

/// Victims.
const ROUNDS: u32 = 100;
/// Ports in use, 1 to this, the even ones at a higher priority.
const PORTS: u32 = 8;
/// Looks without an event after which the queues are taken to be stuck.
const LOOKS_MAX: u32 = 2_000_000;

const PARENT: u32 = 1;
const VICTIM: u32 = 2;
const SURVIVOR: u32 = 3;

/// Memory that stays the same memory in a forked process.
struct Shared {
    start: *mut u8,
    len_bytes: usize,
}

impl Shared {
    #[expect(unsafe_code, reason = "maps memory")]
    fn zeroed(len_bytes: usize) -> Self {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice.
        let start = unsafe { libc::mmap(ptr::null_mut(), len_bytes, protection, flags, -1, 0) };
        assert_ne!(start, libc::MAP_FAILED);
        Self {
            start: start.cast(),
            len_bytes,
        }
    }
}

impl SharedMemory for Shared {
    #[expect(unsafe_code, reason = "names mapped memory")]
    fn slice(&self) -> VolatileSlice<'_> {
        // SAFETY: the mapping is this long, and is unmapped only when `self` is dropped.
        unsafe { VolatileSlice::new(self.start, self.len_bytes) }
    }
}

impl Drop for Shared {
    #[expect(unsafe_code, reason = "unmaps memory")]
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nobody can name it any more.
        let failed = unsafe { libc::munmap(self.start.cast(), self.len_bytes) };
        assert_eq!(failed, 0);
    }
}

fn client(number: u32) -> Client {
    Client(NonZeroU32::new(number).expect("clients count from 1"))
}

/// Forks a process that sends to every port again and again and never ends.
#[expect(unsafe_code, reason = "forks")]
fn sender(queues: &Queues<&Shared>, number: u32) -> libc::pid_t {
    // SAFETY: the child only reads and writes the shared words; it allocates nothing and returns
    // nowhere.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid > 0 {
        return pid;
    }
    // SAFETY: takes numbers only. The child must not outlive a test that failed.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    loop {
        for port in 1..=PORTS {
            // The parent polls.
            let (Raise::Upcall | Raise::Nothing | Raise::Abandoned) =
                queues.set_pending(client(number), Port(port));
        }
    }
}

#[expect(unsafe_code, reason = "kills")]
fn kill(pid: libc::pid_t) {
    // SAFETY: the process is our child and was not waited for.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0);
    // SAFETY: as above; no status is asked for.
    assert_eq!(unsafe { libc::waitpid(pid, ptr::null_mut(), 0) }, pid);
}

/// The receiver, which polls.
struct Receiver<'a> {
    consumer: Consumer<&'a Shared>,
    queues: &'a Queues<&'a Shared>,
}

impl Receiver<'_> {
    fn pop(&mut self) -> Option<Port> {
        let port = self.consumer.pop()?;
        let ask = self.consumer.unmask(port);
        let raise = ask.then(|| self.queues.unmask(client(PARENT), port));
        assert_ne!(raise, Some(Raise::Abandoned));
        Some(port)
    }

    /// Takes as many ports as asked for; panics if they do not come.
    fn take(&mut self, ports: u32) {
        for _ in 0..ports {
            let arrived = (0..LOOKS_MAX).any(|_| {
                let arrived = self.pop().is_some();
                (!arrived).then(std::thread::yield_now);
                arrived
            });
            assert!(arrived, "the queues are stuck");
        }
    }
}

/// The memory of one domain.
struct Domain {
    control: Shared,
    array: Shared,
    private: Shared,
}

impl Domain {
    fn new() -> Self {
        Self {
            control: Shared::zeroed(abi::PAGE_SIZE),
            array: Shared::zeroed(abi::PAGE_SIZE),
            private: Shared::zeroed(PRIVATE_BYTES),
        }
    }

    fn queues(&self) -> Queues<&Shared> {
        let queues = Queues::new(&self.control, &self.array, &self.private).expect("it fits");
        queues.expand(1);
        for port in (2..=PORTS).step_by(2) {
            assert!(queues.set_priority(Port(port), 3));
        }
        queues
    }

    /// Ports that stand in a queue or are pending.
    fn left_over(&self) -> usize {
        let array = self.array.slice();
        let words = u32::try_from(WORDS_PER_PAGE).expect("1024");
        let word = |index| {
            array
                .word(index)
                .expect("in the page")
                .load(Ordering::SeqCst)
        };
        (0..words)
            .filter(|index| word(*index) & !MASKED != 0)
            .count()
    }
}

/// One victim and one survivor; the victim dies after `before` ports have arrived.
fn round(before: u32) {
    let domain = Domain::new();
    let queues = domain.queues();
    let consumer = Consumer::new(&domain.control, &domain.array).expect("it fits");
    let mut receiver = Receiver {
        consumer,
        queues: &queues,
    };
    let (victim, survivor) = (sender(&queues, VICTIM), sender(&queues, SURVIVOR));
    receiver.take(before);
    kill(victim);
    assert_ne!(queues.recover(client(VICTIM)), Raise::Abandoned);
    receiver.take(4 * PORTS);
    kill(survivor);
    assert_ne!(queues.recover(client(SURVIVOR)), Raise::Abandoned);
    while receiver.pop().is_some() {}
    assert_eq!(domain.left_over(), 0, "a port was left in a queue");
    for port in 1..=PORTS {
        assert_eq!(
            queues.set_pending(client(PARENT), Port(port)),
            Raise::Upcall
        );
        assert_eq!(receiver.pop(), Some(Port(port)));
    }
}

#[test]
fn a_sender_killed_by_a_signal_loses_nothing_and_blocks_nobody() {
    println!("{ROUNDS} victims");
    (0..ROUNDS).for_each(|it| round(it % 37));
}
