//! The command line.
use std::ffi::OsString;
use std::fmt;

const DEFAULT_ROUNDS: u32 = 100;

/// What the process is asked to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    Measure(Arguments),
}

/// What to measure, and how to print it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) json: bool,
    pub(crate) rounds: u32,
    /// All if empty.
    scenarios: Vec<String>,
}

impl Arguments {
    pub(crate) fn wants(&self, scenario: &str) -> bool {
        self.scenarios.is_empty() || self.scenarios.iter().any(|wanted| wanted == scenario)
    }
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

/// Understands the arguments after the program's name; `known` are the scenarios that exist.
pub(crate) fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    known: &[&str],
) -> Result<Command, UsageError> {
    use lexopt::prelude::*;
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut understood = Arguments { json: false, rounds: DEFAULT_ROUNDS, scenarios: Vec::new() };
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(Command::Help),
            Long("json") => understood.json = true,
            Long("rounds") => understood.rounds = rounds(&parser.value()?.string()?)?,
            Long("scenario") => {
                understood.scenarios.push(scenario(parser.value()?.string()?, known)?);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Command::Measure(understood))
}

fn rounds(text: &str) -> Result<u32, UsageError> {
    let wrong = || UsageError(format!("--rounds needs a number from 1 on, not {text:?}"));
    text.parse().ok().filter(|rounds| *rounds > 0).ok_or_else(wrong)
}

fn scenario(name: String, known: &[&str]) -> Result<String, UsageError> {
    if known.contains(&name.as_str()) {
        return Ok(name);
    }
    let known = known.join(", ");
    Err(UsageError(format!("there is no scenario {name:?}; there are {known}")))
}

/// What `--help` prints.
pub(crate) fn help(known: &[&str]) -> String {
    let known = known.join("\n      ");
    format!(
        "\
Measures OctoStack beside the crates that do the same.

Usage: octostack-peers [options]

Options:
  --json             print one JSON object a line instead of a table
  --scenario NAME    measure only this one; repeatable:
      {known}
  --rounds N         rounds for each subject, of which the best counts ({DEFAULT_ROUNDS})
  -h, --help         print this
"
    )
}

#[cfg(test)]
mod tests {
    use super::{Arguments, Command, DEFAULT_ROUNDS, parse};

    const KNOWN: [&str; 2] = ["breaker/closed", "red/http-server"];

    fn of(arguments: &[&str]) -> Result<Command, String> {
        parse(arguments.iter().map(Into::into), &KNOWN).map_err(|error| error.to_string())
    }

    fn measure(arguments: &[&str]) -> Arguments {
        match of(arguments) {
            Ok(Command::Measure(arguments)) => arguments,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn everything_is_measured_unless_scenarios_are_named() {
        let all = measure(&[]);
        assert!(!all.json && all.rounds == DEFAULT_ROUNDS);
        assert!(KNOWN.iter().all(|scenario| all.wants(scenario)));
        let one = measure(&["--json", "--rounds=7", "--scenario", "red/http-server"]);
        assert!(one.json && one.rounds == 7);
        assert_eq!(KNOWN.map(|scenario| one.wants(scenario)), [false, true]);
    }

    #[test]
    fn bad_arguments_are_named_with_what_would_be_right() {
        for (arguments, expected) in [
            (&["--fast"][..], "invalid option '--fast'; see --help"),
            (&["closed"], "unexpected argument \"closed\"; see --help"),
            (&["--rounds", "0"], "--rounds needs a number from 1 on, not \"0\"; see --help"),
            (&["--scenario", "red"], "there are breaker/closed, red/http-server; see --help"),
            (&["--scenario"], "missing argument for option '--scenario'; see --help"),
        ] {
            let error = of(arguments).unwrap_err();
            assert!(error.ends_with(expected), "{error}");
        }
    }
}
