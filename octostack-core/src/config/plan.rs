//! Which files and variables a load reads.

use super::disk::Disk;
use super::dotenv;
use super::env::{OWN, Variables};
use super::error::{Error, ErrorKind};
use super::loader::Loader;
use super::source::find;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The environment that a service runs in unless it is told.
const DEFAULT_ENVIRONMENT: &str = "development";

/// Files to read, and the environment's name, once the sources agree.
pub(super) struct Plan {
    pub(super) environment: String,
    pub(super) files: Vec<PathBuf>,
    /// How many of them, the first ones, are of the config directory.
    pub(super) of_directory: usize,
    pub(super) errors: Vec<Error>,
}

impl Loader {
    /// The name of the environment that the service runs in.
    fn runs_in(&self) -> &str {
        let named = self.environment_name.as_deref();
        let named = named.or_else(|| own(&self.prefix, &self.variables, "APP_ENV"));
        named.unwrap_or(DEFAULT_ENVIRONMENT)
    }

    /// The value of a variable that is no setting, such as `CONFIG_URL`: with the prefix, else
    /// without. Those of a [`.env`](Self::dotenv) count where they do for settings. Nothing if it is
    /// empty.
    pub fn variable(&self, name: &str) -> Option<String> {
        // What is wrong with the file is told by the load.
        let variables = self.all_variables(&Disk::new(&self.hash), &mut Vec::new());
        own(&self.prefix, &variables, name).map(str::to_owned)
    }

    /// All variables, those of a [`.env`](Self::dotenv) too where they count.
    pub fn variables(&self) -> Vec<(String, String)> {
        let variables = self.all_variables(&Disk::new(&self.hash), &mut Vec::new());
        variables.iter().map(|(name, variable)| (name.clone(), variable.value.clone())).collect()
    }

    /// The variables of the process, and below them those of `.env`, if that counts.
    pub(super) fn all_variables(&self, disk: &Disk, errors: &mut Vec<Error>) -> Cow<'_, Variables> {
        let mut all = Cow::Borrowed(&self.variables);
        let counts = self.runs_in() == DEFAULT_ENVIRONMENT;
        if let Some(path) =
            self.dotenv.as_ref().filter(|path| counts && disk.exists(path) == Ok(true))
        {
            for (name, variable) in dotenv::read(path, disk, errors) {
                let chooses = name == "APP_ENV" || name == format!("{}APP_ENV", self.prefix);
                if chooses && variable.value != DEFAULT_ENVIRONMENT {
                    errors.push(dotenv::no_environment(&name, &variable));
                }
                if !self.variables.contains_key(&name) {
                    all.to_mut().insert(name, variable);
                }
            }
        }
        all
    }

    /// The directory of what a platform attaches.
    pub(super) fn binding_root<'a>(&self, variables: &'a Variables) -> Option<&'a Path> {
        own(&self.prefix, variables, "SERVICE_BINDING_ROOT").map(Path::new)
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
    pub(super) fn plan(&self, variables: &Variables, disk: &Disk) -> Plan {
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
            return Plan { environment, files, of_directory: 0, errors };
        }
        if let Some(dir) = self.directory(variables, disk, &mut errors) {
            let mut stems = vec!["default"];
            stems.extend(Some(&*environment).filter(|name| usable && *name != "default"));
            for stem in stems {
                match find(&dir, stem, disk) {
                    Ok(found) => files.extend(found),
                    Err(error) => errors.push(error),
                }
            }
        }
        let of_directory = files.len();
        if let Some(listed) = own(&self.prefix, variables, "CONFIG_FILE") {
            // Several, as in PATH.
            let paths = std::env::split_paths(listed);
            files.extend(paths.filter(|path| !path.as_os_str().is_empty()));
        }
        files.extend(self.files.iter().cloned());
        Plan { environment, files, of_directory, errors }
    }

    fn directory(
        &self,
        variables: &Variables,
        disk: &Disk,
        errors: &mut Vec<Error>,
    ) -> Option<PathBuf> {
        let variable = own(&self.prefix, variables, "CONFIG_DIR").map(PathBuf::from);
        if let Some(dir) = self.config_dir.clone().or(variable) {
            if disk.is_dir(&dir) {
                return Some(dir);
            }
            let message = format!("the config directory {} does not exist", dir.display());
            errors.push(Error::new(ErrorKind::Unreadable, &[], message));
            return None;
        }
        let usual = Path::new("config").to_path_buf();
        let candidates = [Some(usual), self.fallback_dir.clone()];
        candidates.into_iter().flatten().find(|dir| disk.is_dir(dir))
    }
}

/// The value of a variable that is for the loader itself; the prefixed name wins.
fn own<'a>(prefix: &str, variables: &'a Variables, name: &str) -> Option<&'a str> {
    let prefixed = variables.get(&format!("{prefix}{name}"));
    let variable = prefixed.or_else(|| variables.get(name))?;
    Some(variable.value.as_str()).filter(|value| !value.is_empty())
}
