//! Log lines on stderr, as journald likes them: a priority prefix where stderr is the journal.
//!
//! A subscriber of our own, because it runs in every process of a thousand: one stack buffer and
//! one `write` per line, no registry, no thread-local spans, no time (the journal adds it).
//! Invariant: a line is written by one system call, so lines of several processes never mix.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

/// Longest line; the rest of a longer one is dropped.
const LINE_BYTES: usize = 512;

struct Stderr {
    max: Level,
    journal: bool,
}

/// Sends log lines of `max` and above to stderr. A second call changes nothing.
pub fn to_stderr(max: Level) {
    let journal = std::env::var("JOURNAL_STREAM").is_ok_and(|named| is_stderr(&named));
    let installed = tracing::subscriber::set_global_default(Stderr { max, journal });
    drop(installed);
}

/// Whether stderr is the file of this device and inode. The variable outlives the journal's stream:
/// whoever starts us with another file for stderr passes it on (`systemd.exec(5)`).
fn is_stderr(named: &str) -> bool {
    let stderr = std::io::stderr().as_fd().try_clone_to_owned();
    let metadata = stderr.and_then(|stderr| File::from(stderr).metadata());
    metadata.is_ok_and(|found| named == format!("{}:{}", found.dev(), found.ino()))
}

/// The level that `HALCYON_LOG` names, or `default`.
#[must_use]
pub fn level_from_environment(default: Level) -> Level {
    std::env::var("HALCYON_LOG")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// The syslog priority of a level, as `sd-daemon(3)` spells it.
fn prefix(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        _ => "<7>",
    }
}

impl Subscriber for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.max
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(self.max.into())
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line {
            bytes: [0; LINE_BYTES],
            len: 0,
        };
        let level = *event.metadata().level();
        let head = if self.journal {
            prefix(level)
        } else {
            "halcyon: "
        };
        line.push(head);
        event.record(&mut line);
        line.finish();
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

struct Line {
    bytes: [u8; LINE_BYTES],
    len: usize,
}

impl Line {
    fn push(&mut self, text: &str) {
        for byte in text.bytes() {
            // The last byte is kept for the line break; control bytes could come from a guest.
            if self.len + 1 < LINE_BYTES {
                self.bytes[self.len] = if byte.is_ascii_control() { b' ' } else { byte };
                self.len += 1;
            }
        }
    }

    fn finish(mut self) {
        self.bytes[self.len] = b'\n';
        let written = std::io::stderr().write_all(&self.bytes[..=self.len]);
        // Nobody is left to tell when stderr itself is gone.
        drop(written);
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text);
        Ok(())
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let wrote = match field.name() {
            "message" => write!(self, "{value:?}"),
            name => write!(self, " {name}={value:?}"),
        };
        debug_assert!(wrote.is_ok(), "writing to a line cannot fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_bytes_of_a_guest_do_not_reach_the_terminal() {
        let mut line = Line {
            bytes: [0; LINE_BYTES],
            len: 0,
        };
        line.push("a\x1b[2J\nb");
        assert_eq!(&line.bytes[..line.len], b"a [2J b");
    }

    #[test]
    fn an_overlong_line_is_cut_not_lost() {
        let mut line = Line {
            bytes: [0; LINE_BYTES],
            len: 0,
        };
        line.push(&"x".repeat(4 * LINE_BYTES));
        assert_eq!(line.len, LINE_BYTES - 1);
    }
}
