//! Calls that end with the body of their answer.
#![cfg(all(feature = "http", feature = "tokio"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use octostack_core::inspect::{Metric, Registry, Sink};
use octostack_core::{Clock, SystemClock};
use octostack_resilience::breaker::State;
use octostack_resilience::error::BoxError;
use octostack_resilience::{
    Bulkhead, CircuitBreaker, Error, Outcome, Phase, PolicyError, PolicyErrorKind, Timeout,
};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tower::{Layer, Service, ServiceExt, service_fn};

type Step = Result<Frame<Bytes>, &'static str>;
type Failure = Error<Infallible>;

const SECOND: Duration = Duration::from_secs(1);

/// A body that does what is sent to it.
#[derive(Debug, Default)]
struct Scripted {
    steps: Option<UnboundedReceiver<Step>>,
    panics: bool,
}

impl From<Bytes> for Scripted {
    fn from(_: Bytes) -> Self {
        Self::default()
    }
}

impl Body for Scripted {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        assert!(!self.panics, "in the body");
        let Some(steps) = &mut self.steps else { return Poll::Ready(None) };
        steps.poll_recv(cx).map(|step| step.map(|step| step.map_err(Into::into)))
    }
}

fn scripted() -> (UnboundedSender<Step>, Response<Scripted>) {
    let (to, from) = unbounded_channel();
    (to, Response::new(Scripted { steps: Some(from), panics: false }))
}

fn data() -> Frame<Bytes> {
    Frame::data(Bytes::from_static(b"part"))
}

fn bulkhead() -> Bulkhead {
    Bulkhead::builder("b").registry(&Registry::new()).max_concurrent(1).build().unwrap()
}

async fn answer<L, S>(layer: L, response: Response<Scripted>) -> Result<S::Response, Failure>
where
    L: Layer<Given, Service = S>,
    S: Service<Response<Scripted>, Error = Failure>,
{
    layer.layer(Given).oneshot(response).await
}

/// Answers with what it is asked.
#[derive(Clone)]
struct Given;

impl Service<Response<Scripted>> for Given {
    type Response = Response<Scripted>;
    type Error = Failure;
    type Future = std::future::Ready<Result<Response<Scripted>, Failure>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, response: Response<Scripted>) -> Self::Future {
        std::future::ready(Ok(response))
    }
}

#[tokio::test]
async fn a_place_is_held_until_the_body_has_ended_in_whatever_way() {
    let bulkhead = bulkhead();
    let held = || async {
        let (to, response) = scripted();
        let answer = answer(bulkhead.layer().until_body_end(), response).await.unwrap();
        assert_eq!(bulkhead.in_flight(), 1);
        (to, answer.into_body())
    };
    let (to, mut body) = held().await;
    to.send(Ok(data())).unwrap();
    body.frame().await.unwrap().unwrap();
    assert_eq!(bulkhead.in_flight(), 1, "more may come");
    drop(to);
    assert!(body.frame().await.is_none());
    assert_eq!(bulkhead.in_flight(), 0, "at its end, though the body is still there");

    let (to, mut body) = held().await;
    to.send(Ok(Frame::trailers(HeaderMap::new()))).unwrap();
    body.frame().await.unwrap().unwrap();
    assert_eq!(bulkhead.in_flight(), 0, "trailers are the end");

    let (to, mut body) = held().await;
    to.send(Err("reset")).unwrap();
    body.frame().await.unwrap().unwrap_err();
    assert_eq!(bulkhead.in_flight(), 0, "an error is the end");

    let (_to, body) = held().await;
    drop(body);
    assert_eq!(bulkhead.in_flight(), 0, "its reader has gone");

    let (_to, answer_of_nobody) = scripted();
    drop(answer(bulkhead.layer().until_body_end(), answer_of_nobody).await.unwrap());
    assert_eq!(bulkhead.in_flight(), 0);
}

#[tokio::test]
async fn a_body_that_panics_gives_the_place_back_at_once() {
    let bulkhead = bulkhead();
    let response = Response::new(Scripted { steps: None, panics: true });
    let answer = answer(bulkhead.layer().until_body_end(), response).await.unwrap();
    let mut body = Box::pin(answer.into_body());
    let mut cx = Context::from_waker(Waker::noop());
    let polling = std::panic::AssertUnwindSafe(|| body.as_mut().poll_frame(&mut cx).is_ready());
    std::panic::catch_unwind(polling).unwrap_err();
    assert_eq!(bulkhead.in_flight(), 0);
}

#[tokio::test]
async fn a_known_end_frees_the_place_without_being_asked_for() {
    let bulkhead = bulkhead();
    let full = http_body_util::Full::new(Bytes::from_static(b"all of it"));
    let service = service_fn(|()| {
        let answer = Response::new(full.clone());
        async move { Ok::<_, Failure>(answer) }
    });
    let service = bulkhead.layer().until_body_end().layer(service);
    let mut body = service.oneshot(()).await.unwrap().into_body();
    assert_eq!(bulkhead.in_flight(), 1);
    body.frame().await.unwrap().unwrap();
    assert_eq!(bulkhead.in_flight(), 0, "hyper asks no more once it knows the end");

    let empty = service_fn(|()| async {
        Ok::<_, Failure>(Response::new(http_body_util::Empty::<Bytes>::new()))
    });
    let answer = bulkhead.layer().until_body_end().layer(empty).oneshot(()).await.unwrap();
    assert_eq!(bulkhead.in_flight(), 0, "nothing is to come");
    drop(answer);
}

#[tokio::test]
async fn a_breaker_judges_an_answer_that_begins_well_by_its_end() {
    let ended = |step: Option<Step>| async {
        let registry = Registry::new();
        let breaker = CircuitBreaker::builder("b").registry(&registry).build().unwrap();
        let (to, response) = scripted();
        let layer = breaker.layer().respond_grpc().until_body_end();
        let mut body = answer(layer, response).await.unwrap().into_body();
        assert_eq!(outcomes(&registry), [], "it has not ended");
        if let Some(step) = step {
            to.send(step).unwrap();
            drop(to);
            while body.frame().await.is_some() {}
        }
        drop(body);
        let seen = outcomes(&registry);
        assert_eq!(seen.len(), 1, "settled once: {seen:?}");
        seen[0].0.clone()
    };
    let status = |code: &'static str| {
        let name = http::HeaderName::from_static("grpc-status");
        let value = http::HeaderValue::from_static(code);
        Some(Ok(Frame::trailers(HeaderMap::from_iter([(name, value)]))))
    };
    assert_eq!(ended(status("0")).await, "success");
    assert_eq!(ended(status("5")).await, "success", "NOT_FOUND is an answer");
    assert_eq!(ended(status("13")).await, "failure");
    assert_eq!(ended(status("8")).await, "overloaded");
    assert_eq!(ended(Some(Ok(data()))).await, "failure", "it ended without a status");
    assert_eq!(ended(Some(Err("reset"))).await, "failure");
    assert_eq!(ended(None).await, "cancelled", "nobody read it");
}

#[tokio::test]
async fn an_answer_of_http_that_began_well_is_a_success_though_nobody_reads_it() {
    let registry = Registry::new();
    let breaker = CircuitBreaker::builder("b").registry(&registry).build().unwrap();
    let layer = breaker.layer().respond_http().until_body_end();
    let (_to, response) = scripted();
    drop(answer(layer.clone(), response).await.unwrap());
    assert_eq!(outcomes(&registry), [("success".to_owned(), 1.0)]);
    let (to, response) = scripted();
    let mut body = answer(layer, response).await.unwrap().into_body();
    to.send(Err("reset")).unwrap();
    body.frame().await.unwrap().unwrap_err();
    let expected = [("failure".to_owned(), 1.0), ("success".to_owned(), 1.0)];
    assert_eq!(outcomes(&registry), expected, "what breaks off is none");
}

#[tokio::test(start_paused = true)]
async fn a_breaker_heeds_the_pushback_in_trailers() {
    let breaker = CircuitBreaker::builder("b").registry(&Registry::new());
    let breaker = breaker.consecutive_failures(1).open_for(SECOND).build().unwrap();
    let (to, response) = scripted();
    let layer = breaker.layer().respond_grpc().until_body_end();
    let mut body = answer(layer, response).await.unwrap().into_body();
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "14".parse().unwrap());
    trailers.insert("grpc-retry-pushback-ms", "30000".parse().unwrap());
    to.send(Ok(Frame::trailers(trailers))).unwrap();
    body.frame().await.unwrap().unwrap();
    let word = breaker.admit().unwrap_err();
    assert!(word.retry_after >= Some(30 * SECOND), "{word:?}");
}

#[tokio::test]
async fn what_fails_in_its_head_is_settled_there() {
    let registry = Registry::new();
    let breaker = CircuitBreaker::builder("b").registry(&registry).build().unwrap();
    let (to, mut response) = scripted();
    *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
    let layer = breaker.layer().respond_http().until_body_end();
    let answered = answer(layer, response).await.unwrap();
    assert_eq!(outcomes(&registry), [("failure".to_owned(), 1.0)]);
    to.send(Err("reset")).unwrap();
    answered.into_body().frame().await.unwrap().unwrap_err();
    assert_eq!(outcomes(&registry), [("failure".to_owned(), 1.0)]);
}

#[tokio::test(start_paused = true)]
async fn a_trial_call_keeps_its_place_until_its_body_has_ended() {
    let breaker = CircuitBreaker::builder("b").registry(&Registry::new());
    let breaker = breaker.consecutive_failures(1).half_open_calls(1).open_jitter(0.0);
    let breaker = breaker.open_for(SECOND).build().unwrap();
    breaker.admit().unwrap().settle(Outcome::Failure);
    tokio::time::advance(SECOND).await;
    let layer = breaker.layer().respond_grpc().until_body_end();
    let (_to, response) = scripted();
    let answered = answer(layer.clone(), response).await.unwrap();
    breaker.admit().unwrap_err();
    drop(answered);
    let (to, response) = scripted();
    let answered = answer(layer, response).await.unwrap();
    let name = http::HeaderName::from_static("grpc-status");
    let fine = HeaderMap::from_iter([(name, http::HeaderValue::from_static("0"))]);
    to.send(Ok(Frame::trailers(fine))).expect("the place of a dropped body is free");
    drop(to);
    answered.into_body().collect().await.unwrap();
    assert_eq!(breaker.state(), State::Closed);
}

/// Outcomes that are not zero.
#[derive(Default)]
struct Outcomes(BTreeMap<String, f64>);

impl Sink for Outcomes {
    fn sample(&mut self, metric: &'static Metric, labels: &[(&'static str, &str)], value: f64) {
        if metric.name == "octostack_policy_outcomes_total" && value > 0.0 {
            self.0.insert(labels[2].1.to_owned(), value);
        }
    }
}

fn outcomes(registry: &Registry) -> Vec<(String, f64)> {
    let mut seen = Outcomes::default();
    registry.collect(&mut seen);
    seen.0.into_iter().collect()
}

fn timeout() -> (Registry, Timeout) {
    let registry = Registry::new();
    let timeout = Timeout::builder("t").registry(&registry).timeout(SECOND).build().unwrap();
    (registry, timeout)
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_end_in_time_is_cut_off() {
    let (registry, timeout) = timeout();
    let (to, response) = scripted();
    let start = SystemClock.now();
    let answer = answer(timeout.layer().until_body_end(), response).await.unwrap();
    assert_eq!(outcomes(&registry), [], "it has not ended");
    let mut body = answer.into_body();
    to.send(Ok(data())).unwrap();
    body.frame().await.unwrap().unwrap();
    let error = body.frame().await.unwrap().unwrap_err();
    let word = error.downcast_ref::<PolicyError>().unwrap();
    assert_eq!((word.kind, word.phase), (PolicyErrorKind::TimedOut, Some(Phase::Body)));
    assert_eq!(error.to_string(), "t: the call timed out in the body of the answer");
    assert_eq!(SystemClock.now() - start, SECOND);
    assert!(to.is_closed(), "what was too slow is dropped");
    assert!(body.is_end_stream() && body.frame().await.is_none());
    drop(body);
    assert_eq!(outcomes(&registry), [("failure".to_owned(), 1.0)]);
}

#[tokio::test(start_paused = true)]
async fn head_and_body_share_one_limit() {
    let (_, timeout) = timeout();
    let (to, response) = scripted();
    let slot = std::sync::Arc::new(std::sync::Mutex::new(Some(response)));
    let service = service_fn(move |()| {
        let response = slot.lock().unwrap().take().unwrap();
        async move {
            tokio::time::sleep(SECOND * 3 / 4).await;
            Ok::<_, Failure>(response)
        }
    });
    let start = SystemClock.now();
    let answer = timeout.layer().until_body_end().layer(service).oneshot(()).await.unwrap();
    answer.into_body().frame().await.unwrap().unwrap_err();
    assert_eq!(SystemClock.now() - start, SECOND);
    drop(to);
}

#[tokio::test(start_paused = true)]
async fn grpc_is_told_in_the_trailers() {
    let (_, timeout) = timeout();
    let (_to, response) = scripted();
    let layer = timeout.layer().respond_grpc().until_body_end();
    let mut body = answer(layer, response).await.unwrap().into_body();
    let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(trailers["grpc-status"], "4");
    assert_eq!(trailers["grpc-message"], "t: the call timed out in the body of the answer");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_ends_in_time_or_is_dropped_is_counted_as_that() {
    let (registry, timeout) = timeout();
    let layer = timeout.layer().until_body_end();
    let (to, response) = scripted();
    let answered = answer(layer.clone(), response).await.unwrap();
    to.send(Ok(data())).unwrap();
    drop(to);
    answered.into_body().collect().await.unwrap();
    assert_eq!(outcomes(&registry), [("success".to_owned(), 1.0)]);
    let (_to, response) = scripted();
    drop(answer(layer, response).await.unwrap());
    let expected = [("cancelled".to_owned(), 1.0), ("success".to_owned(), 1.0)];
    assert_eq!(outcomes(&registry), expected);
}
