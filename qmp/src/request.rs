//! A message as a command, and the objects that answer it.
//!
//! Knows no command. Invariant: every answer is one line that carries the client's `id`, if one
//! could be read.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

use serde_json::{Map, Value, json};

/// What a client asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// Its name, as `query-status`.
    pub name: String,
    /// By name; empty where none were given.
    pub arguments: Map<String, Value>,
}

/// The kind of an error, as clients tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Nobody knows this command, or not now.
    CommandNotFound,
    /// Anything else.
    GenericError,
}

impl Class {
    fn name(self) -> &'static str {
        match self {
            Self::CommandNotFound => "CommandNotFound",
            Self::GenericError => "GenericError",
        }
    }
}

/// Why a command was not executed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Failed {
    /// For programs.
    pub class: Class,
    /// For people, on one line.
    pub text: String,
}

impl Failed {
    /// A command that does not exist.
    #[must_use]
    pub fn not_found(name: &str) -> Self {
        let text = format!("The command {name} has not been found");
        Self {
            class: Class::CommandNotFound,
            text,
        }
    }

    /// A command that exists and could not be executed as it was given.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            class: Class::GenericError,
            text: text.into(),
        }
    }
}

/// A message that was taken apart: what is asked, if that makes sense, and the name that the client
/// gave to it.
#[derive(Debug, PartialEq)]
pub(crate) struct Request {
    pub(crate) id: Option<Value>,
    pub(crate) command: Result<Command, Failed>,
}

impl Request {
    pub(crate) fn parse(message: &[u8]) -> Self {
        match serde_json::from_slice(message) {
            Ok(Value::Object(mut members)) => Self {
                id: members.remove("id"),
                command: command(members),
            },
            Ok(_) => Self::malformed("expected an object".into()),
            Err(error) => Self::malformed(format!("JSON parse error: {error}")),
        }
    }

    fn malformed(text: String) -> Self {
        let command = Err(Failed::new(text));
        Self { id: None, command }
    }
}

fn command(mut members: Map<String, Value>) -> Result<Command, Failed> {
    let name = match members.remove("execute") {
        Some(Value::String(name)) => name,
        Some(_) => return Err(Failed::new("member 'execute' must be a string")),
        None => return Err(Failed::new("member 'execute' is missing")),
    };
    let arguments = match members.remove("arguments") {
        Some(Value::Object(arguments)) => arguments,
        Some(_) => return Err(Failed::new("member 'arguments' must be an object")),
        None => Map::new(),
    };
    match members.keys().next() {
        Some(unknown) => Err(Failed::new(format!("member '{unknown}' is unexpected"))),
        None => Ok(Command { name, arguments }),
    }
}

/// The bytes that answer a request.
pub(crate) fn answer(id: Option<Value>, result: Result<Value, Failed>) -> Vec<u8> {
    let mut members = Map::new();
    match result {
        Ok(value) => members.insert("return".into(), value),
        Err(failed) => {
            let error = json!({ "class": failed.class.name(), "desc": failed.text });
            members.insert("error".into(), error)
        }
    };
    if let Some(id) = id {
        members.insert("id".into(), id);
    }
    line(&Value::Object(members))
}

/// An object as a line; clients look for its end.
pub(crate) fn line(value: &Value) -> Vec<u8> {
    let mut bytes = value.to_string().into_bytes();
    bytes.extend_from_slice(b"\r\n");
    bytes
}
