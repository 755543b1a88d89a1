//! Where messages end.

use qmp::frames::{Broken, DEPTH_MAX, Frames, MESSAGE_MAX};

fn all(text: &str) -> Vec<Result<Vec<u8>, Broken>> {
    let mut frames = Frames::default();
    frames.push(text.as_bytes());
    std::iter::from_fn(|| frames.next_message())
        .take(4)
        .collect()
}

#[test]
fn messages_need_nothing_between_them() {
    let expected = [Ok(b"{}".to_vec()), Ok(b"{\"a\":[1]}".to_vec())];
    assert_eq!(all("{}{\"a\":[1]}"), expected);
    assert_eq!(all(" {}\r\n\r\n{\"a\":[1]}\n"), expected);
}

#[test]
fn brackets_and_quotes_in_strings_end_nothing() {
    let text = r#"{"a":"}\"}\\"}"#;
    assert_eq!(all(text), [Ok(text.as_bytes().to_vec())]);
}

#[test]
fn what_is_not_complete_waits() {
    assert_eq!(all("{\"a\":{}"), []);
    assert_eq!(all("{\"a"), []);
}

#[test]
fn a_message_that_is_no_object_breaks_the_stream() {
    assert_eq!(all("hello")[0], Err(Broken::NoObject(b'h')));
    assert_eq!(all("[]")[0], Err(Broken::NoObject(b'[')));
    assert_eq!(all("{}}")[1], Err(Broken::NoObject(b'}')));
}

#[test]
fn a_message_of_the_greatest_length_is_one_and_a_longer_one_is_none() {
    let message = |len: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(len - 8));
    let longest = message(MESSAGE_MAX);
    assert_eq!(all(&longest), [Ok(longest.clone().into_bytes())]);
    assert_eq!(all(&message(MESSAGE_MAX + 1))[0], Err(Broken::TooLong));
}

#[test]
fn nesting_has_an_end() {
    let nested = |depth: usize| {
        let open = "[".repeat(depth - 1);
        let close = "]".repeat(depth - 1);
        format!("{{\"a\":{open}{close}}}")
    };
    assert!(all(&nested(DEPTH_MAX as usize))[0].is_ok());
    assert_eq!(
        all(&nested(DEPTH_MAX as usize + 1))[0],
        Err(Broken::TooDeep)
    );
}
