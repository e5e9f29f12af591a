//! Somebody's view of a secret.

use super::cell::Alive;
use super::error::{SecretError, SecretErrorKind};
use super::notes::Note;
use super::version::Version;
use super::{SecretRef, Secrets};
use crate::secret::Secret;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A secret that stays fresh, for one who uses it. Clones share the place on the record.
///
/// The secret is kept alive for as long as there is a handle to it.
#[derive(Clone)]
pub struct Handle {
    alive: Arc<Alive>,
    secrets: Secrets,
    consumer: Arc<str>,
    reference: SecretRef,
    /// Number of the last version that is on record as handed out here.
    recorded: Arc<AtomicU64>,
    /// And of that which was over when somebody wanted it.
    refused: Arc<AtomicU64>,
}

impl Handle {
    pub(super) fn new(
        alive: Arc<Alive>,
        secrets: Secrets,
        consumer: Arc<str>,
        reference: SecretRef,
    ) -> Self {
        Self {
            alive,
            secrets,
            consumer,
            reference,
            recorded: Arc::default(),
            refused: Arc::default(),
        }
    }

    /// The version of now: a short lock, and the first time that it is handed out a line on the
    /// record, which waits for the disk in mode [`Block`](crate::secret::audit::AuditMode::Block).
    /// Hold it for as long as it is used and no longer.
    ///
    /// # Errors
    /// If its time is over and there is no newer one, or the access cannot be recorded.
    pub fn load(&self) -> Result<Arc<Version>, SecretError> {
        let version = self.alive.cell.current().ok_or_else(|| self.expired())?;
        self.take(&version)?;
        Ok(version)
    }

    /// Hands out this version.
    pub(super) fn take(&self, version: &Version) -> Result<(), SecretError> {
        if !version.is_valid() {
            return Err(self.expired());
        }
        let number = version.number();
        if self.recorded.load(Ordering::Acquire) != number {
            self.record(version)?;
            self.recorded.store(number, Ordering::Release);
        }
        version.reads.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// The text that the reference means, as of now. For who uses it at once; whoever keeps it
    /// keeps a copy that nobody knows of, and should [`load`](Self::load) instead.
    ///
    /// # Errors
    /// As [`load`](Self::load), and if it has no such field.
    pub fn value(&self) -> Result<Secret<String>, SecretError> {
        let version = self.load()?;
        let value = version.select(self.reference.field());
        value.map_err(|what| SecretError::new(&self.reference, SecretErrorKind::Invalid, what))
    }

    /// The text that the reference means, of a version.
    ///
    /// # Errors
    /// If it has no such field.
    pub fn value_of(&self, version: &Version) -> Result<Secret<String>, SecretError> {
        let value = version.select(self.reference.field());
        value.map_err(|what| SecretError::new(&self.reference, SecretErrorKind::Invalid, what))
    }

    /// The number of the newest version, for [`changed`](Self::changed). It is not put on record.
    pub fn number(&self) -> u64 {
        self.alive.cell.number()
    }

    /// Waits until there is another version than the one of this number. Cancel safe.
    pub async fn changed(&self, number: u64) {
        let mut numbers = self.alive.cell.numbers();
        if numbers.wait_for(|now| *now != number).await.is_err() {
            std::future::pending::<()>().await; // nobody fetches any more
        }
    }

    /// Fetches it again now. If somebody has asked already this waits for the same answer; one
    /// secret is not asked for more than once a second. Cancel safe.
    ///
    /// # Errors
    /// Why it could not be fetched. What there was before is used until its time is over.
    pub async fn refresh(&self) -> Result<(), SecretError> {
        self.alive.cell.refresh(&self.secrets.shared.core, None).await
    }

    /// What to use after somebody has refused `version`, such as a database that says that the
    /// password is wrong: the one of now if that is another one, else one that is fetched again.
    /// Cancel safe.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn rejected(&self, version: &Version) -> Result<Arc<Version>, SecretError> {
        self.alive.cell.refresh(&self.secrets.shared.core, Some(version.number())).await?;
        self.load()
    }

    /// What it was opened with.
    pub const fn reference(&self) -> &SecretRef {
        &self.reference
    }

    /// Whether its field is there.
    pub(super) fn check(&self) -> Result<(), SecretError> {
        let Some(version) = self.alive.cell.current() else { return Err(self.expired()) };
        match self.reference.field() {
            Some(_) => self.value_of(&version).map(drop),
            None => Ok(()), // all of it, or the only field, or one by one
        }
    }

    fn record(&self, version: &Version) -> Result<(), SecretError> {
        let note = Note::new("read", &self.reference)
            .by(&self.consumer)
            .version(version.number(), version.provider_version());
        self.secrets
            .shared
            .core
            .notes
            .take(&note)
            .map_err(|what| SecretError::new(&self.reference, SecretErrorKind::NotRecorded, what))
    }

    fn expired(&self) -> SecretError {
        if *self.secrets.shared.core.closing.borrow() {
            return SecretError::closed(&self.reference);
        }
        let what = self.alive.cell.why_expired();
        let number = self.alive.cell.number();
        if self.refused.swap(number, Ordering::AcqRel) != number {
            let note = Note::new("read", &self.reference).by(&self.consumer).version(number, None);
            self.secrets.shared.core.notes.note(&note.over(&what));
        }
        SecretError::new(&self.reference, SecretErrorKind::Expired, what)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("reference", &self.reference)
            .field("consumer", &self.consumer)
            .finish_non_exhaustive()
    }
}
