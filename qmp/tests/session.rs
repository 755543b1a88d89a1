//! What a session says to clients, those in the field and those that make no sense.

use proptest::prelude::*;
use qmp::frames::MESSAGE_MAX;
use qmp::{Command, Commands, Failed, Session, Version};
use serde_json::{Value, json};

const VERSION: Version = Version {
    numbers: [4, 2, 0],
    package: "test",
};

/// Knows one command, and counts.
#[derive(Default)]
struct One {
    executed: u32,
}

impl Commands for One {
    fn execute(&mut self, command: &Command) -> Result<Value, Failed> {
        match command.name.as_str() {
            "count" => {
                self.executed += 1;
                Ok(json!(self.executed))
            }
            name => Err(Failed::not_found(name)),
        }
    }
}

/// All that a client hears who sends `pieces` and reads everything.
fn heard<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
    let (mut session, mut commands) = (Session::new(&VERSION), One::default());
    let mut heard = taken(&mut session);
    for piece in pieces {
        session.incoming(piece);
        session.advance(&mut commands);
        while !session.outgoing().is_empty() {
            heard.extend(taken(&mut session));
            session.advance(&mut commands);
        }
    }
    String::from_utf8(heard).unwrap()
}

fn taken(session: &mut Session) -> Vec<u8> {
    let bytes = session.outgoing().to_vec();
    session.sent(bytes.len());
    bytes
}

/// The lines that answer `text`, without the greeting.
fn answers(text: &str) -> Vec<Value> {
    let heard = heard([text.as_bytes()]);
    let lines = heard.lines().skip(1);
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn the_greeting_names_a_version_and_ends_its_line() {
    let heard = heard([]);
    let greeting: Value = serde_json::from_str(&heard).unwrap();
    assert_eq!(greeting["QMP"]["version"]["qemu"]["major"], 4);
    assert_eq!(greeting["QMP"]["capabilities"], json!([]));
    assert!(heard.ends_with("\r\n"));
}

#[test]
fn nothing_is_executed_before_the_negotiation() {
    let refused = &answers("{\"execute\":\"count\",\"id\":1}")[0];
    assert_eq!(refused["error"]["class"], "CommandNotFound");
    assert_eq!(refused["id"], 1);
}

#[test]
fn commands_are_answered_in_order_with_their_ids() {
    let said = "{\"execute\":\"qmp_capabilities\"}\r\n{\"execute\":\"count\",\"id\":2020372736}\
                {\"execute\":\"count\",\"id\":\"b\"}{\"execute\":\"nonsense\"}";
    let expected = json!([
        { "return": {} },
        { "return": 1, "id": 2020372736 },
        { "return": 2, "id": "b" },
        { "error": { "class": "CommandNotFound", "desc": "The command nonsense has not been found" } },
    ]);
    assert_eq!(json!(answers(said)), expected);
}

#[test]
fn a_negotiation_happens_once_and_for_nothing_that_was_not_offered() {
    let said = "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"oob\"]}}\
                {\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[]}}\
                {\"execute\":\"qmp_capabilities\"}";
    let answers = answers(said);
    assert_eq!(answers[0]["error"]["class"], "GenericError");
    assert_eq!(answers[1], json!({ "return": {} }));
    assert_eq!(answers[2]["error"]["class"], "CommandNotFound");
}

#[test]
fn a_message_that_is_no_json_is_an_error_and_the_next_one_is_understood() {
    let answers = answers("{\"execute\" \"x\"}{\"execute\":\"qmp_capabilities\"}");
    assert_eq!(answers[0]["error"]["class"], "GenericError");
    assert_eq!(answers[1], json!({ "return": {} }));
}

#[test]
fn a_message_that_is_no_command_is_refused_by_what_is_wrong_with_it() {
    let said = "{}{\"execute\":1,\"id\":7}{\"execute\":\"x\",\"arguments\":[]}\
                {\"execute\":\"x\",\"exec-oob\":1}";
    let answers = answers(said);
    let desc = |at: usize| answers[at]["error"]["desc"].as_str();
    assert_eq!(desc(0), Some("member 'execute' is missing"));
    assert_eq!(desc(1), Some("member 'execute' must be a string"));
    assert_eq!(answers[1]["id"], 7);
    assert_eq!(desc(2), Some("member 'arguments' must be an object"));
    assert_eq!(desc(3), Some("member 'exec-oob' is unexpected"));
}

#[test]
fn a_stream_without_messages_gets_one_error_and_its_end() {
    let (mut session, mut commands) = (Session::new(&VERSION), One::default());
    taken(&mut session);
    session.incoming(b"GET / HTTP/1.0\r\n\r\n{\"execute\":\"qmp_capabilities\"}");
    session.advance(&mut commands);
    assert!(!session.is_over(), "the error is to be sent first");
    assert!(
        String::from_utf8(taken(&mut session))
            .unwrap()
            .contains("0x47")
    );
    session.incoming(b"{\"execute\":\"qmp_capabilities\"}");
    session.advance(&mut commands);
    assert!(session.is_over() && session.outgoing().is_empty());
}

#[test]
fn a_client_that_does_not_read_is_executed_one_command_for() {
    let (mut session, mut commands) = (Session::new(&VERSION), One::default());
    taken(&mut session);
    session.incoming(
        b"{\"execute\":\"qmp_capabilities\"}{\"execute\":\"count\"}{\"execute\":\"count\"}",
    );
    session.advance(&mut commands);
    taken(&mut session);
    session.advance(&mut commands);
    session.sent(3);
    session.advance(&mut commands);
    assert_eq!(commands.executed, 1);
    assert_eq!(session.outgoing(), b"eturn\":1}\r\n");
}

#[test]
fn a_message_that_never_ends_breaks_the_connection_at_its_bound() {
    let endless = vec![b' '; 4096];
    let pieces = std::iter::once(&b"{"[..]).chain(std::iter::repeat_n(&endless[..], 17));
    assert!(heard(pieces).contains(&format!("longer than {MESSAGE_MAX}")));
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_get_the_same_answers(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
    ) {
        let whole: Vec<u8> = pieces.concat();
        prop_assert_eq!(heard(pieces.iter().map(Vec::as_slice)), heard([&whole[..]]));
    }

    #[test]
    fn commands_cut_anywhere_get_the_same_answers(cut in 0_usize..80) {
        let said = b"{\"execute\":\"qmp_capabilities\"} {\"execute\":\"count\",\"id\":\"\\\"}\"}{}{";
        let (first, second) = said.split_at(cut.min(said.len()));
        prop_assert_eq!(heard([first, second]), heard([&said[..]]));
    }
}
