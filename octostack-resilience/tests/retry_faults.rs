//! Faults that the field has in its retries, each by its number or its issue.
#![cfg(feature = "tokio")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]
use octostack_core::inspect::Registry;
use octostack_core::{Clock, SystemClock};
use octostack_resilience::retry::{Jitter, RetryBuilder};
use octostack_resilience::{Error, Outcome, PolicyError, PolicyErrorKind, Retry, RetryBudget};
use octostack_resilience::{Timeout, TimeoutConfig};
use std::future::{Ready, pending, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tower::{Layer, ServiceExt, service_fn};

type Fault = Error<&'static str>;

fn retry() -> RetryBuilder {
    Retry::builder("retry").registry(&Registry::new())
}

fn down(attempts: &AtomicU32) -> Ready<Result<(), Fault>> {
    attempts.fetch_add(1, Relaxed);
    ready(Err(Error::Inner("down")))
}

#[tokio::test(start_paused = true)]
async fn b15_the_budget_is_a_tenth_of_the_traffic_and_not_all_of_it() {
    let retry = retry().budget_ratio(0.1).budget_floor(0).build().unwrap();
    let attempts = AtomicU32::new(0);
    // Traffic that goes well fills the budget no further than to what it holds.
    for _ in 0..10_000 {
        retry.call(|_| ready(Ok::<_, Fault>(()))).await.unwrap();
    }
    for _ in 0..1_000 {
        retry.call(|_| down(&attempts)).await.unwrap_err();
    }
    let repeats = attempts.load(Relaxed) - 1_000;
    assert!((100..=110).contains(&repeats), "{repeats} repeats of 1,000 calls");
}

#[tokio::test(start_paused = true)]
async fn b15_time_outs_of_an_attempt_are_charged_and_repeated() {
    let settings = TimeoutConfig { timeout: Duration::from_secs(1), ..TimeoutConfig::default() };
    let timeout = Timeout::builder("attempt").registry(&Registry::new()).settings(settings);
    let timeout = timeout.build().unwrap();
    let retry = retry().budget_floor(0).build().unwrap();
    let attempts = AtomicU32::new(0);
    let service = service_fn(|()| {
        let first = attempts.fetch_add(1, Relaxed) == 0;
        async move { if first { pending().await } else { Ok::<_, Fault>(()) } }
    });
    let service = retry.layer().layer(timeout.layer().layer(service));
    assert_eq!(service.oneshot(()).await, Ok(()));
    assert_eq!(attempts.load(Relaxed), 2);
    assert_eq!(retry.budget().available(&SystemClock), 9);
}

#[test]
fn b16_no_wait_is_longer_than_the_cap_and_all_that_fail_at_once_come_back_apart() {
    let (base, cap) = (Duration::from_secs(1), Duration::from_secs(2));
    for jitter in [Jitter::Full, Jitter::Equal, Jitter::Decorrelated] {
        let retry = retry().base_delay(base).max_delay(cap).max_attempts(10).jitter(jitter);
        let retry = retry.budget_floor(1_000).build().unwrap();
        let mut last = Vec::new();
        for _ in 0..100 {
            let mut attempts = retry.attempts();
            while let Some(wait) = attempts.after(Outcome::Failure, None) {
                assert!(wait <= cap, "{jitter:?}: {wait:?}");
                if attempts.number() == 10 {
                    last.push(wait);
                }
            }
        }
        assert_eq!(last.len(), 100);
        last.sort();
        assert!(last[99].saturating_sub(last[0]) > cap / 4, "{jitter:?}: hardly apart");
        last.dedup();
        assert!(last.len() > 90, "{jitter:?}: {} different waits", last.len());
    }
}

#[test]
fn b16_what_the_service_asks_for_counts_and_chance_comes_on_top() {
    let retry = retry().jitter(Jitter::Decorrelated).max_attempts(3).build().unwrap();
    let hint = Duration::from_secs(4);
    let mut attempts = retry.attempts();
    let first = attempts.after(Outcome::Overloaded, Some(hint)).unwrap();
    assert!(first >= hint + Duration::from_millis(100));
    assert!(first <= hint + Duration::from_millis(300));
    // The next wait grows from the policy's own part, not from what the service asked for.
    let second = attempts.after(Outcome::Failure, None).unwrap();
    assert!(second <= Duration::from_millis(900), "{second:?}");
}

/// An answer that holds a connection until it is dropped.
struct Response {
    status: u16,
    _connection: Arc<()>,
}

#[tokio::test(start_paused = true)]
async fn b17_the_answer_and_its_connection_are_gone_before_the_wait() {
    let connection = Arc::new(());
    let retry = retry().base_delay(Duration::from_secs(1)).jitter(Jitter::Equal).build().unwrap();
    let judge = |output: &Result<Response, Fault>| match output {
        Ok(response) if response.status < 500 => Outcome::Success,
        _ => Outcome::Failure,
    };
    let answer = |status| Ok::<_, Fault>(Response { status, _connection: connection.clone() });

    let number = AtomicU32::new(0);
    let service = retry.layer().classify(judge).layer(service_fn(|()| {
        ready(answer(if number.fetch_add(1, Relaxed) == 0 { 503 } else { 200 }))
    }));
    let by_layer = service.oneshot(());
    let operation = |attempt| ready(answer(if attempt == 1 { 503 } else { 200 }));
    let by_call = retry.call_with(operation, judge);
    let watch = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Arc::strong_count(&connection)
    };
    let (watched, one, other) = tokio::join!(watch, by_layer, by_call);
    assert_eq!(watched, 1, "nobody holds it while both wait");
    assert_eq!((one.unwrap().status, other.unwrap().status), (200, 200));
}

/// tower's budget checks first and takes afterwards: threads in between overdraw it.
#[test]
fn tower_857_and_863_threads_cannot_overdraw_a_budget() {
    /// Stands still, so that the floor adds nothing.
    #[derive(Clone, Copy)]
    struct Still(Instant);
    impl Clock for Still {
        fn now(&self) -> Instant {
            self.0
        }
    }
    for _ in 0..200 {
        let budget = RetryBudget::new(0.5, 0).unwrap();
        let clock = Still(SystemClock.now());
        let taken = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let mut taken = 0;
                        for n in 0..20 {
                            if n % 4 == 0 {
                                budget.deposit();
                            }
                            taken += u32::from(budget.withdraw(&clock));
                        }
                        taken
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u32>()
        });
        // Ten were there and twenty calls put in a half each.
        let left = u32::try_from(budget.available(&clock)).unwrap();
        assert!(taken + left <= 20, "{taken} of 20 taken, {left} left");
        assert!(taken >= 10);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_repeat_is_the_last_answer_and_no_error_of_its_own() {
    let budget = RetryBudget::new(0.0, 0).unwrap();
    while budget.withdraw(&SystemClock) {}
    let retry = retry().budget(&budget).build().unwrap();
    let timed_out = PolicyError::new("attempt", PolicyErrorKind::TimedOut);
    let call = retry.call(|_| ready(Err::<(), Fault>(Error::Policy(timed_out.clone()))));
    assert_eq!(call.await, Err(Error::Policy(timed_out)));
    assert_eq!(budget.available(&SystemClock), 0);
}
