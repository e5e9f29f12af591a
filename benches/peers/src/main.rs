//! Measures OctoStack beside the crates that do the same.
//!
//! A scenario is one piece of work, such as a call through a closed circuit breaker. Its subjects
//! are the crates that can do it, and a baseline that does without. How they are measured, and what
//! that leaves out, is in `docs/benchmarks.md`; [`drive`] is the place where it happens.
mod args;
mod breaker;
mod bulkhead;
mod config;
mod drive;
mod echo;
mod flags;
mod rate_limit;
mod red;
mod report;
mod retry;
mod runtime;
mod stack;
mod timeout;

use args::{Arguments, Command};
use drive::Scenario;
use report::Report;
use std::fmt::Display;
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
    vec![
        config::load(),
        config::reload(),
        config::read(),
        breaker::closed(),
        breaker::closed_slow_call(),
        breaker::time_window(),
        breaker::open_reject(),
        bulkhead::admitted(),
        retry::first_try(),
        timeout::ready(),
        rate_limit::admitted(),
        rate_limit::keyed(),
        stack::outbound(),
        stack::outbound_http(),
        red::http_server(),
        red::axum_route(),
        flags::fixed(),
        flags::comparison(),
        flags::fractional(),
    ]
}

/// What a builder made of settings that are constants.
fn valid<T, E: Display>(built: Result<T, E>) -> T {
    built.unwrap_or_else(|error| panic!("the settings are right: {error}"))
}

fn measure(scenarios: &[Scenario], arguments: &Arguments) -> io::Result<()> {
    let mut report = Report::new(io::stdout(), arguments.json);
    for scenario in scenarios.iter().filter(|scenario| arguments.wants(scenario.name)) {
        report.scenario(&scenario.measure(arguments.rounds))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::scenarios;
    use crate::drive::{Measurement, Scenario};

    /// Of a subject, with one thread and with two.
    fn allocations(measured: &[Measurement], subject: &str) -> [f64; 2] {
        let of = |threads| {
            let found = measured.iter().find(|m| m.subject == subject && m.threads == threads);
            found.map(|m| m.allocs_per_call)
        };
        let alone = of(1).unwrap();
        [alone, of(2).unwrap_or(alone)]
    }

    /// Our side of a scenario.
    fn ours(scenario: &Scenario) -> &'static [&'static str] {
        match scenario.name {
            "breaker/time-window" => &["octostack at 1,000", "octostack at 100,000"],
            "config/load" | "config/reload" => &[],
            "config/read" => &["octostack", "octostack-shared"],
            name if name.starts_with("flag/") => &["octostack", "octostack-by-key"],
            _ => &["octostack", "octostack-leaked"],
        }
    }

    #[test]
    fn what_we_claim_about_allocations_holds() {
        for scenario in scenarios() {
            let measured = scenario.measure(1);
            assert!(measured.iter().all(|m| m.ns_per_call > 0.0), "{measured:?}");
            let through_axum = scenario.name == "red/axum-route";
            let without = if through_axum { "identity" } else { "baseline" };
            let [allowed, _] = allocations(&measured, without);
            // A request pins its flags once; here a thousand evaluations and more share that.
            let pins = if scenario.name.starts_with("flag/") { 0.001 } else { 0.0 };
            let most = match scenario.name {
                "red/axum-route" => allowed + 1.0,
                // The retry keeps a clone of the request, whose header map is two.
                "stack/outbound-http" => allowed + 2.0,
                _ => pins,
            };
            for subject in ours(&scenario) {
                let counted = allocations(&measured, subject);
                assert!(counted.iter().all(|n| *n <= most), "{}: {counted:?}", scenario.name);
            }
        }
    }
}
