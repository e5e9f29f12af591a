//! Reading a whole file that somebody has named: bounded, and only if it is one.

use std::fs::{File, FileType};
use std::io::{self, Read};
use std::path::Path;

/// Why a file was not read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// What the system says.
    System(io::Error),
    /// It is something else, such as `a directory`.
    NotAFile(&'static str),
    /// It is larger than allowed.
    TooLarge,
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// Reads all of the file at `path`, whatever is there by now. Blocks.
pub(crate) fn read(path: &Path, max_bytes: usize) -> Result<Vec<u8>, ReadError> {
    // First of all: to open a pipe waits until somebody writes into it. Then once more, since
    // something else may be there by then.
    only_files(path.metadata()?.file_type())?;
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    only_files(metadata.file_type())?;

    // The size is a hint: some file systems say 0, and a file grows while it is read.
    let hint = usize::try_from(metadata.len()).unwrap_or(usize::MAX).min(max_bytes);
    let mut content = Vec::with_capacity(hint.saturating_add(1));
    let limit = u64::try_from(max_bytes).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut content)?;
    if content.len() > max_bytes { Err(ReadError::TooLarge) } else { Ok(content) }
}

fn only_files(what: FileType) -> Result<(), ReadError> {
    if what.is_file() { Ok(()) } else { Err(ReadError::NotAFile(name(what))) }
}

fn name(what: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if what.is_fifo() {
            return "a pipe";
        }
        if what.is_socket() {
            return "a socket";
        }
    }
    if what.is_dir() { "a directory" } else { "a device" }
}
