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

type Target = octostack_resilience::chaos::ChaosBuilder;

/// What an operator changes, as `PUT` does it.
fn put(
    registry: &Registry,
    name: &str,
    mode: Option<Mode>,
    settings: &[(&str, octostack_core::inspect::Value)],
) -> Result<(), String> {
    let settings = settings.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
    let (ttl, actor) = (Duration::from_secs(30), Actor::default());
    registry
        .set_override(name, Patch { mode, settings }, ttl, &actor, SystemClock.now())
        .map(drop)
        .map_err(|error| error.to_string())
}

#[cfg(feature = "http")]
#[tokio::test(start_paused = true)]
async fn only_requests_that_have_all_that_is_given_meet_a_fault() {
    use http::{Request, Response};
    let registry = Registry::new();
    let chaos = chaos(&registry).build().unwrap();
    let by_tenant = |r: &Request<()>| r.headers().get("x-tenant").cloned();
    let service = chaos.layer().tenant_by(by_tenant).respond_http().layer(service_fn(
        |_: Request<()>| async { Ok::<_, Infallible>(Response::new(bytes::Bytes::new())) },
    ));
    put(
        &registry,
        "inventory.chaos",
        None,
        &[
            ("error_rate", 1.0.into()),
            ("route", "/inventory.Inventory/*".into()),
            ("header", "x-chaos: on".into()),
            ("tenant", "acme".into()),
        ],
    )
    .unwrap();
    let status = |path: &str, chaos: &str, tenant: &str| {
        let request = Request::get(path).header("x-chaos", chaos).header("x-tenant", tenant);
        let call = service.clone().oneshot(request.body(()).unwrap());
        async { call.await.unwrap().status().as_u16() }
    };
    assert_eq!(status("/inventory.Inventory/Check", "on", "acme").await, 503);
    assert_eq!(status("/inventory.Prices/Check", "on", "acme").await, 200);
    assert_eq!(status("/inventory.Inventory/Check", "off", "acme").await, 200);
    assert_eq!(status("/inventory.Inventory/Check", "on", "other").await, 200);
    assert_eq!(
        registry.items()[0].abnormal().as_deref(),
        Some(
            "injects errors into 100 % of calls (route /inventory.Inventory/*, header x-chaos: \
             on, tenant acme)"
        )
    );
}

#[tokio::test]
async fn a_target_that_no_layer_can_tell_is_refused() {
    let registry = Registry::new();
    let chaos = chaos(&registry).build().unwrap();
    let tenant = [("error_rate", 1.0.into()), ("tenant", "acme".into())];
    let refused = put(&registry, "inventory.chaos", None, &tenant).unwrap_err();
    assert!(refused.contains("settings.tenant: no layer of this policy"), "{refused}");
    let wish = ChaosConfig { tenant: "acme".to_owned(), ..ChaosConfig::default() };
    assert!(chaos.reconfigure(wish).is_err());

    // A request of any type will do, if a closure looks into it.
    let calls = Arc::default();
    let by_tenant = |n: &u32| (*n == 7).then_some("acme");
    let service = chaos.layer().tenant_by(by_tenant).layer(counting(&calls));
    put(&registry, "inventory.chaos", None, &tenant).unwrap();
    assert!(matches!(service.clone().oneshot(7).await, Err(Error::Policy(_))));
    assert_eq!(service.oneshot(8).await, Ok(8));
}

#[test]
fn a_target_that_nobody_can_tell_yet_injects_nothing_and_says_so() {
    let registry = Registry::new();
    let chaos = chaos(&registry).error_rate(1.0).tenant("acme").build().unwrap();
    assert!(chaos.draw().error.is_none());
    let abnormal = registry.items()[0].abnormal().unwrap();
    assert!(abnormal.starts_with("injects nothing: settings.tenant"), "{abnormal}");
}

#[tokio::test]
async fn calls_by_hand_say_what_they_are_about() {
    use octostack_resilience::chaos::Subject;
    let registry = Registry::new();
    let builder: Target = chaos(&registry).by_hand(true).error_rate(1.0);
    let chaos = builder.route("prices/*").build().unwrap();
    let prices = Subject::new().route("prices/read");
    assert!(chaos.draw_for(&prices).error.is_some());
    assert!(chaos.draw().error.is_none());
    let call = |subject| chaos.call_for(subject, async { Ok::<_, &str>(1) });
    assert!(matches!(call(&prices).await, Err(Error::Policy(_))));
    assert_eq!(call(&Subject::new().route("stock")).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn it_expires_and_says_so() {
    let registry = Registry::new();
    let ten = Duration::from_secs(10);
    let chaos = chaos(&registry).error_rate(1.0).expires_after(ten).build().unwrap();
    let state = || registry.items()[0].status().get("state").unwrap().clone();
    assert!(chaos.draw().error.is_some());
    tokio::time::advance(ten).await;
    assert_eq!(state(), "expired".into());
    assert!(chaos.draw().error.is_none());
    assert_eq!(registry.items()[0].abnormal(), None);

    // An override has its own time; what is under it does not begin once more at its end.
    put(&registry, "inventory.chaos", None, &[("latency", "1s".into())]).unwrap();
    assert!(chaos.draw().error.is_some());
    registry.end_override("inventory.chaos", &Actor::default()).unwrap();
    assert!(chaos.draw().error.is_none());
    assert_eq!(state(), "expired".into());
}

#[test]
fn a_seed_that_is_put_again_gives_the_same_run() {
    let registry = Registry::new();
    let chaos = chaos(&registry).build().unwrap();
    let run = || -> Vec<bool> {
        let half = [("error_rate", 0.5.into()), ("seed", 7_u32.into())];
        put(&registry, "inventory.chaos", None, &half).unwrap();
        (0..100).map(|_| chaos.draw().error.is_some()).collect()
    };
    let first = run();
    assert_eq!(run(), first);
    let seed = registry.items()[0].status().get("run").unwrap().get("seed").cloned();
    assert_eq!(seed, Some(7_u32.into()));
}

#[tokio::test(start_paused = true)]
async fn the_switch_stops_all_and_lets_go_who_is_held() {
    use octostack_resilience::ChaosSwitch;
    let registry = Registry::new();
    let switch = ChaosSwitch::new(&registry);
    let minute = Duration::from_secs(60);
    let chaos = chaos(&registry).switch(&switch).latency(minute).build().unwrap();
    let mut held = tokio_task(chaos.call(async { Ok::<_, &str>(1) }));
    put(&registry, "chaos", Some(Mode::Disabled), &[]).unwrap();
    tokio::time::advance(Duration::from_millis(100)).await;
    assert_eq!(held.poll(), Some(Ok(1)), "let go");
    assert_eq!(chaos.draw().latency, Duration::ZERO);
    assert!(sample(&registry, "octostack_chaos_stopped{}") > 0.0);

    // An operator does not release what the program stopped.
    switch.kill();
    let refused = put(&registry, "chaos", Some(Mode::Enforce), &[]).unwrap_err();
    assert!(refused.contains("only the program can allow it"), "{refused}");
    registry.end_override("chaos", &Actor::default()).unwrap();
    assert!(switch.is_killed() && chaos.draw().latency.is_zero());
    switch.allow();
    assert_eq!(chaos.draw().latency, minute);
    let told = registry.events().iter().filter(|event| event.kind == "chaos_switch").count();
    assert_eq!(told, 2);
}

#[tokio::test(start_paused = true)]
async fn a_reload_that_changes_nothing_neither_ends_nor_restarts_chaos() {
    let registry = Registry::new();
    let second = Duration::from_secs(1);
    let chaos = chaos(&registry).error_rate(1.0).expires_after(5 * second).build().unwrap();
    tokio::time::advance(6 * second).await;
    let settings = chaos.settings();
    chaos.reconfigure(settings).unwrap();
    let call = chaos.call(async { Ok::<_, Infallible>(1) });
    assert_eq!(call.await, Ok(1), "it has expired, and stays so");

    let registry = Registry::new();
    let chaos = Chaos::builder("held").registry(&registry).enabled(true).build().unwrap();
    let latency = ("latency".to_owned(), "10s".into());
    let patch = Patch { mode: None, settings: [latency].into_iter().collect() };
    let (minute, now) = (Duration::from_secs(60), SystemClock.now());
    registry.set_override("held", patch, minute, &Actor::default(), now).unwrap();
    let start = SystemClock.now();
    let held = chaos.call(async { Ok::<_, Infallible>(1) });
    let (answer, ()) = tokio::join!(held, async {
        tokio::time::sleep(second).await;
        chaos.reconfigure(ChaosConfig::default()).unwrap();
    });
    assert_eq!((answer, SystemClock.now() - start), (Ok(1), 10 * second));
}
