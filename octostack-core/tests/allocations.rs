//! What a probe costs in allocations: nothing, however many checks there are.
#![cfg(all(feature = "health", feature = "server"))]
use allocation_counter::measure;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use octostack_core::Registry;
use octostack_core::health::{CheckKind, Health, Probe, Probes};
use octostack_core::lifecycle::{Lifecycle, LifecycleConfig};

/// A service with some checks, which is ready or not.
fn probes(ready: bool) -> Probes {
    let registry = Registry::new();
    let lifecycle = Lifecycle::new(LifecycleConfig::default(), &registry);
    let health = Health::new(&registry);
    for name in ["database", "cache", "disk"] {
        health.check(name, CheckKind::Informational, || async { Ok::<_, String>(()) });
    }
    if ready {
        lifecycle.ready();
    }
    Probes::new(&lifecycle, &health)
}

/// As the kubelet asks.
fn request(path: &str) -> Request<()> {
    let request = Request::get(path).header("host", "10.0.0.1:8080");
    let request = request.header("user-agent", "kube-probe/1.33").header("accept", "*/*");
    request.header("connection", "close").body(()).unwrap()
}

#[test]
fn an_answer_in_the_map_of_the_request_allocates_nothing() {
    for (ready, status) in [(true, 200), (false, 503)] {
        let probes = probes(ready);
        let mut asked = request("/readyz");
        let mut answer: Option<Response<Full<Bytes>>> = None;
        let cost = measure(|| answer = probes.reply(&mut asked));
        assert_eq!(answer.expect("it is a probe").status(), status);
        assert_eq!(cost.count_total, 0, "{cost:?}");
    }
}

#[test]
fn nothing_is_made_for_who_only_wants_to_know_nor_for_a_request_of_others() {
    let probes = probes(true);
    let mut other = request("/orders/1");
    let cost = measure(|| {
        assert!(probes.passes(Probe::Ready) && probes.passes(Probe::Live));
        assert!(probes.reply::<Full<Bytes>, _>(&mut other).is_none());
    });
    assert_eq!(cost.count_total, 0, "{cost:?}");
    assert_eq!(other.headers().len(), 4, "it is as it was");
}
