//! Secrets that stay fresh while they are used.
//!
//! A secret has a life: it is fetched, renewed, replaced before it ends, and revoked once nobody
//! uses it. Whoever keeps a copy of it has none of that, and fails at night when the copy has
//! expired. [`Secrets`] leads that life for each secret, once for all who use it:
//!
//! - A lease is **renewed** at about two thirds of its time. If the renewal meets a limit the secret
//!   is **replaced** before it ends, not after.
//! - Both the old and the new [`Version`] are valid for a while. Whoever holds the old one goes on;
//!   when the last holder has dropped it, it is **revoked**.
//! - A provider that does not answer is asked again, later each time; what was fetched last is used
//!   **until its time is over**, and the failure is visible: as an event, on the status page, in
//!   `octostack_secret_refresh_total`, in a [check](Secrets::standing).
//! - However many ask for it, there is **one request** at a time for each secret.
//!
//! # How to use it
//!
//! [`Secrets::open`] gives a [`Handle`], [`Handle::load`] the version of now. Hold on to a version for
//! as long as it is in use, such as by a connection, and no longer: that is how the store knows.
//!
//! ```
//! use octostack_core::Registry;
//! use octostack_core::secret::provider::{Answer, Fetched, Lease, LeaseId, SecretProvider};
//! use octostack_core::secret::{Secret, SecretRef, Secrets};
//! use std::time::Duration;
//!
//! /// Gives out a new password each time, for an hour.
//! struct Fixed;
//!
//! impl SecretProvider for Fixed {
//!     fn scheme(&self) -> &'static str {
//!         "fixed"
//!     }
//!
//!     fn fetch<'a>(&'a self, _: &'a SecretRef) -> Answer<'a, Fetched> {
//!         let id = Some(LeaseId::new("lease"));
//!         let lease = Lease { id, ttl: Duration::from_secs(3600), renewable: false };
//!         let text = Secret::new("hunter2".to_owned());
//!         Box::pin(async { Ok(Fetched::text(text).with_lease(lease)) })
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let secrets = Secrets::builder("orders").registry(&Registry::new()).provider(Fixed).build();
//! let password = secrets.open("database", &"fixed://db".parse()?).await?;
//!
//! let version = password.load()?; // a connection keeps it for as long as it lives
//! assert_eq!(version.select(None)?.expose(), "hunter2");
//! assert!(version.is_current());
//! drop(version);
//!
//! secrets.close().await; // revokes what is left
//! # Ok(())
//! # }
//! ```
//!
//! What it does not do: it does not change connections that are open; a pool gives up those whose
//! version [is not current](Version::is_current) any more when they come back.

mod builder;
mod cell;
mod driver;
mod error;
mod handle;
mod notes;
mod resolve;
mod retire;
mod status;
#[cfg(test)]
mod tests;
#[cfg(test)]
#[path = "trouble_tests.rs"]
mod trouble;
mod version;

pub use builder::SecretsBuilder;
pub use error::{SecretError, SecretErrorKind};
pub use handle::Handle;
pub use resolve::Resolved;
pub use version::Version;

use super::SecretRef;
use super::life::OnError;
use super::provider::SecretProvider;
use crate::inspect::{Event, Inspect, Registry, Value};
use crate::sync::lock;
use crate::{Clock, SystemClock};
use cell::{Alive, Cell};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The secrets of a service; see the [module docs](self). Clones are cheap and share everything.
///
/// Each is on its own: two in one process share no provider, no login and no secret.
#[derive(Clone)]
pub struct Secrets {
    shared: Arc<Shared>,
}

struct Shared {
    core: Arc<Core>,
    /// By what is fetched at once. Those that nobody uses any more are gone.
    open: Mutex<BTreeMap<SecretRef, Weak<Alive>>>,
    /// One for each secret and one for each provider; aborted when the last clone is dropped.
    tasks: Mutex<JoinSet<()>>,
    /// What the end waits for. Whoever ends it first holds this.
    ending: tokio::sync::Mutex<Ending>,
    runtime: tokio::runtime::Handle,
}

#[derive(Default)]
struct Ending {
    tasks: JoinSet<()>,
    done: bool,
}

/// What the tasks need.
struct Core {
    /// Of the service.
    name: String,
    providers: Mutex<Vec<Arc<dyn SecretProvider>>>,
    registry: Registry,
    on_error: OnError,
    /// The most that one request may take.
    timeout: Duration,
    /// How long the first fetch of a secret is tried.
    start_timeout: Duration,
    closing: watch::Sender<bool>,
    /// What is on record.
    notes: notes::Notes,
    cells: Mutex<Vec<Weak<Cell>>>,
    /// How often any secret was replaced.
    replaced: AtomicU64,
}

impl Secrets {
    /// Secrets of the service `name`, under which they are shown.
    pub fn builder(name: impl Into<String>) -> SecretsBuilder {
        SecretsBuilder::new(name.into())
    }

    /// Follows a reference, for somebody called `consumer` on the record: a handle to what is there
    /// now and from now on. It is fetched if nobody else uses it yet; while the provider does not
    /// answer that is tried again for as long as the
    /// [start timeout](SecretsBuilder::start_timeout).
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// Why there is no such secret.
    pub async fn open(
        &self,
        consumer: impl Into<String>,
        reference: &SecretRef,
    ) -> Result<Handle, SecretError> {
        let alive = self.alive(reference)?;
        let consumer: Arc<str> = consumer.into().into();
        alive.cell.first(&self.shared.core).await?;
        alive.cell.used_by(&consumer);
        let handle = Handle::new(alive, self.clone(), consumer, reference.clone());
        // A field that is not there is told now, not when it is needed.
        handle.check()?;
        Ok(handle)
    }

    /// The one place where `reference` is kept fresh.
    fn alive(&self, reference: &SecretRef) -> Result<Arc<Alive>, SecretError> {
        let core = &self.shared.core;
        let error = |kind, what: String| Err(SecretError::new(reference, kind, what));
        if *core.closing.borrow() {
            return Err(SecretError::closed(reference));
        }
        let Some(provider) = core.provider(reference.scheme()) else {
            let what = core.no_provider(reference.scheme());
            return error(SecretErrorKind::NoProvider, what);
        };
        if let Err(what) = provider.check(reference) {
            return error(SecretErrorKind::Invalid, what);
        }
        let source = reference.source();
        let mut open = lock(&self.shared.open);
        if let Some(alive) = open.get(&source).and_then(Weak::upgrade) {
            return Ok(alive);
        }
        open.retain(|_, alive| alive.strong_count() > 0);
        let (alive, ended) = Alive::new(Cell::new(source.clone(), SystemClock.now()));
        open.insert(source, Arc::downgrade(&alive));
        let mut cells = lock(&core.cells);
        cells.retain(|cell| cell.strong_count() > 0);
        cells.push(Arc::downgrade(&alive.cell));
        drop(cells);
        let drive = driver::drive(core.clone(), alive.cell.clone(), provider.clone(), ended);
        self.spawn(drive);
        Ok(alive)
    }

    /// Adds a provider while others are in use.
    #[cfg(all(feature = "config", feature = "vault"))]
    pub(in crate::secret) fn add(&self, provider: Arc<dyn SecretProvider>) {
        lock(&self.shared.core.providers).push(provider.clone());
        self.run(provider);
    }

    /// Lets a provider do what it does by itself, until the end.
    fn run(&self, provider: Arc<dyn SecretProvider>) {
        let core = self.shared.core.clone();
        self.spawn(async move {
            tokio::select! {
                () = provider.run() => {}
                () = core.closed() => {}
            }
        });
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = lock(&self.shared.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(task, &self.shared.runtime);
    }

    /// Whether all secrets are as fresh as they should be: for a health check that warns.
    ///
    /// # Errors
    /// What is not, in short. No secret.
    pub fn standing(&self) -> Result<(), String> {
        self.shared.core.reason().map_or(Ok(()), Err)
    }

    /// Each secret by its reference, who provides them, and the record: for a page. No secret.
    pub fn status(&self) -> Value {
        self.shared.core.status()
    }

    /// How often any secret was replaced, and one: a number that changes whenever one does.
    pub fn generation(&self) -> u64 {
        self.shared.core.generation()
    }

    /// Ends: revokes what is still leased, in use or not, and logs out. Whoever asks for a secret
    /// afterwards is refused. Takes as long as a request that is under way, one more for each lease,
    /// all at once, and one for each provider: each at most the
    /// [timeout](SecretsBuilder::timeout). Called again, it waits for the same end.
    ///
    /// Cancel safe: the next call goes on.
    pub async fn close(&self) {
        self.shared.core.closing.send_replace(true);
        let mut ending = self.shared.ending.lock().await;
        if ending.done {
            return;
        }
        if ending.tasks.is_empty() {
            ending.tasks = std::mem::take(&mut *lock(&self.shared.tasks));
        }
        while ending.tasks.join_next().await.is_some() {}
        for provider in self.shared.core.providers() {
            let _ = driver::within(self.shared.core.timeout, || provider.close()).await;
        }
        ending.done = true;
        self.shared.core.anchor("audit_closed");
    }
}

impl Core {
    fn providers(&self) -> Vec<Arc<dyn SecretProvider>> {
        lock(&self.providers).clone()
    }

    fn provider(&self, scheme: &str) -> Option<Arc<dyn SecretProvider>> {
        self.providers().into_iter().find(|provider| provider.scheme() == scheme)
    }

    fn no_provider(&self, scheme: &str) -> String {
        let known = self.providers();
        let known: Vec<_> = known.iter().map(|it| format!("`{}`", it.scheme())).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        format!("nobody here follows `{scheme}://`; known: {known}")
    }

    fn cells(&self) -> Vec<Arc<Cell>> {
        lock(&self.cells).iter().filter_map(Weak::upgrade).collect()
    }

    /// All of a secret together, the one in use last: whoever holds an old version after nobody had
    /// a handle keeps an earlier one.
    fn by_source(&self) -> BTreeMap<SecretRef, Vec<Arc<Cell>>> {
        let mut all = BTreeMap::<_, Vec<_>>::new();
        for cell in self.cells() {
            all.entry(cell.source.clone()).or_default().push(cell);
        }
        all
    }

    /// Waits until the end begins.
    async fn closed(&self) {
        let mut closing = self.closing.subscribe();
        // The sender is ours.
        let _ = closing.wait_for(|closing| *closing).await;
    }

    /// Says which line of the record is the last one, so that it is in the logs of the platform too.
    fn anchor(&self, kind: &'static str) {
        if let Some(audit) = &self.notes.0 {
            let head = audit.head();
            let message = format!("the last line of the audit log is {head}");
            self.registry.emit(Event::new(kind, "audit", message).with("head", head));
        }
    }

    fn emit(&self, kind: &'static str, source: &SecretRef, message: String) {
        self.registry.emit(Event::new(kind, source.as_str(), message));
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cells = self.shared.core.cells();
        let sources: Vec<_> = cells.iter().map(|cell| cell.source.as_str().to_owned()).collect();
        f.debug_struct("Secrets").field("open", &sources).finish_non_exhaustive()
    }
}
