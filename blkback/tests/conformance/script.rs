//! The toolstack's hotplug script: libxl waits for InitWait, and for no later state, and runs it then.

use blkback::Refusal;

use crate::support::{ERROR, Host};

/// A device for which the toolstack runs a script.
fn scripted() -> Host {
    let mut host = Host::new();
    host.set_backend("script", "/etc/xen/scripts/block-halcyon");
    host
}

fn refused() -> Host {
    let mut host = scripted();
    host.refuse_image = Some(Refusal {
        errno: Refusal::ENOENT,
        text: "no such file".into(),
    });
    host.start();
    host
}

#[test]
fn a_device_does_not_connect_before_the_script_has_seen_it() {
    let mut host = scripted();
    host.start();
    host.connect();
    assert_eq!(host.backend("state").as_deref(), Some("2"));
    assert_eq!(host.backend("hotplug-status"), None);
    host.set_backend("hotplug-status", "connected");
    host.pump();
    assert_eq!(host.backend("state").as_deref(), Some("4"));
    host.end();
}

#[test]
fn a_refusal_waits_in_init_wait_for_the_script_to_report_it() {
    let mut host = refused();
    host.set_frontend("state", "3");
    host.pump();
    assert_eq!(host.backend("state").as_deref(), Some("2"));
    assert_eq!(
        host.backend("hotplug-error").as_deref(),
        Some("no such file")
    );
    assert_eq!(host.read(ERROR).as_deref(), Some("2 no such file"));
    assert_eq!(host.asks.len(), 1);
    host.set_backend("hotplug-status", "error");
    host.pump();
    assert_eq!(host.backend("state").as_deref(), Some("5"));
    host.end();
}

#[test]
fn a_refused_device_can_be_withdrawn_before_its_script_has_run() {
    let mut host = refused();
    host.withdraw();
    assert_eq!(host.backend("state").as_deref(), Some("6"));
    host.is_clean();
}

#[test]
fn a_frontend_that_leaves_a_refused_device_is_let_go() {
    let mut host = refused();
    host.frontend_closes();
    assert_eq!(host.backend("state").as_deref(), Some("6"));
    host.withdraw();
    host.is_clean();
}

#[test]
fn a_device_without_a_script_reports_for_itself() {
    let mut host = Host::waiting();
    assert_eq!(host.backend("hotplug-status").as_deref(), Some("connected"));
    host.end();
}
