//! Follows each request to its end, whatever end that is.
//!
//! A layer that only looks at responses never sees the requests that matter most in an incident:
//! those that the client gave up on, those that panicked, those whose body broke off. And a layer
//! that decrements a gauge after `.await` leaks when the future is dropped there. So one guard
//! follows the request: it is made when the request arrives, moves from the response future into
//! the response body, and reports when it is dropped if nothing else has happened before.
//!
//! ```text
//! started -> headers -> body ends            Completed
//!    |          |-----> body fails           BodyFailed
//!    |          |-----> body dropped early   Cancelled, with the status that was sent
//!    |-> Err                                 Failed
//!    |-> future dropped                      Cancelled, without status
//!    `-> panic, at any point                 Panicked
//! ```
//!
//! What is counted or logged is not decided here: an [`Observe`] makes a [`Report`] for each
//! request, and a pair of two is one too, so that metrics and access events share the guard, the
//! body wrapper and the two clock readings.
//!
//! Rules worth knowing:
//!
//! * A server does not poll a body that says that it is at its end, and stops at the length that
//!   it announced. So a dropped body counts as complete in both cases.
//! * A response to `HEAD`, one of status 204 or 304, and one with an empty body are complete as
//!   soon as their headers are there. Their bodies are not wrapped.
//! * A response that lives as long as a client likes (`text/event-stream`, status 101, an accepted
//!   `CONNECT`) is [`streaming`](End::streaming): its headers are the answer, and
//!   [`Report::streaming`] hears of them at once.
//!
//! ```
//! use std::sync::atomic::{AtomicU64, Ordering};
//! use std::sync::Arc;
//! use http::{Request, Response};
//! use octostack_telemetry::http::observe::{End, Observe, ObserveLayer, Outcome, Report};
//! use tower::{Layer, Service, service_fn};
//!
//! /// Counts the requests that nobody waited for.
//! #[derive(Clone, Default)]
//! struct GaveUp(Arc<AtomicU64>);
//!
//! impl Observe for GaveUp {
//!     type Report = Self;
//!     fn start<B>(&self, _request: &mut Request<B>) -> Self { self.clone() }
//! }
//!
//! impl Report for GaveUp {
//!     fn finish(&mut self, end: &End) {
//!         if end.outcome == Outcome::Cancelled {
//!             self.0.fetch_add(1, Ordering::Relaxed);
//!         }
//!     }
//! }
//!
//! let gave_up = GaveUp::default();
//! let slow = service_fn(|_| std::future::pending::<Result<Response<String>, ()>>());
//! let mut service = ObserveLayer::new(gave_up.clone()).layer(slow);
//!
//! let response = service.call(Request::new(()));
//! assert_eq!(gave_up.0.load(Ordering::Relaxed), 0);
//! drop(response); // the connection has closed
//! assert_eq!(gave_up.0.load(Ordering::Relaxed), 1);
//! ```
mod body;
mod future;
mod guard;
mod service;
#[cfg(test)]
mod tests;

pub use body::ResponseBody;
pub use future::ResponseFuture;
pub use service::{ObserveLayer, ObserveService};

use http::{Extensions, HeaderMap, Request, StatusCode};
use octostack_core::requests::{self, Numbers};
use std::borrow::Cow;
use std::time::{Duration, Instant};

/// Makes a [`Report`] for each request that arrives.
pub trait Observe {
    /// What follows one request.
    type Report: Report;

    /// A request has arrived; the inner service gets it next.
    ///
    /// May add to its extensions. Must not panic.
    fn start<B>(&self, request: &mut Request<B>) -> Self::Report;

    /// Says of a request in flight what the numbers stand for that a report of it has
    /// [noted](Report::note); see [`in_flight`](super::in_flight).
    fn explain(&self, numbers: &Numbers, shown: &mut requests::Request) {
        let _ = (numbers, shown);
    }
}

/// Hears how one request went.
///
/// Methods run on the thread that serves the request, some of them while a future is dropped: they
/// must be quick and must not panic.
pub trait Report {
    /// Runs one call or poll of the inner service or body, or the drop of one that did not end: a
    /// span is entered around `poll` here.
    #[inline]
    fn within<T>(&mut self, poll: impl FnOnce() -> T) -> T {
        poll()
    }

    /// The request arrived at this instant: what the guard has read already, so that nobody has to
    /// read the clock again. Called once, before anything else.
    #[inline]
    fn arrived(&mut self, at: Instant) {
        let _ = at;
    }

    /// Notes numbers that [`Observe::explain`] can make text of.
    #[inline]
    fn note(&self, numbers: &mut Numbers) {
        let _ = numbers;
    }

    /// The response hands the connection over to another protocol (101, or an accepted `CONNECT`);
    /// [`finish`](Self::finish) comes soon, long before the connection ends. These are the
    /// extensions of the response, for
    /// [`WithConnection`](octostack_core::requests::WithConnection).
    #[inline]
    fn upgrade(&mut self, extensions: &mut Extensions) {
        let _ = extensions;
    }

    /// The service has answered; these are the headers.
    #[inline]
    fn response(&mut self, headers: &HeaderMap) {
        let _ = headers;
    }

    /// The trailers behind the body of the response, if there are any.
    #[inline]
    fn trailers(&mut self, trailers: &HeaderMap) {
        let _ = trailers;
    }

    /// The headers of a response that may stream for hours are there; [`finish`](Self::finish)
    /// comes when it ends.
    #[inline]
    fn streaming(&mut self, headers: &End) {
        let _ = headers;
    }

    /// The request has ended. Called exactly once for each report.
    fn finish(&mut self, end: &End);
}

/// How a request ended and how long that took.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct End {
    /// In which way.
    pub outcome: Outcome,
    /// The status, if there was a response.
    pub status: Option<StatusCode>,
    /// From the arrival of the request until now.
    pub elapsed: Duration,
    /// Whether the response was a stream, whose length says nothing about the service.
    pub streaming: bool,
}

impl End {
    /// The `error.type` of OpenTelemetry: `None` for a success, and for a 4xx too, which is the
    /// client's error. Never text of an error, which could be anything.
    ///
    /// ```
    /// # use octostack_telemetry::http::observe::{End, Outcome};
    /// # use std::time::Duration;
    /// let end = |outcome, status: u16| End::new(outcome, status.try_into().ok(), Duration::ZERO);
    /// assert_eq!(end(Outcome::Completed, 200).error_type(), None);
    /// assert_eq!(end(Outcome::Completed, 404).error_type(), None);
    /// assert_eq!(end(Outcome::Completed, 503).error_type().as_deref(), Some("503"));
    /// assert_eq!(end(Outcome::Cancelled, 200).error_type().as_deref(), Some("cancelled"));
    /// ```
    pub fn error_type(&self) -> Option<Cow<'static, str>> {
        let status = self.status.filter(StatusCode::is_server_error);
        match (self.outcome, status) {
            (Outcome::Completed, None) => None,
            (Outcome::Completed, Some(status)) => Some(status.as_str().to_owned().into()),
            (outcome, _) => Some(outcome.as_str().into()),
        }
    }

    /// An end that is not the end of a stream, to test a [`Report`] with.
    pub const fn new(outcome: Outcome, status: Option<StatusCode>, elapsed: Duration) -> Self {
        Self { outcome, status, elapsed, streaming: false }
    }
}

/// In which way a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The whole response was handed to the server, whatever its status.
    Completed,
    /// The service returned an error instead of a response.
    Failed,
    /// The response broke off because its body failed.
    BodyFailed,
    /// The response, or what was left of it, was dropped: the client has gone, or an outer layer
    /// has given up.
    Cancelled,
    /// The service or the body panicked.
    Panicked,
}

impl Outcome {
    /// All there are.
    pub const ALL: [Self; 5] =
        [Self::Completed, Self::Failed, Self::BodyFailed, Self::Cancelled, Self::Panicked];

    /// Its name in labels and logs: `ok`, `error`, `body_error`, `cancelled` or `panic`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "ok",
            Self::Failed => "error",
            Self::BodyFailed => "body_error",
            Self::Cancelled => "cancelled",
            Self::Panicked => "panic",
        }
    }
}

/// Two that watch the same request. The second is entered inside the first and ends before it.
impl<A: Observe, B: Observe> Observe for (A, B) {
    type Report = (A::Report, B::Report);

    #[inline]
    fn start<T>(&self, request: &mut Request<T>) -> Self::Report {
        (self.0.start(request), self.1.start(request))
    }

    fn explain(&self, numbers: &Numbers, shown: &mut requests::Request) {
        self.0.explain(numbers, shown);
        self.1.explain(numbers, shown);
    }
}

impl<A: Report, B: Report> Report for (A, B) {
    #[inline]
    fn within<T>(&mut self, poll: impl FnOnce() -> T) -> T {
        let (outer, inner) = self;
        outer.within(|| inner.within(poll))
    }

    #[inline]
    fn arrived(&mut self, at: Instant) {
        self.0.arrived(at);
        self.1.arrived(at);
    }

    #[inline]
    fn note(&self, numbers: &mut Numbers) {
        self.0.note(numbers);
        self.1.note(numbers);
    }

    #[inline]
    fn upgrade(&mut self, extensions: &mut Extensions) {
        self.1.upgrade(extensions);
        self.0.upgrade(extensions);
    }

    #[inline]
    fn response(&mut self, headers: &HeaderMap) {
        self.1.response(headers);
        self.0.response(headers);
    }

    #[inline]
    fn trailers(&mut self, trailers: &HeaderMap) {
        self.1.trailers(trailers);
        self.0.trailers(trailers);
    }

    #[inline]
    fn streaming(&mut self, headers: &End) {
        self.1.streaming(headers);
        self.0.streaming(headers);
    }

    #[inline]
    fn finish(&mut self, end: &End) {
        self.1.finish(end);
        self.0.finish(end);
    }
}
