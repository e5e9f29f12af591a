//! The file beside the log that knows its last line.

use super::error::AuditError;
use super::line::{Hash, Link};
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// `path` with `ending` after its name.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().map(OsString::from).unwrap_or_default();
    name.push(ending);
    path.with_file_name(name)
}

pub(super) fn path_of(log: &Path) -> PathBuf {
    beside(log, ".head")
}

/// The last line that the head of `log` knows. `None` if there is no head.
pub(super) fn read(log: &Path) -> Result<Option<Link>, AuditError> {
    let path = path_of(log);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(AuditError::io(&path, "read it", &error)),
    };
    match parse(text.trim_end()) {
        Some(link) => Ok(Some(link)),
        None => Err(AuditError::new(&path, "it is no head of an audit log: `number:hash`")),
    }
}

/// `seq:hash`.
pub(super) fn parse(text: &str) -> Option<Link> {
    let (seq, hash) = text.split_once(':')?;
    Some(Link { seq: seq.parse().ok()?, hash: Hash::parse(hash)? })
}

/// Replaces the head whole. With `durable` it is on disk before it is in its place.
pub(super) fn write(log: &Path, link: Link, durable: bool) -> io::Result<()> {
    let (path, next) = (path_of(log), beside(log, ".head.next"));
    // A new file, and not where a link leads.
    let make = || open_private(fs::OpenOptions::new().write(true).create_new(true), &next);
    let mut file = match make() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(&next)?; // of a process that ended here
            make()?
        }
        opened => opened?,
    };
    file.write_all(format!("{}:{}\n", link.seq, link.hash).as_bytes())?;
    if durable {
        file.sync_data()?;
    }
    drop(file);
    fs::rename(next, path)
}

/// Makes what was made or moved in the directory of `path` last there. Blocks.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|it| !it.as_os_str().is_empty());
    if cfg!(unix) {
        fs::File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    } else {
        Ok(())
    }
}

/// Opens a file that, if it is made now, is for its owner alone.
pub(super) fn open_private(options: &mut fs::OpenOptions, path: &Path) -> io::Result<fs::File> {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options.open(path)
}
