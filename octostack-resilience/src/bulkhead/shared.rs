use super::config::BulkheadConfig;
use super::permits::{Answer, Permits};
use crate::error::{PolicyError, PolicyErrorKind};
use crate::policy::policy_changes;
use crate::settings::{Live, SettingsError};
use octostack_core::inspect::{Control, Inspect, Metric, Mode, Sink, Value};
use octostack_core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::fmt;
use std::sync::Arc;

use std::time::Duration;

pub(super) static IN_FLIGHT: Metric =
    Metric::gauge("octostack_bulkhead_in_flight", "Calls that have a place in a bulkhead.");

pub(super) static LIMIT: Metric =
    Metric::gauge("octostack_bulkhead_limit", "Places that a bulkhead has, by its settings.");

pub(super) static QUEUED: Metric =
    Metric::gauge("octostack_bulkhead_queued", "Calls that wait for a place in a bulkhead.");

/// Forced closed would be the same as disabled.
pub(super) const MODES: &[Mode] = &[Mode::Enforce, Mode::Shadow, Mode::Disabled, Mode::ForcedOpen];

/// The state that all clones, layers and permits of a bulkhead share.
pub struct Shared {
    name: Arc<str>,
    /// The key that it is for, if it is one of many and keys are shown.
    pub(super) key: Option<Arc<str>>,
    pub(super) permits: Permits,
    pub(super) live: Live<BulkheadConfig>,
    max_wait: AtomicU64,
}

impl Shared {
    pub(super) fn new(
        name: Arc<str>,
        mode: Mode,
        settings: BulkheadConfig,
    ) -> Result<Self, SettingsError> {
        let live = Live::new(&name, mode, settings, MODES)?;
        Ok(Self::with(name, None, live))
    }

    pub(super) fn with(name: Arc<str>, key: Option<Arc<str>>, live: Live<BulkheadConfig>) -> Self {
        let (mode, BulkheadConfig { max_concurrent, max_queue, max_wait }) = live.now();
        let permits = Permits::new(mode, max_concurrent, max_queue);
        Self { name, key, permits, live, max_wait: AtomicU64::new(nanos(max_wait)) }
    }

    #[inline]
    pub(super) fn ask(&self, may_wait: bool) -> Answer {
        self.permits.ask(may_wait)
    }

    #[cold]
    pub(super) fn full(&self) -> PolicyError {
        PolicyError::new(self.name.clone(), PolicyErrorKind::BulkheadFull)
    }

    #[cold]
    pub(super) fn too_late(&self) -> PolicyError {
        PolicyError::new(self.name.clone(), PolicyErrorKind::DeadlinePassed)
    }

    pub(super) fn max_wait(&self) -> Duration {
        Duration::from_nanos(self.max_wait.load(Relaxed))
    }

    pub(super) fn apply(&self, mode: Mode, settings: &BulkheadConfig) {
        self.max_wait.store(nanos(settings.max_wait), Relaxed);
        self.permits.apply(mode, settings.max_concurrent, settings.max_queue);
    }
}

/// The settings allow an hour at most, so that nothing is cut.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Inspect for Shared {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "bulkhead"
    }

    fn status(&self) -> Value {
        let (in_flight, queued) = self.permits.counts();
        let [mode, settings, overridden] = self.live.status();
        Value::map([
            ("in_flight", in_flight.into()),
            ("queued", queued.into()),
            mode,
            overridden,
            settings,
            ("counters", self.permits.totals().status()),
        ])
    }

    fn collect(&self, sink: &mut dyn Sink) {
        let labels = [("policy", &*self.name)];
        let (in_flight, queued) = self.permits.counts();
        sink.sample(&IN_FLIGHT, &labels, f64::from(in_flight));
        sink.sample(&LIMIT, &labels, f64::from(self.live.now().1.max_concurrent));
        sink.sample(&QUEUED, &labels, f64::from(queued));
        self.permits.totals().collect(&self.name, self.kind(), sink);
    }

    fn abnormal(&self) -> Option<String> {
        crate::settings::unusual(self.mode())
    }

    fn control(&self) -> Option<&dyn Control> {
        Some(self)
    }
}

policy_changes!(Shared, BulkheadConfig);

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (in_flight, queued) = self.permits.counts();
        f.debug_struct("Bulkhead")
            .field("name", &self.name)
            .field("in_flight", &in_flight)
            .field("queued", &queued)
            .field("settings", &self.live)
            .finish_non_exhaustive()
    }
}
