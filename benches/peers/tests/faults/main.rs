//! Faults of tower and tower-resilience, each as one script that runs against theirs and ours.
//!
//! Prints what each did and fails if ours shows a fault. What theirs does is only reported: a newer
//! version may have mended it. Waits are real where a peer reads the system's clock, and else of
//! paused time.
#![allow(clippy::too_many_lines, reason = "a table of scripts has as many lines as it has rows")]
#![allow(
    clippy::unused_async,
    reason = "every script is a future, also one that waits for nothing"
)]
mod breaker;
mod limits;
mod retry;
mod script;

use script::{Fault, Seen};
use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    // What panics is reported in its row.
    std::panic::set_hook(Box::new(|_| ()));
    let faults: Vec<Fault> =
        breaker::faults().into_iter().chain(limits::faults()).chain(retry::faults()).collect();
    let mut wrong = 0_u8;
    let mut out = io::stdout();
    for fault in faults {
        let (theirs, ours) = ((fault.theirs)(), (fault.ours)());
        wrong += u8::from(!ours.right);
        let printed = writeln!(
            out,
            "{}: {}\n    {:<16} {}\n    {:<16} {}",
            fault.name,
            fault.expected,
            fault.peer,
            told(&theirs),
            "octostack",
            told(&ours),
        );
        if printed.is_err() {
            return ExitCode::FAILURE;
        }
    }
    if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn told(seen: &Seen) -> String {
    format!("{:<6} {}", if seen.right { "right" } else { "FAULT" }, seen.saw)
}
