//! Circuit breakers.
use crate::drive::{Scenario, Subject};
use octostack_core::Registry;
use octostack_resilience::{CircuitBreaker, Window};
use std::convert::identity;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::task::{Context, Poll};
use std::time::Duration;
use tower::{BoxError, Layer, Service};
use tower_resilience::circuitbreaker::{CircuitBreakerLayer, SlidingWindowType};

const WINDOW: u32 = 100;
const FAILURE_RATE: f64 = 0.5;
const OPEN_FOR: Duration = Duration::from_secs(30);

/// Answers with the request, at once.
#[derive(Clone)]
struct Echo;

impl Service<u64> for Echo {
    type Response = u64;
    type Error = BoxError;
    type Future = Ready<Result<u64, BoxError>>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    /// Stays a call: no real service dissolves in the layer around it.
    #[inline(never)]
    fn call(&mut self, request: u64) -> Self::Future {
        ready(Ok(request))
    }
}

/// A successful call through a closed breaker that judges by the last 100 calls.
pub(crate) fn closed() -> Scenario {
    Scenario {
        name: "breaker/closed",
        subjects: vec![
            subject("baseline", Echo),
            subject("octostack", octostack().layer().layer(Echo)),
            subject("octostack-leaked", octostack().leak().layer().layer(Echo)),
            subject("tower-resilience", tower_resilience().layer(Echo)),
        ],
        between_rounds: || (),
    }
}

fn subject<S>(name: &'static str, service: S) -> Subject
where
    S: Service<u64, Response = u64, Error: std::fmt::Debug> + Clone + Sync + 'static,
{
    let consume = |response, _: &mut Context<'_>| {
        black_box(identity::<u64>(response));
    };
    Subject::new(name, service, || black_box(7), consume)
}

fn octostack() -> CircuitBreaker {
    let builder = CircuitBreaker::builder("inventory")
        .registry(&Registry::new())
        .window(Window::calls(WINDOW))
        .minimum_calls(WINDOW)
        .failure_rate(FAILURE_RATE)
        .open_for(OPEN_FOR);
    builder.build().unwrap_or_else(|error| panic!("the settings are right: {error}"))
}

fn tower_resilience() -> CircuitBreakerLayer {
    let builder = CircuitBreakerLayer::builder()
        .name("inventory")
        .sliding_window_type(SlidingWindowType::CountBased)
        .sliding_window_size(WINDOW as usize)
        .minimum_number_of_calls(WINDOW as usize)
        .failure_rate_threshold(FAILURE_RATE)
        .wait_duration_in_open(OPEN_FOR);
    builder.build().unwrap_or_else(|error| panic!("the settings are right: {error}"))
}
