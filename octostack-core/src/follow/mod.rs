//! A file, and what it holds from now on.
//!
//! Settings, tokens and flags come out of files that somebody replaces while the service runs: an
//! editor that writes a new file and renames it, Kubernetes that turns the link `..data` to another
//! directory, a script that truncates the file and writes it again. Notifications of the kernel
//! miss some of these, all of them on some file systems (a bind mount of one file, a network), and
//! a watch of a file that was replaced watches what is no longer there. So a [`Follower`] reads the
//! whole file anew, once a second, and compares what it holds. That is a few system calls for the
//! files that it is made for, and sees every change, also one that keeps size and time.
//!
//! * A file that is being written may be read half. What is new is taken only if a second look,
//!   100 ms later, sees the same. A writer that pauses for longer can still be caught half-way, so
//!   check what you get; whoever renames a whole file into place is safe. A file that changes at
//!   every look is not taken until it rests.
//! * A file that cannot be read is told of once, when a second look fails too, and again when it
//!   fails for another reason. Until there is something new, what was handed out last is what
//!   there is.
//! * Reading happens on the runtime's threads for blocking work, one read at a time. A file system
//!   that does not answer for 10 seconds is a failure, which is over when it does.
//! * Only regular files, and links to them, are read; and only up to a limit.
//!
//! ```
//! use octostack_core::follow::{Follower, News};
//! # use std::time::Duration;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let path = std::env::temp_dir().join(format!("octostack-follow-doc-{}", std::process::id()));
//! std::fs::write(&path, "limit = 10")?;
//! let mut file = Follower::new(&path);
//! assert_eq!(file.read()?, b"limit = 10"); // at start: now, or say why not
//!
//! std::fs::write(&path, "limit = 20")?; // somebody else
//! match file.next().await {
//!     News::Changed(content) => assert_eq!(content, b"limit = 20"),
//!     News::Failed(error) => eprintln!("{error}; the last good one stays"),
//!     News::Recovered => eprintln!("it can be read again, and holds what it held"),
//!     _ => {}
//! }
//! # std::fs::remove_file(&path)?;
//! # Ok(())
//! # }
//! ```
mod error;
mod machine;
mod read;

pub use error::FollowError;

use machine::{Machine, Step};
use std::fmt;
use std::hash::RandomState;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

/// How often a file is read when nobody says: once a second.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long a change has to last when nobody says.
const SETTLE: Duration = Duration::from_millis(100);

/// The least for both; below it, following costs more than what is followed.
const LEAST: Duration = Duration::from_millis(10);

/// What a file may hold when nobody says: 1 MiB, as much as a `ConfigMap` of Kubernetes may.
const MAX_BYTES: usize = 1024 * 1024;

/// How long a file system may take until a look counts as failed; as always, two of them are news.
const PATIENCE: Duration = Duration::from_secs(5);

type Look = Result<Vec<u8>, FollowError>;

/// What there is to know of a file, each once.
#[non_exhaustive]
pub enum News {
    /// This is what it holds from now on. Says also that it can be read again, if it could not.
    Changed(Vec<u8>),
    /// It cannot be read. What was handed out last is what there is.
    Failed(FollowError),
    /// It can be read again, and holds what was handed out last.
    Recovered,
}

/// The content may be a secret, so only its length is shown.
impl fmt::Debug for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed(content) => write!(f, "Changed({} bytes)", content.len()),
            Self::Failed(error) => f.debug_tuple("Failed").field(error).finish(),
            Self::Recovered => f.write_str("Recovered"),
        }
    }
}

/// Follows one file; see the [module docs](self).
pub struct Follower {
    path: Arc<Path>,
    interval: Duration,
    settle: Duration,
    max_bytes: usize,
    machine: Machine,
    /// When to look next; `None` for at once.
    due: Option<Instant>,
    /// The look that is under way.
    looking: Option<Looking>,
    /// [`read::read`], save in a test.
    how: fn(&Path, usize) -> Look,
}

/// A read in another thread. Kept until it is over, so that reads that hang do not pile up.
struct Looking {
    read: JoinHandle<Look>,
    since: Instant,
    /// Until when it is waited for.
    patience: Instant,
}

impl Follower {
    /// Will follow the file at `path`: read once a second, settled for 100 ms, at most 1 MiB.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into().into(),
            interval: INTERVAL,
            settle: SETTLE,
            max_bytes: MAX_BYTES,
            machine: Machine::new([RandomState::new(), RandomState::new()]),
            due: None,
            looking: None,
            how: read::read,
        }
    }

    /// Sets how often the file is read: 1 s if not said, at least 10 ms.
    pub fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval.max(LEAST);
        self
    }

    /// Sets how long a change has to last until it is taken: 100 ms if not said, at least 10 ms.
    pub fn with_settle(mut self, settle: Duration) -> Self {
        self.settle = settle.max(LEAST);
        self
    }

    /// Sets the most that the file may hold, in bytes: 1 MiB if not said.
    pub fn with_max_bytes(mut self, max_bytes: usize) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file now, in this thread: for the start of a service, before there is anybody to
    /// wait. [`next`](Self::next) tells only of what is different from here on.
    ///
    /// What it reads is taken at once, without a second look.
    ///
    /// # Errors
    /// [`FollowError`], as for any look. `next` will tell when the file can be read.
    pub fn read(&mut self) -> Result<Vec<u8>, FollowError> {
        let look = (self.how)(&self.path, self.max_bytes);
        self.machine.begin(&look);
        self.looking = None; // it may have begun before this one
        self.due = Some(Instant::now() + self.interval);
        look
    }

    /// Waits for the next thing to know of the file. The first one, without a
    /// [`read`](Self::read), is what it holds, or why it cannot be read.
    ///
    /// Cancel safe: what a dropped future has seen is seen by the next one.
    ///
    /// # Panics
    /// Outside a tokio runtime with time enabled.
    pub async fn next(&mut self) -> News {
        loop {
            let look = self.look().await;
            // Nothing is awaited from here to the return, so no news is lost.
            let step = self.machine.see(look);
            let pause = if matches!(step, Step::Settling) { self.settle } else { self.interval };
            self.due = Some(Instant::now() + pause);
            if let Step::News(news) = step {
                return news;
            }
        }
    }

    /// The next look, when it is due.
    async fn look(&mut self) -> Look {
        let looking = match &mut self.looking {
            Some(looking) => looking,
            none => {
                if let Some(due) = self.due {
                    sleep_until(due).await;
                }
                none.insert(Looking::start(self.path.clone(), self.max_bytes, self.how))
            }
        };
        let path = || self.path.to_path_buf();
        let Ok(look) = timeout_at(looking.patience, &mut looking.read).await else {
            let waited = looking.patience - looking.since;
            looking.patience += PATIENCE;
            return Err(FollowError::Hangs { path: path(), waited });
        };
        self.looking = None;
        look.unwrap_or_else(|gone| {
            Err(FollowError::Read { path: path(), error: io::Error::other(gone) })
        })
    }
}

impl Looking {
    fn start(path: Arc<Path>, max_bytes: usize, how: fn(&Path, usize) -> Look) -> Self {
        let since = Instant::now();
        let read = tokio::task::spawn_blocking(move || how(&path, max_bytes));
        Self { read, since, patience: since + PATIENCE }
    }
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower")
            .field("path", &self.path)
            .field("interval", &self.interval)
            .field("settle", &self.settle)
            .field("max_bytes", &self.max_bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
