//! References to secrets: what stands in the settings in the place of a secret is followed, once
//! all sources have spoken.
//!
//! Variables, files and credentials of the unit are read by the load itself, like all else that it
//! reads, so that a change of a file is noticed. For all others there is a [`SecretSource`].

use super::disk::Disk;
use super::env::Variables;
use super::error::{Error, ErrorKind, Origin};
use super::schema::Schema;
use super::suggest::nearest;
use super::text;
use super::tree::{Data, Node, Step, display};
use crate::inspect::Problem;
use crate::secret::local::{self, Machine, Place};
use crate::secret::reference::SCHEMES;
use crate::secret::{Secret, SecretRef};
use serde_json::Value as Json;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

/// The section of the settings that is for the source itself.
pub(super) const SECTION: &str = "secrets";

/// Whoever follows references to secrets that are elsewhere.
///
/// It is asked by each load, in the thread of the load, which may wait; one load at a time.
pub trait SecretSource: Send + Sync {
    /// Schemes of its references, beside those that always mean one.
    fn schemes(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// Takes the section `secrets` of the settings, with what this machine has in its place.
    ///
    /// # Errors
    /// What is wrong with it, by keys within the section. Nothing then is resolved. What its schema
    /// tells need not be told again.
    fn configure(&self, section: &Json) -> Result<(), Vec<Problem>>;

    /// Follows all of `wanted`, in their order: each is the secret, or why it cannot be had.
    /// What [`found`](Wanted::found) tells was read already, and is only put on record.
    fn resolve(&self, wanted: &[Wanted]) -> Vec<Result<Secret<String>, String>>;

    /// The settings with what was resolved last are in effect now.
    fn accepted(&self) {}

    /// They did not come into effect: what was said last is as if it had not been.
    fn refused(&self) {}

    /// Waits until a secret that is in the settings is another one.
    fn changed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::pending())
    }
}

/// A secret that a load wants.
#[derive(Debug)]
#[non_exhaustive]
pub struct Wanted {
    /// The key of the setting.
    pub key: String,
    /// Where it is.
    pub reference: SecretRef,
    /// The secret if this machine should have it, or why it has not.
    pub found: Option<Result<Secret<String>, String>>,
}

/// What has come of reading a secret that this machine should have.
type Read = Result<Secret<String>, String>;

/// A reference in the tree.
struct Found {
    path: Vec<Step>,
    text: String,
    origin: Origin,
}

/// What a load follows references with.
pub(super) struct Follower<'a> {
    pub(super) schema: &'a Schema,
    pub(super) source: Option<&'a dyn SecretSource>,
    /// References stay as they are.
    pub(super) unfollowed: bool,
    pub(super) variables: &'a Variables,
    pub(super) disk: &'a Disk,
}

/// What has come of the references of a load.
#[derive(Default)]
pub(super) struct Followed {
    pub(super) errors: Vec<Error>,
    pub(super) warnings: Vec<String>,
    /// Variables that were read.
    pub(super) variables: Vec<String>,
    /// Whether somebody else was asked for any: they may change by themselves.
    pub(super) asked: bool,
}

impl Follower<'_> {
    /// Puts secrets in the place of all references in `tree`.
    pub(super) fn follow(&self, tree: &mut Node) -> Followed {
        let mut followed = Followed::default();
        let schemes = self.source.map(SecretSource::schemes).unwrap_or_default();
        for (found, meant) in misspelt(tree, self.schema, &schemes) {
            followed.errors.push(found.error(format!(
                "begins almost like a reference; was `{meant}://` meant? If it is the secret \
                 itself, give it in a file, by the variable that ends with `_FILE`"
            )));
        }
        let mut wanted = Vec::new();
        for found in references(tree, self.schema, &schemes) {
            let reference: SecretRef = match found.text.parse() {
                Ok(reference) => reference,
                Err(wrong) => {
                    followed.errors.push(found.error(format!("no reference: {wrong}")));
                    continue;
                }
            };
            if self.unfollowed {
                if let Some(node) = tree.at_mut(&found.path) {
                    node.origin = found.leads(&reference);
                }
                continue;
            }
            if !local::SCHEMES.contains(&reference.scheme()) {
                wanted.push((found, reference, None));
                continue;
            }
            let read = self.read(&reference, &mut followed);
            wanted.push((found, reference, Some(read)));
        }
        for (found, reference, read) in &wanted {
            match read {
                Some(Ok(secret)) => self.put(tree, found, reference, secret, &mut followed),
                Some(Err(what)) => {
                    followed.errors.push(found.error(format!("{reference}: {what}")));
                }
                None => {} // is elsewhere
            }
        }
        self.elsewhere(tree, wanted, &mut followed);
        followed
    }

    /// What this machine has.
    fn read(
        &self,
        reference: &SecretRef,
        followed: &mut Followed,
    ) -> Result<Secret<String>, String> {
        match local::place(reference, self)? {
            Place::Variable(name) => {
                let text = self.variables.get(&name).map_or("", |variable| &variable.value);
                let schemes = self.source.map(SecretSource::schemes).unwrap_or_default();
                if SecretRef::is_meant(text, &schemes) {
                    return Err(format!(
                        "the variable {name} holds a reference itself; write that in its place"
                    ));
                }
                followed.variables.push(name);
            }
            Place::Path(path) => {
                let within = reference.field().filter(|_| self.is_dir(&path));
                let path = within.map_or_else(|| path.clone(), |field| path.join(field));
                followed.warnings.extend(local::readable_by_all(&path));
            }
        }
        local::read(reference, self)?.select(reference.field())
    }

    /// Asks the source for all others at once.
    fn elsewhere(
        &self,
        tree: &mut Node,
        wanted: Vec<(Found, SecretRef, Option<Read>)>,
        followed: &mut Followed,
    ) {
        let Some(source) = self.source else {
            for (found, reference, _) in wanted.iter().filter(|(.., secret)| secret.is_none()) {
                let scheme = reference.scheme();
                let what = format!("nobody here follows references of `{scheme}://`");
                followed.errors.push(found.error(what));
            }
            return;
        };
        let is_own = |found: &Found| found.path.first() == Some(&Step::Key(SECTION.to_owned()));
        let (own, others): (Vec<_>, Vec<_>) =
            wanted.into_iter().partition(|(found, _, secret)| is_own(found) && secret.is_none());
        for (found, ..) in &own {
            let what = "it is needed to reach secrets that are elsewhere, and so cannot be one; \
                        use `env://`, `file://` or `cred://`";
            followed.errors.push(found.error(what.to_owned()));
        }
        if !own.is_empty() {
            return;
        }
        let section = tree.get(SECTION).map_or(Json::Null, Node::to_json);
        if let Err(problems) = source.configure(&section) {
            followed.errors.extend(problems.into_iter().map(|problem| {
                let keys = problem.key.split('.').filter(|key| !key.is_empty());
                let keys: Vec<_> = [SECTION].into_iter().chain(keys).collect();
                let path: Vec<_> = keys.iter().map(|key| Step::Key((*key).to_owned())).collect();
                let origin = tree.nearest(&path).origin.clone();
                let origin = Some(origin).filter(|origin| *origin != Origin::Default);
                Error::new(ErrorKind::Invalid, &path, problem.message).with_origin(origin)
            }));
            return;
        }
        let (places, wanted): (Vec<_>, Vec<_>) = others
            .into_iter()
            .map(|(found, reference, secret)| {
                let key = display(&found.path);
                (found, Wanted { key, reference, found: secret })
            })
            .unzip();
        for ((found, wanted), answer) in places.iter().zip(&wanted).zip(source.resolve(&wanted)) {
            let reference = &wanted.reference;
            match (&wanted.found, answer) {
                (Some(Ok(_)), Ok(_)) | (Some(Err(_)), _) => {} // as it was
                (None, Ok(secret)) => {
                    followed.asked = true;
                    self.put(tree, found, reference, &secret, followed);
                }
                (_, Err(what)) => followed.errors.push(found.error(format!("{reference}: {what}"))),
            }
        }
    }

    /// Puts `secret` where the reference stands.
    fn put(
        &self,
        tree: &mut Node,
        found: &Found,
        reference: &SecretRef,
        secret: &Secret<String>,
        followed: &mut Followed,
    ) {
        let origin = found.leads(reference);
        let schemas = self.schema.at(&found.path);
        let value = text::read(secret.expose(), &schemas, &origin);
        if let (Some(value), Some(node)) = (value, tree.at_mut(&found.path)) {
            (node.data, node.origin) = (value.data, value.origin);
        } else {
            let expected = text::expected(&schemas);
            let what = format!("{reference}: expected {expected}, got other text");
            followed.errors.push(found.error(what));
        }
    }
}

impl Found {
    /// Where a secret is from that `reference` leads to.
    fn leads(&self, reference: &SecretRef) -> Origin {
        Origin::Reference {
            reference: reference.as_str().into(),
            at: Arc::new(self.origin.clone()),
        }
    }

    fn error(&self, what: String) -> Error {
        Error::new(ErrorKind::Reference, &self.path, what).with_origin(self.origin.clone())
    }
}

impl Machine for Follower<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).map(|variable| variable.value.clone())
    }

    fn read(&self, path: &Path) -> Result<String, String> {
        self.disk.read_text(path)
    }

    fn is_dir(&self, path: &Path) -> bool {
        self.disk.is_dir(path)
    }

    fn names(&self, path: &Path) -> Result<Vec<String>, String> {
        self.disk.names(path).map_err(|error| error.to_string())
    }
}

/// All references in `tree`: texts in the place of a secret, or of a part of a binding, that are
/// written so by somebody who could have written a reference. What a file of a variable or of a
/// binding holds is the secret itself.
fn references(tree: &Node, schema: &Schema, schemes: &[&str]) -> Vec<Found> {
    let mut all = Vec::new();
    secrets(tree, schema, |found| {
        if SecretRef::is_meant(&found.text, schemes) {
            all.push(found);
        }
    });
    all
}

/// Texts that are no references by a slip, such as `valt://kv/orders`, and the scheme that was
/// meant: taken for the secret itself, the secret would be what anybody can read in the config.
fn misspelt<'a>(tree: &Node, schema: &Schema, schemes: &'a [&'a str]) -> Vec<(Found, &'a str)> {
    let mut all = Vec::new();
    secrets(tree, schema, |found| {
        let written = found.text.split_once("://").map(|(scheme, _)| scheme);
        let written = written.filter(|_| !SecretRef::is_meant(&found.text, schemes));
        let known = SCHEMES.into_iter().chain(schemes.iter().copied());
        if let Some(meant) = written.and_then(|written| nearest(written, known)) {
            all.push((found, meant));
        }
    });
    all
}

/// Shows `see` each text in the place of a secret that could be a reference.
fn secrets(tree: &Node, schema: &Schema, mut see: impl FnMut(Found)) {
    walk(tree, &[schema], &mut Vec::new(), false, &mut |path, node, secret| {
        let Data::Text(text) = &node.data else { return };
        let itself = matches!(node.origin, Origin::VariableFile { .. } | Origin::Binding { .. });
        if secret && !itself {
            let (path, text, origin) = (path.to_vec(), text.clone(), node.origin.clone());
            see(Found { path, text, origin });
        }
    });
}

/// The secrets that `node` holds in plain text, each with its place.
pub(super) fn plain_secrets(
    node: &Node,
    schema: &Schema,
    schemes: &[&str],
) -> Vec<(Vec<Step>, Origin)> {
    let mut found = Vec::new();
    walk(node, &[schema], &mut Vec::new(), false, &mut |path, node, secret| {
        let around = schema.at(path);
        // Parts of a binding are secrets that are marked so.
        let secret = secret && around.iter().any(|schema| schema.is_secret());
        let harmless = match &node.data {
            Data::Null => true,
            Data::Text(text) => {
                // That it is empty is told of as such.
                let known = text.is_empty() || SecretRef::is_meant(text, schemes);
                known || is_open_url(path, text, schema)
            }
            _ => false,
        };
        if secret && !harmless {
            found.push((path.to_vec(), node.origin.clone()));
        }
    });
    found
}

/// Whether `text` is the address of a binding, without anything in it that is a secret.
fn is_open_url(path: &[Step], text: &str, schema: &Schema) -> bool {
    let is_binding = |path: &[Step]| schema.at(path).iter().any(|it| it.binding.is_some());
    let url = Step::Key(super::bindings::URL.to_owned());
    let of_binding = |(last, around): (&Step, &[Step])| *last == url && is_binding(around);
    let is_url = is_binding(path) || path.split_last().is_some_and(of_binding);
    #[cfg(feature = "bindings")]
    let open = crate::binding::secrets_in(text).is_empty();
    #[cfg(not(feature = "bindings"))]
    let open = text.is_empty();
    is_url && open
}

/// Shows every leaf to `see`, and whether it is a secret or in one.
fn walk<'a>(
    node: &Node,
    schemas: &[&'a Schema],
    path: &mut Vec<Step>,
    within: bool,
    see: &mut dyn FnMut(&[Step], &Node, bool),
) {
    let secret = within || schemas.iter().any(|schema| schema.is_secret());
    let mut below = |step: Step, node: &Node, inner: Vec<&'a Schema>| {
        path.push(step);
        walk(node, &inner, path, secret, see);
        path.pop();
    };
    match &node.data {
        Data::Table(entries) => {
            for entry in entries {
                let inner = schemas.iter().flat_map(|schema| schema.inner(&entry.key));
                below(Step::Key(entry.key.clone()), &entry.node, inner.collect());
            }
        }
        Data::List(items) => {
            for (index, node) in items.iter().enumerate() {
                let inner = schemas.iter().flat_map(|schema| schema.item(index));
                below(Step::Index(index), node, inner.collect());
            }
        }
        _ => see(path, node, secret),
    }
}
