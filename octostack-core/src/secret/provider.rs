//! Whoever has secrets: the one trait that a store implements.
//!
//! A provider answers questions and keeps no time: when to ask again, what to do when it does not
//! answer and who may still use what it said before is for the [store](super::store).
//!
//! ```
//! use octostack_core::secret::provider::{Answer, Fetched, ProviderError, SecretProvider};
//! use octostack_core::secret::{Secret, SecretRef};
//!
//! /// Secrets of a test: `fixed://name` is `name` spelled backwards.
//! struct Fixed;
//!
//! impl SecretProvider for Fixed {
//!     fn scheme(&self) -> &'static str {
//!         "fixed"
//!     }
//!
//!     fn fetch<'a>(&'a self, reference: &'a SecretRef) -> Answer<'a, Fetched> {
//!         let text: String = reference.path().chars().rev().collect();
//!         Box::pin(async move {
//!             if text.is_empty() {
//!                 return Err(ProviderError::not_found("there is no such name"));
//!             }
//!             Ok(Fetched::text(Secret::new(text)))
//!         })
//!     }
//! }
//! ```

pub use super::payload::Payload;

use super::{Secret, SecretRef};
use crate::inspect::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, ready};
use std::pin::Pin;
use std::time::Duration;

/// An answer, awaited. It is asked for seldom, so that a box costs nothing.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, ProviderError>> + Send + 'a>>;

/// A store of secrets.
///
/// Futures may be dropped before they are done, and are when they take too long. No error and no
/// status holds a secret.
pub trait SecretProvider: Send + Sync + 'static {
    /// The scheme of the references that it follows, such as `vault`.
    fn scheme(&self) -> &'static str;

    /// What is wrong with a reference, as far as that shows without asking.
    ///
    /// # Errors
    /// What is wrong.
    fn check(&self, reference: &SecretRef) -> Result<(), String> {
        let _ = reference;
        Ok(())
    }

    /// The secret as it is now. The field of the reference is not looked at: a secret is fetched
    /// whole, so that two of its fields go together.
    fn fetch<'a>(&'a self, reference: &'a SecretRef) -> Answer<'a, Fetched>;

    /// Makes a lease last for `increment` from now, or for as long as the provider allows.
    fn renew<'a>(&'a self, lease: &'a LeaseId, increment: Duration) -> Answer<'a, Renewed> {
        let _ = (lease, increment);
        Box::pin(ready(Err(ProviderError::refused("leases of this provider cannot be renewed"))))
    }

    /// Ends a lease: nobody uses the secret any more.
    fn revoke<'a>(&'a self, lease: &'a LeaseId) -> Answer<'a, ()> {
        let _ = lease;
        Box::pin(ready(Ok(())))
    }

    /// Ends what was begun for us, such as a login. Called once, at an orderly end, after the
    /// leases were revoked.
    fn close(&self) -> Answer<'_, ()> {
        Box::pin(ready(Ok(())))
    }

    /// Works for as long as it is polled: keeps a login alive. Never returns.
    fn run(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::pending())
    }

    /// How it looks on a status page.
    fn status(&self) -> Value {
        Value::map([("scheme", Value::from(self.scheme()))])
    }

    /// Why an operator should look at it, if there is a reason.
    fn abnormal(&self) -> Option<String> {
        None
    }
}

/// A secret as a provider has it.
#[derive(Clone)]
#[non_exhaustive]
pub struct Fetched {
    /// What it is.
    pub payload: Payload,
    /// What the provider calls this version, if it counts them.
    pub version: Option<String>,
    /// How long it is valid, if not for ever.
    pub lease: Option<Lease>,
    /// When to look again, for secrets without a lease. `None`: it does not change.
    pub look_again: Option<Duration>,
}

/// How long a secret is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// By which it is renewed and revoked. `None`: neither is possible.
    pub id: Option<LeaseId>,
    /// From now on.
    pub ttl: Duration,
    /// Whether it can be made to last longer.
    pub renewable: bool,
}

/// What a renewal came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// How long it is valid from now on.
    pub ttl: Duration,
    /// Whether it can be renewed once more.
    pub renewable: bool,
}

/// Names a lease. Whoever has it can end the lease, so it does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct LeaseId(Secret<String>);

/// Why a provider does not have what it was asked for. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderError {
    kind: ProviderErrorKind,
    message: String,
    retry_after: Option<Duration>,
}

/// What to make of a [`ProviderError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProviderErrorKind {
    /// It cannot be reached, is overloaded or sealed: it may be well again soon.
    Unavailable,
    /// It says no. What it gave before may still be valid.
    Refused,
    /// The lease is not there any more: it was revoked, or has ended.
    Gone,
    /// There is no such secret.
    NotFound,
    /// The reference or the answer makes no sense.
    Invalid,
}

impl Fetched {
    /// One text that does not change.
    pub fn text(text: Secret<String>) -> Self {
        Self::of(Payload::Text(text))
    }

    /// Several texts with names, which do not change.
    pub fn fields(fields: BTreeMap<String, Secret<String>>) -> Self {
        Self::of(Payload::Fields(fields))
    }

    const fn of(payload: Payload) -> Self {
        Self { payload, version: None, lease: None, look_again: None }
    }

    /// Sets what the provider calls this version.
    #[must_use]
    pub fn with_version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Sets how long it is valid.
    #[must_use]
    pub fn with_lease(mut self, lease: Lease) -> Self {
        self.lease = Some(lease);
        self
    }

    /// Sets when to look again.
    #[must_use]
    pub const fn look_again(mut self, after: Duration) -> Self {
        self.look_again = Some(after);
        self
    }
}

impl LeaseId {
    /// A lease by its id.
    pub fn new(id: impl Into<String>) -> Self {
        Self(Secret::new(id.into()))
    }

    /// The id, for the provider.
    pub const fn expose(&self) -> &String {
        self.0.expose()
    }
}

impl fmt::Debug for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Not the payload.
impl fmt::Debug for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetched")
            .field("payload", &self.payload)
            .field("version", &self.version)
            .field("lease", &self.lease)
            .field("look_again", &self.look_again)
            .finish()
    }
}

impl ProviderError {
    /// It cannot be had at the moment.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::of(ProviderErrorKind::Unavailable, message)
    }

    /// The provider says no.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::of(ProviderErrorKind::Refused, message)
    }

    /// The lease is not there any more.
    pub fn gone(message: impl Into<String>) -> Self {
        Self::of(ProviderErrorKind::Gone, message)
    }

    /// There is no such secret.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::of(ProviderErrorKind::NotFound, message)
    }

    /// The reference or the answer makes no sense.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::of(ProviderErrorKind::Invalid, message)
    }

    fn of(kind: ProviderErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after: None }
    }

    /// Says how long the provider wants to be left alone.
    #[must_use]
    pub const fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// What to make of it.
    pub const fn kind(&self) -> ProviderErrorKind {
        self.kind
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// How long the provider wants to be left alone.
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for ProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ProviderError {}

#[cfg(test)]
mod tests {
    use super::{Fetched, Secret};

    #[test]
    fn nothing_of_it_prints() {
        let shown = format!("{:?}", Fetched::text(Secret::new("hunter2".to_owned())));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
