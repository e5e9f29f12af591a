//! Feature flags: a file that changes, operators that choose, and why a user gets what they get.
use crate::http::{Answer, ask, get};
use crate::process::{Orders, Process};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const OVERRIDE: &str = "/flagz/recommendations/override";
const JSON: (&str, &str) = ("content-type", "application/json");

/// A folder with a flag file in it, gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, flags: &str) -> Self {
        let path = std::env::temp_dir().join(format!("orders-flags-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        let folder = Self(path);
        folder.write(flags);
        folder
    }

    fn file(&self) -> PathBuf {
        self.0.join("flags.json")
    }

    /// At once, as an editor or an orchestrator does it.
    fn write(&self, flags: &str) {
        let new = self.0.join("new");
        std::fs::write(&new, flags).unwrap();
        std::fs::rename(new, self.file()).unwrap();
    }

    fn start(&self) -> Orders {
        Orders::start(&[("ORDERS_FLAGS_SOURCE", text(&self.file()))])
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn flags(default: &str, targeting: &str) -> String {
    format!(
        r#"{{"flags": {{"recommendations": {{"state": "ENABLED", "variants": {{"on": true, "off": false}},
        "defaultVariant": "{default}", "targeting": {targeting}}}}}}}"#
    )
}

fn recommendations(orders: &Orders, user: &str) -> Answer {
    ask(orders.public, "GET", "/recommendations", &[("x-user", user)], "")
}

/// For nobody in particular.
fn is_on(orders: &Orders) -> bool {
    get(orders.public, "/recommendations").status == 200
}

fn evaluations(orders: &Orders, variant: &str, reason: &str) -> Option<f64> {
    let labels = [
        ("feature_flag_key", "recommendations"),
        ("feature_flag_result_variant", variant),
        ("feature_flag_result_reason", reason),
    ];
    orders.metric("octostack_flag_evaluations_total", &labels)
}

#[test]
fn the_flags_beside_the_settings_are_for_some_users() {
    let orders = Orders::start(&[]);
    assert_eq!(recommendations(&orders, "ann").json(), json!(["teacup", "samovar"]));
    assert_eq!(get(orders.public, "/recommendations").status, 404, "nobody in particular");
    let on = (0..200).filter(|i| recommendations(&orders, &format!("user-{i}")).status == 200);
    assert!((25..75).contains(&on.count()), "a quarter of them");
    assert!(evaluations(&orders, "on", "targeting_match").unwrap() > 25.0);
    assert_eq!(evaluations(&orders, "off", "default"), Some(1.0));
    let flag = &orders.page("/flagz")["flags"]["recommendations"];
    assert_eq!((&flag["kind"], &flag["owner"]), (&json!("ops"), &json!("team-shop")));
    assert_eq!(flag["problems"], json!([]));
}

#[test]
fn a_file_is_followed_and_a_bad_one_changes_nothing() {
    let folder = Folder::new("followed", &flags("off", "null"));
    let orders = folder.start();
    assert!(!is_on(&orders));
    let generation = |orders: &Orders| orders.page("/statusz")["generations"]["flags"].as_u64();
    let first = generation(&orders);

    folder.write(&flags("on", "null"));
    orders.process.eventually("the new flags", || is_on(&orders).then_some(()));
    assert_eq!(generation(&orders), first.map(|n| n + 1));
    assert_eq!(orders.metric("octostack_flags_last_reload_successful", &[]), Some(1.0));

    folder.write("{\"flags\": {\n  oops}}");
    let failed = || orders.metric("octostack_flags_last_reload_successful", &[]) == Some(0.0);
    orders.process.eventually("the failure", || failed().then_some(()));
    assert!(is_on(&orders), "the last good flags stay");
    let error = orders.page("/flagz")["last_error"].as_str().unwrap().to_owned();
    assert!(error.contains("line 2, column 3: key must be a string"), "{error}");
    let abnormal = orders.page("/statusz")["abnormal"].to_string();
    assert!(abnormal.contains("the last load failed"), "{abnormal}");
    orders.process.wait_for("a warning", |lines| {
        let is_it = |l: &&Value| l["context"]["kind"] == "flags_load_failed";
        lines.iter().find(is_it).map(|line| assert_eq!(line["level"], "warn"))
    });

    std::fs::remove_file(folder.file()).unwrap();
    let gone = || orders.page("/flagz")["last_error"].to_string().contains("No such file");
    orders.process.eventually("the file is missed", || gone().then_some(()));
    assert!(is_on(&orders));

    folder.write(&flags("on", "null"));
    orders.process.eventually("all is well", || (!failed()).then_some(()));
    assert_eq!(orders.page("/statusz")["abnormal"], json!([]));
}

#[test]
fn a_bad_flag_is_bad_alone() {
    let bad = r#"{"flags": {
        "recommendations": {"state": "ENABLED", "variants": {"on": true, "off": false},
            "targeting": {"if": [{"maap": []}, "on"]}},
        "other": {"state": "ENABLED", "variants": {"a": "b"}, "defaultVariant": "a"}
    }}"#;
    let folder = Folder::new("bad", bad);
    let orders = folder.start();
    assert!(!is_on(&orders), "the default in code");
    assert_eq!(evaluations(&orders, "", "error"), Some(1.0));
    let page = orders.page("/flagz");
    let problem = page["flags"]["recommendations"]["problems"][0].as_str().unwrap();
    let place = "flags.recommendations.targeting.if[0].maap: there is no operator `maap`";
    assert!(problem.starts_with(place), "{problem}");
    assert_eq!(page["flags"]["other"]["state"], "enabled");
    assert_eq!(orders.metric("octostack_flags_broken", &[]), Some(1.0));
    assert!(orders.page("/statusz")["abnormal"].to_string().contains("maap"));
    let warned = orders.process.lines();
    let warned =
        warned.iter().any(|l| l["level"] == "warn" && l["message"].to_string().contains(place));
    assert!(warned, "the log says it at the start");

    // For a pipeline it is not fine.
    let source = folder.file();
    let check = Process::spawn(&["check"], &[("ORDERS_FLAGS_SOURCE", text(&source))]).end();
    assert_eq!(check.code, Some(78));
    assert!(check.errors.contains(place), "{}", check.errors);
    assert!(!check.text.contains("fine"), "{}", check.text);
}

#[test]
fn a_file_that_is_none_ends_the_start() {
    let folder = Folder::new("none", "{");
    let missing = folder.0.join("missing.json");
    for (source, reason) in [
        (text(&folder.file()), "line 1, column 1: EOF while parsing an object"),
        (text(&missing), "cannot be read: No such file"),
        (text(&folder.0), "is a directory; name a regular file"),
        ("http://flags.internal", "flags.source: is an address; flags are read from a file so far"),
    ] {
        for arguments in [&["run"][..], &["check"]] {
            let exit = Process::spawn(arguments, &[("ORDERS_FLAGS_SOURCE", source)]).end();
            assert_eq!(exit.code, Some(78), "{source}: {}", exit.errors);
            assert!(exit.errors.contains(reason), "{source}: {}", exit.errors);
            assert!(exit.errors.contains(source) || source.contains("://"), "{}", exit.errors);
        }
    }
}

#[test]
fn a_path_in_a_config_file_starts_there() {
    let folder = Folder::new("relative", &flags("on", "null"));
    let config = folder.0.join("etc.toml");
    std::fs::write(&config, "[flags]\nsource = \"flags.json\"\n").unwrap();
    let orders = Orders::of(Process::spawn(&["--config", text(&config)], &[]));
    assert!(is_on(&orders));
    assert_eq!(orders.page("/flagz")["source"], text(&folder.file()));
    let bucketing = Process::spawn(&["check", "--set", "flags.bucketing=v4"], &[]).end();
    assert_eq!(bucketing.code, Some(78));
    assert!(bucketing.errors.contains("flags.bucketing"), "{}", bucketing.errors);
    let check = Process::spawn(&["check", "--config", text(&config)], &[]).end();
    assert_eq!(check.code, Some(0));
    assert!(check.text.contains("1 flag from "), "{}", check.text);
}

#[test]
fn an_operator_chooses_for_a_time() {
    let orders = Orders::start(&[]);
    let put = |body: &str| ask(orders.admin, "PUT", OVERRIDE, &[JSON, ("x-actor", "anna")], body);
    let answer = put(r#"{"variant": "on", "ttl": "10m"}"#);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(is_on(&orders));
    assert_eq!(evaluations(&orders, "on", "override"), Some(1.0));
    let labels = [("kind", "flag"), ("name", "recommendations")];
    assert_eq!(orders.metric("octostack_override_active", &labels), Some(1.0));
    let abnormal = orders.page("/statusz")["abnormal"].clone();
    assert_eq!(abnormal[0]["change"], json!({"settings": {"variant": "on"}}));
    assert_eq!(
        (&abnormal[0]["claimed_actor"], &abnormal[0]["left"].is_string()),
        (&json!("anna"), &true)
    );

    for (body, problem) in [
        (r#"{"variant": "onn"}"#, "there is no variant `onn`; there are on, off"),
        (r#"{"variant": 1}"#, "expected the name of a variant, found a whole number"),
        (r#"{"variant": "on", "ttl": "25h"}"#, "out of range"),
        (r#"{"variant": "on", "value": true}"#, "there is no such field"),
        ("on", "not JSON"),
    ] {
        let answer = put(body);
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.text().contains(problem), "{body}: {}", answer.text());
    }
    let unknown =
        ask(orders.admin, "PUT", "/flagz/nobody/override", &[JSON], "{\"variant\": \"on\"}");
    assert_eq!(unknown.status, 404);
    let foreign = [JSON, ("origin", "https://evil.example")];
    assert_eq!(ask(orders.admin, "PUT", OVERRIDE, &foreign, "{\"variant\": \"off\"}").status, 403);
    assert!(is_on(&orders), "nothing has changed");

    assert_eq!(ask(orders.admin, "DELETE", OVERRIDE, &[], "").status, 200);
    assert!(!is_on(&orders));
    assert_eq!(orders.page("/statusz")["abnormal"], json!([]));

    put(r#"{"variant": "on", "ttl": "200ms"}"#);
    orders.process.eventually("the end of the time", || (!is_on(&orders)).then_some(()));
    let exit = orders.stop(Signal::TERM);
    assert_eq!(exit.code, Some(0));
    let audit = exit.lines.iter().filter(|l| l["context"]["kind"] == "override_set");
    assert_eq!(audit.count(), 2);
}

#[test]
fn a_page_says_why_a_user_gets_what() {
    let orders = Orders::start(&[]);
    let explain =
        |query: &str| orders.page(&format!("/flagz/recommendations{query}"))["explain"].clone();
    assert_eq!(explain(""), Value::Null);
    let ann = explain("?targetingKey=ann");
    assert_eq!((&ann["variant"], &ann["reason"]), (&json!("on"), &json!("targeting_match")));
    let user = explain("?targetingKey=user-1");
    let split = &user["steps"]["if"][1]["split"];
    assert!(split["hash"].is_u64() && split["total_weight"] == 100, "{user}");
    assert_eq!(explain("?explain")["reason"], "default");
    assert_eq!(evaluations(&orders, "on", "targeting_match"), None, "looking does not count");
    assert_eq!(get(orders.admin, "/flagz/nobody").status, 404);
}
