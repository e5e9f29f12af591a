use super::config::FallbackConfig;
use super::tally::{Rules, Tally};
use crate::outcome::Outcome;
use crate::policy::policy_changes;
use crate::settings::{Live, SettingsError};
use octostack_core::inspect::{Control, Inspect, Metric, Mode, Sink, Value};
use std::fmt;
use std::sync::Arc;

static ANSWERS: Metric = Metric::counter(
    "octostack_fallback_answers_total",
    "Answers that a fallback gave in place of others, by how it went with them.",
);

/// Forced open would need an answer to nothing, forced closed is the same as disabled.
const MODES: &[Mode] = &[Mode::Enforce, Mode::Shadow, Mode::Disabled];

/// The state that all clones, layers and calls of a fallback share.
pub struct Shared {
    name: Arc<str>,
    pub(super) tally: Tally,
    live: Live<FallbackConfig>,
}

impl Shared {
    pub(super) fn new(
        name: Arc<str>,
        mode: Mode,
        settings: FallbackConfig,
    ) -> Result<Self, SettingsError> {
        let tally = Tally::new(Rules::new(mode, settings.on));
        let live = Live::new(&name, mode, settings, MODES)?;
        Ok(Self { name, tally, live })
    }

    fn apply(&self, mode: Mode, settings: &FallbackConfig) {
        self.tally.set_rules(Rules::new(mode, settings.on));
    }

    fn answers(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Outcome::ALL.into_iter().map(Outcome::as_str).zip(self.tally.answers())
    }
}

impl Inspect for Shared {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "fallback"
    }

    fn status(&self) -> Value {
        let [mode, settings, overridden] = self.live.status();
        let answers = self.answers().map(|(outcome, count)| (outcome, count.into()));
        Value::map([
            mode,
            overridden,
            settings,
            ("counters", self.tally.totals().status()),
            ("answers", Value::map(answers)),
        ])
    }

    fn collect(&self, sink: &mut dyn Sink) {
        self.tally.totals().collect(&self.name, self.kind(), sink);
        for (outcome, count) in self.answers() {
            let labels = [("policy", &*self.name), ("outcome", outcome)];
            sink.sample(&ANSWERS, &labels, count as f64);
        }
    }

    fn abnormal(&self) -> Option<String> {
        crate::settings::unusual(self.mode())
    }

    fn control(&self) -> Option<&dyn Control> {
        Some(self)
    }
}

policy_changes!(Shared, FallbackConfig);

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fallback")
            .field("name", &self.name)
            .field("settings", &self.live)
            .finish_non_exhaustive()
    }
}
