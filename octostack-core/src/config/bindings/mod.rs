//! Backing services that a platform attaches: the directories of `SERVICE_BINDING_ROOT` as a source
//! of settings, over files and below variables.
//!
//! The source knows a binding by `x-binding` in the schema of its setting, not by its type.

mod choose;
mod root;

use super::disk::Disk;
use super::env::Names;
use super::error::{Error, ErrorKind, Origin};
use super::schema::{Kind, Schema};
use super::tree::{Data, Entry, Node, Step};
use choose::{Wanted, choose};
use root::Directory;
use serde_json::{Map, Value as Json};
use std::path::Path;

/// The key of a binding under which an operator chooses a directory.
const CHOICE: &str = "binding";

/// The key of a binding that says where the service is.
pub(super) const URL: &str = "url";

/// What the schema says of a setting that is a binding.
#[derive(Clone, Debug)]
pub(super) struct Bindable {
    types: Vec<String>,
    provider: Option<String>,
    named: Option<String>,
    example: String,
}

impl Bindable {
    /// From the extensions of a schema; those of an `Option` stand around it.
    pub(super) fn of(object: &Map<String, Json>) -> Option<Self> {
        let forms = object.get("anyOf").and_then(Json::as_array);
        let forms = forms.into_iter().flatten().filter_map(Json::as_object);
        let mut around = [object].into_iter().chain(forms);
        let inner = around.find(|object| object.contains_key("x-binding"))?;
        let text = |key: &str| {
            let found = object.get(key).or_else(|| inner.get(key));
            found.and_then(Json::as_str).map(str::to_owned)
        };
        let types = inner.get("x-binding-types").and_then(Json::as_array);
        let types = types.into_iter().flatten().filter_map(Json::as_str).map(str::to_owned);
        Some(Self {
            types: types.collect(),
            provider: text("x-binding-provider"),
            named: text("x-binding-name"),
            example: text("x-binding-example").unwrap_or_default(),
        })
    }

    /// What it attaches, such as `postgresql`; `any` where it takes anything.
    pub(super) fn kind(&self) -> &str {
        self.types.first().map_or("any", String::as_str)
    }

    /// Of the forms of a binding, the table. The other is the text that stands for one.
    pub(super) fn table(kind: Kind) -> Kind {
        match kind {
            Kind::OneOf(forms) => {
                let mut kinds = forms.into_iter().map(|form| form.kind);
                kinds.find(|kind| matches!(kind, Kind::Table(_))).unwrap_or(Kind::Any)
            }
            kind => kind,
        }
    }

    /// What to write there, for an error message.
    pub(super) fn expected(&self) -> String {
        format!("a URL such as `{}`, or a table", self.example)
    }

    /// How to attach one, beside variables.
    pub(super) fn advice(&self) -> String {
        let name = self.named.as_ref().map(|name| format!(" called `{name}`")).unwrap_or_default();
        match self.types.first() {
            Some(kind) => format!("or attach a binding of type `{kind}`{name}"),
            None => format!("or attach a binding{name}"),
        }
    }
}

/// Brings a binding that is written as a URL to the table that it stands for, so that sources can
/// be laid over each other: an address in a file, its password in a variable.
pub(super) fn expand(node: &mut Node, schema: &Schema) {
    match &mut node.data {
        Data::Text(_) if schema.binding.is_some() => {
            let origin = node.origin.clone();
            let data = std::mem::replace(&mut node.data, Data::Null);
            let text = Node::new(data, origin.clone());
            *node = text.nested(&[URL.to_owned()]);
        }
        Data::Table(entries) if schema.binding.is_none() => {
            for entry in entries {
                for inner in schema.inner(&entry.key) {
                    expand(&mut entry.node, inner);
                }
            }
        }
        Data::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                for inner in schema.item(index) {
                    expand(item, inner);
                }
            }
        }
        _ => {}
    }
}

/// Whether `over`, a binding, says where the service is, so that nothing below it counts.
pub(super) fn replaces(over: &Node, schema: &Schema) -> bool {
    schema.binding.is_some() && over.get(URL).is_some()
}

/// What the sources above and below say about bindings.
pub(super) struct Sources<'a> {
    /// The files together.
    pub(super) below: &'a Node,
    /// Each variable by itself.
    pub(super) variables: &'a [Node],
    /// `--set`.
    pub(super) set: &'a [(String, String)],
}

/// What directories set.
#[derive(Default)]
pub(super) struct Attached {
    /// The setting, and what it is from now on.
    pub(super) nodes: Vec<(Vec<String>, Node)>,
    pub(super) errors: Vec<Error>,
    pub(super) warnings: Vec<String>,
}

/// Reads `root`, if any setting takes what may be in it.
pub(super) fn attach(
    schema: &Schema,
    names: &Names<'_>,
    sources: &Sources<'_>,
    root: Option<&Path>,
    disk: &Disk,
) -> Attached {
    let mut attached = Attached::default();
    let mut wanted = Vec::new();
    collect(schema, &mut Vec::new(), &mut |keys, bindable| {
        let (choice, above) = sources.choice(keys);
        let path: Vec<_> = keys.iter().cloned().chain([CHOICE.to_owned()]).map(Step::Key).collect();
        let variable = names.variable(&path);
        attached.errors.extend(sources.twice(keys));
        if sources.explicit(keys) {
            if above {
                let message = format!("given by itself and by {variable} at once; keep one");
                attached.errors.push(Error::of_keys(ErrorKind::GivenTwice, keys, message));
            }
            return;
        }
        wanted.push(Wanted {
            keys: keys.to_vec(),
            types: bindable.types.clone(),
            provider: bindable.provider.clone(),
            named: bindable.named.clone(),
            choice,
            variable,
        });
    });
    let Some(root) = root else {
        for wanted in wanted.iter().filter(|wanted| wanted.choice.is_some()) {
            let message = "a binding is chosen, but SERVICE_BINDING_ROOT is not set";
            attached.errors.push(Error::of_keys(ErrorKind::OutOfRange, &wanted.keys, message));
        }
        return attached;
    };
    if wanted.is_empty() {
        return attached;
    }
    let directories = match root::read(root, disk) {
        Ok((directories, notes)) => {
            attached.warnings.extend(notes);
            directories
        }
        Err(error) => {
            let message = format!("SERVICE_BINDING_ROOT: {}: {error}", root.display());
            attached.errors.push(Error::new(ErrorKind::Unreadable, &[], message));
            return attached;
        }
    };
    let chosen = choose(&wanted, &directories);
    attached.warnings.extend(chosen.notes);
    for (at, kind, message) in chosen.problems {
        attached.errors.push(Error::of_keys(kind, &wanted[at].keys, message));
    }
    for (at, directory) in chosen.pairs {
        let (keys, directory) = (&wanted[at].keys, &directories[directory]);
        for (entry, why) in &directory.unreadable {
            let error = Error::of_keys(ErrorKind::Unreadable, keys, why.to_string());
            attached.errors.push(error.with_origin(origin(directory, Some(entry))));
        }
        attached.nodes.push((keys.clone(), node(directory)));
    }
    attached
}

/// All bindings that have a key of their own.
fn collect<'a>(
    schema: &'a Schema,
    keys: &mut Vec<&'a str>,
    found: &mut impl FnMut(&[String], &Bindable),
) {
    if let Some(bindable) = &schema.binding {
        let keys: Vec<_> = keys.iter().map(|key| (*key).to_owned()).collect();
        found(&keys, bindable);
    } else if let Kind::Table(table) = &schema.kind {
        for field in &table.fields {
            keys.push(&field.name);
            collect(&field.schema, keys, found);
            keys.pop();
        }
    }
}

impl Sources<'_> {
    /// The variables that say where the service is.
    fn addresses(&self, keys: &[String]) -> impl Iterator<Item = &Node> {
        let says = |node: &Node| matches!(node.data, Data::Text(_)) || node.get(URL).is_some();
        self.variables.iter().filter(move |node| find(node, keys).is_some_and(says))
    }

    /// Whether a variable says where the service is.
    fn explicit(&self, keys: &[String]) -> bool {
        self.addresses(keys).next().is_some()
    }

    /// Whether two of them do, as `ORDERS_DATABASE` and `ORDERS_DATABASE_URL`. A `.env` is below the
    /// process and may say otherwise.
    fn twice(&self, keys: &[String]) -> Option<Error> {
        let (low, high): (Vec<_>, Vec<_>) = self.addresses(keys).partition(|node| is_low(node));
        let [first, second, ..] = [low, high].into_iter().find(|of| of.len() > 1)?[..] else {
            return None;
        };
        let message = format!("its URL is set by {} as well; keep one", second.origin);
        let error = Error::of_keys(ErrorKind::GivenTwice, keys, message);
        Some(error.with_origin(first.origin.clone()))
    }

    /// The directory that an operator chose, and whether above files.
    fn choice(&self, keys: &[String]) -> (Option<String>, bool) {
        let of = |node: &Node| match &find(node, keys)?.get(CHOICE)?.data {
            Data::Text(name) => Some(name.clone()),
            _ => None,
        };
        let key = format!("{}.{CHOICE}", keys.join("."));
        let set = self.set.iter().rev().find(|(name, _)| *name == key);
        let set = set.map(|(_, name)| name.clone());
        let above = set.or_else(|| self.variables.iter().rev().find_map(of));
        let is_above = above.is_some();
        (above.or_else(|| of(self.below)), is_above)
    }
}

/// Whether it comes from a `.env`.
fn is_low(node: &Node) -> bool {
    matches!(node.origin, Origin::DotEnv { .. })
}

fn find<'a>(node: &'a Node, keys: &[String]) -> Option<&'a Node> {
    keys.iter().try_fold(node, |node, key| node.get(key))
}

fn origin(directory: &Directory, entry: Option<&str>) -> Origin {
    let path = entry.map_or_else(|| directory.path.clone(), |entry| directory.path.join(entry));
    Origin::Binding { name: directory.name.as_str().into(), path: path.into() }
}

/// What a directory says, as the keys of the setting.
fn node(directory: &Directory) -> Node {
    let whole = directory.entries.contains_key("uri") || directory.entries.contains_key("url");
    let mut given: Vec<Entry> = Vec::new();
    let mut put = |key: &str, data, entry: Option<&str>| {
        let origin = origin(directory, entry);
        let node = Node::new(data, origin.clone());
        given.push(Entry { key: key.to_owned(), origin, node });
    };
    put("type", Data::Text(directory.kind.clone()), Some("type"));
    put(CHOICE, Data::Text(directory.name.clone()), None);
    if let Some(provider) = &directory.provider {
        put("provider", Data::Text(provider.clone()), Some("provider"));
    }
    let mut others = Vec::new();
    for (name, value) in &directory.entries {
        let text = || Data::Text(value.clone());
        match name.as_str() {
            _ if value.is_empty() => {}
            "uri" => put("url", text(), Some(name)),
            "url" if !directory.entries.contains_key("uri") => put("url", text(), Some(name)),
            // The URL says it, and may say more than one entry can.
            "url" | "host" | "port" | "database" | "bootstrap-servers" if whole => {}
            "host" | "database" | "username" | "password" => put(name, text(), Some(name)),
            "port" => {
                let port = value.trim().parse().map_or_else(|_| text(), Data::Integer);
                put("port", port, Some(name));
            }
            "bootstrap-servers" => {
                let origin = origin(directory, Some(name));
                let host = |host: &str| Node::new(Data::Text(host.to_owned()), origin.clone());
                let hosts = value.split(',').map(str::trim).map(host);
                put("hosts", Data::List(hosts.collect()), Some(name));
            }
            _ => {
                let origin = origin(directory, Some(name));
                let node = Node::new(text(), origin.clone());
                others.push(Entry { key: name.clone(), origin, node });
            }
        }
    }
    put("entries", Data::Table(others), None);
    let uri = ["uri", "url"].into_iter().find(|name| directory.entries.contains_key(*name));
    Node::new(Data::Table(given), origin(directory, uri))
}
