//! Circuit breakers.
use crate::script::{
    Ask, Became, Broken, Fault, Guarded, Seen, Time, ask, backend, begin, fault, poll, sleep, valid,
};
use octostack_core::Registry;
use octostack_core::inspect::{Metric, Mode, Sink};
use octostack_core::testing::{Behaviour, Probe};
use octostack_resilience::breaker::CircuitBreakerBuilder;
use octostack_resilience::{CircuitBreaker, Error, Outcome, Window};
use std::pin::pin;
use std::time::Duration;
use tower::{Layer, Service, ServiceExt};
use tower_resilience::circuitbreaker::{
    CircuitBreakerConfigBuilder, CircuitBreakerLayer, DefaultClassifier, SlidingWindowType,
};

const PEER: &str = "tower-resilience";
/// How long both stay open, in milliseconds; a script waits ten times as long.
const OPEN: u64 = 5;
const LATER: u64 = 50;

pub(crate) fn faults() -> Vec<Fault> {
    let row = |name, expected| [name, PEER, expected];
    vec![
        fault(
            row("B1", "after 10,000 successes, an outage opens it within a window of 100 calls"),
            Time::Real,
            || slides(theirs(100).layer(backend::<Broken>())),
            || slides(ours(100).layer().layer(backend::<Error<Broken>>())),
        ),
        fault(
            row("B2", "a result from before the outage decides nothing while it is half-open"),
            Time::Real,
            || straggler(theirs(2).layer(backend::<Broken>())),
            || straggler(ours(2).layer().layer(backend::<Error<Broken>>())),
        ),
        fault(
            row("B3", "two trial calls that succeed close it, however far apart"),
            Time::Real,
            || {
                let builder = builder(2).sliding_window_type(SlidingWindowType::TimeBased);
                let builder = builder.sliding_window_duration(Duration::from_secs(1));
                apart(
                    valid(builder.permitted_calls_in_half_open(2).build())
                        .layer(backend::<Broken>()),
                )
            },
            || {
                let builder = our_builder(2).window(Window::time(Duration::from_secs(1)));
                apart(
                    valid(builder.half_open_calls(2).build())
                        .layer()
                        .layer(backend::<Error<Broken>>()),
                )
            },
        ),
        fault(
            row("B4", "a trial call that hangs does not keep others out for ever"),
            Time::Real,
            || hung(theirs(2).layer(backend::<Broken>())),
            || hung(ours(2).layer().layer(backend::<Error<Broken>>())),
        ),
        fault(
            row("B6", "the gauge of its state is 1 for one state"),
            Time::Real,
            their_gauge,
            our_gauge,
        ),
        fault(
            row("B7", "what an operator forces open stays open"),
            Time::Real,
            || async {
                let service = theirs(2).layer(backend::<Broken>());
                service.force_open().await;
                stays_open(service).await
            },
            || async {
                let breaker = ours(2);
                valid(breaker.set_mode(Mode::ForcedOpen));
                stays_open(breaker.layer().layer(backend::<Error<Broken>>())).await
            },
        ),
        fault(
            row("B8", "an error that says nothing about the service does not close it"),
            Time::Real,
            || {
                let layer = builder(2).failure_classifier(|result: &Result<(), Broken>| {
                    matches!(result, Err(Broken::Service))
                });
                blamed(valid(layer.build()).layer(backend::<Broken>()))
            },
            || {
                let layer =
                    ours(2).layer().classify(|result: &Result<(), Error<Broken>>| match result {
                        Ok(()) => Outcome::Success,
                        Err(Error::Inner(Broken::Caller)) => Outcome::Ignored,
                        Err(_) => Outcome::Failure,
                    });
                blamed(layer.layer(backend::<Error<Broken>>()))
            },
        ),
        fault(
            row("B20", "services of two calls of layer() share the state"),
            Time::Real,
            || async {
                let layer = theirs(2);
                shared(layer.layer(backend::<Broken>()), layer.layer(backend::<Broken>())).await
            },
            || async {
                let layer = ours(2).layer();
                shared(
                    layer.layer(backend::<Error<Broken>>()),
                    layer.layer(backend::<Error<Broken>>()),
                )
                .await
            },
        ),
        fault(
            row(
                "stale grant",
                "a clone made ready while it was open is not refused once it closed",
            ),
            Time::Real,
            || async {
                let mut service = theirs(2).layer(backend::<Broken>());
                service.force_open().await;
                valid(service.ready().await);
                service.force_closed().await;
                granted(service.call(Ask::Succeed).await.is_ok())
            },
            || async {
                let breaker = ours(2);
                let mut service = breaker.layer().layer(backend::<Error<Broken>>());
                valid(breaker.set_mode(Mode::ForcedOpen));
                valid(service.ready().await);
                valid(breaker.set_mode(Mode::Enforce));
                granted(service.call(Ask::Succeed).await.is_ok())
            },
        ),
        fault(
            row("readiness", "a service that fails whenever it is made ready opens it"),
            Time::Real,
            || {
                let probe = Probe::new(|| Ok::<_, Broken>(())).with_broken(|| Broken::Service);
                never_ready(theirs(2).layer(probe.clone()), probe)
            },
            || {
                let probe = Probe::new(|| Ok::<_, Error<Broken>>(()));
                let probe = probe.with_broken(|| Error::Inner(Broken::Service));
                never_ready(ours(2).layer().layer(probe.clone()), probe)
            },
        ),
        fault(
            row("clock", "time that a test has paused moves it"),
            Time::Paused,
            || half_open_later(theirs(2).layer(backend::<Broken>())),
            || half_open_later(ours(2).layer().layer(backend::<Error<Broken>>())),
        ),
    ]
}

fn builder(calls: u32) -> CircuitBreakerConfigBuilder<DefaultClassifier> {
    let builder = CircuitBreakerLayer::builder().name("faults").failure_rate_threshold(0.5);
    let builder = builder.sliding_window_size(calls as usize);
    let builder = builder.minimum_number_of_calls(calls as usize);
    builder.permitted_calls_in_half_open(1).wait_duration_in_open(Duration::from_millis(OPEN))
}

fn theirs(calls: u32) -> CircuitBreakerLayer<DefaultClassifier> {
    valid(builder(calls).build())
}

fn our_builder(calls: u32) -> CircuitBreakerBuilder {
    let builder = CircuitBreaker::builder("faults").registry(&Registry::new()).failure_rate(0.5);
    let builder = builder.window(Window::calls(calls)).minimum_calls(calls);
    let builder = builder.open_for(Duration::from_millis(OPEN)).half_open_calls(1);
    builder.half_open_timeout(Duration::from_millis(20 * LATER))
}

fn ours(calls: u32) -> CircuitBreaker {
    valid(our_builder(calls).build())
}

async fn trip<S: Guarded<Ask>>(service: &S) {
    for _ in 0..2 {
        ask(service, Ask::Fail).await;
    }
}

async fn slides<S: Guarded<Ask>>(service: S) -> Seen {
    for _ in 0..10_000 {
        ask(&service, Ask::Succeed).await;
    }
    let mut failures = 0;
    while failures < 20_000 && ask(&service, Ask::Fail).await != Became::Refused {
        failures += 1;
    }
    Seen::new(failures <= 100, format!("opened after {failures} failures"))
}

async fn straggler<S: Guarded<Ask>>(service: S) -> Seen {
    let old = begin(&service, Ask::Wait(2 * LATER)).await;
    trip(&service).await;
    sleep(LATER).await;
    let trial = begin(&service, Ask::Wait(1_000 * LATER)).await;
    drop(old.await);
    let next = ask(&service, Ask::Succeed).await;
    drop(trial);
    let right = next == Became::Refused;
    Seen::new(
        right,
        if right { "waits for the trial call" } else { "closed before the trial ended" },
    )
}

async fn apart<S: Guarded<Ask>>(service: S) -> Seen {
    trip(&service).await;
    sleep(LATER).await;
    ask(&service, Ask::Succeed).await;
    sleep(1_200).await;
    ask(&service, Ask::Succeed).await;
    let mut refused = 0;
    for _ in 0..20 {
        refused += u32::from(ask(&service, Ask::Succeed).await == Became::Refused);
    }
    Seen::new(refused == 0, format!("{refused} of the next 20 calls refused"))
}

async fn hung<S: Guarded<Ask>>(service: S) -> Seen {
    trip(&service).await;
    sleep(LATER).await;
    let trial = begin(&service, Ask::Wait(1_000 * LATER)).await;
    sleep(30 * LATER).await;
    let next = ask(&service, Ask::Succeed).await;
    drop(trial);
    Seen::new(next == Became::Answered, format!("1.5 s later the next call was {next:?}"))
}

async fn stays_open<S: Guarded<Ask>>(service: S) -> Seen {
    sleep(LATER).await;
    let next = ask(&service, Ask::Succeed).await;
    Seen::new(next == Became::Refused, format!("after the wait a call was {next:?}"))
}

async fn blamed<S: Guarded<Ask>>(service: S) -> Seen {
    trip(&service).await;
    sleep(LATER).await;
    ask(&service, Ask::Blame).await;
    let trial = begin(&service, Ask::Wait(1_000 * LATER)).await;
    let next = ask(&service, Ask::Succeed).await;
    drop(trial);
    let right = next == Became::Refused;
    Seen::new(right, if right { "still half-open" } else { "closed" })
}

async fn shared<S: Guarded<Ask>>(one: S, other: S) -> Seen {
    trip(&one).await;
    let next = ask(&other, Ask::Succeed).await;
    Seen::new(next == Became::Refused, format!("the other's next call was {next:?}"))
}

fn granted(answered: bool) -> Seen {
    Seen::new(answered, if answered { "answered" } else { "refused by a closed breaker" })
}

async fn never_ready<S: Guarded<()>, E>(service: S, probe: Probe<(), E>) -> Seen {
    probe.behave(Behaviour::Broken);
    for _ in 0..100 {
        assert!(service.clone().ready().await.is_err(), "the probe is broken");
    }
    probe.behave(Behaviour::Answer);
    let next = ask(&service, ()).await;
    Seen::new(next == Became::Refused, format!("after 100 such failures a call was {next:?}"))
}

async fn half_open_later<S: Guarded<Ask>>(service: S) -> Seen {
    trip(&service).await;
    sleep(3_600_000).await;
    let next = ask(&service, Ask::Succeed).await;
    Seen::new(next == Became::Answered, format!("an hour later a call was {next:?}"))
}

/// Through open and half-open to closed again.
async fn their_gauge() -> Seen {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let service = theirs(2).layer(backend::<Broken>());
    let within = |request| {
        metrics::with_local_recorder(&recorder, || {
            assert!(poll(&mut pin!(ask(&service, request))).is_ready(), "answers at once");
        });
    };
    within(Ask::Fail);
    within(Ask::Fail);
    sleep(LATER).await;
    within(Ask::Succeed);
    let page = recorder.handle().render();
    let states = page.lines().filter(|line| line.starts_with("circuitbreaker_state{"));
    let states = states.filter(|line| line.ends_with(" 1")).count();
    Seen::new(states == 1, format!("{states} of 3 are 1"))
}

async fn our_gauge() -> Seen {
    struct States(usize);
    impl Sink for States {
        fn sample(&mut self, metric: &'static Metric, _: &[(&'static str, &str)], value: f64) {
            let state = metric.name == "octostack_circuit_breaker_state";
            self.0 += usize::from(state && value > 0.0);
        }
    }
    let registry = Registry::new();
    let breaker = valid(our_builder(2).registry(&registry).build());
    let service = breaker.layer().layer(backend::<Error<Broken>>());
    trip(&service).await;
    sleep(LATER).await;
    ask(&service, Ask::Succeed).await;
    let mut states = States(0);
    registry.collect(&mut states);
    Seen::new(states.0 == 1, format!("{} of 3 are 1", states.0))
}
