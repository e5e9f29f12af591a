use super::{HTTP_BOUNDS, MetricError, Metrics};
use octostack_core::inspect::{Inspect, Metric, Sink, Value};
use octostack_core::{Identity, Registry};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

fn metrics() -> Metrics {
    Metrics::builder().registry(&Registry::new()).build()
}

/// The lines that start with `prefix`.
fn lines<'a>(page: &'a str, prefix: &str) -> Vec<&'a str> {
    page.lines().filter(|l| l.starts_with(prefix)).collect()
}

/// An item with samples of its own.
struct Item(&'static str, Vec<Sample>);

type Sample = (&'static Metric, Labels, f64);
type Labels = Vec<(&'static str, &'static str)>;

impl Inspect for Item {
    fn name(&self) -> &str {
        self.0
    }
    fn kind(&self) -> &'static str {
        "item"
    }
    fn status(&self) -> Value {
        Value::Null
    }
    fn collect(&self, sink: &mut dyn Sink) {
        for (metric, labels, value) in &self.1 {
            sink.sample(metric, labels, *value);
        }
    }
}

#[test]
fn the_page_has_help_and_type_and_a_fixed_order() {
    let metrics = metrics();
    let jobs = metrics.counter("jobs_total", "Jobs.", ["kind", "by"]).unwrap();
    jobs.with(["b", "x"]).add(2);
    jobs.with(["a", "y"]).increment();
    metrics.gauge("depth", "Of the queue\nor \\ stack.", []).unwrap().with([]).set(-0.5);
    let page = metrics.encode();
    let own = page.split("# HELP octostack_").next().unwrap();
    assert_eq!(
        own,
        "# HELP depth Of the queue\\nor \\\\ stack.\n# TYPE depth gauge\ndepth -0.5\n\
         # HELP jobs_total Jobs.\n# TYPE jobs_total counter\n\
         jobs_total{by=\"x\",kind=\"b\"} 2\njobs_total{by=\"y\",kind=\"a\"} 1\n"
    );
    assert_eq!(page, metrics.encode());
}

#[test]
fn label_values_cannot_leave_their_quotes() {
    let metrics = metrics();
    let family = metrics.counter("x_total", "X.", ["v"]).unwrap();
    family.with(["a\"} 1\nevil 2 \\"]).increment();
    let page = metrics.encode();
    assert_eq!(lines(&page, "x_total"), [r#"x_total{v="a\"} 1\nevil 2 \\"} 1"#]);
    assert!(lines(&page, "evil").is_empty());
}

#[test]
fn a_bound_belongs_to_its_own_bucket() {
    let metrics = metrics();
    let bounds = [Duration::from_millis(5), Duration::from_secs(1)];
    let family = metrics.histogram("t_seconds", "T.", [], &bounds).unwrap();
    let t = family.with([]);
    t.record(Duration::from_millis(5));
    t.record(Duration::from_nanos(5_000_001));
    t.record(Duration::from_secs(1));
    t.record(Duration::from_secs(7));
    assert_eq!(t.count(), 4);
    assert_eq!(
        lines(&metrics.encode(), "t_seconds"),
        [
            "t_seconds_bucket{le=\"0.005\"} 1",
            "t_seconds_bucket{le=\"1\"} 3",
            "t_seconds_bucket{le=\"+Inf\"} 4",
            "t_seconds_sum 8.010000001",
            "t_seconds_count 4",
        ]
    );
}

#[test]
fn numbers_that_are_not_finite_are_spelled_as_prometheus_does() {
    let metrics = metrics();
    let gauge = metrics.gauge("g", "G.", ["n"]).unwrap();
    for (name, value) in [("a", f64::INFINITY), ("b", f64::NEG_INFINITY), ("c", f64::NAN)] {
        gauge.with([name]).set(value);
    }
    let page = metrics.encode();
    let expected = ["g{n=\"a\"} +Inf", "g{n=\"b\"} -Inf", "g{n=\"c\"} NaN"];
    assert_eq!(lines(&page, "g{"), expected);
}

#[test]
fn a_definition_may_be_repeated_but_not_changed() {
    let metrics = metrics();
    let first = metrics.counter("a_total", "A.", ["x"]).unwrap();
    let second = metrics.counter("a_total", "A.", ["x"]).unwrap();
    first.with(["1"]).increment();
    assert_eq!(second.with(["1"]).value(), 1);

    let differs = |result: Result<_, MetricError>| match result {
        Err(MetricError::Conflict { differs, .. }) => differs,
        _ => "nothing",
    };
    let a = metrics.counter("a_total", "A.", ["y"]).map(drop);
    assert_eq!(differs(a), "labels");
    let a = metrics.counter("a_total", "Another.", ["x"]).map(drop);
    assert_eq!(differs(a), "help");
    assert_eq!(differs(metrics.gauge("a_total", "A.", ["x"]).map(drop)), "kind");
    let bounds = |ms| metrics.histogram("t_seconds", "T.", [], &[Duration::from_millis(ms)]);
    bounds(1).unwrap();
    assert_eq!(differs(bounds(2).map(drop)), "bounds");
}

#[test]
fn names_that_would_spoil_the_page_are_errors() {
    let metrics = metrics();
    for name in ["", "1x_total", "a b_total", "ä_total", "jobs"] {
        let error = metrics.counter(name, "X.", []).unwrap_err();
        assert!(matches!(error, MetricError::Name { .. }), "{name}: {error}");
    }
    for label in ["", "__name__", "le", "a:b", "a-b", "0"] {
        let error = metrics.counter("a_total", "X.", [label]).unwrap_err();
        assert!(matches!(error, MetricError::Label { .. }), "{label}: {error}");
    }
    let twice = metrics.gauge("g", "G.", ["a", "a"]).unwrap_err();
    assert_eq!(twice.to_string(), "metric `g`, label `a`: is there twice");
    let ms = Duration::from_millis;
    for bounds in [&[][..], &[ms(2), ms(1)], &[ms(1), ms(1)]] {
        let error = metrics.histogram("t_seconds", "T.", [], bounds).unwrap_err();
        assert_eq!(error, MetricError::Bounds { name: "t_seconds" });
    }
}

#[test]
fn the_samples_of_a_histogram_are_its_own() {
    let histogram = |metrics: &Metrics| metrics.histogram("a_seconds", "A.", [], &HTTP_BOUNDS);
    for other in ["a_seconds_bucket", "a_seconds_sum", "a_seconds_count"] {
        let overlap = MetricError::Overlap { histogram: "a_seconds", other };
        let first = metrics();
        histogram(&first).unwrap();
        assert_eq!(first.gauge(other, "B.", []).unwrap_err(), overlap);
        assert_eq!(first.in_flight(other, "B.", []).unwrap_err(), overlap);
        let second = metrics();
        second.gauge(other, "B.", []).unwrap();
        assert_eq!(histogram(&second).unwrap_err(), overlap);
        assert!(overlap.to_string().contains(other), "{overlap}");
    }
    // Beside a metric that is no histogram, and of a name that only looks so.
    let metrics = metrics();
    metrics.gauge("b_seconds", "B.", []).unwrap();
    metrics.gauge("b_seconds_count", "B.", []).unwrap();
    histogram(&metrics).unwrap();
    histogram(&metrics).unwrap();
    metrics.gauge("a_seconds_counted", "A.", []).unwrap();
}

#[test]
fn a_sample_of_an_item_cannot_pass_for_one_of_a_histogram() {
    static COUNT: Metric = Metric::gauge("t_seconds_count", "T.");
    let registry = Registry::new();
    let metrics = Metrics::builder().registry(&registry).build();
    let item = Arc::new(Item("bad", vec![(&COUNT, vec![], 7.0)]));
    registry.register(&item);
    assert_eq!(lines(&metrics.encode(), "t_seconds_count"), ["t_seconds_count 7"]);

    let t = metrics.histogram("t_seconds", "T.", [], &HTTP_BOUNDS).unwrap().with([]);
    t.record(Duration::from_millis(5));
    let page = metrics.encode();
    assert_eq!(lines(&page, "t_seconds_count"), ["t_seconds_count 1"]);
    let refused = r#"octostack_telemetry_series_dropped_total{metric="t_seconds_count"} 1"#;
    assert!(page.lines().any(|line| line == refused), "{page}");
}

#[test]
fn beyond_the_limit_series_share_one_and_are_counted() {
    let metrics = Metrics::builder().registry(&Registry::new()).series_limit(3).build();
    let family = metrics.counter("x_total", "X.", ["path"]).unwrap();
    for i in 0..10 {
        family.with([&format!("/{i}")]).increment();
    }
    // What the program declares is not kept out, and neither is what is there already.
    family.declare(["/known"]).add(5);
    family.with(["/0"]).increment();
    let page = metrics.encode();
    assert_eq!(
        lines(&page, "x_total"),
        [
            "x_total{path=\"/0\"} 2",
            "x_total{path=\"/1\"} 1",
            "x_total{path=\"/2\"} 1",
            "x_total{path=\"/known\"} 5",
            "x_total{path=\"_OVERFLOW\"} 7",
        ]
    );
    let dropped = "octostack_telemetry_series_dropped_total{metric=\"x_total\"} 7";
    assert_eq!(lines(&page, "octostack_telemetry_series_dropped_total"), [dropped]);
}

#[test]
fn samples_of_inspected_items_are_summed_and_join_a_metric_of_ours() {
    static HITS: Metric = Metric::counter("hits_total", "Hits.");
    let registry = Registry::new();
    let metrics = Metrics::builder().registry(&registry).build();
    let hits = |order: [(&'static str, &'static str); 2], n| (&HITS, order.to_vec(), n);
    let a = Arc::new(Item("a", vec![hits([("x", "1"), ("y", "2")], 3.0)]));
    let b = Arc::new(Item("b", vec![hits([("y", "2"), ("x", "1")], 4.0)]));
    registry.register(&a);
    registry.register(&b);
    assert_eq!(lines(&metrics.encode(), "hits_total"), [r#"hits_total{x="1",y="2"} 7"#]);

    let ours = metrics.counter("hits_total", "Hits.", ["y", "x"]).unwrap();
    ours.with(["2", "1"]).add(10);
    ours.with(["3", "1"]).add(1);
    let expected = [r#"hits_total{x="1",y="2"} 17"#, r#"hits_total{x="1",y="3"} 1"#];
    assert_eq!(lines(&metrics.encode(), "hits_total"), expected);
}

#[test]
fn samples_that_would_spoil_the_page_are_refused_and_counted() {
    static NAME: Metric = Metric::gauge("not a name", "X.");
    static KIND: Metric = Metric::gauge("jobs_total", "X.");
    static FINE: Metric = Metric::gauge("fine", "Fine.");
    let registry = Registry::new();
    let metrics = Metrics::builder().registry(&registry).build();
    metrics.counter("jobs_total", "Jobs.", []).unwrap().with([]).add(1);
    let item = Arc::new(Item(
        "bad",
        vec![
            (&NAME, vec![], 1.0),
            (&KIND, vec![], 1.0),
            (&FINE, vec![("__a", "x")], 1.0),
            (&FINE, vec![("a", "x"), ("a", "y")], 1.0),
            (&FINE, vec![("a", "x")], 1.0),
        ],
    ));
    registry.register(&item);
    let page = metrics.encode();
    assert_eq!(lines(&page, "fine"), ["fine{a=\"x\"} 1"]);
    assert_eq!(lines(&page, "jobs_total"), ["jobs_total 1"]);
    assert!(lines(&page, "not a name").is_empty());
    let dropped = "octostack_telemetry_series_dropped_total{metric=";
    let expected = [("fine", 2), ("jobs_total", 1), ("not a name", 1)];
    let expected = expected.map(|(metric, n)| format!("{dropped}\"{metric}\"}} {n}"));
    assert_eq!(lines(&page, dropped), expected);
}

#[test]
fn it_tells_what_runs_and_what_was_lost() {
    let identity = Identity::new("orders", "1.2.3").with_commit("abc");
    let metrics = Metrics::builder().registry(&Registry::new()).identity(&identity).build();
    metrics.dropped("logs").add(3);
    let page = metrics.encode();
    let info = r#"octostack_build_info{commit="abc",service="orders",version="1.2.3"} 1"#;
    assert_eq!(lines(&page, "octostack_build_info"), [info]);
    let lost = r#"octostack_telemetry_dropped_total{signal="logs"} 3"#;
    assert_eq!(lines(&page, "octostack_telemetry_dropped_total"), [lost]);
}

#[test]
fn what_entered_leaves_on_another_thread() {
    let metrics = metrics();
    let active = metrics.in_flight("active", "A.", []).unwrap().with([]);
    let entered: Vec<_> = (0..50).map(|_| active.enter()).collect();
    assert_eq!(active.value(), 50);
    std::thread::spawn(move || drop(entered)).join().unwrap();
    assert_eq!(active.value(), 0);
    assert_eq!(lines(&metrics.encode(), "active"), ["active 0"]);
}

proptest! {
    /// Many threads and handles against one that counts on paper.
    #[test]
    fn a_histogram_counts_like_the_naive_one(
        nanos in prop::collection::vec(prop_oneof![0..30_000_000_000_u64, 0..20_000_000_u64], 0..200),
        threads in 1..5_usize,
    ) {
        let metrics = metrics();
        let family = metrics.histogram("t_seconds", "T.", ["odd"], &HTTP_BOUNDS).unwrap();
        std::thread::scope(|scope| {
            for chunk in nanos.chunks(nanos.len().div_ceil(threads).max(1)) {
                let handles = [family.with(["0"]), family.with(["1"])];
                scope.spawn(move || {
                    for n in chunk {
                        handles[usize::from(n % 2 == 1)].record(Duration::from_nanos(*n));
                    }
                });
            }
        });
        let mut expected = BTreeMap::new();
        for odd in 0..2 {
            let of_it: Vec<_> = nanos.iter().copied().filter(|n| n % 2 == odd).collect();
            for bound in HTTP_BOUNDS {
                let n = of_it.iter().filter(|n| u128::from(**n) <= bound.as_nanos()).count();
                let le = bound.as_secs_f64();
                expected.insert(format!("t_seconds_bucket{{odd=\"{odd}\",le=\"{le}\"}}"), n as f64);
            }
            let n = of_it.len() as f64;
            let sum = of_it.iter().sum::<u64>() as f64 / 1e9;
            expected.insert(format!("t_seconds_bucket{{odd=\"{odd}\",le=\"+Inf\"}}"), n);
            expected.insert(format!("t_seconds_count{{odd=\"{odd}\"}}"), n);
            expected.insert(format!("t_seconds_sum{{odd=\"{odd}\"}}"), sum);
        }
        if nanos.is_empty() {
            expected.clear(); // no chunk, so nobody asked for a handle
        }
        let page = metrics.encode();
        let found = lines(&page, "t_seconds").into_iter().map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse::<f64>().unwrap())
        });
        prop_assert_eq!(found.collect::<BTreeMap<_, _>>(), expected);
    }
}
