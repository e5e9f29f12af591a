//! The last good document on disk, for a start without its source.

use super::{Document, Format};
use crate::file::{self, ReadError};
use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128, SipHasher13};
use std::fs::{self, File, OpenOptions};
use std::hash::Hasher;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What such a file may hold: a document of 1 MiB, escaped.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// The form of the file.
const FORM: u32 = 1;

/// A file that holds one document.
pub(super) struct Cache {
    path: PathBuf,
    /// For messages.
    name: String,
    /// Of what tells the source from others, which is not written down.
    source: String,
}

/// What stands in the file.
#[derive(Serialize, Deserialize)]
struct Stored {
    form: u32,
    source: String,
    version: Option<String>,
    format: String,
    /// In seconds since 1970.
    fetched_at: u64,
    /// Of everything else: a file that was cut or changed is not taken for a document.
    sum: String,
    text: String,
}

impl Stored {
    fn sum(&self) -> String {
        // Against accidents. Who can write the file could make the sum too; the mode keeps others
        // from it.
        let mut hasher = SipHasher13::new();
        let version = self.version.as_deref().unwrap_or_default();
        for part in [&self.source, version, &self.format, &self.text] {
            hasher.write_usize(part.len());
            hasher.write(part.as_bytes());
        }
        hasher.write_u64(self.fetched_at);
        let sum = hasher.finish128();
        format!("{:016x}{:016x}", sum.h1, sum.h2)
    }
}

impl Cache {
    /// The file for `source` in `dir`.
    pub(super) fn new(dir: &Path, name: &str, id: &str) -> Self {
        let mut hasher = SipHasher13::new();
        hasher.write(id.as_bytes());
        let hash = hasher.finish128();
        let source = format!("{:016x}{:016x}", hash.h1, hash.h2);
        let path = dir.join(format!("config-{:016x}.json", hash.h1));
        Self { path, name: name.to_owned(), source }
    }

    /// The document, and when it was fetched.
    ///
    /// # Errors
    /// What is wrong, in words that follow `and`.
    pub(super) fn read(&self) -> Result<(Document, SystemTime), String> {
        let shown = self.path.display();
        let bytes = file::read(&self.path, MAX_BYTES).map_err(|error| match error {
            ReadError::System(error) if error.kind() == io::ErrorKind::NotFound => {
                format!("the cache {shown} does not exist")
            }
            ReadError::System(error) => format!("the cache {shown} cannot be read: {error}"),
            ReadError::NotAFile(what) => format!("the cache {shown} is {what}, not a file"),
            ReadError::TooLarge => format!("the cache {shown} is larger than 8 MiB"),
        })?;
        only_ours(&self.path)?;
        let damaged = || format!("the cache {shown} is damaged; remove it");
        let stored: Stored = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
        let sound =
            stored.form == FORM && stored.source == self.source && stored.sum == stored.sum();
        let format = Format::of_extension(&stored.format).filter(|_| sound).ok_or_else(damaged)?;
        let fetched_at = SystemTime::UNIX_EPOCH + Duration::from_secs(stored.fetched_at);
        let Stored { text, version, .. } = stored;
        Ok((Document { text, format, version }, fetched_at))
    }

    /// Puts `document` in the place of what is there, whole or not at all.
    pub(super) fn write(&self, document: &Document, fetched_at: SystemTime) -> Result<(), String> {
        let since_1970 = fetched_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut stored = Stored {
            form: FORM,
            source: self.source.clone(),
            version: document.version.clone(),
            format: document.format.extension().to_owned(),
            fetched_at: since_1970.as_secs(),
            sum: String::new(),
            text: document.text.clone(),
        };
        stored.sum = stored.sum();
        let bytes = serde_json::to_vec(&stored).map_err(|error| error.to_string())?;
        let write = || -> io::Result<()> {
            let dir = self.path.parent().unwrap_or(Path::new("."));
            make_dir(dir)?;
            // Two instances may share a directory, and in containers the number of their process.
            let new = self.path.with_extension(format!("{:016x}.new", fastrand::u64(..)));
            let written = create(&new).and_then(|mut file| {
                file.write_all(&bytes)?;
                file.sync_all()?;
                fs::rename(&new, &self.path)?;
                File::open(dir)?.sync_all()
            });
            if written.is_err() {
                let _ = fs::remove_file(&new);
            }
            written
        };
        write().map_err(|error| {
            format!("{}: its cache {} cannot be written: {error}", self.name, self.path.display())
        })
    }
}

/// A new file that nobody else can read; not one that was there, nor where a link leads.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn make_dir(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

/// Whoever else can write the file decides about the config of the next start.
#[cfg(unix)]
fn only_ours(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt;
    let shown = path.display();
    let metadata = path.metadata().map_err(|error| format!("{shown}: {error}"))?;
    if metadata.mode() & 0o077 != 0 {
        return Err(format!("the cache {shown} is open to others; it must have mode 0600"));
    }
    let me = Path::new("/proc/self").metadata();
    if me.is_ok_and(|me| me.uid() != metadata.uid()) {
        return Err(format!("the cache {shown} belongs to another user"));
    }
    Ok(())
}

#[cfg(not(unix))]
fn only_ours(_: &Path) -> Result<(), String> {
    Ok(())
}
