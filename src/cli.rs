//! The command line: what the process is asked to do.
use octostack_core::Identity;
use octostack_core::config::Loader;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;

/// What the process is asked to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Command {
    /// Serve.
    #[default]
    Run,
    /// Load and validate the config, and say what is wrong.
    Check,
    /// Print how to use it.
    Help,
    /// Print name and version.
    Version,
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
                Value(word) if command.is_none() => command = Some(command_of(&word)?),
                other => return Err(other.unexpected().into()),
            }
        }
        understood.command = command.unwrap_or_default();
        Ok(understood)
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
        for (key, value) in &self.set {
            loader = loader.set(key, value);
        }
        loader
    }
}

fn command_of(word: &OsStr) -> Result<Command, UsageError> {
    match word.to_str() {
        Some("run") => Ok(Command::Run),
        Some("check") => Ok(Command::Check),
        Some("help") => Ok(Command::Help),
        Some("version") => Ok(Command::Version),
        _ => Err(UsageError(format!(
            "there is no command `{}`; the commands are run and check",
            word.to_string_lossy().escape_debug()
        ))),
    }
}

fn pair(value: &OsStr) -> Result<(String, String), UsageError> {
    let pair = value.to_str().and_then(|text| text.split_once('='));
    // The value is not repeated: somebody may have tried to set a secret.
    let wrong = || UsageError("--set needs key=value, such as --set server.port=9000".into());
    let (key, value) = pair.filter(|(key, _)| !key.is_empty()).ok_or_else(wrong)?;
    Ok((key.to_owned(), value.to_owned()))
}

/// The variables of OpenTelemetry that are read.
#[cfg(feature = "otlp")]
const TRACES: &str = "  \
  OTEL_EXPORTER_OTLP_ENDPOINT
                          where traces are sent by gRPC; default: nowhere
  OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG
                          which traces are recorded; default: parentbased_always_on
  OTEL_TRACES_EXPORTER, OTEL_SDK_DISABLED
                          `none` and `true` send none; others of OpenTelemetry are in the book
";
#[cfg(not(feature = "otlp"))]
const TRACES: &str = "  \
  OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG
                          which traces are recorded; default: parentbased_always_on
";

/// What `--help` prints.
pub(crate) fn help(me: &Identity) -> String {
    let (name, version, prefix) = (&me.name, &me.version, me.env_prefix());
    let key = format!("{prefix}SOME_KEY");
    let traces = TRACES;
    format!(
        "\
{name} {version}

Usage: {name} [run | check] [options]

Commands:
  run      serve; the default
  check    load and validate the config and the flags, print every problem

Options:
  -c, --config FILE       a config file (TOML, YAML, JSON) over those of the directory; repeatable
      --config-dir DIR    where default.* and {{APP_ENV}}.* are; default: $CONFIG_DIR, else ./config
      --set KEY=VALUE     sets a key above all other sources; not for secrets; repeatable
  -h, --help              prints this
  -V, --version           prints name and version

Environment:
  {key:<23} sets some.key; {key}_FILE reads it from a file
  HOST, PORT              where to listen; default: 127.0.0.1 (0.0.0.0 in a container), 8080
  ADMIN_ADDR              where the admin port listens; default: 127.0.0.1:8081
  ADMIN_TOKEN             may read and change at the admin port; ADMIN_READ_TOKEN may read
  APP_ENV                 development unless told otherwise
  RUST_LOG, LOG_FORMAT    what is logged, and how: json, pretty or auto
{traces}
Exit codes:
  0 clean end   1 failed   3 requests were cut at the drain's deadline   64 bad usage
  78 bad config   128+n ended at once by a second signal n"
    )
}

#[cfg(test)]
mod tests {
    use super::{Arguments, Command, help};
    use octostack_core::Identity;

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::parse(line.split_whitespace().map(Into::into)).map_err(|e| e.to_string())
    }

    #[test]
    fn understands_commands_and_options() {
        assert_eq!(parse("").unwrap().command, Command::Run);
        assert_eq!(parse("run").unwrap().command, Command::Run);
        let all = parse("--config a.toml check -c b.yaml --config-dir=etc --set a.b=c=d").unwrap();
        assert_eq!(all.command, Command::Check);
        assert_eq!(all.files, ["a.toml", "b.yaml"].map(std::path::PathBuf::from));
        assert_eq!(all.config_dir, Some("etc".into()));
        assert_eq!(all.set, [("a.b".to_owned(), "c=d".to_owned())]);
        assert_eq!(parse("check --help").unwrap().command, Command::Help);
        assert_eq!(parse("-V").unwrap().command, Command::Version);
    }

    #[test]
    fn says_what_is_wrong() {
        for (line, error) in [
            ("serve", "there is no command `serve`; the commands are run and check; see --help"),
            ("run run", "unexpected argument \"run\"; see --help"),
            ("--port 1", "invalid option '--port'; see --help"),
            ("--config", "missing argument for option '--config'; see --help"),
            ("--set token", "--set needs key=value, such as --set server.port=9000; see --help"),
        ] {
            assert_eq!(parse(line).unwrap_err(), error, "{line}");
        }
    }

    #[test]
    fn help_names_the_service() {
        let text = help(&Identity::new("price-feed", "1.2.3"));
        assert!(text.starts_with("price-feed 1.2.3\n"));
        assert!(text.contains("PRICE_FEED_SOME_KEY_FILE"));
        assert!(text.contains("\n  OTEL_TRACES_SAMPLER, "), "{text}");
    }
}
