//! A client that means harm: any bytes, no reading, too much of everything.

use super::bench::{Bench, p, watch};
use abi::DomId;
use abi::io::xs_wire::{Header, Op};
use proptest::prelude::*;
use xenstore::wire::{Frame, Request};
use xenstore::{Client, Server};

fn bytes_of(request: &Request) -> Vec<u8> {
    let mut bytes = Vec::new();
    let payload = request.payload().unwrap();
    Frame {
        op: request.op(),
        req_id: 1,
        tx_id: 0,
        payload,
    }
    .encode(&mut bytes);
    bytes
}

proptest! {
    #![proptest_config(super::config(256))]

    #[test]
    fn no_bytes_panic_the_server(chunks: Vec<Vec<u8>>) {
        let mut server = Server::new();
        let guest = server.connect(DomId(3));
        for chunk in chunks {
            server.input(guest, &chunk);
        }
        drop(server.output(guest));
    }

    #[test]
    fn no_messages_panic_the_server(
        messages in prop::collection::vec(
            (0_u32..30, 0_u32..3, "[/@a-c0-9nrwbTF\0]{0,12}\0?"),
            0..30,
        ),
        domid in 0_u16..2,
    ) {
        let mut server = Server::new();
        let conn = server.connect(DomId(domid));
        for (op, tx_id, payload) in messages {
            let mut bytes = Vec::new();
            Frame { op: Op(op), req_id: 0, tx_id, payload: payload.into() }.encode(&mut bytes);
            server.input(conn, &bytes);
            prop_assert!(server.output(conn).len() >= 16);
        }
    }

    #[test]
    fn no_bytes_panic_the_client(chunks: Vec<Vec<u8>>) {
        let mut client = Client::new();
        client.submit(xenstore::Batch::transaction(vec![xenstore::Step::Directory(p("/"))]));
        for chunk in chunks {
            client.incoming(&chunk).ok();
        }
    }

    #[test]
    fn no_replies_panic_the_client(
        messages in prop::collection::vec(
            (prop::sample::select(vec![1_u32, 2, 6, 7, 15, 16, 22]), 0_u32..6, "[/a-cE0-9\0]{0,9}\0?"),
            0..30,
        ),
    ) {
        let mut client = Client::new();
        let steps = vec![xenstore::Step::Directory(p("/")), xenstore::Step::Read(p("/"))];
        client.submit(xenstore::Batch::new(steps.clone()));
        client.submit(xenstore::Batch::transaction(steps));
        for (op, req_id, payload) in messages {
            let mut bytes = Vec::new();
            Frame { op: Op(op), req_id, tx_id: 0, payload: payload.into() }.encode(&mut bytes);
            client.incoming(&bytes).ok();
        }
    }
}

#[test]
fn a_payload_beyond_4096_bytes_ends_the_connection() {
    let mut bench = Bench::new();
    let guest = bench.guest(5);
    let header = Header {
        op: Op::WRITE,
        req_id: 1,
        tx_id: 0,
        len: 4097,
    };
    bench.server.input(guest, &header.encode());
    assert!(!bench.server.is_open(guest));
    assert!(bench.server.take_ready().contains(&guest));
}

#[test]
fn a_client_that_never_reads_its_replies_is_cut_off() {
    let mut bench = Bench::new();
    let guest = bench.guest(5);
    let request = bytes_of(&Request::Read(p("missing")));
    let enough = (0..100_000).position(|_| {
        bench.server.input(guest, &request);
        !bench.server.is_open(guest)
    });
    // 64 KiB of replies, then 256 KiB of requests that nobody answers.
    let bound = (64 << 10) / 23 + (256 << 10) / request.len() + 2;
    assert!(enough.expect("the connection is closed") <= bound);
}

#[test]
fn requests_wait_while_replies_do_and_go_on_when_those_are_fetched() {
    let mut bench = Bench::new();
    let dom0 = bench.dom0;
    let value = "x".repeat(4000);
    bench.write("/a", &value).unwrap();
    let requests = bytes_of(&Request::Read(p("/a"))).repeat(100);
    bench.server.input(dom0, &requests);
    assert!(!bench.server.wants_input(dom0));
    let replies: Vec<usize> = std::iter::repeat_with(|| bench.server.output(dom0).len())
        .take_while(|len| *len > 0)
        .collect();
    assert_eq!(replies.iter().sum::<usize>(), 100 * 4016);
    assert!(replies.iter().all(|len| *len < (64 << 10) + 4112));
    assert!(bench.server.wants_input(dom0));
}

#[test]
fn a_client_that_never_reads_its_events_gets_few_of_them() {
    let mut bench = Bench::new();
    let (guest, dom0) = (bench.guest(5), bench.dom0);
    bench.watch_quietly(guest, "data");
    for index in 0..20_000 {
        bench
            .write_as(dom0, 0, "/local/domain/5/data/x", "")
            .unwrap();
        bench
            .write_as(
                dom0,
                0,
                &format!("/local/domain/5/data/{}", index % 2000),
                "",
            )
            .unwrap();
    }
    let events = bench.events(guest);
    assert_eq!(events.len(), 256 + 1);
    assert_eq!(events.last().map(String::as_str), Some("data"));
}

#[test]
fn the_same_watch_event_waits_once_however_often_it_fires() {
    let mut bench = Bench::new();
    let guest = bench.guest(5);
    for token in 0..128 {
        bench
            .ask(guest, &watch("data", &token.to_string()))
            .unwrap();
    }
    bench.events(guest);
    for _ in 0..1000 {
        bench.write("/local/domain/5/data", "").unwrap();
    }
    assert_eq!(bench.events(guest).len(), 128);
}

#[test]
fn a_path_of_a_thousand_levels_is_as_good_as_any() {
    let mut bench = Bench::new();
    let deep = "/a".repeat(1536);
    bench.watch_quietly(bench.dom0, &deep);
    bench.write(&deep, "x").unwrap();
    assert_eq!(bench.read(&deep), Ok("x".to_owned()));
    bench.remove("/a").unwrap();
    assert_eq!(bench.server.nodes(), 1);
}
