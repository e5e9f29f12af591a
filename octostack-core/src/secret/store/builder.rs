//! What secrets are made of.

use super::notes::Notes;
use super::{Core, Secrets, Shared, status};
use crate::inspect::Registry;
use crate::secret::audit::Audit;
use crate::secret::life::OnError;
use crate::secret::provider::SecretProvider;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Makes [`Secrets`].
#[must_use = "nothing happens until `build`"]
pub struct SecretsBuilder {
    name: String,
    providers: Vec<Arc<dyn SecretProvider>>,
    registry: Registry,
    on_error: OnError,
    timeout: Duration,
    start_timeout: Duration,
    audit: Option<Audit>,
}

impl SecretsBuilder {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            providers: Vec::new(),
            registry: Registry::global().clone(),
            on_error: OnError::default(),
            timeout: Duration::from_secs(30),
            start_timeout: Duration::from_secs(10),
            audit: None,
        }
    }

    /// Adds a provider. One that comes later replaces one of the same scheme.
    pub fn provider(self, provider: impl SecretProvider) -> Self {
        self.shared_provider(Arc::new(provider))
    }

    /// As [`provider`](Self::provider), for one that somebody else keeps too.
    pub fn shared_provider(mut self, provider: Arc<dyn SecretProvider>) -> Self {
        self.providers.retain(|known| known.scheme() != provider.scheme());
        self.providers.push(provider);
        self
    }

    /// Where they are shown, and who hears of their events: the registry of the process if not
    /// said.
    pub fn registry(mut self, registry: &Registry) -> Self {
        self.registry = registry.clone();
        self
    }

    /// What becomes of a secret that could not be renewed: [`OnError::RetainOnIoError`] if not
    /// said.
    pub const fn on_error(mut self, on_error: OnError) -> Self {
        self.on_error = on_error;
        self
    }

    /// The most that one request to a provider may take: 30 s if not said.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long the first fetch of a secret is tried while its provider does not answer: 10 s if
    /// not said.
    pub const fn start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = timeout;
        self
    }

    /// Puts every access on record: what is handed to whom, fetched, renewed, revoked, over. Without
    /// it nothing is.
    pub fn audit(mut self, audit: Audit) -> Self {
        self.audit = Some(audit);
        self
    }

    /// The secrets. They are kept fresh by tasks of the runtime that this is called in.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time enabled.
    pub fn build(self) -> Secrets {
        let core = Arc::new(Core {
            name: self.name,
            providers: Mutex::new(self.providers),
            registry: self.registry.clone(),
            on_error: self.on_error,
            timeout: self.timeout,
            start_timeout: self.start_timeout,
            closing: watch::Sender::new(false),
            notes: Notes(self.audit),
            cells: Mutex::default(),
            replaced: AtomicU64::default(),
        });
        let secrets = Secrets {
            shared: Arc::new(Shared {
                core: core.clone(),
                open: Mutex::new(BTreeMap::new()),
                tasks: Mutex::new(JoinSet::new()),
                ending: tokio::sync::Mutex::default(),
                runtime: tokio::runtime::Handle::current(),
            }),
        };
        status::register(&self.registry, &core);
        core.anchor("audit_opened");
        for provider in core.providers() {
            secrets.run(provider);
        }
        secrets
    }
}

impl fmt::Debug for SecretsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schemes: Vec<_> = self.providers.iter().map(|provider| provider.scheme()).collect();
        f.debug_struct("SecretsBuilder")
            .field("name", &self.name)
            .field("schemes", &schemes)
            .finish_non_exhaustive()
    }
}
