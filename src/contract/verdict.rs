//! What the service itself says of sources that are not its own.
use crate::framework::Framework;
use octostack_core::config::{Error, Loader, Origin};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a loader says of its sources.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// The framework's sections; the defaults where a source is too broken to tell.
    pub(crate) framework: Framework,
    pub(super) errors: Vec<Error>,
    /// Variables that nothing reads, with what was probably meant.
    pub(super) warnings: Vec<String>,
    /// Secrets that are set, and where.
    pub(super) secrets: Vec<(String, Origin)>,
}

/// Any settings at all.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Anything {
    #[serde(flatten)]
    all: BTreeMap<String, Free>,
}

/// Any value at all.
type Free = serde_json::Value;

impl Verdict {
    /// What the loader `sources` says, for a service with the settings `S`.
    ///
    /// The framework's sections are known also where the service's own settings lack something.
    pub(crate) fn of<S>(sources: &Loader) -> Self
    where
        S: Serialize + DeserializeOwned + JsonSchema,
    {
        // Whether a secret is where a reference leads shows only where the service runs.
        let sources = sources.clone().unfollowed();
        let loaded = sources.load_with(|framework: &Framework, _: &S| framework.problems());
        match loaded {
            Ok(loaded) => {
                let secrets = loaded.report.iter().filter(|setting| setting.secret);
                let secrets = secrets.map(|setting| (setting.key.clone(), setting.origin.clone()));
                Self {
                    secrets: secrets.collect(),
                    framework: loaded.framework,
                    errors: Vec::new(),
                    warnings: loaded.warnings,
                }
            }
            Err(errors) => {
                let sections = sources.load::<Framework, Anything>();
                Self {
                    framework: sections.map(|loaded| loaded.framework).unwrap_or_default(),
                    errors: errors.iter().cloned().collect(),
                    warnings: errors.warnings().to_vec(),
                    secrets: Vec::new(),
                }
            }
        }
    }
}
