//! A file, followed by its content while the service runs.
//!
//! # Why
//! A mounted file is replaced in more ways than one: written in place, renamed over, re-linked by
//! way of a directory as Kubernetes does it, on disks that notify nobody. What they have in common
//! is that the path leads to other bytes than before. So that is what is looked at.
//!
//! # How
//! [`Followed::next`] reads the file at an interval, anew from its path each time. What differs
//! from before is handed out once two looks in a row agree, so that a file that is being written is
//! not taken half-way. A file that cannot be read is an error once, not at each look; when it is
//! back it is handed out again, also if it is as it was.
//!
//! Reads happen on a thread for blocking work. Only regular files are read: a directory or a pipe
//! is an error, and holds nobody up.
//!
//! # Example
//! ```
//! use octostack_core::follow::{self, Followed};
//! use std::time::Duration;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let path = std::env::temp_dir().join(format!("follow-example-{}", std::process::id()));
//! std::fs::write(&path, "one")?;
//!
//! let first = follow::read(&path, 1024)?; // at the start, blocking
//! let mut followed = Followed::new(&path)
//!     .every(Duration::from_millis(20))
//!     .settle(Duration::from_millis(5))
//!     .seen(&first);
//!
//! std::fs::write(&path, "two")?;
//! assert_eq!(followed.next().await?, b"two");
//! # std::fs::remove_file(&path)?;
//! # Ok(())
//! # }
//! ```
use std::fmt;
use std::fs::File;
use std::hash::{DefaultHasher, Hasher as _};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a file is read if nobody says: once a second.
pub const EVERY: Duration = Duration::from_secs(1);

/// How long other content has to stay as it is before it is taken: 100 ms.
pub const SETTLE: Duration = Duration::from_millis(100);

/// The most that a file may hold if nobody says: 1 MiB.
pub const MAX_BYTES: usize = 1024 * 1024;

/// Why a file was not read. The text names no path; whoever shows it does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadError {
    /// The system refuses.
    Io(io::ErrorKind, String),
    /// It is a directory, a pipe or a device.
    NotAFile,
    /// It holds more than this many bytes.
    TooLarge(usize),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(_, message) => write!(f, "cannot be read: {message}"),
            Self::NotAFile => f.write_str("cannot be read: it is no regular file"),
            Self::TooLarge(most) => write!(f, "is not read: it holds more than {most} bytes"),
        }
    }
}

impl std::error::Error for ReadError {}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error.kind(), error.to_string())
    }
}

/// Reads a regular file of at most `max_bytes`. Blocks.
///
/// # Errors
/// [`ReadError`].
pub fn read(path: impl AsRef<Path>, max_bytes: usize) -> Result<Vec<u8>, ReadError> {
    let path = path.as_ref();
    // Before it is opened, as that waits for the other end of a pipe.
    if !std::fs::metadata(path)?.is_file() {
        return Err(ReadError::NotAFile);
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(max_bytes as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > max_bytes { Err(ReadError::TooLarge(max_bytes)) } else { Ok(bytes) }
}

/// A file that is followed; see the [module docs](self).
#[derive(Debug)]
pub struct Followed {
    path: PathBuf,
    max_bytes: usize,
    every: Duration,
    settle: Duration,
    watch: Watch,
}

impl Followed {
    /// Follows the file at `path`. Its content is handed out first of all, unless it was
    /// [`seen`](Self::seen).
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            max_bytes: MAX_BYTES,
            every: EVERY,
            settle: SETTLE,
            watch: Watch::default(),
        }
    }

    /// Sets how often the file is read; the default is [`EVERY`].
    #[must_use]
    pub const fn every(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }

    /// Sets for how long new content has to stay as it is; the default is [`SETTLE`].
    #[must_use]
    pub const fn settle(mut self, settle: Duration) -> Self {
        self.settle = settle;
        self
    }

    /// Sets how much the file may hold; the default is [`MAX_BYTES`].
    #[must_use]
    pub const fn max_bytes(mut self, max_bytes: usize) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// Says what the file held when it was read before, so that this is not handed out.
    #[must_use]
    pub fn seen(mut self, content: &[u8]) -> Self {
        self.watch.taken = Some(Print::of(content));
        self
    }

    /// Which file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until the file holds something else, and gives that.
    ///
    /// Cancel safe: what was not handed out is handed out by the next call.
    ///
    /// # Errors
    /// [`ReadError`], once when the file cannot be read any more. The next call waits until it can.
    pub async fn next(&mut self) -> Result<Vec<u8>, ReadError> {
        loop {
            let wait = if self.watch.pending.is_some() { self.settle } else { self.every };
            tokio::time::sleep(wait).await;
            let (path, max_bytes) = (self.path.clone(), self.max_bytes);
            let look = tokio::task::spawn_blocking(move || read(path, max_bytes)).await;
            let look = look.unwrap_or_else(|error| Err(io::Error::other(error).into()));
            if let Some(news) = self.watch.look(look) {
                return news;
            }
        }
    }
}

/// What tells one content from another: enough for bytes that nobody forges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Print {
    len: usize,
    hash: u64,
}

impl Print {
    fn of(content: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(content);
        Self { len: content.len(), hash: hasher.finish() }
    }
}

/// Decides what is news; knows neither files nor time.
#[derive(Debug, Default)]
struct Watch {
    /// What was handed out last. Nothing after an error was, so that the file is handed out again.
    taken: Option<Print>,
    /// What the last look found, where it was new.
    pending: Option<Print>,
    error: Option<ReadError>,
}

impl Watch {
    fn look(&mut self, look: Result<Vec<u8>, ReadError>) -> Option<Result<Vec<u8>, ReadError>> {
        match look {
            Ok(content) => {
                let print = Print::of(&content);
                if self.taken == Some(print) {
                    self.pending = None;
                    return None;
                }
                if self.pending.replace(print) != Some(print) {
                    return None; // it may still be written
                }
                *self = Self { taken: Some(print), ..Self::default() };
                Some(Ok(content))
            }
            Err(error) => {
                self.pending = None;
                if self.error.as_ref() == Some(&error) {
                    return None;
                }
                self.taken = None;
                self.error = Some(error.clone());
                Some(Err(error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Followed, ReadError, Watch, read};
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    #[allow(clippy::unnecessary_wraps, reason = "a look is a result")]
    fn ok(content: &str) -> Result<Vec<u8>, ReadError> {
        Ok(content.into())
    }

    #[test]
    fn content_is_taken_when_it_has_settled() {
        let mut watch = Watch::default();
        assert_eq!(watch.look(ok("a")), None);
        assert_eq!(watch.look(ok("a")), Some(ok("a")));
        assert_eq!(watch.look(ok("a")), None);
        // Written in pieces.
        for piece in ["b", "bc", "bcd"] {
            assert_eq!(watch.look(ok(piece)), None);
        }
        assert_eq!(watch.look(ok("bcd")), Some(ok("bcd")));
        // Gone and back before anybody took it.
        assert_eq!(watch.look(ok("x")), None);
        assert_eq!(watch.look(ok("bcd")), None);
        assert_eq!(watch.look(ok("x")), None, "it has to settle again");
    }

    #[test]
    fn an_error_is_told_once_and_the_way_back_too() {
        let gone = || Err(ReadError::NotAFile);
        let mut watch = Watch::default();
        watch.look(ok("a"));
        watch.look(ok("a"));
        assert_eq!(watch.look(gone()), Some(gone()));
        assert_eq!(watch.look(gone()), None);
        assert_eq!(watch.look(Err(ReadError::TooLarge(1))), Some(Err(ReadError::TooLarge(1))));
        assert_eq!(watch.look(ok("a")), None);
        assert_eq!(watch.look(ok("a")), Some(ok("a")), "as it was, but it was gone");
        assert_eq!(watch.look(gone()), Some(gone()), "a new failure is told again");
    }

    /// A folder of its own, gone at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("follow-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self, name: &str, content: &str) -> PathBuf {
            let path = self.0.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, content).unwrap();
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn followed(path: &Path) -> Followed {
        Followed::new(path).every(Duration::from_millis(5)).settle(Duration::from_millis(2))
    }

    /// The steps of kubelet: the file is a link through `..data`, which is renamed over.
    #[cfg(unix)]
    #[tokio::test]
    async fn a_config_map_is_followed_through_its_links() {
        use std::os::unix::fs::symlink;
        let folder = Folder::new("configmap");
        folder.file("..1/flags.json", "one");
        symlink("..1", folder.0.join("..data")).unwrap();
        symlink("..data/flags.json", folder.0.join("flags.json")).unwrap();
        let mut file = followed(&folder.0.join("flags.json"));
        assert_eq!(file.next().await.unwrap(), b"one");

        folder.file("..2/flags.json", "two");
        symlink("..2", folder.0.join("..data_tmp")).unwrap();
        std::fs::rename(folder.0.join("..data_tmp"), folder.0.join("..data")).unwrap();
        std::fs::remove_dir_all(folder.0.join("..1")).unwrap();
        assert_eq!(file.next().await.unwrap(), b"two");
    }

    #[tokio::test]
    async fn writing_renaming_and_deleting_are_seen() {
        let folder = Folder::new("ways");
        let path = folder.file("file", "one");
        let mut file = followed(&path).seen(b"one");
        // Of the same size, and at once: neither size nor time has to differ.
        folder.file("file", "two");
        assert_eq!(file.next().await.unwrap(), b"two");
        std::fs::rename(folder.file("other", "three"), &path).unwrap();
        assert_eq!(file.next().await.unwrap(), b"three");
        std::fs::remove_file(&path).unwrap();
        let error = file.next().await.unwrap_err().to_string();
        assert!(error.starts_with("cannot be read: No such file"), "{error}");
        folder.file("file", "three");
        assert_eq!(file.next().await.unwrap(), b"three");
    }

    #[tokio::test]
    async fn a_wait_that_is_given_up_loses_nothing() {
        let folder = Folder::new("cancel");
        let path = folder.file("file", "one");
        let mut file = followed(&path).seen(b"one");
        folder.file("file", "two");
        for _ in 0..20 {
            // At whatever point it is.
            let given_up = tokio::time::timeout(Duration::from_millis(1), file.next()).await;
            if let Ok(content) = given_up {
                return assert_eq!(content.unwrap(), b"two");
            }
        }
        assert_eq!(file.next().await.unwrap(), b"two");
    }

    #[test]
    fn what_is_no_file_is_an_error_and_no_wait() {
        let folder = Folder::new("kinds");
        assert_eq!(read(&folder.0, 10), Err(ReadError::NotAFile));
        assert_eq!(read(folder.file("file", "0123456789"), 10).unwrap(), b"0123456789");
        let error = read(folder.file("file", "0123456789a"), 10).unwrap_err();
        assert_eq!(error.to_string(), "is not read: it holds more than 10 bytes");
        let pipe = folder.0.join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        if made.is_ok_and(|status| status.success()) {
            assert_eq!(read(&pipe, 10), Err(ReadError::NotAFile));
        }
    }
}
