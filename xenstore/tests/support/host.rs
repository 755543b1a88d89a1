//! The server on a unix socket, every connection with the rights of domain 0.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fs, process, thread};

use abi::DomId;
use xenstore::Server;
use xenstore::server::ConnId;

#[derive(Default)]
struct Shared {
    server: Server,
    streams: BTreeMap<ConnId, UnixStream>,
}

/// A running host; its directory goes away with it, its threads with the process.
pub(crate) struct Host {
    dir: PathBuf,
    shared: Arc<Mutex<Shared>>,
}

impl Host {
    /// `name` tells the hosts of one process apart.
    pub(crate) fn start(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("xenstore-{}-{name}", process::id()));
        fs::create_dir_all(&dir).unwrap();
        let host = Self {
            dir,
            shared: Arc::default(),
        };
        let listener = UnixListener::bind(host.socket()).unwrap();
        let shared = host.shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                admit(&shared, stream.unwrap());
            }
        });
        host
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.join("socket")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        remove(&self.dir);
    }
}

fn remove(dir: &Path) {
    drop(fs::remove_dir_all(dir));
}

fn admit(shared: &Arc<Mutex<Shared>>, stream: UnixStream) {
    let reader = stream.try_clone().unwrap();
    let conn = {
        let mut shared = lock(shared);
        let conn = shared.server.connect(DomId::DOM0);
        shared.streams.insert(conn, stream);
        conn
    };
    let shared = shared.clone();
    thread::spawn(move || serve(&shared, conn, reader));
}

fn serve(shared: &Arc<Mutex<Shared>>, conn: ConnId, mut reader: UnixStream) {
    let mut bytes = [0; 4096];
    while let Ok(len @ 1..) = reader.read(&mut bytes) {
        let mut shared = lock(shared);
        shared.server.input(conn, &bytes[..len]);
        deliver(&mut shared);
    }
    let mut shared = lock(shared);
    shared.server.disconnect(conn);
    shared.streams.remove(&conn);
}

fn deliver(shared: &mut Shared) {
    // Room for replies lets waiting requests go on, which may concern others.
    while let ready @ [_, ..] = &*shared.server.take_ready() {
        for conn in ready {
            send(shared, *conn);
        }
    }
}

fn send(shared: &mut Shared, conn: ConnId) {
    let bytes = shared.server.output(conn);
    if let Some(stream) = shared.streams.get_mut(&conn) {
        // A client that hung up is noticed by its reader.
        drop(stream.write_all(&bytes));
    }
    if !shared.server.is_open(conn) {
        shared.streams.remove(&conn);
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
