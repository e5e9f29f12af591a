use crate::declared::Declared;
use crate::evaluation::OTHER;
use crate::store::Shared;
use crate::variant::{Counts, Text};
use octostack_core::inspect::{Control, Inspect, Metric, Mode, Patch, Problem, Sink, Value};
use octostack_core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use octostack_core::sync::{Mutex, lock};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Weak};

/// What the registry calls a flag, and what an override of one is called.
pub(crate) const FLAG: &str = "flag";

/// The most variants of one flag that are counted by name over the life of the process; a file
/// that invents new ones at each reload must not fill the memory.
const MAX_COUNTED: usize = 100;

pub(crate) static EVALUATIONS: Metric = Metric::counter(
    "octostack_flag_evaluations_total",
    "Evaluations of feature flags, by the variant that they gave and the reason.",
);
static OUTSIDE: Metric = Metric::counter(
    "octostack_flag_evaluations_outside_request_total",
    "Evaluations of feature flags that had no request and so no context.",
);

/// What stays of a flag when the file is replaced: its key and its counters. The registry lists
/// it, and operators override it.
pub(crate) struct Entry {
    key: Text,
    declared: Option<&'static dyn Declared>,
    counts: Mutex<BTreeMap<String, Arc<Counts>>>,
    none: Arc<Counts>,
    outside: AtomicU64,
    store: Weak<Shared>,
}

impl Entry {
    pub(crate) fn new(
        key: &str,
        declared: Option<&'static dyn Declared>,
        store: Weak<Shared>,
    ) -> Self {
        Self {
            key: Text::shared(key),
            declared,
            counts: Mutex::new(BTreeMap::new()),
            none: Arc::default(),
            outside: AtomicU64::new(0),
            store,
        }
    }

    #[inline]
    pub(crate) fn name(&self) -> &str {
        &self.key
    }

    pub(crate) fn key(&self) -> Text {
        self.key.clone()
    }

    pub(crate) const fn declared(&self) -> Option<&'static dyn Declared> {
        self.declared
    }

    /// The counters of a variant: the same ones for every snapshot.
    pub(crate) fn counts(&self, variant: &str) -> Arc<Counts> {
        let mut counts = lock(&self.counts);
        let full = counts.len() >= MAX_COUNTED && !counts.contains_key(variant);
        counts.entry(if full { OTHER } else { variant }.to_owned()).or_default().clone()
    }

    /// The counters of answers that are no variant.
    pub(crate) fn none(&self) -> Arc<Counts> {
        self.none.clone()
    }

    #[inline]
    pub(crate) fn count_outside(&self) {
        self.outside.fetch_add(1, Relaxed);
    }

    /// How often each variant was the answer, and why; no variant has the empty name.
    pub(crate) fn evaluations(&self) -> Vec<(String, Arc<Counts>)> {
        let mut all = vec![(String::new(), self.none.clone())];
        all.extend(lock(&self.counts).iter().map(|(name, counts)| (name.clone(), counts.clone())));
        all
    }

    pub(crate) fn outside(&self) -> u64 {
        self.outside.load(Relaxed)
    }
}

impl Inspect for Entry {
    fn name(&self) -> &str {
        &self.key
    }

    fn kind(&self) -> &'static str {
        FLAG
    }

    fn status(&self) -> Value {
        self.store.upgrade().map_or(Value::Null, |store| store.status_of(self.name()))
    }

    fn collect(&self, sink: &mut dyn Sink) {
        for (variant, counts) in self.evaluations() {
            for (reason, count) in counts.each() {
                let labels = [
                    ("feature_flag_key", self.name()),
                    ("feature_flag_result_variant", &variant),
                    ("feature_flag_result_reason", reason.as_str()),
                ];
                #[allow(clippy::cast_precision_loss, reason = "samples are floats")]
                sink.sample(&EVALUATIONS, &labels, count as f64);
            }
        }
        let outside = self.outside();
        if outside > 0 {
            #[allow(clippy::cast_precision_loss, reason = "samples are floats")]
            sink.sample(&OUTSIDE, &[("feature_flag_key", self.name())], outside as f64);
        }
    }

    fn abnormal(&self) -> Option<String> {
        self.store.upgrade()?.abnormal_of(self.name())
    }

    fn control(&self) -> Option<&dyn Control> {
        Some(self)
    }
}

impl Control for Entry {
    fn target_kind(&self) -> &'static str {
        FLAG
    }

    fn check(&self, patch: &Patch) -> Result<(), Vec<Problem>> {
        let variant = wanted(patch)?;
        let store = self.store.upgrade();
        store.map_or(Ok(()), |store| store.check_variant(self.name(), variant))
    }

    fn set_override(&self, patch: Option<&Patch>) -> Result<(), Vec<Problem>> {
        // Whether there is such a variant was asked before; a reload may have come between, or the
        // flag comes back without it.
        let variant = patch.map(wanted).transpose()?;
        if let Some(store) = self.store.upgrade() {
            store.force(self.name(), variant);
        }
        Ok(())
    }
}

/// The variant that a patch asks for.
fn wanted(patch: &Patch) -> Result<&str, Vec<Problem>> {
    let mut problems = Vec::new();
    if patch.mode.is_some() {
        let known = Mode::ALL.map(Mode::as_str).join(", ");
        problems
            .push(Problem::new("mode", format!("a flag has no mode ({known}); give a variant")));
    }
    let mut variant = None;
    for (key, value) in &patch.settings {
        match (&**key, value) {
            ("variant", Value::Text(name)) => variant = Some(&**name),
            ("variant", other) => {
                let what = format!("expected the name of a variant, found {}", other.type_name());
                problems.push(Problem::new("variant", what));
            }
            _ => problems.push(Problem::new(key, "there is no such field; there are variant, ttl")),
        }
    }
    match variant {
        Some(variant) if problems.is_empty() => Ok(variant),
        None if problems.is_empty() => Err(vec![Problem::new("variant", "is missing")]),
        _ => Err(problems),
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("key", &self.key).finish_non_exhaustive()
    }
}
