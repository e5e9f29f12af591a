//! The end of one service: what is in flight is answered, what is silent holds nothing up, and the
//! exit code says how it went.
use crate::http::{Connection, get};
use crate::process::{Orders, now};
use rustix::process::Signal;
use std::net::TcpStream;
use std::time::Duration;

/// Asks for an order on a connection of its own, and returns once the service works on it.
fn ask_slowly(orders: &Orders) -> Connection {
    let mut connection = Connection::open(orders.public).unwrap();
    connection.send(b"GET /orders/1 HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    orders.wait_in_flight(1.0);
    connection
}

fn wait_for_draining(orders: &Orders) {
    orders.process.wait_for("draining", |lines| {
        lines.iter().any(|line| line["context"]["to"] == "draining").then_some(())
    });
}

#[test]
fn what_is_in_flight_is_answered_and_the_admin_port_stays() {
    let orders = Orders::start(&[]);
    orders.slow_inventory("700ms");
    let mut slow = ask_slowly(&orders);
    orders.process.signal(Signal::TERM);
    wait_for_draining(&orders);

    let ready = get(orders.admin, "/readyz");
    assert_eq!(ready.status, 503, "{ready:?}");
    assert_eq!(get(orders.admin, "/livez").status, 200);
    assert_eq!(orders.page("/statusz")["phase"], "draining");
    assert_eq!(orders.metric("octostack_lifecycle_phase", &[("phase", "draining")]), Some(1.0));
    orders.process.eventually("the listener is closed", || {
        TcpStream::connect(orders.public).is_err().then_some(())
    });

    let answer = slow.answer().unwrap();
    assert_eq!((answer.status, &answer.json()["stock"]), (200, &7.into()));
    assert!(answer.closes(), "{answer:?}");
    assert_eq!(slow.rest().unwrap(), b"");
    assert_eq!(orders.process.exit().code, Some(0));
}

#[test]
fn goes_on_serving_in_the_lame_duck_time() {
    let orders = Orders::start(&[("ORDERS_LIFECYCLE_LAME_DUCK", "500ms")]);
    let mut kept = Connection::open(orders.public).unwrap();
    assert!(!kept.get("/orders/1").unwrap().closes());
    let from = now();
    orders.process.signal(Signal::TERM);
    wait_for_draining(&orders);
    // Balancers notice, clients do not.
    assert_eq!(get(orders.public, "/readyz").status, 503);
    assert_eq!(get(orders.public, "/livez").status, 200);
    let answer = kept.get("/orders/1").unwrap();
    assert!(answer.status == 200 && answer.closes(), "{answer:?}");
    let mut new = Connection::open(orders.public).unwrap();
    let answer = new.get("/orders/2").unwrap();
    assert!(answer.status == 200 && answer.closes(), "{answer:?}");

    assert_eq!(orders.process.exit().code, Some(0));
    let took = now() - from;
    assert!(took >= Duration::from_millis(500), "ended after {took:?}");
}

#[test]
fn an_interrupt_skips_the_lame_duck_time() {
    let orders = Orders::start(&[("ORDERS_LIFECYCLE_LAME_DUCK", "1m")]);
    let from = now();
    let exit = orders.stop(Signal::INT);
    let took = now() - from;
    assert_eq!((exit.code, exit.errors.as_str()), (Some(0), ""));
    assert!(took < Duration::from_secs(2), "ended after {took:?}");
    let last = exit.lines.last().unwrap();
    assert_eq!(last["context"]["to"], "stopped", "{last}");
}

#[test]
fn streams_are_told_to_end() {
    let orders = Orders::start(&[]);
    let mut stream = Connection::open(orders.public).unwrap();
    stream.send(b"GET /orders/1/events HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let head = stream.head().unwrap();
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    let event = String::from_utf8(stream.chunk().unwrap().unwrap()).unwrap();
    assert!(event.starts_with("data: {") && event.ends_with("\n\n"), "{event:?}");

    let from = now();
    orders.process.signal(Signal::TERM);
    while stream.chunk().expect("the stream ends as HTTP says").is_some() {}
    assert_eq!(orders.process.exit().code, Some(0));
    let took = now() - from;
    assert!(took < Duration::from_secs(5), "ended after {took:?}");
}

#[test]
fn silent_clients_hold_nothing_up() {
    let orders = Orders::start(&[]);
    let silent: Vec<_> = (0..5).map(|_| TcpStream::connect(orders.public).unwrap()).collect();
    let mut halfway = Connection::open(orders.public).unwrap();
    halfway.send(b"GET /orders/1 HTT").unwrap();
    let mut idle = Connection::open(orders.public).unwrap();
    assert_eq!(idle.get("/orders/1").unwrap().status, 200); // so all before it are accepted

    let from = now();
    let exit = orders.stop(Signal::TERM);
    let took = now() - from;
    assert_eq!(exit.code, Some(0), "{:#?}", exit.lines);
    assert!(took < Duration::from_secs(3), "ended after {took:?}");
    drop(silent);
}

#[test]
fn an_idle_connection_is_served_until_its_grace_is_over() {
    let orders = Orders::start(&[("ORDERS_LIFECYCLE_IDLE_GRACE", "5s")]);
    let mut idle = Connection::open(orders.public).unwrap();
    let mut fresh = Connection::open(orders.public).unwrap();
    assert_eq!(idle.get("/orders/1").unwrap().status, 200);
    let mut other = Connection::open(orders.public).unwrap();
    assert_eq!(other.get("/orders/1").unwrap().status, 200); // so `fresh` is accepted
    orders.process.signal(Signal::TERM);
    wait_for_draining(&orders);
    for connection in [&mut idle, &mut fresh, &mut other] {
        let answer = connection.get("/orders/1").unwrap();
        assert!(answer.status == 200 && answer.closes(), "{answer:?}");
    }
    let from = now();
    assert_eq!(orders.process.exit().code, Some(0));
    assert!(now() - from < Duration::from_secs(3), "nobody is left to be waited for");
}

#[test]
fn a_drain_that_is_cut_shows_in_the_exit_code() {
    let limits = [("ORDERS_LIFECYCLE_DRAIN_TIMEOUT", "300ms")];
    let orders = Orders::start(&limits);
    orders.slow_inventory("1m");
    let mut slow = ask_slowly(&orders);
    orders.process.signal(Signal::TERM);
    slow.answer().expect_err("there is no answer");
    let exit = orders.process.exit();
    assert_eq!(exit.code, Some(3), "{:#?}", exit.lines);
    let last = exit.lines.last().unwrap();
    let message = last["message"].as_str().unwrap();
    let cut = "cut 1 requests on 1 connections (1 of GET /orders/{id})";
    assert!(message.contains(cut), "{message}");
    let told = exit.lines.iter().find(|line| line["context"]["kind"] == "requests_cut").unwrap();
    assert_eq!(told["level"], "warn");
    assert_eq!(told["context"]["routes"], serde_json::json!({"GET /orders/{id}": 1}));
}

#[test]
fn a_second_signal_ends_at_once() {
    for (first, second, code) in [
        (Signal::TERM, Signal::TERM, 128 + 15),
        (Signal::TERM, Signal::INT, 128 + 2),
        (Signal::INT, Signal::TERM, 128 + 15),
    ] {
        let orders = Orders::start(&[]);
        orders.slow_inventory("1m");
        let slow = ask_slowly(&orders);
        orders.process.signal(first);
        wait_for_draining(&orders);
        let from = now();
        let exit = orders.stop(second);
        let took = now() - from;
        assert_eq!(exit.code, Some(code), "{first:?} {second:?}");
        assert!(took < Duration::from_secs(2), "ended after {took:?}");
        drop(slow);
    }
}

#[test]
fn a_signal_while_starting_is_not_lost() {
    let process = crate::process::Process::spawn(&[], &[]);
    process.event("listening", "admin");
    process.signal(Signal::TERM);
    assert_eq!(process.exit().code, Some(0));
}
