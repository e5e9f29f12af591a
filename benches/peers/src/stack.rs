//! All policies on the way to a dependency, in the order of the standard outbound stack.
use crate::drive::Scenario;
use crate::echo::{self, Echo};
use crate::retry::ByBudget;
use crate::timeout::ATTEMPT;
use crate::{breaker, bulkhead, retry, timeout, valid};
use octostack_core::Registry;
use octostack_resilience::Chaos;
use std::time::Duration;
use tower::retry::RetryLayer;
use tower::timeout::TimeoutLayer;
use tower::{BoxError, Layer, Service};
use tower_resilience::bulkhead::BulkheadServiceError;
use tower_resilience::circuitbreaker::CircuitBreakerError;
use tower_resilience::timelimiter::TimeLimiterError;

/// Of a call with all its attempts.
const DEADLINE: Duration = Duration::from_secs(30);

/// A successful call through all of them.
pub(crate) fn outbound() -> Scenario {
    Scenario {
        name: "stack/outbound",
        subjects: || {
            vec![
                echo::subject("baseline", Echo),
                echo::subject("octostack", octostack()),
                echo::subject("octostack-leaked", octostack_leaked()),
                echo::subject("tower", tower()),
                echo::subject("tower-resilience", tower_resilience()),
            ]
        },
        between_rounds: || (),
    }
}

/// What a stack is measured as.
trait Stack: Service<u64, Response = u64, Error: std::fmt::Debug> + Clone + Sync + 'static {}

impl<S> Stack for S where
    S: Service<u64, Response = u64, Error: std::fmt::Debug> + Clone + Sync + 'static
{
}

fn octostack() -> impl Stack {
    let layers = (
        timeout::octostack(DEADLINE).layer(),
        retry::octostack().layer(),
        breaker::octostack().layer(),
        bulkhead::octostack().layer(),
        timeout::octostack(ATTEMPT).layer(),
        chaos().layer(),
    );
    layers.layer(Echo)
}

fn octostack_leaked() -> impl Stack {
    let layers = (
        timeout::octostack(DEADLINE).leak().layer(),
        retry::octostack().leak().layer(),
        breaker::octostack().leak().layer(),
        bulkhead::octostack().leak().layer(),
        timeout::octostack(ATTEMPT).leak().layer(),
        chaos().leak().layer(),
    );
    layers.layer(Echo)
}

/// In place, and not enabled.
fn chaos() -> Chaos {
    valid(Chaos::builder("inventory").registry(&Registry::new()).build())
}

/// Has no breaker and no chaos.
fn tower() -> impl Stack {
    let layers = (
        TimeoutLayer::new(DEADLINE),
        RetryLayer::new(ByBudget::new()),
        bulkhead::tower(),
        TimeoutLayer::new(ATTEMPT),
    );
    layers.layer(Echo)
}

type AttemptError = CircuitBreakerError<BulkheadServiceError<TimeLimiterError<BoxError>>>;

/// In the order that its composition guide recommends, which is ours. Without its chaos, which it
/// says never to use in production.
fn tower_resilience() -> impl Stack {
    let layers = (
        timeout::tower_resilience(DEADLINE),
        retry::tower_resilience(|error: &AttemptError| !error.is_circuit_open()),
        breaker::tower_resilience(),
        bulkhead::tower_resilience(),
        timeout::tower_resilience(ATTEMPT),
    );
    layers.layer(Echo)
}
