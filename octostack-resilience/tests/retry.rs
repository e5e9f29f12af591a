//! Retry as a user meets it.
#![cfg(feature = "tokio")]
#![allow(clippy::float_cmp, reason = "counters are whole numbers")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]
use octostack_core::inspect::overrides::Actor;
use octostack_core::inspect::{Metric, Mode, Patch, Registry, Sink, Value};
use octostack_core::testing::{Behaviour, Probe, check};
use octostack_core::{Clock, SystemClock};
use octostack_resilience::retry::RetryBuilder;
use octostack_resilience::{
    CircuitBreaker, Error, Outcome, PolicyError, PolicyErrorKind, Retry, RetryBudget, Window,
};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tower::{Layer, Service, ServiceExt, service_fn};

type Fault = Error<&'static str>;

fn retry(registry: &Registry) -> RetryBuilder {
    Retry::builder("inventory.retry").registry(registry)
}

/// A service that fails so many times before it answers with the number of calls.
fn failing(
    times: u32,
    calls: &Arc<AtomicU32>,
) -> impl Service<(), Response = u32, Error = Fault, Future: Send> + Clone {
    let calls = calls.clone();
    service_fn(move |()| {
        let n = calls.fetch_add(1, Relaxed) + 1;
        async move { if n <= times { Err(Error::Inner("down")) } else { Ok(n) } }
    })
}

/// Polls a future by hand.
struct Task<F>(Pin<Box<F>>);

impl<F: Future> Task<F> {
    fn new(future: F) -> Self {
        Self(Box::pin(future))
    }

    fn poll(&mut self) -> Poll<F::Output> {
        self.0.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }
}

#[derive(Default)]
struct Samples(Vec<(String, f64)>);

impl Sink for Samples {
    fn sample(&mut self, metric: &'static Metric, labels: &[(&'static str, &str)], value: f64) {
        let labels: Vec<_> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        self.0.push((format!("{}{{{}}}", metric.name, labels.join(",")), value));
    }
}

fn sample(registry: &Registry, line: &str) -> f64 {
    let mut samples = Samples::default();
    registry.collect(&mut samples);
    let found = samples.0.iter().find(|(name, _)| name == line);
    found.unwrap_or_else(|| panic!("no {line}: {:?}", samples.0)).1
}

fn outcome(registry: &Registry, outcome: &str) -> f64 {
    let labels = format!("policy=inventory.retry,kind=retry,outcome={outcome}");
    sample(registry, &format!("octostack_policy_outcomes_total{{{labels}}}"))
}

fn repeats(registry: &Registry) -> f64 {
    sample(registry, "octostack_retry_attempts_total{policy=inventory.retry}")
}

#[tokio::test(start_paused = true)]
async fn repeats_a_failure_until_it_is_gone() {
    let (registry, calls) = (Registry::new(), Arc::default());
    let retry = retry(&registry).build().unwrap();
    let start = SystemClock.now();
    assert_eq!(retry.layer().layer(failing(2, &calls)).oneshot(()).await, Ok(3));
    // tokio's timer rounds each wait up to the millisecond.
    assert!(SystemClock.now() - start <= Duration::from_millis(100 + 200 + 2));
    assert_eq!(repeats(&registry), 2.0);
    assert_eq!(outcome(&registry, "success"), 1.0);
    assert_eq!(outcome(&registry, "failure"), 0.0, "outcomes are those of calls");
}

#[tokio::test(start_paused = true)]
async fn gives_up_with_the_last_answer() {
    let (registry, calls) = (Registry::new(), Arc::<AtomicU32>::default());
    let retry = retry(&registry).max_attempts(4).build().unwrap();
    let answer = retry.layer().layer(failing(100, &calls)).oneshot(()).await;
    assert_eq!(answer, Err(Error::Inner("down")));
    assert_eq!(calls.load(Relaxed), 4);
    assert_eq!(outcome(&registry, "failure"), 1.0);
}

#[tokio::test(start_paused = true)]
async fn the_budget_bounds_what_an_outage_adds() {
    let (registry, calls) = (Registry::new(), Arc::<AtomicU32>::default());
    let retry = retry(&registry).budget_ratio(0.1).budget_floor(0).build().unwrap();
    let service = retry.layer().layer(failing(u32::MAX, &calls));
    for _ in 0..1_000 {
        service.clone().oneshot(()).await.unwrap_err();
    }
    // Ten at the start and one for ten calls: the share of traffic that arrives while it is full
    // at the very beginning is lost.
    let repeats = calls.load(Relaxed) - 1_000;
    assert!((105..=110).contains(&repeats), "{repeats}");
    let exhausted = "octostack_retry_budget_exhausted_total{policy=inventory.retry}";
    assert!(sample(&registry, exhausted) > 850.0);
    let status = registry.items()[0].status();
    assert_eq!(status.get("state").and_then(Value::as_str), Some("budget_exhausted"));
}

#[tokio::test(start_paused = true)]
async fn what_a_policy_refused_is_neither_repeated_nor_charged() {
    let registry = Registry::new();
    let retry = retry(&registry).build().unwrap();
    let breaker = CircuitBreaker::builder("inventory.breaker")
        .registry(&registry)
        .mode(Mode::ForcedOpen)
        .window(Window::calls(100))
        .build()
        .unwrap();
    let full = retry.budget().available(&SystemClock);
    let ran = AtomicU32::new(0);
    let operation = |_| {
        ran.fetch_add(1, Relaxed);
        breaker.call(async { Ok::<(), &str>(()) })
    };
    let Err(Error::Policy(error)) = retry.call(operation).await else { panic!("not rejected") };
    assert_eq!(error.kind, PolicyErrorKind::CircuitOpen);
    assert_eq!(ran.load(Relaxed), 1);
    assert_eq!(retry.budget().available(&SystemClock), full);
    assert_eq!(outcome(&registry, "ignored"), 1.0);
}

#[tokio::test(start_paused = true)]
async fn timeouts_and_injected_faults_are_repeated() {
    for kind in [PolicyErrorKind::TimedOut, PolicyErrorKind::Injected] {
        let retry = retry(&Registry::new()).build().unwrap();
        let operation = |attempt| async move {
            match attempt {
                1 => Err(Fault::Policy(PolicyError::new("inner", kind))),
                n => Ok(n),
            }
        };
        assert_eq!(retry.call(operation).await, Ok(2), "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn waits_as_long_as_the_service_asks_and_not_too_long() {
    let registry = Registry::new();
    let retry = retry(&registry).max_attempts(2).build().unwrap();
    let ask = |wait: u64| {
        let word = PolicyError::new("inner", PolicyErrorKind::TimedOut)
            .with_retry_after(Duration::from_secs(wait));
        let operation = move |attempt| {
            let word = word.clone();
            async move { if attempt == 1 { Err(Fault::Policy(word)) } else { Ok(attempt) } }
        };
        retry.call(operation)
    };
    let start = SystemClock.now();
    assert_eq!(ask(5).await, Ok(2));
    assert!(SystemClock.now() - start >= Duration::from_secs(5));
    let start = SystemClock.now();
    assert!(ask(6).await.is_err());
    assert_eq!(SystemClock.now(), start, "it gives up at once");
}

#[tokio::test(start_paused = true)]
async fn the_wait_holds_neither_a_slot_nor_the_answer() {
    let registry = Registry::new();
    let retry = retry(&registry).build().unwrap();
    let probe = Probe::new(|| Err::<(), Fault>(Error::Inner("down")))
        .with_broken(|| Error::Inner("broken"));
    let mut service = retry.layer().layer(probe.clone());
    let ready = ServiceExt::<()>::ready(&mut service).await.unwrap();
    let mut call = Task::new(ready.call(()));
    assert!(call.poll().is_pending());
    assert_eq!((probe.calls(), probe.reserved(), probe.in_flight()), (1, 0, 0));

    probe.behave(Behaviour::Busy);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(call.poll().is_pending());
    assert_eq!(probe.calls(), 1, "the next attempt waits for readiness");
    probe.behave(Behaviour::Hang);
    assert!(call.poll().is_pending());
    assert_eq!((probe.calls(), probe.in_flight()), (2, 1));

    drop(call);
    assert_eq!((probe.reserved(), probe.in_flight()), (0, 0));
    assert_eq!(outcome(&registry, "cancelled"), 1.0);
    assert_eq!(probe.violations(), Vec::<&str>::new());
}

#[tokio::test(start_paused = true)]
async fn an_error_of_readiness_ends_the_call() {
    let registry = Registry::new();
    let retry = retry(&registry).build().unwrap();
    let probe = Probe::new(|| Err::<(), Fault>(Error::Inner("down")))
        .with_broken(|| Error::Inner("broken"));
    let mut call = Task::new(retry.layer().layer(probe.clone()).oneshot(()));
    assert!(call.poll().is_pending());
    probe.behave(Behaviour::Broken);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(call.poll(), Poll::Ready(Err(Error::Inner("broken"))));
    assert_eq!(outcome(&registry, "failure"), 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_drop_at_any_point_is_a_cancelled_call() {
    let registry = Registry::new();
    let retry = retry(&registry).build().unwrap();
    drop(retry.call(|_| async { Ok::<_, Fault>(()) }));
    let mut waiting = Task::new(retry.call(|_| async { Err::<(), _>(Fault::Inner("down")) }));
    assert!(waiting.poll().is_pending());
    drop(waiting);
    let mut calling = Task::new(retry.call(|_| std::future::pending::<Result<(), Fault>>()));
    assert!(calling.poll().is_pending());
    drop(calling);
    drop(retry.attempts());
    assert_eq!(outcome(&registry, "cancelled"), 4.0);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure_and_is_not_repeated() {
    let registry = Registry::new();
    let retry = retry(&registry).build().unwrap();
    let probe = Probe::new(|| Ok::<_, Fault>(())).with_broken(|| Error::Inner("broken"));
    for (n, behaviour) in [(1.0, Behaviour::PanicInCall), (2.0, Behaviour::PanicInFuture)] {
        probe.behave(behaviour);
        let service = retry.layer().layer(probe.clone());
        let call = std::panic::catch_unwind(AssertUnwindSafe(|| {
            Task::new(service.oneshot(())).poll().is_ready()
        }));
        assert!(call.is_err());
        assert_eq!(outcome(&registry, "failure"), n);
        assert_eq!((probe.reserved(), probe.in_flight()), (0, 0));
    }
}

fn panic_then_drop(call: impl Future<Output = Result<(), Fault>>) {
    let mut call = Box::pin(call);
    let mut cx = Context::from_waker(Waker::noop());
    let poll = AssertUnwindSafe(|| call.as_mut().poll(&mut cx).is_ready());
    std::panic::catch_unwind(poll).unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_panic_that_is_caught_before_the_drop_is_a_failure_too() {
    let registry = Registry::new();
    let retry = retry(&registry).build().unwrap();
    let service = retry.layer().layer(service_fn(|()| async { panic!("as asked") }));
    panic_then_drop(service.oneshot(()));
    panic_then_drop(retry.call(|_| async { panic!("as asked") }));
    assert_eq!((outcome(&registry, "failure"), outcome(&registry, "cancelled")), (2.0, 0.0));
}

#[test]
fn keeps_the_contract_of_tower() {
    let registry = Registry::new();
    let retry = retry(&registry).build().unwrap();
    let probe = Probe::new(|| Ok::<_, Fault>(200)).with_broken(|| Error::Inner("broken"));
    check("retry", &probe, |inner| retry.layer().layer(inner), || (), || Ok(()));
}

#[tokio::test(start_paused = true)]
async fn modes() {
    let (registry, calls) = (Registry::new(), Arc::<AtomicU32>::default());
    let retry = retry(&registry).mode(Mode::Shadow).build().unwrap();
    let service = retry.layer().layer(failing(100, &calls));
    service.clone().oneshot(()).await.unwrap_err();
    assert_eq!(calls.load(Relaxed), 1);
    let shadow = "policy=inventory.retry,kind=retry,decision=shadow_rejected";
    let shadow = format!("octostack_policy_decisions_total{{{shadow}}}");
    assert_eq!((sample(&registry, &shadow), repeats(&registry)), (1.0, 0.0));

    retry.set_mode(Mode::Disabled).unwrap();
    service.clone().oneshot(()).await.unwrap_err();
    assert_eq!((calls.load(Relaxed), sample(&registry, &shadow)), (2, 1.0));
    assert_eq!(registry.items()[0].abnormal().as_deref(), Some("mode is disabled"));
    assert!(retry.set_mode(Mode::ForcedOpen).is_err());

    retry.set_mode(Mode::Enforce).unwrap();
    service.oneshot(()).await.unwrap_err();
    assert_eq!(calls.load(Relaxed), 5);
}

#[tokio::test(start_paused = true)]
async fn an_override_changes_the_next_decision() {
    let (registry, calls) = (Registry::new(), Arc::<AtomicU32>::default());
    let retry = retry(&registry).build().unwrap();
    let wish = Patch { mode: None, settings: vec![("max_attempts".to_owned(), 1_u32.into())] };
    let ttl = Duration::from_secs(30);
    registry
        .set_override("inventory.retry", wish, ttl, &Actor::default(), SystemClock.now())
        .unwrap();
    retry.layer().layer(failing(100, &calls)).oneshot(()).await.unwrap_err();
    assert_eq!(calls.load(Relaxed), 1);
    assert_eq!(retry.settings().max_attempts, 1);
}

#[tokio::test(start_paused = true)]
async fn policies_share_a_budget() {
    let registry = Registry::new();
    let budget = RetryBudget::new(0.0, 0).unwrap();
    let [a, b] = ["a", "b"].map(|name| {
        Retry::builder(name).registry(&registry).max_attempts(10).budget(&budget).build().unwrap()
    });
    let count = async |retry: &Retry| {
        let mut last = 0;
        let operation = |attempt| {
            last = attempt;
            async { Err::<(), _>(Fault::Inner("down")) }
        };
        retry.call(operation).await.unwrap_err();
        last - 1
    };
    assert_eq!([count(&a).await, count(&b).await], [9, 1], "ten in all");

    assert_eq!((a.settings().budget_ratio, a.settings().budget_floor), (0.0, 0));
    let wish = Patch { mode: None, settings: vec![("budget_floor".to_owned(), 5_u32.into())] };
    let (ttl, now) = (Duration::from_secs(30), SystemClock.now());
    let error = registry.set_override("a", wish, ttl, &Actor::default(), now).unwrap_err();
    assert!(error.to_string().contains("shares its budget"), "{error}");
    let error = Retry::builder("c").budget_floor(7).budget(&budget).build().unwrap_err();
    assert!(error.to_string().contains("shares its budget"), "{error}");
    a.reconfigure(octostack_resilience::RetryConfig::default()).unwrap();
    assert_eq!(budget.available(&SystemClock), 0, "its rules are its own");
    assert_eq!(a.settings().budget_floor, 0);

    budget.reconfigure(0.5, 9, &SystemClock).unwrap();
    let wish = Patch { mode: None, settings: vec![("max_attempts".to_owned(), 2_u32.into())] };
    registry.set_override("a", wish, ttl, &Actor::default(), now).unwrap();
    assert_eq!(b.settings().budget_floor, 9, "the change of a policy leaves the budget alone");
}

#[test]
fn refuses_what_makes_no_sense() {
    let error = retry(&Registry::new())
        .max_attempts(0)
        .base_delay(Duration::from_secs(3))
        .max_retry_after(Duration::from_secs(7_200))
        .budget_ratio(1.5)
        .budget_floor(1_001)
        .mode(Mode::ForcedOpen)
        .build()
        .unwrap_err();
    let keys: Vec<_> = error.problems.iter().map(|p| p.key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "settings.mode",
            "settings.max_attempts",
            "settings.base_delay",
            "settings.max_retry_after",
            "settings.budget_ratio",
            "settings.budget_floor",
        ]
        .map(|key| if key == "settings.mode" { "mode" } else { key })
    );
}

#[tokio::test(start_paused = true)]
async fn the_caller_may_judge() {
    let retry = retry(&Registry::new()).build().unwrap();
    let calls = Arc::<AtomicU32>::default();
    let layer = retry.layer().classify(|_: &Result<u32, Fault>| Outcome::Ignored);
    layer.layer(failing(1, &calls)).oneshot(()).await.unwrap_err();
    assert_eq!(calls.load(Relaxed), 1);
}

#[cfg(feature = "http")]
mod http {
    use super::{Duration, Registry, SystemClock, retry};
    use bytes::Bytes;
    use http::{HeaderMap, Method, Request, Response};
    use http_body_util::{BodyExt, Full};
    use octostack_core::Clock;
    use octostack_resilience::retry::ReplayBody;
    use octostack_resilience::{PolicyError, PolicyErrorKind};
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::sync::{Arc, Mutex};
    use std::task::{Context, Poll};
    use tower::{Layer, Service, ServiceExt, service_fn};

    type Body = Full<Bytes>;
    /// What the server got: headers and body of each attempt.
    type Seen = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

    /// A server that reads the body and gives the answers one after the other, the last for ever.
    fn server(
        seen: &Seen,
        answers: Vec<Response<Body>>,
    ) -> impl Service<
        Request<ReplayBody<Body>>,
        Response = Response<Body>,
        Error = Infallible,
        Future: Send,
    > + Clone {
        let seen = seen.clone();
        service_fn(move |request: Request<ReplayBody<Body>>| {
            let (seen, answers) = (seen.clone(), answers.clone());
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await?.to_bytes();
                let mut seen = seen.lock().unwrap();
                seen.push((parts.headers, body));
                Ok(answers[(seen.len() - 1).min(answers.len() - 1)].clone())
            }
        })
    }

    fn answer(status: u16) -> Response<Body> {
        Response::builder().status(status).body(Body::default()).unwrap()
    }

    fn request(method: Method, body: &'static str) -> Request<Body> {
        let body = Body::from(body);
        Request::builder().method(method).uri("/stock").header("x-own", "1").body(body).unwrap()
    }

    async fn attempts(request: Request<Body>, answers: Vec<Response<Body>>) -> (u16, usize) {
        let seen = Seen::default();
        let retry = retry(&Registry::new()).build().unwrap();
        let service = retry.layer().respond_http().layer(server(&seen, answers));
        let status = service.oneshot(request).await.unwrap().status().as_u16();
        let attempts = seen.lock().unwrap().len();
        (status, attempts)
    }

    #[tokio::test(start_paused = true)]
    async fn sends_the_same_request_again_and_says_so() {
        let seen = Seen::default();
        let retry = retry(&Registry::new()).build().unwrap();
        let answers = vec![answer(500), answer(502), answer(200)];
        let service = retry.layer().respond_http().layer(server(&seen, answers));
        let response = service.oneshot(request(Method::PUT, "seven")).await.unwrap();
        assert_eq!(response.status(), 200);
        let seen = seen.lock().unwrap();
        let marks: Vec<_> = seen.iter().map(|(h, _)| h.get("x-retry-attempt").cloned()).collect();
        assert_eq!(marks, [None, Some(2.into()), Some(3.into())]);
        for (headers, body) in &*seen {
            assert_eq!((&headers["x-own"], &body[..]), (&1.into(), &b"seven"[..]));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn repeats_only_what_is_idempotent() {
        let failing = || vec![answer(500), answer(200)];
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS] {
            assert_eq!(
                attempts(request(method.clone(), ""), failing()).await,
                (200, 2),
                "{method}"
            );
        }
        for method in [Method::POST, Method::PATCH] {
            assert_eq!(
                attempts(request(method.clone(), ""), failing()).await,
                (500, 1),
                "{method}"
            );
        }
        let mut keyed = request(Method::POST, "x");
        keyed.headers_mut().insert("idempotency-key", "a1".parse().unwrap());
        assert_eq!(attempts(keyed, failing()).await, (200, 2));

        let seen = Seen::default();
        let retry = retry(&Registry::new()).build().unwrap();
        let layer = retry.layer().respond_http().assume_idempotent();
        let service = layer.layer(server(&seen, failing()));
        assert_eq!(service.oneshot(request(Method::POST, "x")).await.unwrap().status(), 200);
    }

    #[tokio::test(start_paused = true)]
    async fn the_answer_decides() {
        assert_eq!(
            attempts(request(Method::GET, ""), vec![answer(404), answer(200)]).await,
            (404, 1)
        );
        assert_eq!(
            attempts(request(Method::GET, ""), vec![answer(429), answer(200)]).await,
            (200, 2)
        );
        let mut open = answer(503);
        open.extensions_mut().insert(PolicyError::new("b", PolicyErrorKind::CircuitOpen));
        assert_eq!(attempts(request(Method::GET, ""), vec![open, answer(200)]).await, (503, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn heeds_retry_after() {
        let after = |seconds: &str| {
            let mut response = answer(503);
            response.headers_mut().insert("retry-after", seconds.parse().unwrap());
            vec![response, answer(200)]
        };
        let start = SystemClock.now();
        assert_eq!(attempts(request(Method::GET, ""), after("2")).await, (200, 2));
        assert!(SystemClock.now() - start >= Duration::from_secs(2));
        assert_eq!(attempts(request(Method::GET, ""), after("3600")).await, (503, 1));
    }

    #[test]
    fn the_future_can_be_spawned_with_a_body_that_only_one_thread_uses_at_a_time() {
        type Unsync = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;
        fn spawnable<F: Send + 'static>(_: &F) {}
        let retry = retry(&Registry::new()).build().unwrap();
        let inner =
            service_fn(|_: Request<ReplayBody<Unsync>>| async { Ok::<_, Infallible>(answer(200)) });
        let service = retry.layer().respond_http().layer(inner);
        let body = Unsync::new(Body::default());
        spawnable(&service.oneshot(Request::new(body)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_is_too_large_arrives_once() {
        let seen = Seen::default();
        let retry = retry(&Registry::new()).build().unwrap();
        let layer = retry.layer().respond_http().buffer(4);
        let service = layer.layer(server(&seen, vec![answer(500), answer(200)]));
        assert_eq!(service.oneshot(request(Method::PUT, "seven")).await.unwrap().status(), 500);
        assert_eq!(seen.lock().unwrap()[0].1, "seven");
    }

    /// The future of a service that keeps the request until it is dropped.
    struct Keeps(Request<ReplayBody<Body>>);

    impl Future for Keeps {
        type Output = Result<Response<Body>, Infallible>;

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
            let again = self.0.headers().contains_key("x-retry-attempt");
            Poll::Ready(Ok(answer(if again { 200 } else { 500 })))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn takes_the_body_back_from_a_future_that_keeps_it() {
        let retry = retry(&Registry::new()).build().unwrap();
        let service = retry.layer().respond_http().layer(service_fn(Keeps));
        assert_eq!(service.oneshot(request(Method::PUT, "seven")).await.unwrap().status(), 200);
    }

    fn grpc(status: &'static str) -> Response<Body> {
        Response::builder().header("grpc-status", status).body(Body::default()).unwrap()
    }

    async fn grpc_attempts(marked: bool, first: Response<Body>) -> usize {
        let seen = Seen::default();
        let retry = retry(&Registry::new()).build().unwrap();
        let mut layer = retry.layer().respond_grpc();
        if marked {
            layer = layer.assume_idempotent();
        }
        let service = layer.layer(server(&seen, vec![first, grpc("0")]));
        service.oneshot(request(Method::POST, "message")).await.unwrap();
        let seen = seen.lock().unwrap();
        let second = seen.get(1).map(|(headers, _)| headers["grpc-previous-rpc-attempts"].clone());
        assert!(second.is_none_or(|number| number == "1"));
        seen.len()
    }

    #[tokio::test(start_paused = true)]
    async fn grpc_repeats_what_was_not_begun_and_the_rest_if_it_may() {
        assert_eq!(grpc_attempts(false, grpc("14")).await, 2, "UNAVAILABLE");
        assert_eq!(grpc_attempts(false, grpc("13")).await, 1, "INTERNAL");
        assert_eq!(grpc_attempts(true, grpc("13")).await, 2, "INTERNAL");
        assert_eq!(grpc_attempts(true, grpc("5")).await, 1, "NOT_FOUND is an answer");
        let mut stop = grpc("14");
        stop.headers_mut().insert("grpc-retry-pushback-ms", "-1".parse().unwrap());
        assert_eq!(grpc_attempts(true, stop).await, 1, "the server wants no repeat");
    }
}
