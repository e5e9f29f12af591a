//! Settings that come over the network: a document somewhere else, and the last good one of it.
//!
//! One config for a fleet is convenient until the server of it is down while instances start. So a
//! [`Remote`] keeps what it got last: in memory, where an error never replaces it, and on disk, so
//! that a service can start without the server. A start from disk is no secret: it stands in the
//! warnings and on the status page.
//!
//! What is fetched is one more source, above named files and below the environment, in the order
//! in which remotes are [added](crate::config::Loader::remote). It is checked as any other, with
//! the address in the place of the file: `https://config/orders.toml:3:9`. It may not set secrets,
//! since whoever can read the document would have them; so there are none on disk either. Only a
//! document with which the whole config was right is written to disk.
//!
//! Where documents come from is a [`Source`]: with feature `config-http` [`HttpSource`], or one of
//! your own.
//!
//! ```
//! use octostack_core::config::Loader;
//! use octostack_core::config::remote::{Document, Fetch, Fetched, Format, Remote, Source};
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize, JsonSchema)]
//! struct Settings {
//!     pool_size: u32,
//! }
//!
//! /// A source that knows its document by heart.
//! struct Fixed;
//!
//! impl Source for Fixed {
//!     fn name(&self) -> &str {
//!         "fixed"
//!     }
//!
//!     fn fetch<'a>(&'a self, seen: Option<&'a str>) -> Fetch<'a> {
//!         let fetched = match seen {
//!             Some("1") => Fetched::Unchanged,
//!             _ => Fetched::Document(Document::new("pool_size = 20", Format::Toml).with_version("1")),
//!         };
//!         Box::pin(async move { Ok(fetched) })
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let remote = Remote::new(Fixed);
//! remote.start().await?;
//! let loader = Loader::new("ORDERS_").remote(&remote);
//! assert_eq!(loader.load::<(), Settings>()?.settings.pool_size, 20);
//! # Ok(())
//! # }
//! ```
mod cache;
#[cfg(feature = "config-http")]
mod http;
mod pace;
mod source;

#[cfg(feature = "config-http")]
pub use http::HttpSource;
pub use source::{Document, Fetch, Fetched, Format, RemoteError, Source};

use crate::inspect::Value;
use crate::sync::lock;
use crate::time::rfc3339;
use cache::Cache;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// How long one fetch may take, unless told otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A document somewhere else, and the last good one of it; see the [module docs](self).
///
/// Clones are cheap and share everything.
#[derive(Clone)]
pub struct Remote {
    shared: Arc<Shared>,
}

struct Shared {
    source: Box<dyn Source>,
    timeout: Duration,
    optional: bool,
    cache: Option<Cache>,
    state: Mutex<State>,
    /// Held while a fetch runs, so that there is one at a time.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    succeeded_at: Option<SystemTime>,
    /// The last fetch failed, why, and since when it has been so.
    failing: Option<Failing>,
}

/// The last good document.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) document: Document,
    pub(super) fetched_at: SystemTime,
    /// It came from disk, as the source did not answer.
    pub(super) from_cache: bool,
    stored: bool,
}

struct Failing {
    since: SystemTime,
    count: u32,
    error: String,
    retry_after: Option<Duration>,
}

/// What there is to know of a remote, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RemoteNews {
    /// There is another document, which a load will see.
    Changed,
    /// It cannot be had any more, and why. The last good document stays.
    Failed(String),
    /// It can be had again, and is as it was.
    Recovered,
}

impl Remote {
    /// A remote at `source`: 10 s for each fetch, without a cache.
    pub fn new(source: impl Source) -> Self {
        let shared = Shared {
            source: Box::new(source),
            timeout: TIMEOUT,
            optional: false,
            cache: None,
            state: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Keeps the last good document in a file in the directory `dir`, which is made if it is not
    /// there. Only its owner can read it. Set it before the remote is shared: afterwards it has no
    /// effect. It is [`Live`](super::live::Live) that knows when a document was good, and writes it.
    #[must_use]
    pub fn with_cache(self, dir: impl AsRef<Path>) -> Self {
        let cache = Some(Cache::new(dir.as_ref(), self.name(), self.shared.source.id()));
        self.changed_by(|shared| shared.cache = cache)
    }

    /// Sets how long one fetch may take. Set it before the remote is shared.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        self.changed_by(|shared| shared.timeout = timeout)
    }

    /// Lets a service start without any document, if none can be had. Set it before the remote is
    /// shared: afterwards it has no effect.
    #[must_use]
    pub fn optional(self) -> Self {
        self.changed_by(|shared| shared.optional = true)
    }

    /// Before it is shared, there is nobody else to see it half changed.
    fn changed_by(mut self, change: impl FnOnce(&mut Shared)) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            change(shared);
        }
        self
    }

    /// What it is called in messages. No credentials.
    pub fn name(&self) -> &str {
        self.shared.source.name()
    }

    /// Fetches for the first time: before the first load. If the source does not answer, the
    /// document of the cache is taken.
    ///
    /// # Errors
    /// If there is none either, and it is not [optional](Self::optional).
    pub async fn start(&self) -> Result<(), RemoteError> {
        let Err(error) = self.fetch().await else { return Ok(()) };
        let Some(cache) = &self.shared.cache else {
            return self.without(&error, "there is no cache of it (CONFIG_CACHE_DIR)");
        };
        match cache.read() {
            Ok((document, fetched_at)) => {
                let held = Held { document, fetched_at, from_cache: true, stored: true };
                lock(&self.shared.state).held = Some(held);
                Ok(())
            }
            Err(why) => self.without(&error, &why),
        }
    }

    fn without(&self, error: &RemoteError, why: &str) -> Result<(), RemoteError> {
        if self.shared.optional {
            return Ok(());
        }
        Err(RemoteError::new(format!("{}: {}, and {why}", self.name(), error.message())))
    }

    /// Waits for the next thing to know. Cancel safe.
    ///
    /// The source says when to ask again; after a failure that is later each time, up to 5 min.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time enabled.
    pub async fn next(&self) -> RemoteNews {
        loop {
            let pause = {
                let state = lock(&self.shared.state);
                state
                    .failing
                    .as_ref()
                    .map(|failing| pace::pause(failing.count, failing.retry_after, fastrand::f64()))
            };
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => self.shared.source.changed().await,
            }
            let failed_before = lock(&self.shared.state).failing.is_some();
            match self.fetch().await {
                Ok(true) => return RemoteNews::Changed,
                Ok(false) if failed_before => return RemoteNews::Recovered,
                Err(error) if !failed_before => {
                    return RemoteNews::Failed(format!("{}: {}", self.name(), error.message()));
                }
                _ => {}
            }
        }
    }

    /// Whether the document is another one now.
    async fn fetch(&self) -> Result<bool, RemoteError> {
        let shared = &*self.shared;
        let _one_at_a_time = shared.fetching.lock().await;
        let seen = lock(&shared.state).held.as_ref().and_then(|held| held.document.version.clone());
        let fetch = shared.source.fetch(seen.as_deref());
        let fetched = tokio::time::timeout(shared.timeout, fetch).await.unwrap_or_else(|_| {
            let limit = crate::duration::format(shared.timeout);
            Err(RemoteError::new(format!("no answer within {limit}")))
        });
        lock(&shared.state).note(fetched, SystemTime::now())
    }

    /// Its source has panicked: a failure as any other, which makes the next try wait. What there
    /// is to know of it, if that is news.
    pub(super) fn panicked(&self) -> Option<RemoteNews> {
        let error = RemoteError::new("its source panicked; the log says where");
        let mut state = lock(&self.shared.state);
        let known = state.failing.is_some();
        let _ = state.note(Err(error.clone()), SystemTime::now());
        let news = format!("{}: {}", self.name(), error.message());
        (!known).then_some(RemoteNews::Failed(news))
    }

    /// The document that a load sees.
    pub(super) fn held(&self) -> Option<Held> {
        lock(&self.shared.state).held.clone()
    }

    /// What a load should warn of.
    pub(super) fn warning(&self) -> Option<String> {
        let state = lock(&self.shared.state);
        let error = state.failing.as_ref().map(|failing| failing.error.as_str());
        match &state.held {
            Some(held) if held.from_cache => Some(format!(
                "{}: cannot be had ({}); its document of {} is used, from the cache",
                self.name(),
                error.unwrap_or_default(),
                rfc3339(held.fetched_at),
            )),
            None => Some(format!(
                "{}: cannot be had ({}); the service does without",
                self.name(),
                error.unwrap_or("it was not asked"),
            )),
            Some(_) => None,
        }
    }

    /// The whole config was right with the document that `held` is: worth keeping on disk.
    pub(super) fn accepted(&self, held: &Held) -> Result<(), String> {
        let Some(cache) = &self.shared.cache else { return Ok(()) };
        if held.stored {
            return Ok(());
        }
        cache.write(&held.document, held.fetched_at)?;
        if let Some(now) = &mut lock(&self.shared.state).held {
            now.stored |= now.document == held.document;
        }
        Ok(())
    }

    /// Why an operator should look at it, if there is a reason.
    pub(super) fn abnormal(&self) -> Option<String> {
        let state = lock(&self.shared.state);
        let failing = state.failing.as_ref()?;
        let since = rfc3339(failing.since);
        Some(format!("{} cannot be had since {since}: {}", self.name(), failing.error))
    }

    /// How it looks on a status page.
    pub fn status(&self) -> Value {
        let state = lock(&self.shared.state);
        let held = state.held.as_ref();
        Value::map([
            ("name", Value::from(self.name().to_owned())),
            ("version", held.and_then(|held| held.document.version.clone()).into()),
            ("fetched_at", held.map(|held| rfc3339(held.fetched_at)).into()),
            ("from_cache", held.is_some_and(|held| held.from_cache).into()),
            ("last_success", state.succeeded_at.map(rfc3339).into()),
            ("failing_since", state.failing.as_ref().map(|f| rfc3339(f.since)).into()),
            ("last_error", state.failing.as_ref().map(|f| f.error.clone()).into()),
        ])
    }
}

impl State {
    /// Whether the document is another one now. An error never replaces it.
    fn note(
        &mut self,
        fetched: Result<Fetched, RemoteError>,
        now: SystemTime,
    ) -> Result<bool, RemoteError> {
        // There is nothing that could be unchanged.
        let fetched = match fetched {
            Ok(Fetched::Unchanged) if self.held.is_none() => {
                Err(RemoteError::new("says that nothing has changed, but there is no document yet"))
            }
            fetched => fetched,
        };
        match fetched {
            Ok(fetched) => {
                (self.succeeded_at, self.failing) = (Some(now), None);
                Ok(match (fetched, &mut self.held) {
                    (Fetched::Unchanged, held) => {
                        if let Some(held) = held {
                            held.from_cache = false;
                        }
                        false
                    }
                    // Another version of the same text.
                    (Fetched::Document(new), Some(held)) if held.document.same_text(&new) => {
                        held.document = new;
                        held.from_cache = false;
                        false
                    }
                    (Fetched::Document(document), held) => {
                        let (from_cache, stored) = (false, false);
                        *held = Some(Held { document, fetched_at: now, from_cache, stored });
                        true
                    }
                })
            }
            Err(error) => {
                let (since, count) = self
                    .failing
                    .as_ref()
                    .map_or((now, 0), |failing| (failing.since, failing.count));
                self.failing = Some(Failing {
                    since,
                    count: count.saturating_add(1),
                    error: error.message().to_owned(),
                    retry_after: error.retry_after(),
                });
                Err(error)
            }
        }
    }
}

/// Documents may hold what is not to be printed.
impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("name", &self.name()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
