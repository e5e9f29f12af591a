#![allow(clippy::unwrap_used, reason = "in a helper too, it fails the test that called it")]
use super::*;
use crate::config::disk::Disk;
use std::fs;
use std::hash::RandomState;
use std::path::{Path, PathBuf};
use tokio::time::{timeout, timeout_at};

const LONG: Duration = Duration::from_secs(5);

/// A directory of the test's own, with what a load would look at in it.
struct Dir(PathBuf);

impl Dir {
    fn new(test: &str) -> Self {
        let name = format!("octostack-watch-{test}-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }

    fn watch(&self) -> Watch {
        self.watch_as(&Watching::new().without_hints())
    }

    fn watch_as(&self, how: &Watching) -> Watch {
        let disk = Disk::new(&RandomState::new());
        for name in ["a", "b"] {
            let _ = disk.read_text(&self.0.join(name));
        }
        disk.exists(&self.0.join("c")).unwrap();
        Watch::new(disk.into_consulted(), how)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn is_told(watch: &mut Watch, within: Duration) -> bool {
    timeout(within, watch.changed()).await.is_ok()
}

type Change = fn(&Path);

/// Whether the next look makes a change of what it sees.
async fn is_told_by_one_look(watch: &mut Watch) -> bool {
    watch.looking = None; // it may have begun before what is to be seen
    let due = watch.due;
    let soon = due + Duration::from_millis(5);
    loop {
        if timeout_at(soon, watch.changed()).await.is_ok() {
            return true;
        }
        // Paused time may go on before the thread that looks has told what it saw.
        if watch.due != due && watch.looking.is_none() {
            return false;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_is_told_once_whatever_it_is() {
    let dir = Dir::new("once");
    dir.write("a", "1");
    let mut watch = dir.watch();
    assert!(!is_told(&mut watch, LONG).await);
    let changes: [(&str, Change); 6] = [
        ("another content", |dir| fs::write(dir.join("a"), "2").unwrap()),
        ("a file that could not be read", |dir| fs::write(dir.join("b"), "1").unwrap()),
        ("a file that was looked for", |dir| fs::write(dir.join("c"), "").unwrap()),
        ("a file that goes", |dir| fs::remove_file(dir.join("a")).unwrap()),
        ("a directory in its place", |dir| fs::create_dir(dir.join("a")).unwrap()),
        ("what was looked for goes", |dir| fs::remove_file(dir.join("c")).unwrap()),
    ];
    for (what, change) in changes {
        change(&dir.0);
        assert!(is_told(&mut watch, LONG).await, "{what}");
        assert!(!is_told(&mut watch, LONG).await, "{what}, once");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_the_same_in_the_end_is_no_change() {
    let dir = Dir::new("same");
    dir.write("a", "1");
    let mut watch = dir.watch();
    dir.write("a", "1");
    dir.write("c.swp", "somebody else's");
    assert!(!is_told(&mut watch, LONG).await);
    // Gone or half for one look only, as when an editor writes it anew.
    for half in [None, Some("")] {
        match half {
            Some(half) => dir.write("a", half),
            None => fs::remove_file(dir.0.join("a")).unwrap(),
        }
        assert!(!is_told_by_one_look(&mut watch).await);
        dir.write("a", "1");
        assert!(!is_told(&mut watch, LONG).await, "{half:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_is_taken_when_it_rests() {
    let dir = Dir::new("rests");
    dir.write("a", "old");
    let mut watch = dir.watch();
    assert!(!is_told(&mut watch, LONG).await);
    for n in 0..30 {
        dir.write("a", &format!("{n}"));
        assert!(!is_told_by_one_look(&mut watch).await, "{n}");
    }
    assert!(is_told(&mut watch, LONG).await);
    assert!(!is_told(&mut watch, LONG).await);
}

#[tokio::test(start_paused = true)]
async fn what_another_load_has_found_is_what_counts() {
    let dir = Dir::new("rebase");
    dir.write("a", "1");
    let mut watch = dir.watch();
    assert!(!is_told(&mut watch, LONG).await);
    dir.write("a", "2");
    assert!(!is_told_by_one_look(&mut watch).await, "it settles");
    watch.rebase(dir.watch().machine.base().clone());
    assert!(!is_told(&mut watch, LONG).await, "known");
    dir.write("a", "1");
    assert!(is_told(&mut watch, LONG).await, "what was there before is another content");
}

#[tokio::test(start_paused = true)]
async fn whoever_gives_up_waiting_now_and_then_misses_nothing() {
    let dir = Dir::new("cancel");
    dir.write("a", "1");
    let mut watch = dir.watch();
    assert!(!is_told_by_one_look(&mut watch).await);
    dir.write("a", "2");
    let mut waits = 1;
    while !is_told(&mut watch, Duration::from_millis(7)).await {
        waits += 1;
        assert!(waits < 1_000, "it begins anew each time");
    }
    assert!(waits > 100, "{waits}: after a second, not sooner");
}

/// A hint is heard once, and what waits for it is dropped whenever something else has come.
#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn whoever_gives_up_waiting_or_loads_meanwhile_loses_no_hint() {
    let dir = Dir::new("hint");
    dir.write("a", "0");
    let mut watch = dir.watch_as(&Watching::new().with_interval(LONG * 100));
    assert!(!is_told(&mut watch, LONG).await);
    let known = |watch: &Watch| watch.machine.base().clone();
    for meanwhile in ["nothing", "a load", "a load while it looks"] {
        // A look just now, so that the next one has to wait.
        watch.due = Instant::now();
        assert!(!is_told_by_one_look(&mut watch).await);
        dir.write("a", meanwhile);
        let before = known(&watch);
        for _ in 0..1_000 {
            assert!(poll_once(&mut Box::pin(watch.changed())).await.is_none());
            tokio::task::yield_now().await; // time stands still, and the system is asked
        }
        if meanwhile == "a load while it looks" {
            tokio::time::advance(LEAST).await;
            assert!(poll_once(&mut Box::pin(watch.changed())).await.is_none());
            assert!(watch.looking.is_some() || watch.machine.is_settling());
        }
        if meanwhile != "nothing" {
            watch.rebase(before); // it was read before the change
        }
        assert!(is_told(&mut watch, LONG).await, "{meanwhile}");
        assert!(!is_told(&mut watch, LONG).await, "{meanwhile}, once");
    }
}

#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn a_volume_is_told_of_at_its_turn_and_not_when_it_turns_to_the_same() {
    use std::os::unix::fs::symlink;
    let dir = Dir::new("volume");
    for name in ["a", "b"] {
        symlink(Path::new("..data").join(name), dir.0.join(name)).unwrap();
    }
    let mut watch = dir.watch();
    assert!(!is_told(&mut watch, LONG).await);
    let mut old: Option<String> = None;
    for (n, content) in ["1", "2", "2", "3"].into_iter().enumerate() {
        let new = format!("..2026_{n}");
        fs::create_dir(dir.0.join(&new)).unwrap();
        for name in ["a", "b"] {
            dir.write(&format!("{new}/{name}"), content);
            assert!(!is_told(&mut watch, LONG).await);
        }
        symlink(&new, dir.0.join("..data_tmp")).unwrap();
        assert!(!is_told(&mut watch, LONG).await);
        fs::rename(dir.0.join("..data_tmp"), dir.0.join("..data")).unwrap();
        assert_eq!(is_told_by_one_look(&mut watch).await, n != 2, "{n}");
        assert!(!is_told(&mut watch, LONG).await);
        if let Some(old) = old.replace(new) {
            fs::remove_dir_all(dir.0.join(old)).unwrap();
        }
        assert!(!is_told(&mut watch, LONG).await);
    }
}

#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn a_look_that_began_before_another_load_says_nothing_of_what_is_after_it() {
    use std::os::unix::fs::symlink;
    let dir = Dir::new("stale");
    let turn = |name: &str| {
        fs::create_dir(dir.0.join(name)).unwrap();
        dir.write(&format!("{name}/a"), name);
        symlink(name, dir.0.join("..data_tmp")).unwrap();
        fs::rename(dir.0.join("..data_tmp"), dir.0.join("..data")).unwrap();
    };
    turn("..1");
    let mut watch = dir.watch();
    assert!(timeout(Duration::ZERO, watch.changed()).await.is_err(), "it has begun to look");
    while watch.looking.as_ref().is_some_and(|looking| !looking.is_finished()) {
        tokio::task::yield_now().await;
    }
    turn("..2");
    watch.rebase(dir.watch().machine.base().clone());
    assert!(!is_told(&mut watch, LONG).await);
}

#[tokio::test(start_paused = true)]
async fn looks_that_hang_do_not_pile_up() {
    use std::sync::{Mutex, PoisonError, mpsc};
    static GONE: Mutex<Option<mpsc::Receiver<()>>> = Mutex::new(None);
    static BEGUN: Mutex<u32> = Mutex::new(0);
    let dir = Dir::new("hang");
    dir.write("a", "1");
    let mut watch = dir.watch();
    assert!(!is_told_by_one_look(&mut watch).await);
    let (back, until_back) = mpsc::channel::<()>();
    *GONE.lock().unwrap() = Some(until_back);
    watch.how = |base| {
        *BEGUN.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        let until_back = GONE.lock().unwrap_or_else(PoisonError::into_inner).take();
        until_back.map(|back| back.recv());
        base.look()
    };
    dir.write("a", "2");
    // While a thread blocks, time stands still unless it is moved.
    for _ in 0..20 {
        let changed = watch.changed();
        tokio::pin!(changed);
        assert!(poll_once(&mut changed).await.is_none());
        tokio::time::advance(LONG).await;
    }
    drop(back);
    assert!(is_told(&mut watch, LONG).await);
    let begun = *BEGUN.lock().unwrap();
    assert_eq!(begun, 2, "the one that hung, and the one that agrees with it");
}

/// What one poll of `future` says.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|cx| match std::pin::Pin::new(&mut *future).poll(cx) {
        std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

/// Whoever writes a secret where the name of a file belongs must not find it on a page.
#[tokio::test]
async fn the_status_does_not_show_what_may_be_a_secret() {
    let disk = Disk::new(&RandomState::new());
    let secret = "hunter2".repeat(60);
    assert!(disk.read_text(Path::new(&format!("{secret}/x"))).is_err());
    let watch = Watch::new(disk.into_consulted(), &Watching::new());
    let status = watch.status().to_string();
    assert!(!status.contains("hunter2"), "{status}");
    assert!(!cfg!(target_os = "linux") || status.contains("inotify"), "{status}");
}
