//! Files that change under a running service: as Kubernetes, editors and careless people do it.
#![cfg(all(feature = "reload", unix))]
#![allow(clippy::unwrap_used, reason = "in a helper too, it fails the test that called it")]

#[cfg(feature = "bindings")]
mod bindings;
mod kubelet;

use kubelet::{Payload, RENAME, Volume};
use octostack_core::config::Loader;
use octostack_core::config::live::{Hangups, Live, Watching};
use octostack_core::secret::Secret;
use octostack_core::{Clock, Registry, SystemClock};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Every value is the number of the update that wrote it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Settings {
    first: u32,
    second: u32,
    #[serde(default)]
    added: Option<u32>,
    #[serde(default)]
    key: Option<u32>,
    token: Secret<String>,
}

impl Settings {
    /// The one update that all of it is of.
    fn number(&self) -> u32 {
        assert_eq!((self.second, self.token.expose()), (self.first, &self.first.to_string()));
        assert!(self.added.is_none_or(|added| added == self.first), "{self:?}");
        assert!(self.key.is_none_or(|key| key == self.first), "{self:?}");
        self.first
    }
}

/// An empty directory of the test's own.
fn temp_dir(test: &str) -> PathBuf {
    let name = format!("watch-{test}-{}", std::process::id());
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// Update `n`; some have a file more, some a key more.
fn payload(n: u32) -> Payload {
    let key = if n % 2 == 1 { format!("key = {n}\n") } else { String::new() };
    let mut files = vec![
        ("default.toml", format!("first = {n}\n{key}")),
        ("sub/second.toml", format!("second = {n}\n")),
        ("token", format!("{n}\n")),
    ];
    if n % 3 == 2 {
        files.push(("prod.toml", format!("added = {n}\n")));
    }
    files.into_iter().map(|(name, text)| (name.to_owned(), text)).collect()
}

/// Reads the files of a volume.
fn loader(volume: &Volume) -> Loader {
    Loader::new("T_")
        .environment_name("prod")
        .config_dir(volume.path(""))
        .file(volume.path("sub/second.toml"))
        .environment([("T_TOKEN_FILE", volume.path("token").to_str().unwrap())])
}

fn load(loader: &Loader) -> u32 {
    loader.load::<(), Settings>().unwrap().settings.number()
}

/// As `load`; none if the volume was exchanged faster than it can be read.
fn try_load(loader: &Loader) -> Option<u32> {
    match loader.load::<(), Settings>() {
        Ok(all) => Some(all.settings.number()),
        Err(errors) if errors.to_string().contains("exchanged faster") => None,
        Err(errors) => panic!("{errors}"),
    }
}

struct Following {
    live: Live<(), Settings>,
    registry: Registry,
    task: JoinHandle<()>,
}

impl Following {
    fn start(loader: Loader, how: Watching) -> Self {
        let live = Live::start(loader, |(), _| Vec::new()).unwrap();
        let registry = Registry::new();
        live.register(&registry);
        let (follow, hangups) = (live.clone(), Hangups::install().unwrap());
        let task = tokio::spawn(async move { follow.follow(hangups, how).await });
        Self { live, registry, task }
    }

    fn events(&self) -> Vec<String> {
        let events = self.registry.events();
        events.iter().map(|event| format!("{}: {}", event.kind, event.message)).collect()
    }

    /// Waits until so many things have been told.
    async fn told(&self, count: usize) -> Vec<String> {
        let start = SystemClock.now();
        while self.events().len() < count {
            assert!(SystemClock.now() - start < Duration::from_secs(20), "{:?}", self.events());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.events()
    }

    fn first(&self) -> u32 {
        self.live.settings().load().first
    }

    /// Waits until the settings are those of update `n`. A machine that is busy may show a file
    /// half written for long enough to be taken for whole, and refused: that is no fault.
    async fn reaches(&self, n: u32) {
        let start = SystemClock.now();
        while self.first() != n {
            assert!(SystemClock.now() - start < Duration::from_secs(20), "{:?}", self.events());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the last reload is one that was refused.
    async fn refuses(&self) {
        let start = SystemClock.now();
        while self.live.standing().is_ok() {
            assert!(SystemClock.now() - start < Duration::from_secs(20), "{:?}", self.events());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn reloads(&self) -> usize {
        let is_reload = |event: &&String| event.starts_with("config_reloaded");
        self.events().iter().filter(is_reload).count()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// For a test in which nothing may happen: several looks long.
async fn pause() {
    tokio::time::sleep(Duration::from_millis(60)).await;
}

#[test]
fn a_load_between_any_two_steps_sees_one_update_whole() {
    let mut volume = Volume::new(temp_dir("steps"));
    volume.set(&payload(0));
    let loader = loader(&volume);
    for n in 1..7 {
        let mut expected = n - 1;
        for (what, step) in volume.update(&payload(n)) {
            step();
            if what == RENAME {
                expected = n;
            }
            assert_eq!(load(&loader), expected, "after: {what}");
        }
    }
}

#[test]
fn a_load_during_updates_sees_one_update_whole() {
    let mut volume = Volume::new(temp_dir("stress"));
    volume.set(&payload(0));
    let loader = loader(&volume);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut last = 0;
                while !done.load(Ordering::Relaxed) {
                    // On a machine that is busy, ten updates may come during one load.
                    let Some(now) = try_load(&loader) else { continue };
                    assert!(now >= last, "{now} after {last}");
                    last = now;
                }
            });
        }
        for n in 1..500 {
            volume.set(&payload(n));
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(load(&loader), 499);
}

async fn every_update_is_noticed_once(test: &str, how: Watching) {
    let mut volume = Volume::new(temp_dir(test));
    volume.set(&payload(0));
    let following = Following::start(loader(&volume), how);
    pause().await;
    for n in 1..7 {
        for (what, step) in volume.update(&payload(n)) {
            step();
            if what == RENAME {
                following.told(n as usize).await;
            }
            pause().await;
            let expected = if following.events().len() == n as usize { n } else { n - 1 };
            assert_eq!(following.first(), expected, "after: {what}");
            assert!(what == RENAME || following.first() == expected);
        }
        let events = following.events();
        assert_eq!(events.len(), n as usize, "{events:?}");
        assert!(events[n as usize - 1].starts_with("config_reloaded: "), "{events:?}");
        following.live.settings().load().number();
    }
    assert!(!following.events().iter().any(|event| event.contains("failed")));
    // Kubelet writes nothing if nothing has changed; others do.
    volume.set(&payload(6));
    pause().await;
    assert_eq!(following.events().len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_update_of_a_volume_is_noticed_once_with_inotify() {
    // So seldom that nothing is noticed without.
    let how = Watching::new().with_interval(Duration::from_secs(600));
    every_update_is_noticed_once("inotify", how).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_update_of_a_volume_is_noticed_once_without_inotify() {
    let how = Watching::new().without_hints().with_interval(Duration::from_millis(10));
    every_update_is_noticed_once("poll", how).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_is_in_effect_within_two_seconds_without_inotify() {
    let mut volume = Volume::new(temp_dir("latency"));
    volume.set(&payload(0));
    let following = Following::start(loader(&volume), Watching::new().without_hints());
    pause().await;
    let start = SystemClock.now();
    volume.set(&payload(1));
    following.told(1).await;
    assert!(
        SystemClock.now() - start < Duration::from_secs(2),
        "{:?}",
        (SystemClock.now() - start)
    );
    assert_eq!(following.first(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_is_populated_late_is_noticed() {
    let dir = temp_dir("late");
    let loader = Loader::new("T_").config_dir(&dir).environment([
        ("T_FIRST", "0"),
        ("T_SECOND", "0"),
        ("T_TOKEN", "0"),
    ]);
    let following = Following::start(loader, Watching::new());
    pause().await;
    let mut volume = Volume::new(dir);
    let files = [("default.toml".to_owned(), "key = 0\n".to_owned())];
    volume.set(&files.into_iter().collect());
    following.told(1).await;
    assert_eq!(following.live.settings().load().key, Some(0));
}

/// One plain file, and who follows it.
struct Plain {
    path: PathBuf,
    following: Following,
}

impl Plain {
    async fn start(test: &str, how: Watching) -> Self {
        let path = temp_dir(test).join("app.toml");
        fs::write(&path, Self::text(0)).unwrap();
        let loader = Loader::new("T_").environment([("T_TOKEN", "x")]).file(&path);
        let following = Following::start(loader, how);
        pause().await;
        Self { path, following }
    }

    fn text(n: u32) -> String {
        format!("first = {n}\nsecond = {n}\n")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_files_are_noticed_however_they_are_written() {
    for (test, how) in [
        ("plain-inotify", Watching::new().with_interval(Duration::from_secs(600))),
        ("plain-poll", Watching::new().without_hints().with_interval(Duration::from_millis(10))),
    ] {
        let plain = Plain::start(test, how).await;
        let (path, following) = (&plain.path, &plain.following);
        fs::write(path, Plain::text(1)).unwrap();
        following.reaches(1).await;
        // As editors do: a new file in the place of the old one.
        let other = path.with_extension("tmp");
        fs::write(&other, Plain::text(2)).unwrap();
        fs::rename(&other, path).unwrap();
        following.reaches(2).await;
        // Or the old one is moved away first.
        fs::rename(path, &other).unwrap();
        fs::write(path, Plain::text(3)).unwrap();
        following.reaches(3).await;

        fs::write(&other, Plain::text(3)).unwrap();
        fs::rename(&other, path).unwrap();
        fs::File::open(path).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
        pause().await;
        assert_eq!(following.reloads(), 3, "{test}: nothing has changed");

        // A broken file is refused, and its repair is noticed.
        fs::write(path, "first = ").unwrap();
        following.refuses().await;
        assert_eq!(following.first(), 3);
        fs::remove_file(path).unwrap();
        pause().await;
        following.refuses().await;
        fs::write(path, Plain::text(4)).unwrap();
        following.reaches(4).await;
        assert_eq!(following.live.standing(), Ok(()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reloads_meanwhile_spares_the_watch_the_work() {
    let how = Watching::new().without_hints().with_interval(Duration::from_millis(10));
    let plain = Plain::start("meanwhile", how).await;
    for n in 1..20 {
        fs::write(&plain.path, Plain::text(n)).unwrap();
        let trigger = octostack_core::config::live::Trigger::Code;
        plain.following.live.reload_aside(trigger).await.unwrap();
    }
    pause().await;
    pause().await;
    assert_eq!(plain.following.events().len(), 19);
    assert!(plain.following.events().iter().all(|event| event.contains("by the service itself")));
}

#[test]
fn a_pipe_is_refused_instead_of_waited_for() {
    let path = temp_dir("pipe").join("app.toml");
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    let errors = Loader::new("T_").file(&path).load::<(), Settings>().unwrap_err().to_string();
    assert!(errors.contains("app.toml: it is a pipe, not a file"), "{errors}");
}
