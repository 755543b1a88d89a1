//! The client, against the server and against replies made by hand.

use abi::DomId;
use abi::io::xs_wire::{HEADER_SIZE, Op};
use xenstore::server::ConnId;
use xenstore::wire::{self, Frame, Splitter};
use xenstore::{Batch, Client, Corrupt, Event, Perm, Reply, Server, Step, StoreError};

use super::bench::p;

/// A client with a server to talk to.
struct Link {
    client: Client,
    server: Server,
    conn: ConnId,
    /// Bytes that go over at a time.
    chunk: usize,
}

impl Link {
    fn new() -> Self {
        let mut server = Server::new();
        let conn = server.connect(DomId::DOM0);
        Self {
            client: Client::new(),
            server,
            conn,
            chunk: usize::MAX,
        }
    }

    /// Carries bytes to and fro until neither side has any left.
    fn exchange(&mut self) {
        loop {
            let bytes = self.client.outgoing().to_vec();
            self.client.sent(bytes.len());
            for chunk in bytes.chunks(self.chunk) {
                self.server.input(self.conn, chunk);
            }
            let bytes = self.server.output(self.conn);
            for chunk in bytes.chunks(self.chunk) {
                self.client.incoming(chunk).unwrap();
            }
            if bytes.is_empty() && self.client.outgoing().is_empty() {
                return;
            }
        }
    }

    fn events(&mut self) -> Vec<Event> {
        self.exchange();
        std::iter::from_fn(|| self.client.next_event()).collect()
    }

    fn run(&mut self, batch: Batch) -> Vec<Result<Reply, StoreError>> {
        let id = self.client.submit(batch);
        let replies = |event| match event {
            Event::Replies { batch, replies } if batch == id => Some(replies),
            _ => None,
        };
        self.events()
            .into_iter()
            .find_map(replies)
            .expect("the batch is answered")
    }

    fn watched(&mut self) -> Vec<String> {
        let path = |event| match event {
            Event::Watch { path, .. } => Some(path.to_string()),
            Event::Replies { .. } => None,
        };
        self.events().into_iter().filter_map(path).collect()
    }
}

fn write(path: &str, value: &str) -> Step {
    Step::Write(p(path), value.into())
}

fn value(text: &str) -> Result<Reply, StoreError> {
    Ok(Reply::Value(text.into()))
}

fn watch(path: &str) -> Step {
    Step::Watch {
        path: p(path),
        token: "t".to_owned(),
    }
}

const DONE: Result<Reply, StoreError> = Ok(Reply::Done);

#[test]
fn the_replies_of_a_batch_come_in_the_order_of_its_steps() {
    let mut link = Link::new();
    let perms: Vec<Perm> = vec!["n0".parse().unwrap(), "r7".parse().unwrap()];
    let replies = link.run(Batch::new(vec![
        write("/a", "1"),
        Step::Read(p("/a")),
        Step::Read(p("/missing")),
        Step::Mkdir(p("/a/b")),
        Step::Directory(p("/a")),
        Step::SetPerms(p("/a"), perms.clone()),
        Step::GetPerms(p("/a")),
        Step::Remove(p("/a")),
    ]));
    let names = vec!["b".to_owned()];
    let expected = vec![
        DONE,
        value("1"),
        Err(StoreError::NotFound),
        DONE,
        Ok(Reply::Names(names)),
        DONE,
        Ok(Reply::Perms(perms)),
        DONE,
    ];
    assert_eq!(replies, expected);
}

#[test]
fn an_empty_batch_is_answered() {
    let mut link = Link::new();
    assert_eq!(link.run(Batch::new(Vec::new())), []);
    assert_eq!(link.run(Batch::transaction(Vec::new())), []);
}

#[test]
fn all_batches_share_one_outgoing_buffer() {
    let mut client = Client::new();
    for _ in 0..3 {
        client.submit(Batch::new(vec![write("/a", "1"), Step::Read(p("/a"))]));
    }
    let mut splitter = Splitter::default();
    splitter.push(client.outgoing());
    let frames: Vec<Frame> = std::iter::from_fn(|| splitter.next_frame().unwrap()).collect();
    assert_eq!(frames.len(), 6);
}

#[test]
fn one_message_at_a_time_can_be_had_and_partial_sends_are_continued() {
    let mut client = Client::new();
    client.submit(Batch::new(vec![Step::Read(p("/a")), Step::Read(p("/bc"))]));
    assert_eq!(client.outgoing_message().len(), HEADER_SIZE + 3);
    client.sent(10);
    assert_eq!(client.outgoing_message().len(), HEADER_SIZE + 3 - 10);
    assert_eq!(client.in_flight(), 0);
    client.sent(9);
    assert_eq!(client.in_flight(), 1);
    assert_eq!(client.outgoing_message().len(), HEADER_SIZE + 4);
    client.sent(usize::MAX);
    assert_eq!((client.in_flight(), client.outgoing().len()), (2, 0));
}

#[test]
fn a_serial_client_waits_for_each_answer() {
    let mut client = Client::serial();
    client.submit(Batch::new(vec![Step::Read(p("/a")), Step::Read(p("/bc"))]));
    assert_eq!(client.outgoing().len(), HEADER_SIZE + 3);
    client.sent(4);
    assert_eq!(client.outgoing().len(), HEADER_SIZE - 1);
    client.sent(HEADER_SIZE - 1);
    assert_eq!(client.outgoing(), []);
    let mut answer = Vec::new();
    wire::encode(Op::READ, 1, 0, b"1", &mut answer);
    client.incoming(&answer).unwrap();
    assert_eq!(client.outgoing_message().len(), HEADER_SIZE + 4);
}

#[test]
fn a_message_that_was_refused_on_its_way_is_answered_by_that() {
    let mut client = Client::new();
    let watch = Step::Watch {
        path: p("@releaseDomain/7"),
        token: "gone".to_owned(),
    };
    let batch = client.submit(Batch::new(vec![watch]));
    client.submit(Batch::new(vec![Step::Read(p("/a"))]));
    client.sent(4);
    client.refused(StoreError::Invalid);
    let replies = vec![Err(StoreError::Invalid)];
    assert_eq!(client.next_event(), Some(Event::Replies { batch, replies }));
    assert_eq!(client.outgoing().len(), HEADER_SIZE + 3);
    assert_eq!(client.in_flight(), 0);
}

#[test]
fn a_transaction_whose_start_was_refused_on_its_way_does_not_happen() {
    let mut client = Client::new();
    let batch = client.submit(Batch::transaction(vec![write("/a", "1")]));
    client.refused(StoreError::Other(5));
    let replies = vec![Err(StoreError::Other(5))];
    assert_eq!(client.next_event(), Some(Event::Replies { batch, replies }));
    assert_eq!(client.outgoing(), []);
}

#[test]
fn replies_may_be_split_at_any_byte() {
    for chunk in 1..40 {
        let mut link = Link {
            chunk,
            ..Link::new()
        };
        let steps = vec![watch("/a"), write("/a", "1"), Step::Read(p("/a"))];
        assert_eq!(
            link.run(Batch::transaction(steps)),
            [DONE, DONE, value("1")]
        );
    }
}

#[test]
fn a_transaction_happens_as_a_whole() {
    let mut link = Link::new();
    let replies = link.run(Batch::transaction(vec![write("/a", "1"), write("/b", "2")]));
    assert_eq!(replies, [DONE, DONE]);
    let replies = link.run(Batch::new(vec![Step::Read(p("/a")), Step::Read(p("/b"))]));
    assert_eq!(replies, [value("1"), value("2")]);
}

#[test]
fn a_transaction_in_which_a_write_fails_does_not_happen() {
    let mut link = Link::new();
    let steps = vec![
        write("/a", "1"),
        write("@nowhere", "2"),
        Step::Read(p("/a")),
    ];
    let replies = link.run(Batch::transaction(steps));
    let expected = [
        Err(StoreError::RolledBack),
        Err(StoreError::Invalid),
        value("1"),
    ];
    assert_eq!(replies, expected);
    assert_eq!(
        link.run(Batch::new(vec![Step::Read(p("/a"))])),
        [Err(StoreError::NotFound)]
    );
}

#[test]
fn a_read_of_nothing_and_a_removal_of_nothing_do_not_abort_a_transaction() {
    let mut link = Link::new();
    let steps = vec![
        Step::Read(p("/missing")),
        Step::Remove(p("/not/there")),
        write("/a", "1"),
    ];
    let missing = Err(StoreError::NotFound);
    assert_eq!(
        link.run(Batch::transaction(steps)),
        [missing.clone(), missing, DONE]
    );
    assert_eq!(
        link.run(Batch::new(vec![Step::Read(p("/a"))])),
        [value("1")]
    );
}

#[test]
fn a_transaction_happens_if_a_node_is_as_expected() {
    let mut link = Link::new();
    link.run(Batch::new(vec![write("/state", "2")]));
    let steps = vec![Step::Expect(p("/state"), b"2".into()), write("/a", "1")];
    assert_eq!(link.run(Batch::transaction(steps)), [value("2"), DONE]);
}

#[test]
fn a_transaction_in_which_a_node_is_not_as_expected_does_not_happen() {
    let mut link = Link::new();
    link.run(Batch::new(vec![write("/state", "5")]));
    let steps = vec![Step::Expect(p("/state"), b"2".into()), write("/a", "1")];
    let rolled_back = Err(StoreError::RolledBack);
    assert_eq!(
        link.run(Batch::transaction(steps)),
        [Err(StoreError::Conflict), rolled_back]
    );
    assert_eq!(
        link.run(Batch::new(vec![Step::Read(p("/a"))])),
        [Err(StoreError::NotFound)]
    );
}

#[test]
fn a_transaction_in_which_an_expected_node_is_missing_does_not_happen() {
    let mut link = Link::new();
    let state = p("/gone/state");
    let steps = vec![
        Step::Expect(state.clone(), b"2".into()),
        Step::Write(state.clone(), b"4".into()),
    ];
    let (missing, rolled_back) = (Err(StoreError::NotFound), Err(StoreError::RolledBack));
    assert_eq!(
        link.run(Batch::transaction(steps)),
        [missing.clone(), rolled_back]
    );
    assert_eq!(link.run(Batch::new(vec![Step::Read(state)])), [missing]);
}

/// Answers everything that the client sends, as `answer` says by operation; returns how many
/// transactions were started.
fn answer_all(client: &mut Client, answer: impl Fn(Op, u32) -> (Op, &'static [u8])) -> u32 {
    let mut started = 0;
    while !client.outgoing().is_empty() {
        let mut splitter = Splitter::default();
        splitter.push(client.outgoing());
        client.sent(usize::MAX);
        let mut replies = Vec::new();
        while let Some(frame) = splitter.next_frame().unwrap() {
            started += u32::from(frame.op == Op::TRANSACTION_START);
            let (op, payload) = answer(frame.op, started);
            wire::encode(op, frame.req_id, frame.tx_id, payload, &mut replies);
        }
        client.incoming(&replies).unwrap();
    }
    started
}

/// A server on which the first `conflicts` transactions meet a conflict.
fn contended(conflicts: u32) -> impl Fn(Op, u32) -> (Op, &'static [u8]) {
    move |op, started| match op {
        Op::TRANSACTION_START => (op, b"9\0"),
        Op::TRANSACTION_END if started <= conflicts => (Op::ERROR, b"EAGAIN\0"),
        op => (op, b"OK\0"),
    }
}

#[test]
fn a_transaction_is_repeated_on_conflict() {
    let mut client = Client::new();
    client.submit(Batch::transaction(vec![write("/a", "1"), watch("/a")]));
    assert_eq!(answer_all(&mut client, contended(3)), 4);
    let replies = vec![DONE, DONE];
    let event = client.next_event();
    assert!(matches!(event, Some(Event::Replies { replies: all, .. }) if all == replies));
}

#[test]
fn a_transaction_that_meets_conflicts_for_ever_is_given_up() {
    let mut client = Client::new();
    client.submit(Batch::transaction(vec![
        write("/a", "1"),
        Step::Read(p("/b")),
    ]));
    let attempts = answer_all(&mut client, contended(u32::MAX));
    assert_eq!(attempts, xenstore::client::ATTEMPTS_MAX);
    let replies = vec![Err(StoreError::Conflict), value("OK\0")];
    let event = client.next_event();
    assert!(matches!(event, Some(Event::Replies { replies: all, .. }) if all == replies));
}

#[test]
fn a_transaction_that_cannot_start_is_answered() {
    let mut client = Client::new();
    client.submit(Batch::transaction(vec![
        write("/a", "1"),
        Step::Read(p("/b")),
    ]));
    answer_all(&mut client, |_, _| (Op::ERROR, b"ENOSPC\0"));
    let replies = vec![Err(StoreError::Quota); 2];
    let event = client.next_event();
    assert!(matches!(event, Some(Event::Replies { replies: all, .. }) if all == replies));
}

#[test]
fn a_directory_too_big_for_a_payload_is_read_in_parts() {
    let mut link = Link::new();
    let name = |index: usize| format!("{index:0>64}");
    let steps = (0..500)
        .map(|index| write(&format!("/dir/{}", name(index)), ""))
        .collect();
    link.run(Batch::new(steps));
    let names = vec![Ok(Reply::Names((0..500).map(name).collect()))];
    let steps = vec![Step::Directory(p("/dir"))];
    assert_eq!(link.run(Batch::new(steps.clone())), names);
    assert_eq!(link.run(Batch::transaction(steps)), names);
}

#[test]
fn a_directory_that_keeps_changing_is_given_up() {
    let mut client = Client::new();
    client.submit(Batch::new(vec![Step::Directory(p("/dir"))]));
    let generation = std::cell::Cell::new(0);
    answer_all(&mut client, |op, _| {
        generation.set(generation.get() + 1);
        match op {
            Op::DIRECTORY => (Op::ERROR, b"E2BIG\0"),
            op if generation.get() % 2 == 0 => (op, b"1\0name\0"),
            op => (op, b"2\0name\0"),
        }
    });
    let replies = vec![Err(StoreError::TooBig)];
    let event = client.next_event();
    assert!(matches!(event, Some(Event::Replies { replies: all, .. }) if all == replies));
}

#[test]
fn a_server_without_directory_part_cannot_list_a_big_directory() {
    let mut client = Client::new();
    client.submit(Batch::new(vec![Step::Directory(p("/dir"))]));
    answer_all(&mut client, |op, _| match op {
        Op::DIRECTORY => (Op::ERROR, b"E2BIG\0"),
        _ => (Op::ERROR, b"ENOSYS\0"),
    });
    let replies = vec![Err(StoreError::TooBig)];
    let event = client.next_event();
    assert!(matches!(event, Some(Event::Replies { replies: all, .. }) if all == replies));
}

#[test]
fn a_step_beyond_a_payload_is_refused_without_being_sent() {
    let mut link = Link::new();
    let steps = vec![Step::Write(p("/a"), vec![0; 5000]), Step::Mkdir(p("/b"))];
    assert_eq!(
        link.run(Batch::new(steps.clone())),
        [Err(StoreError::TooBig), DONE]
    );
    let expected = [Err(StoreError::TooBig), Err(StoreError::RolledBack)];
    assert_eq!(link.run(Batch::transaction(steps)), expected);
}

#[test]
fn a_watch_event_that_waits_is_not_doubled() {
    let mut link = Link::new();
    link.client
        .submit(Batch::new(vec![watch("/a"), write("/a/b", "1")]));
    link.exchange();
    link.client.submit(Batch::new(vec![write("/a/b", "2")]));
    link.exchange();
    assert_eq!(link.watched(), ["/a", "/a/b"]);
    link.client.submit(Batch::new(vec![write("/a/b", "3")]));
    assert_eq!(link.watched(), ["/a/b"]);
}

#[test]
fn when_very_many_events_wait_they_become_one_for_the_watched_path() {
    let mut link = Link::new();
    link.client.submit(Batch::new(vec![watch("/a")]));
    for index in 0..3000 {
        link.client
            .submit(Batch::new(vec![write(&format!("/a/{index}"), "")]));
        link.exchange();
    }
    let watched = link.watched();
    assert_eq!(watched.len(), 1024);
    assert!(watched.contains(&"/a".to_owned()));
}

#[test]
fn events_of_a_watch_that_was_taken_back_are_dropped() {
    let mut link = Link::new();
    let unwatch = Step::Unwatch {
        path: p("/a"),
        token: "t".to_owned(),
    };
    link.client.submit(Batch::new(vec![
        watch("/a"),
        watch("/b"),
        write("/a/x", ""),
    ]));
    link.exchange();
    link.client.submit(Batch::new(vec![unwatch]));
    assert_eq!(link.watched(), ["/b"]);
}

#[test]
fn an_event_with_a_path_that_we_would_not_write_is_told_as_the_watched_path() {
    let mut client = Client::new();
    client.submit(Batch::new(vec![watch("/a")]));
    let mut bytes = Vec::new();
    wire::encode(
        Op::WATCH_EVENT,
        0,
        0,
        &wire::watch_event("/a/sp ace", "t"),
        &mut bytes,
    );
    client.incoming(&bytes).unwrap();
    let expected = Event::Watch {
        path: p("/a"),
        token: "t".to_owned(),
    };
    assert_eq!(client.next_event(), Some(expected));
}

#[test]
fn nonsense_from_the_server_is_reported_as_corrupt() {
    let fed = |op: Op, req_id: u32, payload: &[u8]| {
        let mut client = Client::new();
        client.submit(Batch::new(vec![Step::GetPerms(p("/a"))]));
        let mut bytes = Vec::new();
        wire::encode(op, req_id, 0, payload, &mut bytes);
        client.incoming(&bytes)
    };
    assert_eq!(fed(Op::GET_PERMS, 1, b"n0\0"), Ok(()));
    assert_eq!(
        fed(Op::GET_PERMS, 2, b"n0\0"),
        Err(Corrupt::UnknownRequest(2))
    );
    assert_eq!(fed(Op::READ, 1, b"n0\0"), Err(Corrupt::Mismatch(1)));
    assert_eq!(fed(Op::GET_PERMS, 1, b"n0"), Err(Corrupt::Mismatch(1)));
    assert_eq!(fed(Op::WATCH_EVENT, 0, b"/a\0"), Err(Corrupt::WatchEvent));
    assert_eq!(fed(Op::ERROR, 1, b"EWHATEVER"), Ok(()));
}
