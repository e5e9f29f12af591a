//! Whatever is recorded through the facade, Prometheus can read the page.
#![cfg(feature = "metrics")]
#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use octostack_core::Registry;
use octostack_core::inspect::{Inspect, Metric, Sink, Value};
use octostack_telemetry::metrics::facade::{
    self, Key, Label, Level, Metadata, Recorder as _, Unit,
};
use octostack_telemetry::metrics::{HTTP_BOUNDS, Metrics};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a program might do.
#[derive(Clone, Debug)]
enum Step {
    Counter(String, Vec<(String, String)>, u64),
    Gauge(String, Vec<(String, String)>, f64),
    Histogram(String, Vec<(String, String)>, f64),
    Describe(usize, String, Option<Unit>, String),
    /// The program's own, by number.
    Own(usize),
    Scrape,
}

/// Names that clash with each other, with ours and with samples of histograms, and any others.
fn name() -> impl Strategy<Value = String> {
    let known = [
        "a",
        "a.b",
        "a-b",
        "a_b",
        "a_total",
        "a_seconds",
        "a_bytes",
        "a_count",
        "a_sum",
        "a_bucket",
        "a_total_total",
        "a_count_count",
        "own",
        "own_total",
        "own_seconds",
        "own_seconds_sum",
        "own_seconds_bucket",
        "item",
        "item_total",
        "octostack_x",
        "_",
        "0",
        "",
        "é",
        "a\nb 1",
        "a{b=\"c\"}",
        "# TYPE a",
        "http_server_active_requests",
    ];
    let known = prop::sample::select(known.to_vec()).prop_map(str::to_owned);
    prop_oneof![8 => known, 1 => any::<String>()]
}

fn labels() -> impl Strategy<Value = Vec<(String, String)>> {
    let names =
        ["a", "b", "a.b", "a-b", "le", "quantile", "__name__", "", "0", "x\"y", "exported_le"];
    let name = prop::sample::select(names.to_vec()).prop_map(str::to_owned);
    let name = prop_oneof![6 => name, 1 => any::<String>()];
    let values = ["", "1", "2", "\"", "\\", "\n", "a\"} 1\nevil 2", "\r", "\u{2028}", "🐙"];
    let value = prop::sample::select(values.to_vec()).prop_map(str::to_owned);
    let value = prop_oneof![6 => value, 1 => any::<String>()];
    prop::collection::vec((name, value), 0..4)
}

fn step() -> impl Strategy<Value = Step> {
    let units = [Unit::Seconds, Unit::Bytes, Unit::Count, Unit::CountPerSecond];
    let unit = prop::option::of(prop::sample::select(units.to_vec()));
    prop_oneof![
        4 => (name(), labels(), any::<u64>()).prop_map(|(n, l, v)| Step::Counter(n, l, v)),
        4 => (name(), labels(), any::<f64>()).prop_map(|(n, l, v)| Step::Gauge(n, l, v)),
        4 => (name(), labels(), any::<f64>()).prop_map(|(n, l, v)| Step::Histogram(n, l, v)),
        3 => (0..3_usize, name(), unit, any::<String>())
            .prop_map(|(kind, name, unit, text)| Step::Describe(kind, name, unit, text)),
        1 => (0..4_usize).prop_map(Step::Own),
        1 => Just(Step::Scrape),
    ]
}

struct Item;

static SAMPLES: [Metric; 2] =
    [Metric::counter("item_total", "Items."), Metric::gauge("a_bytes", "Bytes.")];

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
        for metric in &SAMPLES {
            sink.sample(metric, &[("a", "1")], 1.0);
        }
    }
}

fn take(metrics: &Metrics, step: Step) {
    let recorder = metrics.recorder();
    let metadata = Metadata::new("some::module", Level::INFO, None);
    let key = |name: String, labels: Vec<(String, String)>| {
        let labels: Vec<_> = labels.into_iter().map(|(k, v)| Label::new(k, v)).collect();
        Key::from_parts(name, labels)
    };
    match step {
        Step::Counter(name, labels, n) => {
            let counter = recorder.register_counter(&key(name, labels), &metadata);
            if n % 2 == 0 { counter.increment(n) } else { counter.absolute(n) }
        }
        Step::Gauge(name, labels, n) => {
            let gauge = recorder.register_gauge(&key(name, labels), &metadata);
            gauge.set(n);
            gauge.increment(n);
        }
        Step::Histogram(name, labels, n) => {
            recorder.register_histogram(&key(name, labels), &metadata).record(n);
        }
        Step::Describe(0, name, unit, text) => {
            recorder.describe_counter(name.into(), unit, text.into());
        }
        Step::Describe(1, name, unit, text) => {
            recorder.describe_gauge(name.into(), unit, text.into());
        }
        Step::Describe(_, name, unit, text) => {
            recorder.describe_histogram(name.into(), unit, text.into());
        }
        Step::Own(0) => drop(metrics.counter("own_total", "Own.", ["a"]).map(|f| f.with(["1"]))),
        Step::Own(1) => drop(metrics.gauge("a_sum", "Own.", []).map(|f| f.with([]))),
        Step::Own(2) => drop(metrics.in_flight("a_b", "Own.", ["c"]).map(|f| f.with([""]))),
        Step::Own(_) => {
            let own = metrics.histogram("own_seconds", "Own.", [], &HTTP_BOUNDS);
            drop(own.map(|f| f.with([])));
        }
        Step::Scrape => drop(metrics.encode()),
    }
}

/// Reads a page as strictly as the format allows, and says what is wrong with it.
fn check(page: &str) -> Result<(), String> {
    let mut metrics = BTreeMap::<&str, &str>::new();
    let mut series = BTreeSet::new();
    let mut buckets = BTreeMap::<String, Vec<(f64, f64)>>::new();
    let mut now = None;
    let mut helped = None;
    if !page.is_empty() && !page.ends_with('\n') {
        return Err("the last line has no end".to_owned());
    }
    for line in page.split_terminator('\n') {
        let wrong = |what: &str| Err(format!("{what}: {line:?}"));
        if let Some(help) = line.strip_prefix("# HELP ") {
            let Some((name, _)) = help.split_once(' ') else { return wrong("no help text") };
            helped = Some(name);
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let Some((name, kind)) = kind.split_once(' ') else { return wrong("no type") };
            if !is_name(name, true) || !["counter", "gauge", "histogram"].contains(&kind) {
                return wrong("no name or type");
            }
            if helped != Some(name) || metrics.insert(name, kind).is_some() {
                return wrong("a metric is there twice, or the help is another's");
            }
            now = Some((name, kind));
        } else {
            let (name, labels, value) = sample(line)?;
            let Some((metric, kind)) = now else { return wrong("no type") };
            let suffix = name.strip_prefix(metric).unwrap_or("?");
            let allowed: &[&str] =
                if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            if !allowed.contains(&suffix) || kind == "counter" && value < 0.0 {
                return wrong("no sample of its metric");
            }
            if labels.contains_key("le") != (suffix == "_bucket") {
                return wrong("`le` belongs to buckets");
            }
            // An empty label and none are the same.
            let mut set = labels.clone();
            set.retain(|_, value| !value.is_empty());
            if !series.insert(format!("{name}{set:?}")) {
                return wrong("a series is there twice");
            }
            let le = set.remove("le");
            let of = buckets.entry(format!("{metric}{set:?}")).or_default();
            match le {
                Some(le) => of.push((number(&le)?, value)),
                None if suffix == "_count" => of.push((f64::INFINITY, value)),
                None => {}
            }
        }
    }
    // Samples of one metric must not look like another's.
    for (name, _) in metrics.iter().filter(|(_, kind)| **kind == "histogram") {
        for suffix in ["_bucket", "_sum", "_count"] {
            if metrics.contains_key(&*format!("{name}{suffix}")) {
                return Err(format!("{name}{suffix} is two things"));
            }
        }
    }
    let rises = |of: &Vec<(f64, f64)>| of.is_sorted();
    match buckets.iter().find(|(_, of)| !rises(of)) {
        Some(bad) => Err(format!("the buckets do not add up: {bad:?}")),
        None => Ok(()),
    }
}

fn is_name(name: &str, colon: bool) -> bool {
    let valid = |c: char| c.is_ascii_alphanumeric() || c == '_' || colon && c == ':';
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(valid)
}

fn number(text: &str) -> Result<f64, String> {
    let text = if text == "+Inf" { "inf" } else { text };
    text.parse().map_err(|_| format!("no number: {text:?}"))
}

type Sample<'a> = (&'a str, BTreeMap<String, String>, f64);

fn sample(line: &str) -> Result<Sample<'_>, String> {
    let wrong = |what: &str| format!("{what}: {line:?}");
    let end = line.find(['{', ' ']).ok_or_else(|| wrong("no value"))?;
    let (name, mut rest) = line.split_at(end);
    if !is_name(name, true) {
        return Err(wrong("no name"));
    }
    let mut labels = BTreeMap::new();
    if let Some(mut inside) = rest.strip_prefix('{') {
        loop {
            let (label, text) = inside.split_once("=\"").ok_or_else(|| wrong("no label"))?;
            if !is_name(label, false) || label.starts_with("__") {
                return Err(wrong("no name of a label"));
            }
            let (value, after) = quoted(text).ok_or_else(|| wrong("no end of a label"))?;
            if labels.insert(label.to_owned(), value).is_some() {
                return Err(wrong("a label is there twice"));
            }
            if let Some(end) = after.strip_prefix('}') {
                rest = end;
                break;
            }
            inside = after.strip_prefix(',').ok_or_else(|| wrong("no comma"))?;
        }
    }
    let value = rest.strip_prefix(' ').ok_or_else(|| wrong("no space"))?;
    if value.contains(' ') {
        return Err(wrong("a space in the value"));
    }
    Ok((name, labels, number(value)?))
}

/// Up to the next quotation mark, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    loop {
        match chars.next()? {
            (at, '"') => return Some((value, &text[at + 1..])),
            (_, '\\') => value.push(match chars.next()?.1 {
                'n' => '\n',
                c @ ('\\' | '"') => c,
                _ => return None,
            }),
            (_, c) => value.push(c),
        }
    }
}

proptest! {
    #[test]
    fn the_page_is_valid_whatever_is_recorded(
        steps in prop::collection::vec(step(), 0..40),
        limits in (1..6_usize, 1..12_usize),
        inspected: bool,
    ) {
        let registry = Registry::new();
        let (series, names) = limits;
        let metrics = Metrics::builder().registry(&registry).series_limit(series);
        let metrics = metrics.names_limit(names).build();
        let item = Arc::new(Item);
        if inspected {
            registry.register(&item);
        }
        for step in steps {
            take(&metrics, step);
        }
        let page = metrics.encode();
        if let Err(wrong) = check(&page) {
            prop_assert!(false, "{}\n{}", wrong, page);
        }
        let most = (10 * series).min(names * series);
        let of_facade = page.lines().filter(|line| !line.starts_with(['#', 'o', 'i']));
        // A histogram has 16 lines at most, and 12 lines are the program's own.
        prop_assert!(of_facade.count() <= 17 * most + 20);
    }
}

#[test]
fn the_check_itself_finds_what_is_wrong() {
    let fine = "# HELP a A.\n# TYPE a gauge\na 1\na{b=\"\\\"\"} +Inf\n";
    assert_eq!(check(fine), Ok(()));
    let histogram =
        "# HELP h H.\n# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 3\n";
    assert_eq!(check(&format!("{histogram}h_sum 3\nh_count 3\n")), Ok(()));
    for bad in [
        "a 1\n".to_owned(),
        format!("{fine}a 2\n"),
        format!("{fine}a{{b=\"\"}} 2\n"),
        format!("{fine}{fine}"),
        format!("{fine}b 2\n"),
        format!("{fine}a{{b=\"1\",b=\"2\"}} 2\n"),
        format!("{fine}a{{__b=\"1\"}} 2\n"),
        format!("{fine}a{{b=\"1\"2\"}} 2\n"),
        format!("{fine}a{{le=\"1\"}} 2\n"),
        format!("{fine}a{{c=\"1\"}} x\n"),
        format!("{fine}evil 2\n"),
        format!("{histogram}h_sum 3\nh_count 2\n"),
        format!("{histogram}# HELP h_sum S.\n# TYPE h_sum gauge\nh_sum 1\n"),
    ] {
        assert!(check(&bad).is_err(), "{bad}");
    }
}

#[test]
fn the_facade_is_the_one_that_the_recorder_serves() {
    let metrics = Metrics::builder().registry(&Registry::new()).build();
    facade::with_local_recorder(&metrics.recorder(), || {
        // The re-exported macros find their crate by themselves.
        octostack_telemetry::metrics::facade::counter!("jobs", "kind" => "a").increment(2);
    });
    assert!(metrics.encode().contains("\njobs_total{kind=\"a\"} 2\n"));
}
