use super::config::LoadShedConfig;
use super::gate::{Gate, Refused, Rules};
use crate::error::{PolicyError, PolicyErrorKind};
use crate::policy::policy_changes;
use crate::settings::{Live, SettingsError};
use octostack_core::inspect::{Control, Inspect, Mode, Sink, Value};
use std::fmt;
use std::sync::Arc;

/// Forced closed would be the same as disabled.
const MODES: &[Mode] = &[Mode::Enforce, Mode::Shadow, Mode::Disabled, Mode::ForcedOpen];

/// The state that all clones, layers and calls of a load shed share.
pub struct Shared {
    name: Arc<str>,
    gate: Gate,
    live: Live<LoadShedConfig>,
}

impl Shared {
    pub(super) fn new(
        name: Arc<str>,
        mode: Mode,
        settings: LoadShedConfig,
    ) -> Result<Self, SettingsError> {
        let gate = Gate::new(Rules::new(mode, settings.retry_after));
        let live = Live::new(&name, mode, settings, MODES)?;
        Ok(Self { name, gate, live })
    }

    #[inline]
    pub(super) fn admit(&self, ready: bool) -> Result<(), PolicyError> {
        self.gate.admit(ready).map_err(|refused| self.overloaded(refused))
    }

    #[cold]
    fn overloaded(&self, refused: Refused) -> PolicyError {
        let error = PolicyError::new(self.name.clone(), PolicyErrorKind::Overloaded);
        error.with_retry_after(refused.retry_after)
    }

    fn apply(&self, mode: Mode, settings: &LoadShedConfig) {
        self.gate.set_rules(Rules::new(mode, settings.retry_after));
    }
}

impl Inspect for Shared {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "load_shed"
    }

    fn status(&self) -> Value {
        let [mode, settings, overridden] = self.live.status();
        Value::map([mode, overridden, settings, ("counters", self.gate.totals().status())])
    }

    fn collect(&self, sink: &mut dyn Sink) {
        self.gate.totals().collect(&self.name, self.kind(), sink);
    }

    fn abnormal(&self) -> Option<String> {
        crate::settings::unusual(self.mode())
    }

    fn control(&self) -> Option<&dyn Control> {
        Some(self)
    }
}

policy_changes!(Shared, LoadShedConfig);

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadShed")
            .field("name", &self.name)
            .field("settings", &self.live)
            .finish_non_exhaustive()
    }
}
