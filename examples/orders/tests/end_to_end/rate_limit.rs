//! More requests come than the service is to bear: those over the limit are told when to come
//! back, and an operator moves the limit while they come.
use crate::http::{Answer, Connection, ask, get};
use crate::process::{Orders, Process};
use serde_json::Value;

const POLICY: &str = "inbound.rate_limit";

/// Five at once, then one each 12 minutes: no test lasts so long.
const FIVE: [(&str, &str); 2] = [
    ("ORDERS_SERVER_INBOUND_RATE_LIMIT_LIMIT", "5"),
    ("ORDERS_SERVER_INBOUND_RATE_LIMIT_PERIOD", "1h"),
];

/// Asks so often for an order; the answers that are not 200.
fn hammer(orders: &Orders, times: usize) -> Vec<Answer> {
    let mut connection = Connection::open(orders.public).unwrap();
    let answers = (0..times).map(|_| connection.get("/orders/1").unwrap());
    answers.filter(|answer| answer.status != 200).collect()
}

fn decisions(orders: &Orders, decision: &str) -> Option<f64> {
    let labels = [("policy", POLICY), ("kind", "rate_limit"), ("decision", decision)];
    orders.metric("octostack_policy_decisions_total", &labels)
}

fn set(orders: &Orders, body: &str) {
    let answer = orders.change(POLICY, body);
    assert_eq!(answer.status, 200, "{answer:?}");
}

fn end_override(orders: &Orders) {
    let answer = ask(orders.admin, "DELETE", &format!("/policyz/{POLICY}"), &[], "");
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn what_is_over_the_limit_is_told_when_to_come_back() {
    let orders = Orders::start(&FIVE);
    let over = hammer(&orders, 20);
    assert_eq!(over.len(), 15);
    for answer in &over {
        assert_eq!(answer.status, 429);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        let problem = answer.json();
        assert_eq!((&problem["status"], &problem["code"]), (&429.into(), &"rate_limited".into()));
        assert_eq!(problem["policy"], POLICY);
        let wait: u64 = answer.header("retry-after").expect("a wait").parse().unwrap();
        assert!((1..=720).contains(&wait), "{wait}");
        assert!(answer.header("x-request-id").is_some());
        assert!(!answer.closes(), "the connection is as good as before");
    }

    // Probes are not limited, nor is what operators need.
    for _ in 0..20 {
        assert_eq!(get(orders.public, "/livez").status, 200);
        assert_eq!(get(orders.public, "/readyz").status, 200);
    }
    assert_eq!(get(orders.public, "/nowhere").status, 429, "no route is no way around it");

    let policy = orders.policy(POLICY);
    assert_eq!((&policy["kind"], &policy["available"]), (&"rate_limit".into(), &0.into()));
    assert_eq!(policy["settings"]["limit"], 5);
    assert_eq!(policy["counters"]["rejected"], 16);
    assert_eq!(
        (decisions(&orders, "permitted"), decisions(&orders, "rejected")),
        (Some(5.0), Some(16.0))
    );
    let labels = [("http_route", "/orders/{id}"), ("http_response_status_code", "429")];
    let count = orders.metric("http_server_request_duration_seconds_count", &labels);
    assert_eq!(count, Some(15.0), "each is counted as a request");
}

#[test]
fn an_operator_moves_the_limit_and_what_was_used_stays_used() {
    let orders = Orders::start(&FIVE);
    assert_eq!(hammer(&orders, 9).len(), 4);
    set(&orders, r#"{"settings": {"limit": 8}, "ttl": "1m"}"#);
    assert_eq!(orders.policy(POLICY)["available"], 3, "5 of 8 are used");
    assert_eq!(hammer(&orders, 9).len(), 6);

    set(&orders, r#"{"mode": "shadow", "ttl": "1m"}"#);
    assert!(hammer(&orders, 9).is_empty());
    assert_eq!(decisions(&orders, "shadow_rejected"), Some(9.0));

    let abnormal = orders.page("/statusz")["abnormal"].clone();
    let named = |entry: &Value| entry["name"] == POLICY && entry["kind"] == "override";
    assert!(abnormal.as_array().unwrap().iter().any(named), "{abnormal:#}");

    end_override(&orders);
    assert_eq!(hammer(&orders, 9).len(), 9, "the limit of the config, used up");

    let refused = orders.change(POLICY, r#"{"settings": {"limit": 2000000000, "rate": 1}}"#);
    let problems = refused.json()["problems"].to_string();
    assert_eq!(refused.status, 400);
    assert!(problems.contains("settings.rate") && problems.contains("limit, period, burst"));
}

#[test]
fn there_is_no_limit_until_somebody_sets_one() {
    let orders = Orders::start(&[]);
    assert!(hammer(&orders, 50).is_empty());
    assert_eq!(decisions(&orders, "permitted"), Some(0.0), "nothing is decided");
    set(&orders, r#"{"settings": {"limit": 1, "period": "1h"}, "ttl": "1m"}"#);
    assert_eq!(hammer(&orders, 9).len(), 8);
    end_override(&orders);
    assert!(hammer(&orders, 9).is_empty());
}

#[test]
fn a_limit_that_makes_no_sense_is_a_mistake_in_the_config() {
    let burst = ("ORDERS_SERVER_INBOUND_RATE_LIMIT_BURST", "5");
    let per = ("ORDERS_SERVER_INBOUND_RATE_LIMIT_PER", "user");
    let check = |variable| Process::spawn(&["check"], &[variable]).end();
    let exit = check(burst);
    assert_eq!(exit.code, Some(78));
    assert!(exit.errors.contains("server.inbound.rate_limit.burst: 5 has no effect"), "{exit:?}");
    let exit = check(per);
    assert_eq!(exit.code, Some(78));
    assert!(exit.errors.contains("service") && exit.errors.contains("client"), "{exit:?}");
}

#[test]
#[cfg(target_os = "linux")]
fn each_client_has_a_limit_of_its_own() {
    let per_client = [FIVE[0], FIVE[1], ("ORDERS_SERVER_INBOUND_RATE_LIMIT_PER", "client")];
    let orders = Orders::start(&per_client);
    let passing = |client: [u8; 4]| {
        // Not each connection: each address.
        let answers = (0..9).map(|_| {
            let mut connection = Connection::open_from(client.into(), orders.public).unwrap();
            connection.get("/orders/1").unwrap().status
        });
        answers.filter(|status| *status == 200).count()
    };
    assert_eq!(passing([127, 0, 0, 1]), 5);
    assert_eq!(passing([127, 0, 0, 2]), 5);
    assert_eq!(passing([127, 0, 0, 1]), 0);

    let page = orders.page(&format!("/policyz/{POLICY}"));
    assert_eq!(page["instances"][0]["keys"], 2);
    assert!(!page.to_string().contains("127.0.0.2"), "it shows no address: {page:#}");
    let keys = orders.metric("octostack_rate_limit_keys", &[("policy", POLICY)]);
    assert_eq!(keys, Some(2.0));
    let evictions = orders.metric("octostack_rate_limit_evictions_total", &[("policy", POLICY)]);
    assert_eq!(evictions, Some(0.0));
}

#[test]
fn grpc_is_answered_in_grpc() {
    let orders = Orders::start(&FIVE);
    hammer(&orders, 5);
    let headers = [("content-type", "application/grpc"), ("te", "trailers")];
    let answer = ask(orders.public, "POST", "/shop.Orders/Show", &headers, "");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/grpc"));
    assert_eq!(answer.header("grpc-status"), Some("8"), "RESOURCE_EXHAUSTED");
    let wait: u64 = answer.header("grpc-retry-pushback-ms").expect("a wait").parse().unwrap();
    assert!((1..=720_000).contains(&wait), "{wait}");
    let json = [("content-type", "application/json")];
    assert_eq!(ask(orders.public, "POST", "/orders", &json, "{}").status, 429);
}
