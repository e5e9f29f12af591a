//! The fallback as a user meets it.
#![cfg(all(feature = "http", feature = "tokio"))]
use http::{Method, Request, Response};
use octostack_core::inspect::overrides::Actor;
use octostack_core::inspect::{Metric, Mode, Patch, Registry, Sink};
use octostack_core::testing::{Behaviour, Probe, check};
use octostack_core::{Clock, SystemClock};
use octostack_resilience::fallback::FallbackBuilder;
use octostack_resilience::retry::{HttpRequests, ReplayBody};
use octostack_resilience::{
    CircuitBreaker, Error, Fallback, FallbackConfig, FallbackOn, Outcome, PolicyError,
    PolicyErrorKind,
};
use std::convert::Infallible;
use std::future::{pending, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tower::{Layer, ServiceExt, service_fn};

type Failure = Error<&'static str>;
type Answer = Result<u32, Failure>;

fn builder(registry: &Registry) -> FallbackBuilder {
    Fallback::builder("stock.fallback").registry(registry)
}

fn fallback() -> (Registry, Fallback) {
    let registry = Registry::new();
    let fallback = builder(&registry).build().expect("valid settings");
    (registry, fallback)
}

fn refused() -> Failure {
    Error::Policy(PolicyError::new("stock.breaker", PolicyErrorKind::CircuitOpen))
}

fn timed_out() -> Failure {
    Error::Policy(PolicyError::new("stock.timeout", PolicyErrorKind::TimedOut))
}

const LOST: Failure = Error::Inner("lost");

#[allow(clippy::unused_async, reason = "an operation to guard")]
async fn panics() -> Answer {
    panic!("boom")
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Samples that are not zero, those of answers marked as such.
#[derive(Default)]
struct Samples(Vec<(String, f64)>);

impl Sink for Samples {
    fn sample(&mut self, metric: &'static Metric, labels: &[(&'static str, &str)], value: f64) {
        assert_eq!(labels[0], ("policy", "stock.fallback"));
        let what = match metric.name {
            "octostack_fallback_answers_total" => "answer ",
            "octostack_policy_decisions_total" | "octostack_policy_outcomes_total" => "",
            name => panic!("{name}"),
        };
        if value > 0.0 {
            self.0.push((format!("{what}{}", labels[labels.len() - 1].1), value));
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

#[test]
fn keeps_the_contract_of_tower() {
    let (_registry, fallback) = fallback();
    let probe = || Probe::new(|| Ok::<_, Failure>(200)).with_broken(|| Error::Inner("broken"));
    let inner = probe();
    check("value", &inner, |inner| fallback.value(7).layer(inner), || (), || Ok(()));
    let other = probe();
    let layer = fallback.service(other.clone());
    check("service", &inner, |inner| layer.layer(inner), || (), || Ok(()));
    assert_eq!(other.calls(), 0);

    // And where the other service answers.
    let primary = service_fn(|()| ready(Err::<u32, _>(LOST)));
    let layer = fallback.service(primary);
    let turned = fallback.with(|failed: Result<_, Failure>| failed);
    let wrap = |inner| turned.layer(layer.layer(inner));
    check("around", &other, wrap, || (), || Ok(()));
}

#[tokio::test]
async fn a_failure_a_refusal_and_nothing_else_is_replaced_by_a_value() {
    let (registry, fallback) = fallback();
    let stock = fallback.value(0_u32).layer(service_fn(|answer: Answer| ready(answer)));
    assert_eq!(stock.clone().oneshot(Ok(40)).await, Ok(40));
    for failed in [LOST, refused(), timed_out()] {
        assert_eq!(stock.clone().oneshot(Err(failed)).await, Ok(0));
    }
    let counts = [
        ("permitted", 4.0),
        ("success", 1.0),
        ("failure", 2.0),
        ("ignored", 1.0),
        ("answer success", 3.0),
    ];
    assert_counts(&registry, &counts);
}

#[tokio::test]
async fn what_is_replaced_is_a_setting() {
    let (registry, fallback) = fallback();
    let stock = fallback.value(0_u32).layer(service_fn(|answer: Answer| ready(answer)));
    let ask = |answer: Answer| stock.clone().oneshot(answer);
    let patch = Patch { mode: None, settings: [("on".to_owned(), "rejection".into())].into() };
    let (minute, now) = (Duration::from_secs(60), SystemClock.now());
    registry.set_override("stock.fallback", patch, minute, &Actor::default(), now).unwrap();
    assert_eq!(ask(Err(refused())).await, Ok(0));
    assert_eq!(ask(Err(LOST)).await, Err(LOST));
    assert_eq!(ask(Err(timed_out())).await, Err(timed_out()), "the work had started");
    registry.end_expired(now + minute);
    assert_eq!(ask(Err(LOST)).await, Ok(0));

    let patch = Patch { mode: None, settings: [("on".to_owned(), "always".into())].into() };
    let error =
        registry.set_override("stock.fallback", patch, minute, &Actor::default(), now).unwrap_err();
    assert!(format!("{error:?}").contains("expected failure, rejection or error"), "{error:?}");
}

#[tokio::test]
async fn on_error_takes_every_error_and_no_response() {
    let registry = Registry::new();
    let fallback = builder(&registry).on_error().build().unwrap();
    assert_eq!(fallback.settings(), FallbackConfig { on: FallbackOn::Error });
    let judge = |output: &Answer| match output {
        Ok(0) => Outcome::Failure,
        _ => Outcome::Success,
    };
    let layer = fallback.value(7_u32).classify(judge);
    let stock = layer.layer(service_fn(|answer: Answer| ready(answer)));
    assert_eq!(stock.clone().oneshot(Ok(0)).await, Ok(0));
    assert_eq!(stock.oneshot(Err(LOST)).await, Ok(7));
}

#[tokio::test]
async fn a_predicate_says_what_is_replaced() {
    let (_registry, fallback) = fallback();
    let layer = fallback.value(7_u32).when(|answer: &Answer| *answer == Ok(0));
    let stock = layer.layer(service_fn(|answer: Answer| ready(answer)));
    assert_eq!(stock.clone().oneshot(Ok(0)).await, Ok(7));
    assert_eq!(stock.oneshot(Err(LOST)).await, Err(LOST));
}

#[tokio::test]
async fn a_function_sees_the_failed_answer_and_what_was_kept_of_the_request() {
    let (_registry, fallback) = fallback();
    let layer = fallback.with(|failed: Answer| match failed {
        Err(Error::Policy(_)) => Ok(1),
        other => other,
    });
    let stock = layer.layer(service_fn(|answer: Answer| ready(answer)));
    assert_eq!(stock.clone().oneshot(Err(refused())).await, Ok(1));
    assert_eq!(stock.oneshot(Err(LOST)).await, Err(LOST), "its own failure is the answer");

    let layer = fallback.with_request(|item: &u32| *item, |item, _failed: Answer| Ok(item + 1));
    let stock = layer.layer(service_fn(|_: u32| ready(Err::<u32, _>(LOST))));
    assert_eq!(stock.oneshot(4).await, Ok(5));
}

#[tokio::test]
async fn a_service_gets_the_request_again_once_it_is_ready() {
    let (registry, fallback) = fallback();
    let breaker = CircuitBreaker::builder("stock.breaker").registry(&Registry::new());
    let breaker = breaker.mode(Mode::ForcedOpen).build().unwrap();
    let other = Probe::new(|| Ok::<_, Failure>(7_u32)).with_broken(|| Error::Inner("broken"));
    let primary = Probe::new(|| Ok::<_, Failure>(1_u32));
    let stock = fallback.service(other.clone()).layer(breaker.layer().layer(primary.clone()));

    other.behave(Behaviour::Busy);
    let mut call = Box::pin(stock.clone().oneshot(4));
    assert!(poll(call.as_mut()).is_pending());
    other.behave(Behaviour::Answer);
    assert_eq!(poll(call.as_mut()), Poll::Ready(Ok(7)));

    other.behave(Behaviour::Broken);
    assert_eq!(stock.clone().oneshot(4).await, Err(Error::Inner("broken")));
    other.behave(Behaviour::Hang);
    let mut call = Box::pin(stock.oneshot(4));
    assert!(poll(call.as_mut()).is_pending());
    drop(call);
    assert_eq!((other.in_flight(), other.reserved(), primary.calls()), (0, 0, 0));
    assert!(other.violations().is_empty());
    let counts = [
        ("permitted", 3.0),
        ("ignored", 3.0),
        ("answer success", 1.0),
        ("answer failure", 1.0),
        ("answer cancelled", 1.0),
    ];
    assert_counts(&registry, &counts);
}

type Http = Result<Response<Vec<u8>>, Infallible>;

#[allow(clippy::unnecessary_wraps, reason = "an answer of a service")]
fn status(status: u16) -> Http {
    Ok(Response::builder().status(status).body(Vec::new()).expect("a valid response"))
}

type Sent = Request<ReplayBody<http_body_util::Full<bytes::Bytes>>>;

/// What it was sent is what the other service gets, and what must not run twice does not.
#[tokio::test]
async fn an_http_request_is_sent_again_if_it_may_be() {
    let (_registry, fallback) = fallback();
    let primary = service_fn(|_: Sent| ready(status(503)));
    let other = service_fn(|request: Sent| async move {
        use http_body_util::BodyExt;
        let body = request.into_body().collect().await.expect("a whole body").to_bytes();
        Ok(Response::new(body.to_vec()))
    });
    let layer = fallback.service(other).repeat(HttpRequests::default()).respond_http();
    let send = |method: Method| {
        let request = Request::builder().method(method).body("seven".to_owned().into()).unwrap();
        layer.layer(primary).oneshot(request)
    };
    assert_eq!(send(Method::PUT).await.unwrap().into_body(), b"seven");
    assert_eq!(send(Method::POST).await.unwrap().status(), 503, "may have been done");
}

/// Their classifiers say yes or no to an error; a response that fails is a success to them.
#[tokio::test]
async fn b8_a_failed_response_and_a_refusal_in_a_response_are_recognised() {
    let (registry, fallback) = fallback();
    let by_status = fallback.with(|_: Http| status(200)).respond_http();
    let service = by_status.layer(service_fn(|code: u16| ready(status(code))));
    for (code, answer) in [(500, 200), (503, 200), (429, 200), (404, 404), (201, 201)] {
        let seen = service.clone().oneshot(code).await.unwrap().status();
        assert_eq!(seen.as_u16(), answer, "{code}");
    }
    let breaker = CircuitBreaker::builder("stock.breaker").registry(&Registry::new());
    let breaker = breaker.mode(Mode::ForcedOpen).build().unwrap().layer().respond_http();
    fallback.reconfigure(FallbackConfig { on: FallbackOn::Rejection }).unwrap();
    let refusing = fallback
        .with(|_: Result<Response<bytes::Bytes>, Infallible>| Ok(Response::default()))
        .respond_http()
        .layer(breaker.layer(service_fn(|()| ready(Ok(Response::default())))));
    assert_eq!(refusing.oneshot(()).await.unwrap().status(), 200);
    assert_eq!(service.oneshot(500).await.unwrap().status(), 500);
    let counts = [
        ("permitted", 7.0),
        ("success", 2.0),
        ("failure", 2.0),
        ("ignored", 1.0),
        ("overloaded", 2.0),
        ("answer success", 4.0),
    ];
    assert_counts(&registry, &counts);
}

/// Their retry holds the failed response, and with it a connection, through the wait.
#[tokio::test]
async fn b17_the_failed_answer_is_gone_before_the_other_service_is_waited_for() {
    #[derive(Clone)]
    struct Held(Option<Arc<AtomicBool>>);
    impl Drop for Held {
        fn drop(&mut self) {
            if let Some(gone) = &self.0 {
                gone.store(true, Relaxed);
            }
        }
    }
    let (_registry, fallback) = fallback();
    let gone = Arc::new(AtomicBool::new(false));
    let held = gone.clone();
    let primary = service_fn(move |()| ready(Ok::<_, Failure>(Held(Some(held.clone())))));
    let other = service_fn(|()| pending::<Result<Held, Failure>>());
    let layer = fallback.service(other).when(|_: &Result<Held, Failure>| true);
    let mut call = Box::pin(layer.layer(primary).oneshot(()));
    assert!(poll(call.as_mut()).is_pending());
    assert!(gone.load(Relaxed));
}

#[tokio::test]
async fn shadow_counts_and_disabled_does_not_and_both_pass() {
    for (mode, shadow) in [(Mode::Shadow, true), (Mode::Disabled, false)] {
        let registry = Registry::new();
        let fallback = builder(&registry).mode(mode).build().unwrap();
        let keep = |_: &u32| panic!("kept for nothing");
        let layer = fallback.with_request(keep, |(): (), failed: Answer| failed);
        let stock = layer.layer(service_fn(|_: u32| ready(Err::<u32, _>(LOST))));
        assert_eq!(stock.oneshot(4).await, Err(LOST));
        let call = fallback.call(ready(Err(LOST)), |_| panics());
        assert_eq!(call.await, Err(LOST));
        let counts: &[_] = if shadow {
            &[("permitted", 2.0), ("shadow_rejected", 2.0), ("failure", 2.0)]
        } else {
            &[("permitted", 2.0), ("failure", 2.0)]
        };
        assert_counts(&registry, counts);
    }
}

#[tokio::test]
async fn around_futures_and_by_hand() {
    let (registry, fallback) = fallback();
    let ask = |answer: Answer| fallback.call(ready(answer), |_failed| async { Ok(0) });
    assert_eq!(ask(Ok(4)).await, Ok(4));
    assert_eq!(ask(Err(refused())).await, Ok(0));
    assert_eq!(fallback.or_else(Ok(4), |_: Answer| panic!("not needed")), Ok(4));
    assert_eq!(fallback.or_else(Err(LOST), |failed: Answer| failed), Err(LOST));
    let counts = [
        ("permitted", 4.0),
        ("success", 2.0),
        ("failure", 1.0),
        ("ignored", 1.0),
        ("answer success", 1.0),
        ("answer failure", 1.0),
    ];
    assert_counts(&registry, &counts);
}

#[test]
fn dropped_calls_and_panics_are_counted_as_what_they_are() {
    let (registry, fallback) = fallback();
    let mut call = Box::pin(fallback.call(pending::<Answer>(), |_| panics()));
    assert!(poll(call.as_mut()).is_pending());
    drop(call);
    let mut call = Box::pin(fallback.call(panics(), |_| panics()));
    catch_unwind(AssertUnwindSafe(|| poll(call.as_mut()))).expect_err("goes on");
    drop(call); // is no cancellation, though it comes later
    let mut call = Box::pin(fallback.call(ready(Err(LOST)), |_| panics()));
    catch_unwind(AssertUnwindSafe(|| poll(call.as_mut()))).expect_err("goes on");
    drop(call);
    let counts =
        [("permitted", 3.0), ("failure", 2.0), ("cancelled", 1.0), ("answer failure", 1.0)];
    assert_counts(&registry, &counts);
}
