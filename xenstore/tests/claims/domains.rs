//! Domains that come and go, and the requests about them.

use super::bench::{Answer, Bench, ok, p, watch_depth};
use abi::{DomId, Port};
use xenstore::StoreError;
use xenstore::wire::Request;

const NOTHING: [&str; 0] = [];

#[test]
fn a_release_fires_for_everybody_who_watches_all_and_for_those_who_watch_that_domain() {
    let mut bench = Bench::new();
    let [all, this, other] = [(); 3].map(|()| bench.server.connect(DomId::DOM0));
    bench.guest(5);
    bench.watch_quietly(all, "@releaseDomain");
    bench.watch_quietly(this, "@releaseDomain/5");
    bench.watch_quietly(other, "@releaseDomain/6");
    bench.server.release(DomId(5));
    assert_eq!(bench.events(all), ["@releaseDomain"]);
    assert_eq!(bench.events(this), ["@releaseDomain/5"]);
    assert_eq!(bench.events(other), NOTHING);
}

#[test]
fn a_special_watch_with_depth_1_hears_which_domain_it_was() {
    let mut bench = Bench::new();
    let dom0 = bench.dom0;
    bench
        .ask(dom0, &watch_depth("@introduceDomain", 1))
        .unwrap();
    bench.events(dom0);
    bench.server.introduce(DomId(5));
    assert_eq!(bench.events(dom0), ["@introduceDomain/5"]);
}

#[test]
fn an_introduction_fires_once() {
    let mut bench = Bench::new();
    let dom0 = bench.dom0;
    bench.watch_quietly(dom0, "@introduceDomain");
    let request = Request::Introduce {
        domid: DomId(5),
        mfn: -1,
        port: Port(1),
    };
    assert_eq!(bench.ask(dom0, &request), ok());
    assert_eq!(bench.events(dom0), ["@introduceDomain"]);
    assert_eq!(bench.ask(dom0, &request), ok());
    assert_eq!(bench.events(dom0), NOTHING);
}

#[test]
fn a_watch_on_the_root_hears_nothing_special() {
    let mut bench = Bench::new();
    let dom0 = bench.dom0;
    bench.watch_quietly(dom0, "/");
    bench.server.introduce(DomId(5));
    bench.server.release(DomId(5));
    assert_eq!(bench.events(dom0), NOTHING);
}

#[test]
fn a_guest_hears_special_events_only_if_domain_0_lets_it() {
    let mut bench = Bench::new();
    let guest = bench.guest(5);
    bench.watch_quietly(guest, "@releaseDomain");
    bench.server.introduce(DomId(6));
    bench.server.release(DomId(6));
    assert_eq!(bench.events(guest), NOTHING);
    assert_eq!(
        bench.perms_as(guest, "@releaseDomain", &["n5"]),
        Err(StoreError::Denied)
    );
    assert_eq!(bench.perms("@releaseDomain", &["n0", "r5"]), ok());
    assert_eq!(
        bench.ask(guest, &Request::GetPerms(p("@releaseDomain"))),
        Ok("n0\0r5".to_owned())
    );
    bench.server.introduce(DomId(6));
    bench.server.release(DomId(6));
    assert_eq!(bench.events(guest), ["@releaseDomain"]);
}

#[test]
fn a_released_domains_connections_are_closed_and_their_owner_is_told() {
    let mut bench = Bench::new();
    let guest = bench.guest(5);
    bench.watch_quietly(guest, "device");
    bench.server.take_ready();
    bench.server.release(DomId(5));
    assert_eq!(bench.server.take_ready(), [guest]);
    assert!(!bench.server.is_open(guest));
    assert_eq!(bench.server.output(guest), Vec::<u8>::new());
}

#[test]
fn a_domain_is_introduced_from_introduction_to_release() {
    let mut bench = Bench::new();
    let mut introduced = |change: &dyn Fn(&mut Bench)| {
        change(&mut bench);
        bench
            .ask(bench.dom0, &Request::IsDomainIntroduced(DomId(5)))
            .unwrap()
    };
    assert_eq!(introduced(&|_| {}), "F");
    assert_eq!(introduced(&|bench| bench.server.introduce(DomId(5))), "T");
    assert_eq!(introduced(&|bench| bench.server.release(DomId(5))), "F");
}

#[test]
fn requests_about_a_domain_that_is_not_there_are_refused() {
    let mut bench = Bench::new();
    let mut ask = |request: Request| bench.ask(bench.dom0, &request);
    let missing: Answer = Err(StoreError::NotFound);
    assert_eq!(ask(Request::Release(DomId(9))), missing);
    assert_eq!(ask(Request::Resume(DomId(9))), missing);
    assert_eq!(
        ask(Request::SetTarget {
            domid: DomId(9),
            target: DomId(8)
        }),
        missing
    );
    let introduce = |domid| Request::Introduce {
        domid,
        mfn: 1,
        port: Port(1),
    };
    assert_eq!(ask(introduce(DomId::DOM0)), Err(StoreError::Invalid));
    assert_eq!(
        ask(introduce(DomId::FIRST_RESERVED)),
        Err(StoreError::Invalid)
    );
    assert_eq!(ask(Request::Release(DomId::DOM0)), Err(StoreError::Invalid));
}

#[test]
fn the_path_of_a_domain_is_its_home() {
    let mut bench = Bench::new();
    let guest = bench.guest(5);
    let answer = bench.ask(guest, &Request::GetDomainPath(DomId(7)));
    assert_eq!(answer, Ok("/local/domain/7".to_owned()));
}

#[test]
fn features_can_be_asked_for_and_withheld_but_not_invented() {
    let mut bench = Bench::new();
    bench.guest(5);
    let mut ask = |request: Request| bench.ask(bench.dom0, &request);
    assert_eq!(ask(Request::GetFeature(None)), Ok("4".to_owned()));
    assert_eq!(
        ask(Request::SetFeature {
            domid: DomId(5),
            features: 0
        }),
        ok()
    );
    assert_eq!(ask(Request::GetFeature(Some(DomId(5)))), Ok("0".to_owned()));
    let all = Request::SetFeature {
        domid: DomId(5),
        features: 15,
    };
    assert_eq!(ask(all), Err(StoreError::Invalid));
}

#[test]
fn control_answers_check_and_help_and_refuses_the_rest() {
    let mut bench = Bench::new();
    let mut control = |word: &str| bench.ask(bench.dom0, &Request::Control(vec![word.to_owned()]));
    assert_eq!(control("check"), ok());
    assert_eq!(control("help"), Ok("check help".to_owned()));
    assert_eq!(control("live-update"), Err(StoreError::Invalid));
}
