//! Why something is not on record.

use std::fmt;
use std::io;
use std::path::Path;

/// Why something could not be put on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditError(String);

impl AuditError {
    pub(super) fn new(path: &Path, what: impl fmt::Display) -> Self {
        Self(format!("{}: {what}", path.display()))
    }

    pub(super) fn io(path: &Path, doing: &str, error: &io::Error) -> Self {
        Self(format!("{}: cannot {doing}: {error}", path.display()))
    }
}

impl fmt::Display for AuditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AuditError {}
