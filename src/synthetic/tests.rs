//! Time is paused in all of these: it moves when every task waits.
use super::*;
use crate::app::testing::{app, runtime};
use crate::inbound;
use crate::run::Runtime;
use axum::routing::get;
use axum::{Extension, Router};
use octostack_core::health::{Probes, Standing};
use octostack_core::lifecycle::Signals;
use octostack_flags::FlagsLayer;
use octostack_telemetry::trace::TrustCaller;
use std::sync::atomic::{AtomicU16, AtomicUsize};

/// A service with a route whose status is set, and which counts who asked.
struct Setup {
    run: Runtime,
    status: Arc<AtomicU16>,
    asked: Arc<AtomicUsize>,
    router: Router,
}

impl Setup {
    fn new() -> Self {
        let (status, asked) = (Arc::new(AtomicU16::new(200)), Arc::new(AtomicUsize::new(0)));
        let answer = {
            let (status, asked) = (status.clone(), asked.clone());
            move |Extension(by): Extension<SyntheticRequest>, headers: HeaderMap| async move {
                assert_eq!(by.check(), "order lookup");
                let id = headers[X_REQUEST_ID].to_str().unwrap_or_default();
                assert!(id.starts_with("synthetic.orderlookup."), "{id}");
                asked.fetch_add(1, Ordering::Relaxed);
                let status = status.load(Ordering::Relaxed);
                (http::StatusCode::from_u16(status).unwrap(), "{\"id\": 1}")
            }
        };
        let router = Router::new().route("/orders/{id}", get(answer));
        Self { run: runtime(), status, asked, router }
    }

    /// Puts the real stack around the router, and lets `synthetics` begin.
    fn serve(&self, synthetics: &Synthetics) {
        let probes = Probes::new(&self.run.lifecycle, &self.run.health);
        let (app, _source) = app::<()>(&serde_json::json!({}));
        let flags = FlagsLayer::new(&self.run.flags).context(app.context_of_requests());
        let config = inbound::InboundConfig::default();
        let router = self.router.clone();
        let stack = inbound::stack(router, &config, probes, &self.run, TrustCaller::Never, flags);
        let (service, _follow) = stack.unwrap();
        self.run.lifecycle.ready();
        synthetics.serve(&service, &self.run.health, &self.run.lifecycle);
        let health = self.run.health.clone();
        tokio::spawn(async move { health.run().await });
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

fn lookup() -> Synthetic {
    Synthetic::get("order lookup", "/orders/1?full").unwrap()
}

#[tokio::test(start_paused = true)]
async fn it_waits_until_the_service_serves_and_warns_when_the_route_fails() {
    let setup = Setup::new();
    let synthetics = Synthetics::default();
    synthetics.add(lookup()).unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(setup.asked(), 0, "nothing serves yet");

    setup.serve(&synthetics);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((setup.asked(), setup.run.health.standing()), (1, Standing::Good));

    setup.status.store(500, Ordering::Relaxed);
    assert_eq!(setup.run.health.changed(Standing::Good).await, Standing::Degraded);
    assert_eq!(setup.asked(), 3, "two failures in a row");
    let items = setup.run.registry.items();
    let check = items.iter().find(|item| item.name() == "order lookup").unwrap();
    let why = check.abnormal().unwrap();
    assert!(why.ends_with("GET /orders/1 answered 500"), "{why}");
    let page = setup.run.metrics.encode();
    assert!(page.contains("http_route=\"synthetic\""), "{page}");
    assert!(!page.contains("http_route=\"/orders"), "it is no traffic of clients: {page}");
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_the_service() {
    let setup = Setup::new();
    let synthetics = Synthetics::default();
    setup.serve(&synthetics);
    synthetics.add(lookup()).unwrap(); // also a late one
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(setup.asked(), 1);
    let (_kill, signals) = Signals::manual();
    setup.run.lifecycle.shutdown("the test");
    setup.run.lifecycle.run(signals).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(setup.asked(), 1, "nothing is asked of what ends");
    assert_eq!(setup.run.health.failing(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn status_and_body_are_judged() {
    let setup = Setup::new();
    let synthetics = Synthetics::default();
    setup.status.store(404, Ordering::Relaxed);
    let empty = |body: &[u8]| {
        if body.is_empty() { Ok(()) } else { Err(format!("{} bytes too many", body.len())) }
    };
    for check in [lookup().expect([404, 410]), lookup().expect([404]).body(empty)] {
        synthetics.add(check).unwrap();
    }
    setup.serve(&synthetics);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let items = setup.run.registry.items();
    let found: Vec<_> = items
        .iter()
        .filter(|item| item.name() == "order lookup")
        .map(|item| item.abnormal().unwrap_or_default())
        .collect();
    assert_eq!(found[0], "");
    assert!(found[1].ends_with("9 bytes too many"), "{found:?}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    for path in ["", "orders", "http://else/where", "/a b"] {
        assert!(Synthetic::get("x", path).is_err(), "{path}");
    }
    let never = lookup().schedule(Schedule::new().with_failure_threshold(0));
    assert_eq!(Synthetics::default().add(never).unwrap_err().key, "failure_threshold");
}
