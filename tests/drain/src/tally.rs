//! What becomes of each request.
use octostack::core::{Clock, SystemClock};
use serde::Serialize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// How many reasons for losses are kept: one is enough to begin with, and all are too many.
const REASONS: usize = 20;

/// What became of the requests of one client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Written whole on an accepted connection.
    pub sent: u64,
    /// Answered whole, or ended as the protocol says.
    pub answered: u64,
    /// Neither answered nor turned away.
    pub lost: u64,
    /// Written on an idle connection that the server was closing at that moment.
    pub idle_resets: u64,
    /// Told that nobody has seen them: on a connection that was never taken from the backlog, on a
    /// stream beyond GOAWAY, or by a proxy that could not connect.
    pub turned_away: u64,
    /// Connections that were refused, with no request on them.
    pub refused: u64,
    /// Why requests were lost, the first of them.
    pub reasons: Vec<String>,
}

impl Counts {
    pub(crate) fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.answered += other.answered;
        self.lost += other.lost;
        self.idle_resets += other.idle_resets;
        self.turned_away += other.turned_away;
        self.refused += other.refused;
        self.reasons.extend(other.reasons);
        self.reasons.truncate(REASONS);
    }

    fn lose(&mut self, why: String) {
        self.lost += 1;
        if self.reasons.len() < REASONS {
            self.reasons.push(why);
        }
    }
}

/// Counts the requests of a round; clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally(Arc<Mutex<Round>>);

#[derive(Debug, Default)]
struct Round {
    counts: Counts,
    /// From when on a server may turn clients away.
    closes: Option<Instant>,
}

impl Tally {
    fn round(&self) -> MutexGuard<'_, Round> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn counts(&self) -> Counts {
        self.round().counts.clone()
    }

    /// From `at` on the server need not accept any more.
    pub(crate) fn closes_at(&self, at: Instant) {
        self.round().closes = Some(at);
    }

    /// Whether the server may turn somebody away.
    pub(crate) fn is_closing(&self) -> bool {
        self.may_refuse(SystemClock.now())
    }

    /// Whether it may refuse a connection that was opened at `opened`.
    pub(crate) fn may_refuse(&self, opened: Instant) -> bool {
        self.round().closes.is_some_and(|closes| opened >= closes)
    }

    /// A connection was refused before a request could be written.
    pub(crate) fn refused(&self, error: &std::io::Error) {
        let closing = self.is_closing();
        let counts = &mut self.round().counts;
        if closing {
            counts.refused += 1;
        } else {
            counts.lose(format!("cannot connect: {error}"));
        }
    }

    /// A request has been written whole.
    pub(crate) fn sent(&self, what: impl Into<String>) -> Pending {
        self.round().counts.sent += 1;
        Pending { tally: Some(self.clone()), what: what.into() }
    }
}

/// A request that has been written. Dropped without a verdict, it is lost.
#[derive(Debug)]
pub(crate) struct Pending {
    tally: Option<Tally>,
    what: String,
}

impl Pending {
    fn settle(mut self, verdict: impl FnOnce(&mut Counts)) {
        if let Some(tally) = self.tally.take() {
            verdict(&mut tally.round().counts);
        }
    }

    pub(crate) fn answered(self) {
        self.settle(|counts| counts.answered += 1);
    }

    pub(crate) fn idle_reset(self) {
        self.settle(|counts| counts.idle_resets += 1);
    }

    pub(crate) fn turned_away(self) {
        self.settle(|counts| counts.turned_away += 1);
    }

    /// It turns out that it was never written.
    pub(crate) fn unsent(self) {
        self.settle(|counts| counts.sent -= 1);
    }

    pub(crate) fn lost(self, why: impl std::fmt::Display) {
        let what = self.what.clone();
        self.settle(|counts| counts.lose(format!("{what}: {why}")));
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(tally) = self.tally.take() {
            let why = format!("{}: no end of it came", self.what);
            tally.round().counts.lose(why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;
    use octostack::core::{Clock, SystemClock};
    use std::io::{Error, ErrorKind};
    use std::time::Duration;

    #[test]
    fn what_gets_no_verdict_is_lost() {
        let tally = Tally::default();
        drop(tally.sent("GET /fast"));
        tally.sent("GET /fast").answered();
        tally.sent("GET /fast").unsent();
        let counts = tally.counts();
        assert_eq!((counts.sent, counts.answered, counts.lost), (2, 1, 1));
        assert_eq!(counts.reasons, ["GET /fast: no end of it came"]);
    }

    #[test]
    fn nobody_is_turned_away_before_the_lame_duck_time_is_over() {
        let tally = Tally::default();
        let refused = Error::from(ErrorKind::ConnectionRefused);
        tally.refused(&refused);
        let before = SystemClock.now();
        let now = before + Duration::from_millis(1);
        tally.closes_at(now + Duration::from_secs(60));
        tally.refused(&refused);
        assert_eq!((tally.counts().lost, tally.counts().refused), (2, 0));
        tally.closes_at(before);
        tally.refused(&refused);
        assert_eq!((tally.counts().lost, tally.counts().refused), (2, 1));
        tally.closes_at(now);
        assert!(!tally.may_refuse(before), "that one was accepted");
    }
}
