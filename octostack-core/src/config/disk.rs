//! One look at the file system, for one load.
//!
//! Kubernetes mounts a config map as a directory in which every file is a link through `..data`,
//! itself a link to the directory that holds the files. An update makes another directory and moves
//! `..data` over to it in one step. Whoever opens two files by their own names can so get one of
//! the old and one of the new. Here `..data`, and any other link on the way to a file, is followed
//! once for a whole load, and a load during which it has moved on is done again.
//!
//! What was looked at is remembered, as hashes and also where nothing was, so that it can be seen
//! later whether a load would find anything else.

use crate::file::{self, ReadError};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
#[cfg(feature = "reload")]
use std::fmt;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Component, Path, PathBuf};

/// How large a file may be. A path that names a log must not fill the memory.
const MAX_BYTES: usize = 1024 * 1024;

/// How many names a directory may have.
const MAX_NAMES: usize = 1_000;

/// The link that Kubernetes moves.
const DATA: &str = "..data";

/// How many links are followed on the way to a file; as many as Linux does.
const MOST_LINKS: u32 = 40;

/// One look at the file system; see the [module docs](self).
pub(super) struct Disk {
    hash: RandomState,
    paths: RefCell<Things>,
    links: RefCell<Links>,
}

/// What is at each path.
type Things = BTreeMap<PathBuf, Thing>;

/// Paths that may be links, and where they led at first.
type Links = BTreeMap<PathBuf, Option<PathBuf>>;

/// All that a load has looked at, and what was there.
#[cfg(feature = "reload")]
#[derive(Clone)]
#[cfg_attr(not(feature = "reload"), allow(dead_code, reason = "only a watch looks again"))]
pub(super) struct Consulted {
    #[cfg(feature = "reload")]
    hash: RandomState,
    paths: Things,
    /// Directories with a `..data`, and where it leads.
    #[cfg(feature = "reload")]
    volumes: BTreeMap<PathBuf, PathBuf>,
}

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thing {
    /// Whether something is there; what is of no interest.
    Present(bool),
    /// Something may be there that cannot be got at: a link that leads nowhere, a directory that
    /// may not be searched.
    Hidden(io::ErrorKind),
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
        Self { hash: hash.clone(), paths: RefCell::default(), links: RefCell::default() }
    }

    /// Whether there is anything at `path`.
    ///
    /// # Errors
    /// If that cannot be told, or if it is a link that leads nowhere, in words that fit after the
    /// name of the file. Neither is the same as nothing: settings would fall back to defaults.
    pub(super) fn exists(&self, path: &Path) -> Result<bool, String> {
        let presence = self.presence(path);
        self.note(path, presence);
        match presence {
            Thing::Hidden(io::ErrorKind::PermissionDenied) => {
                Err("this process may not look for it".to_owned())
            }
            Thing::Hidden(_) => Err("it is a link that leads nowhere".to_owned()),
            presence => Ok(presence == Thing::Present(true)),
        }
    }

    fn presence(&self, path: &Path) -> Thing {
        match fs::metadata(self.resolve(path)) {
            Ok(_) => Thing::Present(true),
            Err(error) if !is_nothing(&error) => Thing::Hidden(error.kind()),
            Err(error) if self.is_broken_link(path) => Thing::Hidden(error.kind()),
            Err(_) => Thing::Present(false),
        }
    }

    /// Whether a link at `path`, which leads to nothing, was meant to. Kubernetes removes the
    /// links of files that are gone only after the exchange.
    fn is_broken_link(&self, path: &Path) -> bool {
        let Some(target) = self.link(path) else { return false };
        let data = path.parent().unwrap_or(path).join(DATA);
        !(target.starts_with(DATA) && data.exists())
    }

    /// Whether there is a directory at `path`.
    pub(super) fn is_dir(&self, path: &Path) -> bool {
        let is_dir = self.resolve(path).is_dir();
        self.note(path, Thing::Directory(is_dir));
        is_dir
    }

    /// What is in the directory at `path`, sorted, without what is hidden or not named in text.
    ///
    /// # Errors
    /// If it cannot be read, or holds more than 1000 names.
    pub(super) fn names(&self, path: &Path) -> io::Result<Vec<String>> {
        let names = self.names_now(path);
        self.note(path, Thing::names(&names, &self.hash));
        names
    }

    fn names_now(&self, path: &Path) -> io::Result<Vec<String>> {
        let dir = self.resolve(path);
        let mut names = names_in(&dir)?;
        let link = dir.join(DATA);
        if let Some(target) = self.link(&link) {
            // Links to new files come after the exchange, and those of files that are gone stay for
            // a while. Other volumes may be mounted beside them.
            names.retain(|name| self.resolve(&path.join(name)).exists());
            names.append(&mut names_in(&beside(&link, &target))?);
        }
        Ok(names.into_iter().collect())
    }

    /// The text of `path`, if it is a file of text that is not too large.
    ///
    /// # Errors
    /// If it may be one, but cannot be read.
    pub(super) fn read_if_text(&self, path: &Path) -> io::Result<Option<String>> {
        let read = file::read(&self.resolve(path), MAX_BYTES);
        self.note(path, Thing::of(&read, &self.hash));
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
        self.note(path, Thing::of(&read, &self.hash));
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
    #[cfg(feature = "reload")]
    pub(super) fn into_consulted(self) -> Consulted {
        Consulted {
            #[cfg(feature = "reload")]
            hash: self.hash,
            paths: self.paths.into_inner(),
            #[cfg(feature = "reload")]
            volumes: volumes(self.links.into_inner()),
        }
    }

    /// Whether a volume was exchanged since it was first looked at, or another link turned, so
    /// that what was read may be of two generations.
    pub(super) fn torn(&self) -> bool {
        let links = self.links.borrow();
        let mut watched = links.iter().filter(|(at, to)| to.is_some() || at.ends_with(DATA));
        watched.any(|(at, to)| fs::read_link(at).ok() != *to)
    }

    /// Remembers what is at `path`: what was seen first, or else a change between two looks of one
    /// load would never be noticed. A content says more than that something is there.
    fn note(&self, path: &Path, thing: Thing) {
        let mut paths = self.paths.borrow_mut();
        let known = paths.entry(path.to_owned()).or_insert(thing);
        let content = matches!(thing, Thing::Names(_) | Thing::Content(_) | Thing::Unreadable(_));
        if content && matches!(known, Thing::Present(true) | Thing::Directory(_)) {
            *known = thing;
        }
    }

    /// Where to read `path`: each link on the way leads where it led at first.
    fn resolve(&self, path: &Path) -> PathBuf {
        let mut path = path.to_owned();
        for _ in 0..MOST_LINKS {
            if let Some(within) = self.within(&path) {
                return within;
            }
            let Some(next) = self.follow(&path) else { break };
            path = next;
        }
        path
    }

    /// Where `path` is in the directory that its volume led to at first. Not by the link that
    /// users see, which is made after the exchange.
    fn within(&self, path: &Path) -> Option<PathBuf> {
        path.ancestors().skip(1).find_map(|dir| {
            let link = dir.join(DATA);
            let data = beside(&link, &self.link(&link)?);
            let rest = path.strip_prefix(dir).ok()?;
            // Whoever names a directory of Kubernetes' own knows what they want.
            if matches!(rest.components().next(), Some(Component::Normal(name)) if is_hidden(name))
            {
                return None;
            }
            Some(data.join(rest)).filter(|within| within.exists())
        })
    }

    /// What the innermost link in `path` makes of it.
    fn follow(&self, path: &Path) -> Option<PathBuf> {
        path.ancestors().find_map(|link| {
            let next = beside(link, &self.link(link)?);
            let rest = path.strip_prefix(link).ok()?;
            // To join nothing would say that it is a directory.
            Some(if rest.as_os_str().is_empty() { next } else { next.join(rest) })
        })
    }

    /// Where the link at `path` led when it was first asked for, if it is one.
    fn link(&self, path: &Path) -> Option<PathBuf> {
        if let Some(known) = self.links.borrow().get(path) {
            return known.clone();
        }
        let target = fs::read_link(path).ok();
        self.links.borrow_mut().insert(path.to_owned(), target.clone());
        target
    }
}

/// Directories with a `..data`, and where it leads.
#[cfg(feature = "reload")]
fn volumes(links: Links) -> BTreeMap<PathBuf, PathBuf> {
    let volume = |(mut link, target): (PathBuf, Option<PathBuf>)| {
        let target = target.filter(|_| link.ends_with(DATA))?;
        let data = beside(&link, &target);
        link.pop();
        Some((link, data))
    };
    links.into_iter().filter_map(volume).collect()
}

/// The path that the `target` of a link means.
fn beside(link: &Path, target: &Path) -> PathBuf {
    link.parent().unwrap_or(link).join(target)
}

/// The names in the directory `dir` itself.
fn names_in(dir: &Path) -> io::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        names.extend(name.to_str().filter(|name| !name.starts_with('.')).map(str::to_owned));
        if names.len() > MAX_NAMES {
            return Err(io::Error::other("it holds more than 1000 names"));
        }
    }
    Ok(names)
}

/// Whether there is certainly nothing.
fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
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
        for (path, thing) in &self.paths {
            let resolved = disk.resolve(path);
            let thing = match thing {
                Thing::Present(_) | Thing::Hidden(_) => disk.presence(path),
                Thing::Directory(_) => Thing::Directory(resolved.is_dir()),
                Thing::Names(_) => Thing::names(&disk.names_now(path), &self.hash),
                Thing::Content(_) | Thing::Unreadable(_) => {
                    Thing::of(&file::read(&resolved, MAX_BYTES), &self.hash)
                }
            };
            disk.note(path, thing);
        }
        disk.into_consulted()
    }

    /// Whether a load would find the same.
    pub(super) fn same(&self, other: &Self) -> bool {
        self.paths == other.paths
    }

    /// Whether all that `now` has otherwise came by the exchange of a volume, which is one step:
    /// then it is whole, and nobody has to wait whether more is coming.
    pub(super) fn only_swapped(&self, now: &Self) -> bool {
        let moved = |path: &Path| {
            path.ancestors().any(|dir| {
                let (before, after) = (self.volumes.get(dir), now.volumes.get(dir));
                after.is_some() && before != after
            })
        };
        let differs = |path: &PathBuf| self.paths.get(path) != now.paths.get(path);
        self.paths.keys().filter(|path| differs(path)).all(|path| moved(path))
    }

    /// The directories in which a change would show.
    pub(super) fn directories(&self) -> impl Iterator<Item = &Path> {
        let parents = self.paths.keys().filter_map(|path| path.parent());
        let listed = |(path, thing): (_, &Thing)| matches!(thing, Thing::Names(_)).then_some(path);
        let listed = self.paths.iter().filter_map(listed).map(|path: &PathBuf| &**path);
        parents.chain(listed).chain(self.volumes.keys().map(|dir| &**dir))
    }
}

/// How many paths. Not which: where the path of a secret belongs, somebody may have written the
/// secret.
#[cfg(feature = "reload")]
impl fmt::Debug for Consulted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Consulted({} paths)", self.paths.len())
    }
}

#[cfg(all(test, feature = "reload"))]
mod tests;
