//! The bulkhead as a user meets it: around a service, around a future, by hand, and from the admin
//! port.
use octostack_core::inspect::overrides::Actor;
use octostack_core::inspect::{Metric, Mode, Patch, Registry, Sink};
use octostack_core::testing::{Behaviour, Probe, check, check_rejecting};
use octostack_core::{Clock, SystemClock};
use octostack_resilience::bulkhead::BulkheadBuilder;
use octostack_resilience::{Bulkhead, BulkheadConfig, Error, PolicyErrorKind};
use std::convert::Infallible;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tower::{Layer, Service, ServiceExt, service_fn};

type Failure = Error<Infallible>;

fn builder(registry: &Registry) -> BulkheadBuilder {
    Bulkhead::builder("inventory.bulkhead").registry(registry)
}

/// One place.
fn single() -> Bulkhead {
    builder(&Registry::new()).max_concurrent(1).build().expect("valid settings")
}

fn at_rest(bulkhead: &Bulkhead) -> Result<(), String> {
    match (bulkhead.in_flight(), bulkhead.queued()) {
        (0, 0) => Ok(()),
        other => Err(format!("{other:?} in flight and queued")),
    }
}

fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn is_full<T: std::fmt::Debug>(result: Result<T, Failure>) -> bool {
    match result {
        Err(Error::Policy(error)) => {
            assert_eq!(error.kind, PolicyErrorKind::BulkheadFull);
            assert_eq!((&*error.policy, error.retry_after), ("inventory.bulkhead", None));
            true
        }
        _ => false,
    }
}

#[derive(Default)]
struct Samples(Vec<(String, String)>);

impl Sink for Samples {
    fn sample(&mut self, metric: &'static Metric, labels: &[(&'static str, &str)], value: f64) {
        let labels: Vec<_> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        self.0.push((format!("{}{{{}}}", metric.name, labels.join(",")), value.to_string()));
    }
}

fn sample(registry: &Registry, line: &str) -> String {
    let mut samples = Samples::default();
    registry.collect(&mut samples);
    let found = samples.0.iter().find(|(name, _)| name == line);
    found.unwrap_or_else(|| panic!("no {line}: {:?}", samples.0)).1.clone()
}

fn decisions(registry: &Registry) -> [String; 3] {
    ["permitted", "rejected", "shadow_rejected"].map(|decision| {
        let labels = format!("{{policy=inventory.bulkhead,kind=bulkhead,decision={decision}}}");
        sample(registry, &format!("octostack_policy_decisions_total{labels}"))
    })
}

#[test]
fn keeps_the_contract_of_tower() {
    let bulkhead = single();
    check(
        "bulkhead",
        &Probe::new(|| Ok::<_, Failure>(200)),
        |inner| bulkhead.layer().layer(inner),
        || (),
        || at_rest(&bulkhead),
    );
    let leaked = single().leak();
    check(
        "leaked bulkhead",
        &Probe::new(|| Ok::<_, Failure>(200)),
        |inner| leaked.layer().layer(inner),
        || (),
        || if leaked.in_flight() == 0 { Ok(()) } else { Err("a place is taken".into()) },
    );
}

#[test]
fn keeps_the_contract_of_tower_while_it_rejects() {
    let bulkhead = single();
    let _held = bulkhead.try_admit().unwrap();
    let full = || match (bulkhead.in_flight(), bulkhead.queued()) {
        (1, 0) => Ok(()),
        other => Err(format!("{other:?} in flight and queued")),
    };
    let probe = Probe::new(|| Ok::<_, Failure>(200));
    check_rejecting("full", &probe, |inner| bulkhead.layer().layer(inner), || (), full);
}

#[tokio::test]
async fn a_full_bulkhead_is_ready_and_rejects_without_touching_the_service() {
    let (bulkhead, probe) = (single(), Probe::new(|| Ok::<_, Failure>(200)));
    let mut service = bulkhead.layer().layer(probe.clone());
    let held = bulkhead.try_admit().unwrap();
    ServiceExt::<()>::ready(&mut service).await.unwrap();
    assert!(is_full(service.call(()).await));
    assert_eq!(probe.calls(), 0);

    drop(held);
    assert_eq!(service.oneshot(()).await, Ok(200));
    assert_eq!(bulkhead.in_flight(), 0);
}

#[tokio::test]
async fn all_layers_of_a_policy_share_its_places() {
    let (bulkhead, probe) = (single(), Probe::new(|| Ok::<_, Failure>(200)));
    probe.behave(Behaviour::Hang);
    let mut first = pin!(bulkhead.layer().layer(probe.clone()).oneshot(()));
    assert!(poll_once(first.as_mut()).is_pending());
    let other = bulkhead.clone().layer().layer(service_fn(async |()| Ok::<_, Failure>(0)));
    assert!(is_full(other.oneshot(()).await));
}

#[tokio::test]
async fn a_rejection_becomes_the_answer_that_was_asked_for() {
    let bulkhead = single();
    let _held = bulkhead.try_admit().unwrap();
    let layer = bulkhead.layer().respond_with(|error| Ok(error.to_string()));
    let service = layer.layer(service_fn(async |()| Ok::<_, Failure>(String::new())));
    let answer = service.oneshot(()).await.unwrap();
    assert_eq!(answer, "inventory.bulkhead: too many calls are in flight");
}

#[tokio::test]
async fn a_call_runs_in_a_place_and_starts_only_then() {
    let bulkhead = single();
    let held = bulkhead.try_admit().unwrap();
    let never = async { unreachable!("there is no place") };
    assert!(is_full::<()>(bulkhead.call(never).await));
    drop(held);
    let inside = bulkhead.call(async { Ok::<_, Infallible>(bulkhead.in_flight()) }).await;
    assert_eq!(inside, Ok(1));
    assert_eq!(bulkhead.call(async { Err::<(), _>("no") }).await, Err(Error::Inner("no")));
    drop(bulkhead.call(async { Ok::<_, Infallible>(()) }));
    assert_eq!(at_rest(&bulkhead), Ok(()));
}

/// Work that needs its place to the last moment.
struct Work(Bulkhead);

impl Drop for Work {
    fn drop(&mut self) {
        assert_eq!(self.0.in_flight(), 1, "the place was given away too early");
    }
}

async fn endless(work: Work) -> Result<(), Failure> {
    std::future::pending::<()>().await;
    drop(work);
    Ok(())
}

#[test]
fn the_work_ends_before_its_place_is_free() {
    let bulkhead = single();
    let mut call = Box::pin(bulkhead.call(endless(Work(bulkhead.clone()))));
    assert!(poll_once(call.as_mut()).is_pending());
    drop(call);
    assert_eq!(at_rest(&bulkhead), Ok(()));

    let service = bulkhead.layer().layer(service_fn(endless));
    let mut call = Box::pin(service.oneshot(Work(bulkhead.clone())));
    assert!(poll_once(call.as_mut()).is_pending());
    drop(call);
    assert_eq!(at_rest(&bulkhead), Ok(()));
}

#[test]
fn the_place_is_free_with_the_answer_though_the_future_lives_on() {
    let bulkhead = single();
    let mut call = pin!(bulkhead.call(std::future::ready(Ok::<_, Infallible>(()))));
    assert!(poll_once(call.as_mut()).is_ready());
    assert_eq!(at_rest(&bulkhead), Ok(()));

    let mut service = bulkhead.layer().layer(Probe::new(|| Ok::<_, Failure>(200)));
    let noop = &mut Context::from_waker(Waker::noop());
    assert!(Service::<()>::poll_ready(&mut service, noop).is_ready());
    let mut call = pin!(service.call(()));
    assert!(poll_once(call.as_mut()).is_ready());
    assert_eq!(at_rest(&bulkhead), Ok(()));
}

#[test]
fn shadow_counts_and_lets_run() {
    let registry = Registry::new();
    let bulkhead = builder(&registry).max_concurrent(1).mode(Mode::Shadow).build().unwrap();
    let permits = [bulkhead.try_admit(), bulkhead.try_admit(), bulkhead.try_admit()];
    assert!(permits.iter().all(Result::is_ok));
    assert_eq!(bulkhead.in_flight(), 1, "only what has a place");
    assert_eq!(decisions(&registry), ["3", "0", "2"]);
    drop(permits);
    assert_eq!(at_rest(&bulkhead), Ok(()));
}

#[test]
fn disabled_lets_all_run_and_forced_open_none() {
    let registry = Registry::new();
    let bulkhead = builder(&registry).max_concurrent(1).build().unwrap();
    bulkhead.set_mode(Mode::Disabled).unwrap();
    let permits = [bulkhead.try_admit(), bulkhead.try_admit()];
    assert!(permits.iter().all(Result::is_ok));
    bulkhead.set_mode(Mode::ForcedOpen).unwrap();
    bulkhead.try_admit().unwrap_err();
    assert_eq!(registry.items()[0].abnormal().unwrap(), "mode is forced_open");
    drop(permits);
    assert_eq!(bulkhead.in_flight(), 0, "a permit without a place gives none back");
    assert_eq!(decisions(&registry), ["2", "1", "0"]);
    let error = bulkhead.set_mode(Mode::ForcedClosed).unwrap_err().to_string();
    assert!(error.contains("this policy has no mode `forced_closed`"), "{error}");
}

#[test]
fn says_all_that_is_wrong() {
    let error = Bulkhead::builder("a b").max_concurrent(0).max_wait(Duration::from_secs(1)).build();
    let text = error.unwrap_err().to_string();
    for part in ["`a b` is no policy name", "settings.max_concurrent: 0", "settings.max_wait: 1s"] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
}

#[test]
fn an_operator_resizes_it_and_the_numbers_show() {
    let registry = Registry::new();
    let bulkhead = builder(&registry).max_concurrent(2).build().unwrap();
    let gauge = |name: &str| {
        sample(&registry, &format!("octostack_bulkhead_{name}{{policy=inventory.bulkhead}}"))
    };
    let first = bulkhead.try_admit().unwrap();
    let second = bulkhead.try_admit().unwrap();
    assert_eq!(["in_flight", "limit", "queued"].map(gauge), ["2", "2", "0"]);

    let settings = [("max_concurrent".to_owned(), 1_u32.into())].into();
    let patch = Patch { mode: None, settings };
    let minute = Duration::from_secs(60);
    let now = SystemClock.now();
    registry.set_override("inventory.bulkhead", patch, minute, &Actor::default(), now).unwrap();
    assert_eq!(["in_flight", "limit"].map(gauge), ["2", "1"]);
    drop(first);
    bulkhead.try_admit().expect_err("still one too many");
    drop(second);
    let third = bulkhead.try_admit().unwrap();
    bulkhead.try_admit().expect_err("one place is left");

    // A reload reaches what the override does not cover; its end reaches the rest.
    let reloaded = BulkheadConfig { max_concurrent: 3, ..BulkheadConfig::default() };
    bulkhead.reconfigure(reloaded).unwrap();
    assert_eq!(bulkhead.settings().max_concurrent, 1);
    registry.end_expired(now + minute);
    assert_eq!(bulkhead.settings().max_concurrent, 3);
    let rest = [bulkhead.try_admit(), bulkhead.try_admit()];
    assert!(rest.iter().all(Result::is_ok));
    drop((third, rest));
    let status = registry.items()[0].status().to_string();
    assert!(status.contains(r#""in_flight": 0, "queued": 0, "mode": "enforce""#), "{status}");
}

#[cfg(feature = "tokio")]
mod queue {
    use super::*;
    use octostack_resilience::deadline;
    use std::future::{pending, poll_fn, ready};
    use std::sync::{Arc, Mutex};

    const WAIT: Duration = Duration::from_millis(150);
    const WORK: Duration = Duration::from_millis(100);

    fn queueing(max_queue: u32) -> Bulkhead {
        let builder = builder(&Registry::new()).max_concurrent(1);
        builder.max_queue(max_queue).max_wait(WAIT).build().expect("valid settings")
    }

    /// Calls `service` as a task; the call itself happens now.
    async fn spawn<S, T>(mut service: S, n: u32) -> tokio::task::JoinHandle<Result<T, S::Error>>
    where
        S: Service<u32, Response = T>,
        S::Future: Send + 'static,
        S::Error: std::fmt::Debug + Send + 'static,
        T: Send + 'static,
    {
        let call = service.ready().await.expect("ready").call(n);
        tokio::spawn(call)
    }

    #[tokio::test(start_paused = true)]
    async fn first_come_first_served_up_to_the_end_of_the_wait() {
        let (bulkhead, order) = (queueing(3), Arc::new(Mutex::new(Vec::new())));
        let log = order.clone();
        let service = bulkhead.layer().layer(service_fn(move |n: u32| {
            log.lock().unwrap().push(n);
            async move {
                tokio::time::sleep(WORK).await;
                Ok::<_, Failure>(n)
            }
        }));
        let start = SystemClock.now();
        let mut calls = Vec::new();
        for n in 0..5 {
            calls.push(spawn(service.clone(), n).await);
        }
        assert_eq!((bulkhead.in_flight(), bulkhead.queued()), (1, 3));

        let mut answers = Vec::new();
        for call in calls {
            answers.push(call.await.unwrap());
        }
        assert_eq!(*order.lock().unwrap(), [0, 1], "in the order of coming");
        assert_eq!((answers[0].clone(), answers[1].clone()), (Ok(0), Ok(1)));
        assert!(answers.drain(2..).all(is_full), "out of time, out of time, no place to wait");
        assert_eq!(SystemClock.now() - start, WORK * 2);
        assert_eq!(at_rest(&bulkhead), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_ends_in_time_and_is_counted_as_a_rejection() {
        let registry = Registry::new();
        let builder = builder(&registry).max_concurrent(1).max_queue(1).max_wait(WAIT);
        let bulkhead = builder.build().unwrap();
        let _held = bulkhead.try_admit().unwrap();
        let start = SystemClock.now();
        assert!(is_full::<()>(bulkhead.call(pending()).await));
        assert_eq!(SystemClock.now() - start, WAIT);
        assert_eq!(decisions(&registry), ["1", "1", "0"]);
        assert_eq!(bulkhead.queued(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_comes_with_the_deadline_is_taken() {
        let bulkhead = queueing(1);
        let held = bulkhead.try_admit().unwrap();
        let mut waiting = pin!(bulkhead.admit());
        assert!(poll_once(waiting.as_mut()).is_pending());
        tokio::time::advance(WAIT * 2).await;
        drop(held);
        let Poll::Ready(Ok(permit)) = poll_once(waiting) else { panic!("not admitted") };
        drop(permit);
        assert_eq!(at_rest(&bulkhead), Ok(()));
    }

    /// The kind of what the bulkhead said instead of a permit.
    fn refusal<T>(answer: Result<T, octostack_resilience::PolicyError>) -> PolicyErrorKind {
        let error = answer.err().expect("refused");
        assert_eq!(&*error.policy, "inventory.bulkhead");
        error.kind
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_place_longer_than_the_caller_waits() {
        let registry = Registry::new();
        let builder = builder(&registry).max_concurrent(1).max_queue(1).max_wait(WAIT);
        let bulkhead = builder.build().unwrap();
        let held = bulkhead.try_admit().unwrap();
        let start = SystemClock.now();
        let waiting = deadline::scope(start + WAIT / 5, || bulkhead.admit());
        assert_eq!(refusal(waiting.await), PolicyErrorKind::DeadlinePassed);
        assert_eq!(SystemClock.now() - start, WAIT / 5);
        assert_eq!(decisions(&registry), ["1", "1", "0"]);

        let waiting = deadline::scope(start + WAIT * 4, || bulkhead.admit());
        assert_eq!(refusal(waiting.await), PolicyErrorKind::BulkheadFull, "the wait is shorter");
        drop(held);
        assert_eq!(at_rest(&bulkhead), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_may_be_around_the_poll_and_not_around_the_call() {
        let bulkhead = queueing(1);
        let held = bulkhead.try_admit().unwrap();
        let start = SystemClock.now();
        let call = bulkhead.call(async { Ok::<_, &str>("never runs") });
        let Err(Error::Policy(error)) = deadline::by(start + WAIT / 5, call).await else {
            panic!("not refused")
        };
        assert_eq!(error.kind, PolicyErrorKind::DeadlinePassed);
        assert_eq!(SystemClock.now() - start, WAIT / 5);
        drop(held);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_too_late_takes_no_place_in_the_queue() {
        let (bulkhead, probe) = (queueing(1), Probe::new(|| Ok::<_, Failure>(200)));
        let held = bulkhead.try_admit().unwrap();
        let now = SystemClock.now();
        let mut late = pin!(deadline::scope(now, || waiting_call(&bulkhead, &probe)));
        assert_eq!(bulkhead.queued(), 0, "already before the first poll");
        let Poll::Ready(Err(Error::Policy(error))) = poll_once(late.as_mut()) else {
            panic!("not refused")
        };
        assert_eq!(error.kind, PolicyErrorKind::DeadlinePassed);
        assert_eq!(probe.calls(), 0);
        drop(held);
        let in_time = deadline::scope(now, || bulkhead.try_admit());
        assert!(in_time.is_ok(), "who need not wait is not asked");
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_comes_too_late_goes_to_the_next() {
        let bulkhead = queueing(2);
        let held = bulkhead.try_admit().unwrap();
        let end = SystemClock.now() + WAIT / 4;
        let mut first = pin!(deadline::scope(end, || bulkhead.admit()));
        let mut second = pin!(bulkhead.admit());
        assert!(poll_once(first.as_mut()).is_pending());
        assert!(poll_once(second.as_mut()).is_pending());
        tokio::time::advance(WAIT / 4).await;
        drop(held); // the place is the first one's, who does not look before it is too late
        assert!(poll_once(second.as_mut()).is_pending());
        let Poll::Ready(answer) = poll_once(first) else { panic!("still waiting") };
        assert_eq!(refusal(answer), PolicyErrorKind::DeadlinePassed);
        let Poll::Ready(Ok(permit)) = poll_once(second) else { panic!("not admitted") };
        assert_eq!((bulkhead.in_flight(), bulkhead.queued()), (1, 0));
        drop(permit);
        assert_eq!(at_rest(&bulkhead), Ok(()));
    }

    /// One call that waits behind `held`.
    fn waiting_call(
        bulkhead: &Bulkhead,
        probe: &Probe<i32, Failure>,
    ) -> impl Future<Output = Result<i32, Failure>> + use<> {
        let mut service = bulkhead.layer().layer(probe.clone());
        let noop = &mut Context::from_waker(Waker::noop());
        assert!(Service::<()>::poll_ready(&mut service, noop).is_ready());
        let call = service.call(());
        assert_eq!(probe.reserved(), 0, "readiness goes back");
        call
    }

    #[tokio::test(start_paused = true)]
    async fn who_got_a_place_waits_for_readiness_and_gives_all_back_when_dropped() {
        let (bulkhead, probe) = (queueing(1), Probe::new(|| Ok::<_, Failure>(200)));
        let held = bulkhead.try_admit().unwrap();
        let mut call = Box::pin(waiting_call(&bulkhead, &probe));
        assert!(poll_once(call.as_mut()).is_pending());
        probe.behave(Behaviour::Busy);
        drop(held);
        assert!(poll_once(call.as_mut()).is_pending());
        assert_eq!((bulkhead.in_flight(), probe.calls()), (1, 0));
        drop(call);
        assert_eq!(at_rest(&bulkhead), Ok(()));
        assert_eq!((probe.reserved(), probe.violations()), (0, Vec::new()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_or_a_panic_after_the_wait_frees_the_place() {
        let probe = Probe::new(|| Ok::<_, Failure>(200)).with_broken(|| {
            Error::Policy(octostack_resilience::PolicyError::new("p", PolicyErrorKind::Injected))
        });
        for behaviour in [Behaviour::Broken, Behaviour::PanicInCall, Behaviour::PanicInFuture] {
            let bulkhead = queueing(1);
            probe.behave(Behaviour::Answer);
            let held = bulkhead.try_admit().unwrap();
            let call = waiting_call(&bulkhead, &probe);
            drop(held);
            probe.behave(behaviour);
            let mut call = Box::pin(call);
            if behaviour == Behaviour::Broken {
                // Free with the answer, though the future lives on.
                assert!(poll_once(call.as_mut()).is_ready());
                assert_eq!(at_rest(&bulkhead), Ok(()));
                continue;
            }
            let ended = tokio::spawn(call).await;
            assert!(ended.is_err(), "{behaviour:?}");
            assert_eq!(at_rest(&bulkhead), Ok(()), "{behaviour:?}");
            assert_eq!((probe.reserved(), probe.in_flight()), (0, 0), "{behaviour:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_dropped_at_any_point_leaves_no_trace() {
        let bulkhead = queueing(2);
        for polls in 0..3 {
            for place_comes in [false, true] {
                let held = bulkhead.try_admit().unwrap();
                let mut first = Box::pin(bulkhead.call(pending::<Result<(), Failure>>()));
                let mut second = Box::pin(bulkhead.call(ready(Ok::<_, Failure>(2))));
                for _ in 0..polls {
                    assert!(poll_once(first.as_mut()).is_pending());
                }
                assert!(poll_once(second.as_mut()).is_pending());
                let held = if place_comes {
                    drop(held);
                    None
                } else {
                    Some(held)
                };
                drop(first);
                drop(held);
                let answer = poll_once(second.as_mut());
                assert!(matches!(answer, Poll::Ready(Ok(2))), "{polls} {place_comes}");
                drop(second);
                assert_eq!(at_rest(&bulkhead), Ok(()), "{polls} {place_comes}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_larger_limit_lets_the_queue_in_at_once() {
        let bulkhead = queueing(2);
        let held = bulkhead.try_admit().unwrap();
        let waiting = tokio::spawn({
            let bulkhead = bulkhead.clone();
            async move { bulkhead.admit().await.map(drop) }
        });
        tokio::task::yield_now().await;
        assert_eq!(bulkhead.queued(), 1);
        let start = SystemClock.now();
        let larger = BulkheadConfig { max_concurrent: 2, ..bulkhead.settings() };
        bulkhead.reconfigure(larger).unwrap();
        waiting.await.unwrap().unwrap();
        assert_eq!(SystemClock.now(), start);
        drop(held);
        assert_eq!(at_rest(&bulkhead), Ok(()));
    }

    /// Polls a few times and then drops it.
    async fn poll_some<F: Future>(future: F, polls: u32) {
        let mut future = Box::pin(future);
        for _ in 0..polls {
            if poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// A caller that sometimes waits for its answer and sometimes loses patience.
    async fn impatient<S: Service<()>>(mut service: S, seed: u32) {
        for call in 0..500 {
            let future = ServiceExt::ready(&mut service).await.ok().expect("ready").call(());
            match (call ^ seed) % 4 {
                3 => drop(future.await),
                polls => poll_some(future, polls).await,
            }
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nothing_is_lost_among_threads_cancellations_and_resizes() {
        let (bulkhead, probe) = (queueing(8), Probe::new(|| Ok::<_, Failure>(200)));
        let slow = tower::ServiceBuilder::new()
            .map_future(|future| async {
                tokio::task::yield_now().await;
                future.await
            })
            .service(probe.clone());
        let service = bulkhead.layer().layer(slow);
        let callers: Vec<_> =
            (0..16).map(|seed| tokio::spawn(impatient(service.clone(), seed))).collect();
        for resize in 0..300 {
            let max_concurrent = 1 + resize % 3;
            let settings = BulkheadConfig { max_concurrent, ..bulkhead.settings() };
            bulkhead.reconfigure(settings).unwrap();
            tokio::task::yield_now().await;
        }
        for caller in callers {
            caller.await.unwrap();
        }
        drop(service);
        assert!(probe.calls() > 0);
        assert_eq!(at_rest(&bulkhead), Ok(()));
        assert_eq!((probe.in_flight(), probe.reserved(), probe.violations()), (0, 0, vec![]));
    }
}

#[cfg(not(feature = "tokio"))]
#[test]
fn a_queue_needs_a_runtime() {
    let error = Bulkhead::builder("b").max_queue(1).max_wait(Duration::from_secs(1)).build();
    assert!(error.unwrap_err().to_string().contains("a queue needs the feature `tokio`"));
}
