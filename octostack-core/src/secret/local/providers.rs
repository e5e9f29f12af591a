//! What this machine has, for those who keep secrets fresh.

use super::{Machine, check, read, readable_by_all};
use crate::file::{self, ReadError};
use crate::inspect::Value;
use crate::secret::SecretRef;
use crate::secret::provider::{Answer, Fetched, Payload, ProviderError, SecretProvider};
use crate::sync::lock;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often a file is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// How large a file may be.
const MAX_BYTES: usize = 1024 * 1024;

/// How many files of a directory are read.
const MAX_NAMES: usize = 100;

/// `env://NAME`: an environment variable, as it was when the process started. It does not change.
#[derive(Clone)]
pub struct EnvProvider {
    /// `None`: those of the process.
    variables: Option<Arc<BTreeMap<String, String>>>,
}

/// `file:///path`: a file, or a directory of files. Looked at once a second; a text that is the
/// same is no new version.
#[derive(Clone, Debug, Default)]
pub struct FileProvider {
    /// What is to be told, by path.
    exposed: Arc<Mutex<BTreeMap<String, String>>>,
}

/// `cred://name`: a credential that systemd gave to the unit, for the life of the unit.
#[derive(Clone)]
pub struct CredentialsProvider {
    variables: EnvProvider,
}

impl EnvProvider {
    /// The variables of the process.
    pub const fn process() -> Self {
        Self { variables: None }
    }

    /// These variables.
    pub fn of<K: Into<String>, V: Into<String>>(
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self { variables: Some(Arc::new(variables.collect())) }
    }
}

impl FileProvider {
    /// Files of this machine.
    pub fn new() -> Self {
        Self::default()
    }
}

impl CredentialsProvider {
    /// Credentials in the directory that `CREDENTIALS_DIRECTORY` of `variables` names.
    pub const fn new(variables: EnvProvider) -> Self {
        Self { variables }
    }
}

impl Machine for EnvProvider {
    fn variable(&self, name: &str) -> Option<String> {
        match &self.variables {
            Some(variables) => variables.get(name).cloned(),
            None => std::env::var(name).ok(),
        }
    }

    fn read(&self, path: &Path) -> Result<String, String> {
        let bytes = file::read(path, MAX_BYTES).map_err(|error| match error {
            ReadError::System(error) => error.to_string(),
            ReadError::NotAFile(what) => format!("it is {what}, not a file"),
            ReadError::TooLarge => "it is larger than 1 MiB".to_owned(),
        })?;
        String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())
    }

    fn is_dir(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn settled(&self, path: &Path) -> PathBuf {
        // kubelet exchanges all files by this link.
        std::fs::canonicalize(path.join("..data")).unwrap_or_else(|_| path.to_owned())
    }

    fn names(&self, path: &Path) -> Result<Vec<String>, String> {
        let wrong = |error: std::io::Error| format!("{}: {error}", path.display());
        let mut names = Vec::new();
        for entry in std::fs::read_dir(path).map_err(wrong)? {
            let name = entry.map_err(wrong)?.file_name();
            let name = name.to_str().filter(|name| !name.starts_with('.'));
            names.extend(name.filter(|name| !path.join(name).is_dir()).map(str::to_owned));
            if names.len() > MAX_NAMES {
                return Err(format!("{}: more than {MAX_NAMES} files", path.display()));
            }
        }
        names.sort_unstable();
        Ok(names)
    }
}

/// Reads beside the threads of the runtime: a file may be on a disk of others.
fn aside(reference: &SecretRef, machine: &EnvProvider) -> Answer<'static, Fetched> {
    let (reference, machine) = (reference.source(), machine.clone());
    Box::pin(async move {
        let reading = tokio::task::spawn_blocking(move || read(&reference, &machine));
        let read = reading.await.map_err(|_| ProviderError::unavailable("reading it panicked"))?;
        match read.map_err(ProviderError::unavailable)? {
            Payload::Text(text) => Ok(Fetched::text(text)),
            Payload::Fields(fields) => Ok(Fetched::fields(fields)),
        }
    })
}

impl SecretProvider for EnvProvider {
    fn scheme(&self) -> &'static str {
        "env"
    }

    fn check(&self, reference: &SecretRef) -> Result<(), String> {
        check(reference)
    }

    fn fetch<'a>(&'a self, reference: &'a SecretRef) -> Answer<'a, Fetched> {
        // It does not come by waiting.
        let read = read(&reference.source(), self).map_err(ProviderError::not_found);
        Box::pin(std::future::ready(read.map(|payload| match payload {
            Payload::Text(text) => Fetched::text(text),
            Payload::Fields(fields) => Fetched::fields(fields),
        })))
    }
}

impl SecretProvider for FileProvider {
    fn scheme(&self) -> &'static str {
        "file"
    }

    fn check(&self, reference: &SecretRef) -> Result<(), String> {
        check(reference)
    }

    fn fetch<'a>(&'a self, reference: &'a SecretRef) -> Answer<'a, Fetched> {
        Box::pin(async move {
            let fetched = aside(reference, &EnvProvider::process()).await?;
            let path = reference.path();
            let told = readable_by_all(Path::new(path));
            let mut exposed = lock(&self.exposed);
            match told {
                Some(told) => exposed.insert(path.to_owned(), told),
                None => exposed.remove(path),
            };
            drop(exposed);
            Ok(fetched.look_again(INTERVAL))
        })
    }

    fn status(&self) -> Value {
        let exposed = lock(&self.exposed).values().cloned().map(Value::from).collect();
        Value::map([("scheme", Value::from("file")), ("warnings", Value::List(exposed))])
    }
}

impl SecretProvider for CredentialsProvider {
    fn scheme(&self) -> &'static str {
        "cred"
    }

    fn check(&self, reference: &SecretRef) -> Result<(), String> {
        check(reference)
    }

    fn fetch<'a>(&'a self, reference: &'a SecretRef) -> Answer<'a, Fetched> {
        aside(reference, &self.variables)
    }
}

/// Not the variables.
impl fmt::Debug for EnvProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvProvider").finish_non_exhaustive()
    }
}

impl fmt::Debug for CredentialsProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialsProvider").finish_non_exhaustive()
    }
}
