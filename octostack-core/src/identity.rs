//! Who this process is: the fields that every signal of it carries.
//!
//! ```
//! use octostack_core::Identity;
//!
//! let me = Identity::new("orders", "1.4.2").with_owner("team-shop").with_environment("production");
//! assert_eq!(me.name, "orders");
//! assert!(!me.instance.is_empty());
//! ```
use crate::inspect::Value;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

/// Name, version and origin of a service, and which instance of it this is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// Name of the service: the package name, unless told otherwise.
    pub name: String,
    /// Version of the service.
    pub version: String,
    /// Commit that it was built from, if the build knew.
    pub commit: Option<String>,
    /// Who owns it: a team or a mail address.
    pub owner: Option<String>,
    /// Where the runbook is.
    pub runbook: Option<String>,
    /// Where it runs: `development` unless told otherwise.
    pub environment: String,
    /// Which instance this is: name of the pod or host, and eight random hexadecimal digits, so
    /// that a restart can be told from the process before it.
    pub instance: String,
}

impl Identity {
    /// The identity of a service in environment `development`, with a new instance name.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        let host = ["POD_NAME", "HOSTNAME"].into_iter().find_map(|key| std::env::var(key).ok());
        let host = host.or_else(|| std::fs::read_to_string("/etc/hostname").ok());
        let host = host.as_deref().map(str::trim).filter(|h| !h.is_empty()).unwrap_or("local");
        // A freshly keyed hasher is the standard library's only source of randomness, and enough
        // to tell two instances apart.
        let random = RandomState::new().hash_one(std::process::id());
        Self {
            name: name.into(),
            version: version.into(),
            commit: None,
            owner: None,
            runbook: None,
            environment: "development".into(),
            instance: format!("{host}-{:08x}", random & 0xffff_ffff),
        }
    }

    /// Sets the commit; empty means unknown.
    pub fn with_commit(mut self, commit: impl Into<String>) -> Self {
        self.commit = Some(commit.into()).filter(|c| !c.is_empty());
        self
    }

    /// Sets the owner; empty means unknown.
    pub fn with_owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = Some(owner.into()).filter(|o| !o.is_empty());
        self
    }

    /// Sets the address of the runbook; empty means unknown.
    pub fn with_runbook(mut self, runbook: impl Into<String>) -> Self {
        self.runbook = Some(runbook.into()).filter(|r| !r.is_empty());
        self
    }

    /// Sets the environment.
    pub fn with_environment(mut self, environment: impl Into<String>) -> Self {
        self.environment = environment.into();
        self
    }

    /// The prefix of its environment variables: the name in capitals, other characters as `_`, and
    /// one `_` at the end.
    ///
    /// ```
    /// # use octostack_core::Identity;
    /// assert_eq!(Identity::new("price-feed", "1.0.0").env_prefix(), "PRICE_FEED_");
    /// ```
    pub fn env_prefix(&self) -> String {
        let letter = |c: char| {
            if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }
        };
        self.name.chars().map(letter).chain(['_']).collect()
    }

    /// How it looks on a status page.
    pub fn status(&self) -> Value {
        Value::map([
            ("name", self.name.clone().into()),
            ("version", self.version.clone().into()),
            ("commit", self.commit.clone().into()),
            ("owner", self.owner.clone().into()),
            ("runbook", self.runbook.clone().into()),
            ("environment", self.environment.clone().into()),
            ("instance", Value::from(self.instance.clone())),
        ])
    }
}
