//! All policies on the way to a dependency, in the order of the standard outbound stack.
use crate::drive::{Scenario, Subject};
use crate::echo::{self, Echo};
use crate::retry::ByBudget;
use crate::{breaker, bulkhead, rate_limit, retry, timeout};
use http::header::ACCEPT;
use http::{HeaderValue, Request};
use std::future::{Ready, ready};
use std::task::{Context, Poll};
use std::time::Duration;
use tower::retry::RetryLayer;
use tower::timeout::TimeoutLayer;
use tower::{BoxError, Layer, Service};
use tower_resilience::bulkhead::BulkheadServiceError;
use tower_resilience::circuitbreaker::CircuitBreakerError;

/// Of a call with all its attempts.
const DEADLINE: Duration = Duration::from_secs(30);

/// A successful call with a request of one word.
pub(crate) fn outbound() -> Scenario {
    Scenario { name: "stack/outbound", subjects: || subjects(echo::request), between_rounds: || () }
}

/// The same with an HTTP request that has one header, and no body to speak of.
pub(crate) fn outbound_http() -> Scenario {
    Scenario {
        name: "stack/outbound-http",
        subjects: || subjects(http_request),
        between_rounds: || (),
    }
}

fn http_request() -> Request<u64> {
    let mut request = Request::new(echo::request());
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
    request
}

impl Service<Request<u64>> for Echo {
    type Response = u64;
    type Error = BoxError;
    type Future = Ready<Result<u64, BoxError>>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    /// Stays a call: no real service dissolves in the layer around it.
    #[inline(never)]
    fn call(&mut self, request: Request<u64>) -> Self::Future {
        ready(Ok(*request.body()))
    }
}

type AttemptError = CircuitBreakerError<BulkheadServiceError<BoxError>>;

fn subjects<Req>(request: fn() -> Req) -> Vec<Subject>
where
    Req: Clone + Send + Sync + 'static,
    Echo: Service<Req, Response = u64, Error = BoxError, Future = Ready<Result<u64, BoxError>>>,
{
    let octostack = (
        rate_limit::octostack().layer(),
        timeout::octostack(DEADLINE).layer(),
        retry::octostack().layer(),
        breaker::octostack().layer(),
        bulkhead::octostack().layer(),
    );
    let leaked = (
        rate_limit::octostack().leak().layer(),
        timeout::octostack(DEADLINE).leak().layer(),
        retry::octostack().leak().layer(),
        breaker::octostack().leak().layer(),
        bulkhead::octostack().leak().layer(),
    );
    // Has no breaker, and no rate limit that can be shared.
    let tower = (TimeoutLayer::new(DEADLINE), RetryLayer::new(ByBudget::new()), bulkhead::tower());
    // In the order that its composition guide recommends, which is ours.
    let tower_resilience = (
        rate_limit::tower_resilience(),
        timeout::tower_resilience(DEADLINE),
        retry::tower_resilience::<Req, _>(|error: &AttemptError| !error.is_circuit_open()),
        breaker::tower_resilience(),
        bulkhead::tower_resilience(),
    );
    vec![
        Subject::new("baseline", Echo, request, echo::consume),
        Subject::new("octostack", octostack.layer(Echo), request, echo::consume),
        Subject::new("octostack-leaked", leaked.layer(Echo), request, echo::consume),
        Subject::new("tower", tower.layer(Echo), request, echo::consume),
        Subject::new("tower-resilience", tower_resilience.layer(Echo), request, echo::consume),
    ]
}
