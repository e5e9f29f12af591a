//! The directories below `SERVICE_BINDING_ROOT`, as the Service Binding specification for
//! Kubernetes (1.1, section "Workload Projection") lays them out.

use crate::config::disk::Disk;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

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
    pub(super) unreadable: Vec<(String, io::ErrorKind)>,
}

/// All bindings in `root` by name, and what was passed over.
///
/// # Errors
/// If `root` cannot be read.
pub(super) fn read(root: &Path, disk: &Disk) -> io::Result<(Vec<Directory>, Vec<String>)> {
    let (mut found, mut notes) = (Vec::new(), Vec::new());
    for name in disk.names(root)? {
        let path = root.join(&name);
        if !disk.is_dir(&path) {
            continue;
        }
        match directory(&name, &path, disk) {
            Ok(directory) => found.push(directory),
            Err(why) => notes.push(format!("{}: no binding, since {why}", path.display())),
        }
    }
    Ok((found, notes))
}

fn directory(name: &str, path: &Path, disk: &Disk) -> Result<Directory, String> {
    let (mut entries, mut unreadable) = (BTreeMap::new(), Vec::new());
    let names = disk.names(path).map_err(|error| format!("it cannot be read: {error}"))?;
    for entry in names {
        match disk.read_if_text(&path.join(&entry)) {
            Ok(Some(text)) => _ = entries.insert(entry, without_newline(text)),
            Ok(None) => {}
            Err(error) if entry == "type" => {
                return Err(format!("its entry `type` cannot be read: {error}"));
            }
            Err(error) => unreadable.push((entry, error.kind())),
        }
    }
    let trimmed = |text: String| text.trim().to_owned();
    let kind = entries.remove("type").map(trimmed).filter(|kind| !kind.is_empty());
    let kind = kind.ok_or("it has no entry `type`")?;
    let provider = entries.remove("provider").map(trimmed).filter(|name| !name.is_empty());
    let (name, path) = (name.to_owned(), path.to_path_buf());
    Ok(Directory { name, path, kind, provider, entries, unreadable })
}

/// Without the one newline that editors and `echo` put at the end.
fn without_newline(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    text
}
