//! Reloads of settings with odd types, through odd files, with guests that misbehave.
#![cfg(feature = "reload")]
#![allow(clippy::unwrap_used, reason = "in a helper too, it fails the test that called it")]

use octostack_core::config::Loader;
use octostack_core::config::live::{Commit, Hangups, Live, Trigger, Watching};
use octostack_core::config::remote::{Document, Fetch, Fetched, Format, Remote, Source};
use octostack_core::inspect::{Problem, Registry};
use octostack_core::secret::Secret;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fs;
use std::future::{Future, ready};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Settings {
    pool: u32,
    tags: HashSet<String>,
    regions: HashSet<String>,
    #[schemars(extend("x-restart-required" = true))]
    zones: HashSet<String>,
    token: Option<Secret<String>>,
}

impl Default for Settings {
    fn default() -> Self {
        let regions = (0..9).map(|n| format!("region-{n}")).collect();
        let (tags, zones) = (HashSet::new(), HashSet::new());
        Self { pool: 1, tags, regions, zones, token: None }
    }
}

/// A directory of the test's own.
struct Dir(PathBuf);

impl Dir {
    fn new(test: &str) -> Self {
        let name = format!("octostack-faults-{test}-{}", std::process::id());
        let dir = Self(std::env::temp_dir().join(name));
        let _ = fs::remove_dir_all(&dir.0);
        fs::create_dir_all(&dir.0).unwrap();
        dir
    }

    fn write(&self, text: &str) {
        fs::write(self.0.join("default.toml"), text).unwrap();
    }

    fn live(&self) -> Live<(), Settings> {
        live(Loader::new("T_").config_dir(&self.0))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn live(loader: Loader) -> Live<(), Settings> {
    Live::start(loader, |(), _| Vec::new()).unwrap()
}

fn reload(live: &Live<(), Settings>) -> Result<Vec<String>, String> {
    let reloaded = live.reload(Trigger::Code).map_err(|refused| refused.to_string())?;
    assert_eq!(reloaded.waiting, []);
    Ok(reloaded.changed)
}

#[test]
fn a_set_is_the_same_in_whichever_order_it_serialises() {
    let dir = Dir::new("set");
    let letters = "['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']";
    dir.write(&format!("tags = {letters}\nzones = {letters}"));
    let live = dir.live();
    for _ in 0..5 {
        assert_eq!(reload(&live).unwrap(), [""; 0]);
    }
    dir.write(&format!("tags = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'i']\nzones = {letters}"));
    assert_eq!(reload(&live).unwrap(), ["tags"]);
}

#[cfg(unix)]
#[test]
fn a_file_that_cannot_be_got_at_is_no_reason_for_defaults() {
    use std::os::unix::fs::symlink;
    let dir = Dir::new("broken");
    let file = dir.0.join("default.toml");
    fs::create_dir(dir.0.join("..1")).unwrap();
    fs::write(dir.0.join("..1/default.toml"), "pool = 7").unwrap();
    symlink("..1", dir.0.join("..data")).unwrap();
    symlink("..data/default.toml", &file).unwrap();
    let live = dir.live();
    let refused = || {
        let why = reload(&live).unwrap_err();
        assert_eq!(live.settings().load().pool, 7, "{why}");
        assert!(why.contains("default.toml: it is a link that leads nowhere"), "{why}");
    };
    fs::remove_file(dir.0.join("..data")).unwrap();
    refused();
    for target in [Path::new("/nowhere/default.toml"), Path::new("default.toml")] {
        fs::remove_file(&file).unwrap();
        symlink(target, &file).unwrap();
        refused();
    }
    fs::remove_file(&file).unwrap();
    assert_eq!(reload(&live).unwrap(), ["pool"], "it was taken away");
}

#[test]
fn a_veto_shows_neither_the_secret_in_effect_nor_one_as_its_key() {
    let dir = Dir::new("veto");
    let token = dir.0.join("token");
    fs::write(&token, "s3cr3t-before").unwrap();
    let variables = [("T_TOKEN_FILE", token.display().to_string())];
    let live = live(Loader::new("T_").environment(variables));
    live.on_reload("careless", |change| {
        let of = |settings: &Settings| settings.token.as_ref().unwrap().expose().clone();
        let (old, new) = (of(change.old.settings), of(change.new.settings));
        let still = Problem::new("token", format!("{old} is still in use"));
        Err(vec![still, Problem::new(format!("tokens.{new}"), "is not known")])
    });
    let registry = Registry::new();
    live.register(&registry);
    fs::write(&token, "s3cr3t-after").unwrap();
    let refused = live.reload(Trigger::Code).unwrap_err();
    assert_eq!(refused.problems.len(), 2);
    let shown = format!("{refused:?} {} {:?}", live.status(), registry.events());
    assert!(!shown.contains("s3cr3t"), "{shown}");
}

#[test]
fn reloads_that_wait_for_one_that_hangs_take_no_threads() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let dir = Dir::new("hangs");
    let live = dir.live();
    let ((go, gone), (enter, entered)) = (mpsc::channel::<()>(), mpsc::channel());
    let gone = Mutex::new(gone);
    live.on_reload("slow", move |_| {
        enter.send(()).unwrap();
        let _ = gone.lock().unwrap().recv();
        Ok(Commit::nothing())
    });
    dir.write("pool = 2");
    let reload = || {
        let live = live.clone();
        runtime.spawn(async move { live.reload_aside(Trigger::Code).await.map(|r| r.generation) })
    };
    let first = reload();
    entered.recv().unwrap();
    let others: Vec<_> = (0..8).map(|_| reload()).collect();
    runtime.block_on(async {
        // Each of them has come to where it waits once all that was spawned before has run.
        for _ in 0..100 {
            tokio::spawn(tokio::task::yield_now()).await.unwrap();
        }
        let other = tokio::task::spawn_blocking(|| ());
        let done = tokio::time::timeout(Duration::from_secs(5), other).await;
        drop(go);
        assert!(done.is_ok(), "there is no thread for anybody else");
        assert_eq!(first.await.unwrap().unwrap(), 2);
        for other in others {
            assert_eq!(other.await.unwrap().unwrap(), 2);
        }
    });
}

/// A source that has something else each time.
struct Counts(AtomicU32);

impl Source for Counts {
    fn name(&self) -> &'static str {
        "counts"
    }

    fn fetch<'a>(&'a self, _: Option<&'a str>) -> Fetch<'a> {
        let text = format!("pool = {}", self.0.fetch_add(1, Ordering::Relaxed));
        let document = Document::new(text, Format::Toml);
        Box::pin(ready(Ok(Fetched::Document(document))))
    }

    fn changed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(ready(()))
    }
}

#[test]
fn what_a_reload_warns_of_is_told_once_and_shown() {
    let (dir, cache) = (Dir::new("warns"), Dir::new("cache"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let remote = Remote::new(Counts(AtomicU32::new(1))).with_cache(&cache.0);
    runtime.block_on(remote.start()).unwrap();
    let live = live(Loader::new("T_").config_dir(&dir.0).remote(&remote));
    let registry = Registry::new();
    live.register(&registry);
    fs::remove_dir_all(&cache.0).unwrap();
    fs::write(&cache.0, "a file in its place").unwrap();
    let warnings = || registry.events().iter().filter(|e| e.kind == "config_warning").count();
    for _ in 0..2 {
        runtime.block_on(remote.next());
        assert_eq!(reload(&live).unwrap(), ["pool"]);
        assert_eq!(warnings(), 1);
    }
    let shown = live.status().to_string();
    fs::remove_file(&cache.0).unwrap();
    assert!(shown.contains("counts: its cache ") && shown.contains("cannot be written"), "{shown}");
}

#[test]
fn an_event_stays_one_message_however_much_is_wrong() {
    let dir = Dir::new("many");
    let live = dir.live();
    let registry = Registry::new();
    live.register(&registry);
    let unknown: Vec<_> = (0..1_000).map(|n| format!("unknown{n} = 1")).collect();
    dir.write(&unknown.join("\n"));
    assert_eq!(live.reload(Trigger::Code).unwrap_err().problems.len(), 1_000);
    let message = &registry.events()[0].message;
    assert!(message.ends_with("and 992 more") && message.len() < 4_000, "{}", message.len());
}

/// A source that panics when it is asked for the second time.
struct Panics(Arc<AtomicU32>);

impl Source for Panics {
    fn name(&self) -> &'static str {
        "panics"
    }

    fn fetch<'a>(&'a self, _: Option<&'a str>) -> Fetch<'a> {
        let times = self.0.fetch_add(1, Ordering::Relaxed);
        assert_ne!(times, 1, "a bug of the source");
        let document = Document::new(format!("pool = {times}"), Format::Toml);
        Box::pin(ready(Ok(Fetched::Document(document))))
    }

    fn changed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(tokio::time::sleep(Duration::from_millis(50)))
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_panics_has_failed_and_is_asked_again() {
    let asked = Arc::new(AtomicU32::new(0));
    let remote = Remote::new(Panics(asked.clone()));
    remote.start().await.unwrap();
    let live = live(Loader::new("T_").remote(&remote));
    let registry = Registry::new();
    live.register(&registry);
    let follow = live.follow(Hangups::install().unwrap(), Watching::new().without_hints());
    let reloaded = async {
        while live.settings().generation() == 1 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = follow => panic!("it ended"),
        () = reloaded => {}
    }
    let events = registry.events();
    let failed = events.iter().find(|event| event.kind == "config_source_failed").unwrap();
    assert!(failed.message.starts_with("panics: its source panicked"), "{}", failed.message);
    assert!(asked.load(Ordering::Relaxed) > 2);
}
