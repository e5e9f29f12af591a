//! The documents of remote sources, as they are at one load.

use super::error::{Error, ErrorKind, Origin};
use super::loader::Loader;
use super::parse::parse_as;
use super::references::plain_secrets;
use super::remote::{Held, Remote};
use super::schema::Schema;
use super::source::syntax;
use super::tree::{Node, Step};
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

/// The secrets that `node` holds in plain text, each as an error: whoever can read the document
/// would have them, and a copy of it is kept on disk.
pub(super) fn secrets_in(
    node: &Node,
    schema: &Schema,
    schemes: &[&str],
    variable: &dyn Fn(&[Step]) -> String,
) -> Vec<Error> {
    let error = |(path, origin): (Vec<Step>, Origin)| {
        let message = format!(
            "a secret cannot stand in a remote document, which others can read; use {}_FILE, or a \
             reference to it",
            variable(&path)
        );
        Error::new(ErrorKind::SecretInRemote, &path, message).with_origin(origin)
    };
    plain_secrets(node, schema, schemes).into_iter().map(error).collect()
}
