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
