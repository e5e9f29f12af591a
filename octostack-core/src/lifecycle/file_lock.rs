//! One process at a time, by a lock on a file.
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// A lock on a file that one process of a machine holds at a time.
///
/// The system lets go of it when the process ends, however that happens: no file that is left
/// behind has to be cleared away. The file stays, with the process id of the last holder in it.
///
/// It holds on one machine only. On a file system of a network it does what that does.
///
/// ```
/// use octostack_core::lifecycle::{FileLock, FileLockError};
///
/// let path = std::env::temp_dir().join(format!("octostack-doc-{}.lock", std::process::id()));
/// let lock = FileLock::try_acquire(&path)?;
///
/// // Somebody else, or this process once more:
/// let held = FileLock::try_acquire(&path).unwrap_err();
/// assert!(matches!(held, FileLockError::Held { pid, .. } if pid == Some(std::process::id())));
///
/// drop(lock);
/// assert!(FileLock::try_acquire(&path).is_ok());
/// # std::fs::remove_file(path)?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "it is let go of when it is dropped"]
pub struct FileLock {
    _file: File,
}

impl FileLock {
    /// Takes the lock, or says who has it. The file is made if there is none, for its owner alone.
    ///
    /// It has to be a regular file of the user that this process runs as, and no link: in a directory
    /// where all may write, somebody else could have put it there.
    ///
    /// # Errors
    /// [`FileLockError::Held`] if another holds it, else why it cannot be taken.
    pub fn try_acquire(path: &Path) -> Result<Self, FileLockError> {
        let unusable = |why: String| FileLockError::Unusable { path: path.to_owned(), why };
        let cannot = |error: io::Error| unusable(error.to_string());
        let mut file = open(path).map_err(|error| unusable(explain(&error)))?;
        let facts = file.metadata().map_err(cannot)?;
        if !facts.is_file() {
            return Err(unusable("it is no regular file".to_owned()));
        }
        check_owner(&facts).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(FileLockError::Held { path: path.to_owned(), pid: holder(file) });
            }
            Err(TryLockError::Error(error)) => return Err(cannot(error)),
        }
        // Only for people: the lock holds without it.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { _file: file })
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt;
        // A pipe in its place must not hold up the opening.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        options.mode(0o600).custom_flags(flags.bits().cast_signed());
    }
    options.open(path)
}

fn explain(error: &io::Error) -> String {
    #[cfg(unix)]
    if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
        return "it is a symbolic link".to_owned();
    }
    error.to_string()
}

#[cfg(unix)]
fn check_owner(facts: &std::fs::Metadata) -> Result<(), String> {
    let (owner, own) = (std::os::unix::fs::MetadataExt::uid(facts), rustix::process::geteuid());
    if owner == own.as_raw() {
        Ok(())
    } else {
        Err(format!("it belongs to user {owner}, and this process runs as {}", own.as_raw()))
    }
}

#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps, reason = "as on Unix")]
const fn check_owner(_: &std::fs::Metadata) -> Result<(), String> {
    Ok(())
}

/// The process that says that it holds it. It may be about to say so.
fn holder(mut file: File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Why a [`FileLock`] is not to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileLockError {
    /// Another process, or another part of this one, holds it.
    Held {
        /// The file.
        path: PathBuf,
        /// Which process, as far as it has said.
        pid: Option<u32>,
    },
    /// The file cannot be used.
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl fmt::Display for FileLockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { path, pid: Some(pid) } => {
                write!(f, "process {pid} holds the lock {}", path.display())
            }
            Self::Held { path, pid: None } => {
                write!(f, "another process holds the lock {}", path.display())
            }
            Self::Unusable { path, why } => {
                write!(f, "the lock {} cannot be used: {why}", path.display())
            }
        }
    }
}

impl std::error::Error for FileLockError {}

#[cfg(all(test, unix))]
mod tests {
    use super::{FileLock, FileLockError};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;

    /// A directory of this test alone.
    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let name = format!("octostack-lock-{name}-{}", std::process::id());
            let dir = std::env::temp_dir().join(name);
            std::fs::create_dir_all(&dir).expect("a directory for temporary files");
            Self(dir)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn is_for_its_owner_alone_and_keeps_the_file() {
        let dir = Dir::new("mode");
        let path = dir.0.join("a.lock");
        let lock = FileLock::try_acquire(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        drop(lock);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
    }

    #[test]
    fn follows_no_link_and_takes_nothing_but_a_file() {
        let dir = Dir::new("links");
        let (target, link) = (dir.0.join("target"), dir.0.join("link"));
        std::fs::write(&target, "precious").unwrap();
        symlink(&target, &link).unwrap();
        let error = FileLock::try_acquire(&link).unwrap_err();
        let said = format!("the lock {} cannot be used: it is a symbolic link", link.display());
        assert_eq!(error.to_string(), said);
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "precious");
        let error = FileLock::try_acquire(&dir.0).unwrap_err();
        assert!(matches!(error, FileLockError::Unusable { .. }), "{error}");
        let error = FileLock::try_acquire(&dir.0.join("none/a.lock")).unwrap_err();
        assert!(error.to_string().contains("No such file"), "{error}");
    }
}
