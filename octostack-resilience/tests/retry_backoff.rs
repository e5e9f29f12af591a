//! Policies of the crate `backoff` as the schedule of a retry.
#![cfg(all(feature = "backoff", feature = "tokio"))]
#![allow(clippy::unwrap_used, reason = "a test may panic")]
use backoff::ExponentialBackoff;
use backoff::backoff::{Backoff, Constant, Stop};
use octostack_core::inspect::{Registry, Value};
use octostack_core::{Clock, SystemClock};
use octostack_resilience::retry::RetryBuilder;
use octostack_resilience::{Error, Outcome, Retry, deadline};
use std::future::ready;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

type Fault = Error<&'static str>;

fn retry() -> RetryBuilder {
    Retry::builder("retry").registry(&Registry::new())
}

fn constant(millis: u64) -> impl Fn() -> Constant + Send + Sync + 'static {
    move || Constant::new(Duration::from_millis(millis))
}

/// How often a call that always fails is attempted.
async fn attempts(retry: &Retry) -> u32 {
    let attempts = AtomicU32::new(0);
    let operation = |_| {
        attempts.fetch_add(1, Relaxed);
        ready(Err::<(), Fault>(Error::Inner("down")))
    };
    assert_eq!(retry.call(operation).await, Err(Error::Inner("down")));
    attempts.load(Relaxed)
}

#[tokio::test(start_paused = true)]
async fn waits_as_the_policy_says_within_the_limits_of_the_retry() {
    let start = SystemClock.now();
    assert_eq!(attempts(&retry().schedule(constant(700)).build().unwrap()).await, 3);
    assert_eq!(SystemClock.now() - start, Duration::from_millis(1_400));

    let start = SystemClock.now();
    assert_eq!(attempts(&retry().schedule(constant(60_000)).build().unwrap()).await, 3);
    assert_eq!(SystemClock.now() - start, Duration::from_secs(4), "max_delay each");

    assert_eq!(attempts(&retry().schedule(|| Stop {}).build().unwrap()).await, 1);

    let poor = retry().schedule(constant(1)).max_attempts(10).budget_floor(0).budget_ratio(0.0);
    let poor = poor.build().unwrap();
    assert_eq!([attempts(&poor).await, attempts(&poor).await], [10, 2], "ten in the budget");

    let retry = retry().schedule(constant(700)).build().unwrap();
    let end = SystemClock.now() + Duration::from_secs(1);
    assert_eq!(deadline::by(end, attempts(&retry)).await, 2);
}

/// Counts how often it is made, and waits one millisecond more each time.
struct Counted(Duration);

impl Backoff for Counted {
    fn next_backoff(&mut self) -> Option<Duration> {
        self.0 += Duration::from_millis(1);
        Some(self.0)
    }
}

#[test]
fn each_call_that_fails_has_one_of_its_own() {
    let made = Arc::new(AtomicU32::new(0));
    let count = made.clone();
    let factory = move || {
        count.fetch_add(1, Relaxed);
        Counted(Duration::ZERO)
    };
    let retry = retry().schedule(factory).build().unwrap();
    assert_eq!(retry.attempts().after(Outcome::Success, None), None);
    drop(retry.attempts());
    assert_eq!(made.load(Relaxed), 0, "none for what goes well");
    for n in 1..=3 {
        let mut attempts = retry.attempts();
        for millis in 1..=2 {
            let wait = attempts.after(Outcome::Failure, None);
            assert_eq!(wait, Some(Duration::from_millis(millis)));
        }
        assert_eq!(made.load(Relaxed), n);
    }
    let mut attempts = retry.attempts();
    let hint = Duration::from_secs(1);
    let wait = attempts.after(Outcome::Overloaded, Some(hint));
    assert_eq!(wait, Some(hint + Duration::from_millis(1)), "on top of what the service asked");
}

#[test]
fn status_says_whose_waits_they_are() {
    let registry = Registry::new();
    let builder = Retry::builder("retry").registry(&registry);
    let _retry = builder.schedule(ExponentialBackoff::default).build().unwrap();
    let status = registry.items()[0].status();
    assert_eq!(status.get("schedule").and_then(Value::as_str), Some("backoff"));
}

#[test]
fn the_feature_takes_nothing_from_the_types() {
    fn check<T: Send + Sync + UnwindSafe + RefUnwindSafe>() {}
    check::<Retry>();
    check::<octostack_resilience::retry::Attempts<&'static octostack_resilience::retry::Shared>>();
}
