//! The file of the log: one writer, one line at a time, right again after whatever happened.

use super::Record;
use super::config::{AuditConfig, AuditMode};
use super::error::AuditError;
use super::head::{self, beside, open_private};
use super::line::{self, Hash, Link, MAX_LINE, Writer};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A log that only this process writes.
pub(super) struct Log {
    path: PathBuf,
    file: File,
    /// Where the next line begins.
    length: u64,
    head: Link,
    writer: Writer,
    durable: bool,
    max_bytes: u64,
    /// Held for as long as it is open. Not the log itself, which moves on to another file.
    _lock: File,
    /// What was written last may be there in part.
    dirty: bool,
    /// The directory may not know yet of the file, or of its head.
    made: bool,
    /// What a test lets happen before a step.
    #[cfg(test)]
    pub(super) before: Option<Box<dyn Fn(Step) -> io::Result<()> + Send>>,
}

/// What the writing of a line consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Half of the line has been written.
    #[cfg(test)]
    Line,
    Sync,
    Head,
    Directory,
    Move,
    Create,
}

#[cfg(test)]
impl Step {
    pub(super) const ALL: [Self; 6] =
        [Self::Line, Self::Sync, Self::Head, Self::Directory, Self::Move, Self::Create];
}

/// What stands at the end of a file.
struct Tail {
    /// Up to the end of the last complete line.
    complete: u64,
    last: Option<line::Read>,
    /// What comes after it.
    torn: Vec<u8>,
}

impl Log {
    pub(super) fn open(config: &AuditConfig, writer: Writer) -> Result<Self, AuditError> {
        let path = config.file.clone().expect("a log that is opened has a file");
        let lock = only_one(&path)?;
        let known = head::read(&path)?;
        let file = create(&path)?;
        let tail = tail_of(&file, &path)?;
        let last = match tail.last {
            Some(last) => Some(last),
            // The log went on in this file, and did not come to its first line.
            None => last_of_older(&path)?,
        };
        let before = last.as_ref().map_or(Link::START, |last| last.link);
        let gap = gap(&path, known, last.as_ref())?;
        let mut log = Self {
            length: tail.complete,
            head: before,
            writer,
            durable: config.mode == AuditMode::Block,
            max_bytes: config.max_bytes,
            _lock: lock,
            dirty: false,
            made: tail.complete == 0 || known.is_none(),
            #[cfg(test)]
            before: None,
            file,
            path,
        };
        if let Some(what) = gap.as_ref().filter(|_| log.durable) {
            let what = format!("{what}; look into it, and move all its files away to begin anew");
            return Err(AuditError::new(&log.path, what));
        }
        if !tail.torn.is_empty() {
            log.recover(&tail.torn)?;
        }
        if let Some(what) = gap {
            // It stays for all to see.
            log.head =
                known.map_or(before, |known| Link { seq: known.seq.max(before.seq), ..known });
            log.write(&Record::new("recover").outcome("lost", Some(&what)))?;
        }
        if log.length == 0 && log.head.seq > 0 {
            log.write(&Record::new("continue"))?;
        }
        Ok(log)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) const fn head(&self) -> Link {
        self.head
    }

    /// Writes a line, and the head.
    pub(super) fn append(&mut self, record: &Record<'_>) -> Result<(), AuditError> {
        if !self.is_in_place() {
            self.moved_away()?;
        }
        if self.max_bytes > 0 && self.length >= self.max_bytes {
            self.go_on()?;
        }
        self.write(record)
    }

    fn write(&mut self, record: &Record<'_>) -> Result<(), AuditError> {
        let (text, link) = line::write(record, &self.writer, self.head, SystemTime::now());
        if let Err(error) = self.put(text.as_bytes()) {
            // Whatever of it is there must not stand before the next line. If that fails now, it is
            // tried again then. What somebody else did to the file stays as it is.
            if self.dirty {
                self.dirty = self.file.set_len(self.length).is_err();
            }
            return Err(AuditError::io(&self.path, "write it", &error));
        }
        self.length += text.len() as u64;
        self.head = link;
        self.step(Step::Head)
            .and_then(|()| head::write(&self.path, link, self.durable))
            .map_err(|error| AuditError::io(&head::path_of(&self.path), "write it", &error))?;
        if self.made && self.durable {
            self.step(Step::Directory)
                .and_then(|()| head::sync_directory(&self.path))
                .map_err(|error| AuditError::io(&self.path, "keep it in its place", &error))?;
            self.made = false;
        }
        Ok(())
    }

    fn put(&mut self, text: &[u8]) -> io::Result<()> {
        if self.dirty {
            self.file.set_len(self.length)?;
            self.dirty = false;
        }
        if self.file.metadata()?.len() != self.length {
            return Err(io::Error::other("somebody else has changed it meanwhile"));
        }
        self.file.seek(SeekFrom::Start(self.length))?;
        self.dirty = true;
        #[cfg(test)]
        let text = {
            let (half, rest) = text.split_at(text.len() / 2);
            self.file.write_all(half)?;
            self.step(Step::Line)?;
            rest
        };
        self.file.write_all(text)?;
        self.step(Step::Sync)?;
        if self.durable {
            self.file.sync_data()?;
        }
        self.dirty = false;
        Ok(())
    }

    /// Before `step` of the writing of a line.
    #[cfg_attr(
        not(test),
        allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "a test lets it fail")
    )]
    fn step(&self, step: Step) -> io::Result<()> {
        #[cfg(test)]
        if let Some(before) = &self.before {
            return before(step);
        }
        let _ = step;
        Ok(())
    }

    /// Takes away what a crash left of a line, on record.
    fn recover(&mut self, torn: &[u8]) -> Result<(), AuditError> {
        let wrong = |error: &io::Error| AuditError::io(&self.path, "put it right", error);
        self.file.set_len(self.length).map_err(|error| wrong(&error))?;
        let what = format!(
            "the process ended while it wrote a line: {} bytes with the hash {} were taken away",
            torn.len(),
            Hash::of(torn),
        );
        self.write(&Record::new("recover").outcome("torn", Some(&what)))
    }

    /// Whether the file at the path is the one that is written.
    fn is_in_place(&self) -> bool {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let ours = self.file.metadata().map(|it| (it.dev(), it.ino()));
            let there = self.path.metadata().map(|it| (it.dev(), it.ino()));
            matches!((ours, there), (Ok(ours), Ok(there)) if ours == there)
        }
        #[cfg(not(unix))]
        self.path.exists()
    }

    /// Somebody moved the file, or removed it: goes on in a new one, and says so.
    fn moved_away(&mut self) -> Result<(), AuditError> {
        let file = create(&self.path)?;
        let length = file.metadata().map(|it| it.len()).unwrap_or_default();
        if length > 0 {
            let what = "another file is in its place; move that away";
            return Err(AuditError::new(&self.path, what));
        }
        (self.file, self.length, self.made) = (file, 0, true);
        let what = "the file before was moved or removed by somebody else";
        self.write(&Record::new("continue").outcome("moved", Some(what)))
    }

    /// Goes on in another file, as this one is large.
    fn go_on(&mut self) -> Result<(), AuditError> {
        let old = beside(&self.path, &format!(".{}", self.head.seq));
        let moved = self.step(Step::Move).and_then(|()| fs::rename(&self.path, &old));
        moved.map_err(|error| AuditError::io(&self.path, "move it away", &error))?;
        let created = self.step(Step::Create);
        created.map_err(|error| AuditError::io(&self.path, "make it", &error))?;
        (self.file, self.length, self.made) = (create(&self.path)?, 0, true);
        let what = format!("the lines before are in {}", old.display());
        self.write(&Record::new("continue").outcome("ok", Some(&what)))
    }
}

/// What shows that a log is not as it was written, by the line that its head knows and the last.
fn gap(
    path: &Path,
    known: Option<Link>,
    last: Option<&line::Read>,
) -> Result<Option<String>, AuditError> {
    let head = head::path_of(path);
    let (head, end) = (head.display(), last.map_or(0, |last| last.link.seq));
    let Some(Link { seq, hash }) = known else {
        // A process may end after the first line, and before its head.
        let what = || format!("{head} is gone: whether lines are gone too cannot be told");
        return Ok((end > 1).then(what));
    };
    if seq > end {
        let what = format!("lines are gone: {head} knows of line {seq}, and the last one here is");
        return Ok(Some(format!("{what} {end}")));
    }
    let there = match last {
        Some(last) if last.link.seq == seq => Some(last.link.hash),
        Some(last) if last.link.seq == seq + 1 => Some(last.prev),
        _ => hash_of(path, seq)?,
    };
    let other = there.is_some_and(|there| there != hash);
    Ok(other.then(|| format!("line {seq} is another one than {head} knows of")))
}

/// The hash of the line `seq`, if that can be told from the lines that are here.
fn hash_of(path: &Path, seq: u64) -> Result<Option<Hash>, AuditError> {
    for path in [path.to_owned()].into_iter().chain(older(path)?) {
        let wrong = |error: io::Error| AuditError::io(&path, "read it", &error);
        let mut file = BufReader::new(File::open(&path).map_err(wrong)?);
        let mut text = Vec::new();
        while file.by_ref().take(MAX_LINE as u64).read_until(b'\n', &mut text).map_err(wrong)? > 0 {
            match line::read(text.strip_suffix(b"\n").unwrap_or(&text)) {
                Ok(line) if line.link.seq == seq => return Ok(Some(line.link.hash)),
                Ok(line) if line.link.seq == seq + 1 => return Ok(Some(line.prev)),
                _ => text.clear(),
            }
        }
    }
    Ok(None)
}

/// Opens the log, or makes it. Others must not be able to write it.
fn create(path: &Path) -> Result<File, AuditError> {
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false);
    let file =
        open_private(options, path).map_err(|error| AuditError::io(path, "open it", &error))?;
    let metadata = file.metadata().map_err(|error| AuditError::io(path, "look at it", &error))?;
    if !metadata.is_file() {
        return Err(AuditError::new(path, "it is no file"));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        if metadata.mode() & 0o022 != 0 {
            let what = format!("others may write it; `chmod go-w {}`", path.display());
            return Err(AuditError::new(path, what));
        }
    }
    Ok(file)
}

/// A lock that one process has.
fn only_one(path: &Path) -> Result<File, AuditError> {
    let lock = beside(path, ".lock");
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(false);
    let file =
        open_private(options, &lock).map_err(|error| AuditError::io(&lock, "open it", &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let what = "another process writes it; give each instance a file of its own";
            Err(AuditError::new(path, what))
        }
        Err(TryLockError::Error(error)) => Err(AuditError::io(&lock, "lock it", &error)),
    }
}

/// What stands at the end of `file`.
fn tail_of(file: &File, path: &Path) -> Result<Tail, AuditError> {
    let wrong = |error: io::Error| AuditError::io(path, "read it", &error);
    let length = file.metadata().map_err(wrong)?.len();
    // The last line, and what may have been written of one after it.
    let from = length.saturating_sub(2 * MAX_LINE as u64);
    let mut bytes = Vec::new();
    let mut file = file;
    file.seek(SeekFrom::Start(from)).map_err(wrong)?;
    file.take(2 * MAX_LINE as u64).read_to_end(&mut bytes).map_err(wrong)?;
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let (complete, torn) = bytes.split_at(end);
    if torn.len() > MAX_LINE || (end == 0 && from > 0) {
        return Err(AuditError::new(path, "it does not end with lines of an audit log"));
    }
    let last = complete.strip_suffix(b"\n").map(|lines| {
        let begin = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        line::read(&lines[begin..])
    });
    let last = last.transpose().map_err(|what| {
        AuditError::new(path, format!("its last line is not as it was written: {what}"))
    })?;
    let complete = from + complete.len() as u64;
    Ok(Tail { complete, last, torn: torn.to_vec() })
}

/// The last line of the files before this one.
fn last_of_older(path: &Path) -> Result<Option<line::Read>, AuditError> {
    for path in older(path)?.iter().rev() {
        let file = File::open(path).map_err(|error| AuditError::io(path, "open it", &error))?;
        if let Some(last) = tail_of(&file, path)?.last {
            return Ok(Some(last));
        }
    }
    Ok(None)
}

/// The files before the one at `path`, in the order of their lines, whoever named them: the number
/// of the last line is our ending, and others count backwards.
pub(super) fn older(path: &Path) -> Result<Vec<PathBuf>, AuditError> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let dir = dir.unwrap_or(Path::new("."));
    let wrong = |error: io::Error| AuditError::io(dir, "read it", &error);
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(wrong)? {
        let entry = entry.map_err(wrong)?.file_name();
        let ending = entry.to_str().and_then(|entry| entry.strip_prefix(name)?.strip_prefix('.'));
        if let Some(number) = ending.and_then(|ending| ending.parse().ok()) {
            let path = path.with_file_name(&entry);
            found.push((first_of(&path).unwrap_or(number), path));
        }
    }
    found.sort_unstable();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// The number of the first line of a file, if it is one of a log.
fn first_of(path: &Path) -> Option<u64> {
    let mut first = Vec::new();
    let file = File::open(path).ok()?.take(MAX_LINE as u64);
    BufReader::new(file).read_until(b'\n', &mut first).ok()?;
    line::read(first.strip_suffix(b"\n")?).ok().map(|line| line.link.seq)
}
