//! A server and the conversations with it, without sockets.

use std::collections::BTreeMap;

use abi::DomId;
use abi::io::xs_wire::Op;
use xenstore::server::ConnId;
use xenstore::wire::{self, Frame, Request, Splitter};
use xenstore::{Path, Perm, Server, StoreError};

/// A server with a connection of domain 0.
pub(crate) struct Bench {
    pub(crate) server: Server,
    pub(crate) dom0: ConnId,
    events: BTreeMap<ConnId, Vec<(String, String)>>,
}

/// An answer, as text.
pub(crate) type Answer = Result<String, StoreError>;

impl Bench {
    pub(crate) fn new() -> Self {
        let mut server = Server::new();
        let dom0 = server.connect(DomId::DOM0);
        Self {
            server,
            dom0,
            events: BTreeMap::new(),
        }
    }

    /// A guest with a home of its own, as a toolstack sets it up.
    pub(crate) fn guest(&mut self, domid: u16) -> ConnId {
        let home = format!("/local/domain/{domid}");
        self.write(&home, "").unwrap();
        self.perms(&home, &[&format!("n{domid}")]).unwrap();
        self.server.introduce(DomId(domid));
        self.server.connect(DomId(domid))
    }

    /// One request outside of transactions; the payload of the reply, without its last NUL.
    pub(crate) fn ask(&mut self, conn: ConnId, request: &Request) -> Answer {
        self.ask_in(conn, 0, request)
    }

    pub(crate) fn ask_in(&mut self, conn: ConnId, tx_id: u32, request: &Request) -> Answer {
        let payload = request.payload().unwrap();
        let frame = self.exchange(
            conn,
            &Frame {
                op: request.op(),
                req_id: 7,
                tx_id,
                payload,
            },
        );
        assert_eq!((frame.req_id, frame.tx_id), (7, tx_id));
        let text = String::from_utf8(frame.payload).unwrap();
        let text = text.strip_suffix('\0').unwrap_or(&text).to_owned();
        match frame.op {
            Op::ERROR => Err(StoreError::from_name(text.as_bytes())),
            op => {
                assert_eq!(op, request.op());
                Ok(text)
            }
        }
    }

    /// Sends one frame and returns the reply to it; events are kept.
    pub(crate) fn exchange(&mut self, conn: ConnId, frame: &Frame) -> Frame {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        self.server.input(conn, &bytes);
        self.fetch(conn).expect("every request is answered")
    }

    fn fetch(&mut self, conn: ConnId) -> Option<Frame> {
        let mut splitter = Splitter::default();
        splitter.push(&self.server.output(conn));
        let mut reply = None;
        while let Some(frame) = splitter.next_frame().unwrap() {
            if frame.op == Op::WATCH_EVENT {
                let words = wire::strings(&frame.payload).unwrap();
                let event = (words[0].to_owned(), words[1].to_owned());
                self.events.entry(conn).or_default().push(event);
            } else {
                reply = Some(frame);
            }
        }
        reply
    }

    /// The paths of the events since the last call.
    pub(crate) fn events(&mut self, conn: ConnId) -> Vec<String> {
        assert!(self.fetch(conn).is_none());
        let events = self.events.remove(&conn).unwrap_or_default();
        events.into_iter().map(|(path, _)| path).collect()
    }

    pub(crate) fn write_as(&mut self, conn: ConnId, tx: u32, path: &str, value: &str) -> Answer {
        self.ask_in(conn, tx, &Request::Write(p(path), value.into()))
    }

    pub(crate) fn read_as(&mut self, conn: ConnId, tx: u32, path: &str) -> Answer {
        self.ask_in(conn, tx, &Request::Read(p(path)))
    }

    pub(crate) fn list_as(&mut self, conn: ConnId, tx: u32, path: &str) -> Answer {
        self.ask_in(conn, tx, &Request::Directory(p(path)))
            .map(|names| names.replace('\0', " "))
    }

    pub(crate) fn remove_as(&mut self, conn: ConnId, tx: u32, path: &str) -> Answer {
        self.ask_in(conn, tx, &Request::Rm(p(path)))
    }

    pub(crate) fn write(&mut self, path: &str, value: &str) -> Answer {
        self.write_as(self.dom0, 0, path, value)
    }

    pub(crate) fn read(&mut self, path: &str) -> Answer {
        self.read_as(self.dom0, 0, path)
    }

    pub(crate) fn list(&mut self, path: &str) -> Answer {
        self.list_as(self.dom0, 0, path)
    }

    pub(crate) fn remove(&mut self, path: &str) -> Answer {
        self.remove_as(self.dom0, 0, path)
    }

    pub(crate) fn perms(&mut self, path: &str, perms: &[&str]) -> Answer {
        self.perms_as(self.dom0, path, perms)
    }

    pub(crate) fn perms_as(&mut self, conn: ConnId, path: &str, perms: &[&str]) -> Answer {
        let perms: Vec<Perm> = perms.iter().map(|perm| perm.parse().unwrap()).collect();
        self.ask(conn, &Request::SetPerms(p(path), perms))
    }

    pub(crate) fn watch(&mut self, conn: ConnId, path: &str) -> Answer {
        self.ask(conn, &watch(path, "token"))
    }

    /// Sets a watch and takes the event that it starts with.
    pub(crate) fn watch_quietly(&mut self, conn: ConnId, path: &str) {
        self.watch(conn, path).unwrap();
        assert_eq!(self.events(conn), [path]);
    }

    pub(crate) fn start(&mut self, conn: ConnId) -> u32 {
        self.ask(conn, &Request::TransactionStart)
            .unwrap()
            .parse()
            .unwrap()
    }

    pub(crate) fn commit(&mut self, conn: ConnId, tx: u32) -> Answer {
        self.ask_in(conn, tx, &Request::TransactionEnd { commit: true })
    }

    pub(crate) fn abort(&mut self, conn: ConnId, tx: u32) -> Answer {
        self.ask_in(conn, tx, &Request::TransactionEnd { commit: false })
    }
}

pub(crate) fn p(path: &str) -> Path {
    Path::new(path).unwrap()
}

pub(crate) fn ok() -> Answer {
    Ok("OK".to_owned())
}

pub(crate) fn watch(path: &str, token: &str) -> Request {
    Request::Watch {
        path: p(path),
        token: token.to_owned(),
        depth: None,
    }
}

pub(crate) fn watch_depth(path: &str, depth: u32) -> Request {
    Request::Watch {
        path: p(path),
        token: "token".to_owned(),
        depth: Some(depth),
    }
}
