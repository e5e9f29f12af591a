use super::buckets::{BucketsError, Matcher, Rules};
use super::cache::Caches;
use super::family::{Description, Family, Fixed, Found, Named};
use super::names::{self, Kind};
use super::refusal::{Refused, Why};
use crate::metrics::encode::{Groups, HISTOGRAM_SAMPLES, histogram_of};
use crate::metrics::{self as own, Counter};
use ::metrics::{Key, Unit};
use octostack_core::Registry;
use octostack_core::inspect::Event;
use octostack_core::sync::{Mutex, lock};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What came through the facade.
#[derive(Debug)]
pub(in crate::metrics) struct Recorded {
    store: Mutex<Store>,
    pub(super) caches: Caches,
    limits: Limits,
    dropped: own::Family<Counter, 1>,
    events: Registry,
    /// What was told of as an event.
    told: Mutex<BTreeSet<Refused>>,
}

/// How much the facade may bring.
#[derive(Clone, Copy, Debug)]
pub(in crate::metrics) struct Limits {
    /// Metrics.
    pub(in crate::metrics) names: usize,
    /// Series of one metric.
    pub(in crate::metrics) series: usize,
}

impl Limits {
    /// Series of all metrics together, in full metrics.
    const TOTAL: usize = 10;
}

#[derive(Debug)]
struct Store {
    /// By kind and name without unit and `_total`.
    families: BTreeMap<(Kind, String), Named>,
    /// The kinds of their names on the page.
    pages: BTreeMap<Arc<str>, Kind>,
    rules: Rules,
    /// How many series may still come.
    left: usize,
}

impl Recorded {
    /// Events beyond these would push all others off the list; the counter goes on.
    const TOLD: usize = 20;

    pub(in crate::metrics) fn new(
        limits: Limits,
        dropped: own::Family<Counter, 1>,
        events: Registry,
    ) -> Self {
        let store = Store {
            families: BTreeMap::new(),
            pages: BTreeMap::new(),
            rules: Rules::default(),
            left: limits.series.saturating_mul(Limits::TOTAL),
        };
        Self {
            store: Mutex::new(store),
            caches: Caches::new(limits.names),
            limits,
            dropped,
            events,
            told: Mutex::new(BTreeSet::new()),
        }
    }

    /// The series of a key.
    pub(super) fn register(&self, kind: Kind, key: &Key, target: &str) -> Result<Found, Refused> {
        let store = &mut *lock(&self.store);
        let raw = key.name();
        let base = names::base(kind, raw).map_err(|why| Refused::unnamed(raw, why))?;
        let labels = names::labels(key.labels());
        let named = self.named(store, kind, &base, None)?;
        let refused = |why| Refused { metric: String::from(&*named.page), why };
        let labels = labels.map_err(refused)?;
        let family = &*named.family;
        let fixed = family.fixed.get_or_init(|| Fixed {
            recorded_by: names::help(&format!("Recorded by {target}.")),
            bounds: match kind {
                Kind::Histogram => store.rules.of(&base, family.unit()),
                Kind::Counter | Kind::Gauge => Arc::default(),
            },
            dropped: self.dropped.declare([&named.page]),
        });
        family.series(key, labels, fixed, self.limits.series, &mut store.left).map_err(refused)
    }

    /// Takes note of help text and unit, if they are the first.
    pub(super) fn describe(
        &self,
        kind: Kind,
        raw: &str,
        unit: Option<Unit>,
        text: &str,
    ) -> Result<(), Refused> {
        let store = &mut *lock(&self.store);
        let base = names::base(kind, raw).map_err(|why| Refused::unnamed(raw, why))?;
        let named = self.named(store, kind, &base, unit)?;
        let description = Description { help: names::help(text), unit };
        if named.family.described.set(description).is_err() {
            return Ok(());
        }
        let page = names::on_page(kind, &base, unit);
        store.rename(&named, (kind, base), page)
    }

    /// The family of this name; makes it if the name is free.
    fn named(
        &self,
        store: &mut Store,
        kind: Kind,
        base: &str,
        unit: Option<Unit>,
    ) -> Result<Named, Refused> {
        let id = (kind, base.to_owned());
        if let Some(known) = store.families.get(&id) {
            return Ok(known.clone());
        }
        let page = names::on_page(kind, base, unit);
        let why = match store.is_free(&page, kind) {
            false => Why::Taken,
            true if store.families.len() >= self.limits.names => Why::Names,
            true => {
                let family = Arc::new(Family::new(kind));
                let named = Named { page: page.into(), family };
                store.pages.insert(named.page.clone(), kind);
                store.families.insert(id, named.clone());
                return Ok(named);
            }
        };
        Err(Refused { metric: page, why })
    }

    /// Counts something refused, and tells of it the first time.
    pub(super) fn refuse(&self, refused: Refused) {
        self.dropped.with([&refused.metric]).increment();
        let last = {
            let mut told = lock(&self.told);
            // Before the event: whoever hears of it may record something itself.
            if told.len() >= Self::TOLD || !told.insert(refused.clone()) {
                return;
            }
            told.len() == Self::TOLD
        };
        let Refused { metric, why } = refused;
        let and_more = if last { "; more of this is only counted" } else { "" };
        let event = Event::new("metric_refused", &*metric, format!("`{metric}` {why}{and_more}"));
        self.events.emit(event.with("reason", why.code()));
    }

    /// Sets the bounds of histograms that are not recorded yet.
    pub(super) fn set_buckets(&self, matcher: Matcher, bounds: &[f64]) -> Result<(), BucketsError> {
        let store = &mut *lock(&self.store);
        let rules = store.rules.with(matcher, bounds)?;
        for ((_, base), Named { page, family }) in &store.families {
            let fixed = family.fixed.get().filter(|_| family.kind == Kind::Histogram);
            let Some(Fixed { bounds: fixed, .. }) = fixed else { continue };
            let (before, after) =
                (store.rules.of(base, family.unit()), rules.of(base, family.unit()));
            // A unit that came later may have asked for others before, and that is no news.
            if after != before && after != *fixed {
                return Err(BucketsError::Late { metric: String::from(&**page) });
            }
        }
        store.rules = rules;
        Ok(())
    }

    /// What there is to show.
    pub(in crate::metrics) fn metrics(&self) -> Vec<Named> {
        let mut all: Vec<_> = lock(&self.store).families.values().cloned().collect();
        all.retain(|named| !named.is_empty());
        all
    }

    /// Puts `metrics` on a page. What the program registered itself or lets inspect is there
    /// already, and a metric that it clashes with is left out.
    pub(in crate::metrics) fn collect<'a>(&self, metrics: &'a [Named], groups: &mut Groups<'a>) {
        for named in metrics {
            if named.announce(groups) {
                named.collect(groups);
            } else {
                let metric = String::from(&*named.page);
                self.refuse(Refused { metric, why: Why::Taken });
            }
        }
    }
}

impl Store {
    /// Whether a page with this metric as well would still be a valid one.
    fn is_free(&self, page: &str, kind: Kind) -> bool {
        let of = histogram_of(page).and_then(|histogram| self.pages.get(histogram));
        let is_sample = of == Some(&Kind::Histogram);
        let has_samples = || {
            let mut samples = HISTOGRAM_SAMPLES.iter().map(|suffix| format!("{page}{suffix}"));
            samples.any(|sample| self.pages.contains_key(&*sample))
        };
        let hides = kind == Kind::Histogram && has_samples();
        !(self.pages.contains_key(page) || is_sample || hides)
    }

    /// Gives a family the name that its unit asks for, if that is free.
    fn rename(&mut self, named: &Named, id: (Kind, String), page: String) -> Result<(), Refused> {
        if *named.page == *page {
            return Ok(());
        }
        let kind = id.0;
        self.pages.remove(&named.page);
        if !self.is_free(&page, kind) {
            self.pages.insert(named.page.clone(), kind);
            return Err(Refused { metric: String::from(&*named.page), why: Why::Unit });
        }
        let renamed = Named { page: page.into(), family: named.family.clone() };
        self.pages.insert(renamed.page.clone(), kind);
        self.families.insert(id, renamed);
        Ok(())
    }
}
