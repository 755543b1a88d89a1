//! Sequenced-packet sockets between VM processes and the host daemon, and who is at the other end.
//!
//! UNSAFETY: system calls that neither the standard library nor our dependencies wrap. It knows
//! nothing of what the messages say.
//!
//! Invariant: one call moves one whole message, or fails; a message that did not fit is an error.

#![expect(unsafe_code, reason = "system calls without a safe wrapper")]

use std::ffi::CString;
use std::fs;
use std::io::{self, ErrorKind};
use std::mem::{MaybeUninit, size_of, size_of_val};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use vmm_sys_util::sock_ctrl_msg::ScmSocket as _;

use super::wire::MESSAGE_MAX;

/// One end of a connection.
#[derive(Debug)]
pub struct Socket(UnixDatagram);

/// Where connections arrive; accepting does not block.
#[derive(Debug)]
pub struct Listener(OwnedFd);

impl Listener {
    /// Listens at `path`, in place of whoever did before. The name appears when there is somebody
    /// behind it, so that those who wait for it find it working.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let new = path.with_extension("new");
        drop(fs::remove_file(&new));
        let socket = seqpacket(libc::SOCK_NONBLOCK)?;
        let (address, len) = address_of(&new)?;
        // SAFETY: `address` is a valid sockaddr_un of which `len` bytes count.
        checked(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len) })?;
        // SAFETY: `listen` takes integers.
        checked(unsafe { libc::listen(socket.as_raw_fd(), libc::SOMAXCONN) })?;
        fs::rename(&new, path)?;
        Ok(Self(socket))
    }

    /// The next connection, which does not block, and the process that made it.
    pub fn accept(&self) -> io::Result<(Socket, u32)> {
        let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        let none = std::ptr::null_mut();
        // SAFETY: no address is asked for.
        let fd = unsafe { libc::accept4(self.0.as_raw_fd(), none, none.cast(), flags) };
        let socket = owned(fd)?;
        let pid = peer(socket.as_fd())?;
        Ok((Socket(socket.into()), pid))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Socket {
    /// Connects, waiting until `until` at most for somebody to listen there and to accept. What
    /// is sent and received on it then fails with `WouldBlock` if it has to be waited for longer.
    pub fn connect(path: &Path, until: Instant) -> io::Result<Self> {
        let mut socket = connect_now(path, until);
        if socket.is_err() {
            let arrivals = arrivals(path.parent().unwrap_or(Path::new("/")))?;
            socket = connect_now(path, until);
            while socket.as_ref().is_err_and(is_nobody) && Instant::now() < until {
                wait(&arrivals, until.saturating_duration_since(Instant::now()))?;
                socket = connect_now(path, until);
            }
        }
        let socket = socket?;
        socket.0.set_read_timeout(Some(rest(until)))?;
        Ok(socket)
    }

    /// Sends one message, with a descriptor if there is one.
    pub fn send(&self, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let fds: Vec<RawFd> = fd.iter().map(|fd| fd.as_raw_fd()).collect();
        self.0.send_with_fds(&[bytes], &fds)?;
        Ok(())
    }

    /// The next message and its descriptor; `None` when the other end is gone.
    pub fn receive(&self) -> io::Result<Option<(Vec<u8>, Option<OwnedFd>)>> {
        let mut bytes = vec![0; MESSAGE_MAX + 1];
        let (len, fd) = self.0.recv_with_fd(&mut bytes)?;
        if len > MESSAGE_MAX {
            return Err(ErrorKind::InvalidData.into());
        }
        bytes.truncate(len);
        Ok((len > 0).then(|| (bytes, fd.map(OwnedFd::from))))
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What is left until then; a time-out of zero would mean none.
fn rest(until: Instant) -> Duration {
    let rest = until.saturating_duration_since(Instant::now());
    rest.max(Duration::from_millis(1))
}

fn connect_now(path: &Path, until: Instant) -> io::Result<Socket> {
    let socket = UnixDatagram::from(seqpacket(0)?);
    // Also how long connecting may take where those who came earlier were not accepted yet.
    socket.set_write_timeout(Some(rest(until)))?;
    let (address, len) = address_of(path)?;
    // SAFETY: `address` is a valid sockaddr_un of which `len` bytes count.
    checked(unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), len) })?;
    Ok(Socket(socket))
}

/// No daemon: none has ever been there, or the one that was has left its name behind.
fn is_nobody(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::ConnectionRefused
    )
}

/// Becomes readable when a name appears in `dir` by being renamed, as [`Listener::bind`] does.
fn arrivals(dir: &Path) -> io::Result<OwnedFd> {
    // SAFETY: `inotify_init1` takes flags.
    let fd = owned(unsafe { libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK) })?;
    let dir = CString::new(dir.as_os_str().as_bytes())?;
    let what = libc::IN_MOVED_TO;
    // SAFETY: `dir` is a string of C.
    checked(unsafe { libc::inotify_add_watch(fd.as_raw_fd(), dir.as_ptr(), what) })?;
    Ok(fd)
}

/// Sleeps until something arrives, and empties the queue.
fn wait(arrivals: &OwnedFd, limit: Duration) -> io::Result<()> {
    let mut poll = libc::pollfd {
        fd: arrivals.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let limit_ms = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: one pollfd of ours.
    let ready = unsafe { libc::poll(&raw mut poll, 1, limit_ms.max(1)) };
    match checked(ready) {
        Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
        _ => {}
    }
    let mut events = [0_u8; 1024];
    let buffer = events.as_mut_ptr().cast();
    // SAFETY: the buffer is of this length. What the events say does not matter.
    unsafe { libc::read(arrivals.as_raw_fd(), buffer, events.len()) };
    Ok(())
}

/// The process at the other end, as it was when it connected.
fn peer(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut peer = MaybeUninit::<libc::ucred>::zeroed();
    let mut len = length(size_of::<libc::ucred>());
    let (level, option) = (libc::SOL_SOCKET, libc::SO_PEERCRED);
    let to = peer.as_mut_ptr().cast();
    // SAFETY: `to` points at `len` bytes of ours.
    checked(unsafe { libc::getsockopt(socket.as_raw_fd(), level, option, to, &raw mut len) })?;
    // SAFETY: all zeroes is a valid value, and the kernel wrote it.
    let peer = unsafe { peer.assume_init() };
    Ok(peer.pid.unsigned_abs())
}

fn seqpacket(flags: libc::c_int) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC | flags;
    // SAFETY: `socket` takes integers.
    owned(unsafe { libc::socket(libc::AF_UNIX, kind, 0) })
}

fn address_of(path: &Path) -> io::Result<(libc::sockaddr_un, libc::socklen_t)> {
    // SAFETY: all zeroes is a valid sockaddr_un.
    let mut address = unsafe { MaybeUninit::<libc::sockaddr_un>::zeroed().assume_init() };
    let bytes = path.as_os_str().as_bytes();
    // One byte stays for the terminator.
    if bytes.len() >= address.sun_path.len() {
        let text = format!("{}: too long for a socket", path.display());
        return Err(io::Error::new(ErrorKind::InvalidInput, text));
    }
    address.sun_family = libc::sa_family_t::try_from(libc::AF_UNIX).unwrap_or_default();
    for (to, from) in address.sun_path.iter_mut().zip(bytes) {
        *to = from.cast_signed();
    }
    Ok((address, length(size_of_val(&address))))
}

/// The size of a small value, as the socket calls count.
fn length(bytes: usize) -> libc::socklen_t {
    libc::socklen_t::try_from(bytes).unwrap_or_default()
}

fn owned(fd: libc::c_int) -> io::Result<OwnedFd> {
    let fd = checked(fd)?;
    // SAFETY: a system call has just returned it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::scratch::Scratch;

    /// Long enough for any machine.
    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[test]
    fn a_message_brings_its_descriptor_and_says_who_sent_it() {
        let dir = Scratch::new().unwrap();
        let path = dir.path().join("s");
        let listener = Listener::bind(&path).unwrap();
        let client = Socket::connect(&path, soon()).unwrap();
        let (server, pid) = listener.accept().unwrap();
        assert_eq!(pid, std::process::id());
        client.send(b"hello", Some(client.as_fd())).unwrap();
        let (bytes, fd) = server.receive().unwrap().unwrap();
        assert_eq!((bytes.as_slice(), fd.is_some()), (&b"hello"[..], true));
    }

    #[test]
    fn whoever_connects_too_early_waits_for_the_listener() {
        let dir = Scratch::new().unwrap();
        let path = dir.path().join("s");
        let waiting = std::thread::scope(|scope| {
            let client = scope.spawn(|| Socket::connect(&path, soon()));
            let listener = Listener::bind(&path).unwrap();
            (client.join().unwrap().map(drop), listener)
        });
        waiting.0.unwrap();
    }

    #[test]
    fn nobody_is_waited_for_longer_than_the_limit() {
        let dir = Scratch::new().unwrap();
        let error = Socket::connect(&dir.path().join("s"), Instant::now()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn an_answer_is_waited_for_no_longer_than_the_limit() {
        let dir = Scratch::new().unwrap();
        let path = dir.path().join("s");
        let _silent = Listener::bind(&path).unwrap();
        let client = Socket::connect(&path, Instant::now()).unwrap();
        let error = client.receive().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn an_overlong_message_is_an_error() {
        let dir = Scratch::new().unwrap();
        let path = dir.path().join("s");
        let listener = Listener::bind(&path).unwrap();
        let client = Socket::connect(&path, soon()).unwrap();
        client.send(&vec![0; 2 * MESSAGE_MAX], None).unwrap();
        let (server, _) = listener.accept().unwrap();
        assert_eq!(server.receive().unwrap_err().kind(), ErrorKind::InvalidData);
    }
}
