//! Counts the instructions of hot paths and holds them to a budget.
//!
//! # Why
//! Nanoseconds tell what a path costs on one quiet machine. On a busy one they vary by more than
//! what anybody should be allowed to add to a path. The number of instructions does not: it is the
//! same from run to run, so that a test can fail when one allocation or lock comes in.
//!
//! # How
//! A scenario is run under callgrind for two numbers of calls. What the second run executed more,
//! divided by the calls it made more, is what a call costs, free of the start of the process. The
//! result is compared with `budget.toml` beside this package. `docs/benchmarks.md` tells what the
//! numbers depend on.
//!
//! ```console
//! $ cargo run --profile instructions -p octostack-instructions              # compare
//! $ cargo run --profile instructions -p octostack-instructions -- --update  # a new budget
//! ```
mod args;
mod budget;
mod callgrind;
mod scenarios;

use args::Command;
use budget::{Budget, Verdict};
use scenarios::SCENARIOS;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

const BAD_USAGE: u8 = 64;
const BUDGET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/budget.toml");
/// The version of Rust that made this program, such as `1.95`.
const COMPILER: &str = env!("OCTOSTACK_COMPILER");

type BoxError = Box<dyn std::error::Error>;

/// What went as it should, or what did not.
type Done = Result<String, BoxError>;

fn main() -> ExitCode {
    let command = match args::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            let _ = writeln!(io::stderr(), "octostack-instructions: {error}; see --help");
            return ExitCode::from(BAD_USAGE);
        }
    };
    let done = match command {
        Command::Help => Ok(args::HELP.to_owned()),
        Command::Run(run) => scenarios::run(&run).map(|()| String::new()).map_err(Into::into),
        Command::Compare => compare(),
        Command::Update => update(),
        Command::Plant => plant(),
    };
    let (written, code) = match done {
        Ok(text) => (io::stdout().write_all(text.as_bytes()), ExitCode::SUCCESS),
        Err(error) => (writeln!(io::stderr(), "{error}"), ExitCode::FAILURE),
    };
    if written.is_ok() { code } else { ExitCode::FAILURE }
}

/// Fails if a scenario is over its budget.
fn compare() -> Done {
    let budget = Budget::read(BUDGET)?;
    let (mut report, mut over) = (String::new(), String::new());
    for (name, _) in SCENARIOS {
        let is = callgrind::instructions_per_call(name, false)?;
        let was = budget.of(name)?;
        let change = (is / was - 1.0) * 100.0;
        writeln!(report, "{name:<18} {is:>8.1} a call, budget {was:>8.1}, {change:>+6.1} %")?;
        match budget.judge(was, is) {
            Verdict::Within => {}
            Verdict::FarUnder => writeln!(
                report,
                "notice: {name} takes {is:.1} instructions a call, far less than its budget of \
                 {was:.1}; lower the budget: {}",
                args::UPDATE
            )?,
            Verdict::Over => writeln!(
                over,
                "{name} takes {is:.1} instructions a call; its budget is {was:.1}, and {} % more.\n\
                 - what takes them: callgrind_annotate {}\n\
                 - if it is worth that: {}",
                budget.tolerance_percent,
                callgrind::output(name)?.display(),
                args::UPDATE
            )?,
        }
    }
    if let Some(reason) = budget.other_than_here(COMPILER) {
        writeln!(report, "notice: instruction counts were NOT judged: {reason}")?;
        return Ok(report + &over);
    }
    if over.is_empty() { Ok(report) } else { Err(format!("{report}\n{over}").into()) }
}

/// Writes what is measured as the new budget.
fn update() -> Done {
    let tolerance = Budget::read(BUDGET).map_or(budget::TOLERANCE, |b| b.tolerance_percent);
    let mut measured = Vec::new();
    for (name, _) in SCENARIOS {
        measured.push((name, callgrind::instructions_per_call(name, false)?));
    }
    let text = budget::text(COMPILER, tolerance, &measured);
    std::fs::write(BUDGET, text).map_err(|error| format!("{BUDGET}: {error}"))?;
    Ok(format!("wrote {BUDGET}\n"))
}

/// Fails unless every scenario is over its budget once each call allocates for nothing: a
/// comparison that would not notice that proves nothing.
fn plant() -> Done {
    let budget = Budget::read(BUDGET)?;
    if let Some(reason) = budget.other_than_here(COMPILER) {
        return Ok(format!("notice: the planted cost was NOT looked for: {reason}\n"));
    }
    let mut report = String::new();
    for (name, _) in SCENARIOS {
        let is = callgrind::instructions_per_call(name, true)?;
        let was = budget.of(name)?;
        if budget.judge(was, is) != Verdict::Over {
            let advice = "lower the budget or its tolerance";
            return Err(format!(
                "{name} with an allocation in each call takes {is:.1} instructions, which its \
                 budget of {was:.1} allows; {advice}"
            )
            .into());
        }
        writeln!(report, "{name:<18} {is:>8.1} a call, budget {was:>8.1}: found")?;
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::{BUDGET, Budget, SCENARIOS, scenarios};
    use crate::args::Run;

    #[test]
    fn every_scenario_has_a_budget_and_every_budget_a_scenario() {
        let budget = Budget::read(BUDGET).unwrap();
        let mut names = SCENARIOS.map(|(name, _)| name);
        names.sort_unstable();
        assert!(budget.names().eq(names), "{budget:?}");
    }

    #[test]
    fn every_scenario_runs() {
        for (name, _) in SCENARIOS {
            for planted in [false, true] {
                let run = Run { scenario: name.to_owned(), calls: 3, planted };
                scenarios::run(&run).unwrap();
            }
        }
        let run = Run { scenario: "none".to_owned(), calls: 1, planted: false };
        assert!(scenarios::run(&run).unwrap_err().contains("breaker/closed"));
    }
}
