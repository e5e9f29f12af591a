//! What is in effect, and what became of the attempts to put something else there.

use super::history::History;
use super::outcome::{Counts, Refused, Reloaded, Trigger};
use crate::config::Waiting;
use crate::config::refusal::Screen;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

/// What is in effect, and what became of the last attempts.
pub(super) struct State<F> {
    pub(super) framework: Arc<F>,
    /// Keeps its secrets out of what subscribers say.
    pub(super) screen: Arc<Screen>,
    pub(super) files: Vec<PathBuf>,
    pub(super) warnings: Vec<String>,
    pub(super) history: History,
    pub(super) waiting: Vec<Waiting>,
    /// When a reload last succeeded.
    pub(super) succeeded_at: SystemTime,
    /// The last attempt after the start.
    pub(super) last: Option<LastReload>,
    pub(super) counts: Counts,
    /// Why the sources are not in effect, until a reload of them succeeds.
    pub(super) failed: Option<Failed>,
    /// Why secrets that were replaced are not, likewise.
    pub(super) secrets_failed: Option<Failed>,
}

/// A reload that was refused.
pub(super) struct Failed {
    pub(super) at: SystemTime,
    pub(super) trigger: Trigger,
    pub(super) refused: Arc<Refused>,
}

/// One reload, as the page shows it.
pub(super) struct LastReload {
    pub(super) at: SystemTime,
    pub(super) trigger: Trigger,
    pub(super) result: &'static str,
}

impl<F> State<F> {
    pub(super) fn succeed(&mut self, now: SystemTime, trigger: Trigger, reloaded: &Reloaded) {
        let result = if reloaded.changed.is_empty() { "unchanged" } else { "applied" };
        self.counts.add(result);
        self.secrets_failed = None;
        // What the sources say by now was not looked at.
        if trigger != Trigger::Secrets {
            self.failed = None;
            self.succeeded_at = now;
            self.waiting.clone_from(&reloaded.waiting);
        }
        self.last = Some(LastReload { at: now, trigger, result });
    }

    pub(super) fn fail(&mut self, at: SystemTime, trigger: Trigger, refused: &Arc<Refused>) {
        let result = "refused";
        self.counts.add(result);
        self.last = Some(LastReload { at, trigger: trigger.clone(), result });
        let by_secrets = trigger == Trigger::Secrets;
        let failed = Failed { at, trigger, refused: refused.clone() };
        let place = if by_secrets { &mut self.secrets_failed } else { &mut self.failed };
        *place = Some(failed);
    }

    /// The reload that keeps the config from being as it should.
    pub(super) fn failed(&self) -> Option<&Failed> {
        self.failed.as_ref().or(self.secrets_failed.as_ref())
    }
}
