//! The timeout as a user meets it.
#![cfg(feature = "tokio")]
use octostack_core::inspect::overrides::Actor;
use octostack_core::inspect::{Metric, Mode, Patch, Registry, Sink};
use octostack_core::testing::{Probe, check};
use octostack_core::{Clock, SystemClock};
use octostack_resilience::timeout::TimeoutBuilder;
use octostack_resilience::{Error, Phase, PolicyError, PolicyErrorKind, Timeout, TimeoutConfig};
use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tower::{Layer, ServiceExt, service_fn};

type Failure = Error<Infallible>;

const LIMIT: Duration = Duration::from_millis(250);

fn builder(registry: &Registry) -> TimeoutBuilder {
    Timeout::builder("inventory.timeout").registry(registry).timeout(LIMIT)
}

fn timeout() -> (Registry, Timeout) {
    let registry = Registry::new();
    let timeout = builder(&registry).build().expect("valid settings");
    (registry, timeout)
}

async fn work(time: Duration) -> Result<&'static str, Failure> {
    tokio::time::sleep(time).await;
    Ok("done")
}

async fn panicking() -> Result<(), Infallible> {
    tokio::task::yield_now().await;
    panic!("boom")
}

fn timed_out() -> Failure {
    let word = PolicyError::new("inventory.timeout", PolicyErrorKind::TimedOut);
    Error::Policy(word.with_phase(Phase::Head))
}

/// Outcomes that are not zero, and decisions; names without labels that never change.
#[derive(Default)]
struct Samples(Vec<(String, f64)>);

impl Sink for Samples {
    fn sample(&mut self, metric: &'static Metric, labels: &[(&'static str, &str)], value: f64) {
        assert!(metric.name.starts_with("octostack_policy_"), "{}", metric.name);
        assert_eq!(labels[..2], [("policy", "inventory.timeout"), ("kind", "timeout")]);
        if value > 0.0 {
            self.0.push((labels[2].1.to_owned(), value));
        }
    }
}

#[track_caller]
fn assert_counts(registry: &Registry, expected: &[(&str, f64)]) {
    let mut samples = Samples::default();
    registry.collect(&mut samples);
    let seen: Vec<_> = samples.0.iter().map(|(name, value)| (&**name, *value)).collect();
    assert_eq!(seen, expected);
}

#[tokio::test(start_paused = true)]
async fn keeps_the_contract_of_tower() {
    let (_registry, timeout) = timeout();
    let probe = Probe::new(|| Ok::<_, Failure>(200));
    check("timeout", &probe, |inner| timeout.layer().layer(inner), || (), || Ok(()));
    let leaked = timeout.leak();
    check("leaked timeout", &probe, |inner| leaked.layer().layer(inner), || (), || Ok(()));
}

#[tokio::test(start_paused = true)]
async fn ends_what_takes_too_long_and_nothing_else() {
    let (registry, timeout) = timeout();
    let service = timeout.layer().layer(service_fn(work));
    let start = SystemClock.now();
    assert_eq!(service.clone().oneshot(LIMIT * 4).await, Err(timed_out()));
    assert_eq!(SystemClock.now() - start, LIMIT);
    assert_eq!(service.oneshot(LIMIT / 2).await, Ok("done"));
    assert_counts(&registry, &[("permitted", 2.0), ("success", 1.0), ("failure", 1.0)]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_with_the_deadline_wins() {
    let (_registry, timeout) = timeout();
    let mut call = pin!(timeout.call(work(LIMIT)));
    assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    tokio::time::advance(LIMIT * 2).await;
    assert_eq!(call.await, Ok("done").map_err(|e: Error<Failure>| e));
}

#[test]
fn what_answers_at_once_needs_no_timer() {
    // There is no runtime here: arming the timer would panic.
    let (registry, timeout) = timeout();
    let call = pin!(timeout.call(async { Err::<(), _>("failed in time") }));
    let answer = call.poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(answer, Poll::Ready(Err(Error::Inner("failed in time"))));
    assert_counts(&registry, &[("permitted", 1.0), ("success", 1.0)]);
}

#[tokio::test(start_paused = true)]
async fn the_answer_can_be_a_response() {
    let (_registry, timeout) = timeout();
    let layer = timeout.layer().respond_with(|error| Ok(error.kind.as_str()));
    let service = layer.layer(service_fn(|()| pending::<Result<&str, Failure>>()));
    assert_eq!(service.oneshot(()).await, Ok("timed_out"));
}

#[tokio::test(start_paused = true)]
async fn dropped_calls_and_panics_are_counted_as_what_they_are() {
    let (registry, timeout) = timeout();
    drop(timeout.call(work(LIMIT)));
    let mut polled = Box::pin(timeout.call(work(LIMIT)));
    assert!(polled.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(polled);
    assert_counts(&registry, &[("permitted", 2.0), ("cancelled", 2.0)]);

    let clone = timeout.clone();
    tokio::spawn(async move { clone.call(panicking()).await }).await.unwrap_err();
    let layer = timeout.layer();
    tokio::spawn(async move {
        let service = layer
            .layer(service_fn(|()| -> std::future::Ready<Result<(), Failure>> { panic!("boom") }));
        service.oneshot(()).await
    })
    .await
    .unwrap_err();
    assert_counts(&registry, &[("permitted", 4.0), ("ignored", 2.0), ("cancelled", 2.0)]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_that_is_caught_is_no_cancellation_though_the_future_is_dropped_later() {
    let (registry, timeout) = timeout();
    let mut call = Box::pin(timeout.call(panicking()));
    let noop = &mut Context::from_waker(Waker::noop());
    assert!(call.as_mut().poll(noop).is_pending());
    let polled = catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(noop)));
    assert!(polled.is_err());
    assert_counts(&registry, &[("permitted", 1.0), ("ignored", 1.0)]);
    drop(call);
    assert_counts(&registry, &[("permitted", 1.0), ("ignored", 1.0)]);
}

#[tokio::test(start_paused = true)]
async fn around_another_policy_the_error_does_not_nest() {
    let (_registry, timeout) = timeout();
    assert_eq!(timeout.around(work(LIMIT / 2)).await, Ok("done"));
    assert_eq!(timeout.around(work(LIMIT * 2)).await, Err(timed_out()));
    let word = PolicyError::new("inner", PolicyErrorKind::BulkheadFull);
    let refused: Result<(), Failure> = Err(word.into());
    assert_eq!(timeout.around(std::future::ready(refused.clone())).await, refused);
}

#[tokio::test(start_paused = true)]
async fn shadow_counts_once_and_lets_the_call_go_on() {
    let registry = Registry::new();
    let timeout = builder(&registry).mode(Mode::Shadow).build().unwrap();
    let start = SystemClock.now();
    let slow = async {
        work(LIMIT * 2).await?;
        work(LIMIT * 2).await
    };
    assert_eq!(timeout.call(slow).await, Ok("done"));
    assert_eq!(SystemClock.now() - start, LIMIT * 4);
    let expected = [("permitted", 1.0), ("shadow_rejected", 1.0), ("success", 1.0)];
    assert_counts(&registry, &expected);
}

#[tokio::test(start_paused = true)]
async fn disabled_and_zero_set_no_limit() {
    let day = Duration::from_secs(86_400);
    let registry = Registry::new();
    let none = builder(&registry).timeout(Duration::ZERO).build().unwrap();
    assert_eq!(none.call(work(day)).await, Ok("done"));
    let disabled = builder(&registry).mode(Mode::Disabled).build().unwrap();
    assert_eq!(disabled.call(work(day)).await, Ok("done"));
    assert_eq!(registry.items()[1].abnormal().unwrap(), "mode is disabled");
}

#[tokio::test(start_paused = true)]
async fn a_change_counts_for_calls_that_start_after_it() {
    let (registry, timeout) = timeout();
    let service = timeout.layer().layer(service_fn(work));
    let before = tokio::spawn(service.clone().oneshot(LIMIT * 2));
    tokio::task::yield_now().await;
    let patch = Patch { mode: None, settings: [("timeout".to_owned(), "1s".into())].into() };
    let (minute, now) = (Duration::from_secs(60), SystemClock.now());
    registry.set_override("inventory.timeout", patch, minute, &Actor::default(), now).unwrap();
    assert_eq!(service.clone().oneshot(LIMIT * 2).await, Ok("done"));
    assert_eq!(before.await.unwrap(), Err(timed_out()));

    registry.end_expired(now + minute);
    assert_eq!(timeout.settings().timeout, LIMIT);
    assert_eq!(service.oneshot(LIMIT * 2).await, Err(timed_out()));
}

#[tokio::test]
async fn a_future_that_uses_up_its_budget_cannot_keep_the_timer_from_firing() {
    let (_registry, timeout) = timeout();
    timeout
        .reconfigure(TimeoutConfig {
            timeout: Duration::from_millis(20),
            ..TimeoutConfig::default()
        })
        .unwrap();
    let greedy = poll_fn(|cx| {
        // Each poll of this channel that is ready costs budget, until there is none.
        let (to, mut from) = tokio::sync::mpsc::unbounded_channel();
        to.send(()).unwrap();
        while from.poll_recv(cx).is_ready() {
            to.send(()).unwrap();
        }
        Poll::Pending::<Result<(), Infallible>>
    });
    let limit = Duration::from_secs(30);
    assert!(
        tokio::time::timeout(limit, tokio::spawn(async move { timeout.call(greedy).await }))
            .await
            .expect("ended in time")
            .unwrap()
            .is_err()
    );
}

#[test]
fn says_what_is_wrong() {
    let text = |builder: TimeoutBuilder| builder.build().unwrap_err().to_string();
    let registry = Registry::new();
    let short = text(builder(&registry).timeout(Duration::from_micros(1)));
    assert!(short.contains("settings.timeout: 1us is too short: at least 1ms"), "{short}");
    let mode = text(builder(&registry).mode(Mode::ForcedOpen));
    assert!(mode.contains("it has enforce, shadow, disabled"), "{mode}");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_out_of_time_is_dropped_with_its_future() {
    struct Work(Arc<AtomicBool>);
    impl Drop for Work {
        fn drop(&mut self) {
            self.0.store(true, Relaxed);
        }
    }
    let (_registry, timeout) = timeout();
    let stopped = Arc::new(AtomicBool::new(false));
    let work = Work(stopped.clone());
    let start: Instant = SystemClock.now();
    let call = timeout.call(async move {
        let _work = work;
        pending::<Result<(), Infallible>>().await
    });
    call.await.unwrap_err();
    assert!(stopped.load(Relaxed));
    assert_eq!(SystemClock.now() - start, LIMIT);
}
