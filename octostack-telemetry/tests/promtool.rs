//! Prometheus' own tool reads the page.
#![allow(clippy::print_stderr, reason = "who runs the tests wants to know what was skipped")]

use octostack_core::inspect::{Inspect, Metric, Sink, Value};
use octostack_core::{Identity, Registry};
use octostack_telemetry::metrics::{HTTP_BOUNDS, Metrics};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

static DEPTH: Metric = Metric::gauge("queue_depth", "How many wait; with a \\ and a\nline end.");

struct Queue;

impl Inspect for Queue {
    fn name(&self) -> &'static str {
        "jobs"
    }
    fn kind(&self) -> &'static str {
        "queue"
    }
    fn status(&self) -> Value {
        Value::Null
    }
    fn collect(&self, sink: &mut dyn Sink) {
        sink.sample(&DEPTH, &[("queue", "a \"b\" \\ \n c")], 4.5);
        sink.sample(&DEPTH, &[], f64::INFINITY);
    }
}

#[test]
fn promtool_finds_nothing_to_complain_about() {
    let registry = Registry::new();
    let queue = Arc::new(Queue);
    registry.register(&queue);
    let metrics = Metrics::builder()
        .registry(&registry)
        .identity(&Identity::new("orders", "1.0.0"))
        .series_limit(2)
        .build();
    metrics.dropped("logs").increment();
    let jobs = metrics.counter("jobs_total", "Jobs.", ["kind"]).unwrap();
    for kind in ["{}", "\u{1F419}", "one too many"] {
        jobs.with([kind]).increment();
    }
    let durations = metrics.histogram("job_duration_seconds", "Time.", ["kind"], &HTTP_BOUNDS);
    durations.unwrap().with(["a"]).record(Duration::from_millis(7));
    #[cfg(feature = "metrics")]
    record_through_the_facade(&metrics);
    let page = metrics.encode();

    let tool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut tool = match tool {
        Ok(tool) => tool,
        Err(error) => {
            let required = std::env::var_os("OCTOSTACK_REQUIRE_TOOLS").is_some_and(|v| v == "1");
            assert!(!required, "promtool does not start: {error}; install prometheus");
            eprintln!("SKIPPED: promtool does not start ({error}); install prometheus");
            return;
        }
    };
    tool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = tool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}\n{page}");
}

/// With names, labels and units of libraries that do not know Prometheus.
#[cfg(feature = "metrics")]
fn record_through_the_facade(metrics: &Metrics) {
    use octostack_telemetry::metrics::facade::{self, Unit};
    facade::with_local_recorder(&metrics.recorder(), || {
        facade::describe_histogram!("db::query", Unit::Seconds, "Queries.");
        facade::histogram!("db::query", "statement" => "a \"b\" \\ \n c").record(0.2);
        facade::counter!("orders.created", "le" => "1", "__name__" => "evil").increment(1);
        facade::counter!("orders.created", "channel" => "web").increment(1);
        for i in 0..5 {
            facade::gauge!("pool-idle", "pool" => i.to_string()).set(f64::NAN);
        }
        facade::gauge!("jobs_total", "kind" => "clashes").set(1);
        facade::gauge!("job.duration.seconds.count").set(1);
    });
    let page = metrics.encode();
    for line in [
        "db__query_seconds_bucket{statement=\"a \\\"b\\\" \\\\ \\n c\",le=\"0.25\"} 1",
        "orders_created_total{exported___name__=\"evil\",exported_le=\"1\"} 1",
        "pool_idle{pool=\"1\"} NaN",
        "octostack_telemetry_series_dropped_total{metric=\"pool_idle\"} 3",
    ] {
        assert!(page.lines().any(|l| l == line), "{line}\n{page}");
    }
}
