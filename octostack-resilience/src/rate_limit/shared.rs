use super::config::RateLimitConfig;
use super::gcra::{Refused, Rules};
use super::limiter::{LATEST, Limiter};
use crate::error::{PolicyError, PolicyErrorKind};
use crate::policy::policy_changes;
use crate::settings::{Live, SettingsError};
use octostack_core::inspect::{Control, Inspect, Mode, Sink, Value};
use octostack_core::{Clock, SystemClock};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// Forced closed would be the same as disabled.
pub(super) const MODES: &[Mode] = &[Mode::Enforce, Mode::Shadow, Mode::Disabled, Mode::ForcedOpen];

/// The state that all clones, layers and calls of a rate limit share.
pub struct Shared {
    name: Arc<str>,
    limiter: Limiter,
    live: Live<RateLimitConfig>,
    origin: Origin,
}

impl Shared {
    pub(super) fn new(
        name: Arc<str>,
        mode: Mode,
        settings: RateLimitConfig,
    ) -> Result<Self, SettingsError> {
        let limiter = Limiter::new(rules(mode, &settings));
        let live = Live::new(&name, mode, settings, MODES)?;
        Ok(Self { name, limiter, live, origin: Origin::now() })
    }

    #[inline]
    pub(super) fn admit(&self, weight: u32, clock: &impl Clock) -> Result<(), PolicyError> {
        self.limiter
            .admit(weight, || self.origin.nanos(clock))
            .map_err(|refused| rate_limited(&self.name, refused))
    }

    fn apply(&self, mode: Mode, settings: &RateLimitConfig) {
        self.limiter.apply(rules(mode, settings), self.origin.nanos(&SystemClock));
    }
}

fn rules(mode: Mode, settings: &RateLimitConfig) -> Rules {
    Rules::new(mode, settings.limit, settings.period, settings.burst)
}

#[cold]
pub(super) fn rate_limited(name: &Arc<str>, refused: Refused) -> PolicyError {
    let error = PolicyError::new(name.clone(), PolicyErrorKind::RateLimited);
    error.with_retry_after(refused.retry_after)
}

/// When a policy was built: its times are nanoseconds since then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin(Instant);

impl Origin {
    pub(super) fn now() -> Self {
        Self(SystemClock.now())
    }

    #[inline]
    pub(super) fn nanos(self, clock: &impl Clock) -> u64 {
        let passed = clock.now().saturating_duration_since(self.0).as_nanos();
        u64::try_from(passed).unwrap_or(LATEST).min(LATEST)
    }
}

impl Inspect for Shared {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "rate_limit"
    }

    fn status(&self) -> Value {
        let (rules, available) = self.limiter.available(self.origin.nanos(&SystemClock));
        let limited = rules.interval > 0;
        let [mode, settings, overridden] = self.live.status();
        Value::map([
            ("available", if limited { available.into() } else { Value::Null }),
            mode,
            overridden,
            settings,
            ("counters", self.limiter.totals().status()),
        ])
    }

    fn collect(&self, sink: &mut dyn Sink) {
        self.limiter.totals().collect(&self.name, self.kind(), sink);
    }

    fn abnormal(&self) -> Option<String> {
        crate::settings::unusual(self.mode())
    }

    fn control(&self) -> Option<&dyn Control> {
        Some(self)
    }
}

policy_changes!(Shared, RateLimitConfig);

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("name", &self.name)
            .field("settings", &self.live)
            .finish_non_exhaustive()
    }
}
