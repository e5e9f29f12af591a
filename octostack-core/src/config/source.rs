//! Files: which ones, and what they say.

use super::disk::Disk;
use super::error::{Error, ErrorKind, Origin};
use super::parse::{EXTENSIONS, SyntaxError, parse};
use super::tree::Node;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Reads a config file.
pub(super) fn read_file(path: &Path, disk: &Disk) -> Result<Node, Vec<Error>> {
    let text = disk.read_text(path).map_err(|message| unreadable(path, &message))?;
    parse_file(&text, path)
}

/// Reads what a config file holds; the ending of `path` says in which format.
pub(super) fn parse_file(text: &str, path: &Path) -> Result<Node, Vec<Error>> {
    let path: Arc<Path> = path.into();
    let Some(parsed) = parse(text, &path) else {
        let known = EXTENSIONS.join(", .");
        return Err(unreadable(&path, &format!("the name must end in .{known}")));
    };
    parsed.map_err(|errors| syntax(errors, &path))
}

/// The mistakes of a parser, with their places in `path`.
pub(super) fn syntax(errors: Vec<SyntaxError>, path: &Arc<Path>) -> Vec<Error> {
    let error = |error: SyntaxError| {
        let place = Origin::at(path, error.line, error.column);
        Error::new(ErrorKind::Syntax, &[], error.message).with_origin(place)
    };
    errors.into_iter().map(error).collect()
}

fn unreadable(path: &Path, message: &str) -> Vec<Error> {
    let message = format!("{}: {message}", path.display());
    vec![Error::new(ErrorKind::Unreadable, &[], message)]
}

/// The file `stem.*` in `dir`, if there is one.
///
/// # Errors
/// If there are several: which one would win is not to be guessed. If it cannot be told whether
/// there is one: a service must not go on with defaults because of that.
pub(super) fn find(dir: &Path, stem: &str, disk: &Disk) -> Result<Option<PathBuf>, Error> {
    let paths = EXTENSIONS.map(|extension| dir.join(format!("{stem}.{extension}")));
    let mut found = Vec::new();
    for path in paths {
        match disk.exists(&path) {
            Ok(true) => found.push(path),
            Ok(false) => {}
            Err(why) => {
                let message = format!("{}: {why}", path.display());
                return Err(Error::new(ErrorKind::Unreadable, &[], message));
            }
        }
    }
    let mut found = found.into_iter();
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
