//! All of xenstore, by a client of a few lines, and by Debian's xenstore-ls where that is
//! installed.
//!
//! A message of `io/xs_wire.h` is four 32-bit words (type, request, transaction, length) and a
//! payload; the payload of a request is a path with its NUL, that of XS_DIRECTORY's reply a list of
//! names with theirs.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

const XS_DIRECTORY: u32 = 1;

/// The paths of all nodes, as both readers see them.
pub(crate) fn paths(socket: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut connection = UnixStream::connect(socket).unwrap();
    walk(&mut connection, "", &mut found);
    if let Some(listed) = listed(socket) {
        assert_eq!(listed, found, "xenstore-ls sees another store");
    }
    found
}

fn walk(connection: &mut UnixStream, path: &str, found: &mut BTreeSet<String>) {
    let asked = if path.is_empty() { "/" } else { path };
    for name in names(connection, asked) {
        let child = format!("{path}/{name}");
        walk(connection, &child, found);
        found.insert(child);
    }
}

/// The children of a node.
fn names(connection: &mut UnixStream, path: &str) -> Vec<String> {
    let len = u32::try_from(path.len() + 1).unwrap();
    let header = [XS_DIRECTORY, 1, 0, len].map(u32::to_le_bytes).concat();
    let message = [&header, path.as_bytes(), b"\0"].concat();
    connection.write_all(&message).unwrap();
    let mut header = [0; 16];
    connection.read_exact(&mut header).unwrap();
    let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
    let mut payload = vec![0; word(12) as usize];
    connection.read_exact(&mut payload).unwrap();
    let text = String::from_utf8(payload).unwrap();
    assert_eq!(word(0), XS_DIRECTORY, "list {path}: {text}");
    text.split_terminator('\0').map(str::to_owned).collect()
}

/// What xenstore-ls lists; `None` where it is not installed.
fn listed(socket: &Path) -> Option<BTreeSet<String>> {
    let output = Command::new("xenstore-ls")
        .arg("-f")
        .env("XENSTORED_PATH", socket)
        .output();
    let output = match output {
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        output => output.unwrap(),
    };
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "xenstore-ls ended with {}",
        output.status
    );
    let paths = text.lines().filter_map(|line| line.split_once(" = "));
    Some(paths.map(|(path, _)| path.to_owned()).collect())
}
