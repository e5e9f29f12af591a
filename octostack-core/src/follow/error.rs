use std::error::Error;
use std::fmt;
use std::io;
use std::mem::{Discriminant, discriminant};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a file cannot be followed at the moment. It names the path, and nothing of the content.
#[derive(Debug)]
#[non_exhaustive]
pub enum FollowError {
    /// It cannot be opened or read: it is not there, say, or belongs to somebody else.
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It is a directory, a pipe or a device.
    NotAFile {
        /// What is there.
        path: PathBuf,
        /// What it is instead, such as `a directory`.
        what: &'static str,
    },
    /// It is larger than allowed.
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most that is allowed, in bytes.
        max_bytes: usize,
    },
    /// The file system does not answer, as happens when a server of it is gone.
    Hangs {
        /// The file.
        path: PathBuf,
        /// How long it has been waited for.
        waited: Duration,
    },
}

/// What makes two failures the same for those who hear of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reason(Discriminant<FollowError>, Option<io::ErrorKind>);

impl FollowError {
    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Read { path, .. }
            | Self::NotAFile { path, .. }
            | Self::TooLarge { path, .. }
            | Self::Hangs { path, .. } => path,
        }
    }

    pub(super) fn reason(&self) -> Reason {
        let kind = match self {
            Self::Read { error, .. } => Some(error.kind()),
            _ => None,
        };
        Reason(discriminant(self), kind)
    }
}

impl fmt::Display for FollowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path().display();
        match self {
            Self::Read { error, .. } => write!(f, "{path} cannot be read: {error}"),
            Self::NotAFile { what, .. } => {
                write!(f, "{path} is {what}; name a regular file, or a link to one")
            }
            Self::TooLarge { max_bytes, .. } => {
                write!(f, "{path} is larger than {max_bytes} bytes, which is the limit")
            }
            Self::Hangs { waited, .. } => write!(
                f,
                "{path} cannot be read: its file system has not answered for {}",
                humantime::format_duration(*waited)
            ),
        }
    }
}

impl Error for FollowError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Read { error, .. } => Some(error),
            _ => None,
        }
    }
}
