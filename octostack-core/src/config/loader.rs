//! Where settings come from.

use super::dotenv;
use super::env::{OWN, Variable, Variables};
use super::error::{Error, ErrorKind, Errors};
#[cfg(feature = "reload")]
use super::keep::Kept;
use super::load::Pass;
#[cfg(feature = "reload")]
use super::load::Reloading;
use super::report::Report;
use super::source::find;
use crate::inspect::Problem;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::hash::RandomState;
use std::path::{Path, PathBuf};

/// The sections of the framework. A service's own settings cannot have these names, whether or not
/// the section is built into it, so that adding one later breaks nobody.
pub const RESERVED_SECTIONS: [&str; 7] =
    ["server", "lifecycle", "telemetry", "flags", "admin", "secrets", "chaos"];

/// The environment that a service runs in unless it is told.
const DEFAULT_ENVIRONMENT: &str = "development";

/// Reads settings from all their sources; see the [module](super) for which and how.
///
/// It holds a copy of what the process was given, and reads files when it [loads](Self::load).
#[derive(Clone)]
pub struct Loader {
    pub(super) prefix: String,
    pub(super) variables: Variables,
    pub(super) bare: Vec<(String, String)>,
    pub(super) known: BTreeSet<String>,
    pub(super) set: Vec<(String, String)>,
    not_text: BTreeSet<String>,
    config_dir: Option<PathBuf>,
    fallback_dir: Option<PathBuf>,
    files: Vec<PathBuf>,
    dotenv: Option<PathBuf>,
    /// In place of all files on disk.
    pub(super) texts: Option<Vec<(PathBuf, String)>>,
    environment_name: Option<String>,
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

/// Files to read, and the environment's name, once the sources agree.
pub(super) struct Plan {
    pub(super) environment: String,
    pub(super) files: Vec<PathBuf>,
    pub(super) errors: Vec<Error>,
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
            set: Vec::new(),
            not_text: BTreeSet::new(),
            config_dir: None,
            fallback_dir: None,
            files: Vec::new(),
            dotenv: None,
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
        Pass::run(self, validate, None).map(|(loaded, ..)| loaded)
    }

    /// As [`load_with`](Self::load_with), at a reload: what only a restart can change is as in
    /// `kept`. Says what it has read, also where that was wrong.
    #[cfg(feature = "reload")]
    pub(super) fn attempt<F, S>(
        &self,
        validate: &impl Fn(&F, &S) -> Vec<Problem>,
        kept: Option<&Kept>,
    ) -> (Result<Reloading<F, S>, Errors>, super::watch::Consulted)
    where
        F: Serialize + DeserializeOwned + JsonSchema,
        S: Serialize + DeserializeOwned + JsonSchema,
    {
        (Pass::run(self, validate, kept), Default::default())
    }

    /// The name of the environment that the service runs in.
    fn runs_in(&self) -> &str {
        let named = self.environment_name.as_deref();
        let named = named.or_else(|| own(&self.prefix, &self.variables, "APP_ENV"));
        named.unwrap_or(DEFAULT_ENVIRONMENT)
    }

    /// The variables of the process, and below them those of `.env`, if that counts.
    pub(super) fn all_variables(&self, errors: &mut Vec<Error>) -> Variables {
        let mut all = self.variables.clone();
        let counts = self.runs_in() == DEFAULT_ENVIRONMENT;
        if let Some(path) = self.dotenv.as_ref().filter(|path| counts && path.exists()) {
            for (name, variable) in dotenv::read(path, errors) {
                if name == "APP_ENV" || name == format!("{}APP_ENV", self.prefix) {
                    errors.push(dotenv::no_environment(&name, &variable));
                }
                all.entry(name).or_insert(variable);
            }
        }
        all
    }

    /// Prefixed names that are not those of settings.
    pub(super) fn known_names(&self) -> BTreeSet<String> {
        let own = OWN.map(|name| format!("{}{name}", self.prefix));
        self.known.iter().cloned().chain(own).collect()
    }

    /// Variables that would be read but are no text.
    pub(super) fn not_text(&self) -> impl Iterator<Item = Error> + '_ {
        let ours = |name: &&String| {
            let bare = name.strip_suffix("_FILE").unwrap_or(name);
            name.starts_with(&self.prefix)
                || self.bare.iter().any(|(known, _)| known == bare)
                || OWN.contains(&bare)
        };
        self.not_text.iter().filter(ours).map(|name| {
            let message = format!("the variable {name} is not UTF-8 text");
            Error::new(ErrorKind::Unreadable, &[], message)
        })
    }

    /// Decides which files to read. `variables` are those of the process and of `.env`.
    pub(super) fn plan(&self, variables: &Variables) -> Plan {
        let mut errors = Vec::new();
        let environment = self.runs_in().to_owned();
        // It becomes part of a file name, a label and a log field.
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let usable = environment.chars().all(plain) && !environment.starts_with('.');
        if !usable {
            let message = "the name of the environment (APP_ENV) may hold letters, digits, `-`, \
                           `_` and `.`, and cannot begin with `.`";
            errors.push(Error::new(ErrorKind::OutOfRange, &[], message));
        }
        let mut files = Vec::new();
        if self.texts.is_some() {
            return Plan { environment, files, errors };
        }
        if let Some(dir) = self.directory(variables, &mut errors) {
            let mut stems = vec!["default"];
            stems.extend(Some(&*environment).filter(|name| usable && *name != "default"));
            for stem in stems {
                match find(&dir, stem) {
                    Ok(found) => files.extend(found),
                    Err(error) => errors.push(error),
                }
            }
        }
        if let Some(listed) = own(&self.prefix, variables, "CONFIG_FILE") {
            // Several, as in PATH.
            let paths = std::env::split_paths(listed);
            files.extend(paths.filter(|path| !path.as_os_str().is_empty()));
        }
        files.extend(self.files.iter().cloned());
        Plan { environment, files, errors }
    }

    fn directory(&self, variables: &Variables, errors: &mut Vec<Error>) -> Option<PathBuf> {
        let variable = own(&self.prefix, variables, "CONFIG_DIR").map(PathBuf::from);
        if let Some(dir) = self.config_dir.clone().or(variable) {
            if dir.is_dir() {
                return Some(dir);
            }
            let message = format!("the config directory {} does not exist", dir.display());
            errors.push(Error::new(ErrorKind::Unreadable, &[], message));
            return None;
        }
        let usual = Path::new("config").to_path_buf();
        let candidates = [Some(usual), self.fallback_dir.clone()];
        candidates.into_iter().flatten().find(|dir| dir.is_dir())
    }
}

/// The value of a variable that is for the loader itself; the prefixed name wins.
fn own<'a>(prefix: &str, variables: &'a Variables, name: &str) -> Option<&'a str> {
    let prefixed = variables.get(&format!("{prefix}{name}"));
    let variable = prefixed.or_else(|| variables.get(name))?;
    Some(variable.value.as_str()).filter(|value| !value.is_empty())
}
