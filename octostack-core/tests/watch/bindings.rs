//! A binding whose secret is rotated.
use super::kubelet::{Payload, RENAME, Volume};
use super::{pause, temp_dir};
use octostack_core::Registry;
use octostack_core::binding::{Binding, Postgresql};
use octostack_core::config::Loader;
use octostack_core::config::live::{Hangups, Live, Watching};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Serialize, Deserialize, JsonSchema)]
struct Settings {
    database: Binding<Postgresql>,
}

/// Credentials `n`; some come with a certificate.
fn payload(n: u32) -> Payload {
    let mut entries = vec![
        ("type", "postgresql".to_owned()),
        ("host", "db".to_owned()),
        ("username", format!("user{n}")),
        ("password", format!("hunter{n}")),
    ];
    if n % 2 == 1 {
        entries.push(("certificates", format!("pem{n}")));
    }
    entries.into_iter().map(|(name, text)| (name.to_owned(), text)).collect()
}

/// The one rotation that all of it is of.
fn number(settings: &Settings) -> u32 {
    let database = &settings.database;
    let number = database.username().unwrap().strip_prefix("user").unwrap().parse().unwrap();
    assert_eq!(database.password().unwrap().expose(), &format!("hunter{number}"));
    let certificate = database.entry("certificates").map(|entry| entry.expose().clone());
    assert_eq!(certificate, (number % 2 == 1).then(|| format!("pem{number}")));
    number
}

/// Waits for what a watch has to bring about.
async fn until(done: impl Fn() -> bool) {
    let waiting = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap();
}

async fn a_rotation_is_noticed_whole(test: &str, how: Watching) {
    let root = temp_dir(test);
    let dir = root.join("orders-db");
    std::fs::create_dir_all(&dir).unwrap();
    let mut volume = Volume::new(dir);
    volume.set(&payload(0));
    let loader = Loader::new("T_").environment([("SERVICE_BINDING_ROOT", root.to_str().unwrap())]);
    let live = Live::<(), Settings>::start(loader, |(), _| Vec::new()).unwrap();
    let registry = Registry::new();
    live.register(&registry);
    let (follow, hangups) = (live.clone(), Hangups::install().unwrap());
    let task = tokio::spawn(async move { follow.follow(hangups, how).await });
    pause().await;
    for n in 1..5 {
        for (what, step) in volume.update(&payload(n)) {
            step();
            if what == RENAME {
                until(|| number(&live.settings().load()) == n).await;
            }
            number(&live.settings().load());
        }
    }
    let told = format!("{:?} {}", registry.events(), live.status());
    assert!(!told.contains("failed") && !told.contains("hunter"), "{told}");
    task.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_is_noticed_with_inotify() {
    let how = Watching::new().with_interval(Duration::from_secs(600));
    a_rotation_is_noticed_whole("binding-inotify", how).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_is_noticed_without_inotify() {
    let how = Watching::new().without_hints().with_interval(Duration::from_millis(10));
    a_rotation_is_noticed_whole("binding-poll", how).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_binding_is_noticed_with_inotify() {
    let how = Watching::new().with_interval(Duration::from_secs(600));
    a_binding_that_is_attached_later_is_noticed("binding-first", how).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_binding_is_noticed_without_inotify() {
    let how = Watching::new().without_hints().with_interval(Duration::from_millis(10));
    a_binding_that_is_attached_later_is_noticed("binding-late", how).await;
}

async fn a_binding_that_is_attached_later_is_noticed(test: &str, how: Watching) {
    // Not beside what other tests write.
    let root = temp_dir(test).join("root");
    std::fs::create_dir_all(&root).unwrap();
    let loader = Loader::new("T_").environment([
        ("SERVICE_BINDING_ROOT", root.to_str().unwrap()),
        ("T_DATABASE_HOST", "given"),
    ]);
    let live = Live::<(), Settings>::start(loader, |(), _| Vec::new()).unwrap();
    let (follow, hangups) = (live.clone(), Hangups::install().unwrap());
    let task = tokio::spawn(async move { follow.follow(hangups, how).await });
    pause().await;
    let dir = temp_dir(&format!("{test}-attached"));
    Volume::new(dir.clone()).set(&payload(2));
    std::fs::rename(dir, root.join("database")).unwrap();
    until(|| live.settings().load().database.username() == Some("user2")).await;
    assert_eq!(live.settings().load().database.host(), Some("given"), "variables are above");
    task.abort();
}
