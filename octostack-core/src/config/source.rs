//! Files: which ones, and what they say.

use super::disk::Disk;
use super::error::{Error, ErrorKind, Origin};
use super::parse::{EXTENSIONS, parse};
use super::tree::Node;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Reads a config file.
pub(super) fn read_file(path: &Path, disk: &Disk) -> Result<Node, Vec<Error>> {
    let path: Arc<Path> = path.into();
    let unreadable = |message: String| {
        let message = format!("{}: {message}", path.display());
        vec![Error::new(ErrorKind::Unreadable, &[], message)]
    };
    let text = disk.read_text(&path).map_err(unreadable)?;
    let Some(parsed) = parse(&text, &path) else {
        let known = EXTENSIONS.join(", .");
        return Err(unreadable(format!("the name must end in .{known}")));
    };
    parsed.map_err(|errors| {
        let error = |error: super::parse::SyntaxError| {
            Error::new(ErrorKind::Syntax, &[], error.message).with_origin(Origin::at(
                &path,
                error.line,
                error.column,
            ))
        };
        errors.into_iter().map(error).collect()
    })
}

/// The file `stem.*` in `dir`, if there is one.
///
/// # Errors
/// If there are several: which one would win is not to be guessed.
pub(super) fn find(dir: &Path, stem: &str, disk: &Disk) -> Result<Option<PathBuf>, Error> {
    let paths = EXTENSIONS.map(|extension| dir.join(format!("{stem}.{extension}")));
    let mut found = paths.into_iter().filter(|path| disk.exists(path));
    match (found.next(), found.next()) {
        (Some(first), Some(second)) => {
            let message = format!(
                "{} and {} both exist; keep one of them",
                first.display(),
                second.display()
            );
            Err(Error::new(ErrorKind::GivenTwice, &[], message))
        }
        (found, _) => Ok(found),
    }
}
