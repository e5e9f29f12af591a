//! Bulkheads, rate limits and timeouts.
use crate::script::{
    Ask, Became, Broken, Fault, Guarded, Seen, Time, ask, backend, begin, fault, poll, valid,
};
use octostack_core::Registry;
use octostack_core::testing::{Behaviour, Probe};
use octostack_resilience::{Bulkhead, Error, RateLimit, Timeout};
use std::fmt::Debug;
use std::pin::pin;
use std::time::Duration;
use tower::limit::ConcurrencyLimitLayer;
use tower::{Layer, Service, ServiceExt};
use tower_resilience::bulkhead::BulkheadLayer;
use tower_resilience::ratelimiter::RateLimiterLayer;
use tower_resilience::timelimiter::TimeLimiterLayer;

const PEER: &str = "tower-resilience";
const SECONDS: Duration = Duration::from_secs(10);
const HOUR: Duration = Duration::from_secs(3_600);

type Ours = Error<Broken>;

pub(crate) fn faults() -> Vec<Fault> {
    let row = |name, expected| [name, PEER, expected];
    vec![
        fault(
            row("B18", "a panic of the service is no timeout"),
            Time::Paused,
            || {
                let builder = TimeLimiterLayer::builder().timeout_duration(SECONDS);
                let layer = builder.cancel_running_future(false).build();
                let probe = Probe::new(|| Ok::<_, Broken>(()));
                panics(layer.layer(probe.clone()), probe)
            },
            || {
                let builder = Timeout::builder("faults").registry(&Registry::new());
                let layer = valid(builder.timeout(SECONDS).build()).layer();
                let probe = Probe::new(|| Ok::<_, Ours>(()));
                panics(layer.layer(probe.clone()), probe)
            },
        ),
        fault(
            row("B19", "a call that is cancelled leaves the gauge of concurrent calls at 0"),
            Time::Paused,
            their_gauge,
            || async {
                let bulkhead = ours(0);
                drop(begin(&bulkhead.layer().layer(backend::<Ours>()), Ask::Wait(1_000)).await);
                let left = bulkhead.in_flight();
                Seen::new(left == 0, format!("{left}"))
            },
        ),
        fault(
            row("queue", "a call that queues does not keep the inner service reserved"),
            Time::Paused,
            || {
                let probe = Probe::new(|| Ok::<_, Broken>(()));
                queued(theirs().layer(probe.clone()), probe)
            },
            || {
                let probe = Probe::new(|| Ok::<_, Ours>(()));
                queued(ours(10).layer().layer(probe.clone()), probe)
            },
        ),
        fault(
            row("over the limit", "who is over the rate does not keep the inner service reserved"),
            Time::Paused,
            || {
                let probe = Probe::new(|| Ok::<_, Broken>(()));
                over(their_rate().layer(probe.clone()), probe)
            },
            || {
                let probe = Probe::new(|| Ok::<_, Ours>(()));
                over(our_rate().layer().layer(probe.clone()), probe)
            },
        ),
        fault(
            row("token", "a clone that is made ready and never called uses up no token"),
            Time::Paused,
            || unused(their_rate().layer(backend::<Broken>())),
            || unused(our_rate().layer().layer(backend::<Ours>())),
        ),
        fault(
            ["place", "tower", "a clone that is made ready and not called takes no place"],
            Time::Paused,
            || idle(ConcurrencyLimitLayer::new(1).layer(backend::<Ours>())),
            || idle(ours(0).layer().layer(backend::<Ours>())),
        ),
    ]
}

fn theirs() -> BulkheadLayer {
    let builder = BulkheadLayer::builder().name("faults").max_concurrent_calls(1);
    valid(builder.max_wait_duration(SECONDS).build())
}

fn ours(queue: u32) -> Bulkhead {
    let builder = Bulkhead::builder("faults").registry(&Registry::new()).max_concurrent(1);
    let wait = if queue == 0 { Duration::ZERO } else { SECONDS };
    valid(builder.max_queue(queue).max_wait(wait).build())
}

fn their_rate() -> RateLimiterLayer {
    let builder = RateLimiterLayer::builder().name("faults").limit_for_period(1);
    valid(builder.refresh_period(HOUR).backpressure().build())
}

fn our_rate() -> RateLimit {
    let builder = RateLimit::builder("faults").registry(&Registry::new());
    valid(builder.limit(1).period(HOUR).burst(1).build())
}

async fn panics<S, E>(mut service: S, probe: Probe<(), E>) -> Seen
where
    S: Service<(), Response = (), Error: Debug + Send + 'static, Future: Send + 'static>,
{
    let ready = service.ready().await;
    let call = ready.unwrap_or_else(|error| panic!("not ready: {error:?}")).call(());
    probe.behave(Behaviour::PanicInFuture);
    match tokio::spawn(call).await {
        Err(joined) if joined.is_panic() => Seen::new(true, "the panic reached the caller"),
        other => Seen::new(false, format!("{other:?}")),
    }
}

async fn their_gauge() -> Seen {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let service =
        valid(BulkheadLayer::builder().max_concurrent_calls(1).build()).layer(backend::<Broken>());
    metrics::with_local_recorder(&recorder, || {
        let begun = poll(&mut pin!(begin(&service, Ask::Wait(1_000))));
        assert!(begun.is_ready(), "its inner future waits, not its begin");
        drop(begun);
    });
    let page = recorder.handle().render();
    let gauge = page.lines().find(|line| line.starts_with("bulkhead_concurrent_calls{"));
    let left = gauge.and_then(|line| line.rsplit(' ').next()).unwrap_or("no gauge");
    Seen::new(left == "0", left)
}

async fn queued<S: Guarded<()>, E>(service: S, probe: Probe<(), E>) -> Seen {
    probe.behave(Behaviour::Hang);
    let running = begin(&service, ()).await;
    let waiting = begin(&service, ()).await;
    let held = probe.reserved();
    drop((running, waiting));
    Seen::new(held == 0, format!("{held} reserved"))
}

async fn over<S: Guarded<()>, E>(service: S, probe: Probe<(), E>) -> Seen {
    assert_eq!(ask(&service, ()).await, Became::Answered);
    let mut next = Box::pin(ask(&service, ()));
    let outcome = poll(&mut next);
    let held = probe.reserved();
    Seen::new(held == 0, format!("{held} reserved, the call is {outcome:?}"))
}

async fn unused<S: Guarded<Ask>>(service: S) -> Seen {
    let mut idle = service.clone();
    assert!(idle.ready().await.is_ok(), "the first is within the limit");
    drop(idle);
    let next = poll(&mut Box::pin(ask(&service, Ask::Succeed)));
    Seen::new(next == std::task::Poll::Ready(Became::Answered), format!("the next is {next:?}"))
}

async fn idle<S: Guarded<Ask>>(service: S) -> Seen {
    let mut idle = service.clone();
    assert!(idle.ready().await.is_ok(), "the first has the place");
    let next = poll(&mut Box::pin(ask(&service, Ask::Succeed)));
    Seen::new(next == std::task::Poll::Ready(Became::Answered), format!("the next is {next:?}"))
}
