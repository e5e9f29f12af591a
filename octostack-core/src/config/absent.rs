//! Settings that exist, and are not built into this service.

use super::error::{Error, ErrorKind};
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
            if let Some(needs) = self.needs(&error.path) {
                error.message = format!("{needs}, or remove the key");
            }
        }
    }

    fn needs(&self, path: &[Step]) -> Option<String> {
        let matches = |key: &str| {
            let mut path = path.iter();
            key.split('.').all(|part| match path.next() {
                Some(Step::Key(step)) => part == "*" || part == step,
                Some(Step::Index(_)) | None => false,
            })
        };
        self.0.iter().find(|(key, _)| matches(key)).map(|(_, feature)| missing(feature))
    }

    /// What a variable needs that would set such a key. `names` turns a path into variables.
    pub(super) fn variable_needs<const N: usize>(
        &self,
        variable: &str,
        names: impl Fn(&[&str]) -> [String; N],
    ) -> Option<String> {
        let sets = |key: &str| {
            names(&key.split('.').collect::<Vec<_>>()).iter().any(|name| {
                let rest = variable.strip_prefix(name.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
            })
        };
        self.0.iter().find(|(key, _)| sets(key)).map(|(_, feature)| missing(feature))
    }
}

fn missing(feature: &str) -> String {
    let feature = match feature.split_once('/') {
        Some((of, feature)) => format!("`{feature}` of `{of}`"),
        None => format!("`{feature}`"),
    };
    format!(
        "it needs the feature {feature}, without which this service is built; add the feature in \
         its Cargo.toml"
    )
}
