//! Which trace a request belongs to, across the service and its inventory, and where spans go.
use crate::collector::{Collector, hex};
use crate::http::{self, Connection};
use crate::process::{Exit, Orders, Process, now};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TALKATIVE: (&str, &str) = ("RUST_LOG", "info,orders=debug");

fn show(orders: &Orders, headers: &[(&str, &str)]) {
    let answer = http::ask(orders.public, "GET", "/orders/1", headers, "");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["stock"], 7, "the inventory was asked");
}

/// The lines with this message.
fn lines<'a>(exit: &'a Exit, message: &'a str) -> impl Iterator<Item = &'a Value> {
    exit.lines.iter().filter(move |line| line["message"] == message)
}

fn id<'a>(line: &'a Value, key: &str) -> &'a str {
    line[key].as_str().unwrap_or_else(|| panic!("no {key}: {line}"))
}

/// The access event of one request and what the inventory said meanwhile.
fn served(environment: &[(&str, &str)], headers: &[(&str, &str)]) -> (Value, Value) {
    let orders = Orders::start(&[&[TALKATIVE], environment].concat());
    show(&orders, headers);
    let exit = orders.stop(Signal::TERM);
    assert_eq!(exit.code, Some(0));
    let mut requests = lines(&exit, "request");
    let request = requests.next().expect("an access event").clone();
    assert!(requests.next().is_none(), "the inventory has no access event of its own");
    let inventory = lines(&exit, "looking at the shelf").next().expect("a line").clone();
    (request, inventory)
}

#[test]
fn one_trace_joins_an_order_and_the_inventory() {
    let (request, inventory) = served(&[], &[]);
    assert_eq!(id(&request, "trace_id"), id(&inventory, "trace_id"));
    assert_ne!(id(&request, "span_id"), id(&inventory, "span_id"));
    assert_eq!(request["context"]["route"], "/orders/{id}");
    assert_eq!(inventory["context"]["route"], "inventory");
}

#[test]
fn a_stranger_cannot_choose_the_trace() {
    let (request, inventory) = served(&[], &[("traceparent", CALLER)]);
    assert_ne!(id(&request, "trace_id"), TRACE);
    assert_eq!(id(&request, "trace_id"), id(&inventory, "trace_id"));
    assert_eq!(request["context"]["caller_trace_id"], TRACE);
}

#[test]
fn a_trusted_caller_chooses_the_trace() {
    for trust in ["ids", "all"] {
        let trust = ("ORDERS_TELEMETRY_TRACES_TRUST_CALLER", trust);
        let (request, inventory) = served(&[trust], &[("traceparent", CALLER)]);
        assert_eq!(id(&request, "trace_id"), TRACE);
        assert_eq!(id(&inventory, "trace_id"), TRACE);
    }
}

#[test]
fn spans_of_the_last_requests_are_not_lost() {
    let collector = Collector::start();
    // So long that only the end can have sent them.
    let delay = ("ORDERS_TELEMETRY_TRACES_DELAY", "10m");
    let endpoint = collector.endpoint();
    let orders = Orders::start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), delay, TALKATIVE]);
    let start = orders.process.wait_for("the start-up line", |lines| {
        lines.iter().find(|line| line["message"] == "traces are exported").cloned()
    });
    assert_eq!(start["context"]["endpoint"], endpoint);
    assert_eq!(start["context"]["sampler"], "parentbased_always_on");
    assert_eq!(start["context"]["trust_caller"], "never");
    for _ in 0..20 {
        show(&orders, &[("traceparent", CALLER)]);
    }
    let exit = orders.stop(Signal::TERM);
    assert_eq!(exit.code, Some(0), "{:?}", exit.lines);

    let spans = collector.spans();
    let named = |name: &str| spans.iter().filter(|span| span.name == name).collect::<Vec<_>>();
    let requests = named("GET /orders/{id}");
    let calls = named("shop.inventory.v1.Inventory/Stock");
    let answers = named("POST inventory");
    assert_eq!((requests.len(), calls.len(), answers.len()), (20, 20, 20));
    assert_eq!(spans.len(), 60, "and nothing else: {:?}", spans.last());
    for request in &requests {
        let call = calls.iter().find(|call| call.parent_span_id == request.span_id);
        let call = call.expect("a call inside of each request");
        let answer = answers.iter().find(|answer| answer.parent_span_id == call.span_id);
        assert_eq!(answer.expect("an answer to each call").trace_id, request.trace_id);
        assert_eq!(call.trace_id, request.trace_id);
        assert_eq!(hex(&request.links[0].trace_id), TRACE);
    }
    // The log speaks of the same spans.
    let ids = |message| -> BTreeSet<(String, String)> {
        let pair = |line: &Value| (id(line, "trace_id").into(), id(line, "span_id").into());
        lines(&exit, message).map(pair).collect()
    };
    let sent = |spans: &[&opentelemetry_proto::tonic::trace::v1::Span]| -> BTreeSet<_> {
        spans.iter().map(|span| (hex(&span.trace_id), hex(&span.span_id))).collect()
    };
    assert_eq!(ids("request"), sent(&requests));
    assert_eq!(ids("looking at the shelf"), sent(&answers));
}

#[test]
fn a_service_that_ends_under_load_sends_the_spans_of_all_it_has_served() {
    let collector = Collector::start();
    let endpoint = collector.endpoint();
    let room = ("OTEL_BSP_MAX_QUEUE_SIZE", "100000");
    // Somebody else's machine may be slow.
    let patience = ("ORDERS_LIFECYCLE_FLUSH_TIMEOUT", "20s");
    let orders = Orders::start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), room, patience]);
    let (public, answered) = (orders.public, AtomicUsize::new(0));
    let exit = thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let Ok(mut connection) = Connection::open(public) else { return };
                while connection.get("/orders/1").is_ok_and(|answer| !answer.closes()) {
                    answered.fetch_add(1, SeqCst);
                }
            });
        }
        orders.process.eventually("a load", || (answered.load(SeqCst) > 500).then_some(()));
        orders.stop(Signal::TERM)
    });
    assert_eq!(exit.code, Some(0));
    let spans = collector.spans();
    let sent: BTreeSet<_> =
        spans.iter().filter(|s| s.name == "GET /orders/{id}").map(|s| hex(&s.span_id)).collect();
    let logged: BTreeSet<_> =
        lines(&exit, "request").map(|line| id(line, "span_id").to_owned()).collect();
    assert!(logged.len() > 500, "{}", logged.len());
    assert_eq!(sent, logged);
}

#[test]
fn a_stranger_has_nothing_recorded() {
    let collector = Collector::start();
    let endpoint = collector.endpoint();
    let orders = Orders::start(&[
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &endpoint),
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.0"),
    ]);
    for _ in 0..5 {
        show(&orders, &[("traceparent", CALLER)]);
    }
    let exit = orders.stop(Signal::TERM);
    assert_eq!(exit.code, Some(0));
    let start = lines(&exit, "traces are exported").next().expect("the start-up line");
    assert_eq!(start["context"]["sampler"], "parentbased_traceidratio(0)");
    assert_eq!(collector.spans(), []);
}

#[test]
fn a_collector_that_never_answers_does_not_hold_the_end_up() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let endpoint = format!("http://{}", silent.local_addr().expect("it is bound"));
    let orders = Orders::start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]);
    show(&orders, &[]);
    let start = now();
    let exit = orders.stop(Signal::TERM);
    let took = now() - start;
    assert_eq!(exit.code, Some(0), "{:?}", exit.lines);
    // A second for the flush; what is above is a machine with other work.
    assert!(took < Duration::from_secs(5), "{took:?}");
    let late = lines(&exit, "the last spans could not be sent in time").next();
    let late = late.expect("it says so");
    assert_eq!(late["context"]["lost"], 3);
    assert_eq!(late["context"]["endpoint"], endpoint);
}

#[test]
fn a_collector_that_is_away_costs_its_spans_and_nothing_else() {
    let place = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let endpoint = format!("http://{}", place.local_addr().expect("it is bound"));
    drop(place);
    let delay = ("ORDERS_TELEMETRY_TRACES_DELAY", "10ms");
    let orders = Orders::start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), delay]);
    show(&orders, &[]);
    let failed = orders.process.wait_for("the warning", |lines| {
        lines.iter().find(|line| line["context"]["kind"] == "traces_export_failed").cloned()
    });
    assert_eq!(failed["level"], "warn");
    assert_eq!(failed["context"]["endpoint"], endpoint);
    orders.process.eventually("a count of what is lost", || {
        let name = "octostack_telemetry_dropped_total";
        orders.metric(name, &[("signal", "traces")]).filter(|lost| *lost >= 3.0)
    });
    let abnormal = orders.page("/statusz")["abnormal"].to_string();
    assert!(abnormal.contains("the collector takes no spans"), "{abnormal}");
    show(&orders, &[]);
    assert_eq!(orders.stop(Signal::TERM).code, Some(0));
}

/// As when a node vanishes: the connection is there, and nothing comes through it.
#[test]
fn a_connection_that_hangs_is_given_up_for_another() {
    let collector = Collector::start();
    let place = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let endpoint = format!("http://{}", place.local_addr().expect("it is bound"));
    let beyond = collector.endpoint().replace("http://", "");
    std::thread::spawn(move || {
        let hung = place.accept();
        for inside in place.incoming().map_while(Result::ok) {
            let outside = TcpStream::connect(&beyond).expect("the collector listens");
            for (mut from, mut to) in [
                (inside.try_clone().expect("a handle"), outside.try_clone().expect("a handle")),
                (outside, inside),
            ] {
                std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            }
        }
        drop(hung);
    });
    let orders = Orders::start(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "200"),
        ("ORDERS_TELEMETRY_TRACES_DELAY", "10ms"),
    ]);
    orders.process.eventually("spans by another connection", || {
        show(&orders, &[]);
        (!collector.spans().is_empty()).then_some(())
    });
    let is_it = |l: &&Value| l["context"]["kind"] == "traces_export";
    let again = orders.process.wait_for("the way back", |lines| lines.iter().find(is_it).cloned());
    assert_eq!(again["message"], "the collector takes spans again");
}

#[test]
fn what_cannot_work_is_said_before_it_runs() {
    for (variables, problem) in [
        (
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317")][..],
            "telemetry.otlp.endpoint: is no address such as `http://collector:4317`",
        ),
        (
            &[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://collector:4317")],
            "telemetry.traces.endpoint: is https, which is not supported",
        ),
        (
            &[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")],
            "telemetry.otlp.protocol: expected one of `grpc`",
        ),
        (&[("OTEL_TRACES_EXPORTER", "zipkin")], "telemetry.traces.exporter: expected"),
        (&[("OTEL_TRACES_SAMPLER", "sometimes")], "telemetry.traces.sampler: expected"),
        (&[("OTEL_TRACES_SAMPLER_ARG", "0.1")], "parentbased_always_on has no ratio"),
    ] {
        let exit = Process::spawn(&["check"], variables).end();
        assert_eq!(exit.code, Some(78), "{variables:?}: {}", exit.errors);
        assert!(exit.errors.contains(problem), "{variables:?}: {}", exit.errors);
        let exit = Process::spawn(&[], variables).end();
        assert_eq!((exit.code, exit.text.as_str()), (Some(78), ""), "{variables:?}");
    }
}

#[test]
fn traces_can_be_switched_off() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317");
    for (variables, reason) in [
        (&[][..], "no endpoint is set"),
        (&[endpoint, ("OTEL_SDK_DISABLED", "true")], "is disabled"),
        (&[endpoint, ("OTEL_TRACES_EXPORTER", "none")], "the exporter is none"),
        (
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://elsewhere"), ("OTEL_SDK_DISABLED", "true")],
            "is disabled",
        ),
    ] {
        let orders = Orders::start(variables);
        show(&orders, &[]);
        let exit = orders.stop(Signal::TERM);
        assert_eq!(exit.code, Some(0));
        let line = lines(&exit, "traces are not exported").next().expect("it says so");
        assert!(line["context"]["reason"].as_str().is_some_and(|r| r.contains(reason)), "{line}");
        let request = lines(&exit, "request").next().expect("an access event");
        assert_eq!(id(request, "trace_id").len(), 32, "logs have ids all the same");
    }
}
