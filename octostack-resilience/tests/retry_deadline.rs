//! Retry and the deadline of its caller.
#![cfg(feature = "tokio")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]
use octostack_core::inspect::{Metric, Registry, Sink, Value};
use octostack_core::testing::{Behaviour, Probe};
use octostack_core::{Clock, SystemClock};
use octostack_resilience::{Error, PolicyErrorKind, Retry, Timeout, deadline};
use std::future::{Ready, ready};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tower::{Layer, ServiceExt, service_fn};

type Fault = Error<&'static str>;

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Waits for a time that only grows by a third, so that it can be told from another.
fn retry(registry: &Registry) -> Retry {
    Retry::builder("inventory.retry")
        .registry(registry)
        .base_delay(millis(900))
        .max_delay(millis(900))
        .jitter(octostack_resilience::retry::Jitter::Equal)
        .build()
        .unwrap()
}

fn status(registry: &Registry, key: &str) -> i64 {
    let status = registry.items()[0].status();
    let found = key.split('.').try_fold(status, |value, key| value.get(key).cloned());
    match found {
        Some(Value::Integer(number)) => number,
        other => panic!("{key} is {other:?}"),
    }
}

fn fails(attempts: &AtomicU32) -> Ready<Result<(), Fault>> {
    attempts.fetch_add(1, Relaxed);
    ready(Err(Error::Inner("down")))
}

fn refused(answer: Result<(), Fault>) -> PolicyErrorKind {
    match answer {
        Err(Error::Policy(error)) => {
            assert_eq!(&*error.policy, "inventory.retry");
            error.kind
        }
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_cannot_fit_gives_up_now_with_the_last_answer() {
    let registry = Registry::new();
    let (retry, attempts) = (retry(&registry), AtomicU32::new(0));
    let start = SystemClock.now();
    let call = deadline::by(start + millis(400), retry.call(|_| fails(&attempts)));
    assert_eq!(call.await, Err(Error::Inner("down")));
    let service = retry.layer().layer(service_fn(|()| fails(&attempts)));
    let call = deadline::by(start + millis(400), service.oneshot(()));
    assert_eq!(call.await, Err(Error::Inner("down")));
    assert_eq!((SystemClock.now(), attempts.load(Relaxed)), (start, 2));

    assert_eq!(status(&registry, "out_of_time"), 2);
    assert_eq!(status(&registry, "budget.available"), 30, "it costs no budget");
    assert_eq!(status(&registry, "counters.failure"), 2);
    let mut late = Late(0.0);
    registry.collect(&mut late);
    assert!((late.0 - 2.0).abs() < 0.1);
}

struct Late(f64);

impl Sink for Late {
    fn sample(&mut self, metric: &'static Metric, _: &[(&'static str, &str)], value: f64) {
        if metric.name == "octostack_retry_out_of_time_total" {
            self.0 = value;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_fits_is_made() {
    let registry = Registry::new();
    let (retry, attempts) = (retry(&registry), AtomicU32::new(0));
    let end = SystemClock.now() + millis(10_000);
    deadline::by(end, retry.call(|_| fails(&attempts))).await.unwrap_err();
    assert_eq!((attempts.load(Relaxed), status(&registry, "out_of_time")), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn a_total_timeout_is_such_a_deadline_before_it_has_waited_too() {
    let registry = Registry::new();
    let (retry, attempts) = (retry(&registry), AtomicU32::new(0));
    let total = |limit| {
        let builder = Timeout::builder("total").registry(&Registry::new()).timeout(limit);
        builder.build().unwrap().layer()
    };
    let start = SystemClock.now();
    let layers = (total(millis(400)), retry.layer());
    let service = layers.layer(service_fn(|()| fails(&attempts)));
    assert_eq!(service.oneshot(()).await, Err(Error::Inner("down")));
    assert_eq!((SystemClock.now(), attempts.load(Relaxed)), (start, 1));

    // One wait of 450 to 900 ms always fits between two attempts of 300 ms, and two never do.
    let slow = || async {
        tokio::time::sleep(millis(300)).await;
        fails(&attempts).await
    };
    let layers = (total(millis(1_500)), retry.layer());
    let service = layers.layer(service_fn(|()| slow()));
    assert_eq!(service.oneshot(()).await, Err(Error::Inner("down")), "not a timeout");
    let took = SystemClock.now() - start;
    assert!(took <= millis(1_500), "it waits for no attempt that cannot end: {took:?}");
    assert_eq!(attempts.load(Relaxed), 1 + 2);
}

fn poll<F: Future + Unpin>(call: &mut F) -> Poll<F::Output> {
    std::pin::Pin::new(call).poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls within a deadline that lies so far back or ahead.
fn poll_by<F: Future + Unpin>(deadline: Instant, call: &mut F) -> Poll<F::Output> {
    deadline::scope(deadline, || poll(call))
}

#[tokio::test(start_paused = true)]
async fn no_attempt_begins_when_the_deadline_has_passed() {
    let registry = Registry::new();
    let (retry, attempts) = (retry(&registry), AtomicU32::new(0));
    let end = SystemClock.now() + millis(1_000);
    let mut call = Box::pin(retry.call(|_| fails(&attempts)));
    assert!(poll_by(end, &mut call).is_pending());
    // The thread had other things to do when the wait was over.
    tokio::time::advance(millis(1_000)).await;
    let Poll::Ready(answer) = poll_by(end, &mut call) else { panic!("an attempt began") };
    assert_eq!(refused(answer), PolicyErrorKind::DeadlinePassed);
    assert_eq!(attempts.load(Relaxed), 1);
    assert_eq!((status(&registry, "out_of_time"), status(&registry, "counters.failure")), (1, 1));
    assert_eq!(status(&registry, "budget.available"), 30, "the budget got its repeat back");
}

#[tokio::test(start_paused = true)]
async fn nor_when_it_passes_while_the_service_is_not_ready() {
    let registry = Registry::new();
    let retry = retry(&registry);
    let probe = Probe::new(|| Err::<(), Fault>(Error::Inner("down")))
        .with_broken(|| Error::Inner("broken"));
    let end = SystemClock.now() + millis(1_000);
    let mut call = Box::pin(retry.layer().layer(probe.clone()).oneshot(()));
    assert!(poll_by(end, &mut call).is_pending());
    probe.behave(Behaviour::Busy);
    tokio::time::advance(millis(950)).await;
    assert!(poll_by(end, &mut call).is_pending());
    probe.behave(Behaviour::Answer);
    tokio::time::advance(millis(50)).await;
    let Poll::Ready(answer) = poll_by(end, &mut call) else { panic!("an attempt began") };
    assert_eq!(refused(answer), PolicyErrorKind::DeadlinePassed);
    assert_eq!((probe.calls(), probe.reserved()), (1, 0));
    assert_eq!(probe.violations(), Vec::<&str>::new());
}

#[tokio::test(start_paused = true)]
async fn the_budget_gets_back_what_a_caller_who_left_did_not_use() {
    let registry = Registry::new();
    let (retry, attempts) = (retry(&registry), AtomicU32::new(0));
    let mut waiting = Box::pin(retry.call(|_| fails(&attempts)));
    assert!(poll(&mut waiting).is_pending());
    assert_eq!(status(&registry, "budget.available"), 29);
    drop(waiting);
    assert_eq!(status(&registry, "budget.available"), 30);

    let probe = Probe::new(|| Err::<(), Fault>(Error::Inner("down")))
        .with_broken(|| Error::Inner("broken"));
    let mut sent = Box::pin(retry.layer().layer(probe.clone()).oneshot(()));
    assert!(poll(&mut sent).is_pending());
    probe.behave(Behaviour::Hang);
    tokio::time::advance(millis(1)).await;
    let before = status(&registry, "budget.available");
    tokio::time::advance(millis(1_000)).await;
    assert!(poll(&mut sent).is_pending());
    assert_eq!((probe.calls(), before), (2, 29));
    let paid = retry.budget().available(&SystemClock);
    drop(sent);
    assert_eq!(retry.budget().available(&SystemClock), paid, "what was sent is paid for");
}
