//! The inventory breaks, on purpose: customers still get their orders, operators see all of it,
//! and it ends by itself.
use crate::http::{Answer, Connection, ask, get};
use crate::process::Orders;
use octostack::core::{Clock, SystemClock};
use rustix::process::Signal;
use serde_json::Value;
use std::time::Duration;

/// A breaker that decides and recovers soon, and retries that do not wait.
const QUICK: [(&str, &str); 6] = [
    ("ORDERS_INVENTORY_BREAKER_WINDOW", "20"),
    ("ORDERS_INVENTORY_BREAKER_MINIMUM_CALLS", "10"),
    ("ORDERS_INVENTORY_BREAKER_OPEN_FOR", "200ms"),
    ("ORDERS_INVENTORY_BREAKER_MAX_OPEN_FOR", "300ms"),
    ("ORDERS_INVENTORY_BREAKER_HALF_OPEN_CALLS", "2"),
    ("ORDERS_INVENTORY_RETRY_BASE_DELAY", "1ms"),
];

/// Whether the metrics say that the breaker is in this state.
fn is_in(orders: &Orders, state: &str) -> bool {
    let labels = [("policy", "inventory.breaker"), ("state", state)];
    orders.metric("octostack_circuit_breaker_state", &labels) == Some(1.0)
}

/// What the metrics say of overrides; nothing, if there are none.
fn overrides(orders: &Orders) -> Option<f64> {
    orders.metric("octostack_override_active", &[("name", "inventory.chaos")])
}

fn transitions(orders: &Orders, from: &str, to: &str) -> f64 {
    let labels = [("policy", "inventory.breaker"), ("from", from), ("to", to)];
    let count = orders.metric("octostack_circuit_breaker_transitions_total", &labels);
    count.expect("the series is there from the start")
}

fn break_it(orders: &Orders, ttl: &str) -> Answer {
    let settings = r#"{"error_rate": 1.0, "latency": "0ms"}"#;
    let body = format!(r#"{{"settings": {settings}, "ttl": "{ttl}"}}"#);
    let answer = orders.change("inventory.chaos", &body);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

/// Asks for an order, which must be answered, and says whether it was degraded.
fn is_degraded(orders: &Orders) -> bool {
    let answer = get(orders.public, "/orders/1");
    assert_eq!(answer.status, 200, "{answer:?}");
    let order = answer.json();
    let degraded = order["degraded"].as_bool().expect("a bool");
    let stock = if degraded { Value::Null } else { 7.into() };
    assert_eq!(order["stock"], stock, "{order}");
    degraded
}

fn drive_until(orders: &Orders, state: &str) {
    orders.process.eventually(&format!("the breaker is {state}"), || {
        is_degraded(orders);
        (orders.policy("inventory.breaker")["state"] == state).then_some(())
    });
}

#[test]
fn orders_are_answered_while_the_inventory_is_broken_and_recover_after() {
    let orders = Orders::start(&QUICK);
    assert!(!is_degraded(&orders));
    break_it(&orders, "30s");
    drive_until(&orders, "open");
    assert!(is_degraded(&orders));

    // Again open by now if a probing call was let through in between.
    orders.process.eventually("the page, the metric and the health agree", || {
        is_degraded(&orders);
        let page = orders.page("/statusz");
        let all = page["abnormal"].as_array().expect("a list").clone();
        let named = |name: &str| all.iter().any(|entry| entry["name"] == name);
        let health = get(orders.admin, "/readyz?verbose").text();
        (named("inventory.breaker")
            && named("inventory.chaos")
            && page["phase"] == "degraded"
            && is_in(&orders, "open")
            && !is_in(&orders, "closed")
            && !health.is_empty())
        .then_some(())
    });
    // Degraded is still ready: another instance would not do better.
    for port in [orders.public, orders.admin] {
        assert_eq!(get(port, "/readyz").status, 200);
    }
    assert!(transitions(&orders, "closed", "open") >= 1.0);
    let transition = orders.policy("inventory.breaker")["last_transition"].clone();
    assert!(transition.is_object(), "{transition}");

    let ended = ask(orders.admin, "DELETE", "/policyz/inventory.chaos", &[], "");
    assert_eq!(ended.status, 200, "{ended:?}");
    assert_eq!(ended.json()["ended"], true);
    drive_until(&orders, "closed");
    assert!(!is_degraded(&orders));
    assert!(is_in(&orders, "closed") && !is_in(&orders, "open"));
    assert_eq!(transitions(&orders, "half_open", "closed"), 1.0);
    orders.process.eventually("nothing is abnormal any more", || {
        let page = orders.page("/statusz");
        (page["abnormal"] == serde_json::json!([]) && page["phase"] == "ready").then_some(())
    });

    let exit = orders.stop(Signal::TERM);
    assert_eq!(exit.code, Some(0));
    let messages: Vec<_> = exit.lines.iter().filter_map(|line| line["message"].as_str()).collect();
    for word in ["closed -> open", "open -> half_open", "half_open -> closed"] {
        assert!(messages.iter().any(|message| message.contains(word)), "{word}: {messages:#?}");
    }
}

#[test]
fn chaos_ends_by_itself() {
    let orders = Orders::start(&QUICK);
    break_it(&orders, "2s");
    assert_eq!(overrides(&orders), Some(1.0));
    drive_until(&orders, "open");
    drive_until(&orders, "closed");
    assert!(!is_degraded(&orders));
    assert_eq!(overrides(&orders), None);
    let ended = orders.process.wait_for("the end of the override", |lines| {
        lines.iter().find(|line| line["context"]["kind"] == "override_ended").cloned()
    });
    assert_eq!(ended["context"]["subject"], "inventory.chaos");
    assert_eq!(ended["message"], "its time was up");
}

#[test]
fn chaos_meets_only_the_route_that_it_is_for() {
    let orders = Orders::start(&QUICK);
    let aim = |route: &str| {
        let settings = format!(r#"{{"error_rate": 1.0, "route": "{route}"}}"#);
        let body = format!(r#"{{"settings": {settings}, "ttl": "1m"}}"#);
        assert_eq!(orders.change("inventory.chaos", &body).status, 200);
    };
    aim("/shop.billing.v1.Billing/*");
    assert!(!is_degraded(&orders), "another service is meant");
    aim("/shop.inventory.v1.Inventory/*");
    assert!(is_degraded(&orders));
}

#[test]
fn one_switch_ends_all_chaos() {
    let orders = Orders::start(&QUICK);
    break_it(&orders, "1m");
    drive_until(&orders, "open");
    let stop = r#"{"mode": "disabled", "ttl": "1m"}"#;
    assert_eq!(orders.change("chaos", stop).status, 200);
    assert_eq!(orders.metric("octostack_chaos_stopped", &[]), Some(1.0));
    drive_until(&orders, "closed");
    assert!(!is_degraded(&orders), "the override is still there, and does nothing");
    assert_eq!(overrides(&orders), Some(1.0));
}

#[test]
fn a_caller_says_for_how_long_it_waits() {
    let orders = Orders::start(&[]);
    orders.slow_inventory("20s");
    let wait = [("grpc-timeout", "200m")];
    let start = SystemClock.now();
    let answer = ask(orders.public, "GET", "/orders/1", &wait, "");
    assert_eq!(answer.status, 504, "{answer:?}");
    assert_eq!(answer.json()["policy"], "inbound.timeout");
    assert!(SystemClock.now() - start < Duration::from_secs(10), "not as long as the inventory");
    let answer = ask(orders.public, "GET", "/orders/1", &[("grpc-timeout", "0m")], "");
    assert_eq!((answer.status, &answer.json()["code"]), (504, &"deadline_passed".into()));
}

#[test]
fn numbers_add_up() {
    let orders = Orders::start(&QUICK);
    break_it(&orders, "1m");
    let asked = 60;
    let degraded = (0..asked).filter(|_| is_degraded(&orders)).count();
    assert_eq!(degraded, asked);

    let number = |metric: &str, labels: &[(&str, &str)]| orders.metric(metric, labels).unwrap();
    let decided = |policy: &str, decision: &str| {
        let labels = [("policy", policy), ("decision", decision)];
        number("octostack_policy_decisions_total", &labels)
    };
    let failures = [("policy", "inventory.breaker"), ("outcome", "failure")];
    let failures = number("octostack_policy_outcomes_total", &failures);
    let injected = [("policy", "inventory.chaos"), ("fault", "error")];
    let injected = number("octostack_chaos_injected_total", &injected);
    let retries = number("octostack_retry_attempts_total", &[("policy", "inventory.retry")]);
    let permitted = decided("inventory.breaker", "permitted");
    let rejected = decided("inventory.breaker", "rejected");

    assert_eq!(permitted + rejected, 60.0 + retries, "each attempt asks the breaker");
    assert_eq!(permitted, failures, "each permitted attempt fails");
    assert_eq!(permitted, injected, "by chaos");
    assert_eq!(decided("inventory.chaos", "rejected"), injected);
    assert!(rejected > 0.0 && permitted >= 10.0, "{permitted} permitted, {rejected} rejected");

    let served = orders.page("/policyz/inventory.breaker");
    let counters = &served["instances"][0]["counters"];
    assert_eq!(counters["permitted"].as_f64(), Some(permitted));
    assert_eq!(counters["failure"].as_f64(), Some(permitted));
    let requests = [("http_route", "/orders/{id}"), ("http_response_status_code", "200")];
    assert_eq!(number("http_server_request_duration_seconds_count", &requests), 60.0);
}

#[test]
fn a_change_is_listed_with_its_actor_and_audited() {
    let token = "write-token-of-the-test";
    let orders = Orders::start(&[("ADMIN_TOKEN", token)]);
    let bearer = format!("Bearer {token}");
    let change = |body: &str| {
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("x-actor", "alice@example"),
        ];
        let answer = ask(orders.admin, "PUT", "/policyz/inventory.chaos", &headers, body);
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    change(r#"{"settings": {"error_rate": 0.25}, "ttl": "10m"}"#);
    // Merged field by field.
    change(r#"{"settings": {"latency": "5ms"}, "ttl": "10m"}"#);

    let page = orders.page("/statusz");
    let entry = &page["abnormal"][0];
    assert_eq!((&entry["kind"], &entry["name"]), (&"override".into(), &"inventory.chaos".into()));
    assert_eq!(entry["claimed_actor"], "alice@example");
    assert_eq!(entry["token"], "write");
    assert!(entry["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.1:")), "{entry}");
    assert!(entry["ends"].as_str().is_some_and(|at| at.ends_with('Z')), "{entry}");
    let changed = serde_json::json!({"error_rate": 0.25, "latency": "5ms"});
    assert_eq!(entry["change"]["settings"], changed, "{entry}");
    assert_eq!(overrides(&orders), Some(1.0));
    assert_eq!(orders.policy("inventory.chaos")["settings"]["error_rate"], 0.25);

    let headers = [("authorization", bearer.as_str()), ("x-actor", "bob@example")];
    let ended = ask(orders.admin, "DELETE", "/policyz/inventory.chaos", &headers, "");
    assert_eq!(ended.status, 200, "{ended:?}");
    assert_eq!(overrides(&orders), None);

    let exit = orders.stop(Signal::INT);
    assert!(!exit.text.contains(token));
    let of_kind = |kind: &str| -> Vec<&Value> {
        let contexts = exit.lines.iter().map(|line| &line["context"]);
        contexts.filter(|context| context["kind"] == kind).collect()
    };
    let set = of_kind("override_set");
    assert_eq!(set.len(), 2);
    assert_eq!(set[1]["claimed_actor"], "alice@example");
    assert_eq!(set[1]["token"], "write");
    assert!(set[1]["peer"].is_string());
    let settings = |patch: &Value| match patch {
        Value::String(text) => text.clone(), // as the log writes what is nested
        other => other.to_string(),
    };
    assert!(settings(&set[1]["from"]).contains("error_rate"), "{}", set[1]);
    assert!(settings(&set[1]["to"]).contains("latency"), "{}", set[1]);
    let end = of_kind("override_ended");
    assert_eq!((end.len(), &end[0]["claimed_actor"]), (1, &"bob@example".into()));
}

#[test]
fn a_policy_in_front_of_the_routes_answers_for_them() {
    let limit = [("ORDERS_SERVER_INBOUND_BULKHEAD_MAX_CONCURRENT", "1")];
    let orders = Orders::start(&limit);
    orders.slow_inventory("1m");
    let mut first = Connection::open(orders.public).unwrap();
    first.send(b"GET /orders/1 HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    orders.wait_in_flight(1.0);

    let id = [("x-request-id", "second")];
    let second = ask(orders.public, "GET", "/orders/2", &id, "");
    assert_eq!(second.status, 503, "{second:?}");
    assert_eq!(second.header("content-type"), Some("application/problem+json"));
    assert_eq!(second.header("x-request-id"), Some("second"));
    assert_eq!(second.json()["status"], 503);
    // Probes are not in the way of the limit.
    assert_eq!(get(orders.public, "/readyz").status, 200);
    let rejected = [("policy", "inbound.bulkhead"), ("decision", "rejected")];
    assert_eq!(orders.metric("octostack_policy_decisions_total", &rejected), Some(1.0));
}

#[test]
fn another_inventory_can_be_attached() {
    // Nothing listens there, so it fails as a dependency that is down does.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{gone}");
    let from = SystemClock.now();
    let orders = Orders::start(&[("ORDERS_INVENTORY_URL", &url), QUICK[4]]);
    assert!(is_degraded(&orders));
    assert!(SystemClock.now() - from < Duration::from_secs(10), "a refused connection is fast");
    let listening = |line: &&Value| line["message"] == "listening";
    assert_eq!(orders.process.lines().iter().filter(listening).count(), 2, "public and admin");
}
