//! Which environment variable sets which key.
//!
//! The names come from the schema: every key has one, and a variable is looked up by it. Reading
//! names into a tree instead cannot tell the `_` in `pool_size` from the one between levels.

use super::absent::Absent;
use super::bindings::URL;
use super::disk::Disk;
use super::error::{Error, ErrorKind, Origin};
use super::given::Given;
use super::schema::{Kind, Schema};
use super::service_links::{explain_links, is_service_link, looks_like_link};
use super::suggest::nearest;
use super::text;
use super::tree::{Node, Step};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

/// Variables by name: those of the process, and those of a `.env`.
pub(super) type Variables = BTreeMap<String, Variable>;

/// What a variable is set to.
#[derive(Clone)]
pub(super) struct Variable {
    pub(super) value: String,
    /// File and line, unless the process has it.
    pub(super) place: Option<(Arc<Path>, u32)>,
}

impl From<String> for Variable {
    fn from(value: String) -> Self {
        Self { value, place: None }
    }
}

/// Variables that tell the loader where to look.
pub(super) const OWN: [&str; 4] = ["APP_ENV", "CONFIG_DIR", "CONFIG_FILE", "SERVICE_BINDING_ROOT"];

/// What stands between levels.
const WAYS: [&str; 2] = ["_", "__"];

/// A key that a variable can set.
pub(super) struct Target<'a> {
    pub(super) keys: Vec<&'a str>,
    /// More than one where variants of an enum share the key.
    pub(super) schemas: Vec<&'a Schema>,
    /// Its names: `ORDERS_DB_URL`, and `ORDERS_DB__URL` if that is another.
    pub(super) names: Vec<Rc<str>>,
    /// Names that it has without the prefix.
    pub(super) bare: Vec<String>,
}

impl Target<'_> {
    pub(super) fn secret(&self) -> bool {
        self.schemas.iter().any(|schema| schema.secret)
    }

    /// Whether empty text says that nothing is set.
    pub(super) fn empty_is_unset(&self) -> bool {
        self.schemas.iter().all(|schema| text::empty_is_unset(schema))
    }

    /// Whether one value is all of it.
    pub(super) fn leaf(&self) -> bool {
        self.schemas.iter().all(|schema| schema.binding.is_some() || schema.fields().is_empty())
    }

    pub(super) fn error(&self, kind: ErrorKind, message: impl Into<String>) -> Error {
        Error::of_keys(kind, &self.keys, message)
    }
}

/// All names that the schema gives.
pub(super) struct Names<'a> {
    prefix: &'a str,
    targets: Vec<Target<'a>>,
    /// From exact, prefixed name to target.
    exact: HashMap<Rc<str>, usize>,
}

/// What the environment sets.
#[derive(Default)]
pub(super) struct Found {
    /// Values, outer keys first, each within the tables that lead to it.
    pub(super) nodes: Vec<Node>,
    pub(super) errors: Vec<Error>,
    pub(super) warnings: Vec<String>,
}

/// The name of the variable for `keys`, with `separator` between levels, in the place of what
/// `name` holds.
fn write_name(name: &mut String, prefix: &str, keys: &[&str], separator: &str) {
    name.clear();
    name.push_str(prefix);
    for (i, key) in keys.iter().enumerate() {
        name.push_str(if i == 0 { "" } else { separator });
        let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        name.extend(key.chars().map(letter));
    }
}

/// The usual name of the variable for `keys`.
fn name(prefix: &str, keys: &[&str]) -> String {
    let mut name = String::new();
    write_name(&mut name, prefix, keys, "_");
    name
}

/// A name, or the one whose file it names.
fn without_file(name: &str) -> &str {
    name.strip_suffix("_FILE").unwrap_or(name)
}

impl<'a> Names<'a> {
    /// Finds all names, and the keys that would share one.
    pub(super) fn new(
        prefix: &'a str,
        root: &'a Schema,
        bare: &[(String, String)],
    ) -> (Self, Vec<Error>) {
        let mut names = Self { prefix, targets: Vec::new(), exact: HashMap::new() };
        names.collect(&[root], &mut Vec::new(), &mut String::new());
        for (name, key) in bare {
            let found = |target: &&mut Target<'_>| target.keys.join(".") == *key;
            if let Some(target) = names.targets.iter_mut().find(found) {
                target.bare.push(name.clone());
            }
        }
        let errors = names.index();
        (names, errors)
    }

    /// `text` is only room to write in.
    fn collect(&mut self, schemas: &[&'a Schema], keys: &mut Vec<&'a str>, text: &mut String) {
        let mut children: Vec<(&'a str, Vec<&'a Schema>)> = Vec::new();
        for field in schemas.iter().flat_map(|schema| schema.fields()) {
            match children.iter_mut().find(|(name, _)| *name == field.name) {
                Some((_, schemas)) => schemas.push(&field.schema),
                None => children.push((&field.name, vec![&field.schema])),
            }
        }
        for (key, schemas) in children {
            keys.push(key);
            let ways = if keys.len() > 1 { &WAYS[..] } else { &WAYS[..1] };
            let names = ways.iter().map(|separator| {
                write_name(text, self.prefix, keys, separator);
                Rc::from(text.as_str())
            });
            let names = names.collect();
            self.targets.push(Target {
                keys: keys.clone(),
                schemas: schemas.clone(),
                names,
                bare: Vec::new(),
            });
            self.collect(&schemas, keys, text);
            keys.pop();
        }
    }

    fn index(&mut self) -> Vec<Error> {
        let mut errors = Vec::new();
        self.exact.reserve(self.targets.len() * 2);
        let own = OWN.map(|own| format!("{}{own}", self.prefix));
        for (index, target) in self.targets.iter().enumerate() {
            for name in &target.names {
                if own.iter().any(|own| **own == **name) {
                    let message = format!("the variable {name} is the loader's; rename the field");
                    errors.push(target.error(ErrorKind::BadSchema, message));
                }
                let Some(other) = self.exact.insert(name.clone(), index) else {
                    continue;
                };
                let message = format!(
                    "the variable {name} would set this and `{}`; rename one of the two fields",
                    self.targets[other].keys.join(".")
                );
                errors.push(target.error(ErrorKind::BadSchema, message));
            }
        }
        errors
    }

    /// The name of the variable that sets `path`. Items of lists and maps have none of their own.
    pub(super) fn variable(&self, path: &[Step]) -> String {
        let keys = path.iter().map_while(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Index(_) => None,
        });
        let mut keys: Vec<_> = keys.collect();
        while keys.len() > 1 && !self.exact.contains_key(name(self.prefix, &keys).as_str()) {
            keys.pop();
        }
        name(self.prefix, &keys)
    }

    /// The keys that can be set.
    pub(super) fn targets(&self) -> impl Iterator<Item = &Target<'a>> {
        self.targets.iter()
    }

    /// Keys that can be set, as people write them.
    pub(super) fn keys(&self) -> impl Iterator<Item = String> + '_ {
        self.targets.iter().map(|target| target.keys.join("."))
    }

    /// Reads what `variables` set. `known` are names that somebody else reads, `absent` keys that
    /// are not built in.
    pub(super) fn read(
        &self,
        variables: &Variables,
        (known, absent): (&BTreeSet<String>, &Absent),
        disk: &Disk,
    ) -> Found {
        let mut found = Found::default();
        let mut links = BTreeSet::new();
        // Most keys have no variable at all.
        let set: HashSet<&str> = variables.keys().map(|name| without_file(name)).collect();
        let is_set = |target: &&Target<'_>| {
            let named = target.names.iter().map(|name| &**name);
            let mut named = named.chain(target.bare.iter().map(String::as_str)).map(without_file);
            named.any(|name| set.contains(name))
                || self.prefixed(target).any(|name| set.contains(without_file(&name)))
        };
        let mut targets: Vec<_> = self.targets.iter().filter(is_set).collect();
        // The URL of a binding replaces what is below it, and its parts add to it.
        let is_part = |target: &Target<'_>| target.keys.last().is_some_and(|key| *key != URL);
        targets.sort_by_key(|target| (target.keys.len(), is_part(target)));
        for target in targets {
            let ranks = self.candidates(target);
            let mut rest = ranks.iter().map(|names| {
                let given = names.iter().flat_map(|name| self.given(target, name, variables));
                let (link, given): (Vec<_>, Vec<_>) =
                    given.partition(|given| is_service_link(given, target, variables));
                links.extend(link.iter().map(|given| given.name.clone()));
                given
            });
            let given = rest.find(|given| !given.is_empty());
            match given.as_deref() {
                None => {}
                Some([one]) => match one.read(target, disk) {
                    Ok(node) => found.nodes.extend(node.map(|node| node.nested(&target.keys))),
                    Err(error) => found.errors.push(error),
                },
                Some(many) => {
                    let names: Vec<_> = many.iter().map(|given| given.name.as_str()).collect();
                    let message = format!("set by {} at once; keep one", names.join(" and "));
                    let error = target.error(ErrorKind::GivenTwice, message);
                    found.errors.push(error.with_origin(many[0].variable()));
                }
            }
        }
        // What the process has is laid over what `.env` says.
        found.nodes.sort_by_key(|node| !matches!(node.origin, Origin::DotEnv { .. }));
        for (name, variable) in self.unused(variables, known) {
            if looks_like_link(name, &variable.value) {
                links.insert(name.clone());
            } else if let Some(error) = self.not_built_in(name, variable, absent) {
                found.errors.push(error);
            } else {
                found.warnings.push(self.unknown(name));
            }
        }
        found.warnings.extend(explain_links(&links));
        found
    }

    /// Prefixed variables that nothing reads.
    fn unused<'v>(
        &self,
        variables: &'v Variables,
        known: &BTreeSet<String>,
    ) -> impl Iterator<Item = (&'v String, &'v Variable)> {
        let bare = self.targets.iter().filter(|target| !target.bare.is_empty());
        let bare: HashMap<_, _> =
            bare.flat_map(|target| self.prefixed(target).map(move |name| (name, target))).collect();
        let read_by = move |name: &str| {
            self.exact.get(name).map(|at| &self.targets[*at]).or_else(|| bare.get(name).copied())
        };
        let is_read = move |name: &String| {
            let of_file = name.strip_suffix("_FILE").and_then(&read_by);
            known.contains(name) || read_by(name).is_some() || of_file.is_some_and(Target::leaf)
        };
        let prefixed = variables.iter().filter(|(name, _)| name.starts_with(self.prefix));
        prefixed.filter(move |(name, _)| !is_read(name))
    }

    /// Names of a target, those that win first.
    fn candidates(&self, target: &Target<'_>) -> [Vec<String>; 3] {
        let names = target.names.iter().map(ToString::to_string).collect();
        [names, self.prefixed(target).collect(), target.bare.clone()]
    }

    /// The names that a target has without the prefix, with it.
    fn prefixed(&self, target: &Target<'_>) -> impl Iterator<Item = String> {
        let prefixed = target.bare.iter().map(|bare| format!("{}{bare}", self.prefix));
        // A key of exactly that name has the better claim.
        prefixed.filter(|name| !self.exact.contains_key(name.as_str()))
    }

    /// What `name` and `name_FILE` say.
    fn given(&self, target: &Target<'_>, name: &str, variables: &Variables) -> Vec<Given> {
        let bare = target.bare.iter().any(|bare| bare == name) && !target.secret();
        let unset = |value: &str| value.trim().is_empty() && (bare || target.empty_is_unset());
        let value = variables.get(name).filter(|variable| !unset(&variable.value));
        let from = |name: &str, variable: &Variable, file| Given {
            name: name.into(),
            value: variable.value.clone(),
            place: variable.place.clone(),
            file,
        };
        let mut given: Vec<_> = value.map(|value| from(name, value, false)).into_iter().collect();
        let file = format!("{name}_FILE");
        if target.leaf() && !self.exact.contains_key(file.as_str()) {
            given.extend(variables.get(&file).map(|path| from(&file, path, true)));
        }
        given
    }

    /// An unknown variable may be somebody else's. One of a setting that is not built in is meant.
    fn not_built_in(&self, variable: &str, set: &Variable, absent: &Absent) -> Option<Error> {
        let names = |keys: &[&str]| {
            WAYS.map(|separator| {
                let mut name = String::new();
                write_name(&mut name, self.prefix, keys, separator);
                name
            })
        };
        let keys = absent.set_by(variable, names)?;
        let error = Error::of_keys(ErrorKind::UnknownKey, &keys, "unknown key");
        let origin = Origin::variable(variable, set.place.as_ref());
        (!set.value.trim().is_empty()).then(|| error.with_origin(origin))
    }

    fn unknown(&self, name: &str) -> String {
        let plain = &name[self.prefix.len()..];
        let names = self.exact.keys().map(|name| &name[self.prefix.len()..]);
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        let map = self.targets.iter().find(|target| {
            let is_map = |schema: &&Schema| {
                matches!(&schema.kind, Kind::Table(table) if table.others.is_some())
            };
            target.schemas.iter().any(is_map) && name.starts_with(&format!("{}_", target.names[0]))
        });
        let help = match (nearest(plain, names), map) {
            (Some(meant), _) => format!("did you mean {}{meant}?", self.prefix),
            (None, Some(map)) => format!("{} sets the whole map, as JSON", map.names[0]),
            (None, None) => "check the name, or unset it".to_owned(),
        };
        format!("{name}: no setting reads this variable; {help}")
    }
}
