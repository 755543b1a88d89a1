//! What a person sees while a demo runs: one line on a terminal, a line per step elsewhere.
//!
//! It draws only when something is said, so nothing ticks while all is idle.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// See the head of this file.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    quiet: bool,
}

impl Progress {
    /// On stderr; nothing at all if `quiet`.
    #[must_use]
    pub fn new(quiet: bool) -> Self {
        let drawn = !quiet && std::io::stderr().is_terminal();
        let bar = drawn.then(|| {
            let style = ProgressStyle::with_template("{prefix:.bold} {wide_bar} {pos}/{len} {msg}");
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(10))
                .with_style(style)
        });
        Self { bar, quiet }
    }

    /// The next step, of `count` parts.
    pub fn step(&self, what: &str, count: u64) {
        match &self.bar {
            Some(bar) => {
                bar.reset();
                bar.set_length(count.max(1));
                bar.set_prefix(what.to_owned());
                bar.set_position(0);
            }
            None if self.quiet => {}
            None => eprintln!("{what}"),
        }
    }

    /// So many parts are done.
    pub fn at(&self, done: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
    }

    /// Leaves the terminal as it was.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
