//! Puts requests into the table of those that are in flight, for `/requestz` and for the drain.
//!
//! [`Tracked`] goes around an [`Observe`], such as the pair of metrics and access events: their
//! guard knows when a request arrives and when it has ended, whatever end that is. They note what
//! they know of a request as numbers (the route as its place among the routes, the id of the span)
//! and make text of these when somebody looks. So a request costs the clearing of a slot and no
//! more; see [`octostack_core::requests`].
//!
//! A request is in flight until the end of its response body. One whose connection is handed over
//! (101, an accepted `CONNECT`) is in flight until the socket is closed, where the server keeps
//! [`WithConnection`]; that of `octostack-core` does.
//!
//! Trace and request id are those of the span of
//! [`RequestLogLayer`](crate::logs::RequestLogLayer): without it, or where the filter removes it,
//! they are not shown.
#![cfg_attr(not(feature = "logs"), allow(rustdoc::broken_intra_doc_links))]
//!
//! ```
//! use http::{Request, Response};
//! use octostack_core::requests::Requests;
//! use octostack_telemetry::http::observe::ObserveLayer;
//! use octostack_telemetry::http::route::FixedRoute;
//! use octostack_telemetry::http::{RedLayer, Tracked};
//! use octostack_telemetry::metrics::Metrics;
//! use tower::{Layer, Service, service_fn};
//!
//! let requests = Requests::new(); // or that of a lifecycle: `lifecycle.requests()`
//! let red = RedLayer::new(&Metrics::new())?.route_from(FixedRoute("/price"));
//! let layer = ObserveLayer::new(Tracked::new(red, &requests));
//!
//! let slow = service_fn(|_| std::future::pending::<Result<Response<String>, ()>>());
//! let response = layer.layer(slow).call(Request::new(()));
//! assert_eq!(requests.by_route(&[]), [("GET /price".to_owned(), 1)]);
//! drop(response); // the client has gone
//! assert_eq!(requests.count(), 0);
//! # Ok::<(), octostack_telemetry::metrics::MetricError>(())
//! ```
use super::observe::{End, Observe, Report};
use http::{Extensions, HeaderMap, Request, header};
use octostack_core::requests::{self, Numbers, Requests, Source, Stage, Ticket, WithConnection};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

/// An [`Observe`] whose requests are in a table while they are in flight; see the
/// [module docs](self).
#[derive(Clone, Copy)]
pub struct Tracked<O, H = Arc<Source>> {
    inner: O,
    source: H,
}

impl<O> Tracked<O>
where
    O: Observe + Clone + Send + Sync + 'static,
{
    /// Puts the requests of `inner` into `requests`.
    pub fn new(inner: O, requests: &Requests) -> Self {
        let explains = inner.clone();
        let source = requests.source(move |numbers, shown| explains.explain(numbers, shown));
        Self { inner, source: Arc::new(source) }
    }
}

impl<O> Tracked<O> {
    /// Keeps the shared state until the end of the process, which saves two updates of a reference
    /// count for each request.
    pub fn leak(self) -> Tracked<O, &'static Source> {
        // The reference outlives everything, so the count never falls to zero.
        Tracked { inner: self.inner, source: &**Box::leak(Box::new(self.source)) }
    }
}

impl<O, H> Observe for Tracked<O, H>
where
    O: Observe,
    H: Deref<Target = Source> + Clone + Send + Sync + 'static,
{
    type Report = TrackedReport<O::Report, H>;

    #[inline]
    fn start<B>(&self, request: &mut Request<B>) -> Self::Report {
        let inner = self.inner.start(request);
        TrackedReport { inner, source: self.source.clone(), ticket: None }
    }

    fn explain(&self, numbers: &Numbers, shown: &mut requests::Request) {
        self.inner.explain(numbers, shown);
    }
}

impl<O: fmt::Debug, H> fmt::Debug for Tracked<O, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracked").field("inner", &self.inner).finish_non_exhaustive()
    }
}

/// What a [`Tracked`] keeps of one request.
#[derive(Debug)]
pub struct TrackedReport<R, H = Arc<Source>> {
    inner: R,
    source: H,
    /// From its arrival to its end, unless the connection has it.
    ticket: Option<Ticket>,
}

impl<R, H: Deref<Target = Source>> TrackedReport<R, H> {
    #[inline]
    fn reached(&self, stage: Stage) {
        if let Some(ticket) = &self.ticket {
            self.source.reached(ticket, stage);
        }
    }
}

impl<R, H> Report for TrackedReport<R, H>
where
    R: Report,
    H: Deref<Target = Source> + Clone + Send + Sync + 'static,
{
    #[inline]
    fn within<T>(&mut self, poll: impl FnOnce() -> T) -> T {
        self.inner.within(poll)
    }

    #[inline]
    fn arrived(&mut self, at: Instant) {
        self.inner.arrived(at);
        let mut numbers = Numbers::default();
        self.inner.note(&mut numbers);
        self.ticket = Some(self.source.begin(numbers, at));
    }

    #[inline]
    fn note(&self, numbers: &mut Numbers) {
        self.inner.note(numbers);
    }

    #[inline]
    fn upgrade(&mut self, extensions: &mut Extensions) {
        self.inner.upgrade(extensions);
        if let Some(ticket) = self.ticket.take() {
            self.source.reached(&ticket, Stage::Upgraded);
            let held = Held { source: self.source.clone(), ticket: Some(ticket) };
            extensions.insert(WithConnection::new(held));
        }
    }

    #[inline]
    fn response(&mut self, headers: &HeaderMap) {
        self.reached(if is_grpc(headers) { Stage::Stream } else { Stage::Body });
        self.inner.response(headers);
    }

    #[inline]
    fn trailers(&mut self, trailers: &HeaderMap) {
        self.inner.trailers(trailers);
    }

    #[inline]
    fn streaming(&mut self, headers: &End) {
        self.reached(Stage::Stream);
        self.inner.streaming(headers);
    }

    #[inline]
    fn finish(&mut self, end: &End) {
        // Last, so that it is seen as long as anybody writes of it.
        self.inner.finish(end);
        if let Some(ticket) = self.ticket.take() {
            self.source.end(ticket);
        }
    }
}

/// Whether it is an answer of gRPC: one of a single message is over as soon as it is here, so what
/// is to be seen for longer is a stream.
#[inline]
fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// A request that lives as long as its connection.
struct Held<H: Deref<Target = Source>> {
    source: H,
    ticket: Option<Ticket>,
}

impl<H: Deref<Target = Source>> Drop for Held<H> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.source.end(ticket);
        }
    }
}

#[cfg(test)]
#[cfg(not(octostack_loom))]
mod tests {
    use super::Tracked;
    use crate::http::RedLayer;
    use crate::http::observe::ObserveLayer;
    use crate::http::route::FixedRoute;
    use crate::metrics::Metrics;
    use http::{Request, Response, StatusCode};
    use http_body_util::Full;
    use octostack_core::requests::{Requests, Stage, WithConnection};
    use octostack_core::{Clock, Registry, SystemClock};
    use std::convert::Infallible;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;
    use tower::{Layer, Service, service_fn};

    fn stages(requests: &Requests) -> Vec<Stage> {
        let seen = requests.oldest(9, Duration::ZERO, SystemClock.now());
        seen.requests.iter().map(|request| request.stage).collect()
    }

    fn answer(
        requests: &Requests,
        response: fn() -> Response<Full<&'static [u8]>>,
    ) -> Response<impl http_body::Body> {
        let metrics = Metrics::builder().registry(&Registry::new()).build();
        let red = RedLayer::new(&metrics).unwrap().leak().route_from(FixedRoute("/price"));
        let layer = ObserveLayer::new(Tracked::new(red, requests).leak());
        let mut service =
            layer.layer(service_fn(move |_| async move { Ok::<_, Infallible>(response()) }));
        let mut future = pin!(service.call(Request::new(())));
        assert_eq!(stages(requests), [Stage::Handler]);
        let Poll::Ready(response) = future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        else {
            panic!("waits for something")
        };
        response.unwrap()
    }

    #[test]
    fn follows_a_request_to_the_end_of_its_body() {
        let requests = Requests::new();
        let response = answer(&requests, || Response::new(Full::new(b"4.20")));
        assert_eq!(stages(&requests), [Stage::Body]);
        assert_eq!(requests.by_route(&[]), [("GET /price".to_owned(), 1)]);
        drop(response);
        assert_eq!(requests.count(), 0);

        let response = answer(&requests, || Response::new(Full::new(b"")));
        assert_eq!(requests.count(), 0, "there is no body");
        drop(response);
    }

    #[test]
    fn knows_streams_and_connections_that_are_handed_over() {
        let requests = Requests::new();
        let response = answer(&requests, || {
            let stream = Response::builder().header("content-type", "text/event-stream");
            stream.body(Full::new(&b"data: 1\n\n"[..])).unwrap()
        });
        assert_eq!(stages(&requests), [Stage::Stream]);
        drop(response);
        assert_eq!(requests.count(), 0);

        let mut response = answer(&requests, || {
            let switch = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
            switch.body(Full::default()).unwrap()
        });
        let kept = response.extensions_mut().remove::<WithConnection>().unwrap();
        drop(response);
        assert_eq!(stages(&requests), [Stage::Upgraded]);
        drop(kept); // the socket is closed
        assert_eq!(requests.count(), 0);
    }
}
