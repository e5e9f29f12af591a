use super::Signal;
use std::fmt;
use std::time::Duration;

/// Why a service ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// A signal asked for it.
    Signal(Signal),
    /// The program asked for it, with its reason.
    Requested(String),
    /// The program could not go on, with its reason.
    Failed(String),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(signal) => signal.fmt(f),
            Self::Requested(why) => write!(f, "requested: {why}"),
            Self::Failed(why) => write!(f, "failed: {why}"),
        }
    }
}

/// What a listener could not finish in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were closed with something unfinished on them.
    pub cut_connections: usize,
    /// Requests on them.
    pub cut_requests: usize,
}

/// How a service ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// Why the end began.
    pub cause: Cause,
    /// The second signal, if one ended everything at once.
    pub ended_by: Option<Signal>,
    /// How long the end took.
    pub took: Duration,
    /// What was cut on the listeners.
    pub drained: Drained,
    /// Background tasks that did not end in time and were aborted.
    pub aborted_tasks: Vec<String>,
    /// Resources and telemetry that did not close or flush in time, or panicked.
    pub unclosed: Vec<String>,
}

impl Outcome {
    /// The exit code of the process: 128 + n after a second signal n, 1 after a failure, 3 when
    /// requests or tasks were cut by their deadline, else 0.
    pub fn exit_code(&self) -> u8 {
        let cut = self.drained.cut_connections > 0 || !self.aborted_tasks.is_empty();
        match (self.ended_by, &self.cause) {
            (Some(signal), _) => 128 + signal.number(),
            (None, Cause::Failed(_)) => 1,
            (None, _) if cut => 3,
            (None, _) => 0,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ended after {:?} ({})", self.took, self.cause)?;
        if let Some(signal) = self.ended_by {
            write!(f, ", at once by a second signal, {signal}")?;
        }
        if self.drained.cut_connections > 0 {
            let Drained { cut_connections, cut_requests } = self.drained;
            write!(f, ", cut {cut_requests} requests on {cut_connections} connections")?;
        }
        if !self.aborted_tasks.is_empty() {
            write!(f, ", aborted {}", self.aborted_tasks.join(", "))?;
        }
        if !self.unclosed.is_empty() {
            write!(f, ", did not close {}", self.unclosed.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Cause, Drained, Outcome};
    use crate::lifecycle::Signal;
    use std::time::Duration;

    fn clean() -> Outcome {
        Outcome {
            cause: Cause::Signal(Signal::Terminate),
            ended_by: None,
            took: Duration::from_millis(120),
            drained: Drained::default(),
            aborted_tasks: Vec::new(),
            unclosed: Vec::new(),
        }
    }

    #[test]
    fn exit_codes() {
        let mut outcome = clean();
        assert_eq!(outcome.exit_code(), 0);
        outcome.unclosed.push("pool".into());
        assert_eq!(outcome.exit_code(), 0, "nobody waits for a pool");
        outcome.drained.cut_connections = 1;
        assert_eq!(outcome.exit_code(), 3);
        outcome.cause = Cause::Failed("no disk".into());
        assert_eq!(outcome.exit_code(), 1);
        outcome.ended_by = Some(Signal::Terminate);
        assert_eq!(outcome.exit_code(), 143);
        outcome.ended_by = Some(Signal::Interrupt);
        assert_eq!(outcome.exit_code(), 130);

        let mut outcome = clean();
        outcome.aborted_tasks.push("mailer".into());
        assert_eq!(outcome.exit_code(), 3);
    }

    #[test]
    fn says_what_happened() {
        let mut outcome = clean();
        assert_eq!(outcome.to_string(), "ended after 120ms (SIGTERM)");
        outcome.drained = Drained { cut_connections: 2, cut_requests: 5 };
        outcome.aborted_tasks.push("mailer".into());
        assert_eq!(
            outcome.to_string(),
            "ended after 120ms (SIGTERM), cut 5 requests on 2 connections, aborted mailer"
        );
    }
}
