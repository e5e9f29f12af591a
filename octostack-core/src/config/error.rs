//! What can be wrong with a configuration, and how the report of it reads.

use super::tree::{Step, display};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// Nowhere: it is the default.
    Default,
    /// In a config file. Lines and columns count from 1; a column is a character.
    File {
        /// The file, as it was named.
        path: Arc<Path>,
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// In an environment variable.
    Variable {
        /// Its exact name.
        name: Arc<str>,
    },
    /// In a file that an environment variable names.
    VariableFile {
        /// Exact name of the variable.
        name: Arc<str>,
        /// The file.
        path: Arc<Path>,
    },
    /// In a variable that a `.env` sets.
    DotEnv {
        /// Its exact name.
        name: Arc<str>,
        /// The file.
        path: Arc<Path>,
        /// The line, from 1.
        line: u32,
    },
    /// In a binding that a platform attached.
    Binding {
        /// Its name.
        name: Arc<str>,
        /// The directory, or the entry in it.
        path: Arc<Path>,
    },
    /// Elsewhere: a reference to it was followed.
    Reference {
        /// The reference, such as `vault://kv/orders#password`.
        reference: Arc<str>,
        /// Where it is written.
        at: Arc<Origin>,
    },
    /// In `--set` on the command line.
    CommandLine {
        /// The key, as it was written.
        key: Arc<str>,
    },
}

impl Origin {
    /// A place in a file.
    pub(super) fn at(path: &Arc<Path>, line: usize, column: usize) -> Self {
        Self::File { path: Arc::clone(path), line, column }
    }

    /// A variable, with the file and line that set it unless the process has it.
    pub(super) fn variable(name: &str, place: Option<&(Arc<Path>, u32)>) -> Self {
        let name = name.into();
        match place {
            None => Self::Variable { name },
            Some((path, line)) => Self::DotEnv { name, path: Arc::clone(path), line: *line },
        }
    }

    /// Where it is written: of what a reference leads to, the reference.
    fn written(&self) -> &Self {
        match self {
            Self::Reference { at, .. } => at.written(),
            origin => origin,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line, column } => {
                write!(f, "{}:{line}:{column}", path.display())
            }
            Self::Variable { name } => f.write_str(name),
            Self::VariableFile { name, path } => write!(f, "{name} ({})", path.display()),
            Self::DotEnv { name, path, line } => write!(f, "{name} ({}:{line})", path.display()),
            Self::Binding { name, path } => write!(f, "binding {name} ({})", path.display()),
            Self::Reference { reference, at } => write!(f, "{reference} ({at})"),
            Self::CommandLine { key } => write!(f, "--set {key}"),
        }
    }
}

/// What kind of mistake an [`Error`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A file or directory that was asked for cannot be read.
    Unreadable,
    /// A file is not valid TOML, YAML or JSON.
    Syntax,
    /// A key that no setting has.
    UnknownKey,
    /// A value of another type than the setting's.
    WrongType,
    /// A value of the right type that the schema excludes.
    OutOfRange,
    /// A required setting that no source sets.
    Missing,
    /// A secret that is set to nothing.
    EmptySecret,
    /// One setting that one source sets twice.
    GivenTwice,
    /// Several bindings that fit one setting, or one that fits several.
    Ambiguous,
    /// A secret on the command line, where other processes can read it.
    SecretOnCommandLine,
    /// A secret in a remote document, which others can read.
    SecretInRemote,
    /// A secret in a file of the config directory, which goes into a repository.
    SecretInFile,
    /// A reference to a secret that cannot be followed.
    Reference,
    /// A mistake in the settings struct itself: two keys with one variable, a reserved name.
    BadSchema,
    /// A value that its type refused.
    Refused,
    /// A value that the validation of the service refused.
    Invalid,
}

/// One thing that is wrong with the configuration. Never shows the value of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Error {
    /// What kind of mistake it is.
    pub kind: ErrorKind,
    /// The setting, such as `inventory.url`; empty where it concerns a whole source.
    pub key: String,
    /// Where the value is, if there is one.
    pub origin: Option<Origin>,
    /// What is wrong, what was expected, what to do.
    pub message: String,
    /// The setting, step by step.
    pub(super) path: Vec<Step>,
}

impl Error {
    /// An error about the setting at `path`.
    pub(super) fn new(kind: ErrorKind, path: &[Step], message: impl Into<String>) -> Self {
        Self {
            kind,
            key: display(path),
            origin: None,
            message: message.into(),
            path: path.to_vec(),
        }
    }

    /// An error about the setting with this path of keys.
    pub(super) fn of_keys<K: AsRef<str>>(
        kind: ErrorKind,
        keys: &[K],
        message: impl Into<String>,
    ) -> Self {
        let path: Vec<_> = keys.iter().map(|key| Step::Key(key.as_ref().to_owned())).collect();
        Self::new(kind, &path, message)
    }

    pub(super) fn with_origin(mut self, origin: impl Into<Option<Origin>>) -> Self {
        self.origin = origin.into();
        self
    }

    /// Where to look for it.
    fn place(&self) -> Option<&Origin> {
        self.origin.as_ref().map(Origin::written)
    }

    /// The heading under which the report shows it.
    fn group(&self) -> &'static str {
        match (&self.kind, self.place()) {
            (ErrorKind::BadSchema, _) => "in the settings struct",
            (ErrorKind::Missing, _) => "missing",
            (ErrorKind::Ambiguous, _) | (_, Some(Origin::Binding { .. })) => "in bindings",
            (_, Some(Origin::File { .. })) => "in files",
            (
                _,
                Some(Origin::Variable { .. } | Origin::VariableFile { .. } | Origin::DotEnv { .. }),
            ) => "in the environment",
            (_, Some(Origin::CommandLine { .. })) => "on the command line",
            (_, Some(Origin::Default | Origin::Reference { .. }) | None) => "in general",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The origin of a missing value is where its table stands: a hint, not the mistake.
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Everything that is wrong with the configuration.
///
/// `Display` is the report for people: how many problems there are, then one line for each,
/// grouped by where to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors {
    errors: Vec<Error>,
    warnings: Vec<String>,
}

impl Errors {
    /// The errors, in the order in which the report shows them. Never empty.
    pub fn iter(&self) -> std::slice::Iter<'_, Error> {
        self.errors.iter()
    }

    /// How many there are.
    #[allow(clippy::len_without_is_empty, reason = "an error report is never empty")]
    pub fn len(&self) -> usize {
        self.errors.len()
    }

    /// What is no error but may explain one: a variable that nothing reads.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    pub(super) fn with_warnings(mut self, warnings: Vec<String>) -> Self {
        self.warnings = warnings;
        self
    }
}

/// Groups of the report, in their order: what stops everything else comes first.
const GROUPS: [&str; 7] = [
    "in the settings struct",
    "in general",
    "in files",
    "in bindings",
    "in the environment",
    "on the command line",
    "missing",
];

impl From<Vec<Error>> for Errors {
    fn from(mut errors: Vec<Error>) -> Self {
        // Within a group as one reads it: a file from top to bottom, variables by name.
        errors.sort_by_cached_key(|error| {
            let group = GROUPS.iter().position(|group| *group == error.group());
            let place = match error.place() {
                Some(Origin::File { path, line, column }) => {
                    (path.display().to_string(), *line, *column)
                }
                Some(
                    Origin::Variable { name }
                    | Origin::VariableFile { name, .. }
                    | Origin::DotEnv { name, .. },
                ) => (name.to_string(), 0, 0),
                Some(Origin::Binding { path, .. }) => (path.display().to_string(), 0, 0),
                _ => (String::new(), 0, 0),
            };
            (group, place)
        });
        Self { errors, warnings: Vec::new() }
    }
}

impl<'a> IntoIterator for &'a Errors {
    type Item = &'a Error;
    type IntoIter = std::slice::Iter<'a, Error>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.len() {
            1 => write!(f, "1 problem in the configuration")?,
            n => write!(f, "{n} problems in the configuration")?,
        }
        let mut group = "";
        for error in self {
            if error.group() != group {
                group = error.group();
                write!(f, "\n\n{group}:")?;
            }
            write!(f, "\n  {error}")?;
        }
        for (i, warning) in self.warnings.iter().enumerate() {
            let heading = if i == 0 { "\n\nno problem, but maybe the reason:" } else { "" };
            write!(f, "{heading}\n  {warning}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}
