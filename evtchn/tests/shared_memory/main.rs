//! Both event channel ABIs over plain memory, at their full size: claims one by one, any sequence
//! of operations against a naive oracle, and a guest that writes whatever it likes.

mod claims;
mod domain;
mod hostile;
mod oracle;
mod two_level;
