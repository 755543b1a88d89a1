//! Claims about the xenstore connection that a platform brings: that it is one, and whose.

use xenstore::{Event, Path, Step, StoreError};

use super::{Fixture, Pair, claims, run_step};

claims! {
    /// Everything about the store connection.
    STORE: [
        what_was_written_is_read,
        a_watch_fires_when_set_and_when_something_changes,
    ]
}

/// A node of the guest's home, below which a control domain may write.
fn node(pair: &Pair, name: &str) -> Path {
    Path::home(pair.guest.domid())
        .join(name)
        .expect("a plain name")
}

fn what_was_written_is_read(fixture: &dyn Fixture) {
    let mut pair = Pair::new(fixture);
    let path = node(&pair, "conformance/node");
    let backend = &mut *pair.backend;
    run_step(backend, Step::Write(path.clone(), b"value".to_vec())).expect("writing");
    let reply = run_step(backend, Step::Read(path.clone())).expect("reading");
    assert_eq!(reply.value(), Some(&b"value"[..]));
    run_step(backend, Step::Remove(path.clone())).expect("removing");
    assert_eq!(
        run_step(backend, Step::Read(path)),
        Err(StoreError::NotFound)
    );
}

fn a_watch_fires_when_set_and_when_something_changes(fixture: &dyn Fixture) {
    let mut pair = Pair::new(fixture);
    let path = node(&pair, "conformance/watched");
    let token = "conformance".to_owned();
    let backend = &mut *pair.backend;
    run_step(
        backend,
        Step::Watch {
            path: path.clone(),
            token: token.clone(),
        },
    )
    .expect("watching");
    let fired = Event::Watch {
        path: path.clone(),
        token,
    };
    assert_eq!(backend.next_watch(), fired);
    run_step(backend, Step::Write(path, b"1".to_vec())).expect("writing");
    assert_eq!(backend.next_watch(), fired);
}
