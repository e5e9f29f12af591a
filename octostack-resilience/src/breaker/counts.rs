//! What has happened so far, for metrics.
use super::window::History;
use crate::counters::Totals;
use crate::outcome::Outcome;
use octostack_core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What the window does not know. Successes are what it recorded less the failures among them.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Failures and overloads that were recorded in a window.
    pub(super) measured: AtomicU64,
    /// By outcome; of successes only those that are in no window.
    outcomes: [AtomicU64; 5],
    pub(super) rejected: AtomicU64,
    pub(super) shadow_rejected: AtomicU64,
}

/// Outcomes as they were told last, so that none is ever told smaller.
#[derive(Debug, Default)]
pub(super) struct Told([u64; 5]);

impl Counts {
    pub(super) fn count(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].fetch_add(1, Relaxed);
    }

    /// The counts so far. A reset moves those of a generation from one place to another; whoever
    /// holds `told` has to hold that up.
    pub(super) fn totals(&self, history: &History, told: &mut Told) -> Totals {
        let successes = history.recorded().saturating_sub(self.measured.load(Relaxed));
        for outcome in Outcome::ALL {
            let in_windows = if outcome == Outcome::Success { successes } else { 0 };
            let now = self.outcomes[outcome as usize].load(Relaxed) + in_windows;
            let told = &mut told.0[outcome as usize];
            *told = now.max(*told);
        }
        Totals {
            permitted: told.0.iter().sum(),
            rejected: self.rejected.load(Relaxed),
            shadow_rejected: self.shadow_rejected.load(Relaxed),
            outcomes: Some(told.0),
        }
    }
}
