//! What a check has found so far: a state machine without runtime, with time as an argument.
use super::standing::Status;
use super::{Initial, Schedule};
use std::time::Instant;

/// Reasons longer than this are cut: they end up in events and on status pages.
const MAX_REASON: usize = 512;

#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) status: Status,
    /// When `status` became what it is.
    pub(super) since: Instant,
    /// When the last result came in, or the check was added.
    pub(super) heard: Instant,
    /// Results in a row that contradict `status`.
    pub(super) against: u32,
    /// What the last failure said, as long as it matters.
    pub(super) reason: Option<String>,
    pub(super) runs: u64,
    pub(super) failures: u64,
}

/// A change of mind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) from: Status,
    pub(super) to: Status,
}

impl State {
    pub(super) fn new(initial: Initial, now: Instant) -> Self {
        Self {
            status: match initial {
                Initial::Unknown => Status::Unknown,
                Initial::Passing => Status::Passing,
            },
            since: now,
            heard: now,
            against: 0,
            reason: None,
            runs: 0,
            failures: 0,
        }
    }

    /// Takes note of the result of a run.
    pub(super) fn record(
        &mut self,
        result: Result<(), String>,
        schedule: &Schedule,
        now: Instant,
    ) -> Option<Change> {
        self.heard = now;
        self.runs += 1;
        let wants = match result {
            Ok(()) => Status::Passing,
            Err(reason) => {
                self.failures += 1;
                self.reason = Some(cut(reason));
                Status::Failing
            }
        };
        if wants == self.status {
            self.against = 0;
            self.forget_reason();
            return None;
        }
        self.against += 1;
        let needed = match self.status {
            Status::Unknown => 1,
            Status::Passing => schedule.failure_threshold,
            Status::Failing => schedule.success_threshold,
        };
        (self.against >= needed).then(|| self.turn(wants, now))
    }

    /// Fails a check of which nothing was heard for too long.
    pub(super) fn age(&mut self, schedule: &Schedule, now: Instant) -> Option<Change> {
        let silence = now.saturating_duration_since(self.heard);
        if self.status == Status::Failing || silence < schedule.stale_after {
            return None;
        }
        let silence = crate::duration::format(std::time::Duration::from_secs(silence.as_secs()));
        self.reason =
            Some(format!("no result for {silence}: the check is stuck, or nothing runs it"));
        Some(self.turn(Status::Failing, now))
    }

    /// When [`age`](Self::age) will fail this check if nothing more is heard; `None` if it fails
    /// already, or never will.
    pub(super) fn fresh_until(&self, schedule: &Schedule) -> Option<Instant> {
        if self.status == Status::Failing {
            return None;
        }
        self.heard.checked_add(schedule.stale_after)
    }

    fn turn(&mut self, to: Status, now: Instant) -> Change {
        let from = std::mem::replace(&mut self.status, to);
        self.since = now;
        self.against = 0;
        self.forget_reason();
        Change { from, to }
    }

    fn forget_reason(&mut self) {
        if self.status == Status::Passing {
            self.reason = None;
        }
    }
}

/// On one line, and nothing that a terminal would obey: it may be what a server has said.
fn cut(mut reason: String) -> String {
    if reason.contains(char::is_control) {
        reason = reason.replace(char::is_control, " ");
    }
    if reason.len() > MAX_REASON {
        let end = (0..=MAX_REASON).rev().find(|&i| reason.is_char_boundary(i));
        reason.truncate(end.unwrap_or_default());
        reason.push_str(" ...");
    }
    reason
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Clock, SystemClock};
    use std::time::Duration;

    fn fail() -> Result<(), String> {
        Err("refused".into())
    }

    #[test]
    fn the_first_result_decides_alone_unless_trusted() {
        let now = SystemClock.now();
        let schedule = Schedule::new();

        let mut unknown = State::new(Initial::Unknown, now);
        let change = unknown.record(fail(), &schedule, now).unwrap();
        assert_eq!((change.from, change.to), (Status::Unknown, Status::Failing));
        assert_eq!(unknown.reason.as_deref(), Some("refused"));

        let mut trusted = State::new(Initial::Passing, now);
        assert_eq!(trusted.record(fail(), &schedule, now), None);
        assert_eq!(trusted.status, Status::Passing);
    }

    #[test]
    fn only_failures_in_a_row_fail_it_and_successes_in_a_row_heal_it() {
        let now = SystemClock.now();
        let schedule = Schedule::new().with_success_threshold(2);
        let mut state = State::new(Initial::Passing, now);
        for result in [fail(), fail(), Ok(()), fail(), fail()] {
            assert_eq!(state.record(result, &schedule, now), None);
        }
        let change = state.record(fail(), &schedule, now).unwrap();
        assert_eq!((change.from, change.to), (Status::Passing, Status::Failing));

        for result in [Ok(()), fail(), Ok(())] {
            assert_eq!(state.record(result, &schedule, now), None);
        }
        assert_eq!(state.reason.as_deref(), Some("refused"), "still failing");
        let change = state.record(Ok(()), &schedule, now).unwrap();
        assert_eq!((change.from, change.to), (Status::Failing, Status::Passing));
        assert_eq!(state.reason, None);
        assert_eq!((state.runs, state.failures), (10, 6));
    }

    #[test]
    fn silence_fails_it_once_and_a_result_heals_it() {
        let start = SystemClock.now();
        let schedule = Schedule::new();
        let mut state = State::new(Initial::Unknown, start);
        state.record(Ok(()), &schedule, start);
        assert_eq!(state.fresh_until(&schedule), Some(start + schedule.stale_after));
        let almost = start + Duration::from_millis(29_999);
        assert_eq!(state.age(&schedule, almost), None);

        let late = start + schedule.stale_after;
        assert_eq!(state.age(&schedule, late).unwrap().to, Status::Failing);
        assert!(state.reason.as_deref().unwrap().starts_with("no result for 30s"));
        assert_eq!(state.age(&schedule, late), None, "told once");
        assert_eq!(state.fresh_until(&schedule), None);

        let healed = state.record(Ok(()), &schedule, late).unwrap();
        assert_eq!(healed.to, Status::Passing);
    }

    #[test]
    fn long_reasons_are_cut_between_characters() {
        let cut = cut("ö".repeat(1_000));
        assert!(cut.len() <= MAX_REASON + 4 && cut.ends_with("ö ..."), "{cut}");
        assert_eq!(super::cut("short".into()), "short");
    }
}
