use super::series::{RouteId, Shared};
use crate::http::method;
use crate::http::observe::{End, Observe, ObserveService, Report};
use crate::http::route::{FixedRoute, RouteFrom, UNMATCHED};
use crate::metrics::shards::Shard;
use crate::metrics::{MetricError, Metrics};
use http::Request;
use octostack_core::requests::{self, Numbers};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use tower_layer::Layer;

/// Records rate, errors and duration of requests; see the [module docs](super).
///
/// It is an [`Observe`] too: put it in a pair to share one guard with another.
#[derive(Clone, Copy)]
pub struct RedLayer<R = FixedRoute, H = Arc<Shared>> {
    shared: H,
    route: R,
}

/// The service of a [`RedLayer`].
pub type RedService<S, R = FixedRoute, H = Arc<Shared>> = ObserveService<S, RedLayer<R, H>>;

impl RedLayer {
    /// A layer that records into `metrics`. Several layers of one registry add up.
    ///
    /// All requests have the route [`UNMATCHED`] until [`route_from`](Self::route_from) says where
    /// to find it.
    ///
    /// # Errors
    /// If `metrics` has a metric of one of the two names that was registered with another
    /// definition.
    pub fn new(metrics: &Metrics) -> Result<Self, MetricError> {
        Ok(Self { shared: Arc::new(Shared::new(metrics)?), route: FixedRoute(UNMATCHED) })
    }
}

impl<R> RedLayer<R> {
    /// Keeps the shared state until the end of the process, which saves two updates of a reference
    /// count for each request: about 10 ns, and more when threads share it.
    pub fn leak(self) -> RedLayer<R, &'static Shared> {
        RedLayer {
            // The reference outlives everything, so the count never falls to zero.
            shared: &**Box::leak(Box::new(self.shared)),
            route: self.route,
        }
    }
}

impl<R, H> RedLayer<R, H> {
    /// Takes the route of a request from `route`.
    pub fn route_from<T: RouteFrom>(self, route: T) -> RedLayer<T, H> {
        RedLayer { shared: self.shared, route }
    }
}

impl<S, R: Clone, H: Clone> Layer<S> for RedLayer<R, H> {
    type Service = RedService<S, R, H>;

    fn layer(&self, inner: S) -> Self::Service {
        ObserveService::new(inner, self.clone())
    }
}

impl<R, H> Observe for RedLayer<R, H>
where
    R: RouteFrom,
    H: Deref<Target = Shared> + Clone,
{
    type Report = RedReport<H>;

    #[inline]
    fn start<B>(&self, request: &mut Request<B>) -> RedReport<H> {
        let method = method::index(request.method());
        let route = self.route.route(request).unwrap_or(UNMATCHED);
        RedReport {
            route: self.shared.routes.find(route),
            shard: self.shared.active[method].enter_raw(),
            shared: self.shared.clone(),
            method,
            recorded: false,
        }
    }

    fn explain(&self, numbers: &Numbers, shown: &mut requests::Request) {
        shown.method = method::NAMES.get(usize::from(numbers.method)).copied();
        shown.route = Some(self.shared.route_name(numbers.route).to_owned());
    }
}

impl<R: fmt::Debug, H> fmt::Debug for RedLayer<R, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedLayer").field("route", &self.route).finish_non_exhaustive()
    }
}

/// What a [`RedLayer`] keeps of one request.
pub struct RedReport<H = Arc<Shared>> {
    shared: H,
    route: RouteId,
    method: usize,
    /// Where it was counted as active.
    shard: Shard,
    recorded: bool,
}

impl<H: Deref<Target = Shared>> RedReport<H> {
    #[inline]
    fn record(&mut self, end: &End) {
        if !self.recorded {
            self.recorded = true;
            self.shared.record(self.route, self.method, end);
        }
    }
}

impl<H: Deref<Target = Shared>> Report for RedReport<H> {
    #[inline]
    fn note(&self, numbers: &mut Numbers) {
        numbers.method = u8::try_from(self.method).unwrap_or(u8::MAX);
        numbers.route = self.route.number();
    }

    #[inline]
    fn streaming(&mut self, headers: &End) {
        self.record(headers);
    }

    #[inline]
    fn finish(&mut self, end: &End) {
        self.record(end);
        self.shared.active[self.method].leave_raw(self.shard);
    }
}

impl<H> fmt::Debug for RedReport<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedReport")
            .field("method", &method::NAMES[self.method])
            .field("recorded", &self.recorded)
            .finish_non_exhaustive()
    }
}
