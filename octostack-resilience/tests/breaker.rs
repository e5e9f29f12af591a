//! The breaker as a user meets it: around a service, around a future, by hand, and from the admin
//! port. When it opens and closes is tested beside the state machine.
use octostack_core::inspect::overrides::Actor;
use octostack_core::inspect::{Event, Metric, Mode, Patch, Registry, Sink, Value};
use octostack_core::testing::{Behaviour, Probe, check, check_rejecting};
use octostack_core::{Clock, SystemClock};
use octostack_resilience::breaker::{CircuitBreakerBuilder, State};
use octostack_resilience::{
    Bulkhead, CircuitBreaker, CircuitBreakerConfig, Error, Outcome, PolicyError, PolicyErrorKind,
    Window,
};
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tower::{Layer, Service, ServiceExt, service_fn};

type Failure = Error<&'static str>;

const OPEN_FOR: Duration = Duration::from_secs(5);

/// Opens at the second of two failures, and tries again with two calls.
fn builder(registry: &Registry) -> CircuitBreakerBuilder {
    let builder = CircuitBreaker::builder("inventory.breaker").registry(registry);
    builder
        .window(Window::calls(2))
        .minimum_calls(2)
        .open_for(OPEN_FOR)
        .open_jitter(0.0)
        .half_open_calls(2)
}

fn small() -> (CircuitBreaker, Registry) {
    let registry = Registry::new();
    (builder(&registry).build().expect("valid settings"), registry)
}

/// Makes it fail twice.
fn trip(breaker: &CircuitBreaker) {
    for _ in 0..2 {
        breaker.admit().expect("closed").settle(Outcome::Failure);
    }
    assert_eq!(breaker.state(), State::Open);
}

/// Open, and the wait is over: the next calls are trial calls.
fn waited_out(registry: &Registry) -> (CircuitBreaker, Instant) {
    let start = SystemClock.now();
    let breaker = builder(registry).build_at(&start).expect("valid settings");
    for _ in 0..2 {
        breaker.admit_at(&start).expect("closed").settle_at(Outcome::Failure, &start);
    }
    (breaker, start + OPEN_FOR)
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn panics_when_polled<F: Future>(future: Pin<&mut F>) -> bool {
    catch_unwind(AssertUnwindSafe(|| drop(poll_once(future)))).is_err()
}

fn is_rejected<T: std::fmt::Debug, E: std::fmt::Debug>(result: Result<T, Error<E>>) -> bool {
    match result {
        Err(Error::Policy(error)) => {
            assert_eq!(error.kind, PolicyErrorKind::CircuitOpen);
            assert_eq!(&*error.policy, "inventory.breaker");
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

/// The samples of a metric: the labels after the policy's name, and the value.
fn samples(registry: &Registry, metric: &str) -> Vec<(String, String)> {
    let mut samples = Samples::default();
    registry.collect(&mut samples);
    let start = format!("{metric}{{policy=inventory.breaker,");
    let of_metric = |(name, value): (String, String)| {
        Some((name.strip_prefix(&start)?.trim_end_matches('}').to_owned(), value))
    };
    samples.0.into_iter().filter_map(of_metric).collect()
}

/// By outcome, in the order of [`Outcome::ALL`].
fn outcomes(registry: &Registry) -> [u64; 5] {
    let status = registry.items()[0].status();
    let counters = status.get("counters").expect("counters");
    Outcome::ALL.map(|outcome| match counters.get(outcome.as_str()) {
        Some(Value::Integer(count)) => (*count).try_into().expect("no negative count"),
        other => panic!("{outcome:?} is {other:?}"),
    })
}

/// The only one that is 1.
fn state_gauge(registry: &Registry) -> Vec<String> {
    let states = samples(registry, "octostack_circuit_breaker_state");
    assert_eq!(states.len(), State::ALL.len());
    states.into_iter().filter(|(_, value)| value == "1").map(|(labels, _)| labels).collect()
}

#[test]
fn keeps_the_contract_of_tower() {
    let registry = Registry::new();
    let breaker = CircuitBreaker::builder("inventory.breaker").registry(&registry).build().unwrap();
    let probe = Probe::new(|| Ok::<_, Failure>(200)).with_broken(|| Error::Inner("broken"));
    // Every call has its outcome. What broke is one more: no call was made then.
    let settled = || match (outcomes(&registry).iter().sum::<u64>(), probe.calls()) {
        (settled, calls) if settled == calls || settled == calls + 1 => Ok(()),
        other => Err(format!("{other:?} settled and called")),
    };
    check("breaker", &probe, |inner| breaker.layer().layer(inner), || (), settled);

    let leaked = CircuitBreaker::builder("leaked").registry(&Registry::new()).build();
    let leaked = leaked.unwrap().leak();
    let probe = Probe::new(|| Ok::<_, Failure>(200));
    check("leaked", &probe, |inner| leaked.layer().layer(inner), || (), || Ok(()));
}

#[test]
fn keeps_the_contract_of_tower_while_it_rejects() {
    let (breaker, _) = small();
    trip(&breaker);
    let probe = Probe::new(|| Ok::<_, Failure>(200)).with_broken(|| Error::Inner("broken"));
    check_rejecting("open", &probe, |inner| breaker.layer().layer(inner), || (), || Ok(()));
}

#[tokio::test]
async fn a_layer_judges_what_comes_back() {
    let (breaker, registry) = small();
    let failing = || service_fn(async |()| Err::<(), _>(Failure::Inner("refused")));
    let first = breaker.layer().layer(failing());
    let second = breaker.clone().layer().layer(failing());
    assert_eq!(first.oneshot(()).await, Err(Error::Inner("refused")));
    assert_eq!(breaker.state(), State::Closed);
    assert_eq!(second.clone().oneshot(()).await, Err(Error::Inner("refused")));
    assert_eq!(breaker.state(), State::Open, "all layers of a policy share its window");
    assert!(is_rejected(second.oneshot(()).await));
    assert_eq!(outcomes(&registry), [0, 2, 0, 0, 0]);

    let (breaker, registry) = small();
    let fine = breaker.layer().layer(service_fn(async |()| Ok::<_, Failure>(())));
    fine.oneshot(()).await.unwrap();
    assert_eq!(outcomes(&registry), [1, 0, 0, 0, 0]);
}

#[tokio::test]
async fn a_layer_judges_as_it_is_told() {
    let (breaker, registry) = small();
    let layer = breaker.layer().classify(|output: &Result<u16, Failure>| match output {
        Ok(404) => Outcome::Ignored,
        Ok(503) => Outcome::Overloaded,
        _ => Outcome::Success,
    });
    let echo = layer.layer(service_fn(async |status| Ok(status)));
    for status in [200, 404, 503] {
        assert_eq!(echo.clone().oneshot(status).await, Ok(status));
    }
    assert_eq!(outcomes(&registry), [1, 0, 1, 1, 0]);
}

#[tokio::test]
async fn an_open_breaker_is_ready_and_rejects_without_touching_the_service() {
    let (breaker, registry) = small();
    let probe = Probe::new(|| Ok::<_, Failure>(200));
    let mut service = breaker.layer().layer(probe.clone());
    trip(&breaker);
    ServiceExt::<()>::ready(&mut service).await.unwrap();
    assert!(is_rejected(service.call(()).await));
    assert_eq!(probe.calls(), 0);

    let layer = breaker.layer().respond_with(|error| Ok(error.policy.len()));
    let answering = layer.layer(service_fn(async |()| Ok::<_, Failure>(0)));
    assert_eq!(answering.oneshot(()).await, Ok("inventory.breaker".len()));

    let never = async { unreachable!("the breaker is open") };
    assert!(is_rejected(breaker.call::<_, (), Infallible>(never).await));
    let decisions = samples(&registry, "octostack_policy_decisions_total");
    assert_eq!(decisions[1], ("kind=circuit_breaker,decision=rejected".into(), "3".into()));
}

#[tokio::test]
async fn a_call_is_judged_by_its_result() {
    let (breaker, registry) = small();
    assert_eq!(breaker.call(async { Ok::<_, &str>(1) }).await, Ok(1));
    assert_eq!(breaker.call(async { Err::<(), _>("no") }).await, Err(Error::Inner("no")));
    assert_eq!(outcomes(&registry), [1, 1, 0, 0, 0]);
}

#[tokio::test]
async fn a_call_is_judged_as_the_closure_says() {
    let (breaker, registry) = small();
    let judge = |output: &Result<u16, &str>| match output {
        Ok(503) => Outcome::Overloaded,
        Err("not found") => Outcome::Ignored,
        Ok(_) => Outcome::Success,
        Err(_) => Outcome::Failure,
    };
    assert_eq!(breaker.call_with(async { Ok(200) }, judge).await, Ok(200));
    let missing = breaker.call_with(async { Err("not found") }, judge).await;
    assert_eq!(missing, Err(Error::Inner("not found")));
    assert_eq!(outcomes(&registry), [1, 0, 1, 0, 0]);
    assert_eq!(breaker.call_with(async { Ok(503) }, judge).await, Ok(503));
    assert_eq!(outcomes(&registry), [1, 0, 1, 1, 0]);
    assert!(is_rejected(breaker.call_with(async { Ok(200) }, judge).await));
}

#[tokio::test]
async fn what_a_policy_further_in_refused_is_no_failure_and_what_it_ended_is() {
    let (breaker, registry) = small();
    let bulkhead = Bulkhead::builder("full").registry(&Registry::new()).max_concurrent(1);
    let bulkhead = bulkhead.build().unwrap();
    let held = bulkhead.try_admit().unwrap();
    for _ in 0..3 {
        let refused = breaker.around(bulkhead.call(async { Ok::<_, &str>(1) })).await;
        let Err(Error::Policy(error)) = refused else { panic!("{refused:?}") };
        assert_eq!(error.kind, PolicyErrorKind::BulkheadFull);
    }
    assert_eq!(outcomes(&registry), [0, 0, 3, 0, 0]);
    drop(held);
    assert_eq!(breaker.around(bulkhead.call(async { Ok::<_, &str>(1) })).await, Ok(1));

    let ended = PolicyError::new("inner", PolicyErrorKind::TimedOut);
    let _ = breaker.around(async { Err::<(), _>(Failure::Policy(ended)) }).await;
    assert_eq!(outcomes(&registry), [1, 1, 3, 0, 0]);
    let _ = breaker.around(async { Err::<(), _>(Error::Inner("refused")) }).await;
    assert!(is_rejected(breaker.around(bulkhead.call(async { Ok::<_, &str>(1) })).await));
}

#[cfg(feature = "tokio")]
#[tokio::test(start_paused = true)]
async fn policies_around_policies_know_each_other() {
    use octostack_resilience::{Chaos, ChaosConfig, Retry, Timeout};

    let (breaker, registry) = small();
    let own = Registry::new();
    let chaos = Chaos::builder("chaos").registry(&own).enabled(true).build().unwrap();
    let timeout = Timeout::builder("timeout").registry(&own).build().unwrap();
    let bulkhead = Bulkhead::builder("bulkhead").registry(&own).max_concurrent(1).build().unwrap();
    let retry = Retry::builder("retry").registry(&own).build().unwrap();
    let mut attempts = 0;
    let mut operation = |attempt| {
        attempts = attempt;
        let call = chaos.call(async { Ok::<_, std::io::Error>("done") });
        breaker.around(bulkhead.around(timeout.around(call)))
    };
    assert_eq!(retry.call(&mut operation).await.unwrap(), "done");
    let held = bulkhead.try_admit().unwrap();
    let Err(Error::Policy(error)) = retry.call(&mut operation).await else { panic!("not full") };
    assert_eq!((error.kind, &*error.policy), (PolicyErrorKind::BulkheadFull, "bulkhead"));
    drop(held);

    let latency = Duration::from_secs(60);
    chaos.reconfigure(ChaosConfig { latency, latency_rate: 1.0, ..chaos.settings() }).unwrap();
    let Err(Error::Policy(error)) = operation(1).await else { panic!("not timed out") };
    assert_eq!((error.kind, &*error.policy), (PolicyErrorKind::TimedOut, "timeout"));
    assert_eq!(attempts, 1, "what was refused is not repeated");
    assert_eq!(outcomes(&registry), [1, 1, 1, 0, 0]);
}

#[test]
fn a_panic_is_a_failure_when_it_happens_though_the_future_is_dropped_later() {
    let (breaker, registry) = small();
    let mut call = Box::pin(breaker.call(async { panic!("boom") as Result<(), Infallible> }));
    assert!(panics_when_polled(call.as_mut()));
    assert_eq!(outcomes(&registry), [0, 1, 0, 0, 0]);
    drop(call);
    assert_eq!(outcomes(&registry), [0, 1, 0, 0, 0]);

    let probe = Probe::new(|| Ok::<_, Failure>(200));
    probe.behave(Behaviour::Hang);
    let mut call = Box::pin(breaker.layer().layer(probe.clone()).oneshot(()));
    assert!(poll_once(call.as_mut()).is_pending());
    probe.behave(Behaviour::PanicInFuture);
    assert!(panics_when_polled(call.as_mut()));
    assert_eq!(breaker.state(), State::Open);
    drop(call);
    assert_eq!(outcomes(&registry), [0, 2, 0, 0, 0]);
}

#[test]
fn an_error_of_readiness_is_a_failure_unless_the_breaker_is_open() {
    let (breaker, registry) = small();
    let refused = || Failure::Inner("connection refused");
    let probe = Probe::new(|| Ok::<_, Failure>(200)).with_broken(refused);
    probe.behave(Behaviour::Broken);
    for expected in [[0, 1, 0, 0, 0], [0, 2, 0, 0, 0], [0, 2, 0, 0, 0]] {
        let mut service = breaker.layer().layer(probe.clone());
        let ready = poll_once(pin!(ServiceExt::<()>::ready(&mut service)));
        assert!(matches!(ready, Poll::Ready(Err(Error::Inner("connection refused")))));
        assert_eq!(outcomes(&registry), expected);
    }
    assert_eq!(breaker.state(), State::Open);
    let decisions = samples(&registry, "octostack_policy_decisions_total");
    assert_eq!(decisions[1], ("kind=circuit_breaker,decision=rejected".into(), "0".into()));

    // A layer further in that is never ready for its own reasons says nothing about the service.
    let (breaker, registry) = small();
    let full = || PolicyError::new("inner", PolicyErrorKind::BulkheadFull).into();
    let probe = Probe::new(|| Ok::<_, Failure>(200)).with_broken(full);
    probe.behave(Behaviour::Broken);
    let mut service = breaker.layer().layer(probe);
    assert!(poll_once(pin!(ServiceExt::<()>::ready(&mut service))).is_ready());
    assert_eq!(outcomes(&registry), [0, 0, 1, 0, 0]);
}

#[test]
fn a_permit_that_is_dropped_is_a_cancelled_call_and_in_a_panic_a_failure() {
    let (breaker, registry) = small();
    drop(breaker.admit().unwrap());
    assert_eq!(outcomes(&registry), [0, 0, 0, 0, 1]);
    let permit = breaker.admit().unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _permit = permit;
        panic!("of the test");
    }));
    assert!(panicked.is_err());
    assert_eq!(outcomes(&registry), [0, 1, 0, 0, 1]);
}

#[test]
fn a_trial_call_that_is_dropped_gives_its_place_back() {
    let (breaker, later) = waited_out(&Registry::new());
    let first = breaker.admit_at(&later).unwrap();
    let second = breaker.admit_at(&later).unwrap();
    assert_eq!(breaker.state(), State::HalfOpen);
    breaker.admit_at(&later).expect_err("two trial calls are out");
    drop(first);
    let third = breaker.admit_at(&later).expect("a place came back");
    for trial in [second, third] {
        trial.settle_at(Outcome::Success, &later);
    }
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn a_future_that_is_dropped_is_a_cancelled_call() {
    let (breaker, registry) = small();
    let probe = Probe::new(|| Ok::<_, Failure>(200));
    probe.behave(Behaviour::Hang);
    let mut call = Box::pin(breaker.layer().layer(probe).oneshot(()));
    assert!(poll_once(call.as_mut()).is_pending());
    assert_eq!(outcomes(&registry), [0; 5], "in flight");
    drop(call);
    assert_eq!(outcomes(&registry), [0, 0, 0, 0, 1]);
    let mut call = Box::pin(breaker.call(std::future::pending::<Result<(), Infallible>>()));
    assert!(poll_once(call.as_mut()).is_pending());
    drop(call);
    assert_eq!(outcomes(&registry), [0, 0, 0, 0, 2]);
}

#[test]
fn the_metrics_tell_the_state_and_each_transition() {
    let registry = Registry::new();
    let (breaker, later) = waited_out(&registry);
    let transitions = || -> Vec<_> {
        let all = samples(&registry, "octostack_circuit_breaker_transitions_total");
        all.into_iter().map(|(labels, count)| format!("{labels} {count}")).collect()
    };
    let counts = |opened: u32, tried: u32, closed: u32, reopened: u32| {
        [
            format!("from=closed,to=open {opened}"),
            format!("from=open,to=half_open {tried}"),
            format!("from=half_open,to=closed {closed}"),
            format!("from=half_open,to=open {reopened}"),
        ]
    };
    assert_eq!(state_gauge(&registry), ["state=open"]);
    assert_eq!(transitions(), counts(1, 0, 0, 0));

    let trials = [breaker.admit_at(&later).unwrap(), breaker.admit_at(&later).unwrap()];
    assert_eq!(state_gauge(&registry), ["state=half_open"]);
    assert_eq!(transitions(), counts(1, 1, 0, 0));
    for trial in trials {
        trial.settle_at(Outcome::Failure, &later);
    }
    assert_eq!(state_gauge(&registry), ["state=open"]);
    assert_eq!(transitions(), counts(1, 1, 0, 1));

    let later = later + 2 * OPEN_FOR;
    let trials = [breaker.admit_at(&later).unwrap(), breaker.admit_at(&later).unwrap()];
    for trial in trials {
        trial.settle_at(Outcome::Success, &later);
    }
    assert_eq!(state_gauge(&registry), ["state=closed"]);
    assert_eq!(transitions(), counts(1, 2, 1, 1));
}

#[test]
fn a_transition_is_an_event_and_the_page_tells_the_last() {
    let registry = Registry::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    registry.observe(move |event: &Event| {
        let field = |key| event.fields.iter().find(|(name, _)| *name == key).map(|f| f.1.clone());
        let states = [field("from"), field("to")].map(Option::unwrap);
        log.lock().unwrap().push((event.kind, event.subject.clone(), states));
    });
    let (breaker, later) = waited_out(&registry);
    let item = &registry.items()[0];
    let abnormal = item.abnormal().unwrap();
    assert!(abnormal.starts_with("open: 2 of the last 2 calls failed"), "{abnormal}");
    let last = item.status().get("last_transition").unwrap().clone();
    assert_eq!(last.get("to"), Some(&Value::from("open")));

    drop(breaker.admit_at(&later).unwrap());
    let of_breaker = |from: &'static str, to: &'static str| {
        ("transition", "inventory.breaker".to_owned(), [from.into(), to.into()])
    };
    let expected = [of_breaker("closed", "open"), of_breaker("open", "half_open")];
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[test]
fn an_operator_can_change_what_the_window_has_room_for() {
    let (breaker, registry) = small();
    let set = |key: &str, value: Value| {
        let patch = Patch { mode: None, settings: vec![(key.into(), value)] };
        let (minute, now) = (Duration::from_secs(60), SystemClock.now());
        registry.set_override("inventory.breaker", patch, minute, &Actor::default(), now)
    };
    let error = set("window", 65_535_u32.into()).expect_err("no room for it").to_string();
    assert!(error.contains("while running it can grow to 512"), "{error}");
    assert_eq!(breaker.settings().window, Window::calls(2));
    let control = registry.items()[0].clone();
    let patch = Patch { mode: None, settings: vec![("window".into(), 65_535_u32.into())] };
    let control = control.control().unwrap();
    assert!(control.check(&patch).is_err(), "the check before the change says so too");
    assert!(control.set_override(Some(&patch)).is_err(), "and who changes without a check");

    set("window", 100_u32.into()).unwrap();
    assert_eq!(breaker.settings().window, Window::calls(100));
    let too_large = CircuitBreakerConfig { window: Window::calls(2_000), ..breaker.settings() };
    breaker.reconfigure(too_large).unwrap_err();
}

#[test]
fn forced_open_rejects_and_forced_closed_lets_all_run() {
    let (breaker, registry) = small();
    breaker.set_mode(Mode::ForcedOpen).unwrap();
    let error = breaker.admit().unwrap_err();
    assert_eq!((error.kind, error.retry_after), (PolicyErrorKind::CircuitOpen, None));
    assert_eq!(state_gauge(&registry), ["state=open"]);
    assert_eq!(registry.items()[0].abnormal().unwrap(), "mode is forced_open");

    breaker.set_mode(Mode::Enforce).unwrap();
    trip(&breaker);
    breaker.set_mode(Mode::ForcedClosed).unwrap();
    breaker.admit().unwrap().settle(Outcome::Failure);
    assert_eq!(state_gauge(&registry), ["state=closed"]);
    assert_eq!(registry.items()[0].abnormal().unwrap(), "mode is forced_closed");
}

#[test]
fn shadow_counts_and_lets_run() {
    let registry = Registry::new();
    let breaker = builder(&registry).mode(Mode::Shadow).build().unwrap();
    trip(&breaker);
    let mut call = pin!(breaker.call(std::future::ready(Ok::<_, Infallible>(1))));
    assert_eq!(poll_once(call.as_mut()), Poll::Ready(Ok(1)));
    let decisions = samples(&registry, "octostack_policy_decisions_total");
    assert_eq!(decisions[2], ("kind=circuit_breaker,decision=shadow_rejected".into(), "1".into()));
}

#[test]
fn b6_exactly_one_state_is_told_at_any_time() {
    let registry = Registry::new();
    let (breaker, later) = waited_out(&registry);
    assert_eq!(state_gauge(&registry), ["state=open"]);
    let trials = [breaker.admit_at(&later).unwrap(), breaker.admit_at(&later).unwrap()];
    assert_eq!(state_gauge(&registry), ["state=half_open"]);
    for trial in trials {
        trial.settle_at(Outcome::Success, &later);
    }
    assert_eq!(state_gauge(&registry), ["state=closed"]);
}

#[tokio::test]
async fn a_layer_waits_as_long_as_the_service_asks() {
    let (breaker, registry) = small();
    let asks = |wait| {
        let ended = PolicyError::new("inner", PolicyErrorKind::TimedOut).with_retry_after(wait);
        Failure::Policy(ended)
    };
    let wait = Duration::from_secs(30);
    let failing = service_fn(move |()| async move { Err::<(), _>(asks(wait)) });
    let service = breaker.layer().layer(failing);
    let _ = service.oneshot(()).await;
    let _ = breaker.around(async { Err::<(), _>(asks(Duration::from_secs(1))) }).await;
    let error = breaker.admit().unwrap_err();
    assert!(error.retry_after > Some(Duration::from_secs(29)), "{error:?}");

    let status = registry.items()[0].status();
    let Some(Value::Text(waits)) = status.get("open_for_another") else { panic!("{status}") };
    assert!(octostack_core::duration::parse(waits).unwrap() > Duration::from_secs(29));
    let last = status.get("last_transition").unwrap();
    assert_eq!(last.get("rule"), Some(&"failure_rate".into()));
}

#[cfg(feature = "http")]
#[tokio::test]
async fn an_http_service_asks_by_a_header() {
    use http::{Response, StatusCode, header::RETRY_AFTER};

    let (breaker, _) = small();
    let unavailable = service_fn(async |()| {
        let answer = Response::builder().status(StatusCode::SERVICE_UNAVAILABLE);
        let body = http_body_util::Full::new(bytes::Bytes::new());
        Ok::<_, Infallible>(answer.header(RETRY_AFTER, "20").body(body).unwrap())
    });
    let service = breaker.layer().respond_http().layer(unavailable);
    for _ in 0..2 {
        let answer = service.clone().oneshot(()).await.unwrap();
        assert_eq!(answer.headers()[RETRY_AFTER], "20");
    }
    let error = breaker.admit().unwrap_err();
    assert!(error.retry_after > Some(Duration::from_secs(19)), "{error:?}");
}

#[test]
fn an_operator_can_change_the_kind_of_window() {
    let (breaker, registry) = small();
    let set = |value: Value| {
        let patch = Patch { mode: None, settings: vec![("window".into(), value)] };
        let (minute, now) = (Duration::from_secs(60), SystemClock.now());
        registry.set_override("inventory.breaker", patch, minute, &Actor::default(), now)
    };
    breaker.admit().unwrap().settle(Outcome::Failure);
    set("30s".into()).unwrap();
    assert_eq!(breaker.settings().window, Window::time(Duration::from_secs(30)));
    let status = registry.items()[0].status();
    assert_eq!(status.get("settings").unwrap().get("window"), Some(&"30s".into()));
    assert_eq!(status.get("window").unwrap().get("failures"), Some(&1_u32.into()));
    let too_short = set("10ms".into()).unwrap_err().to_string();
    assert!(too_short.contains("10ms is out of range: 1s to 1h"), "{too_short}");
    let neither = set(true.into()).unwrap_err().to_string();
    assert!(neither.contains("a number of calls or a duration such as \"30s\""), "{neither}");
    breaker.admit().unwrap().settle(Outcome::Failure);
    assert_eq!(breaker.state(), State::Open);
}

#[cfg(feature = "serde")]
#[test]
fn a_window_is_a_number_or_a_duration_in_config() {
    let read = |window: &str| -> Result<CircuitBreakerConfig, _> {
        serde_json::from_str(&format!(r#"{{"window": {window}}}"#))
    };
    for (text, window) in
        [("50", Window::calls(50)), ("\"1m 30s\"", Window::time(Duration::from_secs(90)))]
    {
        let config = read(text).unwrap();
        assert_eq!((config.window, config.validate()), (window, Ok(())));
        let written = serde_json::to_value(&config).unwrap()["window"].to_string();
        assert_eq!(written, text);
    }
    for wrong in ["-1", "4294967296", "\"soon\"", "1.5", "null"] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn all_that_is_wrong_is_said_with_its_numbers() {
    let wrong = CircuitBreakerConfig {
        window: Window::time(Duration::from_millis(20)),
        minimum_calls: 0,
        slow_call_duration: Duration::from_secs(7_200),
        slow_call_rate: 0.0,
        max_open_for: Duration::ZERO,
        open_jitter: 1.5,
        ..CircuitBreakerConfig::default()
    };
    let problems: Vec<_> = wrong.validate().unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "window: 20ms is out of range: 1s to 1h",
            "minimum_calls: 0 is out of range: 1 or more",
            "slow_call_duration: 2h is out of range: 1ms to 1h",
            "slow_call_rate: 0 is out of range: above 0, at most 1",
            "max_open_for: 0s is out of range: 1ms to 1day",
            "open_jitter: 1.5 is out of range: from 0, at most 1",
        ]
    );
}

#[test]
fn a_caller_who_panics_is_no_failure_of_the_service() {
    let registry = Registry::new();
    let breaker = CircuitBreaker::builder("b").registry(&registry).consecutive_failures(1);
    let breaker = breaker.build().unwrap();
    let caller = AssertUnwindSafe(|| {
        let mut call = std::pin::pin!(breaker.call(std::future::pending::<Result<(), &str>>()));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(call.as_mut().poll(&mut cx).is_pending());
        panic!("a bug in the caller");
    });
    catch_unwind(caller).unwrap_err();
    assert_eq!(breaker.state(), State::Closed);
}
