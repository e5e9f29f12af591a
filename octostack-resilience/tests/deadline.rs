//! Deadlines that come with a request, go on to the next, and are known in between.
#![cfg(all(feature = "http", feature = "tokio"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
use bytes::Bytes;
use http::{HeaderName, Request, Response};
use http_body_util::Full;
use octostack_core::inspect::{Mode, Registry};
use octostack_core::{Clock, SystemClock};
use octostack_resilience::deadline::{self, DeadlineHeader};
use octostack_resilience::timeout::TimeoutBuilder;
use octostack_resilience::{
    CircuitBreaker, Error, Phase, PolicyError, PolicyErrorKind, Retry, Timeout,
};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;
use tower::{Layer, Service, ServiceExt, service_fn};

type Failure = Error<Infallible>;
type Answer = Result<Response<Full<Bytes>>, Failure>;

const SECOND: Duration = Duration::from_secs(1);

fn timeout(limit: Duration) -> Timeout {
    builder(limit).build().unwrap()
}

fn builder(limit: Duration) -> TimeoutBuilder {
    Timeout::builder("t").registry(&Registry::new()).timeout(limit).margin(Duration::ZERO)
}

fn request(header: &str, value: &str) -> Request<()> {
    Request::builder().header(header, value).body(()).unwrap()
}

fn fine() -> std::future::Ready<Answer> {
    std::future::ready(Ok(Response::new(Full::default())))
}

fn too_late() -> Failure {
    Error::Policy(PolicyError::new("t", PolicyErrorKind::DeadlinePassed))
}

fn timed_out() -> Failure {
    let word = PolicyError::new("t", PolicyErrorKind::TimedOut);
    Error::Policy(word.with_phase(Phase::Head))
}

#[tokio::test(start_paused = true)]
async fn everything_inside_a_timeout_knows_until_when_the_caller_waits() {
    let (outer, inner) = (timeout(3 * SECOND), timeout(SECOND));
    let start = SystemClock.now();
    let asked = async {
        assert_eq!(deadline::remaining(), Some(SECOND), "nobody has waited yet");
        tokio::time::sleep(SECOND / 2).await;
        assert_eq!(deadline::current(), Some(start + SECOND));
        assert_eq!(deadline::remaining(), Some(SECOND / 2));
        Ok::<_, Failure>(())
    };
    let call = async {
        inner.around(asked).await?;
        assert_eq!(deadline::current(), Some(start + 3 * SECOND));
        Ok::<_, Failure>(())
    };
    outer.around(call).await.unwrap();
    assert_eq!(deadline::current(), None);
}

#[tokio::test(start_paused = true)]
async fn a_service_knows_it_when_it_is_called_and_not_only_when_it_is_polled() {
    let service = service_fn(|()| {
        let left = deadline::remaining();
        async move { Ok::<_, Failure>(left) }
    });
    let answer = timeout(SECOND).layer().layer(service).oneshot(()).await;
    assert_eq!(answer, Ok(Some(SECOND)));
}

#[tokio::test(start_paused = true)]
async fn modes_that_do_not_enforce_say_nothing() {
    for mode in [Mode::Shadow, Mode::Disabled] {
        let timeout = builder(SECOND).mode(mode).build().unwrap();
        let layer = timeout.layer().accept_deadline(DeadlineHeader::grpc());
        let service = layer.layer(service_fn(|_: Request<()>| async {
            assert_eq!(deadline::current(), None, "nobody ends this work");
            fine().await
        }));
        service.oneshot(request("grpc-timeout", "0S")).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_caller_may_shorten_the_time_and_not_lengthen_it() {
    let name = HeaderName::from_static("x-request-timeout-ms");
    let layer = timeout(SECOND)
        .layer()
        .accept_deadline(DeadlineHeader::grpc())
        .and_deadline(DeadlineHeader::millis(name));
    let service = layer.layer(service_fn(|request: Request<()>| async move {
        let begun = request.headers().len();
        tokio::time::sleep(SECOND * 10).await;
        let _ = begun;
        fine().await
    }));
    for (header, value, waited) in [
        ("grpc-timeout", "250m", SECOND / 4),
        ("grpc-timeout", "20S", SECOND),
        ("grpc-timeout", "soon", SECOND),
        ("x-request-timeout-ms", "500", SECOND / 2),
        ("x-other", "1", SECOND),
    ] {
        let start = SystemClock.now();
        let answer = service.clone().oneshot(request(header, value)).await;
        assert_eq!(answer.err(), Some(timed_out()), "{header}: {value}");
        assert_eq!(SystemClock.now() - start, waited, "{header}: {value}");
    }
    let mut both = request("grpc-timeout", "250m");
    both.headers_mut().insert("x-request-timeout-ms", "100".parse().unwrap());
    let start = SystemClock.now();
    service.oneshot(both).await.unwrap_err();
    assert_eq!(SystemClock.now() - start, SECOND / 10, "the shortest counts");
}

#[tokio::test(start_paused = true)]
async fn work_whose_deadline_has_passed_is_refused_before_it_starts() {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    let registry = Registry::new();
    let timeout = Timeout::builder("t").registry(&registry).build().unwrap();
    let layer = timeout.layer().accept_deadline(DeadlineHeader::grpc());
    let mut service = layer.layer(service_fn(move |_: Request<()>| {
        counted.fetch_add(1, Relaxed);
        fine()
    }));
    let answer = service.ready().await.unwrap().call(request("grpc-timeout", "0m")).await;
    assert_eq!(answer.err(), Some(too_late()));

    let past = SystemClock.now();
    let call = service.ready().await.unwrap().call(request("x", "y"));
    call.await.unwrap();
    let late = deadline::scope(past, || service.call(request("x", "y")));
    assert_eq!(late.await.err(), Some(too_late()));
    assert_eq!(
        deadline::by(past, async { timeout.call(async { Ok::<_, Infallible>(()) }).await }).await,
        Err(too_late())
    );
    assert_eq!(calls.load(Relaxed), 1);
    let status = registry.items()[0].status().to_string();
    assert!(status.contains(r#""rejected": 3"#), "{status}");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_has_passed_is_no_failure_of_the_service() {
    let breaker = CircuitBreaker::builder("b").registry(&Registry::new());
    let breaker = breaker.minimum_calls(1).window(octostack_resilience::Window::calls(1));
    let breaker = breaker.build().unwrap();
    let retry = Retry::builder("r").registry(&Registry::new()).build().unwrap();
    let timeout = timeout(SECOND);
    let attempts = AtomicU32::new(0);
    let call = retry.call(|_| {
        attempts.fetch_add(1, Relaxed);
        breaker.around(timeout.around(async { Ok::<_, Failure>(()) }))
    });
    assert_eq!(deadline::by(SystemClock.now(), call).await, Err(too_late()));
    assert_eq!(attempts.load(Relaxed), 1, "nor is it repeated");
    assert_eq!(breaker.state(), octostack_resilience::breaker::State::Closed);
}

/// What the service behind a layer that forwards reads in `header`.
async fn forwarded(timeout: &Timeout, header: DeadlineHeader, request: Request<()>) -> String {
    let name = header.name().clone();
    let service = service_fn(move |request: Request<()>| {
        let value = request.headers().get(&name).map(|v| v.to_str().unwrap().to_owned());
        async move { Ok::<_, Failure>(value.unwrap_or_default()) }
    });
    let layer = timeout.layer().forward_deadline(header);
    let answer = layer.layer(service).oneshot(request).await;
    answer.unwrap_or_else(|error| error.to_string())
}

#[tokio::test(start_paused = true)]
async fn what_is_left_goes_out_less_the_margin() {
    let grpc = DeadlineHeader::grpc;
    let seconds = || DeadlineHeader::seconds(HeaderName::from_static("x-timeout"));
    let plain = || Request::new(());
    assert_eq!(forwarded(&timeout(SECOND), grpc(), plain()).await, "1000000u");
    assert_eq!(forwarded(&timeout(Duration::ZERO), grpc(), plain()).await, "", "no limit");
    let mut less = builder(SECOND).margin(Duration::from_millis(10)).build().unwrap();
    assert_eq!(forwarded(&less, seconds(), plain()).await, "0.990000000");
    less.reconfigure(octostack_resilience::TimeoutConfig {
        timeout: Duration::from_millis(10),
        margin: Duration::from_millis(8),
    })
    .unwrap();
    assert_eq!(forwarded(&less, seconds(), plain()).await, "0.005000000", "half at most");
    less = timeout(SECOND);
    let said = request("grpc-timeout", "100m");
    assert_eq!(forwarded(&less, grpc(), said).await, "100000u", "the caller's library said less");
    let said = request("grpc-timeout", "9S");
    assert_eq!(forwarded(&less, grpc(), said).await, "1000000u");
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_the_caller_goes_on_to_the_next_service() {
    let attempt = timeout(SECOND);
    let inside = async {
        let before = forwarded(&attempt, DeadlineHeader::grpc(), Request::new(())).await;
        tokio::time::sleep(SECOND / 2).await;
        let after = forwarded(&attempt, DeadlineHeader::grpc(), Request::new(())).await;
        Ok::<_, Failure>([before, after])
    };
    let total = timeout(SECOND * 5 / 4);
    assert_eq!(total.around(inside).await.unwrap(), ["1000000u", "750000u"]);
    let past = SystemClock.now();
    let late = forwarded(&attempt, DeadlineHeader::grpc(), Request::new(()));
    assert_eq!(deadline::by(past, late).await, "t: the deadline has passed");
}

#[tokio::test(start_paused = true)]
async fn a_task_takes_the_deadline_along_or_leaves_it_behind() {
    let call = async {
        let carried = tokio::spawn(deadline::carry(async { deadline::remaining() }));
        assert_eq!(carried.await.unwrap(), Some(SECOND));
        let spawned = tokio::spawn(async { deadline::remaining() });
        assert_eq!(spawned.await.unwrap(), None);
        assert_eq!(deadline::without(async { deadline::remaining() }).await, None);
        assert_eq!(deadline::remaining(), Some(SECOND));
        Ok::<_, Failure>(())
    };
    timeout(SECOND).around(call).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_readiness_can_be_timed_too() {
    /// Ready after two seconds, and slow to answer.
    #[derive(Clone)]
    struct Slow(Duration);
    impl Service<Duration> for Slow {
        type Response = ();
        type Error = Failure;
        type Future = std::pin::Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;
        fn poll_ready(
            &mut self,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), Failure>> {
            let mut sleep = Box::pin(tokio::time::sleep(self.0));
            std::task::ready!(sleep.as_mut().poll(cx));
            std::task::Poll::Ready(Ok(()))
        }
        fn call(&mut self, work: Duration) -> Self::Future {
            Box::pin(async move {
                tokio::time::sleep(work).await;
                Ok(())
            })
        }
    }
    let phase = |error: Failure| match error {
        Error::Policy(PolicyError { kind: PolicyErrorKind::TimedOut, phase, .. }) => phase,
        other => panic!("{other:?}"),
    };
    let timeout = timeout(SECOND);
    let service = timeout.layer().including_readiness().layer(Slow(SECOND * 2));
    let start = SystemClock.now();
    let error = service.oneshot(Duration::ZERO).await.unwrap_err();
    assert_eq!(error.to_string(), "t: the call timed out before the service was ready");
    assert_eq!(phase(error), Some(Phase::Readiness));
    assert_eq!(SystemClock.now() - start, SECOND);

    let service = timeout.layer().including_readiness().layer(Slow(Duration::ZERO));
    service.clone().oneshot(SECOND / 2).await.unwrap();
    let error = service.oneshot(SECOND * 2).await.unwrap_err();
    assert_eq!(phase(error), Some(Phase::Head));
}
