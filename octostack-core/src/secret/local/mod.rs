//! Secrets that this machine has: variables, files, credentials of the unit.
//!
//! Whoever may read a file may as well be somebody who should not, so that files are looked at: one
//! that everybody may write is refused, since anybody could choose the secret; one that everybody
//! may read is told of, unless it is in memory only, as those that Docker and Kubernetes mount.

use super::payload::Payload;
use super::{Secret, SecretRef};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[cfg(feature = "secrets-live")]
mod providers;

#[cfg(feature = "secrets-live")]
pub use providers::{CredentialsProvider, EnvProvider, FileProvider};

/// Schemes that are followed on the machine itself.
#[cfg(feature = "config")]
pub(crate) const SCHEMES: [&str; 3] = ["env", "file", "cred"];

/// The variable in which systemd says where the credentials of the unit are.
pub(crate) const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// What this machine says, as it is at one time.
pub(crate) trait Machine {
    /// A variable.
    fn variable(&self, name: &str) -> Option<String>;

    /// A file of text.
    fn read(&self, path: &Path) -> Result<String, String>;

    /// Whether there is a directory.
    fn is_dir(&self, path: &Path) -> bool;

    /// Where the files of a directory are all of one update.
    fn settled(&self, path: &Path) -> PathBuf {
        path.to_owned()
    }

    /// What is in a directory, without what is hidden.
    fn names(&self, path: &Path) -> Result<Vec<String>, String>;
}

/// Where a secret is read from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Variable(String),
    Path(PathBuf),
}

/// What is wrong with a reference of one of [`SCHEMES`], as far as that shows without looking.
pub(crate) fn check(reference: &SecretRef) -> Result<(), String> {
    if let Some((name, _)) = reference.options().next() {
        return Err(format!("`{}://` has no option `{name}`", reference.scheme()));
    }
    let path = reference.path();
    match reference.scheme() {
        "file" if !Path::new(path).is_absolute() => {
            Err("the path of a file begins with a third `/`: `file:///run/secrets/name`".to_owned())
        }
        "cred" if path.contains('/') || path.starts_with('.') => {
            Err("a credential has a name, not a path: `cred://name`".to_owned())
        }
        _ => Ok(()),
    }
}

/// Where `reference` leads.
pub(crate) fn place(reference: &SecretRef, machine: &dyn Machine) -> Result<Place, String> {
    check(reference)?;
    let path = reference.path();
    match reference.scheme() {
        "env" => Ok(Place::Variable(path.to_owned())),
        "file" => Ok(Place::Path(path.into())),
        _ => {
            let dir = machine.variable(CREDENTIALS_DIRECTORY).filter(|dir| !dir.is_empty());
            let dir = dir.ok_or_else(|| {
                format!(
                    "{CREDENTIALS_DIRECTORY} is not set: the unit has no credentials \
                     (`LoadCredential=`)"
                )
            })?;
            Ok(Place::Path(Path::new(&dir).join(path)))
        }
    }
}

/// Follows `reference`, all of it or, of a directory, only the field that it names.
pub(crate) fn read(reference: &SecretRef, machine: &dyn Machine) -> Result<Payload, String> {
    let path = match place(reference, machine)? {
        Place::Variable(name) => {
            let text = machine.variable(&name).filter(|text| !text.is_empty());
            let text = text.ok_or_else(|| format!("the variable {name} is not set"))?;
            return Ok(Payload::Text(Secret::new(text)));
        }
        Place::Path(path) => path,
    };
    if !machine.is_dir(&path) {
        return one(&path, machine).map(Payload::Text);
    }
    let path = machine.settled(&path);
    match reference.field() {
        Some(name) if name.contains('/') || name.starts_with('.') => {
            Err(format!("`{name}` is no name of a file in a directory"))
        }
        Some(name) => {
            let secret = one(&path.join(name), machine)?;
            Ok(Payload::Fields([(name.to_owned(), secret)].into()))
        }
        None => all(&path, machine),
    }
}

/// Each file that is a secret. What else is there, such as a keystore, is somebody else's.
fn all(path: &Path, machine: &dyn Machine) -> Result<Payload, String> {
    let names = machine.names(path)?;
    let mut fields = BTreeMap::new();
    let mut wrong = None;
    for name in names {
        match one(&path.join(&name), machine) {
            Ok(secret) => _ = fields.insert(name, secret),
            Err(what) => wrong = Some(what),
        }
    }
    match wrong.filter(|_| fields.is_empty()) {
        Some(what) => Err(what),
        None => Ok(Payload::Fields(fields)),
    }
}

fn one(path: &Path, machine: &dyn Machine) -> Result<Secret<String>, String> {
    writable_by_all(path)?;
    let text = machine.read(path).map_err(|what| format!("{}: {what}", path.display()))?;
    let text = trimmed(text);
    if text.expose().is_empty() {
        return Err(format!("{}: it is empty", path.display()));
    }
    Ok(text)
}

/// Without the newline that editors and `echo` put at the end, and that is not part of it.
fn trimmed(text: String) -> Secret<String> {
    let mut text = text;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Secret::new(text)
}

/// Refuses a file that everybody may write.
fn writable_by_all(path: &Path) -> Result<(), String> {
    if mode(path).is_some_and(|mode| mode & 0o002 != 0) {
        let path = path.display();
        return Err(format!(
            "{path}: everybody may write it, and so choose the secret; `chmod o-w {path}`"
        ));
    }
    Ok(())
}

/// What should be told of a file: that everybody on this machine may read it. Nothing of one that
/// is in memory only, such as those that Docker and Kubernetes mount for one container.
pub(crate) fn readable_by_all(path: &Path) -> Option<String> {
    if mode(path)? & 0o004 == 0 || in_memory(path) {
        return None;
    }
    let path = path.display();
    Some(format!("{path}: everybody on this machine may read this secret; `chmod o-r {path}`"))
}

#[cfg(unix)]
fn mode(path: &Path) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    let metadata = path.metadata().ok()?;
    metadata.is_file().then(|| metadata.mode())
}

#[cfg(not(unix))]
fn mode(_: &Path) -> Option<u32> {
    None
}

/// Whether `path` is on a file system without a disk, as far as the system says.
fn in_memory(path: &Path) -> bool {
    let Ok(real) = path.canonicalize() else { return false };
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    // The last of those that lead closest is on top.
    let mounted = mounts.lines().filter_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let at = mount.split(' ').nth(4)?;
        Some((Path::new(at), kind.split(' ').next()?))
    });
    let around = mounted.filter(|(at, _)| real.starts_with(at));
    let closest = around.max_by_key(|(at, _)| at.components().count());
    closest.is_some_and(|(_, kind)| matches!(kind, "tmpfs" | "ramfs"))
}

#[cfg(test)]
mod tests;
