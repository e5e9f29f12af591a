//! Settings that exist, and are not built into this service.

use super::error::{Error, ErrorKind, Origin};
use super::tree::Step;

/// Keys that are there with a feature only, and with which.
#[derive(Clone, Debug, Default)]
pub(super) struct Absent(Vec<(String, String)>);

impl Absent {
    /// Notes that `key`, and what is below it, needs `feature`. `*` is any one step.
    pub(super) fn note(&mut self, key: String, feature: String) {
        self.0.push((key, feature));
    }

    /// Says of unknown keys what they need, where that is known.
    pub(super) fn explain(&self, errors: &mut [Error]) {
        for error in errors.iter_mut().filter(|error| error.kind == ErrorKind::UnknownKey) {
            let Some(feature) = self.feature(&error.path) else { continue };
            let remedy = match error.origin {
                Some(Origin::Variable { .. } | Origin::DotEnv { .. }) => "unset it",
                _ => "remove the key",
            };
            error.message = format!(
                "it needs the feature {feature}, without which this service is built; add the \
                 feature in its Cargo.toml, or {remedy}"
            );
        }
    }

    fn feature(&self, path: &[Step]) -> Option<String> {
        let matches = |key: &str| {
            let mut path = path.iter();
            key.split('.').all(|part| match path.next() {
                Some(Step::Key(step)) => part == "*" || part == step,
                Some(Step::Index(_)) | None => false,
            })
        };
        let (_, feature) = self.0.iter().find(|(key, _)| matches(key))?;
        Some(match feature.split_once('/') {
            Some((of, feature)) => format!("`{feature}` of `{of}`"),
            None => format!("`{feature}`"),
        })
    }

    /// The key that a variable would set, or one above it. `names` turns a path into variables.
    pub(super) fn set_by<const N: usize>(
        &self,
        variable: &str,
        names: impl Fn(&[&str]) -> [String; N],
    ) -> Option<Vec<&str>> {
        let sets = |keys: &Vec<&str>| {
            names(keys).iter().any(|name| {
                let rest = variable.strip_prefix(name.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
            })
        };
        self.0.iter().map(|(key, _)| key.split('.').collect()).find(sets)
    }
}
