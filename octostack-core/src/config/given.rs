//! A variable that is set: its value, or the file that it names.

use super::check::quoted;
use super::disk::Disk;
use super::env::Target;
use super::error::{Error, ErrorKind, Origin};
use super::schema::{Kind, Schema};
use super::text;
use super::tree::{Data, Node};
use crate::secret::SecretRef;
use std::path::{Component, Path};
use std::sync::Arc;

/// A variable that is set.
pub(super) struct Given {
    pub(super) name: String,
    pub(super) value: String,
    /// File and line that set it, unless the process has it.
    pub(super) place: Option<(Arc<Path>, u32)>,
    /// The value is the path of a file.
    pub(super) file: bool,
}

impl Given {
    pub(super) fn origin(&self) -> Origin {
        if !self.file {
            return self.variable();
        }
        let path = Path::new(&self.value).into();
        Origin::VariableFile { name: self.name.as_str().into(), path }
    }

    /// The variable itself, whatever its value means.
    pub(super) fn variable(&self) -> Origin {
        Origin::variable(&self.name, self.place.as_ref())
    }

    /// The value, or nothing if the file it names is empty where that means unset.
    pub(super) fn read(&self, target: &Target<'_>, disk: &Disk) -> Result<Option<Node>, Error> {
        let origin = self.origin();
        let text = if self.file { self.content(target, disk)? } else { self.value.clone() };
        if self.file && text.trim().is_empty() && target.empty_is_unset() {
            return Ok(None);
        }
        if target.secret() && !self.file && SecretRef::is_meant(&text, &[]) {
            return Ok(Some(Node::new(Data::Text(text), origin)));
        }
        if let Some(node) = text::read(&text, &target.schemas, &origin) {
            return Ok(Some(node));
        }
        let words = |schema: &&Schema| matches!(schema.kind, Kind::Words(_));
        let kind = if target.schemas.iter().all(words) {
            ErrorKind::OutOfRange
        } else {
            ErrorKind::WrongType
        };
        Err(target.error(kind, unfit(&text, &target.schemas)).with_origin(origin))
    }

    /// What the file holds that the variable names.
    fn content(&self, target: &Target<'_>, disk: &Disk) -> Result<String, Error> {
        let path = Path::new(&self.value);
        let read = disk.read_text(path).map_err(|message| {
            // Whoever put the secret itself here must not find it in a log.
            if target.secret() && !is_clearly_path(path) {
                let message = format!("{message}; {} takes the path of a file", self.name);
                let error = target.error(ErrorKind::Unreadable, message);
                return error.with_origin(self.variable());
            }
            target.error(ErrorKind::Unreadable, message).with_origin(self.origin())
        })?;
        // Editors and `echo` end a file with a newline that is not part of the value.
        let line = read.strip_suffix('\n').unwrap_or(&read);
        Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
    }
}

/// Whether nobody would choose this as a secret: an absolute path of two parts, or `./` something.
fn is_clearly_path(path: &Path) -> bool {
    match path.components().next() {
        Some(Component::CurDir | Component::ParentDir) => true,
        _ => path.is_absolute() && path.components().count() > 2,
    }
}

/// What is wrong with `text` that fits none of `schemas`.
pub(super) fn unfit(text: &str, schemas: &[&Schema]) -> String {
    let expected = text::expected(schemas);
    // Where numbers and words belong nobody keeps a secret, and the text helps.
    let plain = |schema: &&Schema| {
        let simple = matches!(
            schema.kind,
            Kind::Bool | Kind::Integer(_) | Kind::Number(_) | Kind::Duration | Kind::Words(_)
        );
        simple && !schema.secret
    };
    if schemas.iter().all(plain) {
        format!("expected {expected}, got {}", quoted(text))
    } else {
        format!("expected {expected}, got other text")
    }
}
