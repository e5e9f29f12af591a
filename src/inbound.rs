//! The standard inbound stack: what stands around the routes of every service.
//!
//! Outermost first:
//!
//! 1. request id, kept from the caller or made;
//! 2. the probes `/livez` and `/readyz`, which nothing further in sees;
//! 3. RED metrics, the span with its place in a trace, and the access log, by matched route,
//!    sharing one guard with the table of requests in flight;
//! 4. `inbound.panic_catch`: 500 instead of a connection that closes;
//! 5. `inbound.timeout`: 504 instead of an endless wait, or when the caller waits no more;
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
#[cfg(test)]
mod reload_tests;

pub use rate_limit::{InboundRateLimit, LimitPer};

use crate::BoxError;
use crate::flag_file::RequestContext;
use crate::run::Runtime;
use crate::synthetic::PublicRoute;
use axum::Router;
use axum::body::{Body, HttpBody};
use axum::response::Response;
use axum::routing::future::RouteFuture;
use bytes::Bytes;
use grpc::GrpcAnswersLayer;
use http::{HeaderName, Request};
use octostack_core::config::live::Commit;
use octostack_core::health::Probes;
use octostack_core::inspect::Problem;
use octostack_flags::FlagsLayer;
use octostack_resilience::deadline::DeadlineHeader;
use octostack_resilience::rate_limit::keyed;
use octostack_resilience::{
    BulkheadConfig, CatchPanicConfig, Inbound, KeyedRateLimit, TimeoutConfig,
};
use octostack_telemetry::http::observe::ObserveLayer;
use octostack_telemetry::http::request_id::RequestIdService;
use octostack_telemetry::http::{RedLayer, RequestIdLayer, Tracked};
use octostack_telemetry::logs::RequestLogLayer;
use octostack_telemetry::trace::TrustCaller;
use pin_project_lite::pin_project;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
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
    /// `inbound.timeout`: how long a route may take until its answer begins. A caller that says for
    /// how long it waits can shorten that.
    pub timeout: TimeoutConfig,
    /// The header in which callers say for how long they wait, in whole milliseconds, beside
    /// `grpc-timeout`, which is always read. None by default.
    #[schemars(extend("x-restart-required" = true))]
    pub deadline_header: Option<String>,
    /// `inbound.bulkhead`: how many requests may be in flight.
    pub bulkhead: BulkheadConfig,
    /// `inbound.rate_limit`: how many requests may come in a time.
    pub rate_limit: InboundRateLimit,
}

impl Default for InboundConfig {
    fn default() -> Self {
        let policies = octostack_resilience::InboundConfig::default();
        Self {
            panic_catch: policies.panic_catch,
            timeout: policies.timeout,
            deadline_header: None,
            bulkhead: policies.bulkhead,
            rate_limit: InboundRateLimit::default(),
        }
    }
}

impl InboundConfig {
    /// Checks the values, and how they go together.
    ///
    /// # Errors
    /// Everything that is wrong; keys are relative to the section.
    pub fn validate(&self) -> Result<(), Vec<Problem>> {
        let mut problems = self.policies().validate().err().unwrap_or_default();
        problems.retain(|problem| !problem.key.starts_with("rate_limit.")); // once is enough
        let within = |p: Problem| Problem::new(format!("rate_limit.{}", p.key), p.message);
        let of_limit = self.rate_limit.validate().err().unwrap_or_default();
        problems.extend(of_limit.into_iter().map(within));
        if let Err(problem) = self.deadline_header() {
            problems.push(problem);
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// The settings of the policies alone.
    fn policies(&self) -> octostack_resilience::InboundConfig {
        octostack_resilience::InboundConfig {
            panic_catch: self.panic_catch.clone(),
            timeout: self.timeout.clone(),
            bulkhead: self.bulkhead.clone(),
            rate_limit: self.rate_limit.for_all(),
        }
    }

    fn deadline_header(&self) -> Result<Option<DeadlineHeader>, Problem> {
        let Some(name) = &self.deadline_header else { return Ok(None) };
        let header = HeaderName::try_from(name).map_err(|_| {
            let message = format!("`{}` is no name of a header", name.escape_debug());
            Problem::new("deadline_header", message)
        })?;
        Ok(Some(DeadlineHeader::millis(header)))
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
) -> Result<(RequestIdService<Public>, Follow), BoxError> {
    let registry = &run.registry;
    let red = RedLayer::new(&run.metrics)?.leak().route_from(PublicRoute);
    let log = RequestLogLayer::new().route_from(PublicRoute).trust_caller(trust);
    let observe = Tracked::new((red, log), run.lifecycle.requests()).leak();
    let observe = (ObserveLayer::new(observe), GrpcAnswersLayer);
    let inbound = Inbound::builder("inbound").settings(config.policies()).registry(registry);
    let inbound = match config.deadline_header()? {
        Some(header) => inbound.deadline_header(header),
        None => inbound,
    };
    let (router, follow) = match config.rate_limit.by_client()? {
        None => {
            let inbound = inbound.build()?;
            (router.layer((observe, inbound.http(), flags)), follow(inbound, None))
        }
        Some((limit, client)) => {
            let limit = limit.registry(registry).build()?.leak();
            let inbound = inbound.build_limited_by(limit.layer(client))?;
            (router.layer((observe, inbound.http(), flags)), follow(inbound, Some(limit)))
        }
    };
    // Without a state of its own axum applies the layers now, not at each request.
    let router = router.with_state(());
    Ok((RequestIdLayer::new().layer(Public { probes, router }), follow))
}

/// How the policies follow a reload. Whose requests share a limit stays as it was at the start.
pub(crate) type Follow = Box<dyn Fn(&InboundConfig) -> Result<Commit, Vec<Problem>> + Send + Sync>;

type LimitByClient = KeyedRateLimit<&'static keyed::Shared>;

fn follow<B>(stack: Inbound<B>, by_client: Option<LimitByClient>) -> Follow
where
    B: Clone + Send + Sync + 'static,
{
    Box::new(move |config| {
        let policies = config.policies();
        let mut problems = stack.check(&policies).err().map(|e| e.problems).unwrap_or_default();
        let clients = by_client.map(|limit| (limit, config.rate_limit.per_client()));
        if let Some((limit, settings)) = &clients {
            problems.retain(|problem| !problem.key.starts_with("rate_limit."));
            let wrong = limit.check(settings).err().map(|e| e.problems).unwrap_or_default();
            problems.extend(wrong.into_iter().map(|problem| {
                let field = problem.key.strip_prefix("settings.").unwrap_or(&problem.key);
                Problem::new(format!("rate_limit.{field}"), problem.message)
            }));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let stack = stack.clone();
        Ok(Commit::new(move || {
            let by_client = clients.map(|(limit, settings)| limit.reconfigure(settings));
            if let Err(error) = stack.reconfigure(policies).and(by_client.unwrap_or(Ok(()))) {
                tracing::error!(%error, "checked settings were refused");
            }
        }))
    })
}

/// Answers probes itself and hands everything else to the router.
#[derive(Clone, Debug)]
pub(crate) struct Public {
    probes: Probes,
    router: Router,
}

impl<B> Service<Request<B>> for Public
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = PublicFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(())) // so is a router, always
    }

    fn call(&mut self, mut request: Request<B>) -> PublicFuture {
        match self.probes.reply::<Body, _>(&mut request) {
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
