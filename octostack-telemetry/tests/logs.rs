//! What a log line holds, whatever the program says.
#![cfg(feature = "logs")]
mod logs_support;

use logs_support::{Lines, PATIENCE, capture, identity, json};
use octostack_core::inspect::{Event, Sink, Value as Status};
use octostack_core::{Inspect, Registry, inspect::Metric};
use octostack_telemetry::logs::{LogEvents, LogFormat, LogLayer, UserIds, hash_user_id};
use serde_json::{Value, json as value};
use std::error::Error;
use std::fmt;
use std::io;
use std::time::{Duration, SystemTime};
use tracing::{debug, error, info, info_span, trace, warn};
use tracing_subscriber::layer::SubscriberExt as _;

fn keys(line: &Value) -> Vec<&str> {
    line.as_object().into_iter().flat_map(|o| o.keys()).map(|k| &**k).collect()
}

#[test]
fn has_the_standard_fields_and_nothing_empty() {
    let (lines, _guard) = capture(&json());
    let before = SystemTime::now() - Duration::from_micros(1);
    info!("hello");
    let line = lines.one();
    let time = line["timestamp"].as_str().unwrap();
    assert_eq!(time.len(), "2026-11-21T07:06:49.123456Z".len(), "{time}");
    assert!(time.ends_with('Z'));
    let time = humantime::parse_rfc3339(time).unwrap();
    assert!(before <= time && time <= SystemTime::now());
    let mut rest = line.clone();
    rest.as_object_mut().unwrap().remove("timestamp");
    assert_eq!(
        rest,
        value!({"level": "info", "service": "orders", "version": "1.4.2", "environment": "test",
                "message": "hello", "target": "logs"})
    );
    let text = &lines.text()[0];
    assert!(text.starts_with("{\"timestamp\":\""), "the order is fixed: {text}");
}

#[test]
fn writes_each_level() {
    let (lines, _guard) = capture(&json().with_filter("trace".parse().unwrap()));
    trace!("a");
    debug!("b");
    info!("c");
    warn!("d");
    error!("e");
    error!(fatal = true, "f");
    error!(fatal = "no marker", "g");
    let lines = lines.json();
    let levels: Vec<_> = lines.iter().map(|l| l["level"].as_str().unwrap()).collect();
    assert_eq!(levels, ["trace", "debug", "info", "warn", "error", "fatal", "error"]);
    assert!(lines[5].get("context").is_none(), "the marker is no field");
    assert_eq!(lines[6]["context"]["fatal"], "no marker");
}

#[test]
fn the_filter_decides() {
    let (lines, _guard) = capture(&json().with_filter("warn,logs=off,a=debug".parse().unwrap()));
    error!("off");
    debug!(target: "a::b", "first");
    trace!(target: "a::b", "too fine");
    info!(target: "c", "too fine");
    warn!(target: "c", "second");
    let said: Vec<_> = lines.json().iter().map(|l| l["message"].clone()).collect();
    assert_eq!(said, ["first", "second"]);
}

#[test]
fn fields_keep_their_type() {
    let (lines, _guard) = capture(&json());
    info!(
        text = "a",
        shown = %1.5,
        debug = ?Some("x"),
        yes = true,
        int = -3,
        big = u64::MAX,
        huge = u128::MAX,
        small_i128 = -5_i128,
        float = 0.25,
        whole_float = 2.0,
        small_float = 0.000_021,
        tiny_float = 1e-300,
        nan = f64::NAN,
        nothing = None::<u64>,
        "types"
    );
    assert_eq!(
        lines.one()["context"],
        value!({"text": "a", "shown": "1.5", "debug": "Some(\"x\")", "yes": true, "int": -3,
                "big": u64::MAX, "huge": u128::MAX.to_string(), "small_i128": -5, "float": 0.25,
                "whole_float": 2.0,
                "small_float": 0.000_021, "tiny_float": 1e-300, "nan": "NaN"})
    );
    let text = &lines.text()[0];
    assert!(
        text.contains(r#""whole_float":2.0,"small_float":0.000021,"tiny_float":1e-300"#),
        "{text}"
    );
}

#[test]
fn no_field_can_pass_for_a_standard_one() {
    let (lines, _guard) = capture(&json());
    let span = info_span!("s", level = "fatal", message = "forged", trace_id = "00");
    span.in_scope(|| {
        info!(
            timestamp = "1970",
            level = "fatal",
            service = "other",
            version = "0",
            environment = "x",
            target = "y",
            span_id = "1",
            context = "z",
            "true"
        );
    });
    let line = lines.one();
    assert_eq!(
        (&line["level"], &line["service"], &line["message"], &line["target"]),
        (&value!("info"), &value!("orders"), &value!("true"), &value!("logs"))
    );
    assert_eq!(
        keys(&line),
        ["context", "environment", "level", "message", "service", "target", "timestamp", "version"]
    );
    assert_eq!(line["context"]["level"], "fatal");
    assert_eq!(line["context"]["message"], "forged");
    assert_eq!(line["context"]["trace_id"], "00");
}

#[test]
fn inner_fields_hide_outer_ones_and_later_ones_earlier_ones() {
    let (lines, _guard) = capture(&json());
    let outer = info_span!("outer", a = 1, b = 1, late = tracing::field::Empty);
    let inner = info_span!(parent: &outer, "inner", b = 2, c = 2);
    outer.record("late", "first");
    outer.record("a", 10);
    outer.record("late", "second");
    inner.in_scope(|| info!(c = 3, d = 3, "x"));
    assert_eq!(lines.one()["context"], value!({"c": 3, "d": 3, "b": 2, "a": 10, "late": "second"}));
    let order = lines.text()[0].split_once("context").unwrap().1.to_owned();
    assert!(order.find("\"d\"") < order.find("\"b\""), "the event's own first: {order}");
}

#[test]
fn nothing_inside_a_request_can_speak_for_another() {
    let (lines, _guard) = capture(&json().with_user_ids(UserIds::Plain));
    let request = info_span!("request", correlation_id = "req-1", user_id = tracing::field::Empty);
    let job = info_span!(parent: &request, "job", correlation_id = "job-2");
    request.record("user_id", "anna");
    job.in_scope(|| info!(correlation_id = "ev-3", user_id = "bob", "x"));
    info!(correlation_id = "alone", user_id = 7, "y");
    let lines = lines.json();
    assert_eq!(
        (&lines[0]["correlation_id"], &lines[0]["user_id"]),
        (&value!("req-1"), &value!("anna"))
    );
    assert_eq!(lines[0]["context"], value!({"correlation_id": "ev-3", "user_id": "bob"}));
    assert_eq!(
        (&lines[1]["correlation_id"], &lines[1]["user_id"]),
        (&value!("alone"), &value!("7"))
    );
}

#[test]
fn user_ids_are_hashed_the_same_everywhere() {
    let (lines, _guard) = capture(&json());
    info!(user_id = "anna@example.org", "x");
    info!(user_id = %format_args!("anna@{}.org", "example"), "x");
    info_span!("s", user_id = "bob").in_scope(|| info!("x"));
    let text = lines.text().concat();
    assert!(!text.contains("anna") && !text.contains("bob"), "{text}");
    let lines = lines.json();
    // Part of the contract with whoever searches old logs: it must not change.
    assert_eq!(lines[0]["user_id"], "e14c4a9729bad738");
    assert_eq!(hash_user_id("anna@example.org"), "e14c4a9729bad738");
    assert_eq!(lines[1]["user_id"], lines[0]["user_id"]);
    assert_ne!(lines[2]["user_id"], lines[0]["user_id"]);
}

#[derive(Debug)]
struct PaymentFailed(io::Error);

impl fmt::Display for PaymentFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("payment failed")
    }
}

impl Error for PaymentFailed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

#[test]
fn an_error_is_an_object() {
    let (lines, _guard) = capture(&json());
    let failed = PaymentFailed(io::Error::other("bank\nclosed"));
    let failed: &(dyn Error + 'static) = &failed;
    error!(error = failed, error.code = "P-17", order = 4, "no order");
    error!(error = %failed, "as text");
    error!(error.kind = "timeout", error.message = "too slow", error.stack = "a\nb", "by hand");
    error!(error = "Not a type: prose".parse::<u8>().unwrap_err().to_string(), "text");
    error!(cause = failed, "elsewhere");
    let lines = lines.json();
    assert_eq!(
        lines[0]["error"],
        value!({"type": "PaymentFailed", "code": "P-17", "message": "payment failed",
                "stack": "bank\nclosed"})
    );
    assert_eq!(lines[0]["context"], value!({"order": 4}));
    assert_eq!(lines[1]["error"], value!({"message": "payment failed"}));
    assert_eq!(
        lines[2]["error"],
        value!({"type": "timeout", "message": "too slow", "stack": "a\nb"})
    );
    assert_eq!(lines[3]["error"], value!({"message": "invalid digit found in string"}));
    assert_eq!(lines[4]["context"]["cause"], "payment failed: bank\nclosed");
    assert!(lines[4].get("error").is_none());
}

#[test]
fn prose_is_no_type() {
    #[derive(Clone, Copy)]
    struct Prose(&'static str);
    impl fmt::Debug for Prose {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }
    impl fmt::Display for Prose {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("m")
        }
    }
    impl Error for Prose {}

    let (lines, _guard) = capture(&json());
    let cases = [
        ("Timeout", Some("Timeout")),
        ("Status { code: 3 }", Some("Status")),
        ("Io(Kind)", Some("Io")),
        ("Connection refused", None),
        ("failed", None),
        ("", None),
        ("\"text\"", None),
    ];
    for (debug, _) in cases {
        let error: &(dyn Error + 'static) = &Prose(debug);
        error!(error, "x");
    }
    for (line, (debug, kind)) in lines.json().iter().zip(cases) {
        assert_eq!(line["error"].get("type").and_then(Value::as_str), kind, "{debug}");
    }
}

#[test]
fn long_values_are_cut_and_long_lines_drop_fields() {
    let (lines, _guard) = capture(&json());
    let long = "é".repeat(10_000);
    info!(long, "{long}");
    info_span!("s", a = "\u{1}".repeat(9_000), short = 1).in_scope(|| {
        let v = || "\u{1}".repeat(9_000);
        info!(b = v(), c = v(), d = v(), e = v(), f = v(), g = v(), h = v(), i = v(), "{}", v());
    });
    for line in lines.text() {
        assert!(line.len() <= 64 * 1024, "{}", line.len());
    }
    let lines = lines.json();
    let message = lines[0]["message"].as_str().unwrap();
    assert!(message.ends_with("…[11808 more bytes]"), "{}", &message[8_000..]);
    assert_eq!(lines[0]["context"]["long"], lines[0]["message"]);
    assert_eq!(lines[1]["context"]["_left_out"], 3);
    assert_eq!(lines[1]["context"]["short"], 1, "what is small still fits");
}

#[test]
fn a_client_cannot_forge_a_line_in_either_format() {
    let evil = "x\n{\"level\":\"info\"}\r\n\u{1b}[2J\u{9b}31m\u{202e}\u{2028}";
    for format in [LogFormat::Json, LogFormat::Pretty] {
        let (lines, guard) = capture(&json().with_log_format(format));
        info!(path = evil, user_id = evil, correlation_id = evil, shown = %evil, "{evil}");
        drop(guard);
        let text = lines.text().concat();
        assert_eq!(text.matches('\n').count(), 1, "{text:?}");
        assert!(text.trim_end().chars().all(|c| !c.is_control()), "{text:?}");
        assert!(!text.contains(['\u{202e}', '\u{2028}']), "{text:?}");
    }
}

#[test]
fn pretty_is_one_readable_line_and_the_causes() {
    let (lines, _guard) = capture(&json().with_log_format(LogFormat::Pretty));
    let failed = PaymentFailed(io::Error::other("bank closed"));
    let failed: &(dyn Error + 'static) = &failed;
    info_span!("request", correlation_id = "r-1").in_scope(|| {
        error!(error = failed, order = 4, note = "two words", "it is \"no\"");
    });
    let text = &lines.text()[0];
    assert_eq!(
        &text["07:06:49.123".len()..],
        " ERROR logs: it is \"no\" order=4 note=\"two words\" correlation_id=r-1\n    \
         \u{20}  type PaymentFailed\n    message payment failed\n      stack bank closed\n"
    );
    assert_eq!(text.find('.'), Some(8), "{text}");
}

#[test]
fn a_value_that_logs_while_it_is_logged_does_no_harm() {
    struct Chatty;
    impl fmt::Debug for Chatty {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            info!(inner = true, "from inside");
            f.write_str("chatty")
        }
    }
    let (lines, _guard) = capture(&json());
    let span = info_span!("s", v = ?Chatty, w = tracing::field::Empty);
    span.record("w", tracing::field::debug(Chatty));
    span.in_scope(|| info!(x = ?Chatty, "outside"));
    let lines = lines.json();
    let last = lines.last().unwrap();
    assert_eq!(last["context"], value!({"x": "chatty", "v": "chatty", "w": "chatty"}));
}

#[test]
fn a_value_that_panics_while_it_is_logged_does_no_harm() {
    struct Bomb;
    impl fmt::Debug for Bomb {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("half")?;
            panic!("in Debug");
        }
    }
    let (lines, _guard) = capture(&json());
    let span = info_span!("s", v = tracing::field::Empty);
    let tries: [&dyn Fn(); 3] = [
        &|| info!(v = ?Bomb, "lost"),
        &|| _ = span.record("v", tracing::field::debug(Bomb)),
        &|| drop(info_span!("t", v = ?Bomb)),
    ];
    for go_off in tries {
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(go_off)).is_err());
    }
    span.record("v", 1);
    span.in_scope(|| info!("on"));
    let line = lines.one();
    assert_eq!((&line["message"], &line["context"]), (&value!("on"), &value!({"v": 1})));
}

#[test]
fn a_line_that_cannot_be_written_is_counted() {
    struct Full;
    impl io::Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    #[derive(Default)]
    struct Samples(Vec<String>);
    impl Sink for Samples {
        fn sample(&mut self, metric: &'static Metric, labels: &[(&'static str, &str)], value: f64) {
            self.0.push(format!("{} {labels:?} {value}", metric.name));
        }
    }

    let layer = LogLayer::with_writer(&identity(), &json(), Full).unwrap();
    let output = layer.output().clone();
    let registry = Registry::new();
    registry.register(&output);
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    info!("a");
    info!("b");
    assert!(output.flush(PATIENCE));
    assert_eq!(output.lost(), 2);
    assert_eq!(output.status(), Status::map([("lost", 2_u64.into()), ("queued", 0_u64.into())]));
    let mut samples = Samples::default();
    registry.collect(&mut samples);
    assert_eq!(samples.0, ["octostack_telemetry_dropped_total [(\"signal\", \"logs\")] 2"]);
}

#[test]
fn registry_events_become_log_events() {
    let (lines, _guard) = capture(&json());
    let registry = Registry::new();
    registry.observe(LogEvents);
    let opened = Event::new("transition", "inventory.breaker", "opened: 5 of 10 failed")
        .with("from", "closed")
        .with("to", "open")
        .with("settings", Status::map([("window", Status::from(10_u64))]))
        .with("level", "forged");
    info_span!("request", correlation_id = "r-1").in_scope(|| registry.emit(opened));
    registry.emit(Event::new("transition", "inventory.breaker", "closed").with("to", "closed"));
    registry.emit(Event::new("reload_failed", "config", "line 3"));
    registry.emit(Event::new("accept_failing", "public", "out of file descriptors"));
    let stopped = || Event::new("transition", "lifecycle", "draining -> stopped");
    registry.emit(stopped().with("clean", false));
    registry.emit(stopped());

    let lines = lines.json();
    assert_eq!(lines[0]["message"], "opened: 5 of 10 failed");
    assert_eq!(lines[0]["target"], "octostack::event");
    assert_eq!(lines[0]["correlation_id"], "r-1");
    assert_eq!(
        lines[0]["context"],
        value!({"kind": "transition", "subject": "inventory.breaker", "from": "closed",
                "to": "open", "settings": {"window": 10}, "level": "forged"})
    );
    let levels: Vec<_> = lines.iter().map(|l| l["level"].as_str().unwrap()).collect();
    assert_eq!(levels, ["warn", "info", "warn", "warn", "warn", "info"]);
}

#[test]
fn threads_do_not_mix_their_lines() {
    let lines = Lines::default();
    let layer = lines.layer(&json());
    let dispatch = tracing::Dispatch::new(tracing_subscriber::registry().with(layer));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let dispatch = dispatch.clone();
            scope.spawn(move || {
                let _guard = tracing::dispatcher::set_default(&dispatch);
                for n in 0..100 {
                    info_span!("t", thread).in_scope(|| info!(n, text = "x".repeat(n), "go"));
                }
            });
        }
    });
    let lines = lines.json();
    assert_eq!(lines.len(), 400);
    for line in &lines {
        let n = line["context"]["n"].as_u64().unwrap();
        assert_eq!(line["context"]["text"].as_str().unwrap().len() as u64, n);
    }
}
