//! What is in flight, for whoever asks and for the log of a drain; and how soon the process ends
//! when nothing is.
use crate::http::{Connection, get};
use crate::process::{Orders, now};
use rustix::process::Signal;
use std::time::Duration;

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Asks with ids of its own, and returns once the service works on it.
fn ask(orders: &Orders, path: &str) -> Connection {
    let mut connection = Connection::open(orders.public).unwrap();
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nx-request-id: asked-1\r\n\
         traceparent: {TRACEPARENT}\r\n\r\n"
    );
    connection.send(head.as_bytes()).unwrap();
    orders.process.eventually("the request is in flight", || {
        (orders.page("/requestz")["total"] != 0).then_some(())
    });
    connection
}

#[test]
fn a_page_shows_what_is_in_flight() {
    let orders = Orders::start(&[("ORDERS_TELEMETRY_TRACES_TRUST_CALLER", "ids")]);
    assert_eq!(orders.page("/requestz")["requests"].as_array().map(Vec::len), Some(0));

    orders.slow_inventory("3s");
    let mut slow = ask(&orders, "/orders/1");
    let page = orders.page("/requestz");
    let request = &page["requests"][0];
    assert_eq!(request["method"], "GET", "{page}");
    assert_eq!(request["route"], "/orders/{id}");
    assert_eq!(request["stage"], "handler");
    assert_eq!(request["trace_id"], TRACE_ID);
    assert_eq!(request["request_id"], "asked-1");
    let old = orders.process.eventually("it gets older", || {
        let page = orders.page("/requestz?min_age=300ms&limit=1");
        (page["matching"] == 1).then_some(page)
    });
    assert_eq!((&old["total"], &old["shown"]), (&1.into(), &1.into()));
    assert_eq!(orders.page("/requestz?min_age=1h")["matching"], 0);
    assert_eq!(get(orders.admin, "/requestz?min_age=long").status, 400);
    assert_eq!(slow.answer().unwrap().status, 200);
    assert_eq!(orders.page("/requestz")["total"], 0);

    let mut events = ask(&orders, "/orders/1/events");
    events.head().unwrap();
    let page = orders.page("/requestz");
    let request = &page["requests"][0];
    assert_eq!(
        (&request["route"], &request["stage"]),
        (&"/orders/{id}/events".into(), &"stream".into())
    );
    drop(events);
    orders.process.eventually("the client has gone", || {
        (orders.page("/requestz")["total"] == 0).then_some(())
    });

    // Nothing of what a client writes is shown.
    let mut nowhere = Connection::open(orders.public).unwrap();
    nowhere.send(b"POST /no/such/page HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    assert_eq!(nowhere.answer().unwrap().status, 404);
    assert_eq!(orders.page("/requestz")["total"], 0);
}

#[test]
fn a_drain_that_takes_long_logs_what_it_waits_for() {
    let orders = Orders::start(&[("ORDERS_TELEMETRY_TRACES_TRUST_CALLER", "ids")]);
    orders.slow_inventory("6s");
    let mut slow = ask(&orders, "/orders/1");
    orders.process.signal(Signal::TERM);
    let waiting = orders.process.event_of("drain_waiting");
    let message = waiting["message"].as_str().unwrap();
    assert!(
        message.starts_with("the drain waits for 1 requests; the oldest: GET /orders/{id} for 5s")
            && message.ends_with(&format!("(trace {TRACE_ID})")),
        "{message}"
    );
    let context = &waiting["context"];
    assert_eq!((&context["total"], &context["listeners"]), (&1.into(), &1.into()));
    assert_eq!(context["requests"][0]["request_id"], "asked-1", "{waiting}");
    // The page answers to the end.
    assert_eq!(orders.page("/requestz")["requests"][0]["route"], "/orders/{id}");
    assert!(slow.answer().unwrap().closes());
    assert_eq!(orders.process.exit().code, Some(0));
}

/// How long after `last` a process has ended that was told to.
fn end_after(idle_grace: &str, last: impl FnOnce(&Orders)) -> Duration {
    let orders = Orders::start(&[("ORDERS_LIFECYCLE_IDLE_GRACE", idle_grace)]);
    last(&orders);
    let from = now();
    assert_eq!(orders.process.exit().code, Some(0));
    now() - from
}

/// Ends a process at most ten times, until it takes no longer than this: a busy machine makes it
/// longer sometimes, only waiting in vain does always.
fn within(limit: Duration, mut measure: impl FnMut() -> Duration) {
    let times: Vec<_> = (0..10).map(|_| measure()).take_while(|took| *took > limit).collect();
    assert!(times.len() < 10, "{times:?}");
}

const SOON: Duration = Duration::from_millis(50);

#[test]
fn ends_within_50_ms_of_the_signal_if_nothing_is_open() {
    within(SOON, || end_after("100ms", |orders| orders.process.signal(Signal::TERM)));
}

#[test]
fn ends_within_50_ms_of_the_last_answer() {
    within(SOON, || {
        end_after("0s", |orders| {
            orders.slow_inventory("300ms");
            let mut slow = ask(orders, "/orders/1");
            orders.process.signal(Signal::TERM);
            assert_eq!(slow.answer().unwrap().status, 200);
        })
    });
}

#[test]
fn ends_within_50_ms_of_the_idle_grace() {
    let grace = Duration::from_millis(100);
    within(grace + SOON, || {
        let mut idle = None;
        let took = end_after("100ms", |orders| {
            let mut connection = Connection::open(orders.public).unwrap();
            assert!(!connection.get("/orders/1").unwrap().closes());
            idle = Some(connection);
            orders.process.signal(Signal::TERM);
        });
        assert!(took >= grace, "it was not waited for: {took:?}");
        assert_eq!(idle.unwrap().rest().unwrap(), b"");
        took
    });
}
