//! One look at the file system, for one load.
//!
//! Kubernetes mounts a config map as a directory in which every file is a link through `..data`,
//! itself a link to the directory that holds the files. An update makes another directory and moves
//! `..data` over to it in one step. Whoever opens two files by their own names can so get one of
//! the old and one of the new. Here `..data` is followed once for a whole load, and a load during
//! which it has moved on is done again.
//!
//! What was looked at is remembered, as hashes and also where nothing was, so that it can be seen
//! later whether a load would find anything else.

use crate::file::{self, ReadError};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Component, Path, PathBuf};

/// How large a file may be. A path that names a log must not fill the memory.
const MAX_BYTES: usize = 1024 * 1024;

/// How many names of a directory are looked at.
const MAX_NAMES: usize = 1_000;

/// The link that Kubernetes moves.
const DATA: &str = "..data";

/// One look at the file system; see the [module docs](self).
pub(super) struct Disk {
    hash: RandomState,
    found: RefCell<Found>,
}

/// All that a load has looked at, and what was there.
#[derive(Clone)]
pub(super) struct Consulted {
    hash: RandomState,
    found: Found,
}

/// By path.
#[derive(Clone, Default, PartialEq, Eq)]
struct Found {
    paths: BTreeMap<PathBuf, Thing>,
    /// Directories that have been asked for `..data`, and where it leads.
    volumes: BTreeMap<PathBuf, Option<PathBuf>>,
}

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thing {
    /// Whether something is there; what is of no interest.
    Present(bool),
    /// Whether a directory is there.
    Directory(bool),
    /// The hash of the names in a directory; nothing if it cannot be read.
    Names(Option<u64>),
    /// The hash of the content of a file.
    Content(u64),
    /// No file, or one that cannot be read.
    Unreadable(io::ErrorKind),
}

impl Disk {
    /// A look that hashes what it finds by `hash`.
    pub(super) fn new(hash: &RandomState) -> Self {
        Self { hash: hash.clone(), found: RefCell::default() }
    }

    /// Whether there is anything at `path`.
    pub(super) fn exists(&self, path: &Path) -> bool {
        let exists = self.resolve(path).exists();
        self.found.borrow_mut().paths.entry(path.to_owned()).or_insert(Thing::Present(exists));
        exists
    }

    /// Whether there is a directory at `path`.
    pub(super) fn is_dir(&self, path: &Path) -> bool {
        let is_dir = self.resolve(path).is_dir();
        self.found.borrow_mut().paths.entry(path.to_owned()).or_insert(Thing::Directory(is_dir));
        is_dir
    }

    /// What is in the directory `path`, sorted, without what is hidden or not named in text.
    pub(super) fn names(&self, path: &Path) -> io::Result<Vec<String>> {
        let names = self.names_now(path);
        self.found.borrow_mut().paths.insert(path.to_owned(), Thing::names(&names, &self.hash));
        names
    }

    fn names_now(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        let dir = self.data(path).unwrap_or_else(|| self.resolve(path));
        for entry in fs::read_dir(dir)?.take(MAX_NAMES) {
            let name = entry?.file_name();
            names.extend(name.to_str().filter(|name| !name.starts_with('.')).map(str::to_owned));
        }
        names.sort_unstable();
        Ok(names)
    }

    /// The text of `path`, if it is a file of text that is not too large.
    ///
    /// # Errors
    /// If it may be one, but cannot be read.
    pub(super) fn read_if_text(&self, path: &Path) -> io::Result<Option<String>> {
        let read = file::read(&self.resolve(path), MAX_BYTES);
        let thing = Thing::of(&read, &self.hash);
        self.found.borrow_mut().paths.insert(path.to_owned(), thing);
        match read {
            Ok(bytes) => Ok(String::from_utf8(bytes).ok()),
            Err(ReadError::System(error)) => Err(error),
            Err(ReadError::NotAFile(_) | ReadError::TooLarge) => Ok(None),
        }
    }

    /// The text of the file at `path`.
    ///
    /// # Errors
    /// What is wrong, in words that fit after the name of the file.
    pub(super) fn read_text(&self, path: &Path) -> Result<String, String> {
        let read = file::read(&self.resolve(path), MAX_BYTES);
        let thing = Thing::of(&read, &self.hash);
        self.found.borrow_mut().paths.insert(path.to_owned(), thing);
        let bytes = read.map_err(|error| match error {
            ReadError::System(error) => match error.kind() {
                io::ErrorKind::NotFound => "there is no such file".to_owned(),
                io::ErrorKind::PermissionDenied => "this process may not read it".to_owned(),
                _ => format!("cannot be read: {error}"),
            },
            // A reload reads it again, which only a file bears.
            ReadError::NotAFile(what) => format!("it is {what}, not a file"),
            ReadError::TooLarge => "it is larger than 1 MiB".to_owned(),
        })?;
        let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
        Ok(match text.strip_prefix('\u{feff}') {
            Some(rest) => rest.to_owned(),
            None => text,
        })
    }

    /// All that has been looked at.
    pub(super) fn into_consulted(self) -> Consulted {
        Consulted { hash: self.hash, found: self.found.into_inner() }
    }

    /// Whether a volume was exchanged since it was first looked at, so that what was read may be
    /// of two generations.
    pub(super) fn torn(&self) -> bool {
        let found = self.found.borrow();
        found.volumes.iter().any(|(dir, target)| data_of(dir) != *target)
    }

    /// Where to read `path`: within the directory that its volume led to at first.
    fn resolve(&self, path: &Path) -> PathBuf {
        for dir in path.ancestors().skip(1) {
            let Some(data) = self.data(dir) else { continue };
            let Ok(rest) = path.strip_prefix(dir) else { continue };
            // Whoever names a directory of Kubernetes' own knows what they want.
            if matches!(rest.components().next(), Some(Component::Normal(name)) if is_hidden(name))
            {
                continue;
            }
            let within = data.join(rest);
            if within.exists() {
                return within;
            }
        }
        path.to_owned()
    }

    fn data(&self, dir: &Path) -> Option<PathBuf> {
        let mut found = self.found.borrow_mut();
        if let Some(known) = found.volumes.get(dir) {
            return known.clone();
        }
        let data = data_of(dir);
        found.volumes.insert(dir.to_owned(), data.clone());
        data
    }
}

/// The directory that `..data` in `dir` leads to, if there is such a link.
fn data_of(dir: &Path) -> Option<PathBuf> {
    let target = fs::read_link(dir.join(DATA)).ok()?;
    Some(dir.join(target))
}

fn is_hidden(name: &std::ffi::OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"..")
}

impl Thing {
    fn names(names: &io::Result<Vec<String>>, hash: &RandomState) -> Self {
        Self::Names(names.as_ref().ok().map(|names| hash.hash_one(names)))
    }

    fn of(read: &Result<Vec<u8>, ReadError>, hash: &RandomState) -> Self {
        Self::Unreadable(match read {
            Ok(content) => return Self::Content(hash.hash_one(content)),
            Err(ReadError::System(error)) => error.kind(),
            Err(ReadError::NotAFile(_)) => io::ErrorKind::InvalidInput,
            Err(ReadError::TooLarge) => io::ErrorKind::FileTooLarge,
        })
    }
}

/// Looking again is for a watch.
#[cfg(feature = "reload")]
impl Consulted {
    /// What is there now. Blocks.
    pub(super) fn look(&self) -> Self {
        let disk = Disk::new(&self.hash);
        for (path, thing) in &self.found.paths {
            let resolved = disk.resolve(path);
            let thing = match thing {
                Thing::Present(_) => Thing::Present(resolved.exists()),
                Thing::Directory(_) => Thing::Directory(resolved.is_dir()),
                Thing::Names(_) => Thing::names(&disk.names_now(path), &self.hash),
                Thing::Content(_) | Thing::Unreadable(_) => {
                    Thing::of(&file::read(&resolved, MAX_BYTES), &self.hash)
                }
            };
            disk.found.borrow_mut().paths.insert(path.clone(), thing);
        }
        disk.into_consulted()
    }

    /// Whether a load would find the same.
    pub(super) fn same(&self, other: &Self) -> bool {
        self.found.paths == other.found.paths
    }

    /// Whether all that `now` has otherwise came by the exchange of a volume, which is one step:
    /// then it is whole, and nobody has to wait whether more is coming.
    pub(super) fn only_swapped(&self, now: &Self) -> bool {
        let moved = |path: &Path| {
            path.ancestors().skip(1).any(|dir| {
                let of = |found: &Found| found.volumes.get(dir).cloned().flatten();
                let (before, after) = (of(&self.found), of(&now.found));
                after.is_some() && before != after
            })
        };
        let differs = |path: &PathBuf| self.found.paths.get(path) != now.found.paths.get(path);
        self.found.paths.keys().filter(|path| differs(path)).all(|path| moved(path))
    }

    /// The directories in which a change would show.
    pub(super) fn directories(&self) -> impl Iterator<Item = &Path> {
        let parents = self.found.paths.keys().filter_map(|path| path.parent());
        let volumes = self.found.volumes.iter().filter(|(_, data)| data.is_some());
        parents.chain(volumes.map(|(dir, _)| &**dir))
    }
}

/// Paths alone.
impl fmt::Debug for Consulted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.found.paths.keys()).finish()
    }
}
