//! Policies, limits and the address of the inventory follow the config, and one who objects keeps
//! all of it from changing.
use crate::http::{Answer, ask, get};
use crate::process::{Orders, Process};
use serde_json::json;
use std::path::PathBuf;

/// A config file, gone at the end.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let name = format!("orders-follow-{name}-{}.toml", std::process::id());
        let file = Self(std::env::temp_dir().join(name));
        file.write(text);
        file
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.0, text).unwrap();
    }

    fn start(&self) -> Orders {
        Orders::of(Process::spawn(&["--config", self.0.to_str().unwrap()], &[]))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn reload(orders: &Orders) -> Answer {
    ask(orders.admin, "POST", "/configz/reload", &[], "")
}

fn stock(orders: &Orders) -> bool {
    let order = get(orders.public, "/orders/1");
    assert_eq!(order.status, 200, "{order:?}");
    !order.json()["stock"].is_null()
}

#[test]
fn limits_and_policies_follow_all_or_none() {
    let file = File::new("policies", "[inventory]\ntimeout = '2s'\n");
    let orders = file.start();
    assert_eq!(orders.policy("inventory.timeout")["settings"]["timeout"], "2s");

    file.write(
        "[inventory]\ntimeout = '3s'\n\
         [server.inbound.rate_limit]\nlimit = 2\nperiod = '1h'\nper = 'client'\n",
    );
    let answer = reload(&orders);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["generation"], 2);
    let waiting = &answer.json()["restart_required"];
    assert_eq!(waiting[0]["key"], "server.inbound.rate_limit.per", "{waiting:#}");
    assert_eq!(orders.policy("inventory.timeout")["settings"]["timeout"], "3s");
    let statuses = [(); 3].map(|()| get(orders.public, "/orders/1").status);
    assert_eq!(statuses, [200, 200, 429]);

    // A window that a running breaker has no room for: nothing else is taken either.
    file.write("[inventory]\ntimeout = '4s'\nbreaker.window = 20000\n");
    let answer = reload(&orders);
    assert!((400..500).contains(&answer.status), "{answer:?}");
    assert!(answer.json().to_string().contains("inventory.breaker.window"), "{answer:?}");
    assert_eq!(orders.policy("inventory.timeout")["settings"]["timeout"], "3s");
    assert_eq!(get(orders.public, "/orders/1").status, 429, "the limit is still there");

    // What is no longer said has its default again.
    file.write("");
    assert_eq!(reload(&orders).status, 200);
    assert_eq!(orders.policy("inventory.timeout")["settings"]["timeout"], "10s");
    assert_eq!(get(orders.public, "/orders/1").status, 200);
}

#[test]
fn an_attached_inventory_is_another_one_without_a_restart() {
    let file = File::new("address", "");
    let orders = file.start();
    assert!(stock(&orders), "the one beside");
    file.write("[inventory]\nurl = 'http://127.0.0.1:1'\n");
    assert_eq!(reload(&orders).status, 200);
    assert!(!stock(&orders), "nobody listens there");
    file.write("");
    assert_eq!(reload(&orders).status, 200);
    assert!(stock(&orders));
}

#[test]
fn the_gate_of_chaos_follows_and_ends_what_operators_set() {
    let file = File::new("chaos", "[chaos]\nenabled = true\n");
    let orders = file.start();
    let body = json!({"settings": {"error_rate": 1.0}, "ttl": "1m"}).to_string();
    assert_eq!(orders.change("inventory.chaos", &body).status, 200);
    assert!(!stock(&orders));

    file.write("[chaos]\nenabled = false\n[inventory.chaos]\nerror_rate = 0.5\n");
    let refused = reload(&orders);
    assert!(refused.json().to_string().contains("inventory.chaos.error_rate"), "{refused:?}");
    assert!(!stock(&orders), "nothing has changed");

    file.write("[chaos]\nenabled = false\n");
    assert_eq!(reload(&orders).status, 200);
    assert!(stock(&orders), "the override does nothing any more");
    assert_eq!(orders.change("inventory.chaos", &body).status, 400);
}

#[test]
fn the_log_filter_follows() {
    let file = File::new("filter", "[telemetry]\nfilter = 'info'\n");
    let orders = file.start();
    get(orders.public, "/orders/1");
    file.write("[telemetry]\nfilter = 'error'\n");
    assert_eq!(reload(&orders).status, 200);
    get(orders.public, "/orders/1");
    file.write("[telemetry]\nfilter = 'info'\n");
    assert_eq!(reload(&orders).status, 200);
    get(orders.public, "/nowhere");
    let statuses = orders.process.wait_for("the last request", |lines| {
        let requests = lines.iter().filter(|line| line["message"] == "request");
        let statuses: Vec<_> = requests.map(|line| line["context"]["status"].clone()).collect();
        (statuses.last()? == 404).then_some(statuses)
    });
    assert_eq!(statuses, [200, 404], "the one in between was filtered");
}
