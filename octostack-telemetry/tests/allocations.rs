//! What the RED layer allocates: nothing, once a route has answered with a status before.
#![cfg(feature = "axum")]
#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use octostack_core::Registry;
use octostack_core::requests::Requests;
use octostack_telemetry::http::observe::ObserveLayer;
use octostack_telemetry::http::route::{AxumRoute, FixedRoute};
use octostack_telemetry::http::{RedLayer, Tracked};
use octostack_telemetry::metrics::Metrics;
use std::convert::Infallible;
use std::fmt::Debug;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use tower::layer::util::Identity;
use tower::{Layer, Service, ServiceBuilder, service_fn};

fn red() -> RedLayer {
    RedLayer::new(&Metrics::builder().registry(&Registry::new()).build()).unwrap()
}

/// Allocations of one request whose body is read to its end, after some to warm up.
fn allocations<S, Req, Res>(mut service: S, request: impl Fn() -> Request<Req>) -> u64
where
    S: Service<Request<Req>, Response = Response<Res>, Error: Debug>,
    Res: Body<Error: Debug>,
{
    let mut call = |request| {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(service.poll_ready(&mut cx).is_ready());
        let Poll::Ready(response) = pin!(service.call(request)).poll(&mut cx) else {
            panic!("waits for something");
        };
        let mut body = pin!(response.unwrap().into_body());
        while let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(&mut cx) {
            frame.unwrap();
        }
    };
    for _ in 0..3 {
        call(request());
    }
    let request = request();
    allocation_counter::measure(|| call(request)).count_total
}

fn plain() -> impl Service<
    Request<()>,
    Response = Response<Full<Bytes>>,
    Error = Infallible,
    Future: Future<Output = Result<Response<Full<Bytes>>, Infallible>>,
> {
    service_fn(|_| async { Ok(Response::new(Full::new(Bytes::from_static(b"hello")))) })
}

#[test]
fn nothing_on_a_plain_service() {
    let bare = allocations(plain(), || Request::new(()));
    assert_eq!(bare, 0, "the measure itself");
    let shared = red().route_from(FixedRoute("/price"));
    assert_eq!(allocations(shared.layer(plain()), || Request::new(())), 0);
    let leaked = red().leak().route_from(FixedRoute("/price"));
    assert_eq!(allocations(leaked.layer(plain()), || Request::new(())), 0);
}

#[test]
fn nothing_for_the_table_of_requests_in_flight() {
    let requests = Requests::new();
    let shared = Tracked::new(red().route_from(FixedRoute("/price")), &requests);
    let shared = ObserveLayer::new(shared).layer(plain());
    assert_eq!(allocations(shared, || Request::new(())), 0);
    let leaked = Tracked::new(red().leak().route_from(FixedRoute("/price")), &requests).leak();
    let layer = ObserveLayer::new(leaked);
    assert_eq!(allocations(layer.layer(plain()), || Request::new(())), 0);

    let mut waiting = layer
        .layer(service_fn(|_| std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>()));
    drop(waiting.call(Request::new(()))); // its series is new
    let before = requests.count();
    let mut many = (0..1000).map(|_| waiting.call(Request::new(()))).collect::<Vec<_>>();
    assert_eq!(requests.count(), before + 1000);
    assert_eq!(allocation_counter::measure(|| many.clear()).count_total, 0);
    // The table has grown, and keeps that.
    let again = allocation_counter::measure(|| {
        many.extend((0..1000).map(|_| waiting.call(Request::new(()))));
    });
    assert_eq!((again.count_total, requests.count()), (0, before + 1000));
}

#[test]
fn around_a_router_only_the_box_of_the_body() {
    let router = || Router::new().route("/orders/{id}", get(|| async { "an order" }));
    let request = || Request::get("/orders/1").body(axum::body::Body::empty()).unwrap();
    // With its state a router is made ready once; without, as part of each request.
    let identity = router().layer(Identity::new()).with_state(());
    let red = router().layer(red().route_from(AxumRoute)).with_state(());
    let (identity, red) = (allocations(identity, request), allocations(red, request));
    assert!(red <= identity + 1, "{red} allocations, {identity} without");
}

#[test]
fn a_cancelled_request_allocates_nothing_either() {
    let waiting = |_: Request<()>| std::future::pending::<Result<Response<Full<Bytes>>, ()>>();
    let mut service = ServiceBuilder::new().layer(red()).service_fn(waiting);
    let mut cancel = || drop(service.call(Request::new(())));
    cancel();
    assert_eq!(allocation_counter::measure(cancel).count_total, 0);
}
