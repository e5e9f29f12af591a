//! The paths that are counted: those of `benches/peers`, as the facade uses them.
use crate::args::Run;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use octostack_core::Registry;
use octostack_core::requests::Requests;
use octostack_flags::{Context, Flags, flags};
use octostack_resilience::error::BoxError;
use octostack_resilience::{Bulkhead, Chaos, CircuitBreaker, Retry, Timeout, Window};
use octostack_telemetry::http::observe::ObserveLayer;
use octostack_telemetry::http::route::FixedRoute;
use octostack_telemetry::http::{RedLayer, Tracked};
use octostack_telemetry::metrics::Metrics;
use std::convert::Infallible;
use std::fmt::Display;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::task::{self, Poll, Waker};
use std::time::Duration;
use tower_layer::Layer;
use tower_service::Service;

/// Makes one call.
type Caller = Box<dyn FnMut()>;

/// A name, and what makes its caller.
type Scenario = (&'static str, fn() -> Caller);

pub(crate) const SCENARIOS: [Scenario; 5] = [
    ("breaker/closed", breaker_closed),
    ("flag/static", flag_static),
    ("red/http-server", red_http_server),
    ("red/in-flight", red_in_flight),
    ("stack/outbound", stack_outbound),
];

/// Makes the calls.
pub(crate) fn run(run: &Run) -> Result<(), String> {
    let found = SCENARIOS.iter().find(|(name, _)| *name == run.scenario);
    let Some((_, make)) = found else {
        let known = SCENARIOS.map(|(name, _)| name).join(", ");
        return Err(format!("there is no scenario {:?}; there are {known}", run.scenario));
    };
    let mut call = make();
    for _ in 0..run.calls {
        call();
        if run.planted {
            drop(black_box(Box::new(run.calls)));
        }
    }
    Ok(())
}

/// Answers at once: with the number that was asked, or with a body of one frame.
#[derive(Clone)]
struct Answers;

impl Service<u64> for Answers {
    type Response = u64;
    type Error = BoxError;
    type Future = Ready<Result<u64, BoxError>>;

    #[inline]
    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    /// Stays a call: no real service dissolves in the layer around it.
    #[inline(never)]
    fn call(&mut self, request: u64) -> Self::Future {
        ready(Ok(request))
    }
}

impl Service<Request<()>> for Answers {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    #[inline]
    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    /// Stays a call, as above.
    #[inline(never)]
    fn call(&mut self, _: Request<()>) -> Self::Future {
        ready(Ok(Response::new(Full::new(Bytes::from_static(b"an order")))))
    }
}

/// A successful call through a breaker that judges by the last 100 calls.
fn breaker_closed() -> Caller {
    let breaker = CircuitBreaker::builder("inventory").window(Window::calls(100));
    calls_of(valid(breaker.registry(&Registry::new()).build()).leak().layer().layer(Answers))
}

/// A successful call through all policies of the standard outbound stack, with their defaults.
fn stack_outbound() -> Caller {
    let registry = Registry::new();
    let deadline = Timeout::builder("deadline").timeout(Duration::from_secs(30));
    let layers = (
        valid(deadline.registry(&registry).build()).leak().layer(),
        valid(Retry::builder("retry").registry(&registry).build()).leak().layer(),
        valid(CircuitBreaker::builder("breaker").registry(&registry).build()).leak().layer(),
        valid(Bulkhead::builder("bulkhead").registry(&registry).build()).leak().layer(),
        valid(Timeout::builder("timeout").registry(&registry).build()).leak().layer(),
        valid(Chaos::builder("chaos").registry(&registry).build()).leak().layer(),
    );
    calls_of(layers.layer(Answers))
}

/// A request for `/`, and its response to the end of the body.
fn red_http_server() -> Caller {
    let metrics = Metrics::builder().registry(&Registry::new()).build();
    let layer = valid(RedLayer::new(&metrics)).leak().route_from(FixedRoute("/"));
    let mut service = layer.layer(Answers);
    Box::new(move || {
        let mut cx = task::Context::from_waker(Waker::noop());
        let response = answer(black_box(&mut service), Request::new(()), &mut cx);
        let mut body = pin!(response.into_body());
        while let Some(frame) = done(body.as_mut().poll_frame(&mut cx)) {
            black_box(valid(frame));
        }
    })
}

/// The same, and the request is in the table of those in flight meanwhile. Written out, so that the
/// compiler treats both alike.
fn red_in_flight() -> Caller {
    let metrics = Metrics::builder().registry(&Registry::new()).build();
    let red = valid(RedLayer::new(&metrics)).leak().route_from(FixedRoute("/"));
    let layer = ObserveLayer::new(Tracked::new(red, &Requests::new()).leak());
    let mut service = layer.layer(Answers);
    Box::new(move || {
        let mut cx = task::Context::from_waker(Waker::noop());
        let response = answer(black_box(&mut service), Request::new(()), &mut cx);
        let mut body = pin!(response.into_body());
        while let Some(frame) = done(body.as_mut().poll_frame(&mut cx)) {
            black_box(valid(frame));
        }
    })
}

flags! {
    /// On for everybody.
    SHOWN: bool = false, kind = ops, owner = "benches";
}

/// A request that pins its flags and reads one without a rule.
fn flag_static() -> Caller {
    let flags = Flags::builder().registry(&Registry::new()).build();
    let file = br#"{"flags": {"shown": {
        "state": "ENABLED", "variants": {"on": true}, "defaultVariant": "on"}}}"#;
    valid(flags.load(file, "flags.json"));
    Box::new(move || {
        let is_on = black_box(&flags).pin(Context::new()).scope(|| black_box(&SHOWN).is_on());
        assert!(black_box(is_on));
    })
}

fn calls_of<S>(mut service: S) -> Caller
where
    S: Service<u64, Response = u64, Error: Display> + 'static,
{
    Box::new(move || {
        let mut cx = task::Context::from_waker(Waker::noop());
        black_box(answer(black_box(&mut service), black_box(7), &mut cx));
    })
}

#[inline]
fn answer<S, Req>(service: &mut S, request: Req, cx: &mut task::Context<'_>) -> S::Response
where
    S: Service<Req, Error: Display>,
{
    valid(done(service.poll_ready(cx)));
    valid(done(pin!(service.call(request)).poll(cx)))
}

/// What needs nothing to wait for.
#[inline]
fn done<T>(poll: Poll<T>) -> T {
    let Poll::Ready(output) = poll else { unreachable!("nothing here waits") };
    output
}

/// What cannot fail: settings that are constants, services that answer.
#[inline]
fn valid<T, E: Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| unreachable!("it has failed: {error}"))
}
