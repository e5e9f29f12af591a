//! Faults that the field has and that cross policies: readiness that is granted too early or held
//! for too long, state that is not shared, places that a dropped call keeps. `benches/peers` shows
//! them in the crates that have them.
#![cfg(all(feature = "tokio", feature = "rate-limit"))]
#![allow(clippy::unwrap_used, reason = "a test may panic")]
use octostack_core::inspect::{Mode, Registry};
use octostack_core::testing::{Behaviour, Probe};
use octostack_resilience::breaker::State;
use octostack_resilience::{
    Bulkhead, CircuitBreaker, Error, Outcome, PolicyErrorKind, RateLimit, Retry, Timeout, Window,
};
use std::fmt::Debug;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tower::{Layer, Service, ServiceExt};

type Fault = Error<&'static str>;

fn probe() -> Probe<(), Fault> {
    Probe::new(|| Ok(())).with_broken(|| Error::Inner("broken"))
}

fn breaker() -> CircuitBreaker {
    let builder = CircuitBreaker::builder("breaker").registry(&Registry::new());
    builder.window(Window::calls(2)).minimum_calls(2).half_open_calls(1).build().unwrap()
}

fn bulkhead(queue: u32) -> Bulkhead {
    let builder = Bulkhead::builder("bulkhead").registry(&Registry::new()).max_concurrent(1);
    let wait = if queue == 0 { Duration::ZERO } else { Duration::from_secs(10) };
    builder.max_queue(queue).max_wait(wait).build().unwrap()
}

fn rate_limit() -> RateLimit {
    let builder = RateLimit::builder("rate_limit").registry(&Registry::new());
    builder.limit(1).period(Duration::from_secs(3_600)).build().unwrap()
}

fn poll<F: Future>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// A clone that is ready.
async fn readied<S: Service<(), Error: Debug> + Clone>(service: &S) -> S {
    let mut service = service.clone();
    service.ready().await.unwrap();
    service
}

fn refused(result: Result<(), Fault>) -> Option<PolicyErrorKind> {
    match result {
        Err(Error::Policy(error)) => Some(error.kind),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn readiness_from_before_a_change_decides_nothing() {
    let (breaker, bulkhead) = (breaker(), bulkhead(0));
    let around = |inner| breaker.layer().layer(bulkhead.layer().layer(inner));
    let service = around(probe());

    breaker.set_mode(Mode::ForcedOpen).unwrap();
    let mut clone = readied(&service).await;
    breaker.set_mode(Mode::Enforce).unwrap();
    assert_eq!(refused(clone.call(()).await), None, "it is closed when it is called");

    let mut clone = readied(&service).await;
    breaker.set_mode(Mode::ForcedOpen).unwrap();
    assert_eq!(refused(clone.call(()).await), Some(PolicyErrorKind::CircuitOpen));
    breaker.set_mode(Mode::Enforce).unwrap();

    let mut clone = readied(&service).await;
    let held = bulkhead.try_admit().unwrap();
    assert_eq!(refused(clone.call(()).await), Some(PolicyErrorKind::BulkheadFull));
    let mut clone = readied(&service).await;
    drop(held);
    assert_eq!(refused(clone.call(()).await), None, "the place is free when it is called");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_an_open_breaker_and_one_of_many_tries_it() {
    let (breaker, probe) = (breaker(), probe());
    let service = breaker.layer().layer(probe.clone());
    for _ in 0..2 {
        breaker.admit().unwrap().settle(Outcome::Failure);
    }
    assert_eq!(breaker.state(), State::Open);
    let mut waiters = [readied(&service).await, readied(&service).await, readied(&service).await];
    tokio::time::advance(Duration::from_secs(3_600)).await;

    probe.behave(Behaviour::Hang);
    let mut trial = Box::pin(waiters[0].call(()));
    assert!(poll(&mut trial).is_pending());
    for waiter in &mut waiters[1..] {
        assert_eq!(refused(waiter.call(()).await), Some(PolicyErrorKind::CircuitOpen));
    }
    assert_eq!(probe.reserved(), 0, "a refusal gives readiness back");

    drop(trial);
    probe.behave(Behaviour::Answer);
    assert_eq!(refused(readied(&service).await.call(()).await), None, "its place is free again");
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn an_inner_service_that_is_never_ready_is_a_failure_through_all_policies() {
    let (breaker, probe) = (breaker(), probe());
    let timeout = Timeout::builder("timeout").registry(&Registry::new()).build().unwrap();
    let layers = (breaker.layer(), rate_limit().layer(), bulkhead(0).layer(), timeout.layer());
    let service = layers.layer(probe.clone());
    probe.behave(Behaviour::Broken);
    for _ in 0..2 {
        assert_eq!(breaker.state(), State::Closed);
        assert!(ServiceExt::<()>::ready(&mut service.clone()).await.is_err());
    }
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn no_policy_holds_readiness_of_what_is_further_in_while_a_call_waits() {
    // Queued behind a bulkhead, refused by a rate limit; for retries see tests/retry.rs.
    let probe = probe();
    let bulkhead = bulkhead(10);
    let service = bulkhead.layer().layer(probe.clone());
    probe.behave(Behaviour::Hang);
    let mut running = Box::pin(readied(&service).await.call(()));
    assert!(poll(&mut running).is_pending());
    let mut queued = Box::pin(readied(&service).await.call(()));
    assert!(poll(&mut queued).is_pending());
    assert_eq!((bulkhead.queued(), probe.reserved(), probe.in_flight()), (1, 0, 1));
    drop(queued);
    drop(running);
    assert_eq!((bulkhead.queued(), bulkhead.in_flight(), probe.in_flight()), (0, 0, 0));

    probe.behave(Behaviour::Answer);
    let limited = rate_limit().layer().layer(probe.clone());
    assert_eq!(refused(readied(&limited).await.call(()).await), None);
    let mut over = readied(&limited).await;
    assert_eq!(refused(over.call(()).await), Some(PolicyErrorKind::RateLimited));
    assert_eq!(probe.reserved(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_ready_and_never_called_uses_up_nothing() {
    let (bulkhead, rate_limit) = (bulkhead(0), rate_limit());
    let service = (rate_limit.layer(), bulkhead.layer()).layer(probe());
    let idle = [readied(&service).await, readied(&service).await];
    assert_eq!(bulkhead.in_flight(), 0);
    assert_eq!(refused(readied(&service).await.call(()).await), None);
    drop(idle);
    assert_eq!(
        refused(readied(&service).await.call(()).await),
        Some(PolicyErrorKind::RateLimited),
        "the one token was the call's"
    );
}

#[tokio::test(start_paused = true)]
async fn b19_a_call_that_is_dropped_at_any_point_leaves_every_policy_at_rest() {
    let (breaker, bulkhead, probe) = (breaker(), bulkhead(1), probe());
    let retry = Retry::builder("retry").registry(&Registry::new()).build().unwrap();
    let timeout = Timeout::builder("timeout").registry(&Registry::new()).build().unwrap();
    let layers = (retry.layer(), breaker.layer(), bulkhead.layer(), timeout.layer());
    let service = layers.layer(probe.clone());
    for polls in 0..3 {
        probe.behave(Behaviour::Hang);
        let mut call = Box::pin(readied(&service).await.call(()));
        let mut behind = Box::pin(readied(&service).await.call(()));
        for _ in 0..polls {
            assert!(poll(&mut call).is_pending());
            assert!(poll(&mut behind).is_pending());
        }
        drop(call);
        drop(behind);
        probe.behave(Behaviour::Answer);
        assert_eq!((bulkhead.in_flight(), bulkhead.queued()), (0, 0), "after {polls} polls");
        assert_eq!((probe.in_flight(), probe.reserved()), (0, 0), "after {polls} polls");
        assert_eq!(breaker.state(), State::Closed, "a cancelled call is no failure");
        assert_eq!(refused(readied(&service).await.call(()).await), None);
    }
}

#[tokio::test(start_paused = true)]
async fn b20_all_services_of_all_layers_of_a_policy_share_its_state() {
    let breaker = breaker();
    let layer = breaker.layer();
    let broken = probe();
    broken.behave(Behaviour::Broken);
    let (one, other) = (layer.layer(broken), layer.clone().layer(probe()));
    for _ in 0..2 {
        assert!(ServiceExt::<()>::ready(&mut one.clone()).await.is_err());
    }
    let open = Some(PolicyErrorKind::CircuitOpen);
    assert_eq!(refused(readied(&other).await.call(()).await), open);
    let third = breaker.layer().layer(probe());
    assert_eq!(refused(readied(&third).await.call(()).await), open);

    let rate_limit = rate_limit();
    let (one, other) = (rate_limit.layer().layer(probe()), rate_limit.layer().layer(probe()));
    assert_eq!(refused(readied(&one).await.call(()).await), None);
    let limited = Some(PolicyErrorKind::RateLimited);
    assert_eq!(refused(readied(&other).await.call(()).await), limited);
}
