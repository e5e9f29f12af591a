//! Chaos as a user meets it.
#![cfg(feature = "tokio")]
use octostack_core::inspect::overrides::Actor;
use octostack_core::inspect::{Metric, Mode, Patch, Registry, Sink};
use octostack_core::{Clock, SystemClock};
use octostack_resilience::{Chaos, ChaosConfig, Error, PolicyErrorKind};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tower::{Layer, Service, ServiceExt, service_fn};

const LATENCY: Duration = Duration::from_millis(250);

type Answer = Result<u32, Error<Infallible>>;

/// A service that counts its calls.
fn counting(
    calls: &Arc<AtomicU32>,
) -> impl Service<u32, Response = u32, Error = Error<Infallible>> + Clone {
    let calls = calls.clone();
    service_fn(move |n: u32| {
        calls.fetch_add(1, Ordering::Relaxed);
        async move { Ok(n) }
    })
}

fn chaos(registry: &Registry) -> octostack_resilience::chaos::ChaosBuilder {
    Chaos::builder("inventory.chaos").registry(registry).enabled(true)
}

#[derive(Default)]
struct Samples(Vec<(String, f64)>);

impl Sink for Samples {
    fn sample(&mut self, metric: &'static Metric, labels: &[(&'static str, &str)], value: f64) {
        let labels: Vec<_> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        self.0.push((format!("{}{{{}}}", metric.name, labels.join(",")), value));
    }
}

fn sample(registry: &Registry, line: &str) -> f64 {
    let mut samples = Samples::default();
    registry.collect(&mut samples);
    let found = samples.0.iter().find(|(name, _)| name == line);
    found.unwrap_or_else(|| panic!("no {line}: {:?}", samples.0)).1
}

#[tokio::test(start_paused = true)]
async fn does_nothing_unless_told() {
    let (registry, calls) = (Registry::new(), Arc::default());
    let chaos = Chaos::builder("c").registry(&registry).build().unwrap();
    let start = SystemClock.now();
    assert_eq!(chaos.layer().layer(counting(&calls)).oneshot(1).await, Ok(1));
    assert_eq!(SystemClock.now(), start);
    assert_eq!(registry.items()[0].abnormal(), None);
}

#[tokio::test(start_paused = true)]
async fn an_injected_error_comes_after_the_latency_and_instead_of_the_call() {
    let (registry, calls) = (Registry::new(), Arc::default());
    let chaos = chaos(&registry).error_rate(1.0).latency(LATENCY).build().unwrap();
    let start = SystemClock.now();
    let answer: Answer = chaos.layer().layer(counting(&calls)).oneshot(1).await;
    let Err(Error::Policy(error)) = answer else {
        panic!("not injected");
    };
    assert_eq!(error.kind, PolicyErrorKind::Injected);
    assert!(!error.is_rejection(), "breakers have to count it");
    assert_eq!(SystemClock.now() - start, LATENCY);
    assert_eq!(calls.load(Ordering::Relaxed), 0);

    let injected = |fault: &str| {
        let line =
            format!("octostack_chaos_injected_total{{policy=inventory.chaos,fault={fault}}}");
        sample(&registry, &line)
    };
    assert_eq!((injected("error"), injected("latency")), (1.0, 1.0));
    assert_eq!(
        registry.items()[0].abnormal().as_deref(),
        Some("injects errors into 100 % of calls and 250ms of latency into 100 % of calls")
    );
}

#[tokio::test(start_paused = true)]
async fn latency_comes_before_the_call() {
    let (registry, calls) = (Registry::new(), Arc::<AtomicU32>::default());
    let chaos = chaos(&registry).latency(LATENCY).build().unwrap();
    let service = chaos.layer().layer(counting(&calls));
    let mut call = tokio_task(service.oneshot(1));
    tokio::time::advance(Duration::from_millis(249)).await;
    assert!(call.poll().is_none());
    assert_eq!(calls.load(Ordering::Relaxed), 0);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(call.poll(), Some(Ok(1)));
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

/// Polls a future by hand.
fn tokio_task<F: Future>(future: F) -> Task<F> {
    let mut task = Task(Box::pin(future));
    assert!(task.poll().is_none());
    task
}

struct Task<F>(std::pin::Pin<Box<F>>);

impl<F: Future> Task<F> {
    fn poll(&mut self) -> Option<F::Output> {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        match self.0.as_mut().poll(&mut cx) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn guards_what_is_no_service() {
    let registry = Registry::new();
    let chaos = chaos(&registry).latency(LATENCY).build().unwrap();
    let start = SystemClock.now();
    assert_eq!(chaos.call(async { Ok::<_, &str>(3) }).await, Ok(3));
    assert_eq!(SystemClock.now() - start, LATENCY);

    chaos.reconfigure(ChaosConfig { error_rate: 1.0, ..ChaosConfig::default() }).unwrap();
    let ran = std::cell::Cell::new(false);
    let answer = chaos
        .call(async {
            ran.set(true);
            Ok::<u32, &str>(3)
        })
        .await;
    assert!(matches!(answer, Err(Error::Policy(_))));
    assert!(!ran.get());
    let fault = chaos.draw();
    assert_eq!(fault.latency, Duration::ZERO);
    assert_eq!(fault.error.map(|e| e.kind), Some(PolicyErrorKind::Injected));
}

#[test]
fn an_equal_seed_gives_equal_faults() {
    let registry = Registry::new();
    let run = |seed| -> Vec<bool> {
        let chaos = chaos(&registry).error_rate(0.5).seed(seed).build().unwrap();
        (0..200).map(|_| chaos.draw().error.is_some()).collect()
    };
    let first = run(7);
    assert_eq!(first, run(7));
    assert_ne!(first, run(8));
    let errors = first.iter().filter(|error| **error).count();
    assert!((70..=130).contains(&errors), "{errors} of 200 at a rate of a half");
}

#[test]
fn the_gate_refuses_settings_that_inject_and_every_override() {
    let registry = Registry::new();
    let closed = || Chaos::builder("c").registry(&registry);
    let error = closed().error_rate(0.1).latency(LATENCY).build().unwrap_err();
    let keys: Vec<_> = error.problems.iter().map(|p| p.key.as_str()).collect();
    assert_eq!(keys, ["settings.error_rate", "settings.latency"]);
    assert!(error.to_string().contains("set `chaos.enabled = true`"), "{error}");

    let chaos = closed().build().unwrap();
    let refused = chaos.reconfigure(ChaosConfig { error_rate: 0.1, ..ChaosConfig::default() });
    assert!(refused.is_err());
    let wish = Patch { mode: None, settings: vec![("error_rate".to_owned(), 0.0.into())] };
    let set = |wish: Patch| {
        let ttl = Duration::from_secs(30);
        registry.set_override("c", wish, ttl, &Actor::default(), SystemClock.now())
    };
    let refused = set(wish).unwrap_err().to_string();
    assert!(refused.contains("set `chaos.enabled = true`"), "{refused}");
    assert!(chaos.draw().error.is_none());
}

#[test]
fn an_override_injects_until_it_ends() {
    let registry = Registry::new();
    let chaos = chaos(&registry).build().unwrap();
    let wish = Patch {
        mode: None,
        settings: vec![("error_rate".to_owned(), 1.0.into()), ("latency".to_owned(), "0ms".into())],
    };
    let (ttl, actor) = (Duration::from_secs(30), Actor::default());
    registry.set_override("inventory.chaos", wish, ttl, &actor, SystemClock.now()).unwrap();
    assert!(chaos.draw().error.is_some());
    registry.end_override("inventory.chaos", &actor).unwrap();
    assert!(chaos.draw().error.is_none());
}

#[test]
fn refuses_what_makes_no_sense() {
    let registry = Registry::new();
    let error = chaos(&registry)
        .error_rate(1.5)
        .latency(Duration::from_secs(7_200))
        .latency_rate(-1.0)
        .mode(Mode::ForcedOpen)
        .build()
        .unwrap_err();
    assert_eq!(error.problems.len(), 4, "{error}");
}

#[test]
fn keeps_the_contract_of_tower() {
    use octostack_core::testing::{Probe, check};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _entered = runtime.enter();
    let registry = Registry::new();
    let idle = chaos(&registry).build().unwrap();
    let probe = Probe::new(|| Ok::<_, Error<&str>>(200)).with_broken(|| Error::Inner("broken"));
    check("chaos", &probe, |inner| idle.layer().layer(inner), || (), || Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_held_back_holds_no_slot() {
    use octostack_core::testing::Probe;
    let registry = Registry::new();
    let chaos = chaos(&registry).latency(LATENCY).build().unwrap();
    let probe = Probe::new(|| Ok::<_, Error<&str>>(200)).with_broken(|| Error::Inner("broken"));
    let mut service = chaos.layer().layer(probe.clone());
    let mut held = tokio_task(ServiceExt::<()>::ready(&mut service).await.unwrap().call(()));
    assert_eq!(probe.reserved(), 0, "the slot is free while the call waits");
    tokio::time::advance(LATENCY).await;
    assert_eq!(held.poll(), Some(Ok(200)));
    drop(tokio_task(ServiceExt::<()>::ready(&mut service).await.unwrap().call(())));
    assert_eq!(probe.reserved(), 0);
}
