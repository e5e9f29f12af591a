//! Secrets of Vault or OpenBao, feature `vault`.
//!
//! A [`VaultProvider`] logs in, keeps the login alive and follows references such as
//! `vault://kv/orders#password`. It speaks the HTTP API that Vault, OpenBao and RustyVault have in
//! common and needs little of their answers.
//!
//! | reference | reads |
//! |---|---|
//! | `vault://kv/orders#password` | a field of a secret in KV, version 1 or 2 |
//! | `vault://kv/orders?version=3#password` | the same as of version 3, for ever |
//! | `vault://database/creds/orders#username` | credentials that are made for us, with a lease |
//! | `vault://database/static-creds/orders` | a password that the server changes from time to time |
//!
//! Any path that can be read is a reference: its answer's `data` are the fields. What kind a mount
//! is the server is asked once. Where it does not say so, the reference can: `?kv=2`, with
//! `&mount=team/kv` where a mount has several parts.
//!
//! ```
//! use octostack_core::secret::Secret;
//! use octostack_core::secret::provider::SecretProvider;
//! use octostack_core::secret::vault::{VaultConfig, VaultProvider};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let secret_id = Secret::new("s3cr3t-id".to_owned()); // from the settings
//! let config = VaultConfig::new("https://vault.internal:8200").with_approle("orders", secret_id);
//! let vault = VaultProvider::new(config).map_err(|problems| problems[0].to_string())?;
//!
//! let orders = "vault://kv/orders".parse()?;
//! let fetched = vault.fetch(&orders).await?;
//! let password = fetched.payload.select(Some("password"))?;
//! # let _ = password;
//! # Ok(())
//! # }
//!
//! // Whoever is on the way must not read the token.
//! let plain = VaultConfig::new("http://vault.internal:8200");
//! assert_eq!(plain.validate().unwrap_err()[0].key, "address");
//! ```
//!
//! **Logins.** The first request logs in, and all that come meanwhile wait for that one. Whoever
//! polls [`run`](crate::secret::provider::SecretProvider::run) keeps the login alive: it is renewed
//! at about two thirds of its life, and replaced when a renewal was capped. A request that is
//! refused because the token is no longer valid is sent again after one new login. A login that
//! failed is not tried again at once, since servers lock out who fails too often; a new credential
//! is.
//!
//! **Leases.** A server ends what it gave to a login together with that login. So a lease is never
//! told to last longer than its login, and is not renewed past it: whoever holds it fetches anew in
//! time.
//!
//! **What is cleared.** Tokens, request bodies and answers are overwritten after use. Copies in the
//! buffers of HTTP, TLS and the JSON parser are out of reach.

mod address;
mod answer;
mod config;
mod connection;
mod http;
mod leases;
mod life;
mod login;
mod route;
mod session;

pub use config::{KvVersion, LeasePaths, VaultAuth, VaultConfig};

use self::connection::Connection;
use self::route::Wanted;
use super::SecretRef;
use super::provider::{Answer, Fetched, LeaseId, Renewed, SecretProvider};
use crate::inspect::{Problem, Value};
use crate::sync::lock;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// A server of secrets that speaks the API of Vault; see the [module docs](self).
pub struct VaultProvider {
    scheme: &'static str,
    connection: watch::Sender<Arc<Connection>>,
    /// Held while settings are changed.
    changing: Mutex<()>,
}

/// A server and who we are there, at some moment.
#[cfg(feature = "config")]
pub(super) struct Connected(Arc<Connection>);

impl VaultProvider {
    /// A provider for references with the scheme `vault`. Asks nothing yet.
    ///
    /// # Errors
    /// What is wrong with the settings; keys are relative to the section.
    pub fn new(config: VaultConfig) -> Result<Self, Vec<Problem>> {
        let connection = watch::Sender::new(Arc::new(Connection::new(config, None)?));
        Ok(Self { scheme: "vault", connection, changing: Mutex::default() })
    }

    /// The same for references with another scheme, such as `bao`.
    #[must_use]
    pub fn with_scheme(mut self, scheme: &'static str) -> Self {
        self.scheme = scheme;
        self
    }

    /// Goes on with other settings, such as a new token, from the next request on.
    ///
    /// A new secret of a role is used for the next login; a new token, role, namespace or address
    /// from the next request on. What the login of before was given stays valid as long as that
    /// login does, so do not end an old token before the leases that it was given.
    ///
    /// # Errors
    /// What is wrong with the settings. Those of before then stay.
    pub fn reconfigure(&self, config: VaultConfig) -> Result<(), Vec<Problem>> {
        let _one_at_a_time = lock(&self.changing);
        let before = self.connection();
        if before.config == config {
            return Ok(());
        }
        self.connection.send_replace(Arc::new(Connection::new(config, Some(&before))?));
        Ok(())
    }

    /// What it is connected to, to [go back](Self::go_back) to.
    #[cfg(feature = "config")]
    pub(super) fn connected(&self) -> Connected {
        Connected(self.connection())
    }

    /// Undoes what came after, logins and all.
    #[cfg(feature = "config")]
    pub(super) fn go_back(&self, to: &Connected) {
        let _one_at_a_time = lock(&self.changing);
        if !Arc::ptr_eq(&self.connection(), &to.0) {
            self.connection.send_replace(Arc::clone(&to.0));
        }
    }

    fn connection(&self) -> Arc<Connection> {
        Arc::clone(&self.connection.borrow())
    }
}

impl SecretProvider for VaultProvider {
    fn scheme(&self) -> &'static str {
        self.scheme
    }

    fn check(&self, reference: &SecretRef) -> Result<(), String> {
        Wanted::parse(reference).map(drop)
    }

    fn fetch<'a>(&'a self, reference: &'a SecretRef) -> Answer<'a, Fetched> {
        Box::pin(async move { self.connection().fetch(reference).await })
    }

    fn renew<'a>(&'a self, lease: &'a LeaseId, increment: Duration) -> Answer<'a, Renewed> {
        Box::pin(async move { self.connection().renew_lease(lease, increment).await })
    }

    fn revoke<'a>(&'a self, lease: &'a LeaseId) -> Answer<'a, ()> {
        Box::pin(async move { self.connection().revoke_lease(lease).await })
    }

    fn run(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let mut connections = self.connection.subscribe();
        Box::pin(async move {
            loop {
                let connection = Arc::clone(&connections.borrow_and_update());
                tokio::select! {
                    () = connection.keep_alive() => {}
                    _ = connections.changed() => {}
                }
            }
        })
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async move { self.connection().close().await })
    }

    fn status(&self) -> Value {
        self.connection().status(self.scheme)
    }

    fn abnormal(&self) -> Option<String> {
        self.connection().abnormal()
    }
}

/// Where it is, and no more.
impl fmt::Debug for VaultProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VaultProvider")
            .field("scheme", &self.scheme)
            .field("address", &self.connection().config.address)
            .finish_non_exhaustive()
    }
}
