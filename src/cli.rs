//! The command line: what the process is asked to do.
mod help;

pub(crate) use help::{Task, help, list};

use crate::contract::Format;
use octostack_core::config::Loader;
use octostack_core::duration;
use octostack_core::secret::audit::Anchor;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the process is asked to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Command {
    /// Serve.
    #[default]
    Run,
    /// Load and validate the config, and say what is wrong.
    Check,
    /// Say which settings are in effect, or what can be set.
    Config(Settings),
    /// Print what the service needs and offers.
    Contract(Format),
    /// Say where manifests contradict it.
    ContractCheck,
    /// Ask a running instance whether it is ready.
    Health,
    /// Run an admin task, or list them.
    Admin,
    /// Say whether an audit log is as it was written.
    SecretsVerify,
    /// Print how to use it.
    Help,
    /// Print name and version.
    Version,
}

/// What the command `config` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settings {
    /// Those in effect with their sources, for people.
    InEffect,
    /// The same as JSON.
    Json,
    /// A table of all keys, as Markdown.
    Docs,
    /// The JSON Schema of a config file.
    Schema,
    /// A config file to begin from.
    Default,
}

/// A command line, understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) command: Command,
    files: Vec<PathBuf>,
    /// Config documents that are to be fetched.
    pub(crate) urls: Vec<String>,
    config_dir: Option<PathBuf>,
    set: Vec<(String, String)>,
    /// Manifests to check; `-` is standard input.
    pub(crate) manifests: Vec<PathBuf>,
    /// The container to look at in them.
    pub(crate) container: Option<String>,
    /// Where the instance is that is to be asked.
    pub(crate) url: Option<String>,
    /// The audit log to verify.
    pub(crate) log: Option<PathBuf>,
    /// A line of it that is known from elsewhere.
    pub(crate) head: Option<Anchor>,
    /// The setting or section to show.
    pub(crate) key: Option<String>,
    /// The admin task to run.
    pub(crate) task: Option<String>,
    /// What is after its name.
    pub(crate) task_words: Vec<OsString>,
    /// How long to wait for another instance of it.
    pub(crate) wait: Option<Duration>,
}

/// What is wrong with a command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UsageError(String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; see --help", self.0)
    }
}

impl From<lexopt::Error> for UsageError {
    fn from(error: lexopt::Error) -> Self {
        Self(error.to_string())
    }
}

impl Arguments {
    /// Understands the arguments after the program's name.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, UsageError> {
        use lexopt::prelude::*;
        let mut parser = lexopt::Parser::from_args(arguments);
        let mut understood = Self::default();
        let mut command = None;
        let (mut format, mut part, mut verb) = (None, None, None);
        while let Some(argument) = parser.next()? {
            match argument {
                Short('h') | Long("help") => {
                    return Ok(Self { command: Command::Help, ..understood });
                }
                Short('V') | Long("version") => {
                    return Ok(Self { command: Command::Version, ..understood });
                }
                Short('c') | Long("config") => understood.add(&parser.value()?)?,
                Long("config-dir") => understood.config_dir = Some(parser.value()?.into()),
                Long("set") => understood.set.push(pair(&parser.value()?)?),
                Long("format") => format = Some(parser.value()?.string()?),
                Long(name @ ("docs" | "schema" | "default")) => {
                    let chosen = match name {
                        "docs" => Settings::Docs,
                        "schema" => Settings::Schema,
                        _ => Settings::Default,
                    };
                    if part.replace(chosen).is_some_and(|before| before != chosen) {
                        let message = "--docs, --schema and --default exclude each other";
                        return Err(UsageError(message.into()));
                    }
                }
                Long("head") => {
                    let head = parser.value()?.string()?;
                    understood.head = Some(head.parse().map_err(UsageError)?);
                }
                Long("wait") => understood.wait = Some(wait(parser.optional_value().as_deref())?),
                Long("url") => understood.url = Some(parser.value()?.string()?),
                Long("container") => understood.container = Some(parser.value()?.string()?),
                Value(word) if command.is_none() => command = Some(command_of(&word)?),
                Value(word) if command == Some(Command::Admin) => {
                    understood.task = Some(word.string()?);
                    // All of them, also those that look like ours.
                    understood.task_words = parser.raw_args()?.collect();
                    break;
                }
                Value(word) if command == Some(Command::ContractCheck) => {
                    understood.manifests.push(word.into());
                }
                Value(word) if word == "check" && matches!(command, Some(Command::Contract(_))) => {
                    command = Some(Command::ContractCheck);
                }
                Value(word) if command == Some(Command::SecretsVerify) => {
                    understood.secrets(&word, &mut verb)?;
                }
                Value(word) if command == Some(Command::Config(Settings::InEffect)) => {
                    if understood.key.replace(word.string()?).is_some() {
                        return Err(UsageError("`config` shows one key or section".into()));
                    }
                }
                other => return Err(other.unexpected().into()),
            }
        }
        understood.command = command.unwrap_or_default();
        understood.choose(format.as_deref(), part)?.complete()
    }

    /// Gives the options that say what is printed to the command that they are for.
    fn choose(mut self, format: Option<&str>, part: Option<Settings>) -> Result<Self, UsageError> {
        let wrong = |message: &str| Err(UsageError(message.into()));
        match (&mut self.command, part, format) {
            (_, None, None) => {}
            (Command::Config(settings), None, Some(format)) => {
                *settings = match format {
                    "text" => Settings::InEffect,
                    "json" => Settings::Json,
                    other => return Err(no_format(other, "text and json")),
                };
            }
            (Command::Config(_), Some(_), _) if self.key.is_some() => {
                return wrong("--docs, --schema and --default are about all keys");
            }
            (Command::Config(settings), Some(part), None) => *settings = part,
            (Command::Config(_), Some(_), Some(_)) => {
                return wrong("--docs, --schema and --default have one format each");
            }
            (Command::Contract(chosen), None, Some(format)) => *chosen = format_of(format)?,
            (_, Some(_), _) => return wrong("--docs, --schema and --default are for `config`"),
            (_, None, Some(_)) => return wrong("--format is for `config` and `contract`"),
        }
        Ok(self)
    }

    /// Looks whether `contract check` has what it needs.
    fn complete(self) -> Result<Self, UsageError> {
        let checks = self.command == Command::ContractCheck;
        let verifies = self.command == Command::SecretsVerify;
        if self.head.is_some() && !verifies {
            return Err(UsageError("--head is for `secrets verify`".into()));
        }
        if verifies && self.log.is_none() {
            return Err(UsageError("`secrets verify` needs the file of an audit log".into()));
        }
        if self.url.is_some() && self.command != Command::Health {
            return Err(UsageError("--url is for `health`".into()));
        }
        if self.wait.is_some() && self.command != Command::Admin {
            return Err(UsageError("--wait is for `admin`".into()));
        }
        if self.container.is_some() && !checks {
            return Err(UsageError("--container is for `contract check`".into()));
        }
        if checks && self.manifests.is_empty() {
            let message = "`contract check` needs a manifest: a file, or - for standard input";
            return Err(UsageError(message.into()));
        }
        Ok(self)
    }

    /// Adds a word after `secrets`: what to do, and with which file.
    fn secrets(&mut self, word: &OsStr, verb: &mut Option<OsString>) -> Result<(), UsageError> {
        match verb {
            None if word == "verify" => *verb = Some(word.to_owned()),
            None => {
                let word = word.to_string_lossy();
                let word = word.escape_debug();
                let what = format!("`secrets` has no command `{word}`; there is `secrets verify`");
                return Err(UsageError(what));
            }
            Some(_) if self.log.is_none() => self.log = Some(word.into()),
            Some(_) => return Err(UsageError("`secrets verify` takes one file".into())),
        }
        Ok(())
    }

    /// The config directory that is named, if one is.
    pub(crate) fn dir(&self) -> Option<&Path> {
        self.config_dir.as_deref()
    }

    /// Adds the keys that the command line sets.
    pub(crate) fn set_keys(&self, loader: Loader) -> Loader {
        self.set.iter().fold(loader, |loader, (key, value)| loader.set(key, value))
    }

    /// Adds a file, or an address.
    fn add(&mut self, named: &OsStr) -> Result<(), UsageError> {
        match named.to_str().filter(|text| text.contains("://")) {
            None => self.files.push(named.into()),
            Some(url) if cfg!(feature = "config-http") => self.urls.push(url.to_owned()),
            Some(_) => {
                let what = "--config takes a file; this service is built without `config-http`";
                return Err(UsageError(what.to_owned()));
            }
        }
        Ok(())
    }

    /// Adds what the command line says about the config.
    pub(crate) fn configure(&self, mut loader: Loader) -> Loader {
        if let Some(dir) = &self.config_dir {
            loader = loader.config_dir(dir);
        }
        for file in &self.files {
            loader = loader.file(file);
        }
        self.set_keys(loader)
    }
}

fn command_of(word: &OsStr) -> Result<Command, UsageError> {
    match word.to_str() {
        Some("run") => Ok(Command::Run),
        Some("check") => Ok(Command::Check),
        Some("config") => Ok(Command::Config(Settings::InEffect)),
        Some("contract") => Ok(Command::Contract(Format::default())),
        Some("health") => Ok(Command::Health),
        Some("admin") => Ok(Command::Admin),
        Some("secrets") => Ok(Command::SecretsVerify),
        Some("help") => Ok(Command::Help),
        Some("version") => Ok(Command::Version),
        _ => Err(UsageError(format!(
            "there is no command `{}`; the commands are run, check, config, contract, health, \
             admin and secrets",
            word.to_string_lossy().escape_debug()
        ))),
    }
}

/// As long as it takes, unless told otherwise.
fn wait(limit: Option<&OsStr>) -> Result<Duration, UsageError> {
    let Some(limit) = limit else { return Ok(Duration::MAX) };
    duration::parse(&limit.to_string_lossy())
        .map_err(|wrong| UsageError(format!("--wait: {wrong}")))
}

fn format_of(word: &str) -> Result<Format, UsageError> {
    match word {
        "json" => Ok(Format::Json),
        "env" => Ok(Format::Env),
        "k8s" => Ok(Format::Kubernetes),
        other => Err(no_format(other, "json, env and k8s")),
    }
}

fn no_format(word: &str, formats: &str) -> UsageError {
    let word = word.escape_debug();
    UsageError(format!("there is no format `{word}`; the formats are {formats}"))
}

fn pair(value: &OsStr) -> Result<(String, String), UsageError> {
    let pair = value.to_str().and_then(|text| text.split_once('='));
    // The value is not repeated: somebody may have tried to set a secret.
    let wrong = || UsageError("--set needs key=value, such as --set server.port=9000".into());
    let (key, value) = pair.filter(|(key, _)| !key.is_empty()).ok_or_else(wrong)?;
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests;
