//! The directories below `SERVICE_BINDING_ROOT`, as the Service Binding specification for
//! Kubernetes (1.1, section "Workload Projection") lays them out.
//!
//! A volume of Kubernetes changes by one rename of its `..data`. So that is resolved once, and all
//! entries are read from where it leads: never a user name of the old secret and a password of the
//! new one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// How large an entry may be. What is larger is left out, as binary entries are.
const MAX_BYTES: u64 = 1024 * 1024;

/// How many directories and how many entries of each are looked at.
const MAX_NAMES: usize = 1_000;

/// How often to begin anew when the directory was replaced while it was read.
const ATTEMPTS: usize = 3;

/// One binding: a directory with a `type`.
#[derive(Clone)]
pub(super) struct Directory {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) kind: String,
    pub(super) provider: Option<String>,
    /// The other entries that are text.
    pub(super) entries: BTreeMap<String, String>,
    /// Those that could not be read, and why.
    pub(super) unreadable: Vec<(String, String)>,
}

/// All bindings in `root` by name, and what was passed over.
///
/// # Errors
/// If `root` cannot be read.
pub(super) fn read(root: &Path) -> io::Result<(Vec<Directory>, Vec<String>)> {
    let mut attempts = 1..=ATTEMPTS;
    loop {
        attempts.next();
        let now = current(root);
        let read = all(root, &now);
        if attempts.is_empty() || current(root) == now {
            return read;
        }
    }
}

/// All bindings of `root`, whose content is in `now`.
fn all(root: &Path, now: &Path) -> io::Result<(Vec<Directory>, Vec<String>)> {
    let (mut found, mut notes) = (Vec::new(), Vec::new());
    for name in names(now)? {
        if !now.join(&name).is_dir() {
            continue;
        }
        // Shown as it was mounted, whichever version of it was read.
        let shown = root.join(&name);
        match directory(&name, &now.join(&name), &shown) {
            Some(directory) => found.push(directory),
            None => notes.push(format!(
                "{}: no binding, since it has no entry `type`; it is ignored",
                shown.display()
            )),
        }
    }
    Ok((found, notes))
}

/// Where a volume's content is now.
fn current(path: &Path) -> PathBuf {
    fs::canonicalize(path.join("..data")).unwrap_or_else(|_| path.to_path_buf())
}

/// What is in `path`, sorted, without what is hidden and what is not named in text.
fn names(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)?.take(MAX_NAMES) {
        let name = entry?.file_name();
        names.extend(name.to_str().filter(|name| !name.starts_with('.')).map(str::to_owned));
    }
    names.sort_unstable();
    Ok(names)
}

fn directory(name: &str, path: &Path, shown: &Path) -> Option<Directory> {
    let mut directory = None;
    for _ in 0..ATTEMPTS {
        let now = current(path);
        directory = entries(name, &now, shown);
        if current(path) == now {
            break;
        }
    }
    directory
}

fn entries(name: &str, path: &Path, shown: &Path) -> Option<Directory> {
    let (mut entries, mut unreadable) = (BTreeMap::new(), Vec::new());
    for entry in names(path).ok()? {
        match text(&path.join(&entry)) {
            Ok(Some(text)) => _ = entries.insert(entry, text),
            Ok(None) => {}
            Err(error) => unreadable.push((entry, error.kind().to_string())),
        }
    }
    let trimmed = |text: String| text.trim().to_owned();
    let kind = entries.remove("type").map(trimmed).filter(|kind| !kind.is_empty())?;
    let provider = entries.remove("provider").map(trimmed).filter(|name| !name.is_empty());
    let (name, path) = (name.to_owned(), shown.to_path_buf());
    Some(Directory { name, path, kind, provider, entries, unreadable })
}

/// The text of an entry without the one newline at its end; nothing for what is no text.
fn text(path: &Path) -> io::Result<Option<String>> {
    // A pipe would hold up the load for ever.
    if !fs::metadata(path)?.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Ok(None);
    }
    let text = String::from_utf8(bytes).ok();
    Ok(text.map(|mut text| {
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        text
    }))
}
