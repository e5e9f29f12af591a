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

impl Drained {
    /// Whether anything was cut.
    pub const fn is_cut(&self) -> bool {
        self.cut_connections > 0 || self.cut_requests > 0
    }
}

/// The most routes that a sentence names.
const NAMED: usize = 5;

/// `3 of GET /orders/{id}, 1 of POST /orders`
pub(super) fn routes(routes: &[(String, usize)]) -> String {
    let named = routes.iter().take(NAMED).map(|(route, count)| format!("{count} of {route}"));
    let mut named: Vec<_> = named.collect();
    let others: usize = routes.iter().skip(NAMED).map(|(_, count)| count).sum();
    if others > 0 {
        named.push(format!("{others} of other routes"));
    }
    named.join(", ")
}

/// How a service ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// Why the end began.
    pub cause: Cause,
    /// The second signal, if one ended everything at once.
    pub ended_by: Option<Signal>,
    /// Whether it was ended from [outside](super::Lifecycle::guard) of its runtime, whose threads
    /// were all blocked.
    pub overdue: bool,
    /// How long the end took.
    pub took: Duration,
    /// What was cut on the listeners.
    pub drained: Drained,
    /// The methods and routes of what was cut, as far as they are known, with the number of
    /// requests; the most frequent first. After a second signal: of what was in flight then.
    pub cut_routes: Vec<(String, usize)>,
    /// Background tasks that did not end in time and were aborted.
    pub aborted_tasks: Vec<String>,
    /// Resources that did not close in time, or panicked.
    pub unclosed: Vec<String>,
    /// Telemetry that was not flushed in time, or panicked.
    pub unflushed: Vec<String>,
}

impl Outcome {
    /// The exit code of the process: 128 + n after a second signal n, 1 after a failure, 3 when
    /// requests or tasks were cut by their deadline, or a resource did not close, else 0.
    pub fn exit_code(&self) -> u8 {
        // A resource may have had something to write. Telemetry had too, but a collector that does
        // not answer must not make each end of each service look as if it had failed.
        let unfinished = !self.aborted_tasks.is_empty() || !self.unclosed.is_empty();
        let cut = self.overdue || self.drained.is_cut() || unfinished;
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
            if !self.cut_routes.is_empty() {
                write!(f, ", with {} in flight", routes(&self.cut_routes))?;
            }
        }
        if self.overdue {
            f.write_str(", from outside, since all threads were blocked")?;
        }
        if self.drained.is_cut() {
            let Drained { cut_connections, cut_requests } = self.drained;
            write!(f, ", cut {cut_requests} requests on {cut_connections} connections")?;
            if self.ended_by.is_none() && !self.cut_routes.is_empty() {
                write!(f, " ({})", routes(&self.cut_routes))?;
            }
        }
        if !self.aborted_tasks.is_empty() {
            write!(f, ", aborted {}", self.aborted_tasks.join(", "))?;
        }
        if !self.unclosed.is_empty() {
            write!(f, ", did not close {}", self.unclosed.join(", "))?;
        }
        if !self.unflushed.is_empty() {
            write!(f, ", did not flush {}", self.unflushed.join(", "))?;
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
            overdue: false,
            took: Duration::from_millis(120),
            drained: Drained::default(),
            cut_routes: Vec::new(),
            aborted_tasks: Vec::new(),
            unclosed: Vec::new(),
            unflushed: Vec::new(),
        }
    }

    #[test]
    fn exit_codes() {
        let mut outcome = clean();
        assert_eq!(outcome.exit_code(), 0);
        outcome.unflushed.push("traces".into());
        assert_eq!(outcome.exit_code(), 0, "the collector is to blame");
        outcome.drained.cut_requests = 1;
        assert_eq!(outcome.exit_code(), 3, "a stream of a connection that went on");
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

        let mut outcome = clean();
        outcome.unclosed.push("queue".into());
        assert_eq!(outcome.exit_code(), 3, "who knows what it had to write");
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
        outcome.drained = Drained::default();
        outcome.aborted_tasks.clear();
        outcome.unclosed.extend(["pool".into(), "queue".into()]);
        outcome.unflushed.push("traces".into());
        assert_eq!(
            outcome.to_string(),
            "ended after 120ms (SIGTERM), did not close pool, queue, did not flush traces"
        );
        let mut outcome = clean();
        outcome.drained = Drained { cut_connections: 2, cut_requests: 5 };
        outcome.cut_routes =
            ["/a", "/b", "/c", "/d", "/e", "/f", "/g"].map(|r| (r.into(), 2)).into();
        let routes = "2 of /a, 2 of /b, 2 of /c, 2 of /d, 2 of /e, 4 of other routes";
        let expected =
            format!("ended after 120ms (SIGTERM), cut 5 requests on 2 connections ({routes})");
        assert_eq!(outcome.to_string(), expected);
        outcome.drained = Drained::default();
        outcome.ended_by = Some(Signal::Interrupt);
        let by = "at once by a second signal, SIGINT";
        let expected = format!("ended after 120ms (SIGTERM), {by}, with {routes} in flight");
        assert_eq!(outcome.to_string(), expected);
    }
}
