//! Files: which ones, and what they say.

use super::error::{Error, ErrorKind, Origin};
use super::parse::{EXTENSIONS, parse};
use super::tree::Node;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How large a file may be. A path that names a device or a log must not fill the memory.
const MAX_BYTES: u64 = 1024 * 1024;

/// The text of the file at `path`.
///
/// # Errors
/// What is wrong, in words that fit after the name of the file.
pub(super) fn read_text(path: &Path) -> Result<String, String> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "this process may not read it".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => format!("cannot be read: {error}"),
    })?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err("it is larger than 1 MiB".to_owned());
    }
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

/// Reads a config file.
pub(super) fn read_file(path: &Path) -> Result<Node, Vec<Error>> {
    let text = read_text(path).map_err(|message| unreadable(path, &message))?;
    parse_file(&text, path)
}

/// Reads what a config file holds; the ending of `path` says in which format.
pub(super) fn parse_file(text: &str, path: &Path) -> Result<Node, Vec<Error>> {
    let path: Arc<Path> = path.into();
    let Some(parsed) = parse(text, &path) else {
        let known = EXTENSIONS.join(", .");
        return Err(unreadable(&path, &format!("the name must end in .{known}")));
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

fn unreadable(path: &Path, message: &str) -> Vec<Error> {
    let message = format!("{}: {message}", path.display());
    vec![Error::new(ErrorKind::Unreadable, &[], message)]
}

/// The file `stem.*` in `dir`, if there is one.
///
/// # Errors
/// If there are several: which one would win is not to be guessed.
pub(super) fn find(dir: &Path, stem: &str) -> Result<Option<PathBuf>, Error> {
    let paths = EXTENSIONS.map(|extension| dir.join(format!("{stem}.{extension}")));
    let mut found = paths.into_iter().filter(|path| path.exists());
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
