//! What a check can find.
//!
//! Invariant: a fault is of one kind, so that a planted one can be told from its neighbours.

/// Which of the checks found something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    /// A task ran while all was idle.
    Switches,
    /// A descriptor is open that was not before.
    Files,
    /// A grant is in use that should have been given back.
    Grants,
    /// A node is left in xenstore.
    Store,
    /// A guest was answered with an error, or with what it had not written.
    Answers,
    /// An image does not hold what was written.
    Image,
    /// A process did not end as it should.
    Ending,
}

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    /// Which check found it.
    pub(crate) what: What,
    /// What it found.
    pub(crate) text: String,
}

/// Faults in the order of their finding.
#[derive(Debug, Default)]
pub(crate) struct Faults(pub(crate) Vec<Fault>);

impl Faults {
    /// Notes a fault unless things are as they should be.
    pub(crate) fn unless(&mut self, fine: bool, what: What, text: impl FnOnce() -> String) {
        if !fine {
            self.0.push(Fault { what, text: text() });
        }
    }
}
