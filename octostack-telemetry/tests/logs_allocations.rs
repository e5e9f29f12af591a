//! What logging allocates. A binary of its own, since it counts for the whole process.
#![cfg(all(feature = "logs", feature = "http"))]
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]
mod logs_support;

use allocation_counter::measure;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use logs_support::{identity, json};
use octostack_telemetry::http::RequestId;
use octostack_telemetry::http::observe::{End, Observe, ObserveLayer, Report};
use octostack_telemetry::http::route::FixedRoute;
use octostack_telemetry::logs::{LogLayer, RequestLogLayer};
use octostack_telemetry::trace::TraceLayer;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::pin::pin;
use std::task::{Context, Waker};
use tower::{Layer as _, Service, service_fn};
use tracing_subscriber::layer::SubscriberExt as _;

/// Runs `work` under a filter; what is logged goes nowhere.
fn under<T>(filter: &str, work: impl FnOnce() -> T) -> T {
    let config = json().with_filter(filter.parse().unwrap());
    let subscriber = tracing_subscriber::registry()
        .with(config.filter.targets().clone())
        .with(TraceLayer::default())
        .with(LogLayer::with_writer(&identity(), &config, io::sink()).unwrap());
    tracing::subscriber::with_default(subscriber, work)
}

fn respond(_: Request<()>) -> Ready<Result<Response<Empty<Bytes>>, Infallible>> {
    ready(Ok(Response::new(Empty::new())))
}

/// How often one request allocates, once buffers have grown.
fn of_a_request(filter: &str, observe: impl Observe + Clone) -> u64 {
    let mut service = ObserveLayer::new(observe).layer(service_fn(respond));
    under(filter, || {
        let mut serve = || {
            let mut request = Request::new(());
            request.extensions_mut().insert(RequestId::parse("0190-abc").unwrap());
            let mut future = pin!(service.call(request));
            assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
        };
        (0..10).for_each(|_| serve());
        measure(|| (0..100).for_each(|_| serve())).count_total / 100
    })
}

/// Observes nothing: what is left is the request's own.
#[derive(Clone)]
struct Nothing;

impl Observe for Nothing {
    type Report = Self;
    fn start<B>(&self, _: &mut Request<B>) -> Self {
        Self
    }
}

impl Report for Nothing {
    fn finish(&mut self, _: &End) {}
}

#[test]
fn a_request_allocates_for_its_span_and_nothing_if_it_is_off() {
    let log = RequestLogLayer::new().route_from(FixedRoute("/orders/{id}"));
    let bare = of_a_request("off", Nothing);
    assert_eq!(of_a_request("off", log), bare);
    assert_eq!(of_a_request("octostack::request=off,info", log), bare);
    // The fields of the span: two buffers, an id, and their place in the registry. And the span's
    // place in a trace.
    assert_eq!(of_a_request("warn", log), bare + 5);
    assert_eq!(of_a_request("info", log), bare + 5, "the event adds none");
}

#[test]
fn an_event_allocates_nothing() {
    under("info", || {
        let span = tracing::info_span!("request", correlation_id = "r", user_id = "anna");
        let error = io::Error::from(io::ErrorKind::TimedOut);
        let log = || {
            span.in_scope(|| {
                tracing::info!(n = 1, text = "a \"b\"", float = 0.5, debug = ?Some(1), "hello");
                tracing::error!(error = %error, "failed");
                tracing::debug!("filtered");
            });
        };
        (0..10).for_each(|_| log());
        let counted = measure(|| (0..100).for_each(|_| log()));
        assert_eq!(counted.count_total, 0);
    });
}
