//! The section `secrets.audit`.

use crate::inspect::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Where accesses to secrets are put on record: the config section `secrets.audit`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct AuditConfig {
    /// The file, for this process alone. When absent nothing is put on record.
    pub file: Option<PathBuf>,
    /// What becomes of an access that cannot be put on record.
    pub mode: AuditMode,
    /// How large a file may grow, in bytes, before the log goes on in another one. 0: without end.
    pub max_bytes: u64,
}

/// What becomes of an access that cannot be put on record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
#[non_exhaustive]
pub enum AuditMode {
    /// It is refused; and each line is on disk before somebody gets the secret.
    #[default]
    Block,
    /// It goes on. The failure is counted, and the service is degraded until a line can be written.
    BestEffort,
}

/// About a year of a service whose credentials change each hour.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Less than this is a line or two.
const LEAST_BYTES: u64 = 64 * 1024;

impl Default for AuditConfig {
    fn default() -> Self {
        Self { file: None, mode: AuditMode::default(), max_bytes: MAX_BYTES }
    }
}

impl AuditConfig {
    /// A log in `file`.
    pub fn new(file: impl Into<PathBuf>) -> Self {
        Self { file: Some(file.into()), ..Self::default() }
    }

    /// Sets what becomes of an access that cannot be put on record.
    #[must_use]
    pub const fn with_mode(mut self, mode: AuditMode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets how large a file may grow, in bytes; 0 is without end.
    #[must_use]
    pub const fn with_max_bytes(mut self, max_bytes: u64) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// Says everything that is wrong with these settings.
    ///
    /// # Errors
    /// Keys are relative to the section.
    pub fn validate(&self) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        if self.file.as_ref().is_some_and(|file| file.file_name().is_none()) {
            problems.push(Problem::new("file", "is no path of a file"));
        }
        if (1..LEAST_BYTES).contains(&self.max_bytes) {
            let what = format!("must be {LEAST_BYTES} or more, or 0 for a file without end");
            problems.push(Problem::new("max_bytes", what));
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

impl AuditMode {
    /// Its name in config.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::BestEffort => "best_effort",
        }
    }
}
