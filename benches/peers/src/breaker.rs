//! Circuit breakers.
use crate::drive::Scenario;
use crate::echo::{self, Echo};
use crate::valid;
use octostack_core::Registry;
use octostack_resilience::{CircuitBreaker, Window};
use std::time::Duration;
use tower::Layer;
use tower_resilience::circuitbreaker::{CircuitBreakerLayer, SlidingWindowType};

const WINDOW: u32 = 100;
const FAILURE_RATE: f64 = 0.5;
const OPEN_FOR: Duration = Duration::from_secs(30);

/// A successful call through a closed breaker that judges by the last 100 calls.
pub(crate) fn closed() -> Scenario {
    Scenario {
        name: "breaker/closed",
        subjects: || {
            vec![
                echo::subject("baseline", Echo),
                echo::subject("octostack", octostack().layer().layer(Echo)),
                echo::subject("octostack-leaked", octostack().leak().layer().layer(Echo)),
                echo::subject("tower-resilience", tower_resilience().layer(Echo)),
            ]
        },
        between_rounds: || (),
    }
}

pub(crate) fn octostack() -> CircuitBreaker {
    let builder = CircuitBreaker::builder("inventory")
        .registry(&Registry::new())
        .window(Window::calls(WINDOW))
        .minimum_calls(WINDOW)
        .failure_rate(FAILURE_RATE)
        .open_for(OPEN_FOR);
    valid(builder.build())
}

pub(crate) fn tower_resilience() -> CircuitBreakerLayer {
    let builder = CircuitBreakerLayer::builder()
        .name("inventory")
        .sliding_window_type(SlidingWindowType::CountBased)
        .sliding_window_size(WINDOW as usize)
        .minimum_number_of_calls(WINDOW as usize)
        .failure_rate_threshold(FAILURE_RATE)
        .wait_duration_in_open(OPEN_FOR);
    valid(builder.build())
}
