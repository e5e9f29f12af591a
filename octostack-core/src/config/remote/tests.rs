use super::*;
use std::collections::VecDeque;
use std::path::PathBuf;
use tokio::time::Instant;

/// A source that says what it is told to, and counts.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<VecDeque<Result<Fetched, RemoteError>>>>);

impl Script {
    fn say(&self, what: Result<Fetched, RemoteError>) {
        lock(&self.0).push_back(what);
    }

    fn remote(&self) -> Remote {
        Remote::new(self.clone())
    }
}

impl Source for Script {
    fn name(&self) -> &'static str {
        "script"
    }

    fn fetch<'a>(&'a self, _: Option<&'a str>) -> Fetch<'a> {
        let answer = lock(&self.0).pop_front();
        Box::pin(async move {
            match answer {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        })
    }
}

fn document(text: &str) -> Fetched {
    Fetched::Document(Document::new(text, Format::Toml).with_version("1"))
}

fn failed() -> Result<Fetched, RemoteError> {
    Err(RemoteError::new("is down"))
}

fn text(remote: &Remote) -> Option<String> {
    remote.held().map(|held| held.document.text)
}

#[tokio::test(start_paused = true)]
async fn an_error_never_replaces_the_last_good_document_and_is_told_once() {
    let script = Script::default();
    script.say(Ok(document("a = 1")));
    let remote = script.remote();
    remote.start().await.unwrap();
    for answer in [failed(), failed(), failed(), Ok(Fetched::Unchanged)] {
        script.say(answer);
    }
    assert_eq!(remote.next().await, RemoteNews::Failed("script: is down".to_owned()));
    assert_eq!(text(&remote).as_deref(), Some("a = 1"));
    assert!(remote.abnormal().is_some_and(|why| why.contains("is down")));
    assert_eq!(remote.next().await, RemoteNews::Recovered);
    assert_eq!(remote.abnormal(), None);
    // The same text under another version is no change; another text is.
    let again = Document::new("a = 1", Format::Toml).with_version("2");
    script.say(Ok(Fetched::Document(again)));
    script.say(Ok(document("a = 2")));
    assert_eq!(remote.next().await, RemoteNews::Changed);
    assert_eq!(text(&remote).as_deref(), Some("a = 2"));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_is_asked_less_often_and_not_before_it_wants() {
    let script = Script::default();
    let remote = script.remote().optional();
    script.say(failed());
    remote.start().await.unwrap();
    assert!(remote.warning().is_some_and(|warning| warning.contains("the service does without")));
    for _ in 0..4 {
        script.say(failed());
    }
    let polite = RemoteError::new("is busy").with_retry_after(Duration::from_secs(120));
    script.say(Err(polite));
    script.say(Ok(document("a = 1")));
    let start = Instant::now();
    assert_eq!(remote.next().await, RemoteNews::Changed);
    let took = start.elapsed().as_secs_f64();
    // 1, 2, 4, 8, 16 s, each at least half, then 120 s.
    assert!((120.0 + 15.5..=120.0 + 31.0).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_hangs_is_a_failure() {
    let remote = Script::default().remote().with_timeout(Duration::from_secs(3));
    let error = remote.start().await.unwrap_err();
    assert!(error.message().starts_with("script: no answer within 3s, and there is no cache"));
}

/// An empty directory of the test's own.
fn dir(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("octostack-remote-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    dir
}

fn file_in(dir: &Path) -> PathBuf {
    let files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

#[tokio::test(start_paused = true)]
async fn a_start_without_the_source_takes_the_last_document_that_was_accepted() {
    let dir = dir("cache");
    let script = Script::default();
    let remote = script.remote().with_cache(&dir);
    script.say(Ok(document("a = 1")));
    remote.start().await.unwrap();
    remote.accepted(&remote.held().unwrap()).unwrap();
    // Not accepted, so not kept.
    script.say(Ok(document("a = 'wrong'")));
    assert_eq!(remote.next().await, RemoteNews::Changed);

    let script = Script::default();
    let remote = script.remote().with_cache(&dir);
    script.say(failed());
    remote.start().await.unwrap();
    assert_eq!(text(&remote).as_deref(), Some("a = 1"));
    let warning = remote.warning().unwrap();
    assert!(warning.contains("is down") && warning.contains("from the cache"), "{warning}");
    assert_eq!(remote.status().get("from_cache"), Some(&true.into()));
    script.say(Ok(document("a = 2")));
    assert_eq!(remote.next().await, RemoteNews::Changed);
    assert_eq!((remote.warning(), text(&remote).as_deref()), (None, Some("a = 2")));
    std::fs::remove_dir_all(dir).unwrap();
}

#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn a_cache_is_for_its_owner_alone_and_whole() {
    use std::os::unix::fs::PermissionsExt;
    let dir = dir("mode");
    let script = Script::default();
    script.say(Ok(document("a = 1\nb = 'text'")));
    let remote = script.remote().with_cache(&dir);
    remote.start().await.unwrap();
    remote.accepted(&remote.held().unwrap()).unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let file = file_in(&dir);
    assert_eq!((mode(&dir), mode(&file)), (0o700, 0o600));
    let good = std::fs::read(&file).unwrap();

    let start = async || {
        let script = Script::default();
        script.say(failed());
        script.remote().with_cache(&dir).start().await.map_err(|error| error.to_string())
    };
    start().await.unwrap();
    for cut in [0, 1, good.len() / 2, good.len() - 1] {
        std::fs::write(&file, &good[..cut]).unwrap();
        assert!(start().await.unwrap_err().contains("is damaged"), "cut at {cut}");
    }
    for at in 0..good.len() {
        let mut changed = good.clone();
        changed[at] ^= 1;
        std::fs::write(&file, &changed).unwrap();
        assert!(start().await.is_err(), "changed at {at}: {}", String::from_utf8_lossy(&changed));
    }
    std::fs::write(&file, &good).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(start().await.unwrap_err().contains("must have mode 0600"));
    std::fs::remove_dir_all(dir).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_source_that_has_no_document_to_begin_with_has_failed() {
    let script = Script::default();
    script.say(Ok(Fetched::Unchanged));
    let error = script.remote().start().await.unwrap_err();
    assert!(error.message().contains("there is no document yet"), "{error}");
}

#[test]
fn sources_that_differ_in_what_is_not_shown_have_caches_of_their_own() {
    let dir = dir("ids");
    let cache = |id: &str| Cache::new(&dir, "https://a/b.toml", id);
    let document = |text: &str| Document::new(text, Format::Toml);
    let now = SystemTime::now();
    cache("https://a/b.toml?env=one").write(&document("a = 1"), now).unwrap();
    cache("https://a/b.toml?env=two").write(&document("a = 2"), now).unwrap();
    let one = cache("https://a/b.toml?env=one").read().unwrap().0;
    assert_eq!(one.text, "a = 1");
    let files: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 2);
    let written = std::fs::read_to_string(&files[0]).unwrap();
    assert!(!written.contains("env="), "a query may hold a token: {written}");
    std::fs::remove_dir_all(dir).unwrap();
}
