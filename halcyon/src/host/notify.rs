//! Tells systemd how the daemon is (`sd_notify(3)`), where systemd asked for it.
//!
//! Invariant: without NOTIFY_SOCKET nothing happens; what cannot be said is not worth failing for.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The environment variable that names systemd's socket.
pub(super) const SOCKET: &str = "NOTIFY_SOCKET";

/// Says `READY=1` and the like.
pub(super) fn say(word: &str) {
    let named: Option<OsString> = std::env::var_os(SOCKET);
    if let Some(Err(error)) = named.map(|name| send(&name, word)) {
        tracing::warn!("telling systemd {word}: {error}");
    }
}

fn send(name: &OsStr, word: &str) -> io::Result<()> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.send_to_addr(word.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::scratch::Scratch;

    fn heard(socket: &UnixDatagram) -> Vec<u8> {
        let mut bytes = [0; 64];
        let len = socket.recv(&mut bytes).unwrap();
        bytes[..len].to_vec()
    }

    #[test]
    fn systemd_hears_it_on_a_socket_with_a_path() {
        let dir = Scratch::new().unwrap();
        let path = dir.path().join("n");
        let socket = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str(), "READY=1").unwrap();
        assert_eq!(heard(&socket), b"READY=1");
    }

    #[test]
    fn systemd_hears_it_on_an_abstract_socket() {
        let name = format!("halcyon-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        send(OsStr::new(&format!("@{name}")), "STOPPING=1").unwrap();
        assert_eq!(heard(&socket), b"STOPPING=1");
    }
}
