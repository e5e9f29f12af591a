//! A service that has just started: what it answers, what it logs, what it counts.
use crate::http::{ask, get};
use crate::process::{Orders, now};
use rustix::process::Signal;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

#[test]
fn starts_with_nothing_configured() {
    let from = now();
    let orders = Orders::start(&[]);
    let took = now() - from;
    // Reported apart from the test; here only what no machine excuses.
    assert!(took < Duration::from_secs(2), "ready after {took:?}");

    let answer = get(orders.public, "/orders/1");
    assert_eq!(answer.status, 200);
    let order = serde_json::json!({
        "id": 1, "article": "teapot", "quantity": 1, "stock": 7, "degraded": false,
    });
    assert_eq!(answer.json(), order);

    let json = [("content-type", "application/json")];
    let new = r#"{"article": "teacup", "quantity": 2}"#;
    let created = ask(orders.public, "POST", "/orders", &json, new);
    assert_eq!(created.status, 201, "{created:?}");
    let id = &created.json()["id"];
    let shown = get(orders.public, &format!("/orders/{id}")).json();
    assert_eq!((&shown["article"], &shown["stock"]), (&"teacup".into(), &42.into()));
    assert_eq!(get(orders.public, "/orders/77").status, 404);

    let exit = orders.stop(Signal::TERM);
    assert_eq!((exit.code, exit.errors.as_str()), (Some(0), ""));
    for listener in ["public", "admin"] {
        let of = |l: &&serde_json::Value| l["context"]["listener"] == listener;
        assert_eq!(exit.lines.iter().filter(of).count(), 1, "listening {listener}");
    }
}

#[test]
fn what_the_service_counts_itself_is_beside_the_rest() {
    let orders = Orders::start(&[]);
    let taken = || orders.metric("orders_received_total", &[("result", "taken")]);
    assert_eq!(taken(), None);
    let json = [("content-type", "application/json")];
    for count in [1.0, 2.0, 3.0] {
        let new = r#"{"article": "teacup", "quantity": 2}"#;
        assert_eq!(ask(orders.public, "POST", "/orders", &json, new).status, 201);
        assert_eq!(taken(), Some(count));
    }
    let page = get(orders.admin, "/metrics").text();
    for line in [
        "# HELP orders_received_total Orders that were taken, or refused for want of room.",
        "# TYPE orders_received_total counter",
        "orders_received_total{result=\"taken\"} 3",
    ] {
        assert!(page.lines().any(|l| l == line), "{line}\n{page}");
    }
    assert_eq!(orders.metric("octostack_build_info", &[("service", "orders")]), Some(1.0));
}

#[test]
fn log_lines_have_the_standard_fields() {
    let orders = Orders::start(&[]);
    let id = [("x-request-id", "checkout-17")];
    ask(orders.public, "GET", "/orders/1?coupon=hunter2", &id, "");
    let access = orders.process.wait_for("the access event", |lines| {
        lines.iter().find(|line| line["message"] == "request").cloned()
    });
    assert_eq!(access["correlation_id"], "checkout-17");
    let context = &access["context"];
    assert_eq!((&context["route"], &context["status"]), (&"/orders/{id}".into(), &200.into()));
    assert!(context["duration"].is_number() && context["outcome"].is_string(), "{access}");

    for line in orders.stop(Signal::TERM).lines {
        let at = line["timestamp"].as_str().unwrap_or_default();
        assert!(at.len() == 27 && at.ends_with('Z'), "{line}");
        assert_eq!(line["service"], "orders");
        assert_eq!(line["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(line["environment"], "development");
        for field in ["level", "message", "target"] {
            assert!(line[field].is_string(), "{field}: {line}");
        }
        assert!(!line.to_string().contains("hunter2"), "{line}");
    }
}

#[test]
fn every_answer_has_a_request_id() {
    let orders = Orders::start(&[]);
    let id_for = |path: &str, sent: &str| {
        let answer = ask(orders.public, "GET", path, &[("x-request-id", sent)], "");
        answer.header("x-request-id").expect("an id").to_owned()
    };
    for path in ["/orders/1", "/orders/77", "/nowhere", "/livez", "/readyz", "/orders/x"] {
        let answer = get(orders.public, path);
        assert!(answer.header("x-request-id").is_some_and(|id| id.len() == 36), "{path}");
        assert_eq!(id_for(path, "checkout-17"), "checkout-17", "{path}");
        assert_eq!(id_for(path, &"a".repeat(128)), "a".repeat(128), "{path}");
        for hostile in ["", "a b", "\"}{\"level\":\"fatal", "<script>", "../../etc", "é"] {
            assert_eq!(id_for(path, hostile).len(), 36, "{path} {hostile:?}");
        }
        assert_eq!(id_for(path, &"a".repeat(129)).len(), 36, "{path}");
    }
}

#[test]
fn probes_answer_on_both_ports() {
    let orders = Orders::start(&[]);
    for (port, path) in [
        (orders.public, "/livez"),
        (orders.public, "/readyz"),
        (orders.admin, "/livez"),
        (orders.admin, "/readyz"),
        (orders.admin, "/startupz"),
    ] {
        let answer = get(port, path);
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "{path}");
    }
    // What operators see is not for everybody.
    for path in ["/statusz", "/metrics", "/configz", "/policyz", "/startupz"] {
        assert_eq!(get(orders.public, path).status, 404, "{path}");
    }
}

#[test]
fn statusz_says_who_this_is() {
    let orders = Orders::start(&[]);
    let page = orders.page("/statusz");
    for (field, value) in [
        ("name", "orders"),
        ("version", env!("CARGO_PKG_VERSION")),
        ("owner", "team-shop"),
        ("environment", "development"),
        ("phase", "ready"),
    ] {
        assert_eq!(page[field], value, "{page:#}");
    }
    for field in ["commit", "runbook", "instance", "start", "uptime", "events"] {
        assert!(page.get(field).is_some(), "{field}: {page:#}");
    }
    assert_eq!(page["generations"]["config"], 1);
    assert_eq!(page["abnormal"], serde_json::json!([]));
    orders.process.eventually("its first event on the page", || {
        let page = orders.page("/statusz");
        let events = page["events"].as_array().expect("a list");
        events.iter().any(|event| event["message"] == "starting -> ready").then_some(())
    });
}

#[test]
fn configz_says_where_values_come_from() {
    let token = "not-to-be-shown";
    let port = [("ORDERS_INVENTORY_DEADLINE", "9s"), ("ADMIN_TOKEN", token)];
    let orders = Orders::start(&[port[0], port[1], ("ORDERS_INVENTORY_TIMEOUT", "3s")]);
    let answer = get(orders.admin, "/configz");
    let page = answer.json();
    let deadline = &page["settings"]["inventory.deadline"];
    assert_eq!(
        (&deadline["value"], &deadline["source"]),
        (&"9s".into(), &"ORDERS_INVENTORY_DEADLINE".into(),)
    );
    assert_eq!(page["settings"]["admin.token"]["value"], "[redacted]");
    assert!(!answer.text().contains(token));
    let chaos = page["settings"]["chaos.enabled"]["source"].to_string();
    assert!(chaos.contains("development.toml:"), "{chaos}");
}

/// The metrics that are there once a request was served and a breaker has opened.
const METRICS: [(&str, &[&str]); 25] = [
    (
        "http_server_request_duration_seconds_bucket",
        &["http_request_method", "http_route", "http_response_status_code", "le"],
    ),
    ("http_server_active_requests", &["http_request_method"]),
    ("octostack_circuit_breaker_state", &["policy", "state"]),
    ("octostack_circuit_breaker_transitions_total", &["policy", "from", "to"]),
    ("octostack_policy_decisions_total", &["policy", "kind", "decision"]),
    ("octostack_policy_outcomes_total", &["policy", "kind", "outcome"]),
    ("octostack_retry_attempts_total", &["policy"]),
    ("octostack_retry_budget_exhausted_total", &["policy"]),
    ("octostack_retry_out_of_time_total", &["policy"]),
    ("octostack_bulkhead_in_flight", &["policy"]),
    ("octostack_bulkhead_limit", &["policy"]),
    ("octostack_bulkhead_queued", &["policy"]),
    ("octostack_chaos_injected_total", &["policy", "fault"]),
    ("octostack_override_active", &["kind", "name"]),
    ("octostack_config_generation", &[]),
    ("octostack_config_last_reload_successful", &[]),
    ("octostack_config_last_reload_timestamp_seconds", &[]),
    ("octostack_health_check_status", &["check"]),
    ("octostack_lifecycle_phase", &["phase"]),
    ("octostack_telemetry_dropped_total", &["signal"]),
    ("octostack_telemetry_series_dropped_total", &["metric"]),
    ("octostack_build_info", &["service", "version", "commit"]),
    // A failure has its type too; this one is answered, so it is of another request.
    ("http_server_request_duration_seconds_sum", &["http_route"]),
    ("http_server_request_duration_seconds_count", &["http_route"]),
    ("http_server_request_duration_seconds_count", &["error_type"]),
];

#[test]
fn metrics_have_the_names_that_dashboards_ask_for() {
    let orders = Orders::start(&[("ORDERS_SERVER_INBOUND_TIMEOUT_TIMEOUT", "50ms")]);
    assert_eq!(get(orders.public, "/orders/1").status, 200);
    orders.slow_inventory("10s");
    let late = get(orders.public, "/orders/1");
    assert_eq!(late.status, 504, "{late:?}");
    assert_eq!(late.header("content-type"), Some("application/problem+json"));
    let forced = orders.change("inventory.breaker", r#"{"mode": "forced_open"}"#);
    assert_eq!(forced.status, 200, "{forced:?}");

    let page = get(orders.admin, "/metrics");
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(page.header("content-type"), Some(content_type));
    let page = page.text();
    for (name, labels) in METRICS {
        let series = |line: &&str| {
            let rest = line.strip_prefix(name).unwrap_or_default();
            let is_it = rest.starts_with(['{', ' ']);
            is_it && labels.iter().all(|label| rest.contains(&format!("{label}=\"")))
        };
        assert!(page.lines().any(|line| series(&line)), "no {name} with {labels:?} in\n{page}");
    }
    check_with_promtool(&page);
}

/// Prometheus' own opinion of the page.
fn check_with_promtool(page: &str) {
    let tool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut tool = match tool {
        Ok(tool) => tool,
        Err(error) => {
            let required = std::env::var_os("OCTOSTACK_REQUIRE_TOOLS").is_some_and(|v| v == "1");
            assert!(!required, "promtool does not start: {error}; install prometheus");
            eprintln!("SKIPPED: promtool does not start ({error}); install prometheus");
            return;
        }
    };
    tool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = tool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}\n{page}");
}
