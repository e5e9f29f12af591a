//! The layers keep Tower's contract, one by one and around each other.
#![cfg(feature = "http")]

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use octostack_core::Registry;
use octostack_core::requests::Requests;
use octostack_core::testing::{Probe, check};
use octostack_telemetry::http::observe::ObserveLayer;
use octostack_telemetry::http::{RedLayer, RequestIdLayer, Tracked};
use octostack_telemetry::metrics::Metrics;
use tower_layer::Layer;

/// Answers without a body: one that is held and not read would be in flight, as it should.
fn probe() -> Probe<Response<Full<Bytes>>, &'static str> {
    Probe::new(|| Ok(Response::new(Full::default()))).with_broken(|| "broken")
}

fn request() -> Request<()> {
    Request::new(())
}

/// Whether every request that has started has ended.
fn at_rest(metrics: &Metrics) -> Result<(), String> {
    let page = metrics.encode();
    let mut active = page.lines().filter(|l| l.starts_with("http_server_active_requests{"));
    match active.find(|line| !line.ends_with(" 0")) {
        None => Ok(()),
        Some(line) => Err(line.to_owned()),
    }
}

#[test]
fn red() -> Result<(), Box<dyn std::error::Error>> {
    let metrics = Metrics::builder().registry(&Registry::new()).build();
    let red = RedLayer::new(&metrics)?;
    check("red", &probe(), |inner| red.layer(inner), request, || at_rest(&metrics));
    let leaked = RedLayer::new(&metrics)?.leak();
    check("red, leaked", &probe(), |inner| leaked.layer(inner), request, || at_rest(&metrics));
    Ok(())
}

#[test]
fn in_flight() -> Result<(), Box<dyn std::error::Error>> {
    let metrics = Metrics::builder().registry(&Registry::new()).build();
    let requests = Requests::new();
    let tracked = ObserveLayer::new(Tracked::new(RedLayer::new(&metrics)?, &requests));
    let at_rest = || match requests.count() {
        0 => at_rest(&metrics),
        left => Err(format!("{left} requests are left in the table")),
    };
    check("in flight", &probe(), |inner| tracked.layer(inner), request, at_rest);
    Ok(())
}

#[test]
fn request_id() {
    let layer = RequestIdLayer::new();
    check("request id", &probe(), |inner| layer.layer(inner), request, || Ok(()));
}

/// With a span of its own around each call, which the law on drops and panics is about.
#[cfg(feature = "trace")]
#[test]
fn client_trace() {
    use octostack_telemetry::trace::{ClientTraceLayer, TraceLayer};
    use tracing_subscriber::layer::SubscriberExt as _;
    let subscriber = tracing_subscriber::registry().with(TraceLayer::default());
    let layer = ClientTraceLayer::new("inventory");
    let wrap = |inner| layer.layer(inner);
    tracing::subscriber::with_default(subscriber, || {
        check("client trace", &probe(), wrap, request, || Ok(()));
        assert!(tracing::Span::current().is_none(), "a span is still entered");
    });
}

#[test]
fn all_of_them() -> Result<(), Box<dyn std::error::Error>> {
    let metrics = Metrics::builder().registry(&Registry::new()).build();
    let red = RedLayer::new(&metrics)?;
    let pair = ObserveLayer::new((red.clone(), red));
    let stack = |inner| RequestIdLayer::new().layer(pair.layer(inner));
    check("request id around a pair", &probe(), stack, request, || at_rest(&metrics));
    Ok(())
}
