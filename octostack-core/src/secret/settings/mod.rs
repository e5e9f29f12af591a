//! The secrets that settings refer to.
//!
//! [`SettingsSecrets`] is what follows references such as `vault://kv/orders#password` when a
//! [`Loader`](crate::config::Loader) meets them. It leads the life of each of them in a thread of
//! its own, so that a lease is renewed also while the service's own threads are blocked, and tells
//! when another one is there: the settings then get a new generation, and whoever follows reloads
//! has the new secret.
//!
//! Settings hold copies, so nobody knows when the last use of one is over. What a secret of the
//! settings was replaced by is in effect at once; the old one is revoked
//! [some time](SecretsConfig::drain) after. A pool that lives with credentials that change often
//! takes a [`Handle`](super::Handle) instead, of [`SettingsSecrets::secrets`].
//!
//! ```
//! use octostack_core::Registry;
//! use octostack_core::config::Loader;
//! use octostack_core::secret::provider::{Answer, Fetched, SecretProvider};
//! use octostack_core::secret::{Secret, SecretRef, SecretsConfig, SettingsSecrets};
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//! use std::sync::Arc;
//!
//! struct Mine; // a store of your own
//!
//! impl SecretProvider for Mine {
//!     fn scheme(&self) -> &'static str {
//!         "mine"
//!     }
//!
//!     fn fetch<'a>(&'a self, _: &'a SecretRef) -> Answer<'a, Fetched> {
//!         Box::pin(async { Ok(Fetched::text(Secret::new("hunter2".to_owned()))) })
//!     }
//! }
//!
//! #[derive(Default, Serialize, Deserialize, JsonSchema)]
//! struct Sections {
//!     #[serde(default)]
//!     secrets: SecretsConfig,
//! }
//!
//! #[derive(Serialize, Deserialize, JsonSchema)]
//! struct Settings {
//!     password: Secret<String>,
//! }
//!
//! let secrets = SettingsSecrets::new("orders", &Registry::new());
//! let secrets = Arc::new(secrets.with_provider(Arc::new(Mine)));
//! let loader = Loader::new("ORDERS_")
//!     .environment([("ORDERS_PASSWORD", "mine://database")])
//!     .secrets(secrets.clone());
//! let loaded = loader.load::<Sections, Settings>()?;
//! assert_eq!(loaded.settings.password.expose(), "hunter2");
//! # Ok::<(), octostack_core::config::Errors>(())
//! ```

mod config;
mod source;
mod status;
#[cfg(test)]
mod tests;
mod thread;
#[cfg(feature = "vault")]
mod vaults;

pub use config::SecretsConfig;

use super::SecretRef;
use super::audit::{Audit, AuditError};
use super::local::{CredentialsProvider, EnvProvider, FileProvider};
use super::provider::SecretProvider;
use super::store::{Resolved, Secrets, SecretsBuilder};
#[cfg(feature = "vault")]
use super::vault::Connected;
use crate::inspect::{Problem, Registry};
use crate::sync::{PoisonError, lock};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use thread::Thread;
use tokio::sync::Notify;
#[cfg(feature = "vault")]
use vaults::Vaults;

/// How long revoking may take where nobody waits for it.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The secrets of the settings of one service; see the [module docs](self).
pub struct SettingsSecrets {
    name: String,
    registry: Registry,
    environment: EnvProvider,
    own: Vec<Arc<dyn SecretProvider>>,
    /// Who is on record. `None`: nothing is.
    instance: Option<String>,
    state: Mutex<State>,
    /// Other secrets are in use, or for the first time some.
    moved: Notify,
}

#[derive(Default)]
struct State {
    config: SecretsConfig,
    /// What to go back to, while a load has not come to its end.
    before: Option<Before>,
    running: Option<Arc<Running>>,
    closed: bool,
    /// What the last load resolved, whether or not it came into effect.
    latest: Vec<Resolved>,
    /// How many loads in a row could not resolve all, or did not come into effect with what is new.
    failures: u32,
    /// What is in effect.
    current: Vec<Resolved>,
}

impl State {
    /// Whether the last load had a secret that is not in effect.
    fn is_behind(&self) -> bool {
        let in_effect =
            |new: &Resolved| self.current.iter().any(|old| Arc::ptr_eq(&old.version, &new.version));
        !self.latest.iter().all(in_effect)
    }
}

/// Everything that works once there is something to do.
struct Running {
    secrets: Secrets,
    #[cfg(feature = "vault")]
    vault: Vaults,
    thread: Thread,
}

/// What was in effect.
struct Before {
    config: SecretsConfig,
    #[cfg(feature = "vault")]
    vault: Vec<Connected>,
}

impl SettingsSecrets {
    /// Secrets of the service `name`, shown in `registry`. Nothing works until a reference leads
    /// elsewhere.
    pub fn new(name: impl Into<String>, registry: &Registry) -> Self {
        Self {
            name: name.into(),
            registry: registry.clone(),
            environment: EnvProvider::process(),
            own: Vec::new(),
            instance: None,
            state: Mutex::default(),
            moved: Notify::new(),
        }
    }

    /// Adds a provider of your own. It replaces one of the same scheme.
    #[must_use]
    pub fn with_provider(mut self, provider: Arc<dyn SecretProvider>) -> Self {
        self.own.retain(|known| known.scheme() != provider.scheme());
        self.own.push(provider);
        self
    }

    /// Reads `env://` from these variables, in the place of those of the process.
    #[must_use]
    pub fn with_environment(mut self, environment: EnvProvider) -> Self {
        self.environment = environment;
        self
    }

    /// Keeps the [record of all accesses](super::audit) that settings may ask for, as this instance
    /// of the service. Without it none is kept: for a command that only looks at the config, beside
    /// a service that has the file open.
    #[must_use]
    pub fn with_record(mut self, instance: impl Into<String>) -> Self {
        self.instance = Some(instance.into());
        self
    }

    /// What keeps them fresh: for [handles](Secrets::open) of your own. It starts to work with the
    /// first call, by the settings that were loaded last.
    ///
    /// # Errors
    /// What is wrong with the section `secrets`, or that the system has no thread to give.
    pub fn secrets(&self) -> Result<Secrets, Vec<Problem>> {
        self.running().map(|running| running.secrets.clone())
    }

    /// Ends: revokes what is leased, logs out, ends the thread. Afterwards nothing is resolved any
    /// more.
    pub async fn close(&self) {
        let running = {
            let mut state = lock(&self.state);
            state.closed = true;
            (state.latest, state.current) = (Vec::new(), Vec::new());
            state.running.take()
        };
        let Some(running) = running else { return };
        let secrets = running.secrets.clone();
        running.thread.run(async move { secrets.close().await }).await;
        running.thread.stop();
    }

    fn running(&self) -> Result<Arc<Running>, Vec<Problem>> {
        let mut state = lock(&self.state);
        if let Some(running) = &state.running {
            return Ok(running.clone());
        }
        if state.closed {
            return Err(vec![Problem::new("", "the service is ending")]);
        }
        let running = Arc::new(self.start(&state.config)?);
        state.running = Some(running.clone());
        Ok(running)
    }

    fn start(&self, config: &SecretsConfig) -> Result<Running, Vec<Problem>> {
        let mut providers: Vec<Arc<dyn SecretProvider>> = vec![
            Arc::new(self.environment.clone()),
            Arc::new(FileProvider::new()),
            Arc::new(CredentialsProvider::new(self.environment.clone())),
        ];
        #[cfg(feature = "vault")]
        let vault = Vaults::new(config)?;
        #[cfg(feature = "vault")]
        providers.extend(vault.providers());
        providers.extend(self.own.iter().cloned());
        let audit = self.audit(config)?;
        let thread = Thread::start().map_err(|error| {
            vec![Problem::new("", format!("the thread of secrets cannot start: {error}"))]
        })?;
        let builder = Secrets::builder(&self.name)
            .registry(&self.registry)
            .on_error(config.on_error)
            .start_timeout(config.start_timeout)
            .timeout(config.timeout());
        let builder = audit.into_iter().fold(builder, SecretsBuilder::audit);
        let builder = providers.into_iter().fold(builder, SecretsBuilder::shared_provider);
        let secrets = thread.within(|| builder.build());
        Ok(Running {
            secrets,
            #[cfg(feature = "vault")]
            vault,
            thread,
        })
    }

    /// The record, if settings ask for it.
    fn audit(&self, config: &SecretsConfig) -> Result<Option<Audit>, Vec<Problem>> {
        let Some(instance) = self.instance.as_ref().filter(|_| config.audit.file.is_some()) else {
            return Ok(None);
        };
        let wrong = |error: AuditError| vec![Problem::new("audit.file", error.to_string())];
        Audit::open(&config.audit, &self.name, instance).map(Some).map_err(wrong)
    }

    /// Why nobody can follow `reference`, where more is known than that.
    fn unreachable(&self, reference: &SecretRef) -> Option<String> {
        let scheme = reference.scheme();
        if !matches!(scheme, "vault" | "bao") || self.own.iter().any(|it| it.scheme() == scheme) {
            return None;
        }
        #[cfg(feature = "vault")]
        return lock(&self.state).config.vault.address.is_none().then(|| {
            "no server is known; set secrets.vault.address, or the variable VAULT_ADDR".to_owned()
        });
        #[cfg(not(feature = "vault"))]
        Some("this service is built without the feature `vault`".to_owned())
    }
}

/// Ends as [`close`](SettingsSecrets::close) does, which waits for a moment: so that a command that
/// only looks at the config leaves no lease behind.
impl Drop for SettingsSecrets {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        (state.latest, state.current) = (Vec::new(), Vec::new());
        if let Some(running) = state.running.take() {
            let secrets = running.secrets.clone();
            running.thread.wait_for(LAST_WORDS, async move { secrets.close().await });
        }
    }
}
