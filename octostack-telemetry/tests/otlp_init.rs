//! The whole way by `logs::builder`. A binary of its own, since a process has one subscriber.
#![cfg(feature = "otlp")]
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]
mod logs_support;
mod otlp_support;

use logs_support::{Lines, PATIENCE, identity, json};
use octostack_core::Registry;
use octostack_telemetry::logs;
use octostack_telemetry::trace::otlp::Exporter;
use octostack_telemetry::trace::otlp::otel::trace::{Span as _, Tracer as _, TracerProvider as _};
use octostack_telemetry::trace::{TraceContext, TracesConfig};
use otlp_support::{Collector, hex};
use std::time::Duration;
use tracing::level_filters::LevelFilter;
use tracing::{debug_span, info_span};

#[test]
fn spans_that_the_filter_lets_through_are_sent() {
    let (collector, registry) = (Collector::start(), Registry::new());
    let traces = TracesConfig::default().with_endpoint(collector.endpoint());
    // Only what waits for them has them sent.
    let config = json().with_traces(traces.with_batches(16, 16, Duration::from_secs(3_600)));
    let exporter = Exporter::start(&identity(), &config, &registry).unwrap().unwrap();
    let guard = logs::builder(&identity())
        .config(config)
        .registry(&registry)
        .writer(Lines::default().writer())
        .exporter(Some(&exporter))
        .init();
    let _guard = guard.unwrap();
    // Else each event of any library that is not wanted would be looked at.
    assert_eq!(LevelFilter::current(), LevelFilter::INFO);

    drop(debug_span!("filtered"));
    let span = info_span!("import", otel.name = "import of prices", otel.kind = "consumer");
    let here = TraceContext::of(&span).unwrap();
    span.in_scope(|| {
        // A span of OpenTelemetry's own API has its place in the same trace.
        exporter.provider().tracer("mine").start("by hand").end();
    });
    drop(span);
    assert_eq!(exporter.queued(), 2);
    assert!(exporter.flush(PATIENCE));
    assert_eq!((exporter.queued(), exporter.lost()), (0, 0));

    let spans = collector.spans();
    let names: Vec<_> = spans.iter().map(|span| (span.name.as_str(), span.kind)).collect();
    assert_eq!(names, [("by hand", 1), ("import of prices", 5)]);
    assert_eq!(hex(&spans[1].trace_id), here.trace_id().to_string());
    assert_eq!(hex(&spans[1].span_id), here.span_id().to_string());
    assert_eq!(spans[0].parent_span_id, spans[1].span_id);

    // Sixteen are a full batch, and wait for nobody.
    (0..16).for_each(|_| drop(info_span!("one of many")));
    let (tell, told) = std::sync::mpsc::channel::<()>();
    let waiting = std::thread::spawn(move || {
        while collector.spans().len() < 18 {
            std::thread::yield_now();
        }
        drop(tell);
    });
    let ended = told.recv_timeout(PATIENCE);
    assert_eq!(ended, Err(std::sync::mpsc::RecvTimeoutError::Disconnected), "they were sent");
    waiting.join().unwrap();
}
