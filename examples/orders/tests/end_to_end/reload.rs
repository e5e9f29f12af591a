//! The config of a running service: changed, refused, compared, and what only a restart changes.
use crate::http::{Answer, ask, get};
use crate::process::{Orders, Process};
use rustix::process::Signal;
use serde_json::Value;
use std::path::PathBuf;

/// A config directory, gone at the end.
struct Config(PathBuf);

impl Config {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("orders-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        let config = Self(path);
        config.write("default.toml", text);
        config
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).unwrap();
    }

    fn start(&self, environment: &[(&str, &str)]) -> Orders {
        let arguments = ["--config-dir", self.0.to_str().unwrap()];
        Orders::of(Process::spawn(&arguments, environment))
    }
}

impl Drop for Config {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn reload(orders: &Orders) -> Answer {
    ask(orders.admin, "POST", "/configz/reload", &[("x-actor", "test@example")], "")
}

/// Waits until this generation is in effect.
fn generation(orders: &Orders, wanted: u64) -> Value {
    orders.process.eventually("the generation", || {
        let page = orders.page("/configz");
        (page["generation"] == wanted).then_some(page)
    })
}

const CALLS: &str = "inventory.breaker.minimum_calls";

fn with_calls(calls: u32) -> String {
    format!("[inventory.breaker]\nminimum_calls = {calls}\n")
}

#[test]
fn a_change_of_a_file_is_in_effect_and_on_every_page() {
    let config = Config::new("reload-file", &with_calls(21));
    let orders = config.start(&[]);
    config.write("default.toml", &with_calls(22));
    let page = generation(&orders, 2);
    assert_eq!(page["settings"][CALLS]["value"], 22);
    assert_eq!(page["last_reload"]["result"], "applied");
    assert_eq!(page["generations"][0]["by"], "a change of files");
    orders.process.eventually("the policy, which is told next", || {
        (orders.policy("inventory.breaker")["settings"]["minimum_calls"] == 22).then_some(())
    });
    assert_eq!(orders.page("/statusz")["generations"]["config"], 2);
    assert_eq!(orders.metric("octostack_config_generation", &[]), Some(2.0));
    assert_eq!(
        orders.metric("octostack_config_reloads_total", &[("result", "applied")]),
        Some(1.0)
    );

    let diff = orders.page("/configz/diff?from=1&to=2");
    assert_eq!(diff["changes"][CALLS]["from"]["value"], 21);
    assert_eq!(diff["changes"][CALLS]["to"]["value"], 22);
    let source = diff["changes"][CALLS]["to"]["source"].as_str().unwrap().to_owned();
    assert!(source.ends_with("default.toml:2:17"), "{source}");
    for (query, key) in [("from=7", "from"), ("to=x", "to"), ("since=1", "since")] {
        let answer = get(orders.admin, &format!("/configz/diff?{query}"));
        assert_eq!((answer.status, &answer.json()["problems"][0]["key"]), (400, &key.into()));
    }
    assert_eq!(orders.stop(Signal::TERM).code, Some(0));
}

#[test]
fn sighup_and_operators_ask_for_a_reload() {
    let config = Config::new("reload-ask", &with_calls(21));
    let orders = config.start(&[]);
    let unchanged = reload(&orders).json();
    assert_eq!((&unchanged["result"], &unchanged["generation"]), (&"unchanged".into(), &1.into()));

    orders.process.signal(Signal::HUP);
    orders.process.eventually("the reload", || {
        let page = orders.page("/configz");
        (page["last_reload"]["by"] == "SIGHUP").then_some(())
    });
    config.write("default.toml", &with_calls(22));
    let applied = reload(&orders);
    assert_eq!(applied.status, 200, "{applied:?}");
    // Whoever was first, the change of the file or the operator.
    assert_eq!(applied.json()["generation"], 2);
    assert_eq!(orders.policy("inventory.breaker")["settings"]["minimum_calls"], 22);
    assert_eq!(get(orders.admin, "/configz/reload").status, 405);
    let foreign = [("origin", "http://evil.example")];
    assert_eq!(ask(orders.admin, "POST", "/configz/reload", &foreign, "").status, 403);
    assert_eq!(orders.stop(Signal::TERM).code, Some(0));
}

#[test]
fn a_bad_config_leaves_the_last_good_one_and_is_told_everywhere() {
    let config = Config::new("reload-bad", &with_calls(21));
    let orders = config.start(&[]);
    config.write("default.toml", "[inventory]\ntimeout = '1m'\ndeadline = 5\n[serve]\nport = 1\n");
    let refused = reload(&orders);
    assert_eq!(refused.status, 409);
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    let problems = refused.json();
    let keys: Vec<_> =
        problems["problems"].as_array().unwrap().iter().map(|p| p["key"].clone()).collect();
    assert_eq!(keys, ["inventory.deadline", "serve"]);

    let page = orders.page("/configz");
    assert_eq!((&page["generation"], &page["settings"][CALLS]["value"]), (&1.into(), &21.into()));
    assert_eq!(page["last_error"]["problems"].as_array().map(Vec::len), Some(2));
    assert_eq!(orders.metric("octostack_config_last_reload_successful", &[]), Some(0.0));
    orders.process.eventually("the warning", || {
        let phase = orders.metric("octostack_lifecycle_phase", &[("phase", "degraded")]);
        (phase == Some(1.0)).then_some(())
    });
    assert_eq!(get(orders.admin, "/readyz").status, 200, "degraded is ready");
    let status = orders.page("/statusz").to_string();
    assert!(status.contains("the config was not reloaded at "), "{status}");
    let event = orders.process.wait_for("the audit", |lines| {
        let kind = |line: &&Value| line["context"]["kind"] == "config_reload_failed";
        let operator = |line: &&Value| line["context"]["claimed_actor"] == "test@example";
        lines.iter().filter(kind).find(operator).cloned()
    });
    assert_eq!(event["level"], "warn");

    config.write("default.toml", &with_calls(22));
    generation(&orders, 2);
    orders.process.eventually("the end of the warning", || {
        let phase = orders.metric("octostack_lifecycle_phase", &[("phase", "ready")]);
        (phase == Some(1.0)).then_some(())
    });
    assert_eq!(orders.stop(Signal::TERM).code, Some(0));
}

#[test]
fn what_needs_a_restart_is_told_and_not_applied() {
    let config = Config::new("reload-restart", &with_calls(21));
    let orders = config.start(&[]);
    let text = format!("{}[telemetry]\nlog_format = 'pretty'\n", with_calls(22));
    config.write("default.toml", &text);
    let page = generation(&orders, 2);
    let waiting = &page["restart_required"][0];
    assert_eq!(
        (&waiting["key"], &waiting["value"]),
        (&"telemetry.log_format".into(), &"pretty".into())
    );
    let format = &page["settings"]["telemetry.log_format"];
    assert_ne!(format["value"], "pretty");
    assert_eq!(format["reloadable"], false);
    let status = orders.page("/statusz").to_string();
    assert!(status.contains("needs a restart to take effect: telemetry.log_format"), "{status}");
    assert_eq!(orders.metric("octostack_config_restart_required", &[]), Some(1.0));
    assert_eq!(orders.stop(Signal::TERM).code, Some(0));
}

#[test]
fn a_token_in_a_file_is_rotated() {
    let config = Config::new("reload-token", &with_calls(21));
    config.write("token", "first-t0ken\n");
    let token = config.0.join("token");
    let orders = config.start(&[("ADMIN_TOKEN_FILE", token.to_str().unwrap())]);
    let with = |token: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        ask(orders.admin, "POST", "/configz/reload", &headers, "").status
    };
    assert_eq!((with("first-t0ken"), with("second-t0ken")), (200, 401));
    config.write("token", "second-t0ken\n");
    orders.process.eventually("the new token", || (with("second-t0ken") == 200).then_some(()));
    assert_eq!(with("first-t0ken"), 401);
    let diff = get(orders.admin, "/configz/diff").text();
    assert!(diff.contains("admin.token") && !diff.contains("t0ken\n"), "{diff}");
    assert!(!get(orders.admin, "/configz").text().contains("second-t0ken"));
    // A token that nobody could send leaves the last good one in force.
    config.write("token", "not sendable\n");
    orders.process.eventually("the refusal", || {
        orders.page("/configz")["last_error"].is_object().then_some(())
    });
    assert_eq!(with("second-t0ken"), 409, "the token is right, the file is not");
    assert_eq!(orders.stop(Signal::TERM).code, Some(0));
}
