//! Whether the runtime gets to run tasks: a beat that it gives, and a judge that listens elsewhere.
//!
//! A handler that blocks (a lock, a computation, a call of the system) holds up the thread that it
//! runs on; enough of them hold up all, and nothing in the same runtime can tell. So a task beats,
//! and whoever judges does so in a thread of their own.
use crate::sync::lock;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often the task beats, and the judge listens.
pub(super) const BEAT: Duration = Duration::from_millis(250);

/// The beat of one runtime.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    beats: AtomicU64,
    stalled: AtomicBool,
    judge: Mutex<Option<Judge>>,
}

/// What was heard so far: a state machine without runtime, with time as an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Judge {
    beats: u64,
    /// When the last beat was heard.
    heard: Instant,
    /// When it last listened.
    listened: Instant,
}

/// What is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Same,
    /// Nothing was heard for so long.
    Stalled(Duration),
    /// After so long.
    Recovered(Duration),
}

impl Pulse {
    /// The runtime runs a task.
    pub(super) fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether it was found stalled.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    /// Listens; a pulse that has not begun is not judged, nor is one with a limit of zero.
    pub(super) fn listen(&self, now: Instant, limit: Duration) -> Verdict {
        let beats = self.beats.load(Ordering::Relaxed);
        let mut judge = lock(&self.judge);
        let Some(judge) = judge.as_mut().filter(|_| beats > 0) else {
            *judge = Some(Judge { beats, heard: now, listened: now });
            return Verdict::Same;
        };
        let silence = judge.listen(beats, now);
        let stalled = !limit.is_zero() && judge.heard != now && silence >= limit;
        match (self.stalled.swap(stalled, Ordering::Relaxed), stalled) {
            (false, true) => Verdict::Stalled(silence),
            (true, false) => Verdict::Recovered(silence),
            _ => Verdict::Same,
        }
    }
}

impl Judge {
    /// For how long there was no beat before this moment.
    fn listen(&mut self, beats: u64, now: Instant) -> Duration {
        let pause = now.saturating_duration_since(self.listened);
        // The whole process stood still (SIGSTOP, a suspended machine): nobody could beat.
        self.heard += pause.saturating_sub(2 * BEAT);
        self.listened = now;
        let silence = now.saturating_duration_since(self.heard);
        if beats != self.beats {
            (self.beats, self.heard) = (beats, now);
        }
        silence
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Clock, SystemClock};

    const LIMIT: Duration = Duration::from_secs(1);

    /// Listens every quarter of a second for `time`, with a beat each time or without.
    fn live(pulse: &Pulse, now: &mut Instant, time: Duration, beats: bool) -> Vec<Verdict> {
        let until = *now + time;
        let mut said = Vec::new();
        while *now < until {
            *now += BEAT;
            if beats {
                pulse.beat();
            }
            said.push(pulse.listen(*now, LIMIT));
        }
        said.retain(|verdict| *verdict != Verdict::Same);
        said
    }

    #[test]
    fn a_runtime_that_runs_no_task_is_stalled_until_it_does() {
        let (pulse, mut now) = (Pulse::default(), SystemClock.now());
        assert_eq!(live(&pulse, &mut now, 5 * LIMIT, false), [], "it has not begun");
        assert_eq!(live(&pulse, &mut now, 5 * LIMIT, true), []);
        assert_eq!(live(&pulse, &mut now, 3 * BEAT, false), [], "within the limit");
        assert!(!pulse.is_stalled());
        assert_eq!(live(&pulse, &mut now, 3 * LIMIT, false), [Verdict::Stalled(LIMIT)]);
        assert!(pulse.is_stalled());
        let silence = 4 * LIMIT;
        assert_eq!(live(&pulse, &mut now, LIMIT, true), [Verdict::Recovered(silence)]);
        assert!(!pulse.is_stalled());
    }

    #[test]
    fn a_process_that_stood_still_is_not_blamed() {
        let (pulse, mut now) = (Pulse::default(), SystemClock.now());
        live(&pulse, &mut now, LIMIT, true);
        now += 1000 * LIMIT; // nobody listened meanwhile
        assert_eq!(live(&pulse, &mut now, LIMIT / 4, false), []);
        assert_eq!(live(&pulse, &mut now, 5 * LIMIT, true), []);
    }

    #[test]
    fn a_limit_of_zero_judges_nobody() {
        let (pulse, now) = (Pulse::default(), SystemClock.now());
        pulse.beat();
        for seconds in 0..100 {
            let at = now + Duration::from_secs(seconds);
            assert_eq!(pulse.listen(at, Duration::ZERO), Verdict::Same);
        }
    }
}
