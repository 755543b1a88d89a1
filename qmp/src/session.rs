//! One connection: greeting, negotiation, and one command after the other.
//!
//! Knows neither sockets nor commands. Its owner sends [`Session::outgoing`], reports what left by
//! [`Session::sent`], hands over what arrived, and reads on only when [`Session::advance`] leaves
//! nothing to send; so a client that does not read is not read from.
//!
//! Invariant: a command is executed only when the answer to the one before has left.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

use serde_json::{Value, json};

use crate::frames::Frames;
use crate::request::{Class, Command, Failed, Request, answer, line};

/// Who knows the commands.
pub trait Commands {
    /// Executes a command and returns what it returns; never waits.
    fn execute(&mut self, command: &Command) -> Result<Value, Failed>;
}

/// What the greeting and `query-version` say of the server, in the numbers of qemu, by which
/// clients judge what they may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Major, minor, micro.
    pub numbers: [u16; 3],
    /// Who it really is.
    pub package: &'static str,
}

impl Version {
    /// As an object.
    #[must_use]
    pub fn object(&self) -> Value {
        let [major, minor, micro] = self.numbers;
        let qemu = json!({ "major": major, "minor": minor, "micro": micro });
        json!({ "qemu": qemu, "package": self.package })
    }
}

/// See the head of this file.
#[derive(Debug)]
pub struct Session {
    frames: Frames,
    outgoing: Vec<u8>,
    /// How much of `outgoing` has left.
    sent: usize,
    is_negotiated: bool,
    is_broken: bool,
}

impl Session {
    /// A new connection, with the greeting to send.
    #[must_use]
    pub fn new(version: &Version) -> Self {
        let greeting = json!({ "QMP": { "version": version.object(), "capabilities": [] } });
        Self {
            frames: Frames::default(),
            outgoing: line(&greeting),
            sent: 0,
            is_negotiated: false,
            is_broken: false,
        }
    }

    /// Takes what arrived.
    pub fn incoming(&mut self, bytes: &[u8]) {
        if !self.is_broken {
            self.frames.push(bytes);
        }
    }

    /// Executes what is there to execute, until something is to be sent.
    pub fn advance(&mut self, commands: &mut dyn Commands) {
        while self.outgoing.is_empty() && !self.is_broken {
            let Some(message) = self.frames.next_message() else {
                return;
            };
            self.outgoing = match message {
                Ok(message) => self.executed(&message, commands),
                Err(broken) => {
                    self.is_broken = true;
                    self.frames = Frames::default();
                    answer(None, Err(Failed::new(broken.to_string())))
                }
            };
        }
    }

    /// What is to be sent.
    #[must_use]
    pub fn outgoing(&self) -> &[u8] {
        self.outgoing.get(self.sent..).unwrap_or_default()
    }

    /// So many bytes of it have left.
    pub fn sent(&mut self, len: usize) {
        self.sent = self.sent.saturating_add(len);
        if self.sent >= self.outgoing.len() {
            self.outgoing = Vec::new();
            self.sent = 0;
        }
    }

    /// Whether the connection is to be closed: all is said, and nothing that arrives would be
    /// understood.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_broken && self.outgoing.is_empty()
    }

    fn executed(&mut self, message: &[u8], commands: &mut dyn Commands) -> Vec<u8> {
        let request = Request::parse(message);
        let result =
            request.command.and_then(
                |command| match (command.name.as_str(), self.is_negotiated) {
                    ("qmp_capabilities", _) => self.negotiate(&command),
                    (_, true) => commands.execute(&command),
                    (_, false) => Err(Failed {
                        class: Class::CommandNotFound,
                        text: "Expecting capabilities negotiation with 'qmp_capabilities'".into(),
                    }),
                },
            );
        answer(request.id, result)
    }

    fn negotiate(&mut self, command: &Command) -> Result<Value, Failed> {
        let wanted = command.arguments.get("enable").and_then(Value::as_array);
        if self.is_negotiated {
            return Err(Failed {
                class: Class::CommandNotFound,
                text: "Capabilities negotiation is already complete, command ignored".into(),
            });
        }
        if wanted.is_some_and(|wanted| !wanted.is_empty()) {
            return Err(Failed::new("no such capability"));
        }
        self.is_negotiated = true;
        Ok(json!({}))
    }
}
