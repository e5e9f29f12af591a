//! Clients that send nonsense, by accident or on purpose: they get an answer, leave no trace in
//! the metrics, and forge nothing in the log.
use crate::http::{Connection, ask, get};
use crate::process::Orders;
use rustix::process::Signal;
use std::collections::BTreeSet;

const JSON: (&str, &str) = ("content-type", "application/json");

fn still_serves(orders: &Orders) {
    assert_eq!(get(orders.public, "/orders/1").status, 200);
}

/// The names with labels of all series.
fn series(orders: &Orders) -> BTreeSet<String> {
    let page = get(orders.admin, "/metrics").text();
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect()
}

#[test]
fn what_is_too_large_is_refused() {
    let orders = Orders::start(&[("ORDERS_SERVER_MAX_BODY_BYTES", "1000")]);
    let long = "x".repeat(20_000);
    let answer = ask(orders.public, "GET", "/orders/1", &[("x-long", &long)], "");
    assert_eq!(answer.status, 431);
    let path = format!("/orders/1?{long}");
    assert!(matches!(ask(orders.public, "GET", &path, &[], "").status, 414 | 431));
    let names: Vec<_> = (0..150).map(|i| format!("x-{i}")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
    assert_eq!(ask(orders.public, "GET", "/orders/1", &many, "").status, 431);

    let body = format!(r#"{{"article": "{}", "quantity": 1}}"#, "x".repeat(2_000));
    let answer = ask(orders.public, "POST", "/orders", &[JSON], &body);
    assert_eq!(answer.status, 413);
    assert!(answer.header("x-request-id").is_some(), "{answer:?}");
    // Without a length beforehand.
    let mut connection = Connection::open(orders.public).unwrap();
    let head = "POST /orders HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                transfer-encoding: chunked\r\n\r\n";
    let chunk = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    connection.send(format!("{head}{chunk}").as_bytes()).unwrap();
    assert_eq!(connection.answer().unwrap().status, 413);
    still_serves(&orders);
}

#[test]
fn junk_is_turned_away() {
    let orders = Orders::start(&[]);
    let tls_hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice();
    for junk in [
        tls_hello,
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
        b"\xff\xfe\xfd\r\n\r\n",
        b"hello\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x1b[31mGET / HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\njunkjunkjunkjunk",
    ] {
        let mut connection = Connection::open(orders.public).unwrap();
        connection.send(junk).unwrap();
        // An answer of 400, a GOAWAY or nothing; but the connection ends.
        let said = connection.rest().unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        assert!(!said.starts_with("HTTP/1.1 2") && !said.starts_with("HTTP/1.1 5"), "{said}");
        still_serves(&orders);
    }
    let bad = [
        ("POST", "/orders", "{", &[400, 422][..]),
        ("POST", "/orders", r#"{"article": 7}"#, &[400, 422]),
        ("POST", "/orders", r#"{"article": "a", "quantity": -1}"#, &[400, 422]),
        ("GET", "/orders/one", "", &[400]),
        ("GET", "/orders/99999999999999999999", "", &[400]),
        ("GET", "/orders/%ff", "", &[400]),
        ("DELETE", "/orders/1", "", &[405]),
    ];
    for (method, path, body, allowed) in bad {
        let answer = ask(orders.public, method, path, &[JSON], body);
        assert!(allowed.contains(&answer.status), "{method} {path}: {answer:?}");
    }
    assert_eq!(orders.stop(Signal::TERM).code, Some(0));
}

#[test]
fn clients_make_no_series() {
    let orders = Orders::start(&[]);
    let methods = ["GET", "FROBNICATE", "_OTHER", "get", "PROPFIND", "M-SEARCH"];
    // Once each way, so that the series which are there for everybody are there.
    for method in methods {
        ask(orders.public, method, "/warm/up", &[], "");
        ask(orders.public, method, "/orders/1", &[], "");
    }
    let before = series(&orders);
    for i in 0..200 {
        let method = match i % 4 {
            0 => format!("X{i}"),
            1 => "FROBNICATE".repeat(1 + i % 3),
            _ => methods[i % methods.len()].to_owned(),
        };
        let path = match i % 5 {
            0 => format!("/orders/{i}"),
            1 => format!("/{i}/orders"),
            2 => format!("/orders/1/{i}?q={i}"),
            3 => format!("//%2e%2e/{i}\"}}"),
            _ => format!("/wp-admin/{i}.php"),
        };
        let host = format!("host-{i}.example");
        let agent = format!("agent-{i}");
        let headers = [("host", host.as_str()), ("user-agent", &agent), ("x-request-id", &host)];
        let answer = ask(orders.public, &method, &path, &headers, "");
        assert!(answer.status < 500, "{method} {path}: {answer:?}");
    }
    let after = series(&orders);
    // An order that there is not has a status of its own on a route that there is.
    let is_new = |line: &&String| {
        !line.contains(r#"http_response_status_code="404""#)
            || !line.contains(r#"http_route="/orders/{id}""#)
    };
    let new: Vec<_> = after.difference(&before).filter(is_new).collect();
    assert!(new.is_empty(), "{new:#?}");
    let page = after.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(page.contains(r#"http_request_method="_OTHER""#), "{page}");
    for forged in ["FROBNICATE", "X0", "host-", "agent-", "wp-admin"] {
        assert!(!page.contains(forged), "{forged} in\n{page}");
    }
}

#[test]
fn nobody_forges_log_lines() {
    let orders = Orders::start(&[]);
    let forged = r#"{"level":"fatal","message":"forged","service":"orders"}"#;
    let path = format!("/orders/1%0d%0a{}", forged.replace('"', "%22"));
    ask(orders.public, "GET", &path, &[], "");
    for value in [forged, "a\tb", "\u{9b}31m", "\u{2028}x", "\\u000a"] {
        for header in ["x-request-id", "user-agent", "traceparent", "x-actor", "referer"] {
            ask(orders.public, "GET", "/orders/1", &[(header, value)], "");
        }
        let body = r#"{"settings": {"latency": "0ms"}, "ttl": "1s"}"#;
        let headers = [JSON, ("x-actor", value)];
        let answer = ask(orders.admin, "PUT", "/policyz/inventory.chaos", &headers, body);
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    // What no client library would send.
    for bytes in [
        b"GET /orders/1 HTTP/1.1\r\nhost: a\r\nuser-agent: \x1b[2J\x07\r\n\r\n".as_slice(),
        b"GET /\x1b[31m HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET /orders/1\n{\"level\":\"fatal\"} HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET /orders/1 HTTP/1.1\r\nhost: a\r\nx-request-id: a\n{\"message\":\"forged\"}\r\n\r\n",
    ] {
        let mut connection = Connection::open(orders.public).unwrap();
        connection.send(bytes).unwrap();
        connection.answer().expect("refused or answered");
    }
    still_serves(&orders);
    // Each line is one object, as the end of every test here checks; and none is forged.
    let exit = orders.stop(Signal::TERM);
    assert!(!exit.text.contains('\u{1b}') && !exit.text.contains('\u{9b}'), "{}", exit.text);
    for line in exit.lines {
        assert_eq!(line["service"], "orders");
        assert_ne!(line["level"], "fatal");
        assert_ne!(line["message"], "forged");
    }
}
