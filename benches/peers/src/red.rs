//! Metrics of HTTP servers: rate, errors and duration.
use crate::drive::{Scenario, Subject};
use axum::Router;
use axum::routing::get;
use axum_prometheus::metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use axum_prometheus::utils::SECONDS_DURATION_BUCKETS;
use axum_prometheus::{AXUM_HTTP_REQUESTS_DURATION_SECONDS, BaseMetricLayer};
use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::Body;
use http_body_util::Full;
use octostack_core::Registry;
use octostack_telemetry::http::RedLayer;
use octostack_telemetry::http::route::{AxumRoute, FixedRoute};
use octostack_telemetry::metrics::Metrics;
use std::convert::Infallible;
use std::fmt::Debug;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use tower::layer::util::Identity;
use tower::{Layer, Service};

const ANSWER: &str = "an order";

/// Answers at once, with a body of one frame.
#[derive(Clone)]
struct Plain;

impl Service<Request<()>> for Plain {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    /// Stays a call: no real service dissolves in the layer around it.
    #[inline(never)]
    fn call(&mut self, _: Request<()>) -> Self::Future {
        ready(Ok(Response::new(Full::new(Bytes::from_static(ANSWER.as_bytes())))))
    }
}

/// A request for `/` to a service without a router, and its response to the end of the body.
pub(crate) fn http_server() -> Scenario {
    let subjects = || {
        let route = FixedRoute("/");
        let request = || Request::new(());
        vec![
            subject("baseline", Plain, request),
            subject("octostack", octostack().route_from(route).layer(Plain), request),
            subject("octostack-leaked", octostack().leak().route_from(route).layer(Plain), request),
            subject("axum-prometheus", axum_prometheus().layer(Plain), request),
        ]
    };
    Scenario { name: "red/http-server", subjects, between_rounds: forget_samples }
}

/// The same through an axum router of one route. The identity layer shows what axum itself takes
/// for a layer, whatever it does.
pub(crate) fn axum_route() -> Scenario {
    Scenario { name: "red/axum-route", subjects: around_a_route, between_rounds: forget_samples }
}

fn around_a_route() -> Vec<Subject> {
    let router = || Router::new().route("/orders/{id}", get(|| async { ANSWER }));
    let uri = Uri::from_static("/orders/42");
    let request = move || {
        let mut request = Request::new(axum::body::Body::empty());
        *request.uri_mut() = uri.clone();
        request
    };
    let subject = |name, router: Router| subject(name, router.with_state(()), request.clone());
    let red = || octostack().route_from(AxumRoute);
    // With its state a router is made ready once; without, as part of each request.
    vec![
        subject("baseline", router()),
        subject("identity", router().layer(Identity::new())),
        subject("octostack", router().layer(red())),
        subject("octostack-leaked", router().layer(red().leak())),
        subject("axum-prometheus", router().layer(axum_prometheus())),
    ]
}

fn subject<S, Req, Res>(
    name: &'static str,
    service: S,
    request: impl Fn() -> Request<Req> + Clone + Sync + 'static,
) -> Subject
where
    S: Service<Request<Req>, Response = Response<Res>, Error: Debug> + Clone + Sync + 'static,
    Res: Body<Error: Debug> + 'static,
{
    Subject::new(name, service, request, read_to_end)
}

fn read_to_end<B: Body<Error: Debug>>(response: Response<B>, cx: &mut Context<'_>) {
    let mut body = pin!(response.into_body());
    loop {
        match body.as_mut().poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => drop(black_box(frame)),
            Poll::Ready(None) => return,
            Poll::Ready(Some(Err(error))) => panic!("a body has failed: {error:?}"),
            Poll::Pending => panic!("a body waits that has all it needs"),
        }
    }
}

fn octostack() -> RedLayer {
    let metrics = Metrics::builder().registry(&Registry::new()).build();
    RedLayer::new(&metrics).unwrap_or_else(|error| panic!("the registry is new: {error}"))
}

/// As its documentation says for those that make the exporter themselves; with the buckets that it
/// has by itself.
fn axum_prometheus() -> BaseMetricLayer<'static> {
    exporter();
    BaseMetricLayer::new()
}

/// The exporter behind axum-prometheus. It can be installed once in a process.
fn exporter() -> &'static PrometheusHandle {
    static EXPORTER: OnceLock<PrometheusHandle> = OnceLock::new();
    EXPORTER.get_or_init(|| {
        let duration = Matcher::Full(AXUM_HTTP_REQUESTS_DURATION_SECONDS.to_owned());
        PrometheusBuilder::new()
            .set_buckets_for_metric(duration, SECONDS_DURATION_BUCKETS)
            .and_then(PrometheusBuilder::install_recorder)
            .unwrap_or_else(|error| panic!("no other exporter is installed: {error}"))
    })
}

/// The exporter keeps each sample until somebody scrapes or until its upkeep. A service does that
/// every few seconds; here it happens outside of the time, which favours it.
fn forget_samples() {
    exporter().run_upkeep();
}
