//! Sequenced-packet sockets that carry messages and descriptors, and who is at the other end.
//!
//! UNSAFETY: system calls and control messages, for which the dependencies offer no wrapper that
//! knows SOCK_SEQPACKET. It knows nothing of what the messages say.
//!
//! Invariant: one call moves one whole message, or fails; a message that did not fit is an error.
#![expect(unsafe_code, reason = "system calls without a safe wrapper")]

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::null_mut;

use super::checked;

/// Descriptors that one message may carry.
pub(crate) const FDS_MAX: usize = 8;

/// Room for one control message with [`FDS_MAX`] descriptors: a header of 16 bytes and 4 bytes
/// for each, in words so that it is aligned.
type ControlBuffer = [u64; 2 + FDS_MAX / 2];

/// AF_UNIX as an address carries it.
#[expect(clippy::cast_possible_truncation, reason = "1")]
const FAMILY: libc::sa_family_t = libc::AF_UNIX as libc::sa_family_t;

/// The size of a small value as the socket calls count.
#[expect(
    clippy::cast_possible_truncation,
    reason = "addresses, options, a few descriptors"
)]
fn len_of<T: ?Sized>(value: &T) -> libc::socklen_t {
    size_of_val(value) as libc::socklen_t
}

/// A new socket, close-on-exec.
fn seqpacket(flags: libc::c_int) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC | flags;
    // SAFETY: `socket` takes integers.
    let fd = checked(unsafe { libc::socket(libc::AF_UNIX, kind, 0) })?;
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A socket listening at `path`; accepting from it does not block.
pub(crate) fn listen(path: &Path) -> io::Result<OwnedFd> {
    let socket = seqpacket(libc::SOCK_NONBLOCK)?;
    let (address, len) = address_of(path)?;
    // SAFETY: `address` is a valid sockaddr_un of which `len` bytes count.
    checked(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len) })?;
    // SAFETY: `listen` takes integers.
    checked(unsafe { libc::listen(socket.as_raw_fd(), libc::SOMAXCONN) })?;
    Ok(socket)
}

/// A socket connected to the listener at `path`. Blocks while the listener's backlog is full.
pub(crate) fn connect(path: &Path) -> io::Result<OwnedFd> {
    let socket = seqpacket(0)?;
    let (address, len) = address_of(path)?;
    // SAFETY: `address` is a valid sockaddr_un of which `len` bytes count.
    checked(unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), len) })?;
    Ok(socket)
}

/// The next connection of a listener.
pub(crate) fn accept(listener: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no address is asked for.
    let fd = unsafe { libc::accept4(listener.as_raw_fd(), null_mut(), null_mut(), flags) };
    let fd = checked(fd)?;
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn address_of(path: &Path) -> io::Result<(libc::sockaddr_un, libc::socklen_t)> {
    // SAFETY: all zeroes is a valid sockaddr_un.
    let mut address: libc::sockaddr_un = unsafe { zeroed() };
    let bytes = path.as_os_str().as_bytes();
    // One byte stays for the terminator.
    if bytes.len() >= address.sun_path.len() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "socket path is too long",
        ));
    }
    address.sun_family = FAMILY;
    for (to, from) in address.sun_path.iter_mut().zip(bytes) {
        *to = from.cast_signed();
    }
    Ok((address, len_of(&address)))
}

/// Sends one message with descriptors, without waiting for room if `nonblocking`.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
    nonblocking: bool,
) -> io::Result<()> {
    assert!(fds.len() <= FDS_MAX, "too many descriptors for one message");
    let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let mut control: ControlBuffer = Default::default();
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let mut message = message(&mut part);
    if !raw.is_empty() {
        put_fds(&mut message, &mut control, &raw);
    }
    let wait = if nonblocking { libc::MSG_DONTWAIT } else { 0 };
    let flags = libc::MSG_NOSIGNAL | wait;
    retry(|| {
        // SAFETY: `message` points at `part`, `bytes` and `control`, which outlive the call.
        unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) }
    })
    .map(drop)
}

/// Receives one message with the descriptors it carries; 0 bytes mean that the peer is gone.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut control: ControlBuffer = Default::default();
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let mut message = message(&mut part);
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of::<ControlBuffer>();
    let n = retry(|| {
        let flags = libc::MSG_CMSG_CLOEXEC;
        // SAFETY: `message` points at `part`, `buffer` and `control`, which outlive the call.
        unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) }
    })?;
    let fds = take_fds(&message);
    if message.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "message is too long",
        ));
    }
    Ok((n, fds))
}

/// A message header for one part and no control data.
fn message(part: &mut libc::iovec) -> libc::msghdr {
    // SAFETY: all zeroes is a valid msghdr: no name, no parts, no control data.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = part;
    message.msg_iovlen = 1;
    message
}

/// Repeats a call that a signal interrupted.
fn retry(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        match usize::try_from(call()) {
            Ok(n) => return Ok(n),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

/// Writes one SCM_RIGHTS control message.
fn put_fds(message: &mut libc::msghdr, control: &mut ControlBuffer, fds: &[RawFd]) {
    let len = len_of(fds);
    message.msg_control = control.as_mut_ptr().cast();
    // SAFETY: CMSG_SPACE computes a size.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(len) } as usize;
    // SAFETY: the control buffer is set and holds at least one header.
    let header = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: CMSG_LEN computes a size.
    let header_len = unsafe { libc::CMSG_LEN(len) } as usize;
    let filled = libc::cmsghdr {
        cmsg_len: header_len,
        cmsg_level: libc::SOL_SOCKET,
        cmsg_type: libc::SCM_RIGHTS,
    };
    // SAFETY: `header` is aligned and inside the control buffer.
    unsafe { header.write(filled) };
    // SAFETY: the data follows the header inside the control buffer.
    let data = unsafe { libc::CMSG_DATA(header) };
    // SAFETY: the buffer has room for FDS_MAX descriptors, and `fds` is no longer than that.
    unsafe { data.copy_from_nonoverlapping(fds.as_ptr().cast(), size_of_val(fds)) };
}

/// Takes ownership of every descriptor that a message brought.
fn take_fds(message: &libc::msghdr) -> Vec<OwnedFd> {
    let mut fds = Vec::new();
    // SAFETY: the kernel filled the control buffer that `message` describes.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !header.is_null() {
        // SAFETY: `header` was found inside the control buffer.
        let found = unsafe { header.read() };
        if found.cmsg_level == libc::SOL_SOCKET && found.cmsg_type == libc::SCM_RIGHTS {
            // SAFETY: as above; the data follows the header.
            let data = unsafe { libc::CMSG_DATA(header) };
            // SAFETY: CMSG_LEN computes a size.
            let bytes = found.cmsg_len - unsafe { libc::CMSG_LEN(0) } as usize;
            for index in 0..bytes / size_of::<RawFd>() {
                // SAFETY: `cmsg_len` counts this element too.
                let fd = unsafe { data.cast::<RawFd>().wrapping_add(index).read_unaligned() };
                // SAFETY: the kernel installed it for us.
                fds.push(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
        // SAFETY: as for the first header.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
    fds
}

/// A descriptor that becomes readable when the process at the other end of `socket` has died.
pub(crate) fn peer_pidfd(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let fd = match option::<RawFd>(socket, libc::SO_PEERPIDFD) {
        Ok(fd) => fd,
        // Linux before 6.5: by number, which races with reuse only if the peer is dead already.
        Err(_) => pidfd_open(option::<libc::ucred>(socket, libc::SO_PEERCRED)?.pid)?,
    };
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The process at the other end of `socket`.
pub(crate) fn peer_pid(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let credentials = option::<libc::ucred>(socket, libc::SO_PEERCRED)?;
    u32::try_from(credentials.pid).map_err(io::Error::other)
}

/// Types that every bit pattern of a socket option is a valid value of.
trait Plain: Copy {}
impl Plain for RawFd {}
impl Plain for libc::ucred {}

fn option<T: Plain>(socket: BorrowedFd<'_>, name: libc::c_int) -> io::Result<T> {
    // SAFETY: `Plain` types are integers or structures of integers.
    let mut value: T = unsafe { zeroed() };
    let mut len = len_of(&value);
    let to = (&raw mut value).cast();
    // SAFETY: the kernel writes at most `len` bytes to `value`.
    checked(unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, name, to, &raw mut len)
    })?;
    Ok(value)
}

fn pidfd_open(pid: libc::pid_t) -> io::Result<RawFd> {
    // SAFETY: `pidfd_open` takes integers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    RawFd::try_from(fd)
        .ok()
        .filter(|&fd| fd >= 0)
        .ok_or_else(io::Error::last_os_error)
}
