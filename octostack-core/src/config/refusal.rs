//! What is wrong with settings that each for itself are right, and what was found twice.

use super::deserialize::{quotes, secrets};
use super::error::{Error, ErrorKind, Origin};
use super::schema::Schema;
use super::tree::{Node, Step};
use crate::inspect::Problem;
use std::collections::HashSet;

/// What the service's own validation found, with the place of each value.
pub(super) fn invalid(problems: Vec<Problem>, tree: &Node, schema: &Schema) -> Vec<Error> {
    let secrets = secrets(tree, schema);
    let error = |problem: Problem| {
        let keys = problem.key.split('.').filter(|key| !key.is_empty());
        let path: Vec<_> = keys.map(|key| Step::Key(key.to_owned())).collect();
        // A default has no place to look at.
        let origin = tree.nearest(&path).origin.clone();
        let origin = Some(origin).filter(|origin| !path.is_empty() && *origin != Origin::Default);
        let message = if quotes(&problem.message, &secrets) {
            "refused by the service (details withheld: they repeat a secret)".to_owned()
        } else {
            problem.message
        };
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
