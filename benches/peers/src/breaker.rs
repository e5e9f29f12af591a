//! Circuit breakers.
use crate::drive::{Scenario, Subject, make_calls};
use crate::echo::{self, Echo};
use crate::valid;
use octostack_core::{Clock, Registry, SystemClock};
use octostack_resilience::breaker::CircuitBreakerBuilder;
use octostack_resilience::{CircuitBreaker, Error, Mode, Outcome, Window};
use std::convert::Infallible;
use std::future::Ready;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tower::{Layer, Service};
use tower_resilience::circuitbreaker::{
    CircuitBreaker as Theirs, CircuitBreakerConfigBuilder, CircuitBreakerLayer, DefaultClassifier,
    SlidingWindowType,
};

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

/// The same, and each call is timed, to see whether it is slow.
pub(crate) fn closed_slow_call() -> Scenario {
    Scenario {
        name: "breaker/closed-slow-call",
        subjects: || {
            let ours = || valid(builder().slow_call_duration(SLOW).build());
            let theirs = their_builder().slow_call_duration_threshold(SLOW);
            vec![
                echo::subject("baseline", Echo),
                echo::subject("octostack", ours().layer().layer(Echo)),
                echo::subject("octostack-leaked", ours().leak().layer().layer(Echo)),
                echo::subject("tower-resilience", valid(theirs.build()).layer(Echo)),
            ]
        },
        between_rounds: || (),
    }
}

/// A successful call through a closed breaker whose window of time holds so many calls.
pub(crate) fn time_window() -> Scenario {
    Scenario {
        name: "breaker/time-window",
        subjects: || {
            vec![
                Subject::asked("baseline", || black_box(7)),
                timed("octostack at 1,000", 1_000),
                timed("octostack at 4,000", 4_000),
                timed("octostack at 100,000", 100_000),
                theirs_timed("theirs at 1,000", 1_000),
                theirs_timed("theirs at 4,000", 4_000),
            ]
        },
        between_rounds: || (),
    }
}

/// A call that an open breaker refuses, until its caller has the error.
pub(crate) fn open_reject() -> Scenario {
    Scenario {
        name: "breaker/open-reject",
        subjects: || {
            let ours = || valid(builder().mode(Mode::ForcedOpen).build());
            let tripped = || {
                let ours = valid(builder().open_for(HOUR).build());
                for _ in 0..WINDOW {
                    valid(ours.admit()).settle(Outcome::Failure);
                }
                ours
            };
            let theirs = valid(their_builder().wait_duration_in_open(HOUR).build()).layer(Echo);
            crate::runtime::runtime().block_on(theirs.force_open());
            vec![
                echo::subject("baseline", Echo),
                Subject::refused("octostack", tripped().layer().layer(Silent), echo::request),
                Subject::refused(
                    "octostack-leaked",
                    tripped().leak().layer().layer(Silent),
                    echo::request,
                ),
                Subject::refused("octostack, forced", ours().layer().layer(Silent), echo::request),
                Subject::refused("tower-resilience", theirs, echo::request),
            ]
        },
        between_rounds: || (),
    }
}

/// As long as any call of a benchmark, and longer.
const SLOW: Duration = Duration::from_secs(10);
const HOUR: Duration = Duration::from_secs(3_600);
const SPAN: Duration = Duration::from_secs(10);

/// Is never called: the breaker in front of it is open.
#[derive(Clone)]
struct Silent;

impl Service<u64> for Silent {
    type Response = u64;
    type Error = Error<Infallible>;
    type Future = Ready<Result<u64, Self::Error>>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    #[inline(never)]
    fn call(&mut self, request: u64) -> Self::Future {
        std::future::ready(Ok(request))
    }
}

/// Goes so far with each call, so that a window of a fixed span always holds as many; and costs
/// what a look at the real clock costs.
#[derive(Clone)]
struct Paced {
    start: Instant,
    step: Duration,
    calls: Arc<AtomicU32>,
}

impl Paced {
    /// One thread does this: no need to be atomic.
    fn next(&self) {
        self.calls.store(self.calls.load(Relaxed) + 1, Relaxed);
    }
}

impl Clock for Paced {
    #[inline]
    fn now(&self) -> Instant {
        black_box(SystemClock.now());
        self.start + self.step * self.calls.load(Relaxed)
    }
}

/// By hand, since a layer takes the real clock.
fn timed(name: &'static str, calls: u32) -> Subject {
    let start = SystemClock.now();
    let window = builder().window(Window::time(SPAN)).minimum_calls(WINDOW);
    let breaker = valid(window.build_at(&start)).leak();
    let clock = Paced { start, step: SPAN / calls, calls: Arc::default() };
    let call = move || {
        clock.next();
        valid(breaker.admit_at(&clock)).settle_at(Outcome::Success, &clock);
    };
    (0..calls).for_each(|_| call());
    Subject::asked_alone(name, call)
}

/// Its clock cannot be given. A window of the time that so many calls take holds so many of them
/// as long as the calls go on.
fn theirs_timed(name: &'static str, calls: u32) -> Subject {
    let with = |span| -> Theirs<Echo, DefaultClassifier> {
        let builder = their_builder().sliding_window_type(SlidingWindowType::TimeBased);
        valid(builder.sliding_window_duration(span).build()).layer(Echo)
    };
    let mut full = with(HOUR);
    make_calls(&mut full, echo::request, u64::from(calls));
    let start = SystemClock.now();
    make_calls(&mut full, echo::request, 100);
    let span = start.elapsed() / 100 * calls;
    let steady = move || {
        let mut service = with(span);
        make_calls(&mut service, echo::request, 2 * u64::from(calls));
        service
    };
    Subject::alone(name, steady, echo::request, echo::consume)
}

pub(crate) fn octostack() -> CircuitBreaker {
    valid(builder().build())
}

fn builder() -> CircuitBreakerBuilder {
    CircuitBreaker::builder("inventory")
        .registry(&Registry::new())
        .window(Window::calls(WINDOW))
        .minimum_calls(WINDOW)
        .failure_rate(FAILURE_RATE)
        .open_for(OPEN_FOR)
}

pub(crate) fn tower_resilience() -> CircuitBreakerLayer {
    valid(their_builder().build())
}

fn their_builder() -> CircuitBreakerConfigBuilder<DefaultClassifier> {
    CircuitBreakerLayer::builder()
        .name("inventory")
        .sliding_window_type(SlidingWindowType::CountBased)
        .sliding_window_size(WINDOW as usize)
        .minimum_number_of_calls(WINDOW as usize)
        .failure_rate_threshold(FAILURE_RATE)
        .wait_duration_in_open(OPEN_FOR)
}
