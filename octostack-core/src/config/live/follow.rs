//! What brings a reload while the service runs: files that change, and SIGHUP.

use super::Live;
use super::outcome::{Refused, Reloaded, Trigger};
use crate::config::disk::Consulted;
use crate::config::keep::Kept;
use crate::config::remote::{Remote, RemoteNews};
use crate::config::tree::Node;
use crate::config::watch::{Watch, Watching};
use crate::inspect::{Event, Value};
use crate::sync::lock;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use tokio::sync::Notify;

/// What the next reload is compared with.
pub(super) struct Base {
    now: Mutex<(Consulted, Arc<Kept>)>,
    /// What all sources said last, with references to secrets that are elsewhere.
    sources: Mutex<Option<Arc<Node>>>,
    moved: Notify,
    watching: Mutex<Value>,
}

impl Base {
    pub(super) fn new(consulted: Consulted, kept: Kept, sources: Option<Node>) -> Self {
        let now = Mutex::new((consulted, Arc::new(kept)));
        let sources = Mutex::new(sources.map(Arc::new));
        Self { now, sources, moved: Notify::new(), watching: Mutex::new(Value::Null) }
    }

    pub(super) fn sources(&self) -> Option<Arc<Node>> {
        lock(&self.sources).clone()
    }

    pub(super) fn said(&self, sources: Option<Node>) {
        *lock(&self.sources) = sources.map(Arc::new);
    }

    pub(super) fn kept(&self) -> Arc<Kept> {
        lock(&self.now).1.clone()
    }

    pub(super) fn rebase(&self, consulted: Consulted) {
        lock(&self.now).0 = consulted;
        self.moved.notify_one();
    }

    fn consulted(&self) -> Consulted {
        lock(&self.now).0.clone()
    }

    pub(super) fn watching(&self) -> Value {
        lock(&self.watching).clone()
    }
}

/// What there is to know of several remotes, whichever is first.
struct Remotes {
    all: Vec<Remote>,
    waiting: Vec<Next>,
}

type Next = Pin<Box<dyn Future<Output = RemoteNews> + Send>>;

impl Remotes {
    fn new(all: &[Remote]) -> Self {
        Self { waiting: all.iter().map(next).collect(), all: all.to_vec() }
    }

    /// Cancel safe: each is waited for on its own, and goes on with the next call.
    async fn next(&mut self) -> (String, RemoteNews) {
        poll_fn(|cx| {
            for (remote, waiting) in self.all.iter().zip(&mut self.waiting) {
                // A source may be the service's own. Its panic is no end of all that is followed.
                match catch_unwind(AssertUnwindSafe(|| waiting.as_mut().poll(cx))) {
                    Ok(Poll::Pending) => {}
                    Ok(Poll::Ready(news)) => {
                        *waiting = next(remote);
                        return Poll::Ready((remote.name().to_owned(), news));
                    }
                    Err(_) => {
                        *waiting = next(remote);
                        if let Some(news) = remote.panicked() {
                            return Poll::Ready((remote.name().to_owned(), news));
                        }
                        cx.waker().wake_by_ref(); // the new one has not been polled
                    }
                }
            }
            Poll::Pending
        })
        .await
    }
}

fn next(remote: &Remote) -> Next {
    let remote = remote.clone();
    Box::pin(async move { remote.next().await })
}

/// SIGHUP, which asks for a reload. Where there are no signals it never comes.
///
/// Install it before anything reports ready: until then the signal ends the process.
pub struct Hangups {
    #[cfg(unix)]
    signal: tokio::signal::unix::Signal,
    around: Option<Around>,
}

type Around = Box<dyn Fn(bool) + Send + Sync>;

impl Hangups {
    /// Installs the handler.
    ///
    /// # Errors
    /// When the system refuses it.
    ///
    /// # Panics
    /// Outside of a tokio runtime with its I/O driver enabled.
    pub fn install() -> io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            signal: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?,
            around: None,
        })
    }

    /// Calls `told` with `true` when one has come, and with `false` when the reload that it asked
    /// for has ended, whatever came of it: for a service manager that waits for that.
    #[must_use]
    pub fn around(mut self, told: impl Fn(bool) + Send + Sync + 'static) -> Self {
        self.around = Some(Box::new(told));
        self
    }

    fn tell(&self, trigger: &Trigger, begins: bool) {
        if let Some(around) = self.around.as_ref().filter(|_| *trigger == Trigger::Signal) {
            around(begins);
        }
    }

    /// Waits for the next one. Dropping the future loses none.
    pub async fn next(&mut self) {
        #[cfg(unix)]
        if self.signal.recv().await.is_some() {
            return;
        }
        std::future::pending::<()>().await;
    }
}

impl fmt::Debug for Hangups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hangups").finish_non_exhaustive()
    }
}

impl<F, S> Live<F, S>
where
    F: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static,
    S: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static,
{
    /// As [`reload`](Self::reload), beside the threads of the runtime, as it reads files. Those
    /// that wait for another one take no thread. Whoever stops waiting does not stop one that has
    /// begun.
    ///
    /// # Errors
    /// As `reload`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn reload_aside(&self, trigger: Trigger) -> Result<Reloaded, Arc<Refused>> {
        let live = self.clone();
        let turn = self.shared.queue.clone().lock_owned().await;
        let reload = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            live.reload(trigger)
        });
        reload.await.unwrap_or_else(|_| Err(Arc::new(Refused::panicked())))
    }

    /// Waits until a secret in the settings, or what leads to it, is another one.
    async fn secrets_changed(&self) {
        match &self.shared.loader.secrets {
            Some(secrets) => secrets.changed().await,
            None => std::future::pending().await,
        }
    }

    /// Reloads whenever a file that was read changes, or one appears that would be, and at each of
    /// `hangups`, for as long as the future is polled. A `..data` of Kubernetes counts at once,
    /// anything else when it has not changed for 100 ms.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time enabled.
    pub async fn follow(&self, mut hangups: Hangups, how: Watching) {
        let base = &self.shared.base;
        let mut watch = Watch::new(base.consulted(), &how);
        let mut remotes = Remotes::new(&self.shared.loader.remotes);
        loop {
            *lock(&base.watching) = watch.status();
            let trigger = tokio::select! {
                () = watch.changed() => Trigger::Files,
                () = hangups.next() => Trigger::Signal,
                (name, news) = remotes.next() => match news {
                    RemoteNews::Changed => Trigger::Source(name),
                    RemoteNews::Failed(what) => {
                        let what = format!("{what}; its last good document stays");
                        self.emit(vec![Event::new("config_source_failed", "config", what)]);
                        continue;
                    }
                    RemoteNews::Recovered => {
                        let what = format!("{name} can be had again");
                        self.emit(vec![Event::new("config_source_recovered", "config", what)]);
                        continue;
                    }
                },
                () = self.secrets_changed() => Trigger::Secrets,
                // Somebody has reloaded meanwhile, and read what it says now.
                () = base.moved.notified() => {
                    watch.rebase(base.consulted());
                    continue;
                }
            };
            hangups.tell(&trigger, true);
            let _ = self.reload_aside(trigger.clone()).await; // told by events, pages and metrics
            hangups.tell(&trigger, false);
        }
    }
}
