//! Who may do what on the admin port.
use crate::http::{Answer, ask, get};
use crate::process::Orders;
use rustix::process::Signal;
use serde_json::Value;

const CHAOS: &str = "/policyz/inventory.chaos";
const BREAK: &str = r#"{"settings": {"error_rate": 1.0}, "ttl": "30s"}"#;
const JSON: (&str, &str) = ("content-type", "application/json");

fn put(orders: &Orders, headers: &[(&str, &str)]) -> Answer {
    ask(orders.admin, "PUT", CHAOS, headers, BREAK)
}

/// Refused with this status and a reason, and nothing has changed.
fn refused(answer: &Answer, status: u16, reason: &str) -> Value {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let problem = answer.json();
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(reason), "{detail}");
    problem
}

fn nothing_changed(orders: &Orders) {
    assert_eq!(orders.page("/statusz")["abnormal"], serde_json::json!([]));
    assert_eq!(orders.metric("octostack_override_active", &[]), None);
    assert_eq!(get(orders.public, "/orders/1").json()["degraded"], false);
}

#[test]
fn a_foreign_name_is_refused_on_loopback() {
    let orders = Orders::start(&[]);
    for host in ["evil.example", "localhost.evil.example", "10.0.0.1", "127.0.0.1@evil.example"] {
        for path in ["/statusz", "/metrics", "/configz", "/policyz", "/nowhere"] {
            let answer = ask(orders.admin, "GET", path, &[("host", host)], "");
            refused(&answer, 403, "this port is on loopback");
        }
        let answer = put(&orders, &[("host", host), JSON]);
        refused(&answer, 403, "this port is on loopback");
        // Probes say nothing that is worth a check.
        let probe = ask(orders.admin, "GET", "/readyz", &[("host", host)], "");
        assert_eq!(probe.status, 200);
    }
    for host in ["localhost", "LOCALHOST:8081", "127.0.0.1", "[::1]:9"] {
        let answer = ask(orders.admin, "GET", "/statusz", &[("host", host)], "");
        assert_eq!(answer.status, 200, "{host}");
    }
    nothing_changed(&orders);
}

#[test]
fn web_pages_may_change_nothing() {
    let orders = Orders::start(&[]);
    for header in [
        ("origin", "https://evil.example"),
        ("origin", "http://localhost:3000"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        refused(&put(&orders, &[header, JSON]), 403, "web pages of another origin");
        let end = ask(orders.admin, "DELETE", CHAOS, &[header], "");
        refused(&end, 403, "web pages of another origin");
    }
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp"] {
        let answer = put(&orders, &[("content-type", content_type)]);
        refused(&answer, 415, "content-type: application/json");
    }
    refused(&put(&orders, &[]), 415, "content-type: application/json");
    nothing_changed(&orders);
    let own = [("host", "localhost:1"), ("origin", "http://localhost:1"), JSON];
    assert_eq!(put(&orders, &own).status, 200);
}

#[test]
fn wrong_changes_are_refused_with_all_their_problems() {
    let orders = Orders::start(&[]);
    let body = r#"{
        "mode": "off", "ttl": "2d", "until": "noon",
        "settings": {"error_rate": 2, "latency": "soon", "jitter": 1}
    }"#;
    let problem = refused(&orders.change("inventory.chaos", body), 400, "nothing was changed");
    let problems = problem["problems"].to_string();
    for what in ["mode", "ttl", "until", "error_rate", "latency", "jitter"] {
        assert!(problems.contains(what), "{what}: {problem:#}");
    }
    assert_eq!(problem["problems"].as_array().unwrap().len(), 6, "{problem:#}");

    for body in ["", "{", "[]", "{}", "null"] {
        let answer = orders.change("inventory.chaos", body);
        refused(&answer, 400, "nothing was changed");
    }
    let unknown = orders.change("inventory.choas", BREAK);
    refused(&unknown, 404, "inventory.chaos"); // what there is
    let unknown = ask(orders.admin, "DELETE", "/policyz/nothing", &[], "");
    refused(&unknown, 404, "nothing");

    let long = format!(r#"{{"settings": {{}}, "comment": "{}"}}"#, "x".repeat(64 * 1024));
    refused(&orders.change("inventory.chaos", &long), 413, "64 KiB");
    for (method, path) in
        [("POST", CHAOS), ("PUT", "/statusz"), ("DELETE", "/metrics"), ("PUT", "/readyz")]
    {
        let answer = ask(orders.admin, method, path, &[JSON], BREAK);
        assert_eq!(answer.status, 405, "{method} {path}");
        assert!(answer.header("allow").is_some_and(|allow| allow.contains("GET")), "{answer:?}");
    }
    nothing_changed(&orders);
}

#[test]
fn chaos_needs_to_be_enabled() {
    let orders = Orders::start(&[("ORDERS_CHAOS_ENABLED", "false")]);
    let answer = put(&orders, &[JSON]);
    let problem = refused(&answer, 400, "nothing was changed");
    assert!(problem["problems"].to_string().contains("chaos"), "{problem:#}");
    assert!(problem.to_string().contains("enabled"), "says what to do: {problem:#}");
    nothing_changed(&orders);
}

#[test]
fn without_a_token_production_accepts_no_change() {
    let orders = Orders::start(&[("APP_ENV", "production"), ("ORDERS_CHAOS_ENABLED", "true")]);
    refused(&put(&orders, &[JSON]), 403, "set ADMIN_TOKEN");
    nothing_changed(&orders);
}

#[test]
fn another_bind_needs_a_token_for_everything_but_probes_and_metrics() {
    let orders = Orders::start(&[("ADMIN_ADDR", "0.0.0.0:0")]);
    let anywhere = ("host", "orders.internal:8081");
    for path in ["/livez", "/readyz", "/startupz", "/metrics"] {
        let answer = ask(orders.admin, "GET", path, &[anywhere], "");
        assert_eq!(answer.status, 200, "{path}");
    }
    for path in ["/", "/statusz", "/configz", "/policyz", CHAOS, "/nowhere"] {
        refused(&ask(orders.admin, "GET", path, &[anywhere], ""), 403, "set ADMIN_TOKEN");
    }
    // Development or not: whoever reaches the address could be anybody.
    refused(&put(&orders, &[JSON]), 403, "set ADMIN_TOKEN");
    assert_eq!(get(orders.public, "/orders/1").json()["degraded"], false);
}

#[test]
fn tokens_open_what_they_are_for() {
    let environment = [
        ("ADMIN_ADDR", "0.0.0.0:0"),
        ("APP_ENV", "production"),
        ("ORDERS_CHAOS_ENABLED", "true"),
        ("ADMIN_TOKEN", "the-write-token"),
        ("ADMIN_READ_TOKEN", "the-read-token"),
    ];
    let orders = Orders::start(&environment);
    let (read, write) =
        (("authorization", "Bearer the-read-token"), ("authorization", "bearer the-write-token"));
    let status = |headers: &[(&str, &str)]| {
        let answer = ask(orders.admin, "GET", "/statusz", headers, "");
        assert!(!answer.text().contains("-token"));
        answer.status
    };
    assert_eq!(status(&[read]), 200);
    assert_eq!(status(&[write]), 200);
    assert_eq!(status(&[]), 401);
    for wrong in ["Bearer the-read-toke", "Bearer ", "Basic the-read-token", "Bearer x y"] {
        assert_eq!(status(&[("authorization", wrong)]), 401, "{wrong}");
    }
    assert_eq!(status(&[read, write]), 401, "two answers are none");

    refused(&put(&orders, &[JSON]), 401, "write token");
    refused(&put(&orders, &[JSON, read]), 403, "read token may not change");
    refused(&put(&orders, &[JSON, write, ("origin", "https://evil.example")]), 403, "origin");
    assert_eq!(put(&orders, &[JSON, write]).status, 200);

    let exit = orders.stop(Signal::INT);
    assert!(!exit.text.contains("the-write-token") && !exit.text.contains("the-read-token"));
}
