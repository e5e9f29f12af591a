//! Whether a log is as it was written.

use super::error::AuditError;
use super::file::older;
use super::head;
use super::line::{self, Link, MAX_LINE};
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A log that is as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// How many lines it has, in all its files.
    pub lines: u64,
    /// How many files it has.
    pub files: usize,
    /// When its first and last lines were written.
    pub from_to: Option<(String, String)>,
    /// Its last line, `seq:hash`.
    pub head: String,
    /// What is worth knowing, and no reason for mistrust by itself.
    pub notes: Vec<String>,
}

/// A log that is not as it was written, or cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tampered {
    what: String,
}

/// A line that is known from elsewhere: `seq:hash`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor(Link);

impl FromStr for Anchor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let link = head::parse(text.trim()).filter(|link| link.seq > 0);
        link.map(Self).ok_or_else(|| {
            "an anchor is `number:hash`, as it stands on the status page and in the event \
             `audit_opened`"
                .to_owned()
        })
    }
}

/// Reads the whole log at `path`, its older files first, and checks each line against the one
/// before, and the end against `FILE.head` and `anchor`.
///
/// A log that a process was killed over passes, with a note: the last line may be torn, if the head
/// does not know it.
///
/// # Errors
/// The first thing that is not as it was written: which line of which file, and what is wrong.
pub fn verify(path: &Path, anchor: Option<Anchor>) -> Result<Verified, Tampered> {
    let known = head::read(path)?;
    let mut files = older(path)?;
    if path.exists() || files.is_empty() {
        files.push(path.to_owned());
    }
    let mut reader = Reader {
        begin: 0,
        last: None,
        torn: None,
        lines: 0,
        from_to: None,
        notes: Vec::new(),
        anchors: anchor.map(|anchor| anchor.0).into_iter().chain(known).collect(),
    };
    for file in &files {
        let torn = reader.file(file)?;
        if torn > 0 {
            reader.notes.push(format!(
                "{torn} bytes after the last line: the process was ended while it wrote"
            ));
        }
        reader.torn = (torn > 0).then(|| file.clone());
    }
    reader.end(path, known, anchor.is_some())?;
    let head = reader.last.unwrap_or(Link::START);
    Ok(Verified {
        lines: reader.lines,
        files: files.len(),
        from_to: reader.from_to,
        head: format!("{}:{}", head.seq, head.hash),
        notes: reader.notes,
    })
}

struct Reader {
    /// The first line whose hash is told here.
    begin: u64,
    last: Option<Link>,
    /// The file before, if it ends within a line.
    torn: Option<PathBuf>,
    lines: u64,
    from_to: Option<(String, String)>,
    notes: Vec<String>,
    /// Lines whose hashes are known from elsewhere.
    anchors: Vec<Link>,
}

impl Reader {
    /// Reads a file to its end. Returns how many bytes come after its last complete line.
    fn file(&mut self, path: &Path) -> Result<usize, Tampered> {
        let wrong = |error: std::io::Error| AuditError::io(path, "read it", &error);
        let mut file = BufReader::new(File::open(path).map_err(wrong)?);
        let mut number = 0;
        loop {
            let mut line = Vec::new();
            let mut limited = file.by_ref().take(MAX_LINE as u64);
            limited.read_until(b'\n', &mut line).map_err(wrong)?;
            let Some(content) = line.strip_suffix(b"\n") else {
                if line.len() >= MAX_LINE {
                    return Err(at(path, number + 1, "it is longer than any line of an audit log"));
                }
                return Ok(line.len());
            };
            number += 1;
            self.line(content, number == 1).map_err(|what| at(path, number, what))?;
        }
    }

    fn line(&mut self, content: &[u8], first: bool) -> Result<(), String> {
        let line = line::read(content)?;
        let expected = match self.last {
            Some(last) => last,
            None if line.link.seq <= 1 => Link::START,
            // Files before may have been taken elsewhere; this one says that there were some.
            None if first && line.action == "continue" => {
                let before = line.link.seq - 1;
                self.notes.push(format!("lines 1 to {before} are in files that are not here"));
                self.begin = before;
                let last = Link { seq: before, hash: line.prev };
                self.compare(last)?;
                last
            }
            None => {
                return Err(format!(
                    "it has the number {}: lines before it are gone",
                    line.link.seq
                ));
            }
        };
        if line.link.seq != expected.seq + 1 {
            let (seq, after) = (line.link.seq, expected.seq);
            let what = match &self.torn {
                Some(torn) => format!("{}: its last line was cut", torn.display()),
                None if seq > after => "lines before it are gone".to_owned(),
                None => "it is out of order".to_owned(),
            };
            return Err(format!("it has the number {seq} after {after}: {what}"));
        }
        if line.prev != expected.hash {
            let what = "it does not follow the line before: that one was changed or exchanged";
            return Err(what.to_owned());
        }
        self.compare(line.link)?;
        if line.action == "recover" && line.outcome == "lost" {
            let what = "says that lines before it may be gone";
            self.notes.push(format!("line {} {what}", line.link.seq));
        }
        self.last = Some(line.link);
        self.lines += 1;
        let from = self.from_to.take().map_or_else(|| line.ts.clone(), |(from, _)| from);
        self.from_to = Some((from, line.ts));
        Ok(())
    }

    /// Whether `link` is what is known of it.
    fn compare(&self, link: Link) -> Result<(), String> {
        if self.anchors.iter().any(|known| known.seq == link.seq && known.hash != link.hash) {
            let what = "is another line than the one that is known of: all was rewritten";
            return Err(format!("line {} {what}", link.seq));
        }
        Ok(())
    }

    /// Whether it ends where it should.
    fn end(&mut self, path: &Path, known: Option<Link>, anchored: bool) -> Result<(), Tampered> {
        let last = self.last.map_or(0, |last| last.seq);
        if let Some(beyond) =
            self.anchors.iter().map(|link| link.seq).filter(|seq| *seq > last).max()
        {
            let cut = if self.torn.is_none() { "" } else { ", cut in the middle of a line" };
            let what = format!("it ends at line {last}{cut}, and line {beyond} is known of");
            return Err(Tampered { what: format!("{}: {what}", path.display()) });
        }
        let before = |link: &&Link| link.seq < self.begin;
        if let Some(Link { seq, .. }) = self.anchors.iter().find(before) {
            let what = format!("line {seq} is not among them: they begin with the hash of line");
            let what = format!("{}: {what} {}", path.display(), self.begin);
            return Err(Tampered { what });
        }
        match known {
            None if last > 1 && !anchored => {
                let head = head::path_of(path);
                let what = "it is gone: whether the end of the log was cut cannot be told without";
                return Err(Tampered { what: format!("{}: {what}", head.display()) });
            }
            Some(known) if known.seq < last => {
                self.notes
                    .push(format!("the head is at line {}: the process was ended", known.seq));
            }
            _ => {}
        }
        Ok(())
    }
}

fn at(path: &Path, line: u64, what: impl fmt::Display) -> Tampered {
    Tampered { what: format!("{}: line {line}: {what}", path.display()) }
}

impl From<AuditError> for Tampered {
    fn from(error: AuditError) -> Self {
        Self { what: error.to_string() }
    }
}

impl fmt::Display for Tampered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Tampered {}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (lines, files) = (self.lines, self.files);
        let s = if files == 1 { "" } else { "s" };
        write!(f, "{lines} lines in {files} file{s} are as they were written")?;
        if let Some((from, to)) = &self.from_to {
            write!(f, "\nfrom {from} to {to}")?;
        }
        write!(f, "\nhead {}", self.head)?;
        self.notes.iter().try_for_each(|note| write!(f, "\nnote: {note}"))
    }
}
