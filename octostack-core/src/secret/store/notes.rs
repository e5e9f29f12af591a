//! What is put on record of each secret.

use crate::secret::SecretRef;
use crate::secret::audit::{Audit, Record};
use crate::secret::provider::{LeaseId, ProviderError, ProviderErrorKind};

/// The record, if there is one.
pub(super) struct Notes(pub(super) Option<Audit>);

/// One thing to be put on record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Note<'a>(Record<'a>);

impl Notes {
    /// Puts it on record before somebody gets the secret.
    pub(super) fn take(&self, note: &Note<'_>) -> Result<(), String> {
        let Some(audit) = &self.0 else { return Ok(()) };
        audit.record(&note.0).map_err(|error| format!("the access is not on record: {error}"))
    }

    /// Puts on record what has happened. That it could not be is visible, and nobody gets a secret
    /// by it.
    pub(super) fn note(&self, note: &Note<'_>) {
        let _ = self.take(note);
    }
}

impl<'a> Note<'a> {
    pub(super) fn new(action: &'static str, reference: &'a SecretRef) -> Self {
        Self(Record::new(action).reference(reference.as_str()))
    }

    pub(super) const fn by(self, consumer: &'a str) -> Self {
        Self(self.0.consumer(consumer))
    }

    pub(super) const fn version(self, number: u64, provider: Option<&'a str>) -> Self {
        Self(self.0.version(number, provider))
    }

    pub(super) const fn lease(self, lease: Option<&'a LeaseId>) -> Self {
        Self(self.0.lease(lease))
    }

    pub(super) fn failed(self, error: &'a ProviderError) -> Self {
        let outcome = match error.kind() {
            ProviderErrorKind::Unavailable => "unavailable",
            ProviderErrorKind::Refused => "refused",
            ProviderErrorKind::Gone => "gone",
            ProviderErrorKind::NotFound => "not_found",
            ProviderErrorKind::Invalid => "invalid",
        };
        Self(self.0.outcome(outcome, Some(error.message())))
    }

    /// It is over, and why.
    pub(super) const fn over(self, why: &'a str) -> Self {
        self.ended("expired", why)
    }

    pub(super) const fn ended(self, outcome: &'static str, why: &'a str) -> Self {
        Self(self.0.outcome(outcome, Some(why)))
    }

    pub(super) const fn reads(self, reads: u64) -> Self {
        Self(self.0.reads(reads))
    }
}
