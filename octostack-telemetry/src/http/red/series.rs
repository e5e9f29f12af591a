//! From a request to its histogram in a few loads.
//!
//! The labels of a series are route, method, outcome and status. The last three are small
//! numbers and so indices. The route is text; it is found in a table that is only ever added to,
//! so that reading it takes no lock. Comparing the text itself, rather than the address that a
//! router happens to keep it at, makes it fit every source of routes, also routers that build the
//! pattern anew for each request; for the length of a route that costs a few nanoseconds.
use crate::http::method;
use crate::http::observe::{End, Outcome};
use crate::http::route::UNMATCHED;
use crate::metrics::{Counter, Family, HTTP_BOUNDS, Histogram, InFlight, MetricError, Metrics};
use std::fmt;
use std::sync::OnceLock;

const DURATION: &str = "http_server_request_duration_seconds";
const METHODS: usize = method::NAMES.len();
/// Places for routes. A service has some dozens.
const ROUTES: usize = 1024;
/// How many places are looked at for one route.
const PROBES: usize = 16;
/// The route of those that found no place.
const OVERFLOW: &str = "_OVERFLOW";

/// What all services of one [`RedLayer`](super::RedLayer) share.
pub struct Shared {
    duration: Family<Histogram, 4>,
    pub(super) active: [InFlight; METHODS],
    pub(super) routes: Routes,
}

impl Shared {
    pub(super) fn new(metrics: &Metrics) -> Result<Self, MetricError> {
        let duration = metrics.histogram(
            DURATION,
            "How long HTTP requests took, to the end of the response body.",
            ["http_request_method", "http_route", "http_response_status_code", "error_type"],
            &HTTP_BOUNDS,
        )?;
        let active = metrics.in_flight(
            "http_server_active_requests",
            "HTTP requests that have arrived and not ended.",
            ["http_request_method"],
        )?;
        Ok(Self {
            duration,
            active: method::NAMES.map(|method| active.declare([method])),
            routes: Routes::new(metrics.series_dropped(DURATION)),
        })
    }

    /// Takes note of one request: a few loads, once it has been seen before.
    #[inline]
    pub(super) fn record(&self, route: RouteId, method: usize, end: &End) {
        let route = self.routes.get(route);
        let code = end.status.map_or(0, |status| usize::from(status.as_u16()));
        route.methods[method]
            .get_or_init(Box::default)
            .hundred(end.outcome, code)
            .get_or_init(|| Box::new([const { OnceLock::new() }; 100]))[code % 100]
            .get_or_init(|| self.series(route, method, end))
            .record(end.elapsed);
    }

    /// The route of that [number](RouteId::number).
    pub(super) fn route_name(&self, number: u32) -> &str {
        &self.routes.get(RouteId(number as usize)).name
    }

    #[cold]
    fn series(&self, route: &Route, method: usize, end: &End) -> Histogram {
        let error = end.error_type().unwrap_or_default();
        let status = end.status.as_ref().map_or("", |status| status.as_str());
        let labels = [method::NAMES[method], &route.name, status, &error];
        // Requests to nowhere are what scanners send most, so theirs are known beforehand. All
        // others count: should routes be made up without end, that ends at the limit.
        if *route.name == *UNMATCHED {
            self.duration.declare(labels)
        } else {
            self.duration.with(labels)
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("duration", &self.duration).finish_non_exhaustive()
    }
}

/// The routes seen so far: a hash table that is only added to.
pub(super) struct Routes {
    places: Box<[OnceLock<Box<Route>>]>,
    overflow: Route,
    overflowed: Counter,
}

/// A place in [`Routes`], or one past the last for the overflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RouteId(usize);

impl RouteId {
    #[inline]
    pub(super) fn number(self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }
}

/// The series of one route.
struct Route {
    name: Box<str>,
    methods: [OnceLock<Box<Statuses>>; METHODS],
}

type Hundred = OnceLock<Box<[OnceLock<Histogram>; 100]>>;

/// The series of one route and method: by outcome and hundred of the status. The first hundred has
/// one entry, for requests without a response.
#[derive(Default)]
struct Statuses([[Hundred; 10]; Outcome::ALL.len()]);

impl Statuses {
    #[inline]
    fn hundred(&self, outcome: Outcome, code: usize) -> &Hundred {
        &self.0[outcome as usize][code / 100]
    }
}

impl Route {
    fn new(name: &str) -> Self {
        Self { name: name.into(), methods: [const { OnceLock::new() }; METHODS] }
    }
}

impl Routes {
    fn new(overflowed: Counter) -> Self {
        let routes = Self {
            places: (0..ROUTES).map(|_| OnceLock::new()).collect(),
            overflow: Route::new(OVERFLOW),
            overflowed,
        };
        routes.find(UNMATCHED); // has its place whatever comes later
        routes
    }

    #[inline]
    fn get(&self, id: RouteId) -> &Route {
        let place = self.places.get(id.0).and_then(OnceLock::get);
        place.map_or(&self.overflow, |route| route)
    }

    /// The place of a route; takes a free one if it has none yet.
    #[inline]
    pub(super) fn find(&self, name: &str) -> RouteId {
        let first = hash(name);
        for probe in 0..PROBES {
            let place = (first + probe) % ROUTES;
            // Of two threads with new routes one gets the place; the other sees that it is not its
            // own and goes on.
            let route = self.places[place].get_or_init(|| Box::new(Route::new(name)));
            if *route.name == *name {
                return RouteId(place);
            }
        }
        self.overflowed.increment();
        RouteId(ROUTES)
    }
}

/// Any function will do that tells routes of one program apart: nobody else chooses them.
#[inline]
fn hash(name: &str) -> usize {
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let (words, rest) = name.as_bytes().as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let mix = |hash: u64, word: &[u8; 8]| {
        (hash.rotate_left(5) ^ u64::from_le_bytes(*word)).wrapping_mul(SPREAD)
    };
    let hash = mix(words.iter().fold(rest.len() as u64, mix), &last);
    (hash >> 48) as usize
}

#[cfg(test)]
#[cfg(not(octostack_loom))]
mod tests {
    use super::{ROUTES, RouteId, Routes};
    use crate::metrics::Metrics;

    fn routes() -> Routes {
        Routes::new(Metrics::new().dropped("test"))
    }

    #[test]
    fn a_route_keeps_its_place_and_shares_it_with_none() {
        let routes = routes();
        let names: Vec<_> = (0..200).map(|i| format!("/things/{i}/{{id}}")).collect();
        let places: Vec<_> = names.iter().map(|name| routes.find(name)).collect();
        for (name, place) in names.iter().zip(&places) {
            assert_eq!(routes.find(name), *place);
            assert_eq!(*routes.get(*place).name, **name);
        }
        assert_eq!(routes.overflowed.value(), 0);
    }

    #[test]
    fn routes_without_end_stay_within_the_table() {
        let routes = routes();
        let places: Vec<_> = (0..4 * ROUTES).map(|i| routes.find(&format!("/{i}"))).collect();
        let over = places.iter().filter(|p| **p == RouteId(ROUTES)).count();
        assert!(over >= 3 * ROUTES, "{over}");
        assert_eq!(routes.overflowed.value(), over as u64);
        assert_eq!(*routes.get(RouteId(ROUTES)).name, *"_OVERFLOW");
    }

    #[test]
    fn two_threads_agree_on_a_new_route() {
        let routes = routes();
        for i in 0..200 {
            let name = format!("/race/{i}");
            let (a, b) = std::thread::scope(|scope| {
                let other = scope.spawn(|| routes.find(&name));
                (routes.find(&name), other.join().unwrap())
            });
            assert_eq!(a, b);
        }
    }
}
