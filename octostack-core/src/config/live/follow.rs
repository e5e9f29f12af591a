//! What brings a reload while the service runs: files that change, and SIGHUP.

use super::Live;
use super::outcome::{Refused, Reloaded, Trigger};
use crate::config::disk::Consulted;
use crate::config::keep::Kept;
use crate::config::watch::{Watch, Watching};
use crate::inspect::Value;
use crate::sync::lock;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// What the next reload is compared with.
pub(super) struct Base {
    now: Mutex<(Consulted, Arc<Kept>)>,
    moved: Notify,
    watching: Mutex<Value>,
}

impl Base {
    pub(super) fn new(consulted: Consulted, kept: Kept) -> Self {
        let now = Mutex::new((consulted, Arc::new(kept)));
        Self { now, moved: Notify::new(), watching: Mutex::new(Value::Null) }
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

/// SIGHUP, which asks for a reload. Where there are no signals it never comes.
///
/// Install it before anything reports ready: until then the signal ends the process.
#[derive(Debug)]
pub struct Hangups {
    #[cfg(unix)]
    signal: tokio::signal::unix::Signal,
}

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
        })
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

impl<F, S> Live<F, S>
where
    F: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static,
    S: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static,
{
    /// As [`reload`](Self::reload), beside the threads of the runtime, as it reads files. Whoever
    /// stops waiting does not stop it.
    ///
    /// # Errors
    /// As `reload`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn reload_aside(&self, trigger: Trigger) -> Result<Reloaded, Arc<Refused>> {
        let live = self.clone();
        let reload = tokio::task::spawn_blocking(move || live.reload(trigger));
        reload.await.unwrap_or_else(|_| Err(Arc::new(Refused::panicked())))
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
        loop {
            *lock(&base.watching) = watch.status();
            let trigger = tokio::select! {
                () = watch.changed() => Trigger::Files,
                () = hangups.next() => Trigger::Signal,
                // Somebody has reloaded meanwhile, and read what it says now.
                () = base.moved.notified() => {
                    watch.rebase(base.consulted());
                    continue;
                }
            };
            let _ = self.reload_aside(trigger).await; // told by events, pages and metrics
        }
    }
}
