use super::config::KeyedBulkheadConfig;
use super::unit::Rules;
use crate::bulkhead::shared::{IN_FLIGHT, LIMIT, MODES, QUEUED, Shared as Places};
use crate::keyed::{KeyedRules, SHOWN, ShowKey, Store};
use crate::settings::{Live, SettingsError};
use octostack_core::inspect::{Control, Inspect, Metric, Mode, Patch, Problem, Sink, Value};
use octostack_core::{Clock, SystemClock};
use std::hash::Hash;
use std::sync::Arc;

static KEYS: Metric =
    Metric::gauge("octostack_bulkhead_keys", "Keys that have places of their own in a bulkhead.");

static EVICTIONS: Metric = Metric::counter(
    "octostack_bulkhead_evictions_total",
    "Keys without a call that a bulkhead forgot since another key needed the room.",
);

static OVERFLOW: Metric = Metric::counter(
    "octostack_bulkhead_overflow_total",
    "Calls of keys that shared the places of one, since there was no room for their own.",
);

/// The state that all clones, layers and calls of a keyed bulkhead share.
pub(super) struct Shared<K> {
    pub(super) name: Arc<str>,
    pub(super) store: Store<K, Places>,
    pub(super) live: Live<KeyedBulkheadConfig>,
}

impl<K: Hash + Eq + Clone + Send + Sync + 'static> Shared<K> {
    pub(super) fn new(
        name: Arc<str>,
        mode: Mode,
        settings: &KeyedBulkheadConfig,
        show: Option<ShowKey<K>>,
        clock: &impl Clock,
    ) -> Result<Self, SettingsError> {
        let live = Live::new(&name, mode, settings.clone(), MODES)?;
        let store = Store::new(rules(&name, mode, settings), show, clock);
        Ok(Self { name, store, live })
    }

    fn apply(&self, mode: Mode, settings: &KeyedBulkheadConfig) {
        let rules = rules(&self.name, mode, settings);
        self.store.apply(&rules, |places| places.apply(mode, &rules.each.settings));
    }

    pub(super) fn reconfigure(
        &self,
        mode: Option<Mode>,
        settings: Option<KeyedBulkheadConfig>,
    ) -> Result<(), SettingsError> {
        self.live.change(&self.name, mode, settings, |mode, settings| self.apply(mode, settings))
    }
}

fn rules(name: &Arc<str>, mode: Mode, settings: &KeyedBulkheadConfig) -> KeyedRules<Places> {
    let each = Rules { name: name.clone(), mode, settings: settings.each() };
    KeyedRules { each, max_keys: settings.max_keys, idle_for: settings.idle_for }
}

/// Places in use and calls that wait, in all.
#[derive(Default)]
struct InUse {
    in_flight: u64,
    queued: u64,
}

impl InUse {
    fn count(&mut self, places: &Places) {
        let (in_flight, queued) = places.permits.counts();
        self.in_flight += u64::from(in_flight);
        self.queued += u64::from(queued);
    }
}

/// A bulkhead that is in use, for operators.
fn shown(places: &Places) -> Option<Value> {
    let (key, (in_flight, queued)) = (places.key.as_ref()?, places.permits.counts());
    (in_flight + queued > 0).then(|| {
        Value::map([
            ("key", Value::from(key.to_string())),
            ("in_flight", in_flight.into()),
            ("queued", queued.into()),
        ])
    })
}

impl<K: Hash + Eq + Clone + Send + Sync + 'static> Inspect for Shared<K> {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "bulkhead"
    }

    fn status(&self) -> Value {
        let (mut all, mut in_use) = (InUse::default(), Vec::new());
        let look = self.store.look(&SystemClock, |places| {
            all.count(places);
            if in_use.len() < SHOWN {
                in_use.extend(shown(places));
            }
        });
        all.count(self.store.overflow());
        let [mode, settings, overridden] = self.live.status();
        Value::map([
            ("keys", look.keys.into()),
            ("in_flight", all.in_flight.into()),
            ("queued", all.queued.into()),
            ("evictions", look.evicted.into()),
            ("overflow", look.overflowed.into()),
            mode,
            overridden,
            settings,
            ("counters", look.sum.status()),
            ("in_use", Value::List(in_use)),
        ])
    }

    fn collect(&self, sink: &mut dyn Sink) {
        let mut all = InUse::default();
        let look = self.store.look(&SystemClock, |places| all.count(places));
        all.count(self.store.overflow());
        let labels = [("policy", &*self.name)];
        // That of the overflow is there too.
        let limit = u64::from(self.live.now().1.max_concurrent) * (look.keys as u64 + 1);
        sink.sample(&IN_FLIGHT, &labels, all.in_flight as f64);
        sink.sample(&LIMIT, &labels, limit as f64);
        sink.sample(&QUEUED, &labels, all.queued as f64);
        sink.sample(&KEYS, &labels, look.keys as f64);
        sink.sample(&EVICTIONS, &labels, look.evicted as f64);
        sink.sample(&OVERFLOW, &labels, look.overflowed as f64);
        look.sum.collect(&self.name, self.kind(), sink);
    }

    fn abnormal(&self) -> Option<String> {
        crate::settings::unusual(self.live.now().0)
    }

    fn control(&self) -> Option<&dyn Control> {
        Some(self)
    }
}

impl<K: Hash + Eq + Clone + Send + Sync + 'static> Control for Shared<K> {
    fn check(&self, patch: &Patch) -> Result<(), Vec<Problem>> {
        self.live.check_with(Some(patch), |_| Vec::new())
    }

    fn set_override(&self, patch: Option<&Patch>) -> Result<(), Vec<Problem>> {
        self.live.set_override(patch, |mode, settings| self.apply(mode, settings))
    }
}
