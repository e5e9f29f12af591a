//! Spans on their way to a collector: a real one that takes them, a dead one, and none.
#![cfg(feature = "otlp")]
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]
mod logs_support;
mod otlp_support;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, Empty, Full};
use logs_support::{Lines, PATIENCE, identity, json};
use octostack_core::inspect::{Metric, Sink};
use octostack_core::{Clock as _, Registry, SystemClock};
use octostack_telemetry::http::observe::ObserveLayer;
use octostack_telemetry::http::route::FixedRoute;
use octostack_telemetry::logs::{LogEvents, RequestLogLayer, TelemetryConfig, hash_user_id};
use octostack_telemetry::trace::otlp::Exporter;
use octostack_telemetry::trace::{
    ClientTraceLayer, SamplerKind, TraceContext, TraceLayer, TracesConfig, TrustCaller,
};
use otlp_support::{Collector, attribute, hex};
use std::convert::Infallible;
use std::io::Read as _;
use std::net::TcpListener;
use std::time::Duration;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tracing::subscriber::DefaultGuard;
use tracing::{Span, info, info_span};
use tracing_subscriber::layer::SubscriberExt as _;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

struct Traced {
    lines: Lines,
    exporter: Exporter,
    registry: Registry,
    _guard: DefaultGuard,
}

fn config(endpoint: &str) -> TelemetryConfig {
    let traces = TracesConfig::default().with_endpoint(endpoint);
    json().with_traces(traces.with_batches(2_048, 512, Duration::from_millis(20)))
}

/// Spans of this thread go to the endpoint while the result lives.
fn traced(config: &TelemetryConfig) -> Traced {
    let (lines, registry) = (Lines::default(), Registry::new());
    let exporter = Exporter::start(&identity(), config, &registry).unwrap().unwrap();
    let subscriber = tracing_subscriber::registry()
        .with(config.filter.targets().clone())
        .with(exporter.layer())
        .with(TraceLayer::new(config.traces.sampler()).with_otel())
        .with(lines.layer(config));
    let guard = tracing::subscriber::set_default(subscriber);
    Traced { lines, exporter, registry, _guard: guard }
}

/// Serves one request in which another service is called; gives the header that it was sent.
async fn serve(trust: TrustCaller, headers: &[(&'static str, &'static str)]) -> TraceContext {
    let network = service_fn(|request: Request<()>| async move {
        let sent = request.headers()["traceparent"].clone();
        let mut response = Response::new(Empty::<Bytes>::new());
        response.headers_mut().insert("x-sent", sent);
        response.headers_mut().insert("grpc-status", "14".parse().unwrap());
        Ok::<_, Infallible>(response)
    });
    let client = ClientTraceLayer::new("inventory").layer(network);
    let handler = service_fn(move |_: Request<()>| {
        let client = client.clone();
        async move {
            Span::current().record("user_id", "anna");
            info!("handling");
            let call = Request::post("http://inventory/shop.inventory.v1.Inventory/Stock")
                .header(header::CONTENT_TYPE, "application/grpc")
                .body(())
                .unwrap();
            let sent = client.oneshot(call).await?.headers()["x-sent"].clone();
            let mut response = Response::new(Empty::<Bytes>::new());
            response.headers_mut().insert("x-sent", sent);
            *response.status_mut() = http::StatusCode::BAD_GATEWAY;
            Ok::<_, Infallible>(response)
        }
    });
    let log = RequestLogLayer::new().route_from(FixedRoute("/orders/{id}")).trust_caller(trust);
    let mut request = Request::new(());
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    let response = ObserveLayer::new(log).layer(handler).oneshot(request).await.unwrap();
    response.headers()["x-sent"].to_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn ids_are_the_same_in_spans_logs_and_headers() {
    let collector = Collector::start();
    let traced = traced(&config(&collector.endpoint()));
    let sent = serve(TrustCaller::Never, &[]).await;
    assert!(traced.exporter.flush(PATIENCE));

    let spans = collector.spans();
    assert_eq!(spans.len(), 2, "{spans:?}");
    let (call, request) = (&spans[0], &spans[1]);
    let lines = traced.lines.json();
    for line in &lines {
        assert_eq!(line["trace_id"], hex(&request.trace_id));
        assert_eq!(line["span_id"], hex(&request.span_id));
    }
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(sent.trace_id().to_string(), hex(&request.trace_id));
    assert_eq!(sent.span_id().to_string(), hex(&call.span_id));
    assert_eq!(call.parent_span_id, request.span_id);
    assert!(request.parent_span_id.is_empty() && request.links.is_empty());
    assert!(sent.is_sampled());

    assert_eq!((request.name.as_str(), request.kind), ("GET /orders/{id}", 2));
    for (key, value) in [
        ("http.request.method", "GET"),
        ("http.route", "/orders/{id}"),
        ("url.scheme", "http"),
        ("http.response.status_code", "502"),
        ("error.type", "502"),
        ("user.hash", &hash_user_id("anna")),
    ] {
        assert_eq!(attribute(request, key).as_deref(), Some(value), "{key} of {request:?}");
    }
    assert_eq!(attribute(request, "user_id"), None, "as it is");
    assert_eq!(request.status.as_ref().unwrap().code, 2, "an error");
    assert!(request.events.is_empty(), "what is logged is in the log");

    let name = "shop.inventory.v1.Inventory/Stock";
    assert_eq!((call.name.as_str(), call.kind), (name, 3));
    for (key, value) in [
        ("rpc.system.name", "grpc"),
        ("rpc.method", name),
        ("peer.service", "inventory"),
        ("rpc.response.status_code", "UNAVAILABLE"),
        ("error.type", "UNAVAILABLE"),
    ] {
        assert_eq!(attribute(call, key).as_deref(), Some(value), "{key} of {call:?}");
    }
    assert_eq!(call.status.as_ref().unwrap().code, 2);

    let resource = collector.resource();
    for (key, value) in [
        ("service.name", "orders"),
        ("service.version", "1.4.2"),
        ("deployment.environment.name", "test"),
    ] {
        assert!(resource.contains(&(key.into(), value.into())), "{key} in {resource:?}");
    }
    assert!(resource.iter().any(|(key, _)| key == "service.instance.id"));
}

#[tokio::test]
async fn a_caller_is_believed_as_far_as_told() {
    let collector = Collector::start();
    let mut config = config(&collector.endpoint());
    config.traces = config.traces.with_sampler(SamplerKind::ParentBasedAlwaysOff, None);
    let traced = traced(&config);
    let headers = [("traceparent", CALLER), ("tracestate", "a=1")];

    for trust in [TrustCaller::Never, TrustCaller::Ids] {
        let sent = serve(trust, &headers).await;
        assert!(!sent.is_sampled(), "{trust:?}");
        assert_eq!(sent.trace_id().to_string() == TRACE, trust == TrustCaller::Ids);
        let lines = traced.lines.json();
        let line = lines.last().unwrap();
        assert_eq!(line["trace_id"], sent.trace_id().to_string());
        assert_eq!(line["context"]["caller_trace_id"] == TRACE, trust == TrustCaller::Never);
    }
    assert!(traced.exporter.flush(PATIENCE));
    assert!(collector.spans().is_empty(), "nothing is recorded for strangers");

    let sent = serve(TrustCaller::All, &headers).await;
    assert!(sent.is_sampled());
    assert!(traced.exporter.flush(PATIENCE));
    let spans = collector.spans();
    let request = spans.iter().find(|span| span.kind == 2).unwrap();
    assert_eq!(hex(&request.trace_id), TRACE);
    assert_eq!(hex(&request.parent_span_id), "00f067aa0ba902b7");
    assert_eq!(request.trace_state, "a=1");
}

#[tokio::test]
async fn the_status_of_a_call_is_that_of_its_trailers() {
    let collector = Collector::start();
    let traced = traced(&config(&collector.endpoint()));
    for (status, cut) in [(Some("0"), false), (Some("5"), false), (None, false), (Some("0"), true)]
    {
        let network = service_fn(move |_: Request<()>| async move {
            let trailers = status.map(|status| {
                Ok::<_, Infallible>(HeaderMap::from_iter([(
                    HeaderName::from_static("grpc-status"),
                    HeaderValue::from_static(status),
                )]))
            });
            let body = Full::new(Bytes::from_static(b"answer"));
            Ok::<_, Infallible>(Response::new(body.with_trailers(std::future::ready(trailers))))
        });
        let client = ClientTraceLayer::new("inventory").layer(network);
        let call =
            Request::post("http://inventory/a.B/C").header("content-type", "application/grpc");
        let response = client.oneshot(call.body(()).unwrap()).await.unwrap();
        if cut {
            drop(response); // nobody reads the answer
        } else {
            response.into_body().collect().await.unwrap();
        }
    }
    assert!(traced.exporter.flush(PATIENCE));
    let ends: Vec<_> = collector
        .spans()
        .iter()
        .map(|s| (attribute(s, "rpc.response.status_code"), attribute(s, "error.type")))
        .collect();
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        ends,
        [
            (some("OK"), None),
            (some("NOT_FOUND"), some("NOT_FOUND")),
            (some("UNKNOWN"), some("UNKNOWN")),
            (None, some("cancelled")),
        ]
    );
}

#[tokio::test]
async fn what_is_not_believed_is_linked() {
    let collector = Collector::start();
    let traced = traced(&config(&collector.endpoint()));
    serve(TrustCaller::Never, &[("traceparent", CALLER)]).await;
    assert!(traced.exporter.flush(PATIENCE));
    let spans = collector.spans();
    let request = spans.iter().find(|span| span.kind == 2).unwrap();
    assert_ne!(hex(&request.trace_id), TRACE);
    assert!(request.parent_span_id.is_empty());
    assert_eq!(hex(&request.links[0].trace_id), TRACE);
    assert_eq!(hex(&request.links[0].span_id), "00f067aa0ba902b7");
}

/// `octostack_telemetry_dropped_total{signal="traces"}`
fn dropped(registry: &Registry) -> f64 {
    struct Dropped(f64);
    impl Sink for Dropped {
        fn sample(&mut self, metric: &'static Metric, labels: &[(&'static str, &str)], n: f64) {
            if metric.name == "octostack_telemetry_dropped_total" {
                assert_eq!(labels, [("signal", "traces")]);
                self.0 += n;
            }
        }
    }
    let mut dropped = Dropped(0.0);
    registry.collect(&mut dropped);
    dropped.0
}

#[test]
fn a_collector_that_is_away_costs_its_spans_and_one_warning() {
    let place = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = place.local_addr().unwrap();
    drop(place); // nobody listens there now
    let traced = traced(&config(&format!("http://{address}")));
    traced.registry.observe(LogEvents);
    let failures = traced.registry.clone();
    let said = |kind: &str| failures.events().iter().filter(|e| e.kind == kind).count();
    for _ in 0..2 {
        drop(info_span!("lost"));
        assert!(traced.exporter.flush(PATIENCE));
    }
    assert_eq!(traced.exporter.lost(), 2);
    assert!((dropped(&traced.registry) - 2.0).abs() < f64::EPSILON);
    assert_eq!(said("traces_export_failed"), 1);

    let collector = Collector::start_at(address);
    // The channel waits a moment between attempts to connect.
    let deadline = SystemClock.now() + PATIENCE;
    while collector.spans().is_empty() {
        assert!(SystemClock.now() < deadline, "never comes back");
        drop(info_span!("sent"));
        assert!(traced.exporter.flush(PATIENCE));
    }
    assert_eq!(collector.spans()[0].name, "sent");
    assert_eq!(said("traces_export"), 1);
}

#[test]
fn a_collector_that_never_answers_holds_nobody_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap(); // its backlog takes connections
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let mut config = config(&endpoint);
    config.traces = config.traces.with_batches(10, 5, Duration::from_millis(1));
    let traced = traced(&config);
    for _ in 0..100 {
        drop(info_span!("lost"));
    }
    let start = SystemClock.now();
    assert!(!traced.exporter.flush(Duration::from_millis(200)));
    let took = start.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(traced.exporter.queued() <= 15, "in hand and waiting");
    assert_eq!(traced.exporter.lost() + traced.exporter.queued(), 100);
}

#[test]
fn what_the_exporter_does_is_neither_traced_nor_logged() {
    // Nothing that speaks HTTP/2 itself, so that all spans and lines of it are the exporter's.
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", socket.local_addr().unwrap());
    let config = config(&endpoint).with_filter("trace".parse().unwrap());
    let (lines, registry) = (Lines::default(), Registry::new());
    let exporter = Exporter::start(&identity(), &config, &registry).unwrap().unwrap();
    let subscriber = tracing_subscriber::registry()
        .with(exporter.layer())
        .with(TraceLayer::default().with_otel())
        .with(lines.layer(&config))
        .with(config.filter.targets().clone());
    // For all threads, the exporter's included; the other tests have their own, each on its thread.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    drop(info_span!("mine"));
    let (mut stream, _) = socket.accept().unwrap();
    // The preface, the settings, the headers of the call and the beginning of its body.
    let mut sent = [0; 400];
    stream.read_exact(&mut sent).unwrap();
    assert!(sent.starts_with(b"PRI * HTTP/2.0"));
    assert_eq!(exporter.queued(), 1, "mine");
    let lines = lines.json();
    assert!(lines.is_empty(), "{lines:?}");
}

#[test]
fn without_an_endpoint_there_is_no_exporter() {
    let start = |config: &TelemetryConfig| Exporter::start(&identity(), config, &Registry::new());
    assert!(start(&json()).unwrap().is_none());
    let mut disabled = config("http://127.0.0.1:4317");
    disabled.otlp.disabled = true;
    assert!(start(&disabled).unwrap().is_none());
    let wrong = start(&config("collector:4317")).unwrap_err();
    assert!(wrong.is_config());
    assert_eq!(
        wrong.to_string(),
        "traces cannot be exported: telemetry.traces.endpoint: is no address such as \
         `http://collector:4317`"
    );
}
