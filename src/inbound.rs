//! The standard inbound stack: what stands around the routes of every service.
//!
//! Outermost first:
//!
//! 1. request id, kept from the caller or made;
//! 2. the probes `/livez` and `/readyz`, which nothing further in sees;
//! 3. RED metrics, the span with its place in a trace, and the access log, by matched route,
//!    sharing one guard;
//! 4. `inbound.panic_catch`: 500 instead of a connection that closes;
//! 5. `inbound.timeout`: 503 or 504 instead of an endless wait;
//! 6. `inbound.bulkhead`: 503 at once when too many requests are in flight;
//! 7. `inbound.rate_limit`: 429 at once when too many come in a time, if there is a limit;
//! 8. feature flags: one snapshot and one context for the whole request.
//!
//! A request in gRPC gets the answers of the policies as gRPC statuses.
//!
//! The part inside the router is one layer, since each `Router::layer` costs allocations.
mod grpc;
#[cfg(test)]
mod panic_tests;
mod rate_limit;

pub use rate_limit::{InboundRateLimit, LimitPer};

use crate::BoxError;
use crate::flag_file::RequestContext;
use crate::run::Runtime;
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::future::RouteFuture;
use grpc::GrpcAnswersLayer;
use http::Request;
use octostack_core::health::Probes;
use octostack_core::server::RequestBody;
use octostack_flags::FlagsLayer;
use octostack_resilience::{
    Bulkhead, BulkheadConfig, CatchPanic, CatchPanicConfig, Timeout, TimeoutConfig,
};
use octostack_telemetry::http::observe::ObserveLayer;
use octostack_telemetry::http::request_id::RequestIdService;
use octostack_telemetry::http::route::AxumRoute;
use octostack_telemetry::http::{RedLayer, RequestIdLayer};
use octostack_telemetry::logs::RequestLogLayer;
use octostack_telemetry::trace::TrustCaller;
use pin_project_lite::pin_project;
use rate_limit::Limiter;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tower_layer::Layer as _;
use tower_service::Service;

/// The policies of the standard inbound stack: section `server.inbound` of the config.
///
/// | field | default | from |
/// |---|---|---|
/// | `panic_catch.max_message` | 200 characters | enough for an assertion |
/// | `panic_catch.event_interval` | 1 s | a route that always panics must not push other events out |
/// | `timeout.timeout` | 30 s | .NET's standard pipeline |
/// | `bulkhead.max_concurrent` | 1,000, no queue | .NET's standard pipeline |
/// | `rate_limit.limit` | 0, no limit | only the owner of a service knows what it bears |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct InboundConfig {
    /// `inbound.panic_catch`: what is told of routes that panic.
    pub panic_catch: CatchPanicConfig,
    /// `inbound.timeout`: how long a route may take until its answer begins.
    pub timeout: TimeoutConfig,
    /// `inbound.bulkhead`: how many requests may be in flight.
    pub bulkhead: BulkheadConfig,
    /// `inbound.rate_limit`: how many requests may come in a time.
    pub rate_limit: InboundRateLimit,
}

impl Default for InboundConfig {
    fn default() -> Self {
        Self {
            panic_catch: CatchPanicConfig::default(),
            timeout: TimeoutConfig { timeout: Duration::from_secs(30), ..TimeoutConfig::default() },
            bulkhead: BulkheadConfig { max_concurrent: 1_000, ..BulkheadConfig::default() },
            rate_limit: InboundRateLimit::default(),
        }
    }
}

/// Puts the stack around a router.
pub(crate) fn stack(
    router: Router,
    config: &InboundConfig,
    probes: Probes,
    run: &Runtime,
    trust: TrustCaller,
    flags: FlagsLayer<RequestContext>,
) -> Result<RequestIdService<Public>, BoxError> {
    let registry = &run.registry;
    let red = RedLayer::new(&run.metrics)?.leak().route_from(AxumRoute);
    let log = RequestLogLayer::new().route_from(AxumRoute).trust_caller(trust);
    let panics = CatchPanic::builder("inbound.panic_catch")
        .settings(config.panic_catch.clone())
        .registry(registry)
        .build()?
        .leak();
    let timeout = Timeout::builder("inbound.timeout")
        .settings(config.timeout.clone())
        .registry(registry)
        .build()?
        .leak();
    let bulkhead = Bulkhead::builder("inbound.bulkhead")
        .settings(config.bulkhead.clone())
        .registry(registry)
        .build()?
        .leak();
    let layers = (
        ObserveLayer::new((red, log)),
        GrpcAnswersLayer,
        panics.layer().respond_http(),
        timeout.layer().respond_http(),
        bulkhead.layer().respond_http(),
    );
    let router = match config.rate_limit.build(registry)? {
        Limiter::Service(limit) => router.layer((layers, limit.layer().respond_http(), flags)),
        Limiter::Client(limit) => {
            let by_client = config.rate_limit.by_client()?;
            router.layer((layers, limit.layer(by_client).respond_http(), flags))
        }
    };
    // Without a state of its own axum applies the layers now, not at each request.
    let router = router.with_state(());
    Ok(RequestIdLayer::new().layer(Public { probes, router }))
}

/// Answers probes itself and hands everything else to the router.
#[derive(Clone, Debug)]
pub(crate) struct Public {
    probes: Probes,
    router: Router,
}

impl Service<Request<RequestBody>> for Public {
    type Response = Response;
    type Error = Infallible;
    type Future = PublicFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(())) // so is a router, always
    }

    fn call(&mut self, request: Request<RequestBody>) -> PublicFuture {
        match self.probes.public::<Body>(request.method(), request.uri().path()) {
            Some(answer) => PublicFuture::Probe { answer: Some(answer) },
            None => PublicFuture::Route { future: self.router.call(request) },
        }
    }
}

pin_project! {
    /// The future of [`Public`].
    #[project = PublicProjection]
    pub(crate) enum PublicFuture {
        Probe { answer: Option<Response> },
        Route { #[pin] future: RouteFuture<Infallible> },
    }
}

impl Future for PublicFuture {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            PublicProjection::Route { future } => future.poll(cx),
            PublicProjection::Probe { answer } => match answer.take() {
                Some(answer) => Poll::Ready(Ok(answer)),
                None => Poll::Pending, // polled after it was ready
            },
        }
    }
}
