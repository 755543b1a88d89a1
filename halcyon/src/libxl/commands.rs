//! What a toolstack may ask of a process that serves disks, and what it is told.
//!
//! Knows no socket and no device: disks come as plain values. What libxl asks of the emulator of an
//! HVM guest alone is answered with CommandNotFound, which it does not mind.
//!
//! Invariant: every answer is there at once.

use qmp::{Command, Commands, Failed, Version};
use serde_json::{Value, json};

use super::blocks::{self, Block};

/// Of which qemu we speak the language: after 2.11, so that libxl uses today's commands, and before
/// 10, from which on toolstacks write other options.
pub(super) const VERSION: Version = Version {
    numbers: [4, 2, 0],
    package: concat!("Halcyon ", env!("CARGO_PKG_VERSION")),
};

/// Whether the machine runs, as a toolstack sees it. Disks are served in any case: what stops is
/// the guest, and that is the hypervisor's doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// Started with `-S` and not told to go on.
    Prelaunch,
    /// As a rule.
    Running,
    /// Told to stop.
    Paused,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Prelaunch => "prelaunch",
            Self::Running => "running",
            Self::Paused => "paused",
        }
    }
}

/// See the head of this file.
pub(super) struct Answers<'a> {
    /// See [`Status`].
    pub status: &'a mut Status,
    /// Name and place of each socket that we are asked on.
    pub sockets: &'a [(String, String)],
    /// The disks as they are now.
    pub disks: &'a dyn Fn() -> Vec<Block>,
}

impl Commands for Answers<'_> {
    fn execute(&mut self, command: &Command) -> Result<Value, Failed> {
        Ok(match command.name.as_str() {
            "stop" => self.becomes(Status::Paused),
            "cont" => self.becomes(Status::Running),
            "query-status" => self.status(),
            "query-version" => VERSION.object(),
            "query-chardev" => self.chardevs(),
            "query-vnc" => json!({ "enabled": false }),
            // Nobody needs to know more than that none of the options that are new in qemu 8 and
            // later is there.
            "query-command-line-options" => json!([]),
            "query-block" => blocks::query_block(&(self.disks)()),
            "query-blockstats" => blocks::query_blockstats(&(self.disks)()),
            name => return Err(Failed::not_found(name)),
        })
    }
}

impl Answers<'_> {
    fn becomes(&mut self, status: Status) -> Value {
        *self.status = status;
        json!({})
    }

    fn status(&self) -> Value {
        json!({
            "running": *self.status == Status::Running,
            "singlestep": false,
            "status": self.status.name(),
        })
    }

    fn chardevs(&self) -> Value {
        let chardev = |(label, filename): &(String, String)| json!({ "label": label, "filename": filename, "frontend-open": true });
        self.sockets.iter().map(chardev).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(status: &mut Status, name: &str) -> Result<Value, Failed> {
        let sockets = [("libxl-cmd".to_owned(), "unix:/x,server=on".to_owned())];
        let mut answers = Answers {
            status,
            sockets: &sockets,
            disks: &Vec::new,
        };
        answers.execute(&Command {
            name: name.into(),
            arguments: serde_json::Map::new(),
        })
    }

    fn status_after(first: Status, command: &str) -> Value {
        let mut status = first;
        assert_eq!(asked(&mut status, command), Ok(json!({})));
        asked(&mut status, "query-status").unwrap()["status"].clone()
    }

    #[test]
    fn the_machine_stops_and_goes_on_in_words() {
        assert_eq!(status_after(Status::Running, "stop"), "paused");
        assert_eq!(status_after(Status::Prelaunch, "cont"), "running");
    }

    #[test]
    fn no_label_of_a_socket_is_taken_for_a_serial_port() {
        let chardevs = asked(&mut Status::Running, "query-chardev").unwrap();
        assert_eq!(chardevs[0]["label"], "libxl-cmd");
        assert_eq!(chardevs[0]["filename"], "unix:/x,server=on");
    }

    #[test]
    fn what_only_an_emulator_could_do_is_not_found() {
        let failed = asked(&mut Status::Running, "query-cpus-fast").unwrap_err();
        assert_eq!(failed.class, qmp::Class::CommandNotFound);
    }
}
