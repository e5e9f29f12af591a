//! The span around each request, and the one event that says how it went.
//!
//! The span is a place in a trace: the caller's, or a new one, as
//! [`trust_caller`](RequestLogLayer::trust_caller) says. It carries `correlation_id` (the
//! [`RequestId`]), `method` and `route`; so does, under these names, with `trace_id` and `span_id`,
//! every line that is logged while the request is served, response body included, or while it is
//! dropped. Where the caller's context is not believed, its trace id is there as `caller_trace_id`. At the end of the request there is one event, `message` = `request`, for
//! whatever end that is: with `status`, `duration` (seconds), `outcome` (`ok`, `error`,
//! `body_error`, `cancelled`, `panic`) and, for a stream, `streaming` in its context, and
//! `error.type` where the [duration metric](crate::http::red) has it too. The outcome of a 5xx is
//! `error`, as that of a service that errs. It is a warning if the service is to blame (a 5xx, an
//! error, a broken body, a panic), else information.
//!
//! Neither holds what a client wrote: not the path, not an unknown method, no header but the id,
//! which is checked, and ids of traces, which are digits.
//!
//! The span is of level `error`, so that also under the filter `warn` each line tells its request;
//! the filter `octostack::request=off` removes span and event. The span knows a field `user_id`
//! for whoever authenticates: `Span::current().record("user_id", id)`.
//!
//! Where: inside of [`RequestIdLayer`](crate::http::RequestIdLayer), outside of all else that may
//! answer. Together with metrics make one layer of both, which shares the guard and the clock:
//!
//! ```
//! use http::{Request, Response};
//! use octostack_telemetry::http::observe::ObserveLayer;
//! use octostack_telemetry::http::route::FixedRoute;
//! use octostack_telemetry::http::{RedLayer, RequestIdLayer};
//! use octostack_telemetry::logs::RequestLogLayer;
//! use octostack_telemetry::metrics::Metrics;
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let metrics = Metrics::new();
//! let route = FixedRoute("/price");
//! let red = RedLayer::new(&metrics)?.route_from(route);
//! let log = RequestLogLayer::new().route_from(route);
//!
//! let service = service_fn(|_: Request<()>| async {
//!     tracing::Span::current().record("user_id", "anna");
//!     tracing::info!("looking it up"); // has correlation_id, user_id, method and route
//!     Ok::<_, std::io::Error>(Response::new(String::from("4.20")))
//! });
//! let service = RequestIdLayer::new().layer(ObserveLayer::new((log, red)).layer(service));
//! let response = service.oneshot(Request::new(())).await?;
//! # assert_eq!(response.status(), 200);
//! # Ok(())
//! # }
//! ```
use crate::http::RequestId;
use crate::http::method;
use crate::http::observe::{End, Observe, ObserveService, Outcome, Report};
use crate::http::route::{FixedRoute, RouteFrom, UNMATCHED};
use crate::logs::layer::ids_of;
use crate::trace::{Remote, TraceContext, TrustCaller};
use http::{Request, StatusCode};
use octostack_core::requests::{self, Numbers};
use tower_layer::Layer;
use tracing::Span;
use tracing::dispatcher::get_default;
use tracing::field::Empty;
use tracing::span::Id;

const TARGET: &str = "octostack::request";

/// Puts a span around each request and logs how it ended; see the [module docs](self).
///
/// It is an [`Observe`] too: put it in a pair to share one guard with another.
#[derive(Clone, Copy, Debug)]
pub struct RequestLogLayer<R = FixedRoute> {
    route: R,
    trust: TrustCaller,
    event: bool,
}

/// The service of a [`RequestLogLayer`].
pub type RequestLogService<S, R = FixedRoute> = ObserveService<S, RequestLogLayer<R>>;

impl RequestLogLayer {
    /// A layer for which all requests have the route [`UNMATCHED`] until
    /// [`route_from`](Self::route_from) says where to find it.
    pub const fn new() -> Self {
        Self { route: FixedRoute(UNMATCHED), trust: TrustCaller::Never, event: true }
    }
}

impl Default for RequestLogLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<R> RequestLogLayer<R> {
    /// Takes the route of a request from `route`.
    pub fn route_from<T: RouteFrom>(self, route: T) -> RequestLogLayer<T> {
        RequestLogLayer { route, trust: self.trust, event: self.event }
    }

    /// What is believed of the trace context that callers send: nothing, unless told otherwise.
    pub fn trust_caller(self, trust: TrustCaller) -> Self {
        Self { trust, ..self }
    }

    /// Whether there is an event at the end of a request: yes, unless told otherwise. Without it
    /// there is only the span.
    pub fn log_event(self, yes: bool) -> Self {
        Self { event: yes, ..self }
    }
}

impl<S, R: Clone> Layer<S> for RequestLogLayer<R> {
    type Service = RequestLogService<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        ObserveService::new(inner, self.clone())
    }
}

impl<R: RouteFrom> Observe for RequestLogLayer<R> {
    type Report = RequestLog;

    #[inline]
    fn start<B>(&self, request: &mut Request<B>) -> RequestLog {
        let caller = TraceContext::from_headers(request.headers());
        let linked = caller.as_ref().filter(|_| self.trust == TrustCaller::Never);
        // The macro looks at the values only if the span is wanted.
        let make = || {
            let method = method::name(request.method());
            let route = self.route.route(request).unwrap_or(UNMATCHED);
            tracing::error_span!(
                target: TARGET,
                "request",
                otel.name = %format_args!("{method} {route}"),
                otel.kind = "server",
                correlation_id = request.extensions().get().map(RequestId::as_str),
                user_id = Empty,
                http.request.method = method,
                http.route = route,
                url.scheme = "http",
                caller_trace_id = linked.map(|caller| display(caller.trace_id())),
            )
        };
        let span = match caller.clone() {
            Some(caller) => Remote::new(caller, self.trust).span(make),
            None => make(),
        };
        RequestLog { span, event: self.event }
    }

    /// What the span knows, which is looked for in the current subscriber: the one of the process.
    fn explain(&self, numbers: &Numbers, shown: &mut requests::Request) {
        if numbers.tag == 0 {
            return; // the filter has removed the span
        }
        let ids = get_default(|dispatch| ids_of(dispatch, &Id::from_u64(numbers.tag)));
        if let Some((trace_id, request_id)) = ids {
            shown.trace_id = trace_id;
            shown.request_id = request_id;
        }
    }
}

/// What a [`RequestLogLayer`] keeps of one request.
#[derive(Debug)]
pub struct RequestLog {
    span: Span,
    event: bool,
}

impl Report for RequestLog {
    #[inline]
    fn note(&self, numbers: &mut Numbers) {
        numbers.tag = self.span.id().map_or(0, |id| id.into_u64());
    }

    #[inline]
    fn within<T>(&mut self, poll: impl FnOnce() -> T) -> T {
        self.span.in_scope(poll)
    }

    #[inline]
    fn finish(&mut self, end: &End) {
        let failed = is_failure(end);
        #[cfg(feature = "otlp")]
        crate::trace::otlp::request_ended(&self.span, end, failed);
        if !self.event {
            return;
        }
        let outcome = match end.outcome {
            Outcome::Completed if failed => Outcome::Failed, // whoever asked has no use for it
            outcome => outcome,
        };
        /// The level is part of the call site, hence one for each.
        macro_rules! event {
            ($level:ident) => {
                tracing::$level!(
                    target: TARGET,
                    {
                        status = end.status.map(|status| status.as_u16()),
                        duration = end.elapsed.as_secs_f64(),
                        outcome = outcome.as_str(),
                        streaming = end.streaming.then_some(true),
                        error.kind = end.error_type().as_deref(),
                    },
                    "request"
                )
            };
        }
        self.span.in_scope(|| {
            if failed {
                event!(warn);
            } else {
                event!(info);
            }
        });
    }
}

/// Whether the service is to blame, rather than a client that asked wrongly or went away.
fn is_failure(end: &End) -> bool {
    match end.outcome {
        Outcome::Completed => end.status.as_ref().is_some_and(StatusCode::is_server_error),
        Outcome::Cancelled => false,
        Outcome::Failed | Outcome::BodyFailed | Outcome::Panicked => true,
    }
}
