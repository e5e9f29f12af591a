//! Where settings come from.

use super::absent::Absent;
#[cfg(feature = "reload")]
use super::disk::Consulted;
use super::disk::Disk;
#[cfg(feature = "reload")]
use super::documents::Documents;
use super::env::{Variable, Variables};
use super::error::{Error, ErrorKind, Errors};
use super::keep::Kept;
use super::load::{Pass, Reloading};
use super::references::SecretSource;
#[cfg(feature = "reload")]
use super::remote::Remote;
use super::report::Report;
use super::tree::Node;
use crate::inspect::Problem;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::hash::RandomState;
use std::path::PathBuf;
use std::sync::Arc;

/// The sections of the framework. A service's own settings cannot have these names, whether or not
/// the section is built into it, so that adding one later breaks nobody.
pub const RESERVED_SECTIONS: [&str; 7] =
    ["server", "lifecycle", "telemetry", "flags", "admin", "secrets", "chaos"];

/// How often a load begins anew because a volume was exchanged meanwhile. Kubernetes does so once
/// a minute at most.
const MOST_ATTEMPTS: u32 = 10;

/// Reads settings from all their sources; see the [module](super) for which and how.
///
/// It holds a copy of what the process was given, and reads files when it [loads](Self::load).
#[derive(Clone)]
pub struct Loader {
    pub(super) prefix: String,
    pub(super) variables: Variables,
    pub(super) bare: Vec<(String, String)>,
    pub(super) known: BTreeSet<String>,
    pub(super) absent: Absent,
    pub(super) set: Vec<(String, String)>,
    pub(super) not_text: BTreeSet<String>,
    pub(super) config_dir: Option<PathBuf>,
    pub(super) fallback_dir: Option<PathBuf>,
    pub(super) files: Vec<PathBuf>,
    pub(super) dotenv: Option<PathBuf>,
    #[cfg(feature = "reload")]
    pub(super) remotes: Vec<Remote>,
    pub(super) secrets: Option<Arc<dyn SecretSource>>,
    pub(super) unfollowed: bool,
    /// In place of all files on disk.
    pub(super) texts: Option<Vec<(PathBuf, String)>>,
    pub(super) environment_name: Option<String>,
    /// By which secrets are told apart without keeping them; the same for all loads.
    pub(super) hash: RandomState,
}

/// Variables hold secrets, so their values do not print.
impl std::fmt::Debug for Loader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loader")
            .field("prefix", &self.prefix)
            .field("config_dir", &self.config_dir)
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

/// Settings, and how they came about.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Loaded<F, S> {
    /// The framework's sections.
    pub framework: F,
    /// The service's own settings.
    pub settings: S,
    /// The environment that it runs in: `APP_ENV`, or `development`.
    pub environment: String,
    /// Every setting in effect, with the source that won.
    pub report: Report,
    /// What is probably not as intended, but no error: a variable that nothing reads.
    pub warnings: Vec<String>,
    /// The config files that were read, lowest first.
    pub files: Vec<PathBuf>,
}

/// A load, and what it has read, also where that was wrong.
pub(super) struct Attempt<F, S> {
    pub(super) loaded: Result<Reloading<F, S>, Errors>,
    #[cfg(feature = "reload")]
    pub(super) consulted: Consulted,
    #[cfg(feature = "reload")]
    pub(super) documents: Documents,
}

/// What a load reads beside the variables of the process, as it is at one time.
#[derive(Clone, Copy)]
pub(super) struct Outside<'a> {
    pub(super) disk: &'a Disk,
    #[cfg(feature = "reload")]
    pub(super) documents: &'a Documents,
}

impl Loader {
    /// A loader of a service whose variables begin with `prefix`, such as `ORDERS_`
    /// (see [`Identity::env_prefix`](crate::Identity::env_prefix)).
    ///
    /// It sees no variables until it is given [some](Self::environment).
    pub fn new(prefix: impl Into<String>) -> Self {
        Self {
            prefix: prefix.into(),
            variables: Variables::new(),
            bare: Vec::new(),
            known: BTreeSet::new(),
            absent: Absent::default(),
            set: Vec::new(),
            not_text: BTreeSet::new(),
            config_dir: None,
            fallback_dir: None,
            files: Vec::new(),
            dotenv: None,
            #[cfg(feature = "reload")]
            remotes: Vec::new(),
            secrets: None,
            unfollowed: false,
            texts: None,
            environment_name: None,
            hash: RandomState::new(),
        }
    }

    /// Adds environment variables. In a test these are all there are.
    pub fn environment<K, V>(mut self, variables: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: Into<String>,
        V: Into<String>,
    {
        let variables = variables.into_iter();
        let text = variables.map(|(name, value)| (name.into(), Variable::from(value.into())));
        self.variables.extend(text);
        self
    }

    /// Adds the environment variables of this process.
    pub fn process_environment(mut self) -> Self {
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else {
                continue; // no setting has such a name
            };
            match value.into_string() {
                Ok(value) => {
                    self.variables.insert(name, value.into());
                }
                Err(_) => {
                    self.not_text.insert(name);
                }
            }
        }
        self
    }

    /// Lets the variable `name`, without prefix, set `key` too: `PORT` for `server.port`.
    ///
    /// With the prefix it works as well, and wins. A `key` that the settings lack is no error:
    /// which sections there are depends on features.
    pub fn bare(mut self, name: impl Into<String>, key: impl Into<String>) -> Self {
        self.bare.push((name.into(), key.into()));
        self
    }

    /// Names a variable that somebody else reads, such as `RUST_LOG`: its prefixed form is not
    /// reported as unknown.
    pub fn known_variable(mut self, name: &str) -> Self {
        self.known.insert(format!("{}{name}", self.prefix));
        self
    }

    /// Says that `key`, and what is below it, is there with `feature` only, which is written as Cargo
    /// does: `octostack/tls`, or `tls` if whose it is needs no word. `*` in `key` is any one step.
    ///
    /// Whoever sets it in a service that is built without reads that, and not that nobody knows the
    /// key. A variable that sets it is an error as well, where one that nobody knows is a warning;
    /// below `*` variables set no single keys.
    ///
    /// A `key` that the settings have is no error.
    pub fn with_feature(mut self, key: impl Into<String>, feature: impl Into<String>) -> Self {
        self.absent.note(key.into(), feature.into());
        self
    }

    /// Reads variables from the file `path`, if it exists and the service runs in `development`:
    /// below those of the process, above files. Usually `.env`, beside which nobody wants to type
    /// `export`.
    ///
    /// A line is `NAME=value`, with `export` before it or not. `'…'` is taken as it is, `"…"` may
    /// have `\n`, `\t`, `\"`, `\\` and `\$`; both may go over several lines. Nothing is expanded: where
    /// a shell would, it is an error. The environment of the process stays as it is, so that what
    /// reads that itself does not see them.
    pub fn dotenv(mut self, path: impl Into<PathBuf>) -> Self {
        self.dotenv = Some(path.into());
        self
    }

    /// Takes `default.*` and `{environment}.*` from `dir`, which must exist. Beats `CONFIG_DIR`.
    pub fn config_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.config_dir = Some(dir.into());
        self
    }

    /// Takes them from `dir` if nobody names a directory and there is no `./config`. For debug
    /// builds: the `config/` beside the package's Cargo.toml.
    pub fn fallback_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.fallback_dir = Some(dir.into());
        self
    }

    /// Adds a file, which must exist, over those of the directory and of `CONFIG_FILE`. A later
    /// file wins.
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.files.push(path.into());
        self
    }

    /// Adds a document that was fetched, over all files. A later one wins. What a load sees is what
    /// `remote` holds by then; it may not set secrets.
    #[cfg(feature = "reload")]
    pub fn remote(mut self, remote: &Remote) -> Self {
        self.remotes.push(remote.clone());
        self
    }

    /// Lets `source` follow the references to secrets that this machine does not have.
    pub fn secrets(mut self, source: Arc<dyn SecretSource>) -> Self {
        self.secrets = Some(source);
        self
    }

    /// Follows no references to secrets: each secret is then the text of its reference. For tools
    /// that have no use for secrets, and must not fail for want of one.
    #[must_use]
    pub fn unfollowed(mut self) -> Self {
        self.unfollowed = true;
        self
    }

    /// Takes these as the config files, lowest first, in place of all that are on disk: for tools
    /// that look at the config of another machine. A path says what a file is called, and by its
    /// ending what it is.
    pub fn texts(mut self, files: impl IntoIterator<Item = (PathBuf, String)>) -> Self {
        self.texts = Some(files.into_iter().collect());
        self
    }

    /// Sets the environment that the service runs in. Beats `APP_ENV`.
    pub fn environment_name(mut self, name: impl Into<String>) -> Self {
        self.environment_name = Some(name.into());
        self
    }

    /// Sets `key` above all other sources, as `--set key=value` does. Refused for secrets, since
    /// other processes can read a command line.
    pub fn set(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.set.push((key.into(), value.into()));
        self
    }

    /// Reads everything: the framework's sections as `F`, the service's own settings as `S`.
    ///
    /// # Errors
    /// Everything that is wrong, in one report.
    pub fn load<F, S>(&self) -> Result<Loaded<F, S>, Errors>
    where
        F: Serialize + DeserializeOwned + JsonSchema,
        S: Serialize + DeserializeOwned + JsonSchema,
    {
        self.load_with(|_, _| Vec::new())
    }

    /// As [`load`](Self::load), and asks `validate` about what no single value shows: two settings
    /// that do not go together. It is asked only when each value for itself is right.
    ///
    /// # Errors
    /// Everything that is wrong, in one report.
    pub fn load_with<F, S>(
        &self,
        validate: impl Fn(&F, &S) -> Vec<Problem>,
    ) -> Result<Loaded<F, S>, Errors>
    where
        F: Serialize + DeserializeOwned + JsonSchema,
        S: Serialize + DeserializeOwned + JsonSchema,
    {
        self.attempt(&validate, None, None).loaded.map(|reloading| reloading.loaded)
    }

    /// What was loaded last does not come into effect.
    #[cfg(feature = "reload")]
    pub(super) fn refused(&self) {
        if let Some(secrets) = &self.secrets {
            secrets.refused();
        }
    }

    /// What was loaded last is in effect.
    #[cfg(feature = "reload")]
    pub(super) fn accepted(&self) {
        if let Some(secrets) = &self.secrets {
            secrets.accepted();
        }
    }

    /// As [`load_with`](Self::load_with), at a reload: what only a restart can change is as in
    /// `kept`. Says what it has looked at, also where that was wrong. What remotes hold is used as
    /// it is now. With `sources` these are what files, variables and all others say.
    pub(super) fn attempt<F, S>(
        &self,
        validate: &impl Fn(&F, &S) -> Vec<Problem>,
        kept: Option<&Kept>,
        sources: Option<&Node>,
    ) -> Attempt<F, S>
    where
        F: Serialize + DeserializeOwned + JsonSchema,
        S: Serialize + DeserializeOwned + JsonSchema,
    {
        #[cfg(feature = "reload")]
        let documents = Documents::of(self);
        let mut attempts = 1;
        loop {
            let disk = Disk::new(&self.hash);
            let outside = Outside {
                disk: &disk,
                #[cfg(feature = "reload")]
                documents: &documents,
            };
            let mut loaded = Pass::run(self, outside, validate, kept, sources);
            let torn = disk.torn();
            if torn && attempts < MOST_ATTEMPTS {
                attempts += 1;
                continue;
            }
            if torn {
                let message = "the config is exchanged faster than it can be read";
                let error = Error::new(ErrorKind::Unreadable, &[], message);
                loaded = Err(vec![error].into());
            }
            return Attempt {
                loaded,
                #[cfg(feature = "reload")]
                consulted: disk.into_consulted(),
                #[cfg(feature = "reload")]
                documents,
            };
        }
    }
}
