use super::super::gcra::{Rules, Stance};
use super::super::shared::{MODES, Origin, rate_limited};
use super::config::KeyedRateLimitConfig;
use super::store::Store;
use crate::error::PolicyError;
use crate::settings::{Live, SettingsError, require};
use octostack_core::inspect::{Control, Inspect, Metric, Mode, Patch, Problem, Sink, Value};
use octostack_core::{Clock, SystemClock};
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

static KEYS: Metric = Metric::gauge(
    "octostack_rate_limit_keys",
    "Keys that a rate limit remembers: those that do not have their whole burst.",
);

static EVICTIONS: Metric = Metric::counter(
    "octostack_rate_limit_evictions_total",
    "Keys that a rate limit forgot before they had recovered, since it may remember no more.",
);

/// The state that all clones, layers and calls of a keyed rate limit share.
pub struct Shared {
    name: Arc<str>,
    store: Store,
    live: Live<KeyedRateLimitConfig>,
    origin: Origin,
    /// What a key is, for operators.
    per: &'static str,
}

impl Shared {
    pub(super) fn new(
        name: Arc<str>,
        mode: Mode,
        settings: KeyedRateLimitConfig,
        per: &'static str,
    ) -> Result<Self, SettingsError> {
        let store = Store::new(rules(mode, &settings), settings.max_keys);
        let live = Live::new(&name, mode, settings, MODES)?;
        Ok(Self { name, store, live, origin: Origin::now(), per })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn settings(&self) -> KeyedRateLimitConfig {
        self.live.now().1
    }

    pub(super) fn mode(&self) -> Mode {
        self.live.now().0
    }

    /// Decides a call whose key, if it has one, is found by `key`; that is asked only if it
    /// matters.
    #[inline]
    pub(super) fn admit<K: Hash>(
        &self,
        key: impl FnOnce() -> Option<K>,
        weight: u32,
        clock: &impl Clock,
    ) -> Result<(), PolicyError> {
        match self.store.stance() {
            Stance::Pass => Ok(()),
            Stance::Refuse => Err(rate_limited(&self.name, self.store.refuse())),
            Stance::Judge => match key() {
                None => Ok(()),
                Some(key) => self
                    .store
                    .admit(&key, weight, self.origin.nanos(clock))
                    .map_err(|refused| rate_limited(&self.name, refused)),
            },
        }
    }

    /// How many keys it remembers.
    pub(super) fn keys(&self) -> usize {
        self.store.counts(self.origin.nanos(&SystemClock)).keys
    }

    fn apply(&self, mode: Mode, settings: &KeyedRateLimitConfig) {
        let now = self.origin.nanos(&SystemClock);
        self.store.apply(rules(mode, settings), settings.max_keys, now);
    }

    /// What cannot be changed while running, on top of what is wrong anyway.
    fn check_keys(&self, settings: &KeyedRateLimitConfig) -> Vec<Problem> {
        let (keys, fewest) = (settings.max_keys, self.store.fewest_keys());
        let mut problems = Vec::new();
        require(&mut problems, keys >= fewest, "settings.max_keys", || {
            format!("{keys} needs a restart: while running it can shrink to {fewest}")
        });
        problems
    }

    pub(super) fn check_settings(
        &self,
        settings: &KeyedRateLimitConfig,
    ) -> Result<(), SettingsError> {
        let within = |p: Problem| Problem::new(format!("settings.{}", p.key), p.message);
        let wrong = settings.validate().err().into_iter().flatten();
        let mut problems: Vec<_> = wrong.map(within).collect();
        problems.extend(self.check_keys(settings));
        if problems.is_empty() {
            return Ok(());
        }
        Err(SettingsError { policy: self.name.to_string(), problems })
    }

    pub(super) fn reconfigure(
        &self,
        mode: Option<Mode>,
        settings: Option<KeyedRateLimitConfig>,
    ) -> Result<(), SettingsError> {
        if let Some(settings) = &settings {
            self.check_settings(settings)?;
        }
        self.live.change(&self.name, mode, settings, |mode, settings| self.apply(mode, settings))
    }
}

fn rules(mode: Mode, settings: &KeyedRateLimitConfig) -> Rules {
    Rules::new(mode, settings.limit, settings.period, settings.burst)
}

/// It shows how many keys there are and none of them: they may be addresses of people, or secrets.
impl Inspect for Shared {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "rate_limit"
    }

    fn status(&self) -> Value {
        let counts = self.store.counts(self.origin.nanos(&SystemClock));
        let [mode, settings, overridden] = self.live.status();
        Value::map([
            ("per", self.per.into()),
            ("keys", counts.keys.into()),
            ("evictions", counts.evicted.into()),
            mode,
            overridden,
            settings,
            ("counters", counts.totals.status()),
        ])
    }

    fn collect(&self, sink: &mut dyn Sink) {
        let counts = self.store.counts(self.origin.nanos(&SystemClock));
        let labels = [("policy", &*self.name)];
        sink.sample(&KEYS, &labels, counts.keys as f64);
        sink.sample(&EVICTIONS, &labels, counts.evicted as f64);
        counts.totals.collect(&self.name, self.kind(), sink);
    }

    fn abnormal(&self) -> Option<String> {
        crate::settings::unusual(self.mode())
    }

    fn control(&self) -> Option<&dyn Control> {
        Some(self)
    }
}

impl Control for Shared {
    fn check(&self, patch: &Patch) -> Result<(), Vec<Problem>> {
        self.live.check_with(Some(patch), |settings| self.check_keys(settings))
    }

    fn set_override(&self, patch: Option<&Patch>) -> Result<(), Vec<Problem>> {
        self.live.check_with(patch, |settings| self.check_keys(settings))?;
        self.live.set_override(patch, |mode, settings| self.apply(mode, settings))
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedRateLimit")
            .field("name", &self.name)
            .field("settings", &self.live)
            .finish_non_exhaustive()
    }
}
