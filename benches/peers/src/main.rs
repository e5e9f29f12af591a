//! Measures OctoStack beside the crates that do the same.
//!
//! A scenario is one piece of work, such as a call through a closed circuit breaker. Its subjects
//! are the crates that can do it, and a baseline that does without. How they are measured, and what
//! that leaves out, is in `docs/benchmarks.md`; [`drive`] is the place where it happens.
mod args;
mod breaker;
mod drive;
mod red;
mod report;

use args::{Arguments, Command};
use drive::Scenario;
use report::Report;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

const BAD_USAGE: u8 = 64;

fn main() -> ExitCode {
    let scenarios = scenarios();
    let names: Vec<_> = scenarios.iter().map(|scenario| scenario.name).collect();
    let done = match args::parse(std::env::args_os().skip(1), &names) {
        Ok(Command::Help) => io::stdout().write_all(args::help(&names).as_bytes()),
        Ok(Command::Measure(arguments)) => measure(&scenarios, &arguments),
        Err(error) => {
            let _ = writeln!(io::stderr(), "octostack-peers: {error}");
            return ExitCode::from(BAD_USAGE);
        }
    };
    match done {
        // Whoever reads has seen enough, as `head` has.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            let _ = writeln!(io::stderr(), "octostack-peers: cannot write the results: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

fn scenarios() -> Vec<Scenario> {
    vec![breaker::closed(), red::http_server(), red::axum_route()]
}

fn measure(scenarios: &[Scenario], arguments: &Arguments) -> io::Result<()> {
    let mut report = Report::new(io::stdout(), arguments.json);
    for scenario in scenarios.iter().filter(|scenario| arguments.wants(scenario.name)) {
        report.scenario(&scenario.measure(arguments.rounds))?;
    }
    Ok(())
}
