//! The documents of remote sources, as they are at one load.

use super::error::{Error, ErrorKind};
use super::loader::Loader;
use super::parse::parse_as;
use super::remote::{Held, Remote};
use super::schema::Schema;
use super::source::syntax;
use super::tree::{Data, Node, Step};
use std::path::Path;
use std::sync::Arc;

/// What remotes hold at one time, in the order in which they were added.
pub(super) struct Documents(Vec<(Remote, Option<Held>)>);

impl Documents {
    pub(super) fn of(loader: &Loader) -> Self {
        Self(loader.remotes.iter().map(|remote| (remote.clone(), remote.held())).collect())
    }

    /// Each document, read.
    pub(super) fn read(&self) -> impl Iterator<Item = Result<Node, Vec<Error>>> {
        self.0.iter().filter_map(|(remote, held)| {
            let document = &held.as_ref()?.document;
            let name: Arc<Path> = Path::new(remote.name()).into();
            let read = parse_as(document.format.extension(), &document.text, &name)?;
            Some(read.map_err(|errors| syntax(errors, &name)))
        })
    }

    pub(super) fn warnings(&self) -> impl Iterator<Item = String> {
        self.0.iter().filter_map(|(remote, _)| remote.warning())
    }

    /// The whole config was right with them. Returns what could not be kept on disk.
    pub(super) fn accepted(&self) -> Vec<String> {
        let held = self.0.iter().filter_map(|(remote, held)| Some((remote, held.as_ref()?)));
        held.filter_map(|(remote, held)| remote.accepted(held).err()).collect()
    }
}

/// The secrets that `node` sets, each as an error: whoever can read the document would have them,
/// and a copy of it is kept on disk.
pub(super) fn secrets_in(
    node: &Node,
    schema: &Schema,
    variable: &dyn Fn(&[Step]) -> String,
) -> Vec<Error> {
    let mut errors = Vec::new();
    collect(node, &[schema], &mut Vec::new(), &mut |path, node| {
        let message = format!(
            "a secret cannot come from a remote document, which others can read; use {}_FILE",
            variable(path)
        );
        let error = Error::new(ErrorKind::SecretInRemote, path, message);
        errors.push(error.with_origin(node.origin.clone()));
    });
    errors
}

fn collect(
    node: &Node,
    schemas: &[&Schema],
    path: &mut Vec<Step>,
    found: &mut dyn FnMut(&[Step], &Node),
) {
    if schemas.iter().any(|schema| schema.is_secret()) {
        if !matches!(node.data, Data::Null) {
            found(path, node);
        }
        return;
    }
    match &node.data {
        Data::Table(entries) => {
            for entry in entries {
                let inner: Vec<_> =
                    schemas.iter().flat_map(|schema| schema.inner(&entry.key)).collect();
                path.push(Step::Key(entry.key.clone()));
                collect(&entry.node, &inner, path, found);
                path.pop();
            }
        }
        Data::List(items) => {
            for (index, node) in items.iter().enumerate() {
                let inner: Vec<_> = schemas.iter().flat_map(|schema| schema.item(index)).collect();
                path.push(Step::Index(index));
                collect(node, &inner, path, found);
                path.pop();
            }
        }
        _ => {}
    }
}
