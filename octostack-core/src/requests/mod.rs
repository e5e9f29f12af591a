//! Which requests are in flight: route, age, trace.
//!
//! "What is it doing?" is the first question at night, and "what does it wait for?" the first one
//! when a drain takes long. Log lines answer neither: they are written when a request has ended.
//!
//! [`Requests`] is a table with a slot for each request in flight. To take one costs a request two
//! atomic additions to memory of its own thread and a few stores: no lock, no allocation, no text.
//! A slot holds numbers; what they stand for is asked of whoever put them in, when somebody looks.
//! The layers of `octostack-telemetry` fill it (`http::in_flight`); `/requestz` of the admin port
//! shows it, [`Lifecycle::run`](crate::lifecycle::Lifecycle::run) logs what it waits for by it.
#![cfg_attr(not(feature = "lifecycle"), allow(rustdoc::broken_intra_doc_links))]
//!
//! ```
//! use octostack_core::requests::{Numbers, Requests, Stage};
//! use octostack_core::{Clock, SystemClock};
//! use std::time::Duration;
//!
//! let requests = Requests::new();
//! let routes = ["/orders", "/orders/{id}"];
//! let source = requests.source(move |numbers, request| {
//!     request.route = routes.get(numbers.route as usize).map(|route| (*route).to_owned());
//! });
//!
//! let start = SystemClock.now();
//! let ticket = source.begin(Numbers { route: 1, ..Numbers::default() }, start);
//! source.reached(&ticket, Stage::Body);
//!
//! let seen = requests.oldest(10, Duration::ZERO, start + Duration::from_secs(3));
//! assert_eq!(seen.total, 1);
//! assert_eq!(seen.requests[0].route.as_deref(), Some("/orders/{id}"));
//! assert_eq!(seen.requests[0].age, Duration::from_secs(3));
//!
//! source.end(ticket);
//! assert_eq!(requests.count(), 0);
//! ```
mod shown;
mod slots;
mod table;
#[cfg(test)]
#[cfg(not(octostack_loom))]
mod tests;

pub use shown::{Request, Seen, Stage};

use crate::{Clock, SystemClock};
use slots::Record;
use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use table::{Place, Table};

/// The requests that are in flight; see the [module docs](self).
///
/// Clones are cheap and share the table. It has room for about 131,000 requests of each processor,
/// up to eight; what goes beyond that is served and not shown.
#[derive(Clone)]
pub struct Requests {
    shared: Arc<Shared>,
}

type Explain = Arc<dyn Fn(&Numbers, &mut Request) + Send + Sync>;

struct Shared {
    /// What starts are counted from.
    base: Instant,
    table: Table,
    /// Who can say what numbers stand for. Written when a service is built.
    sources: RwLock<Vec<Explain>>,
}

/// What is kept of a request while it is in flight. What the numbers mean is up to the
/// [`Source`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Which method.
    pub method: u8,
    /// Which route.
    pub route: u32,
    /// What leads to ids of the request, such as the id of its span.
    pub tag: u64,
}

impl Requests {
    /// An empty table.
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                base: SystemClock.now(),
                table: Table::new(),
                sources: RwLock::default(),
            }),
        }
    }

    /// Somebody who puts requests in. `explain` says what its numbers stand for: it is called when
    /// somebody looks, on the thread that does, with a request of which only age and stage are
    /// known.
    pub fn source<F>(&self, explain: F) -> Source
    where
        F: Fn(&Numbers, &mut Request) + Send + Sync + 'static,
    {
        let mut sources = self.shared.sources.write().unwrap_or_else(PoisonError::into_inner);
        let number = u16::try_from(sources.len()).unwrap_or(u16::MAX);
        sources.push(Arc::new(explain));
        Source { shared: Arc::clone(&self.shared), number }
    }

    /// How many requests are in flight.
    pub fn count(&self) -> usize {
        self.shared.table.count()
    }

    /// How many requests were served without being shown, since the table was full.
    pub fn untracked(&self) -> u64 {
        self.shared.table.untracked()
    }

    /// The oldest requests that are at least `min_age` old, `most` of them.
    ///
    /// Requests that begin or end meanwhile may be among them or not.
    pub fn oldest(&self, most: usize, min_age: Duration, now: Instant) -> Seen {
        let mut found: Vec<_> = self.shared.table.look().collect();
        let total = found.len();
        found.retain(|(_, _, record)| self.age(record, now) >= min_age);
        let matching = found.len();
        found.sort_unstable_by_key(|(_, _, record)| record.started);
        found.truncate(most);
        let sources = self.shared.sources.read().unwrap_or_else(PoisonError::into_inner);
        let shown = found.iter().filter_map(|(place, version, record)| {
            let request = self.explain(&sources, record, now);
            // The tag may have led to another request that has come after this one.
            self.shared.table.is_still(*place, *version).then_some(request)
        });
        Seen { total, matching, requests: shown.collect() }
    }

    /// How many requests of each route are in flight and, if it is told, at one of these stages.
    /// The most frequent first.
    pub fn by_route(&self, stages: &[Stage]) -> Vec<(String, usize)> {
        let now = self.shared.base;
        let sources = self.shared.sources.read().unwrap_or_else(PoisonError::into_inner);
        let mut routes = BTreeMap::<String, usize>::new();
        for (_, _, record) in self.shared.table.look() {
            let request = self.explain(&sources, &Record { tag: 0, ..record }, now);
            if stages.is_empty() || stages.contains(&request.stage) {
                *routes.entry(request.what()).or_default() += 1;
            }
        }
        let mut routes: Vec<_> = routes.into_iter().collect();
        routes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        routes
    }

    fn age(&self, record: &Record, now: Instant) -> Duration {
        let started = self.shared.base + Duration::from_nanos(record.started);
        now.saturating_duration_since(started)
    }

    fn explain(&self, sources: &[Explain], record: &Record, now: Instant) -> Request {
        let (source, stage, numbers) = unpack(record);
        let mut request = Request {
            method: None,
            route: None,
            stage,
            age: self.age(record, now),
            trace_id: None,
            request_id: None,
        };
        if let Some(explain) = sources.get(usize::from(source)) {
            explain(&numbers, &mut request);
        }
        request
    }
}

impl Default for Requests {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests").field("count", &self.count()).finish_non_exhaustive()
    }
}

/// `route:32 | source:16 | method:8 | stage:8`
#[inline]
fn pack(source: u16, numbers: Numbers) -> u64 {
    u64::from(numbers.route) << 32 | u64::from(source) << 16 | u64::from(numbers.method) << 8
}

#[allow(clippy::cast_possible_truncation, reason = "each part is cut out of the whole")]
fn unpack(record: &Record) -> (u16, Stage, Numbers) {
    let packed = record.packed;
    let (route, method) = ((packed >> 32) as u32, (packed >> 8) as u8);
    let numbers = Numbers { method, route, tag: record.tag };
    ((packed >> 16) as u16, Stage::of(packed), numbers)
}

/// Puts requests into a table; made by [`Requests::source`].
#[derive(Clone)]
pub struct Source {
    shared: Arc<Shared>,
    number: u16,
}

/// The slot of one request, to be given back with [`Source::end`].
#[derive(Debug)]
#[must_use = "a ticket that is dropped leaves its request in the table for ever"]
pub struct Ticket(Option<Place>);

impl Source {
    /// A request is in flight since `started`.
    #[inline]
    pub fn begin(&self, numbers: Numbers, started: Instant) -> Ticket {
        let started = started.saturating_duration_since(self.shared.base).as_nanos();
        let started = u64::try_from(started).unwrap_or(u64::MAX);
        let record = Record { started, packed: pack(self.number, numbers), tag: numbers.tag };
        Ticket(self.shared.table.take(&record))
    }

    /// It has come this far.
    #[inline]
    pub fn reached(&self, ticket: &Ticket, stage: Stage) {
        if let Some(place) = ticket.0 {
            self.shared.table.repack(place, |packed| packed & !0xff | stage as u64);
        }
    }

    /// It has ended. The ticket must be one of a source of the same table.
    #[inline]
    #[allow(clippy::needless_pass_by_value, reason = "nobody can use it any more")]
    pub fn end(&self, ticket: Ticket) {
        if let Some(place) = ticket.0 {
            self.shared.table.give_back(place);
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("number", &self.number).finish_non_exhaustive()
    }
}

/// In the extensions of a response that hands its connection over (101, or an accepted `CONNECT`):
/// what is to live as long as the connection. `Server` of this crate keeps it until the socket is
/// closed; others drop it with the response.
#[derive(Clone)]
pub struct WithConnection(Arc<dyn Any + Send + Sync>);

impl WithConnection {
    /// Keeps `what`.
    pub fn new(what: impl Any + Send + Sync) -> Self {
        Self(Arc::new(what))
    }
}

impl fmt::Debug for WithConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WithConnection").field(&Arc::as_ptr(&self.0)).finish()
    }
}
