//! Every layer, and every pair of layers, keeps the Tower contract.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use octostack::Registry;
use octostack::core::inspect::{Metric, Mode, Sink};
use octostack::core::testing::{Exceptions, Probe, check, check_except, check_rejecting_except};
use octostack::flags::{Flags, FlagsLayer};
use octostack::resilience::deadline::DeadlineHeader;
use octostack::resilience::{
    Bulkhead, CatchPanic, Chaos, ChaosConfig, CircuitBreaker, Error, Fallback, KeyedRateLimit,
    LoadShed, RateLimit, Retry, Timeout, error,
};
use octostack::telemetry::http::{RedLayer, RequestIdLayer};
use octostack::telemetry::logs::RequestLogLayer;
use octostack::telemetry::metrics::Metrics;
use octostack::telemetry::trace::ClientTraceLayer;
use std::collections::BTreeMap;
use std::time::Duration;
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

/// What must be zero when nothing is in flight, and how many calls each policy saw the end of.
#[derive(Default)]
struct InFlight {
    held: Vec<String>,
    ended: BTreeMap<String, f64>,
}

impl Sink for InFlight {
    fn sample(&mut self, metric: &'static Metric, labels: &[(&'static str, &str)], value: f64) {
        let counts = ["octostack_bulkhead_in_flight", "octostack_bulkhead_queued"];
        if counts.contains(&metric.name) && value != 0.0 {
            self.held.push(format!("{} {labels:?} is {value}", metric.name));
        }
        if metric.name == "octostack_policy_outcomes_total" {
            *self.ended.entry(labels[0].1.to_owned()).or_default() += value;
        }
    }
}

/// Every breaker, timeout and retry judges every call: what reached the probe has its outcome.
fn at_rest(registry: &Registry, metrics: &Metrics, probe: &Inner) -> Result<(), String> {
    let mut seen = InFlight::default();
    registry.collect(&mut seen);
    let InFlight { mut held, mut ended } = seen;
    let calls = probe.calls();
    ended.retain(|_, ended| *ended < calls as f64);
    held.extend(ended.iter().map(|(policy, n)| format!("{policy} settled {n} of {calls} calls")));
    let page = metrics.encode();
    let active = page.lines().filter(|line| line.starts_with("http_server_active_requests{"));
    held.extend(active.filter(|line| !line.ends_with(" 0")).map(str::to_owned));
    if held.is_empty() { Ok(()) } else { Err(held.join(", ")) }
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
    (breaker_to_end, $registry:expr, $metrics:expr) => {
        layer!(breaker, $registry, $metrics).until_body_end()
    };
    (bulkhead_to_end, $registry:expr, $metrics:expr) => {
        layer!(bulkhead, $registry, $metrics).until_body_end()
    };
    (timeout_to_end, $registry:expr, $metrics:expr) => {
        layer!(timeout, $registry, $metrics).until_body_end()
    };
    (deadline, $registry:expr, $metrics:expr) => {
        layer!(timeout, $registry, $metrics).accept_deadline(DeadlineHeader::grpc())
    };
    (rate_limit, $registry:expr, $metrics:expr) => {
        RateLimit::builder("rate_limit").registry($registry).limit(9_999).build().unwrap().layer()
    };
    (keyed_rate_limit, $registry:expr, $metrics:expr) => {
        KeyedRateLimit::builder("keyed")
            .registry($registry)
            .limit(9_999)
            .build()
            .unwrap()
            .layer(|_: &Request<_>| Some("everybody"))
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
    (load_shed, $registry:expr, $metrics:expr) => {
        LoadShed::builder("load_shed").registry($registry).build().unwrap().layer()
    };
    (catch_panic, $registry:expr, $metrics:expr) => {
        CatchPanic::builder("catch_panic").registry($registry).build().unwrap().layer()
    };
    (fallback, $registry:expr, $metrics:expr) => {
        Fallback::builder("fallback").registry($registry).build().unwrap().with(|failed| failed)
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
    (client_trace, $registry:expr, $metrics:expr) => {
        ClientTraceLayer::new("inventory")
    };
    (flags, $registry:expr, $metrics:expr) => {
        FlagsLayer::new(&Flags::builder().registry($registry).build())
    };
}

/// What a stack with these layers does on purpose in place of a law.
fn exceptions(names: &[&str]) -> Exceptions {
    names.iter().fold(Exceptions::NONE, |all, name| match *name {
        "load_shed" | "closed_load_shed" => all.sheds(),
        "catch_panic" => all.catches_panics(),
        _ => all,
    })
}

/// One test for each layer, alone and around each of the others.
macro_rules! contract {
    ($($outer:ident)*) => { $(contract!(@around $outer: error breaker bulkhead rate_limit
        keyed_rate_limit timeout deadline chaos retry load_shed catch_panic fallback red
        request_log request_id flags client_trace breaker_to_end bulkhead_to_end timeout_to_end
    );)* };
    (@around $outer:ident: $($inner:ident)*) => {
        #[tokio::test]
        async fn $outer() {
            let (registry, metrics) = (Registry::new(), Metrics::new());
            let (layer, alone) = (layer!($outer, &registry, &metrics), probe());
            check_except(
                exceptions(&[stringify!($outer)]),
                stringify!($outer),
                &alone,
                |inner| layer.layer(inner),
                request,
                || at_rest(&registry, &metrics, &alone),
            );
            $({
                let (registry, metrics) = (Registry::new(), Metrics::new());
                let outer = layer!($outer, &registry, &metrics);
                let inner = layer!($inner, &registry, &metrics);
                let probe = probe();
                check_except(
                    exceptions(&[stringify!($outer), stringify!($inner)]),
                    concat!(stringify!($outer), " around ", stringify!($inner)),
                    &probe,
                    |service| outer.layer(inner.layer(service)),
                    request,
                    || at_rest(&registry, &metrics, &probe),
                );
            })*
            println!(
                concat!("contract: {}, alone and around ", $(stringify!($inner), " "),*),
                stringify!($outer)
            );
        }
    };
}

contract!(breaker bulkhead rate_limit keyed_rate_limit timeout deadline chaos retry load_shed
    catch_panic fallback red request_log request_id flags client_trace breaker_to_end
    bulkhead_to_end timeout_to_end);

/// One test for each layer that can refuse, while it does: around each of the others.
macro_rules! rejecting {
    ($($name:ident $layer:expr;)*) => { $(rejecting!(@around $name $layer, error breaker bulkhead
        rate_limit keyed_rate_limit timeout chaos retry load_shed catch_panic fallback red
        request_log request_id flags client_trace);)* };
    (@around $name:ident $layer:expr, $($inner:ident)*) => {
        #[tokio::test]
        async fn $name() {
            let layer = $layer;
            $({
                let (registry, metrics) = (Registry::new(), Metrics::new());
                let (inner, probe) = (layer!($inner, &registry, &metrics), probe());
                check_rejecting_except(
                    exceptions(&[stringify!($name), stringify!($inner)]),
                    concat!(stringify!($name), " around ", stringify!($inner)),
                    &probe,
                    |service| layer.layer(inner.layer(service)),
                    request,
                    || at_rest(&registry, &metrics, &probe),
                );
            })*
        }
    };
}

rejecting!(
    open_breaker {
        let breaker = CircuitBreaker::builder("open").registry(&Registry::new());
        breaker.mode(Mode::ForcedOpen).build().unwrap().layer()
    };
    full_bulkhead {
        let bulkhead = Bulkhead::builder("full").registry(&Registry::new());
        bulkhead.mode(Mode::ForcedOpen).build().unwrap().layer()
    };
    used_up_rate_limit {
        let limit = RateLimit::builder("used_up").registry(&Registry::new()).limit(1);
        let limit = limit.period(Duration::from_secs(3_600)).build().unwrap();
        limit.admit().unwrap();
        limit.layer()
    };
    used_up_keyed_rate_limit {
        let limit = KeyedRateLimit::builder("used_up").registry(&Registry::new()).limit(1);
        let limit = limit.period(Duration::from_secs(3_600)).build().unwrap();
        limit.admit("everybody").unwrap();
        limit.layer(|_: &Request<()>| Some("everybody"))
    };
    closed_load_shed {
        let shed = LoadShed::builder("closed").registry(&Registry::new());
        shed.mode(Mode::ForcedOpen).build().unwrap().layer()
    };
    failing_chaos {
        let settings = ChaosConfig { error_rate: 1.0, ..ChaosConfig::default() };
        let chaos = Chaos::builder("failing").registry(&Registry::new()).settings(settings);
        chaos.enabled(true).build().unwrap().layer()
    };
);

#[test]
fn error_layer() {
    let probe = Probe::new(|| Ok::<_, &str>(200)).with_broken(|| "broken");
    check("error", &probe, |inner| error::layer().layer(inner), || (), || Ok(()));
}
