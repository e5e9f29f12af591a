//! What a client hands on, and what its span holds.
#![cfg(all(feature = "logs", feature = "http"))]
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]
mod logs_support;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body_util::Empty;
use logs_support::{Lines, json};
use octostack_telemetry::logs::TelemetryConfig;
use octostack_telemetry::trace::{ClientTraceLayer, TRACEPARENT, TraceContext, TraceLayer};
use std::cell::RefCell;
use std::convert::Infallible;
use std::future::ready;
use std::pin::pin;
use std::task::{Context, Waker};
use tower::{Layer as _, Service as _, service_fn};
use tracing::subscriber::DefaultGuard;
use tracing::{info, info_span};
use tracing_subscriber::layer::SubscriberExt as _;

fn capture(config: &TelemetryConfig) -> (Lines, DefaultGuard) {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::registry()
        .with(TraceLayer::default())
        .with(lines.layer(config))
        .with(config.filter.targets().clone());
    (lines, tracing::subscriber::set_default(subscriber))
}

/// Makes a call; gives the headers that arrive.
fn call(request: Request<()>) -> HeaderMap {
    let arrived = RefCell::new(HeaderMap::new());
    let network = service_fn(|request: Request<()>| {
        info!("on the way");
        *arrived.borrow_mut() = request.headers().clone();
        ready(Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())))
    });
    let mut client = ClientTraceLayer::new("inventory").layer(network);
    let mut call = pin!(client.call(request));
    assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
    arrived.into_inner()
}

fn grpc() -> Request<()> {
    let request = Request::post("http://inventory/shop.inventory.v1.Inventory/Stock");
    request.header(header::CONTENT_TYPE, "application/grpc").body(()).unwrap()
}

fn sent(headers: &HeaderMap) -> TraceContext {
    TraceContext::from_headers(headers).unwrap()
}

#[test]
fn a_call_is_a_span_inside_of_the_current_one() {
    let (lines, _guard) = capture(&json());
    let span = info_span!("work");
    let mut request = grpc();
    request.headers_mut().insert(TRACEPARENT, "whatever was there".parse().unwrap());
    let sent = span.in_scope(|| sent(&call(request)));
    let here = TraceContext::of(&span).unwrap();
    assert_eq!(sent.trace_id(), here.trace_id());
    assert_ne!(sent.span_id(), here.span_id());

    let line = lines.one();
    assert_eq!(line["trace_id"], sent.trace_id().to_string());
    assert_eq!(line["span_id"], sent.span_id().to_string());
    let context = serde_json::json!({
        "dependency": "inventory", "rpc.method": "shop.inventory.v1.Inventory/Stock",
    });
    assert_eq!(line["context"], context);
}

#[test]
fn a_call_without_a_span_around_it_begins_a_trace() {
    let (lines, _guard) = capture(&json());
    let first = sent(&call(Request::get("http://inventory/stock/1").body(()).unwrap()));
    let second = sent(&call(grpc()));
    assert_ne!(first.trace_id(), second.trace_id());
    let context = serde_json::json!({"dependency": "inventory", "method": "GET"});
    assert_eq!(lines.json()[0]["context"], context, "and not the path");
}

#[test]
fn a_filter_that_swallows_the_span_leaves_the_one_around_it() {
    let config = json().with_filter("info,octostack::call=off".parse().unwrap());
    let (_lines, _guard) = capture(&config);
    let span = info_span!("work");
    let sent = span.in_scope(|| sent(&call(grpc())));
    assert_eq!(Some(sent), TraceContext::of(&span));
    assert!(!call(grpc()).contains_key(TRACEPARENT), "there is nothing to hand on");
}

#[test]
fn what_a_call_allocates() {
    let (_lines, _guard) = capture(&json().with_filter("warn".parse().unwrap()));
    let network = service_fn(|_: Request<()>| {
        ready(Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())))
    });
    let mut client = ClientTraceLayer::new("inventory").layer(network);
    let mut allocations = || {
        let mut request = grpc();
        // Room for it is the request's own.
        request.headers_mut().insert(TRACEPARENT, "none".parse().unwrap());
        let counted = allocation_counter::measure(|| {
            let mut call = pin!(client.call(request));
            assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
        });
        counted.count_total
    };
    let _ = (0..10).map(|_| allocations()).max();
    // The span: two buffers, their place in the registry, and a place in a trace. The header.
    assert_eq!(allocations(), 5);
}
