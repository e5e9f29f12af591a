//! What is wrong with settings that each for itself are right, and what was found twice.

use super::deserialize::{quotes, secrets};
use super::error::{Error, ErrorKind, Origin};
use super::schema::Schema;
use super::tree::{Node, Step};
use crate::inspect::Problem;
use crate::secret::Secret;
use std::collections::HashSet;

/// In the place of what repeats a secret.
pub(super) const WITHHELD: &str = "refused by the service (details withheld: they repeat a secret)";

/// Keeps secrets of a load out of what others say of it.
#[derive(Default)]
pub(super) struct Screen(Vec<Secret<String>>);

impl Screen {
    /// For what is said of `tree`.
    pub(super) fn of(tree: &Node, schema: &Schema) -> Self {
        Self(secrets(tree, schema).into_iter().map(Secret::new).collect())
    }

    /// `message`, unless it repeats a secret.
    pub(super) fn clean(&self, message: String) -> String {
        if self.repeats(&message) { WITHHELD.to_owned() } else { message }
    }

    /// Whether `text` repeats a secret.
    pub(super) fn repeats(&self, text: &str) -> bool {
        self.0.iter().any(|secret| quotes(text, secret.expose()))
    }
}

/// What the service's own validation found, with the place of each value.
pub(super) fn invalid(problems: Vec<Problem>, tree: &Node, schema: &Schema) -> Vec<Error> {
    let screen = Screen::of(tree, schema);
    let error = |problem: Problem| {
        let keys = problem.key.split('.').filter(|key| !key.is_empty());
        let path: Vec<_> = keys.map(|key| Step::Key(key.to_owned())).collect();
        // A default has no place to look at.
        let origin = tree.nearest(&path).origin.clone();
        let origin = Some(origin).filter(|origin| !path.is_empty() && *origin != Origin::Default);
        let message = screen.clean(problem.message);
        let mut error = Error::new(ErrorKind::Invalid, &path, message).with_origin(origin);
        error.key = problem.key;
        error
    };
    problems.into_iter().map(error).collect()
}

/// Without what two checks found alike.
pub(super) fn unique(errors: Vec<Error>) -> Vec<Error> {
    let mut seen = HashSet::new();
    let mut errors = errors;
    errors.retain(|error| {
        // Errors about whole sources differ by what they say only.
        let message = error.path.is_empty().then(|| error.message.clone());
        seen.insert((error.kind, error.path.clone(), error.origin.clone(), message))
    });
    errors
}
