//! Every layer, and every pair of layers, keeps the Tower contract.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use octostack::Registry;
use octostack::core::inspect::{Metric, Sink};
use octostack::core::testing::{Probe, check};
use octostack::resilience::{Bulkhead, Chaos, CircuitBreaker, Error, Retry, Timeout, error};
use octostack::telemetry::http::{RedLayer, RequestIdLayer};
use octostack::telemetry::logs::RequestLogLayer;
use octostack::telemetry::metrics::Metrics;
use tower_layer::Layer as _;

type Failure = Error<&'static str>;
type Inner = Probe<Response<Full<Bytes>>, Failure>;

fn probe() -> Inner {
    Probe::new(|| Ok(Response::new(Full::from("fine"))))
        .with_broken(|| Error::Inner("the probe is broken"))
}

fn request() -> Request<()> {
    Request::new(())
}

/// What must be zero when nothing is in flight.
#[derive(Default)]
struct InFlight(Vec<String>);

impl Sink for InFlight {
    fn sample(&mut self, metric: &'static Metric, labels: &[(&'static str, &str)], value: f64) {
        let counts = ["octostack_bulkhead_in_flight", "octostack_bulkhead_queued"];
        if counts.contains(&metric.name) && value != 0.0 {
            self.0.push(format!("{} {labels:?} is {value}", metric.name));
        }
    }
}

fn at_rest(registry: &Registry, metrics: &Metrics) -> Result<(), String> {
    let mut held = InFlight::default();
    registry.collect(&mut held);
    let page = metrics.encode();
    let active = page.lines().filter(|line| line.starts_with("http_server_active_requests{"));
    held.0.extend(active.filter(|line| !line.ends_with(" 0")).map(str::to_owned));
    if held.0.is_empty() { Ok(()) } else { Err(held.0.join(", ")) }
}

/// A layer by its name, registered in `$registry`.
macro_rules! layer {
    (error, $registry:expr, $metrics:expr) => {
        error::layer()
    };
    (breaker, $registry:expr, $metrics:expr) => {
        CircuitBreaker::builder("breaker").registry($registry).build().unwrap().layer()
    };
    (bulkhead, $registry:expr, $metrics:expr) => {
        Bulkhead::builder("bulkhead").registry($registry).build().unwrap().layer()
    };
    (timeout, $registry:expr, $metrics:expr) => {
        Timeout::builder("timeout").registry($registry).build().unwrap().layer()
    };
    (chaos, $registry:expr, $metrics:expr) => {
        Chaos::builder("chaos").registry($registry).build().unwrap().layer()
    };
    (retry, $registry:expr, $metrics:expr) => {
        Retry::builder("retry").registry($registry).build().unwrap().layer()
    };
    (red, $registry:expr, $metrics:expr) => {
        RedLayer::new($metrics).unwrap()
    };
    (request_log, $registry:expr, $metrics:expr) => {
        RequestLogLayer::new()
    };
    (request_id, $registry:expr, $metrics:expr) => {
        RequestIdLayer::new()
    };
}

/// One test for each layer, alone and around each of the others.
macro_rules! contract {
    ($($outer:ident)*) => { $(contract!(@around $outer: error breaker bulkhead timeout chaos retry
        red request_log request_id);)* };
    (@around $outer:ident: $($inner:ident)*) => {
        #[tokio::test]
        async fn $outer() {
            let (registry, metrics) = (Registry::new(), Metrics::new());
            let layer = layer!($outer, &registry, &metrics);
            check(
                stringify!($outer),
                &probe(),
                |inner| layer.layer(inner),
                request,
                || at_rest(&registry, &metrics),
            );
            $({
                let (registry, metrics) = (Registry::new(), Metrics::new());
                let outer = layer!($outer, &registry, &metrics);
                let inner = layer!($inner, &registry, &metrics);
                check(
                    concat!(stringify!($outer), " around ", stringify!($inner)),
                    &probe(),
                    |service| outer.layer(inner.layer(service)),
                    request,
                    || at_rest(&registry, &metrics),
                );
            })*
        }
    };
}

contract!(breaker bulkhead timeout chaos retry red request_log request_id);

#[test]
fn error_layer() {
    let probe = Probe::new(|| Ok::<_, &str>(200)).with_broken(|| "broken");
    check("error", &probe, |inner| error::layer().layer(inner), || (), || Ok(()));
}
