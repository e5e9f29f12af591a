use super::config::TimeoutConfig;
use super::limit::{Gauge, Limit};
use crate::error::{Phase, PolicyError, PolicyErrorKind};
use crate::policy::policy_changes;
use crate::settings::{Live, SettingsError};
use octostack_core::inspect::{Control, Inspect, Mode, Sink, Value};
use std::fmt;
use std::sync::Arc;

/// Forced open would end every call at once, forced closed is the same as disabled.
const MODES: &[Mode] = &[Mode::Enforce, Mode::Shadow, Mode::Disabled];

/// The state that all clones, layers and calls of a timeout share.
pub struct Shared {
    name: Arc<str>,
    pub(super) gauge: Gauge,
    pub(super) live: Live<TimeoutConfig>,
}

impl Shared {
    pub(super) fn new(
        name: Arc<str>,
        mode: Mode,
        settings: TimeoutConfig,
    ) -> Result<Self, SettingsError> {
        let gauge = Gauge::new(Limit::new(mode, settings.timeout), settings.margin);
        let live = Live::new(&name, mode, settings, MODES)?;
        Ok(Self { name, gauge, live })
    }

    #[cold]
    pub(super) fn timed_out(&self, phase: Phase) -> PolicyError {
        PolicyError::new(self.name.clone(), PolicyErrorKind::TimedOut).with_phase(phase)
    }

    /// Refuses a call whose caller has given up already.
    #[cold]
    pub(super) fn too_late(&self) -> PolicyError {
        self.gauge.reject();
        PolicyError::new(self.name.clone(), PolicyErrorKind::DeadlinePassed)
    }

    fn apply(&self, mode: Mode, settings: &TimeoutConfig) {
        self.gauge.apply(Limit::new(mode, settings.timeout), settings.margin);
    }
}

impl Inspect for Shared {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "timeout"
    }

    fn status(&self) -> Value {
        let [mode, settings, overridden] = self.live.status();
        Value::map([mode, overridden, settings, ("counters", self.gauge.totals().status())])
    }

    fn collect(&self, sink: &mut dyn Sink) {
        self.gauge.totals().collect(&self.name, self.kind(), sink);
    }

    fn abnormal(&self) -> Option<String> {
        crate::settings::unusual(self.mode())
    }

    fn control(&self) -> Option<&dyn Control> {
        Some(self)
    }
}

policy_changes!(Shared, TimeoutConfig);

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeout")
            .field("name", &self.name)
            .field("settings", &self.live)
            .finish_non_exhaustive()
    }
}
