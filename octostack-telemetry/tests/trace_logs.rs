//! Trace ids on log lines, and where the trace of a request begins.
#![cfg(all(feature = "logs", feature = "http"))]
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]
mod logs_support;

use http::{Request, Response};
use http_body_util::Empty;
use logs_support::{Lines, json};
use octostack_telemetry::http::observe::ObserveLayer;
use octostack_telemetry::http::route::FixedRoute;
use octostack_telemetry::logs::{LogFormat, RequestLogLayer, TelemetryConfig};
use octostack_telemetry::trace::{
    Sampler, SamplerKind, TraceContext, TraceLayer, TrustCaller, inject,
};
use serde_json::Value;
use std::convert::Infallible;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tracing::subscriber::DefaultGuard;
use tracing::{Instrument as _, Span, info, info_span};
use tracing_subscriber::layer::SubscriberExt as _;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn capture_with(config: &TelemetryConfig, sampler: Sampler) -> (Lines, DefaultGuard) {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::registry()
        .with(config.filter.targets().clone())
        .with(TraceLayer::new(sampler))
        .with(lines.layer(config));
    (lines, tracing::subscriber::set_default(subscriber))
}

fn capture() -> (Lines, DefaultGuard) {
    capture_with(&json(), Sampler::default())
}

/// Serves a request with these headers; gives the lines, and what was handed on from inside.
async fn serve(
    trust: TrustCaller,
    sampler: Sampler,
    headers: &[(&'static str, &'static str)],
) -> (Vec<Value>, http::HeaderMap) {
    let (lines, _guard) = capture_with(&json(), sampler);
    let (tell, told) = std::sync::mpsc::channel();
    let handler = service_fn(move |_: Request<()>| {
        let tell = tell.clone();
        async move {
            info!("handling");
            let mut headers = http::HeaderMap::new();
            inject(&mut headers);
            tell.send(headers).unwrap();
            Ok::<_, Infallible>(Response::new(Empty::<bytes::Bytes>::new()))
        }
    });
    let log = RequestLogLayer::new().route_from(FixedRoute("/orders/{id}")).trust_caller(trust);
    let mut request = Request::new(());
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    ObserveLayer::new(log).layer(handler).oneshot(request).await.unwrap();
    (lines.json(), told.recv().unwrap())
}

fn context(headers: &http::HeaderMap) -> TraceContext {
    TraceContext::from_headers(headers).unwrap()
}

#[tokio::test]
async fn all_lines_of_a_request_and_what_it_hands_on_are_of_one_trace() {
    let (lines, handed_on) = serve(TrustCaller::Never, Sampler::default(), &[]).await;
    assert_eq!(lines.len(), 2, "{lines:?}");
    let context = context(&handed_on);
    for line in &lines {
        assert_eq!(line["trace_id"], context.trace_id().to_string());
        assert_eq!(line["span_id"], context.span_id().to_string());
        assert_eq!(line["context"]["method"], "GET");
        assert_eq!(line["context"]["route"], "/orders/{id}");
        let keys = line["context"].as_object().unwrap().keys();
        assert!(keys.clone().all(|key| !key.contains('.')), "{keys:?} has names for OpenTelemetry");
    }
    assert_eq!(lines[1]["message"], "request");
    assert!(context.is_sampled());
    let (other, _) = serve(TrustCaller::Never, Sampler::default(), &[]).await;
    assert_ne!(other[0]["trace_id"], lines[0]["trace_id"]);
}

#[tokio::test]
async fn a_caller_is_believed_as_far_as_told() {
    let off = Sampler::new(SamplerKind::ParentBasedAlwaysOff, 1.0);
    let sent = [("traceparent", CALLER), ("tracestate", "a=1")];

    // A stranger cannot have anything recorded.
    let (lines, handed_on) = serve(TrustCaller::Never, off, &sent).await;
    assert_ne!(lines[0]["trace_id"], TRACE);
    assert_eq!(lines[0]["context"]["caller_trace_id"], TRACE);
    assert!(!context(&handed_on).is_sampled());
    assert!(context(&handed_on).state().is_empty());

    let (lines, handed_on) = serve(TrustCaller::Ids, off, &sent).await;
    assert_eq!(lines[0]["trace_id"], TRACE);
    assert!(lines[0]["context"].get("caller_trace_id").is_none());
    assert!(!context(&handed_on).is_sampled());
    assert_eq!(handed_on["tracestate"], "a=1");

    let (lines, handed_on) = serve(TrustCaller::All, off, &sent).await;
    assert_eq!(lines[0]["trace_id"], TRACE);
    assert_ne!(lines[0]["span_id"], "00f067aa0ba902b7", "a span of its own");
    assert!(context(&handed_on).is_sampled());
    assert_eq!(handed_on["tracestate"], "a=1");
}

#[tokio::test]
async fn what_is_no_context_is_as_none() {
    for sent in [
        &[("traceparent", "00-00000000000000000000000000000000-00f067aa0ba902b7-01")][..],
        &[("traceparent", CALLER), ("traceparent", CALLER)],
        &[("traceparent", "\"}{")],
    ] {
        let (lines, _) = serve(TrustCaller::All, Sampler::default(), sent).await;
        assert_ne!(lines[0]["trace_id"], TRACE, "{sent:?}");
        assert_eq!(lines[0]["trace_id"].as_str().unwrap().len(), 32);
        assert!(lines[0]["context"].get("caller_trace_id").is_none(), "{sent:?}");
    }
}

#[test]
fn the_innermost_span_is_named() {
    let (lines, _guard) = capture();
    info!("outside");
    let outer = info_span!("outer");
    let inner = info_span!(parent: &outer, "inner");
    outer.in_scope(|| info!("in the outer"));
    inner.in_scope(|| info!("in the inner"));
    info!(parent: &inner, "of the inner");
    let lines = lines.json();
    assert!(lines[0].get("trace_id").is_none());
    let of = |span| TraceContext::of(span).unwrap();
    assert_eq!(of(&outer).trace_id(), of(&inner).trace_id());
    for (line, span) in [(1, &outer), (2, &inner), (3, &inner)] {
        assert_eq!(lines[line]["trace_id"], of(span).trace_id().to_string());
        assert_eq!(lines[line]["span_id"], of(span).span_id().to_string());
    }
}

#[test]
fn fields_of_users_cannot_stand_for_the_ids() {
    let (lines, _guard) = capture();
    info!(trace_id = "mine", "outside");
    let span = info_span!("span", span_id = "of the span");
    span.in_scope(|| info!(trace_id = "mine", otel.name = "an event's", "inside"));
    let lines = lines.json(); // which checks that no key is there twice
    assert!(lines[0].get("trace_id").is_none());
    assert_eq!(lines[0]["context"]["trace_id"], "mine");
    assert_eq!(lines[1]["trace_id"], TraceContext::of(&span).unwrap().trace_id().to_string());
    assert_eq!(lines[1]["context"]["trace_id"], "mine");
    assert_eq!(lines[1]["context"]["span_id"], "of the span");
    assert_eq!(lines[1]["context"]["otel.name"], "an event's");
}

#[tokio::test]
async fn a_spawned_task_has_the_trace_if_it_takes_the_span() {
    let (lines, _guard) = capture();
    let work = async {
        tokio::spawn(async { info!("lost") }).await.unwrap();
        tokio::spawn(async { info!("kept") }.in_current_span()).await.unwrap();
        Span::current()
    };
    let span = work.instrument(info_span!("request")).await;
    let lines = lines.json();
    assert!(lines[0].get("trace_id").is_none());
    assert_eq!(lines[1]["trace_id"], TraceContext::of(&span).unwrap().trace_id().to_string());
}

#[test]
fn a_span_that_the_filter_swallows_leaves_nothing_behind() {
    let config = json().with_filter("off,kept=info".parse().unwrap());
    let (_lines, _guard) = capture_with(&config, Sampler::default());
    let remote = octostack_telemetry::trace::Remote::new(CALLER.parse().unwrap(), TrustCaller::All);
    let span = remote.clone().span(|| info_span!(target: "swallowed", "request"));
    assert_eq!(TraceContext::of(&span), None);
    let next = info_span!(target: "kept", "next");
    assert_ne!(TraceContext::of(&next).unwrap().trace_id().to_string(), TRACE);
    let nested = next.in_scope(|| remote.span(|| info_span!(target: "kept", "nested")));
    assert_eq!(TraceContext::of(&nested).unwrap().trace_id().to_string(), TRACE);
}

#[test]
fn people_see_the_trace_too() {
    let config = json().with_log_format(LogFormat::Pretty);
    let (lines, _guard) = capture_with(&config, Sampler::default());
    let span = info_span!("span");
    span.in_scope(|| info!("hello"));
    let id = TraceContext::of(&span).unwrap().trace_id();
    let text = lines.text().remove(0);
    assert!(text.trim_end().ends_with(&format!("hello trace_id={id}")), "{text:?}");
}

#[test]
fn reading_and_writing_a_context_allocates_as_little_as_it_can() {
    let mut headers = http::HeaderMap::new();
    let context: TraceContext = CALLER.parse().unwrap();
    context.inject(&mut headers);
    let counted = allocation_counter::measure(|| {
        assert!(TraceContext::from_headers(&headers).is_some());
    });
    assert_eq!(counted.count_total, 0);
    let counted = allocation_counter::measure(|| context.inject(&mut headers));
    assert_eq!(counted.count_total, 1, "the header's value");
}
