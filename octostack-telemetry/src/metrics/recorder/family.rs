use super::instruments::Instrument;
use super::names::{Kind, Labels};
use super::refusal::Why;
use crate::metrics::Counter;
use crate::metrics::encode::Groups;
use ::metrics::{Key, Unit};
use octostack_core::sync::{Mutex, lock};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// A metric that came through the facade: all series of one name and kind.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) kind: Kind,
    /// What the first `describe_*` said.
    pub(super) described: OnceLock<Description>,
    /// What is fixed when the first series is made.
    pub(super) fixed: OnceLock<Fixed>,
    series: Mutex<BTreeMap<String, Series>>,
}

#[derive(Debug)]
pub(super) struct Description {
    pub(super) help: String,
    pub(super) unit: Option<Unit>,
}

#[derive(Debug)]
pub(super) struct Fixed {
    /// Where it was recorded first, as a help text for a metric that nobody describes.
    pub(super) recorded_by: String,
    /// Upper bounds of the buckets; empty unless it is a histogram.
    pub(super) bounds: Arc<[f64]>,
    /// Counts what is refused of it.
    pub(super) dropped: Counter,
}

#[derive(Debug)]
struct Series {
    instrument: Instrument,
    /// The key that it was made for; none if that was too long to keep.
    key: Option<Key>,
}

/// A series, as the recorder finds it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) instrument: Instrument,
    /// A key to remember it by: the first one it was made for. Keys that come out the same on the
    /// page are without number, so what remembers keys must not remember those.
    pub(super) key: Option<Key>,
}

impl Family {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            described: OnceLock::new(),
            fixed: OnceLock::new(),
            series: Mutex::new(BTreeMap::new()),
        }
    }

    pub(super) fn unit(&self) -> Option<Unit> {
        self.described.get().and_then(|description| description.unit)
    }

    fn help(&self) -> &str {
        let described = self.described.get().map(|description| &*description.help);
        let described = described.filter(|help| !help.is_empty());
        described.or(self.fixed.get().map(|fixed| &*fixed.recorded_by)).unwrap_or_default()
    }

    /// The series with these labels; makes it if `limit` and the free places in `left` allow.
    pub(super) fn series(
        &self,
        key: &Key,
        labels: Labels,
        fixed: &Fixed,
        limit: usize,
        left: &mut usize,
    ) -> Result<Found, Why> {
        let series = &mut *lock(&self.series);
        if let Some(known) = series.get(&labels.text) {
            let key = known.key.clone().filter(|first| first == key);
            return Ok(Found { instrument: known.instrument.clone(), key });
        }
        if series.len() >= limit {
            return Err(Why::Series);
        }
        *left = left.checked_sub(1).ok_or(Why::Total)?;
        let instrument = Instrument::new(self.kind, &fixed.bounds, &fixed.dropped);
        let key = (!labels.cut).then(|| key.to_retained());
        let made = Series { instrument: instrument.clone(), key: key.clone() };
        series.insert(labels.text, made);
        Ok(Found { instrument, key })
    }
}

/// A family and its name on the page.
#[derive(Clone, Debug)]
pub(in crate::metrics) struct Named {
    pub(super) page: Arc<str>,
    pub(super) family: Arc<Family>,
}

impl Named {
    /// Whether there is anything to show.
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.family.series).is_empty()
    }

    /// Whether the name is free.
    pub(super) fn announce<'a>(&'a self, groups: &mut Groups<'a>) -> bool {
        groups.announce_if_free(&self.page, self.family.help(), self.family.kind.as_str())
    }

    pub(super) fn collect(&self, groups: &mut Groups<'_>) {
        for (labels, series) in &*lock(&self.family.series) {
            groups.insert(&self.page, labels, series.instrument.read());
        }
    }
}
