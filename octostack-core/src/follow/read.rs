use super::FollowError;
use crate::file::{self, ReadError};
use std::path::Path;

/// Reads all of the file at `path`, whatever is there by now. Blocks.
pub(super) fn read(path: &Path, max_bytes: usize) -> Result<Vec<u8>, FollowError> {
    let path_of = || path.to_owned();
    file::read(path, max_bytes).map_err(|error| match error {
        ReadError::System(error) => FollowError::Read { path: path_of(), error },
        ReadError::NotAFile(what) => FollowError::NotAFile { path: path_of(), what },
        ReadError::TooLarge => FollowError::TooLarge { path: path_of(), max_bytes },
    })
}
