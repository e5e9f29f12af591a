//! What a call costs in allocations while it is admitted and the service is ready: nothing, or for
//! a retry the clone of the request.
#![cfg(all(feature = "http", feature = "rate-limit", feature = "tokio"))]
use allocation_counter::measure;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Empty, Full};
use octostack_core::inspect::Registry;
use octostack_resilience::{
    Bulkhead, CatchPanic, Chaos, CircuitBreaker, Error, Fallback, KeyedBulkhead,
    KeyedCircuitBreaker, KeyedRateLimit, LoadShed, Outcome, RateLimit, Retry, RetryLayer, Timeout,
    Window,
};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tower::{Layer, Service};

/// A service that is ready, answers at once and allocates nothing.
#[derive(Clone)]
struct Answers;

impl Service<u32> for Answers {
    type Response = u32;
    type Error = Error<Infallible>;
    type Future = Ready<Result<u32, Error<Infallible>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u32) -> Self::Future {
        ready(Ok(request))
    }
}

impl<B> Service<Request<B>> for Answers {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        ready(Ok(Response::default()))
    }
}

/// Readies and calls it, and polls once, which must be enough.
fn answer<S, Req>(service: &mut S, request: Req)
where
    S: Service<Req>,
{
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(service.poll_ready(&mut cx), Poll::Ready(Ok(()))));
    let call = pin!(service.call(request));
    assert!(matches!(call.poll(&mut cx), Poll::Ready(Ok(_))));
}

/// Allocations of one call, after the first call has allocated whatever is made once.
fn allocations<S, Req>(mut service: S, request: impl Fn() -> Req) -> u64
where
    S: Service<Req>,
{
    answer(&mut service, request());
    let request = request();
    measure(|| answer(&mut service, request)).count_total
}

/// As [`allocations`], for a future.
fn allocations_of<F: Future>(make: impl Fn() -> F) -> u64 {
    let run = || {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(pin!(make()).poll(&mut cx).is_ready());
    };
    run();
    measure(run).count_total
}

#[test]
fn the_counter_counts() {
    let allocated = measure(|| drop(std::hint::black_box(Box::new(7)))).count_total;
    assert_eq!(allocated, 1);
}

#[test]
fn a_closed_breaker_allocates_nothing() {
    let registry = Registry::new();
    let breaker = CircuitBreaker::builder("b").registry(&registry).build().expect("valid");
    assert_eq!(allocations(breaker.layer().layer(Answers), || 1), 0);
    assert_eq!(allocations_of(|| breaker.call(ready(Ok::<_, Infallible>(1)))), 0);
    assert_eq!(allocations_of(|| breaker.around(ready(Ok::<_, Error<Infallible>>(1)))), 0);
    let by_hand = measure(|| breaker.admit().expect("closed").settle(Outcome::Success));
    assert_eq!(by_hand.count_total, 0);
    assert_eq!(allocations(breaker.leak().layer().layer(Answers), || 1), 0);
}

#[test]
fn a_closed_breaker_with_all_its_rules_allocates_nothing() {
    let registry = Registry::new();
    for window in [Window::calls(100), Window::time(Duration::from_secs(30))] {
        let builder = CircuitBreaker::builder("b").registry(&registry).window(window);
        let builder = builder.consecutive_failures(5).slow_call_duration(Duration::from_secs(1));
        let breaker = builder.build().expect("valid");
        assert_eq!(allocations(breaker.layer().layer(Answers), || 1), 0);
        assert_eq!(allocations_of(|| breaker.call(ready(Ok::<_, Infallible>(1)))), 0);
    }
}

#[test]
fn a_bulkhead_with_room_allocates_nothing() {
    let registry = Registry::new();
    let bulkhead = Bulkhead::builder("b").registry(&registry).build().expect("valid");
    assert_eq!(allocations(bulkhead.layer().layer(Answers), || 1), 0);
    assert_eq!(allocations_of(|| bulkhead.call(ready(Ok::<_, Infallible>(1)))), 0);
}

#[test]
fn a_rate_limit_that_is_not_reached_allocates_nothing() {
    let registry = Registry::new();
    let limit = RateLimit::builder("r").registry(&registry).limit(9).build().expect("valid");
    assert_eq!(allocations(limit.layer().layer(Answers), || 1), 0);
    assert_eq!(allocations(limit.layer().weight(|n: &u32| *n).layer(Answers), || 1), 0);
    assert_eq!(allocations_of(|| limit.call(ready(Ok::<_, Infallible>(1)))), 0);
    assert_eq!(measure(|| limit.admit().expect("below the limit")).count_total, 0);
}

#[test]
fn a_keyed_rate_limit_allocates_nothing_for_a_key_that_it_knows() {
    let registry = Registry::new();
    let builder = KeyedRateLimit::builder("k").registry(&registry);
    let limit = builder.limit(9).build().expect("valid");
    let layer = limit.layer(|request: &u32| Some(*request));
    assert_eq!(allocations(layer.layer(Answers), || 1), 0);
    assert_eq!(allocations_of(|| limit.call("red", ready(Ok::<_, Infallible>(1)))), 0);
    let by_hand = measure(|| limit.admit(&String::from("red")).expect("below the limit"));
    assert_eq!(by_hand.count_total, 1, "the key's own");
}

#[test]
fn keyed_breakers_and_bulkheads_allocate_nothing_for_a_key_that_is_present() {
    let registry = Registry::new();
    let breaker = KeyedCircuitBreaker::<u32>::builder("b").registry(&registry).build();
    let breaker = breaker.expect("valid");
    assert_eq!(allocations(breaker.layer(|n: &u32| Some(*n)).layer(Answers), || 1), 0);
    assert_eq!(allocations_of(|| breaker.call(&1, ready(Ok::<_, Infallible>(1)))), 0);
    let bulkhead = KeyedBulkhead::<u32>::builder("k").registry(&registry).build().expect("valid");
    assert_eq!(allocations(bulkhead.layer(|n: &u32| Some(*n)).layer(Answers), || 1), 0);
    assert_eq!(allocations_of(|| bulkhead.call(&1, ready(Ok::<_, Infallible>(1)))), 0);
    assert_eq!(measure(|| drop(bulkhead.try_admit(&1))).count_total, 0);
}

#[test]
fn a_key_takes_the_memory_that_the_docs_say() {
    let registry = Registry::new();
    let breaker = KeyedCircuitBreaker::<u32>::builder("b").registry(&registry).build();
    let breaker = breaker.expect("valid");
    let bulkhead = KeyedBulkhead::<u32>::builder("k").registry(&registry).build().expect("valid");
    let each = |make: &dyn Fn(u32)| measure(|| (0..9_000).for_each(make)).bytes_current / 9_000;
    let a_breaker = each(&|key| drop(breaker.admit(&key)));
    let a_bulkhead = each(&|key| drop(bulkhead.try_admit(&key)));
    assert!((1_000..1_600).contains(&a_breaker), "a breaker takes {a_breaker} bytes");
    assert!((350..750).contains(&a_bulkhead), "a bulkhead takes {a_bulkhead} bytes");
}

#[test]
fn a_timeout_of_a_call_that_is_ready_allocates_nothing() {
    let registry = Registry::new();
    let timeout = Timeout::builder("t").registry(&registry).build().expect("valid");
    assert_eq!(allocations(timeout.layer().layer(Answers), || 1), 0);
    assert_eq!(allocations_of(|| timeout.call(ready(Ok::<_, Infallible>(1)))), 0);
}

#[test]
fn chaos_that_does_not_strike_allocates_nothing() {
    let registry = Registry::new();
    let builder = || Chaos::builder("c").registry(&registry).enabled(true);
    let idle = builder().build().expect("valid");
    assert_eq!(allocations(idle.layer().layer(Answers), || 1), 0);
    assert_eq!(allocations_of(|| idle.call(ready(Ok::<_, Infallible>(1)))), 0);
    let armed = builder().error_rate(1e-12).latency(Duration::from_secs(1)).latency_rate(1e-12);
    let armed = armed.build().expect("valid");
    assert_eq!(allocations(armed.layer().layer(Answers), || 1), 0);
}

#[test]
fn a_load_shed_around_a_service_that_is_ready_allocates_nothing() {
    let registry = Registry::new();
    let shed = LoadShed::builder("s").registry(&registry).build().expect("valid");
    assert_eq!(allocations(shed.layer().layer(Answers), || 1), 0);
    assert_eq!(allocations_of(|| shed.call(true, ready(Ok::<_, Infallible>(1)))), 0);
    assert_eq!(measure(|| shed.admit(true).expect("there is room")).count_total, 0);
}

#[test]
fn a_panic_catch_without_a_panic_allocates_nothing() {
    let registry = Registry::new();
    let catch = CatchPanic::builder("c").registry(&registry).build().expect("valid");
    assert_eq!(allocations(catch.layer().layer(Answers), || 1), 0);
    assert_eq!(allocations_of(|| catch.call(ready(Ok::<_, Infallible>(1)))), 0);
    assert_eq!(measure(|| catch.run(|| ()).expect("no panic")).count_total, 0);
}

#[test]
fn a_fallback_that_is_not_needed_allocates_nothing() {
    let registry = Registry::new();
    let fallback = Fallback::builder("f").registry(&registry).build().expect("valid");
    assert_eq!(allocations(fallback.value(7_u32).layer(Answers), || 1), 0);
    let by_function = fallback.with(|failed| failed);
    assert_eq!(allocations(by_function.layer(Answers), || 1), 0);
    assert_eq!(allocations(fallback.service(Answers).layer(Answers), || 1), 0);
    let operation = || ready(Ok::<_, Error<Infallible>>(1));
    assert_eq!(allocations_of(|| fallback.call(operation(), |_| operation())), 0);
}

#[test]
fn a_retry_that_is_not_needed_allocates_the_clone_of_the_request() {
    let registry = Registry::new();
    let retry = Retry::builder("r").registry(&registry).build().expect("valid");
    assert_eq!(allocations(retry.layer().layer(Answers), || 1), 0, "a number needs none");
    let operation = |_| ready(Ok::<_, Error<Infallible>>(1));
    assert_eq!(allocations_of(|| retry.call(operation)), 0);
}

fn request<B>(method: &str, body: B) -> Request<B> {
    let request = Request::builder().method(method).uri("/stock").header("x-own", "1");
    request.body(body).expect("a valid request")
}

#[test]
fn a_retry_of_http_allocates_the_clone_of_the_head_and_the_tape() {
    let registry = Registry::new();
    let retry = Retry::builder("r").registry(&registry).build().expect("valid");
    let http: RetryLayer<_, _, _> = retry.layer().respond_http();
    let head = request("GET", ()).into_parts().0;
    let clone = measure(|| drop(head.clone())).count_total;
    let full = || Full::new(Bytes::from_static(b"seven"));

    let get = || request("GET", Empty::<Bytes>::new());
    assert_eq!(allocations(http.layer(Answers), get), clone, "an empty body needs no tape");
    let put = || request("PUT", full());
    assert_eq!(allocations(http.layer(Answers), put), clone + 1, "the slot of the tape");
    let post = || request("POST", full());
    assert_eq!(allocations(http.layer(Answers), post), 0, "it may not be repeated");
}

#[test]
fn a_whole_stack_allocates_nothing() {
    let registry = Registry::new();
    let chaos = Chaos::builder("c").registry(&registry).build().expect("valid");
    let timeout = Timeout::builder("t").registry(&registry).build().expect("valid");
    let bulkhead = Bulkhead::builder("k").registry(&registry).build().expect("valid");
    let breaker = CircuitBreaker::builder("b").registry(&registry).build().expect("valid");
    let retry = Retry::builder("r").registry(&registry).build().expect("valid");
    let limit = RateLimit::builder("l").registry(&registry).limit(9).build().expect("valid");
    let stack = tower::ServiceBuilder::new()
        .layer(limit.layer())
        .layer(retry.layer())
        .layer(breaker.layer())
        .layer(bulkhead.layer())
        .layer(timeout.layer())
        .layer(chaos.layer())
        .service(Answers);
    assert_eq!(allocations(stack, || 1), 0);
}
