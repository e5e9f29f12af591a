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
mod slots;
mod table;

use crate::inspect::Value;
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

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Stage {
    /// The service works on it: there is no head of a response.
    Handler,
    /// The head of the response is there, and its body is being sent.
    Body,
    /// The response is a stream, which may last as long as its client likes.
    Stream,
    /// The connection was handed over to another protocol, such as WebSocket.
    Upgraded,
}

impl Stage {
    /// Its name on pages and in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Handler => "handler",
            Self::Body => "body",
            Self::Stream => "stream",
            Self::Upgraded => "upgraded",
        }
    }

    const fn of(number: u64) -> Self {
        match number & 0xff {
            0 => Self::Handler,
            1 => Self::Body,
            2 => Self::Stream,
            _ => Self::Upgraded,
        }
    }
}

/// A request in flight, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// The method, of those that are known.
    pub method: Option<&'static str>,
    /// The route, as its pattern.
    pub route: Option<String>,
    /// How far it has come.
    pub stage: Stage,
    /// For how long it has been in flight.
    pub age: Duration,
    /// The id of its trace.
    pub trace_id: Option<String>,
    /// Its own id.
    pub request_id: Option<String>,
}

impl Request {
    /// As pages and logs show it.
    pub fn status(&self) -> Value {
        Value::map([
            ("method", Value::from(self.method.map(str::to_owned))),
            ("route", self.route.clone().into()),
            ("stage", self.stage.as_str().into()),
            ("age", Duration::from_millis(millis(self.age)).into()),
            ("trace_id", self.trace_id.clone().into()),
            ("request_id", self.request_id.clone().into()),
        ])
    }

    /// Method and route.
    fn what(&self) -> String {
        let route = self.route.as_deref().unwrap_or("unknown");
        self.method.map_or_else(|| route.to_owned(), |method| format!("{method} {route}"))
    }
}

/// `GET /orders/{id} for 3s 200ms (trace 4bf92f3577b34da6a3ce929d0e0e4736)`
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let age = crate::duration::format(Duration::from_millis(millis(self.age)));
        write!(f, "{} for {age}", self.what())?;
        match &self.trace_id {
            Some(trace_id) => write!(f, " (trace {trace_id})"),
            None => Ok(()),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Some of the requests that are in flight.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Seen {
    /// How many there are in all.
    pub total: usize,
    /// How many of them are as old as was asked for.
    pub matching: usize,
    /// The oldest of those, the oldest first.
    pub requests: Vec<Request>,
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

#[cfg(test)]
#[cfg(not(octostack_loom))]
mod tests {
    use super::{Numbers, Requests, Source, Stage};
    use crate::{Clock, SystemClock};
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    fn source(requests: &Requests) -> Source {
        requests.source(|numbers, request| {
            request.method = Some("GET");
            request.route = Some(format!("/{}", numbers.route));
            request.trace_id = (numbers.tag > 0).then(|| format!("t{}", numbers.tag));
        })
    }

    fn of(route: u32) -> Numbers {
        Numbers { method: 1, route, tag: u64::from(route) }
    }

    #[test]
    fn shows_the_oldest_first_and_how_many_there_are() {
        let requests = Requests::new();
        let source = source(&requests);
        let start = SystemClock.now();
        let tickets: Vec<_> = (0..5).map(|n| source.begin(of(n), start + n * SECOND)).collect();
        let seen = requests.oldest(2, Duration::ZERO, start + 10 * SECOND);
        assert_eq!((seen.total, seen.matching), (5, 5));
        let texts: Vec<_> = seen.requests.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["GET /0 for 10s", "GET /1 for 9s (trace t1)"]);

        let seen = requests.oldest(9, 8 * SECOND, start + 10 * SECOND);
        assert_eq!((seen.total, seen.matching, seen.requests.len()), (5, 3, 3));
        tickets.into_iter().for_each(|ticket| source.end(ticket));
        assert_eq!(requests.oldest(9, Duration::ZERO, start).total, 0);
    }

    #[test]
    fn keeps_numbers_apart() {
        let requests = Requests::new();
        let (_, second) = (source(&requests), source(&requests));
        let numbers = Numbers { method: u8::MAX, route: u32::MAX, tag: u64::MAX };
        let other = requests.source(move |seen, request| {
            assert_eq!(*seen, numbers);
            request.request_id = Some("other".into());
        });
        let now = SystemClock.now();
        let (a, b) = (second.begin(of(7), now), other.begin(numbers, now));
        other.reached(&b, Stage::Upgraded);
        let seen = requests.oldest(9, Duration::ZERO, now);
        let of_other = seen.requests.iter().find(|r| r.request_id.is_some()).unwrap();
        assert_eq!(of_other.stage, Stage::Upgraded);
        let of_second = seen.requests.iter().find(|r| r.request_id.is_none()).unwrap();
        assert_eq!((of_second.stage, of_second.route.as_deref()), (Stage::Handler, Some("/7")));
        second.end(a);
        other.end(b);
    }

    #[test]
    fn counts_by_route_and_stage() {
        let requests = Requests::new();
        let source = source(&requests);
        let now = SystemClock.now();
        let tickets: Vec<_> = [1, 2, 2].map(|route| source.begin(of(route), now)).into();
        source.reached(&tickets[0], Stage::Stream);
        let all = requests.by_route(&[]);
        assert_eq!(all, [("GET /2".to_owned(), 2), ("GET /1".to_owned(), 1)]);
        let streams = requests.by_route(&[Stage::Stream, Stage::Upgraded]);
        assert_eq!(streams, [("GET /1".to_owned(), 1)]);
        tickets.into_iter().for_each(|ticket| source.end(ticket));
    }

    #[test]
    fn a_request_that_ends_while_it_is_explained_is_not_shown_as_another() {
        use std::sync::{Arc, Mutex};
        let requests = Requests::new();
        let ending = Arc::new(Mutex::new(None::<(Source, super::Ticket)>));
        let there = Arc::clone(&ending);
        let source = requests.source(move |_, _| {
            if let Some((source, ticket)) = there.lock().unwrap().take() {
                source.end(ticket);
                let _next = source.begin(of(2), SystemClock.now());
            }
        });
        let ticket = source.begin(of(1), SystemClock.now());
        *ending.lock().unwrap() = Some((source, ticket));
        let seen = requests.oldest(9, Duration::ZERO, SystemClock.now());
        assert_eq!((seen.total, seen.requests.len()), (1, 0));
    }
}
