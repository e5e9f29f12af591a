//! Why a secret cannot be had.

use crate::secret::SecretRef;
use crate::secret::provider::{ProviderError, ProviderErrorKind};
use std::fmt;

/// Why a secret cannot be had. Holds none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretError {
    reference: SecretRef,
    kind: SecretErrorKind,
    message: String,
}

/// What sort of reason a [`SecretError`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SecretErrorKind {
    /// Nobody follows references of this scheme.
    NoProvider,
    /// The reference makes no sense to its provider, or its answer to us; there is no such field.
    Invalid,
    /// The provider does not answer.
    Unavailable,
    /// The provider says no.
    Refused,
    /// There is no such secret.
    NotFound,
    /// Its time is over, and there is no newer one.
    Expired,
    /// The access could not be put on record.
    NotRecorded,
    /// The service is ending.
    Closed,
}

impl SecretError {
    pub(super) fn new(
        reference: &SecretRef,
        kind: SecretErrorKind,
        message: impl Into<String>,
    ) -> Self {
        Self { reference: reference.clone(), kind, message: message.into() }
    }

    pub(super) fn of(reference: &SecretRef, error: &ProviderError) -> Self {
        Self::new(reference, error.kind().into(), error.message())
    }

    pub(super) fn closed(reference: &SecretRef) -> Self {
        Self::new(reference, SecretErrorKind::Closed, "the service is ending")
    }

    /// The reference that was followed.
    pub const fn reference(&self) -> &SecretRef {
        &self.reference
    }

    /// What sort of reason it is.
    pub const fn kind(&self) -> SecretErrorKind {
        self.kind
    }

    /// What is wrong, without the reference.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl From<ProviderErrorKind> for SecretErrorKind {
    fn from(kind: ProviderErrorKind) -> Self {
        match kind {
            ProviderErrorKind::Unavailable => Self::Unavailable,
            ProviderErrorKind::Refused => Self::Refused,
            ProviderErrorKind::NotFound | ProviderErrorKind::Gone => Self::NotFound,
            ProviderErrorKind::Invalid => Self::Invalid,
        }
    }
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reference, self.message)
    }
}

impl std::error::Error for SecretError {}
