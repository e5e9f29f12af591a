use crate::health::{Examination, Examine};
use rustix::fs::StatVfs;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What has to be free unless told otherwise: enough for logs and temporary files while somebody is
/// called.
const MIN_FREE_BYTES: u64 = 100 << 20;

/// Whether there is room on a disk; made by [`disk`].
///
/// | setting | default |
/// |---|---|
/// | [`min_free_bytes`](Self::min_free_bytes) | 100 MiB |
/// | [`min_free_percent`](Self::min_free_percent) | 0, which asks for nothing |
/// | [`min_free_inodes`](Self::min_free_inodes) | 1: a file can be made |
/// | [`writable`](Self::writable) | not tried |
///
/// Free is what whoever is not root may use. A file system that does not count inodes, such as
/// btrfs, always has some.
#[derive(Clone, Debug)]
pub struct Disk {
    at: Arc<Place>,
}

#[derive(Clone, Debug)]
struct Limits {
    bytes: u64,
    percent: f64,
    inodes: u64,
    writable: bool,
}

#[derive(Debug)]
struct Place {
    path: PathBuf,
    limits: Limits,
    /// A look that has not come back holds up a thread; one is enough.
    looking: AtomicBool,
}

/// Checks the file system that `path`, a directory, is on.
///
/// ```
/// use octostack_core::Registry;
/// use octostack_core::health::{CheckKind, Health, checks};
///
/// let health = Health::new(&Registry::new());
/// let scratch = checks::disk(std::env::temp_dir()).min_free_percent(5.0).writable();
/// health.check("scratch", CheckKind::Local, scratch);
/// ```
pub fn disk(path: impl Into<PathBuf>) -> Disk {
    let limits = Limits { bytes: MIN_FREE_BYTES, percent: 0.0, inodes: 1, writable: false };
    Disk::new(path.into(), limits)
}

impl Disk {
    fn new(path: PathBuf, limits: Limits) -> Self {
        Self { at: Arc::new(Place { path, limits, looking: AtomicBool::new(false) }) }
    }

    fn with(self, set: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = self.at.limits.clone();
        set(&mut limits);
        Self::new(self.at.path.clone(), limits)
    }

    /// Fails below this many free bytes.
    pub fn min_free_bytes(self, bytes: u64) -> Self {
        self.with(|limits| limits.bytes = bytes)
    }

    /// Fails below this part of the whole, in percent, from 0 to 100.
    pub fn min_free_percent(self, percent: f64) -> Self {
        self.with(|limits| limits.percent = percent)
    }

    /// Fails below this many files that can still be made.
    pub fn min_free_inodes(self, inodes: u64) -> Self {
        self.with(|limits| limits.inodes = inodes)
    }

    /// Also writes a file of a few bytes into the directory, and removes it: a disk that has become
    /// read-only has room.
    pub fn writable(self) -> Self {
        self.with(|limits| limits.writable = true)
    }
}

impl Examine for Disk {
    fn examine(&self) -> Examination {
        let at = self.at.clone();
        Box::pin(async move {
            let shown = at.path.display().to_string();
            if at.looking.swap(true, Ordering::AcqRel) {
                return Err(format!("{shown}: an earlier look has not come back; it hangs"));
            }
            // The system may keep the caller waiting, as it does for a server of files that is gone.
            let look = tokio::task::spawn_blocking(move || {
                let found = look(&at.path, &at.limits);
                at.looking.store(false, Ordering::Release);
                found
            });
            let found = look.await.map_err(|error| error.to_string())?;
            found.map_err(|why| format!("{shown}: {why}"))
        })
    }
}

fn look(path: &Path, limits: &Limits) -> Result<(), String> {
    let found = rustix::fs::statvfs(path).map_err(|error| io::Error::from(error).to_string())?;
    enough(&found, limits)?;
    if limits.writable {
        write(path).map_err(|error| format!("cannot be written to: {error}"))?;
    }
    Ok(())
}

fn enough(found: &StatVfs, limits: &Limits) -> Result<(), String> {
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    if free < limits.bytes {
        return Err(format!("{free} bytes are free, less than {}", limits.bytes));
    }
    // Of what this process may use, as `df` counts.
    let used = found.f_blocks.saturating_sub(found.f_bfree);
    let percent = 100.0 * found.f_bavail as f64 / (used + found.f_bavail).max(1) as f64;
    if percent < limits.percent {
        return Err(format!("{percent:.1} % are free, less than {} %", limits.percent));
    }
    if found.f_files > 0 && found.f_favail < limits.inodes {
        return Err(format!("{} inodes are free, less than {}", found.f_favail, limits.inodes));
    }
    Ok(())
}

/// Leaves nothing behind, whatever fails.
fn write(dir: &Path) -> io::Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = dir.join(format!(".octostack-check-{}-{number}", std::process::id()));
    let written =
        OpenOptions::new().write(true).create_new(true).open(&path).and_then(|mut file| {
            file.write_all(b"health check\n")?;
            file.sync_data() // else only memory was written to
        });
    match written {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        written => {
            let removed = fs::remove_file(&path);
            written.and(removed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> StatVfs {
        let mut found = rustix::fs::statvfs(".").unwrap();
        found.f_frsize = 4096;
        (found.f_blocks, found.f_bfree, found.f_bavail) = (1_000_000, 150_000, 100_000);
        (found.f_files, found.f_favail) = (5_000, 10);
        found
    }

    fn says(disk: &Disk) -> Result<(), String> {
        enough(&found(), &disk.at.limits)
    }

    #[test]
    fn each_limit_is_one() {
        assert_eq!(says(&disk(".")), Ok(()));
        let why = says(&disk(".").min_free_bytes(409_600_001)).unwrap_err();
        assert_eq!(why, "409600000 bytes are free, less than 409600001");
        assert_eq!(says(&disk(".").min_free_bytes(409_600_000)), Ok(()));
        // 850,000 are used and 100,000 can be: root keeps 50,000 to itself.
        assert_eq!(says(&disk(".").min_free_percent(10.5)), Ok(()));
        let why = says(&disk(".").min_free_percent(10.6)).unwrap_err();
        assert_eq!(why, "10.5 % are free, less than 10.6 %");
        let why = says(&disk(".").min_free_inodes(11)).unwrap_err();
        assert_eq!(why, "10 inodes are free, less than 11");
        let uncounted = StatVfs { f_files: 0, f_favail: 0, ..found() };
        assert_eq!(enough(&uncounted, &disk(".").at.limits), Ok(()));
    }

    #[tokio::test]
    async fn real_directories_are_looked_at_and_left_as_they_were() {
        let dir = std::env::temp_dir().join(format!("octostack-disk-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let disk = disk(&dir).min_free_bytes(1).writable();
        assert_eq!(disk.examine().await, Ok(()));
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0, "nothing is left behind");
        fs::remove_dir_all(&dir).unwrap();
        let gone = disk.examine().await.unwrap_err();
        assert!(gone.contains("No such file"), "{gone}");
        // What writes nothing to the disk has room and takes no file, whoever asks.
        let proc = super::disk("/proc").min_free_bytes(0).min_free_inodes(0).writable();
        let refused = proc.examine().await.unwrap_err();
        assert!(refused.contains("/proc: cannot be written to"), "{refused}");
    }

    #[tokio::test]
    async fn a_look_that_hangs_is_not_joined_by_others() {
        let disk = disk(".").min_free_bytes(0);
        disk.at.looking.store(true, Ordering::Release);
        assert!(disk.examine().await.unwrap_err().contains("has not come back"));
        disk.at.looking.store(false, Ordering::Release);
        assert_eq!(disk.examine().await, Ok(()));
    }
}
