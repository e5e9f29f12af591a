use super::FollowError;
use std::fs::{File, FileType};
use std::io::Read;
use std::path::Path;

/// Reads all of the file at `path`, whatever is there by now. Blocks.
pub(super) fn read(path: &Path, max_bytes: usize) -> Result<Vec<u8>, FollowError> {
    let failed = |error| FollowError::Read { path: path.to_owned(), error };
    // First of all: to open a pipe waits until somebody writes into it. Then once more, since
    // something else may be there by then.
    only_files(path, path.metadata().map_err(failed)?.file_type())?;
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    only_files(path, metadata.file_type())?;

    // The size is a hint: some file systems say 0, and a file grows while it is read.
    let hint = usize::try_from(metadata.len()).unwrap_or(usize::MAX).min(max_bytes);
    let mut content = Vec::with_capacity(hint.saturating_add(1));
    let limit = u64::try_from(max_bytes).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut content).map_err(failed)?;
    if content.len() > max_bytes {
        return Err(FollowError::TooLarge { path: path.to_owned(), max_bytes });
    }
    Ok(content)
}

fn only_files(path: &Path, what: FileType) -> Result<(), FollowError> {
    if what.is_file() {
        return Ok(());
    }
    Err(FollowError::NotAFile { path: path.to_owned(), what: name(what) })
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
