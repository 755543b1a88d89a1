//! Command lines as libxl writes them, and such as its users bring about.

use super::*;

/// What libxl 4.17 writes for a PV guest.
const PV: &str = "-xen-domid 5 -no-shutdown \
    -chardev socket,id=libxl-cmd,path=/run/xen/qmp-libxl-5,server=on,wait=off \
    -mon chardev=libxl-cmd,mode=control \
    -chardev socket,id=libxenstat-cmd,path=/run/xen/qmp-libxenstat-5,server=on,wait=off \
    -mon chardev=libxenstat-cmd,mode=control \
    -nodefaults -no-user-config -xen-attach -name g0 -vnc none -display none -nographic \
    -machine xenpv -m 64";

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn parsed(text: &str) -> Result<Order, String> {
    parse(&words(text))
}

fn served(text: &str) -> Serve {
    match parsed(text) {
        Ok(Order::Serve(serve)) => serve,
        other => unreachable!("{other:?}"),
    }
}

fn monitor(id: &str, place: Place) -> Monitor {
    Monitor {
        id: id.into(),
        place,
    }
}

#[test]
fn the_command_line_of_a_pv_guest_names_its_domain_and_two_sockets() {
    let expected = Serve {
        domid: DomId(5),
        monitors: vec![
            monitor("libxl-cmd", Place::Path("/run/xen/qmp-libxl-5".into())),
            monitor(
                "libxenstat-cmd",
                Place::Path("/run/xen/qmp-libxenstat-5".into()),
            ),
        ],
        is_paused: false,
        unused: vec![],
    };
    assert_eq!(served(PV), expected);
}

#[test]
fn the_command_line_of_a_driver_domain_has_no_monitor() {
    let line = "-xen-domid 3 -xen-attach -name domain-3 -nographic -M xenpv -monitor /dev/null \
                -serial /dev/null -parallel /dev/null";
    let serve = served(line);
    assert_eq!((serve.domid, serve.monitors), (DomId(3), vec![]));
    assert_eq!(serve.unused, Vec::<String>::new());
}

#[test]
fn the_probe_needs_no_guest_and_inherits_its_socket() {
    let line = "-S -no-user-config -nodefaults -nographic -machine none,accel=xen \
                -chardev socket,id=libxl-cmd,fd=9,server=on,wait=off \
                -mon chardev=libxl-cmd,mode=control";
    let expected = Order::Probe(vec![monitor("libxl-cmd", Place::Inherited(9))]);
    assert_eq!(parsed(line), Ok(expected));
}

#[test]
fn what_is_not_to_be_had_is_listed() {
    let serve = served(&format!("{PV} -usb -k de"));
    assert_eq!(serve.unused, ["-usb", "-k de"]);
}

#[test]
fn a_guest_with_a_frame_buffer_is_told_that_there_is_none() {
    let refusal = |more: &str| parsed(&format!("{PV} {more}")).unwrap_err();
    let why = "there is no frame buffer here; remove vfb= from the guest's configuration";
    let vnc = "-vnc 127.0.0.1:0,password=on,to=99";
    assert_eq!(refusal(vnc), format!("{vnc}: {why}"));
    assert_eq!(refusal("-display sdl"), format!("-display sdl: {why}"));
    // What libxl 4.14 writes for the same.
    assert_eq!(refusal("-sdl"), format!("-sdl: {why}"));
}

#[test]
fn a_console_is_refused_whatever_is_at_its_other_end() {
    let refusal = |more: &str| parsed(&format!("{PV} {more}")).unwrap_err();
    let line = "-chardev libxl-channel0: no monitor, and consoles are not served here; remove \
                channel= from the guest's configuration";
    assert_eq!(refusal("-chardev pty,id=libxl-channel0"), line);
    let socket = "-chardev socket,id=libxl-channel0,path=/x,server=on,wait=off";
    assert_eq!(refusal(socket), line);
    assert!(refusal("-chardev pty,id=x").starts_with("-chardev x: no monitor"));
    let unused = "-chardev socket,id=x,path=/x,server=on,wait=off";
    assert!(refusal(unused).starts_with("-chardev x: no monitor"));
}

#[test]
fn no_two_monitors_have_one_socket() {
    let two = |place: &str| {
        let one = |id: &str| {
            format!(
                "-chardev socket,id={id},{place},server=on,wait=off -mon chardev={id},mode=control"
            )
        };
        parsed(&format!("-machine none {} {}", one("a"), one("b"))).unwrap_err()
    };
    let line = "-chardev b: another one has its socket already";
    assert_eq!(two("fd=9"), line);
    assert_eq!(two("path=/x"), line);
}

#[test]
fn an_hvm_guest_is_refused_whatever_else_is_said() {
    let line = "-xen-domid 5 -device VGA -machine xenfv,suppress-vmdesc=on -boot order=c";
    assert!(parsed(line).unwrap_err().contains("HVM"));
    let line = "-xen-domid 5 -nonsense -machine pc,accel=xen";
    assert!(parsed(line).unwrap_err().contains("HVM"));
}

#[test]
fn what_a_user_relies_on_is_refused_by_name() {
    let refusal = |more: &str| parsed(&format!("{PV} {more}")).unwrap_err();
    assert!(refusal("-xen-domid-restrict").contains("dm_restrict"));
    assert!(refusal("-device usb-host").starts_with("-device usb-host: no emulated"));
    assert!(refusal("-frobnicate").starts_with("-frobnicate: not an option"));
    assert_eq!(refusal("-k"), "-k: its value is missing");
    assert!(refusal("-incoming fd:7").contains("cannot be restored"));
    assert!(refusal("-chardev socket,id=x,path=/x").contains("expected socket"));
    assert!(refusal("-mon chardev=x,mode=control").contains("no such -chardev"));
}

#[test]
fn a_guest_has_a_number_of_a_guest() {
    let with = |domid: &str| parsed(&PV.replace("-xen-domid 5", domid));
    assert!(with("-xen-domid 0").unwrap_err().contains("not the number"));
    assert!(
        with("-xen-domid 32752")
            .unwrap_err()
            .contains("not the number")
    );
    assert!(with("").unwrap_err().contains("missing"));
}

#[test]
fn the_dialect_is_told_from_our_own_by_its_first_word() {
    assert!(is_spoken("-xen-domid") && is_spoken("-version") && is_spoken("-S"));
    assert!(!is_spoken("--version") && !is_spoken("-V") && !is_spoken("vm"));
}
