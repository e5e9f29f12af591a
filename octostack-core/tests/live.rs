//! Settings that change while the service runs: all or nothing, and nothing hidden.
#![cfg(feature = "reload")]
#![allow(clippy::unwrap_used, reason = "in a helper too, it fails the test that called it")]
#![allow(clippy::float_cmp, reason = "counts, which are exact")]

use octostack_core::config::Loader;
use octostack_core::config::live::{Commit, Live, Reloaded, Trigger};
use octostack_core::inspect::{Metric, Problem, Registry, Sink, Value};
use octostack_core::secret::Secret;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Sections {
    server: Server,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Server {
    #[schemars(extend("x-restart-required" = true))]
    port: u16,
    workers: u16,
}

impl Default for Server {
    fn default() -> Self {
        Self { port: 80, workers: 4 }
    }
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Settings {
    #[serde(default)]
    pool: u32,
    #[serde(default)]
    #[schemars(extend("x-restart-required" = true))]
    storage: BTreeMap<String, String>,
    token: Option<Secret<String>>,
    /// Never shown, not even as a secret.
    #[serde(default, skip_serializing)]
    hidden: u32,
    #[serde(default)]
    accounts: Vec<Account>,
    #[serde(default)]
    limits: BTreeMap<String, Limit>,
    #[serde(default)]
    #[schemars(extend("x-restart-required" = true))]
    key: Option<Secret<String>>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Account {
    name: String,
    password: Secret<String>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Limit {
    rps: u32,
    #[schemars(extend("x-restart-required" = true))]
    workers: u32,
}

/// A config file of its own for each test.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let name = format!("octostack-live-{name}-{}.toml", std::process::id());
        let file = Self(std::env::temp_dir().join(name));
        file.write(text);
        file
    }

    fn write(&self, text: &str) {
        fs::write(&self.0, text).unwrap();
    }

    fn live(&self) -> Live<Sections, Settings> {
        let loader = Loader::new("T_").file(&self.0);
        let rules = |sections: &Sections, settings: &Settings| {
            if settings.pool < u32::from(sections.server.workers) || sections.server.workers == 0 {
                return Vec::new();
            }
            vec![Problem::new("pool", "must be below server.workers")]
        };
        Live::start(loader, rules).unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn reload(live: &Live<Sections, Settings>) -> Reloaded {
    live.reload(Trigger::Code).unwrap()
}

/// What a reload is refused for.
fn refused(live: &Live<Sections, Settings>) -> Vec<String> {
    let refused = live.reload(Trigger::Code).unwrap_err();
    refused.problems.iter().map(ToString::to_string).collect()
}

#[derive(Default)]
struct Samples(BTreeMap<String, f64>);

impl Sink for Samples {
    fn sample(&mut self, metric: &'static Metric, labels: &[(&'static str, &str)], n: f64) {
        let labels: Vec<_> = labels.iter().map(|(_, value)| *value).collect();
        self.0.insert(format!("{} {}", metric.name, labels.join(" ")).trim().to_owned(), n);
    }
}

fn samples(registry: &Registry) -> BTreeMap<String, f64> {
    let mut samples = Samples::default();
    registry.collect(&mut samples);
    samples.0
}

fn kinds(registry: &Registry) -> Vec<&'static str> {
    registry.events().iter().map(|event| event.kind).collect()
}

fn text<'a>(value: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().fold(value, |value, key| value.get(key).unwrap_or(&Value::Null))
}

#[test]
fn a_reload_is_the_whole_and_deleted_keys_are_gone() {
    let file = File::new("whole", "pool = 3\n[server]\nworkers = 9");
    let live = file.live();
    file.write("[server]\nworkers = 8");
    let reloaded = reload(&live);
    assert_eq!(reloaded.generation, 2);
    assert_eq!(reloaded.changed, ["pool", "server.workers"]);
    assert_eq!(live.settings().load().pool, 0, "the default, not what was there before");
    assert_eq!(live.framework().server.workers, 8);
    assert_eq!(live.settings().generation(), 2);
}

#[test]
fn the_same_values_are_no_new_generation_wherever_they_stand() {
    let file = File::new("same", "pool = 3");
    let live = file.live();
    let asked = Arc::new(AtomicU32::new(0));
    let count = asked.clone();
    live.on_reload("counter", move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        Ok(Commit::nothing())
    });
    file.write("# a comment\n\npool = 3");
    let reloaded = reload(&live);
    assert_eq!((reloaded.generation, reloaded.changed.len()), (1, 0));
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    let report = live.report();
    let source = report.get("pool").unwrap().origin.to_string();
    assert!(source.ends_with(":3:8"), "but the place is the new one: {source}");
}

#[test]
fn whatever_is_wrong_leaves_the_last_good_config_whole() {
    let file = File::new("last-good", "pool = 3");
    let live = file.live();
    let registry = Registry::new();
    live.register(&registry);
    assert_eq!(samples(&registry)["octostack_config_last_reload_successful"], 1.0);

    for (bad, problem) in [
        ("pool = ", "expected"),
        ("pool = -1", "expected a whole number"),
        ("poool = 1\npool = 2", "unknown key"),
        ("pool = 7", "must be below server.workers"),
    ] {
        file.write(bad);
        let problems = refused(&live);
        assert!(problems.len() == 1 && problems[0].contains(problem), "{bad}: {problems:?}");
        assert_eq!(live.settings().load().pool, 3, "{bad}");
    }
    fs::remove_file(&file.0).unwrap();
    assert!(refused(&live)[0].contains("there is no such file"));
    assert_eq!((live.settings().load().pool, live.settings().generation()), (3, 1));

    let now = samples(&registry);
    assert_eq!(now["octostack_config_last_reload_successful"], 0.0);
    assert_eq!(now["octostack_config_generation"], 1.0);
    assert_eq!(now["octostack_config_reloads_total refused"], 5.0);
    assert_eq!(kinds(&registry), ["config_reload_failed"; 5]);
    let standing = live.standing().unwrap_err();
    assert!(standing.contains("the last good one stays: "), "{standing}");
    let abnormal = registry.items()[0].abnormal().unwrap();
    assert_eq!(abnormal, standing);
    let status = live.status();
    let problems = text(&status, &["last_error", "problems"]).to_string();
    assert!(problems.contains("there is no such file"), "{problems}");

    file.write("pool = 2");
    assert_eq!(reload(&live).generation, 2);
    assert_eq!(live.standing(), Ok(()));
    assert_eq!(text(&live.status(), &["last_error"]), &Value::Null);
    assert_eq!(samples(&registry)["octostack_config_last_reload_successful"], 1.0);
}

#[test]
fn everyone_is_asked_and_one_veto_stops_all() {
    let file = File::new("veto", "pool = 1");
    let live = file.live();
    let done = Arc::new(Mutex::new(Vec::new()));
    for (name, most) in [("first", 3), ("second", 2), ("third", 9)] {
        let done = done.clone();
        live.on_reload(name, move |change| {
            let pool = change.new.settings.pool;
            assert_eq!(change.keys, ["pool"]);
            if pool > most {
                return Err(vec![Problem::new("pool", format!("{name} bears {most}"))]);
            }
            let (done, old) = (done.clone(), change.old.settings.pool);
            Ok(Commit::new(move || done.lock().unwrap().push(format!("{name}: {old} -> {pool}"))))
        });
    }
    file.write("pool = 3\n[server]\nport = 80");
    assert_eq!(refused(&live), ["pool: second bears 2"]);
    file.write("pool = 3.5");
    assert_eq!(refused(&live).len(), 1);
    assert_eq!(*done.lock().unwrap(), Vec::<String>::new());
    assert_eq!(live.settings().load().pool, 1);

    file.write("pool = 2");
    reload(&live);
    assert_eq!(*done.lock().unwrap(), ["first: 1 -> 2", "second: 1 -> 2", "third: 1 -> 2"]);
}

#[test]
fn whoever_is_told_sees_the_new_settings() {
    let file = File::new("told", "pool = 1");
    let live = file.live();
    let seen = Arc::new(AtomicU32::new(0));
    let (settings, see) = (live.settings().clone(), seen.clone());
    live.on_reload("reader", move |change| {
        assert_eq!(settings.load().pool, change.old.settings.pool, "not yet");
        let (settings, see) = (settings.clone(), see.clone());
        Ok(Commit::new(move || see.store(settings.load().pool, Ordering::Relaxed)))
    });
    file.write("pool = 2");
    reload(&live);
    assert_eq!(seen.load(Ordering::Relaxed), 2);
}

#[test]
fn a_subscriber_that_panics_has_refused_and_a_commit_that_does_stops_nobody() {
    let file = File::new("panic", "pool = 1");
    let live = file.live();
    let registry = Registry::new();
    live.register(&registry);
    live.on_reload("picky", |change| {
        assert!(change.new.settings.pool != 2, "two is a bad number");
        Ok(Commit::new(|| panic!("on purpose")))
    });
    let told = Arc::new(AtomicU32::new(0));
    let tell = told.clone();
    live.on_reload("patient", move |_| {
        let tell = tell.clone();
        Ok(Commit::new(move || _ = tell.fetch_add(1, Ordering::Relaxed)))
    });
    file.write("pool = 2");
    assert_eq!(refused(&live), ["picky panicked when it was asked; the log says where"]);
    file.write("pool = 3");
    assert_eq!(reload(&live).generation, 2);
    assert_eq!(told.load(Ordering::Relaxed), 1);
    let expected = ["config_reload_failed", "config_reloaded", "config_commit_failed"];
    assert_eq!(kinds(&registry), expected);
}

#[test]
fn what_needs_a_restart_keeps_its_value_and_is_reported() {
    let file = File::new("restart", "pool = 1\n[storage]\na = \"x\"");
    let live = file.live();
    let registry = Registry::new();
    live.register(&registry);

    file.write("pool = 2\nkey = \"k3y\"\n[storage]\nb = \"y\"\n[server]\nport = 8080\nworkers = 5");
    let reloaded = reload(&live);
    assert_eq!(reloaded.changed, ["pool", "server.workers"]);
    let waiting: Vec<_> =
        reloaded.waiting.iter().map(|w| format!("{} = {}", w.key, w.value)).collect();
    let expected =
        ["server.port = 8080", "storage.b = \"y\"", "key = \"[redacted]\"", "storage.a = null"];
    for waits in expected {
        assert!(waiting.iter().any(|w| w == waits), "{waits}: {waiting:?}");
    }
    assert_eq!(live.framework().server, Server { port: 80, workers: 5 });
    let now = live.settings().load();
    assert_eq!((now.pool, now.storage.get("a"), now.storage.len()), (2, Some(&"x".into()), 1));
    assert!(now.key.is_none());
    assert_eq!(live.report().get("server.port").unwrap().value, Value::Integer(80));

    assert_eq!(kinds(&registry), ["config_reloaded", "config_restart_required"]);
    reload(&live);
    assert_eq!(registry.events().len(), 2, "what is known is not told again");
    assert_eq!(samples(&registry)["octostack_config_restart_required"], 4.0);
    let abnormal = registry.items()[0].abnormal().unwrap();
    assert!(abnormal.starts_with("needs a restart to take effect: "), "{abnormal}");
    assert!(abnormal.contains("server.port"), "{abnormal}");
    assert_eq!(live.standing(), Ok(()), "nothing has failed");

    file.write("pool = 2\n[storage]\na = \"x\"\n[server]\nworkers = 5");
    assert_eq!(reload(&live).waiting, []);
    assert_eq!(registry.items()[0].abnormal(), None);
}

#[test]
fn a_value_that_needs_a_restart_is_checked_now() {
    let file = File::new("restart-bad", "pool = 1");
    let live = file.live();
    file.write("[server]\nport = 80000");
    assert!(refused(&live)[0].contains("from 0 to 65535"));
}

#[test]
fn a_new_secret_is_a_change_that_shows_no_value() {
    let file = File::new("secret", "token = \"first-s3cr3t\"");
    let live = file.live();
    file.write("token = \"second-s3cr3t\"");
    assert_eq!(reload(&live).changed, ["token"]);
    assert!(live.settings().load().token.as_ref().unwrap().matches("second-s3cr3t"));
    let shown = format!("{}{:?}", live.status(), live.diff(None, None).unwrap());
    assert!(shown.contains("token") && !shown.contains("s3cr3t"), "{shown}");
    assert_eq!(reload(&live).changed, [""; 0], "the same secret is no change");
}

#[test]
fn generations_can_be_compared_while_they_are_kept() {
    let file = File::new("diff", "pool = 0");
    let live = file.live();
    for pool in [1, 2, 3] {
        file.write(&format!("pool = {pool}"));
        reload(&live);
    }
    let diff = live.diff(Some(1), Some(3)).unwrap();
    assert_eq!(text(&diff, &["changes", "pool", "from", "value"]), &Value::Integer(0));
    assert_eq!(text(&diff, &["changes", "pool", "to", "value"]), &Value::Integer(2));
    let last = live.diff(None, None).unwrap();
    assert_eq!(text(&last, &["from", "generation"]), &Value::Integer(3));
    assert_eq!(text(&last, &["to", "generation"]), &Value::Integer(4));
    let back = live.diff(Some(4), Some(1)).unwrap();
    assert_eq!(text(&back, &["changes", "pool", "to", "value"]), &Value::Integer(0));
    let none = live.diff(Some(2), Some(2)).unwrap();
    assert_eq!(text(&none, &["changes"]), &Value::Map(Vec::new()));

    for pool in (0..20).map(|n| n % 3) {
        file.write(&format!("pool = {pool}"));
        reload(&live);
    }
    let problems = live.diff(Some(1), Some(99)).unwrap_err();
    let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems.len(), 2);
    assert!(problems[0].starts_with("from: generation 1 is not kept; there are those from"));
    assert!(problems[1].starts_with("to: generation 99 is not kept"));
}

#[test]
fn reloads_at_once_are_one_after_the_other() {
    let file = File::new("at-once", "pool = 0");
    let live = file.live();
    let within = Arc::new(AtomicU32::new(0));
    let count = within.clone();
    live.on_reload("alone", move |_| {
        assert_eq!(count.fetch_add(1, Ordering::SeqCst), 0, "another reload is under way");
        std::thread::yield_now();
        count.fetch_sub(1, Ordering::SeqCst);
        Ok(Commit::nothing())
    });
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (file, live) = (&file, &live);
            scope.spawn(move || {
                for turn in 0..50 {
                    // Another thread may be writing: half a file is refused, never half taken.
                    fs::write(&file.0, format!("pool = {}", (thread + turn) % 4)).unwrap();
                    let _ = live.reload(Trigger::Code);
                    assert!(live.settings().load().pool < 4);
                }
            });
        }
    });
    file.write("pool = 3\ntoken = \"x\"");
    reload(&live);
    assert_eq!(live.settings().load().pool, 3);
}

#[test]
fn what_a_struct_does_not_serialise_changes_too() {
    let file = File::new("hidden", "hidden = 1");
    let live = file.live();
    file.write("hidden = 2");
    assert_eq!(reload(&live).changed, ["hidden"]);
    assert_eq!(live.settings().load().hidden, 2);
    assert_eq!(reload(&live).changed, [""; 0]);
}

#[test]
fn a_secret_in_a_list_that_is_rotated_is_a_change() {
    let with = |password: &str| format!("[[accounts]]\nname = 'a'\npassword = '{password}'");
    let file = File::new("list-secret", &with("first-s3cr3t"));
    let live = file.live();
    file.write(&with("second-s3cr3t"));
    assert_eq!(reload(&live).changed, ["accounts"]);
    assert!(live.settings().load().accounts[0].password.matches("second-s3cr3t"));
    let shown = format!("{} {}", live.status(), live.diff(None, None).unwrap());
    assert!(!shown.contains("s3cr3t"), "{shown}");
}

#[test]
fn a_map_that_holds_what_needs_a_restart_stays_whole() {
    let file = File::new("map-restart", "[limits.a]\nrps = 1\nworkers = 2");
    let live = file.live();
    file.write("pool = 1\n[limits.a]\nrps = 9\nworkers = 3");
    let reloaded = reload(&live);
    assert_eq!(reloaded.changed, ["pool"]);
    let waiting: Vec<_> = reloaded.waiting.iter().map(|waiting| waiting.key.as_str()).collect();
    assert_eq!(waiting, ["limits.a.rps", "limits.a.workers"]);
    let now = live.settings().load();
    assert_eq!((now.limits["a"].rps, now.limits["a"].workers), (1, 2));
}

#[test]
fn a_veto_that_repeats_a_secret_is_not_shown() {
    let file = File::new("veto-secret", "pool = 1");
    let live = file.live();
    live.on_reload("careless", |change| {
        let token = change.new.settings.token.as_ref().unwrap().expose().clone();
        Err(vec![Problem::new("token", format!("{token} is refused"))])
    });
    file.write("token = \"s3cr3t-hunter2\"");
    let problems = refused(&live);
    assert!(problems[0].starts_with("token: refused by the service (details withheld"));
    assert!(!format!("{problems:?}{}", live.status()).contains("s3cr3t"));
}
