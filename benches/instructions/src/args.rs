//! The command line.
use std::ffi::OsString;

/// The command that writes a new budget.
pub(crate) const UPDATE: &str =
    "cargo run --profile instructions -p octostack-instructions -- --update";

pub(crate) const HELP: &str = "\
Counts the instructions of hot paths and holds them to a budget. Needs valgrind.

Usage: octostack-instructions [option]

Options:
  --update           write what is measured as the new budget
  --plant            check that a needless allocation in each call is found
  --run NAME CALLS   make so many calls and say nothing; what is run under callgrind
  --planted          with --run: one needless allocation in each call
  -h, --help         print this
";

/// What the process is asked to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    Compare,
    Update,
    Plant,
    Run(Run),
}

/// Calls to make.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) scenario: String,
    pub(crate) calls: u64,
    /// Whether each call allocates for nothing.
    pub(crate) planted: bool,
}

/// Understands the arguments after the program's name.
pub(crate) fn parse(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Command, lexopt::Error> {
    use lexopt::prelude::*;
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut command = Command::Compare;
    while let Some(argument) = parser.next()? {
        command = match (argument, command) {
            (Short('h') | Long("help"), _) => return Ok(Command::Help),
            (Long("update"), Command::Compare) => Command::Update,
            (Long("plant"), Command::Compare) => Command::Plant,
            (Long("run"), Command::Compare) => {
                let scenario = parser.value()?.string()?;
                let calls = parser.value()?.parse()?;
                Command::Run(Run { scenario, calls, planted: false })
            }
            (Long("planted"), Command::Run(run)) => Command::Run(Run { planted: true, ..run }),
            (other, _) => return Err(other.unexpected()),
        };
    }
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::{Command, Run, parse};

    fn of(arguments: &[&str]) -> Result<Command, String> {
        parse(arguments.iter().map(Into::into)).map_err(|error| error.to_string())
    }

    #[test]
    fn it_compares_unless_it_is_asked_for_something_else() {
        assert_eq!(of(&[]), Ok(Command::Compare));
        assert_eq!(of(&["--update"]), Ok(Command::Update));
        assert_eq!(of(&["--plant"]), Ok(Command::Plant));
        let run = |planted| Command::Run(Run { scenario: "a/b".to_owned(), calls: 7, planted });
        assert_eq!(of(&["--run", "a/b", "7"]), Ok(run(false)));
        assert_eq!(of(&["--run", "a/b", "7", "--planted"]), Ok(run(true)));
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for wrong in [&["--planted"][..], &["--update", "--plant"], &["--run", "a/b"], &["a/b"]] {
            assert!(of(wrong).is_err(), "{wrong:?}");
        }
    }
}
