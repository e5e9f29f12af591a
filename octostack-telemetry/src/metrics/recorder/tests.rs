use super::{BucketsError, Matcher, Recorder};
use crate::metrics::{HTTP_BOUNDS, Metrics};
use ::metrics::{
    Recorder as _, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram, with_local_recorder,
};
use octostack_core::Registry;
use octostack_core::inspect::{Event, Inspect, Metric, Sink, Value};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn metrics() -> Metrics {
    Metrics::builder().registry(&Registry::new()).build()
}

/// Runs `f` with the macros recording into `metrics`.
fn recording<T>(metrics: &Metrics, f: impl FnOnce() -> T) -> T {
    with_local_recorder(&metrics.recorder(), f)
}

/// The lines that start with `prefix`.
#[track_caller]
fn assert_lines(metrics: &Metrics, prefix: &str, expected: &[&str]) {
    let page = metrics.encode();
    let found: Vec<_> = page.lines().filter(|line| line.starts_with(prefix)).collect();
    assert_eq!(found, expected, "{page}");
}

/// What was refused of a metric so far, as the next page says.
#[track_caller]
fn assert_refused(metrics: &Metrics, metric: &str, times: u64) {
    let line = format!("octostack_telemetry_series_dropped_total{{metric=\"{metric}\"}}");
    assert_lines(metrics, &line, &[&*format!("{line} {times}")]);
}

/// Subject and reason of each refusal that was told of.
fn told(registry: &Registry) -> Vec<(String, String)> {
    let events = registry.events().into_iter().filter(|event| event.kind == "metric_refused");
    let pair = |event: Arc<Event>| {
        let reason = event.fields[0].1.as_str().unwrap().to_owned();
        (event.subject.clone(), reason)
    };
    events.map(pair).collect()
}

fn refusals(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(metric, why)| ((*metric).to_owned(), (*why).to_owned())).collect()
}

#[test]
fn what_the_macros_record_is_on_the_page() {
    let metrics = metrics();
    recording(&metrics, || {
        for article in ["teapot", "teacup", "teapot"] {
            counter!("orders.created", "article" => article, "channel" => "web").increment(1);
        }
        counter!("driver_reads_total").absolute(40);
        counter!("driver_reads_total").absolute(30);
        counter!("driver_reads_total").increment(2);
        let idle = gauge!("pool.idle");
        idle.set(5);
        idle.increment(2.5);
        idle.decrement(0.5);
        let wait = histogram!("pool.wait");
        wait.record(Duration::from_millis(10));
        wait.record_many(20, 3);
        wait.record(-1);
    });
    assert_lines(
        &metrics,
        "orders_created_total",
        &[
            r#"orders_created_total{article="teacup",channel="web"} 1"#,
            r#"orders_created_total{article="teapot",channel="web"} 2"#,
        ],
    );
    assert_lines(&metrics, "driver_reads_total", &["driver_reads_total 42"]);
    assert_lines(&metrics, "pool_idle", &["pool_idle 7"]);
    assert_lines(&metrics, "pool_wait_bucket{le=\"0.005\"}", &["pool_wait_bucket{le=\"0.005\"} 1"]);
    assert_lines(&metrics, "pool_wait_bucket{le=\"0.01\"}", &["pool_wait_bucket{le=\"0.01\"} 2"]);
    assert_lines(&metrics, "pool_wait_bucket{le=\"+Inf", &["pool_wait_bucket{le=\"+Inf\"} 5"]);
    assert_lines(&metrics, "pool_wait_sum", &["pool_wait_sum 59.01"]);
    assert_lines(&metrics, "pool_wait_count", &["pool_wait_count 5"]);
    assert_lines(&metrics, "# TYPE pool_wait ", &["# TYPE pool_wait histogram"]);
}

#[test]
fn recorders_of_one_page_share_its_series_and_other_pages_know_nothing() {
    let (one, other) = (metrics(), metrics());
    let kept = recording(&one, || counter!("jobs"));
    recording(&one, || counter!("jobs").increment(1));
    kept.increment(1);
    assert_lines(&one, "jobs", &["jobs_total 2"]);
    assert_lines(&other, "jobs", &[]);
}

#[test]
fn descriptions_may_come_before_or_after_and_the_first_stays() {
    let metrics = metrics();
    recording(&metrics, || {
        describe_counter!("sent", Unit::Bytes, "What was\nsent.");
        counter!("sent").increment(3);
        let kept = gauge!("temperature");
        kept.set(20);
        describe_gauge!("temperature", Unit::Percent, "How warm it is.");
        describe_gauge!("temperature", Unit::Seconds, "Something else.");
        kept.increment(1); // writes to what is called otherwise by now
        gauge!("temperature").increment(1);
        counter!("plain").increment(1);
        histogram!(description: "In the macro.", unit: Unit::Seconds, "given.here").record(1);
        describe_histogram!("never_recorded", "Nothing.");
    });
    let help = [
        "# HELP given_here_seconds In the macro.",
        "# HELP plain_total Recorded by octostack_telemetry::metrics::recorder::tests.",
        "# HELP sent_bytes_total What was\\nsent.",
        "# HELP temperature_percent How warm it is.",
    ];
    let page = metrics.encode();
    let found: Vec<_> =
        page.lines().filter(|l| l.starts_with("# HELP") && !l.contains("octostack_t")).collect();
    let found_plain = page.lines().find(|l| l.starts_with("# HELP plain"));
    assert_eq!(found, [help[0], help[2], help[3]]);
    assert_eq!(found_plain, Some(help[1]));
    assert_lines(&metrics, "temperature", &["temperature_percent 22"]);
    assert_lines(&metrics, "sent", &["sent_bytes_total 3"]);
}

#[test]
fn label_sets_may_have_other_names_and_any_order() {
    let metrics = metrics();
    recording(&metrics, || {
        counter!("x").increment(1);
        counter!("x", "a" => "1").increment(1);
        counter!("x", "a" => "1", "b" => "2").increment(1);
        counter!("x", "b" => "2", "a" => "1").increment(1);
        counter!("x", "a" => "1", "b" => "").increment(1);
    });
    let expected = ["x_total 1", "x_total{a=\"1\"} 2", "x_total{a=\"1\",b=\"2\"} 2"];
    assert_lines(&metrics, "x_total", &expected);
}

#[test]
fn names_that_come_out_the_same_are_one_metric() {
    let metrics = metrics();
    recording(&metrics, || {
        for _ in 0..2 {
            counter!("jobs.done").increment(1);
            counter!("jobs-done_total").increment(1);
            counter!("jobs_done", "__name__" => "evil", "le" => "1").increment(1);
        }
    });
    let renamed = r#"jobs_done_total{exported___name__="evil",exported_le="1"} 2"#;
    assert_lines(&metrics, "jobs_done", &["jobs_done_total 4", renamed]);
}

#[test]
fn of_two_metrics_of_one_name_the_first_has_it() {
    let registry = Registry::new();
    let metrics = Metrics::builder().registry(&registry).build();
    recording(&metrics, || {
        gauge!("queue").set(1);
        for _ in 0..3 {
            histogram!("queue").record(1);
        }
        counter!("queue").increment(1); // is called `queue_total`
        gauge!("queue_total").set(9);
        histogram!("wait").record(1);
        gauge!("wait_count").set(7);
        gauge!("calls_sum").set(8);
        histogram!("calls").record(1);
    });
    // At once, not only when somebody reads the page.
    let expected = ["queue", "queue_total", "wait_count", "calls"].map(|name| (name, "taken"));
    assert_eq!(told(&registry), refusals(&expected));
    assert_lines(&metrics, "queue", &["queue 1", "queue_total 1"]);
    assert_lines(&metrics, "wait_count", &["wait_count 1"]);
    assert_lines(&metrics, "calls", &["calls_sum 8"]);
    assert_refused(&metrics, "queue", 3);
}

#[test]
fn a_name_that_a_unit_took_a_metric_away_from_is_free() {
    let metrics = metrics();
    recording(&metrics, || {
        gauge!("size").set(1);
        describe_gauge!("size", Unit::Bytes, "Size.");
        histogram!("size").record(1);
    });
    assert_lines(&metrics, "size_bytes", &["size_bytes 1"]);
    assert_lines(&metrics, "size_count", &["size_count 1"]);
}

#[test]
fn a_unit_that_leads_to_a_taken_name_is_left_out() {
    let registry = Registry::new();
    let metrics = Metrics::builder().registry(&registry).build();
    recording(&metrics, || {
        gauge!("age_seconds").set(1);
        gauge!("age").set(2);
        describe_gauge!("age", Unit::Seconds, "Age.");
        describe_gauge!("age", Unit::Seconds, "Age.");
        gauge!("age").increment(1);
    });
    assert_lines(&metrics, "age", &["age 3", "age_seconds 1"]);
    assert_lines(&metrics, "# HELP age ", &["# HELP age Age."]);
    assert_refused(&metrics, "age", 1);
    assert_eq!(told(&registry), refusals(&[("age", "unit")]));
}

#[test]
fn what_the_program_registers_itself_comes_first() {
    let registry = Registry::new();
    let metrics = Metrics::builder().registry(&registry).build();
    let before = metrics.counter("before_total", "Ours.", ["x"]).unwrap();
    before.with(["1"]).increment();
    recording(&metrics, || {
        counter!("before", "x" => "1").increment(5);
        counter!("after").increment(5);
        histogram!("t").record(1);
        counter!("octostack.policy.decisions").increment(1);
    });
    // Later, and all the same it is neither refused nor mixed up with the other.
    metrics.counter("after_total", "Ours.", []).unwrap().with([]).increment();
    metrics.gauge("t_bucket", "Ours.", []).unwrap().with([]).set(4.0);
    for page in 1..=2 {
        assert_lines(&metrics, "before_total", &["before_total{x=\"1\"} 1"]);
        assert_refused(&metrics, "after_total", 2 * page);
    }
    assert_lines(&metrics, "after_total", &["after_total 1"]);
    assert_lines(&metrics, "t_", &["t_bucket 4"]);
    let reserved = "octostack.policy.decisions";
    assert_refused(&metrics, reserved, 1);
    let expected = [(reserved, "reserved"), ("after_total", "taken"), ("before_total", "taken")];
    let expected = [&expected[..], &[("t", "taken")]].concat();
    assert_eq!(told(&registry), refusals(&expected));
}

#[test]
fn so_does_what_is_inspected() {
    static HITS: Metric = Metric::counter("hits_total", "Hits.");
    struct Item;
    impl Inspect for Item {
        fn name(&self) -> &'static str {
            "item"
        }
        fn kind(&self) -> &'static str {
            "item"
        }
        fn status(&self) -> Value {
            Value::Null
        }
        fn collect(&self, sink: &mut dyn Sink) {
            sink.sample(&HITS, &[], 3.0);
        }
    }
    let registry = Registry::new();
    let metrics = Metrics::builder().registry(&registry).build();
    recording(&metrics, || counter!("hits").increment(1));
    assert_lines(&metrics, "hits", &["hits_total 1"]);
    let item = Arc::new(Item);
    registry.register(&item);
    assert_lines(&metrics, "hits", &["hits_total 3"]);
    assert_eq!(told(&registry), refusals(&[("hits_total", "taken")]));
    drop(item);
    assert_lines(&metrics, "hits", &["hits_total 1"]);
}

#[test]
fn a_metric_has_a_limit_of_series() {
    let registry = Registry::new();
    let metrics = Metrics::builder().registry(&registry).series_limit(3).build();
    recording(&metrics, || {
        for user in 0..10 {
            counter!("logins", "user" => user.to_string()).increment(1);
        }
        counter!("logins", "user" => "0").increment(1); // that one is there
        gauge!("another").set(1); // and so is room for others
    });
    let expected = ["0\"} 2", "1\"} 1", "2\"} 1"].map(|end| format!("logins_total{{user=\"{end}"));
    assert_lines(&metrics, "logins", &expected.each_ref().map(|line| &**line));
    assert_lines(&metrics, "another", &["another 1"]);
    assert_refused(&metrics, "logins_total", 7);
    assert_eq!(told(&registry), refusals(&[("logins_total", "series_limit")]));
}

#[test]
fn all_metrics_together_have_one_too() {
    let metrics = Metrics::builder().registry(&Registry::new()).series_limit(2).build();
    recording(&metrics, || {
        for i in 0..40 {
            gauge!(format!("g{i}"), "half" => "0").set(1);
            gauge!(format!("g{i}"), "half" => "1").set(1);
        }
    });
    let page = metrics.encode();
    assert_eq!(page.lines().filter(|line| line.starts_with('g')).count(), 20);
}

#[test]
fn names_have_a_limit_and_the_label_that_tells_of_it_too() {
    let registry = Registry::new();
    let metrics = Metrics::builder().registry(&registry).names_limit(2).series_limit(5).build();
    recording(&metrics, || {
        for user in 0..100 {
            counter!(format!("logins_of_{user}")).increment(1);
            describe_gauge!(format!("described_{user}"), "Nothing.");
        }
    });
    assert_lines(&metrics, "logins", &["logins_of_0_total 1"]); // the other is described only
    let page = metrics.encode();
    let dropped = "octostack_telemetry_series_dropped_total{";
    let dropped: Vec<_> = page.lines().filter(|line| line.starts_with(dropped)).collect();
    assert!(dropped.len() <= 7, "{dropped:?}");
    assert!(dropped[0].contains("{metric=\"_OVERFLOW\"}"), "{dropped:?}");
    let told = told(&registry);
    assert_eq!(told.len(), 20, "others would push all other events off the list");
    assert_eq!(told[0], ("logins_of_1_total".to_owned(), "names_limit".to_owned()));
    assert!(registry.events()[19].message.ends_with("more of this is only counted"));
}

#[test]
fn labels_that_cannot_be_shown_are_refused() {
    let registry = Registry::new();
    let metrics = Metrics::builder().registry(&registry).build();
    recording(&metrics, || {
        counter!("x", "a.b" => "1", "a-b" => "2").increment(1);
        counter!("x", "" => "1").increment(1);
        counter!("").increment(1);
    });
    assert_lines(&metrics, "x_total", &[]);
    assert_refused(&metrics, "x_total", 2);
    assert_refused(&metrics, "", 1);
    let expected = [("x_total", "labels"), ("x_total", "labels"), ("", "name")];
    assert_eq!(told(&registry), refusals(&expected));
}

#[test]
fn a_value_that_is_no_number_does_not_spoil_the_sum() {
    let metrics = metrics();
    recording(&metrics, || {
        let t = histogram!("t");
        t.record(f64::NAN);
        t.record_many(f64::INFINITY, 2);
        t.record(2.0);
    });
    assert_lines(&metrics, "t_sum", &["t_sum 2"]);
    assert_lines(&metrics, "t_count", &["t_count 1"]);
    assert_refused(&metrics, "t", 3);
}

#[test]
fn bounds_are_set_before_the_first_use_or_not_at_all() {
    let metrics = metrics();
    let recorder = metrics.recorder();
    recorder.buckets(Matcher::suffix(".size"), &[10.0, 20.0]).unwrap();
    recorder.buckets(Unit::Percent, &[50.0]).unwrap();
    with_local_recorder(&recorder, || {
        histogram!("batch.size").record(15);
        describe_histogram!("full", Unit::Percent, "Full.");
        histogram!("full").record(15);
        histogram!("wait").record(1);
    });
    let batch = ["10\"} 0", "20\"} 1", "+Inf\"} 1"].map(|l| format!("batch_size_bucket{{le=\"{l}"));
    assert_lines(&metrics, "batch_size_bucket", &batch.each_ref().map(|line| &**line));
    let full = ["full_percent_bucket{le=\"50\"} 1", "full_percent_bucket{le=\"+Inf\"} 1"];
    assert_lines(&metrics, "full_percent_bucket", &full);

    let late = recorder.buckets(Matcher::name("batch.size"), &[1.0]).unwrap_err();
    assert_eq!(late, BucketsError::Late { metric: "batch_size".to_owned() });
    assert!(late.to_string().contains("before the first use"), "{late}");
    // The same again, and bounds that make no difference, may come at any time.
    recorder.buckets(Matcher::name("batch.size"), &[10.0, 20.0]).unwrap();
    let same = HTTP_BOUNDS.map(|bound| bound.as_secs_f64());
    recorder.buckets(Matcher::prefix("wai"), &same).unwrap();
    // Nor does a unit that comes too late keep others from theirs.
    with_local_recorder(&recorder, || {
        histogram!("body").record(1);
        describe_histogram!("body", Unit::Bytes, "Bodies.");
    });
    recorder.buckets(Matcher::name("other"), &[1.0]).unwrap();
    assert!(recorder.buckets(Unit::Bytes, &[1.0]).is_err());
}

#[test]
fn whoever_hears_of_a_refusal_may_record() {
    let registry = Registry::new();
    let metrics = Metrics::builder().registry(&registry).build();
    let heard = Arc::new(Mutex::new(0));
    registry.observe({
        let heard = heard.clone();
        move |_: &Event| {
            *heard.lock().unwrap() += 1;
            counter!("events").increment(1);
            gauge!("octostack_mine").set(1); // refused as well
        }
    });
    recording(&metrics, || gauge!("octostack_mine").set(1));
    assert_lines(&metrics, "events", &["events_total 1"]);
    assert_eq!(*heard.lock().unwrap(), 1);
    assert_refused(&metrics, "octostack_mine", 2);
}

#[test]
fn threads_that_record_the_same_add_up() {
    const THREADS: u64 = 8;
    const ROUNDS: u64 = 500;
    let metrics = metrics();
    let recorder = metrics.recorder();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                with_local_recorder(&recorder, || {
                    for round in 0..ROUNDS {
                        let label = (round % 7).to_string();
                        counter!("jobs", "kind" => label.clone()).increment(1);
                        gauge!("level").increment(0.5);
                        histogram!("size", "kind" => label).record(1);
                        counter!("jobs.all").increment(1);
                        counter!("jobs-all").increment(1);
                    }
                });
            });
        }
    });
    let n = THREADS * ROUNDS;
    let sum = |prefix: &str| -> u64 {
        let page = metrics.encode();
        let lines = page.lines().filter(|line| line.starts_with(prefix));
        lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
    };
    assert_eq!(sum("jobs_total{"), n);
    assert_eq!(sum("jobs_all_total "), 2 * n);
    assert_eq!(sum("level "), n / 2);
    assert_eq!(sum("size_count{"), n);
    assert_eq!(sum("size_sum{"), n);
}

#[test]
fn keys_without_end_for_one_series_are_not_remembered() {
    let metrics = metrics();
    let recorder = metrics.recorder();
    recording(&metrics, || {
        let long = "x".repeat(2000);
        for c in 'а'..'я' {
            counter!(format!("jobs{c}")).increment(1);
            counter!("long", "a" => format!("{long}{c}")).increment(1);
            describe_counter!("jobs", "Jobs.");
        }
    });
    let n = ('а'..'я').count();
    assert_lines(&metrics, "jobs_", &[&*format!("jobs__total {n}")]);
    assert_eq!(recorder.recorded.caches.counters(), 1);
}

#[test]
fn a_recorder_is_cloned_shared_and_printed() {
    fn is_shared<T: Send + Sync + Clone + 'static>(_: &T) {}
    let recorder = metrics().recorder();
    is_shared(&recorder);
    assert_eq!(format!("{recorder:?}"), "Recorder { .. }");
    // A handle outlives its page.
    let metadata = ::metrics::Metadata::new("t", ::metrics::Level::INFO, None);
    let counter = Recorder::clone(&recorder).register_counter(&"a".into(), &metadata);
    drop(recorder);
    counter.increment(1);
}
