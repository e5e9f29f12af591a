//! Following real files, in a time that the tests move.
#![cfg(all(feature = "follow", unix))]
#![allow(clippy::unwrap_used, reason = "in a helper too, it fails the test that called it")]

use octostack_core::follow::{FollowError, Follower, News};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, SystemTime};
use tokio::time::timeout;

/// An empty directory that goes with the test.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("octostack-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Follows a file that holds `content`, which is known.
fn follow(path: &Path, content: &str) -> Follower {
    let mut follower = Follower::new(path);
    assert_eq!(follower.read().unwrap(), content.as_bytes());
    follower
}

const LONG: Duration = Duration::from_secs(5);

async fn no_news(follower: &mut Follower, within: Duration) {
    let news = timeout(within, follower.next()).await;
    assert!(news.is_err(), "{news:?}");
}

/// The next news, which has to be a change, as text.
async fn changed(follower: &mut Follower) -> String {
    match timeout(LONG, follower.next()).await.unwrap() {
        News::Changed(content) => String::from_utf8(content).unwrap(),
        news => panic!("{news:?}"),
    }
}

async fn failed(follower: &mut Follower) -> String {
    match timeout(LONG, follower.next()).await.unwrap() {
        News::Failed(error) => error.to_string(),
        news => panic!("{news:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_news_is_what_it_holds() {
    let dir = Dir::new("first");
    let path = dir.join("f");
    fs::write(&path, "a").unwrap();
    let mut follower = Follower::new(&path);
    assert_eq!(changed(&mut follower).await, "a");
    no_news(&mut follower, LONG).await;

    let mut follower = Follower::new(dir.join("none"));
    assert!(failed(&mut follower).await.contains("none cannot be read: No such file"));
}

#[tokio::test(start_paused = true)]
async fn a_file_renamed_over_it_is_seen_although_size_and_time_stay() {
    let dir = Dir::new("rename");
    let [path, new] = ["f", "new"].map(|name| dir.join(name));
    let written = |path: &Path, content: &str| {
        let mut file = File::create(path).unwrap();
        file.write_all(content.as_bytes()).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    };
    written(&path, "one");
    let mut follower = follow(&path, "one");
    for content in ["two", "six"] {
        written(&new, content);
        fs::rename(&new, &path).unwrap();
        assert_eq!(changed(&mut follower).await, content);
        no_news(&mut follower, LONG).await;
    }
    written(&path, "ten"); // in place
    assert_eq!(changed(&mut follower).await, "ten");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_written_in_two_halves_is_taken_whole() {
    let dir = Dir::new("halves");
    let path = dir.join("f");
    fs::write(&path, "old old").unwrap();
    let mut follower = follow(&path, "old old");
    let mut file = File::create(&path).unwrap(); // truncates
    no_news(&mut follower, Duration::from_millis(1_050)).await; // a look has seen nothing
    file.write_all(b"new ").unwrap();
    no_news(&mut follower, Duration::from_millis(100)).await; // and one the first half
    file.write_all(b"new").unwrap();
    assert_eq!(changed(&mut follower).await, "new new");
    no_news(&mut follower, LONG).await;
}

/// The steps with which the kubelet updates a volume of a `ConfigMap` or a `Secret`.
#[tokio::test(start_paused = true)]
async fn a_volume_of_kubernetes_is_seen_at_its_turn_and_never_half() {
    let dir = Dir::new("kubelet");
    let [path, data, turning] = ["f", "..data", "..data_tmp"].map(|name| dir.join(name));
    let [old, new] = ["..2026_11_24", "..2026_11_25"].map(|name| dir.join(name));
    fs::create_dir(&old).unwrap();
    fs::write(old.join("f"), "old").unwrap();
    symlink("..2026_11_24", &data).unwrap();
    symlink("..data/f", &path).unwrap();
    let mut follower = follow(&path, "old");

    fs::create_dir(&new).unwrap();
    no_news(&mut follower, LONG).await;
    fs::write(new.join("f"), "new").unwrap();
    no_news(&mut follower, LONG).await;
    symlink("..2026_11_25", &turning).unwrap();
    no_news(&mut follower, LONG).await;
    fs::rename(&turning, &data).unwrap();
    assert_eq!(changed(&mut follower).await, "new");
    fs::remove_dir_all(&old).unwrap();
    no_news(&mut follower, LONG).await;
}

#[tokio::test(start_paused = true)]
async fn a_file_that_vanishes_is_told_of_once_and_again_when_it_is_back() {
    let dir = Dir::new("vanish");
    let path = dir.join("f");
    fs::write(&path, "a").unwrap();
    let mut follower = follow(&path, "a");

    // Gone for one look only, as when somebody deletes it to write it anew.
    fs::remove_file(&path).unwrap();
    no_news(&mut follower, Duration::from_millis(1_050)).await;
    fs::write(&path, "a").unwrap();
    no_news(&mut follower, LONG).await;

    fs::remove_file(&path).unwrap();
    assert!(failed(&mut follower).await.contains("No such file"));
    no_news(&mut follower, LONG).await;
    fs::write(&path, "a").unwrap();
    let news = timeout(LONG, follower.next()).await.unwrap();
    assert!(matches!(news, News::Recovered), "{news:?}");

    fs::remove_file(&path).unwrap();
    failed(&mut follower).await;
    fs::create_dir(&path).unwrap();
    let what = failed(&mut follower).await;
    assert!(what.ends_with("is a directory; name a regular file, or a link to one"), "{what}");
    fs::remove_dir(&path).unwrap();
    failed(&mut follower).await;
    fs::write(&path, "b").unwrap();
    assert_eq!(changed(&mut follower).await, "b");
    no_news(&mut follower, LONG).await;
}

#[tokio::test(start_paused = true)]
async fn a_start_without_the_file_waits_for_it() {
    let dir = Dir::new("late");
    let path = dir.join("f");
    let mut follower = Follower::new(&path);
    assert!(matches!(follower.read(), Err(FollowError::Read { .. })));
    no_news(&mut follower, LONG).await; // that is known
    fs::write(&path, "a").unwrap();
    assert_eq!(changed(&mut follower).await, "a");
}

#[tokio::test(start_paused = true)]
async fn size_is_bounded() {
    let dir = Dir::new("size");
    let path = dir.join("f");
    fs::write(&path, "12345678").unwrap();
    let mut follower = Follower::new(&path).with_max_bytes(8);
    assert_eq!(follower.read().unwrap().len(), 8);
    fs::write(&path, "123456789").unwrap();
    let what = failed(&mut follower).await;
    assert!(what.ends_with("is larger than 8 bytes, which is the limit"), "{what}");
    fs::write(&path, "").unwrap();
    assert_eq!(changed(&mut follower).await, "", "nothing is something");
    // A size of 0 says nothing about some files.
    let mut endless = Follower::new("/proc/self/status").with_max_bytes(8);
    assert!(!Path::new("/proc/self/status").exists() || endless.read().is_err());
}

#[tokio::test(start_paused = true)]
async fn whoever_gives_up_waiting_now_and_then_misses_nothing() {
    let dir = Dir::new("cancel");
    let path = dir.join("f");
    fs::write(&path, "a").unwrap();
    let mut follower = follow(&path, "a");
    fs::write(&path, "b").unwrap();
    let mut waits = 0;
    let news = loop {
        waits += 1;
        assert!(waits < 1_000, "it begins anew each time");
        if let Ok(news) = timeout(Duration::from_millis(7), follower.next()).await {
            break news;
        }
    };
    assert!(matches!(&news, News::Changed(content) if content == b"b"), "{news:?}");
    assert!(waits > 100, "{waits}: after a second, not sooner");
}

/// Runs on a thread of its own: what must not hang must not hang the tests either.
#[test]
fn what_is_no_file_is_refused_and_does_not_hang() {
    let dir = Dir::new("pipe");
    let pipe = dir.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for (path, what) in
        [(pipe, "a pipe"), (dir.0.clone(), "a directory"), ("/dev/zero".into(), "a device")]
    {
        let (done, said) = mpsc::channel();
        thread::spawn(move || done.send(Follower::new(path).read()));
        let error = said.recv_timeout(Duration::from_secs(10)).unwrap().unwrap_err();
        assert!(error.to_string().contains(&format!("is {what}; name a regular")), "{error}");
    }
}
