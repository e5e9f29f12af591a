//! Several secrets at once, of one moment.

use super::error::{SecretError, SecretErrorKind};
use super::handle::Handle;
use super::notes::Note;
use super::version::Version;
use super::{SecretRef, Secrets};
use crate::secret::Secret;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::JoinSet;

/// A secret with what keeps it fresh, and what it is a part of. It is in use for as long as this
/// is there.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Resolved {
    /// The text that the reference means.
    pub value: Secret<String>,
    /// Keeps the secret fresh.
    pub handle: Handle,
    /// The version that the value is of.
    pub version: Arc<Version>,
}

impl Secrets {
    /// Puts on record that `consumer` has read a secret that this machine has, or why it could not.
    ///
    /// # Errors
    /// If it cannot be, and must.
    pub fn record_read(
        &self,
        consumer: &str,
        reference: &SecretRef,
        failure: Option<&str>,
    ) -> Result<(), SecretError> {
        let note = Note::new("read", reference).by(consumer);
        let note = failure.map_or(note, |why| note.ended("failed", why));
        self.shared
            .core
            .notes
            .take(&note)
            .map_err(|what| SecretError::new(reference, SecretErrorKind::NotRecorded, what))
    }

    /// Opens all of `wanted`, each for the consumer that stands before it. Fields of one secret are
    /// of one version: a user name and its password go together.
    pub async fn resolve(
        &self,
        wanted: Vec<(String, SecretRef)>,
    ) -> Vec<Result<Resolved, SecretError>> {
        let mut opening = JoinSet::new();
        let count = wanted.len();
        for (index, (consumer, reference)) in wanted.into_iter().enumerate() {
            let secrets = self.clone();
            let open = async move { (index, secrets.open(consumer, &reference).await) };
            opening.spawn(open);
        }
        let mut opened: Vec<_> = (0..count).map(|_| None).collect();
        for (index, handle) in opening.join_all().await {
            opened[index] = Some(handle);
        }
        let mut versions: BTreeMap<SecretRef, Arc<Version>> = BTreeMap::new();
        opened.into_iter().flatten().map(|handle| of_one(handle?, &mut versions)).collect()
    }
}

fn of_one(
    handle: Handle,
    versions: &mut BTreeMap<SecretRef, Arc<Version>>,
) -> Result<Resolved, SecretError> {
    let source = handle.reference().source();
    let version = match versions.get(&source) {
        Some(version) => {
            handle.take(version)?;
            version.clone()
        }
        None => handle.load()?,
    };
    versions.insert(source, version.clone());
    let value = handle.value_of(&version)?;
    Ok(Resolved { value, handle, version })
}
