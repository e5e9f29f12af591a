//! Which requests a retry sends again, and what it says in them.
#![cfg(all(feature = "tokio", feature = "http"))]
#![allow(clippy::unwrap_used, reason = "a test may panic")]
use bytes::Bytes;
use http::{HeaderName, Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use octostack_core::inspect::Registry;
use octostack_resilience::error::BoxError;
use octostack_resilience::retry::{ReplayBody, is_never_sent};
use octostack_resilience::{CircuitBreaker, Error, PolicyError, PolicyErrorKind, Retry};
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tower::{Layer, Service, ServiceExt, service_fn};

type Body = Full<Bytes>;
type Answer = Result<Response<Body>, io::Error>;
/// Headers and body of each attempt.
type Seen = Arc<Mutex<Vec<(http::HeaderMap, Bytes)>>>;

fn retry() -> Retry {
    Retry::builder("retry").registry(&Registry::new()).build().unwrap()
}

fn post(body: &'static str) -> Request<Body> {
    Request::builder().method(Method::POST).uri("/orders").body(Body::from(body)).unwrap()
}

fn ok() -> Response<Body> {
    Response::new(Body::default())
}

/// A service that fails once, like this, and then answers. It reads what it is sent if `reads`.
fn failing_once(
    seen: &Seen,
    reads: bool,
    failure: impl Fn() -> Answer + Clone + Send + 'static,
) -> impl Service<Request<ReplayBody<Body>>, Response = Response<Body>, Error = io::Error> + Clone {
    let seen = seen.clone();
    service_fn(move |request: Request<ReplayBody<Body>>| {
        let (seen, failure) = (seen.clone(), failure.clone());
        async move {
            let (parts, body) = request.into_parts();
            let first = seen.lock().unwrap().is_empty();
            let body = if first && !reads {
                Bytes::new()
            } else {
                body.collect().await.unwrap().to_bytes()
            };
            seen.lock().unwrap().push((parts.headers, body));
            if first { failure() } else { Ok(ok()) }
        }
    })
}

#[tokio::test(start_paused = true)]
async fn what_was_never_sent_is_sent_again_whatever_it_does() {
    let refused = || Err(io::Error::from(ErrorKind::ConnectionRefused));
    let seen = Seen::default();
    let layer = retry().layer().respond_http().detect_never_sent();
    let service = layer.layer(failing_once(&seen, false, refused));
    assert_eq!(service.oneshot(post("one book")).await.unwrap().status(), 200);
    assert_eq!(seen.lock().unwrap()[1].1, "one book", "nothing of the body is lost");

    let seen = Seen::default();
    let layer = retry().layer().respond_grpc().detect_never_sent();
    let service = layer.layer(failing_once(&seen, false, refused));
    service.oneshot(post("message")).await.unwrap();
    assert_eq!(seen.lock().unwrap()[1].0["grpc-previous-rpc-attempts"], "1");
}

#[tokio::test(start_paused = true)]
async fn what_may_have_been_sent_is_not() {
    for reads in [false, true] {
        let reset = || Err(io::Error::from(ErrorKind::ConnectionReset));
        let seen = Seen::default();
        let layer = retry().layer().respond_http().detect_never_sent();
        let service = layer.layer(failing_once(&seen, reads, reset));
        assert!(service.oneshot(post("one book")).await.is_err());
        let layer = retry().layer().respond_grpc().detect_never_sent();
        let seen_too = Seen::default();
        let service = layer.layer(failing_once(&seen_too, reads, reset));
        assert!(service.oneshot(post("message")).await.is_err());
        assert_eq!((seen.lock().unwrap().len(), seen_too.lock().unwrap().len()), (1, 1));
    }
    // An answer is proof that the request arrived.
    let seen = Seen::default();
    let layer = retry().layer().respond_http().detect_never_sent();
    let unavailable = || Ok(Response::builder().status(503).body(Body::default()).unwrap());
    let service = layer.layer(failing_once(&seen, true, unavailable));
    assert_eq!(service.oneshot(post("one book")).await.unwrap().status(), 503);
}

#[tokio::test(start_paused = true)]
async fn an_error_type_of_any_kind_can_tell() {
    /// As h2 tells of a stream that its peer refused.
    #[derive(Debug, PartialEq)]
    struct RefusedStream;
    let layer = retry().layer().respond_http().never_sent(|_: &RefusedStream| true);
    let calls = Arc::new(Mutex::new(0));
    let count = calls.clone();
    let service = layer.layer(service_fn(move |_: Request<ReplayBody<Body>>| {
        *count.lock().unwrap() += 1;
        std::future::ready(Err::<Response<Body>, _>(RefusedStream))
    }));
    assert_eq!(service.oneshot(post("")).await.unwrap_err(), RefusedStream);
    assert_eq!(*calls.lock().unwrap(), 3);

    let layer = retry().layer().respond_grpc().never_sent(|e: &BoxError| is_never_sent(&**e));
    let service = layer.layer(service_fn(|request: Request<ReplayBody<Body>>| async move {
        match request.headers().get("grpc-previous-rpc-attempts") {
            None => Err(BoxError::from(io::Error::from(ErrorKind::ConnectionRefused))),
            Some(_) => Ok(ok()),
        }
    }));
    assert!(service.oneshot(post("")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_failed_is_never_sent_again() {
    // The request's own body met a refused connection: that says nothing about the request.
    let refused = io::Error::from(ErrorKind::ConnectionRefused);
    let body = Frames(vec![Err(refused), Ok("half")]);
    let calls = Arc::new(Mutex::new(0));
    let count = calls.clone();
    let layer = retry().layer().respond_http().detect_never_sent();
    let service = layer.layer(service_fn(move |request: Request<ReplayBody<Frames>>| {
        *count.lock().unwrap() += 1;
        async move { request.into_body().collect().await.map(|_| ok()) }
    }));
    let request = Request::builder().method(Method::POST).body(body).unwrap();
    assert_eq!(service.oneshot(request).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(*calls.lock().unwrap(), 1);
}

/// A body of these frames, from the last to the first. Nobody knows how many.
struct Frames(Vec<Result<&'static str, io::Error>>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let frame = self.0.pop();
        Poll::Ready(frame.map(|frame| frame.map(|data| Frame::data(data.into()))))
    }
}

#[tokio::test(start_paused = true)]
async fn reqwest_retry_44_a_streaming_body_is_sent_and_sent_again() {
    let attempts = Arc::new(Mutex::new(Vec::new()));
    let seen = attempts.clone();
    let service = service_fn(move |request: Request<ReplayBody<Frames>>| {
        let seen = seen.clone();
        async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let mut seen = seen.lock().unwrap();
            seen.push(body);
            let status = if seen.len() == 1 { 500 } else { 200 };
            Ok::<_, io::Error>(Response::builder().status(status).body(Body::default()).unwrap())
        }
    });
    let frames = || Frames(vec![Ok("stream"), Ok("of "), Ok("end of ")]);
    let put = |body| Request::builder().method(Method::PUT).body(body).unwrap();
    let small = retry().layer().respond_http().layer(service.clone());
    assert_eq!(small.oneshot(put(frames())).await.unwrap().status(), 200);
    assert_eq!(*attempts.lock().unwrap(), ["end of of stream"; 2]);

    attempts.lock().unwrap().clear();
    let large = retry().layer().respond_http().buffer(8).layer(service);
    assert_eq!(large.oneshot(put(frames())).await.unwrap().status(), 500, "not before sending");
    assert_eq!(*attempts.lock().unwrap(), ["end of of stream"]);
}

#[tokio::test(start_paused = true)]
async fn dotnet_extensions_5248_an_order_is_not_placed_twice() {
    for reads in [false, true] {
        let failed = || Ok(Response::builder().status(500).body(Body::default()).unwrap());
        for method in [Method::POST, Method::PATCH, Method::CONNECT] {
            let seen = Seen::default();
            let service = retry().layer().respond_http().layer(failing_once(&seen, reads, failed));
            let mut request = post("one book");
            *request.method_mut() = method;
            assert_eq!(service.oneshot(request).await.unwrap().status(), 500);
            assert_eq!(seen.lock().unwrap().len(), 1);
        }
        let refused = || Err(io::Error::from(ErrorKind::ConnectionRefused));
        let seen = Seen::default();
        let service = retry().layer().respond_http().layer(failing_once(&seen, reads, refused));
        assert!(service.oneshot(post("one book")).await.is_err(), "only if one asks for it");
        assert_eq!(seen.lock().unwrap().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_number_of_the_attempt_is_in_a_header_of_your_choice() {
    static NAME: HeaderName = HeaderName::from_static("x-attempt");
    let failed = || Ok(Response::builder().status(500).body(Body::default()).unwrap());
    let seen = Seen::default();
    let layer = retry().layer().respond_http().attempt_header(&NAME).detect_never_sent();
    let service = layer.layer(failing_once(&seen, true, failed));
    let mut request = post("");
    *request.method_mut() = Method::GET;
    // What a caller further out said of its own attempts is not true of ours.
    request.headers_mut().insert(&NAME, 7.into());
    assert_eq!(service.oneshot(request).await.unwrap().status(), 200);
    let seen = seen.lock().unwrap();
    assert_eq!((&seen[0].0["x-attempt"], &seen[1].0["x-attempt"]), (&7.into(), &2.into()));
    assert!(!seen[1].0.contains_key("x-retry-attempt"));
}

#[tokio::test(start_paused = true)]
async fn a_grpc_pushback_says_when_and_whether() {
    for (pushback, again) in
        [("0", true), ("250", true), ("5000", true), ("5001", false), ("-1", false)]
            .into_iter()
            .chain([("", false), ("soon", false), ("1.5", false), ("99999999999999999999", false)])
    {
        let unavailable = move || {
            let response = Response::builder().header("grpc-status", "14");
            Ok(response.header("grpc-retry-pushback-ms", pushback).body(Body::default()).unwrap())
        };
        let seen = Seen::default();
        let service = retry().layer().respond_grpc().layer(failing_once(&seen, true, unavailable));
        let start = tokio::time::Instant::now();
        service.oneshot(post("message")).await.unwrap();
        assert_eq!(seen.lock().unwrap().len() == 2, again, "{pushback:?}");
        let least = pushback.parse().map_or(Duration::ZERO, Duration::from_millis);
        assert!(!again || start.elapsed() >= least);
    }
}

#[tokio::test(start_paused = true)]
async fn b15_what_a_policy_refused_is_not_repeated_in_any_form() {
    use octostack_core::inspect::Mode;
    let breaker = CircuitBreaker::builder("breaker").registry(&Registry::new());
    let breaker = breaker.mode(Mode::ForcedOpen).build().unwrap();
    let retry = retry();
    let full = retry.budget().available(&octostack_core::SystemClock);
    let seen = Seen::default();
    let never = || Ok(ok());
    let get = || Request::builder().body(Body::default()).unwrap();
    let http = retry
        .layer()
        .respond_http()
        .assume_idempotent()
        .layer(breaker.layer().respond_http().layer(failing_once(&seen, true, never)));
    assert_eq!(http.oneshot(get()).await.unwrap().status(), 503);
    let grpc = retry
        .layer()
        .respond_grpc()
        .assume_idempotent()
        .layer(breaker.layer().respond_grpc().layer(failing_once(&seen, true, never)));
    assert_eq!(grpc.oneshot(get()).await.unwrap().headers()["grpc-status"], "14");
    assert_eq!(seen.lock().unwrap().len(), 0);
    assert_eq!(retry.budget().available(&octostack_core::SystemClock), full);
    let error = PolicyError::new("breaker", PolicyErrorKind::CircuitOpen);
    let call = retry.call(|_| std::future::ready(Err::<(), _>(Error::<()>::Policy(error.clone()))));
    assert!(call.await.is_err());
    assert_eq!(retry.budget().available(&octostack_core::SystemClock), full);
}

#[cfg(feature = "rate-limit")]
#[tokio::test(start_paused = true)]
async fn a_whole_stack_can_tell_what_was_never_sent() {
    use octostack_resilience::Outbound;
    let stack = |name: &str| Outbound::builder(name).registry(&Registry::new()).build().unwrap();
    let refused = || Err(io::Error::from(ErrorKind::ConnectionRefused));
    let seen = Seen::default();
    let layer = stack("prices").http(None).detect_never_sent();
    let service = layer.layer(failing_once(&seen, false, refused));
    assert_eq!(service.oneshot(post("one book")).await.unwrap().status(), 200);

    let is_refused = |error: &io::Error| error.kind() == ErrorKind::ConnectionRefused;
    let layer = stack("stock").grpc().never_sent(is_refused);
    let seen_too = Seen::default();
    let service = layer.layer(failing_once(&seen_too, false, refused));
    assert!(service.oneshot(post("message")).await.is_ok());
    assert_eq!((seen.lock().unwrap().len(), seen_too.lock().unwrap().len()), (2, 2));
}
