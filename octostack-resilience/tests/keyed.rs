//! Circuit breakers and bulkheads by key, as their users see them.
#![cfg(all(feature = "http", feature = "tokio"))]
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::float_cmp, reason = "counts are whole numbers")]
use http::{Request, Response};
use octostack_core::inspect::{Control, Metric, Mode, Patch, Registry, Sink};
use octostack_core::{Clock, SystemClock};
use octostack_resilience::breaker::State;
use octostack_resilience::{
    CircuitBreakerConfig, Error, KeyedBulkhead, KeyedBulkheadConfig, KeyedCircuitBreaker,
    KeyedCircuitBreakerConfig, Outcome, PolicyErrorKind, Window,
};
use std::convert::Infallible;
use std::time::Duration;
use tower::{Layer, ServiceExt, service_fn};

fn each() -> CircuitBreakerConfig {
    CircuitBreakerConfig { consecutive_failures: 2, ..Default::default() }
}

fn breaker(registry: &Registry, max_keys: u32) -> KeyedCircuitBreaker<u32> {
    let builder = KeyedCircuitBreaker::builder("keyed").registry(registry).each(each());
    builder.max_keys(max_keys).build().unwrap()
}

fn bulkhead(registry: &Registry, max_keys: u32) -> KeyedBulkhead<u32> {
    let builder = KeyedBulkhead::builder("keyed").registry(registry).max_concurrent(1);
    builder.max_keys(max_keys).build().unwrap()
}

fn fail(breaker: &KeyedCircuitBreaker<u32>, key: u32) {
    for _ in 0..2 {
        breaker.admit(&key).unwrap().settle(Outcome::Failure);
    }
    assert_eq!(breaker.state(&key), State::Open);
}

#[test]
fn an_override_ends_whatever_keys_came_while_it_was_there() {
    let registry = Registry::new();
    let builder = KeyedCircuitBreaker::<u32>::builder("keyed").registry(&registry);
    let each = CircuitBreakerConfig { window: Window::calls(2_000), ..Default::default() };
    let breaker = builder.each(each).build().unwrap();
    let items = registry.items();
    let control = items[0].control().unwrap();
    let smaller = [("window".to_owned(), 100_u32.into()), ("max_keys".to_owned(), 1_u32.into())];
    let patch = Patch { mode: None, settings: smaller.into_iter().collect() };
    control.set_override(Some(&patch)).unwrap();
    breaker.admit(&1).unwrap().settle(Outcome::Success);
    control.set_override(None).expect("the new one can grow as far as the others");
    assert_eq!(breaker.settings().window, Window::calls(2_000));
}

/// Samples by name and labels other than the policy's.
#[derive(Default)]
struct Samples(Vec<(String, f64)>);

impl Sink for Samples {
    fn sample(&mut self, metric: &'static Metric, labels: &[(&'static str, &str)], value: f64) {
        let labels: Vec<_> = labels[1..].iter().map(|(_, value)| *value).collect();
        self.0.push((format!("{} {}", metric.name, labels.join(" ")).trim().to_owned(), value));
    }
}

fn sample(registry: &Registry, name: &str) -> f64 {
    let mut samples = Samples::default();
    registry.collect(&mut samples);
    let found = samples.0.iter().find(|(found, _)| found == name);
    found.unwrap_or_else(|| panic!("{name} is not among {:?}", samples.0)).1
}

#[test]
fn polly_507_an_outage_of_one_rejects_no_other() {
    let registry = Registry::new();
    let (breaker, bulkhead) = (breaker(&registry, 1_000), bulkhead(&Registry::new(), 1_000));
    for key in (0..200).step_by(2) {
        fail(&breaker, key);
    }
    let held: Vec<_> = (0..100).map(|key| bulkhead.try_admit(&key).unwrap()).collect();
    for key in 0..200 {
        let admitted = breaker.admit(&key).map(|permit| permit.settle(Outcome::Success));
        assert_eq!(admitted.is_ok(), key % 2 == 1, "{key}");
        assert_eq!(bulkhead.try_admit(&key).is_ok(), key >= 100, "{key}");
    }
    assert_eq!(sample(&registry, "octostack_circuit_breaker_keys open"), 100.0);
    assert_eq!(sample(&registry, "octostack_circuit_breaker_keys closed"), 100.0);
    assert_eq!(sample(&registry, "octostack_circuit_breaker_transitions_total closed open"), 100.0);
    drop(held);
}

#[test]
fn governor_171_a_flood_of_keys_is_bounded_and_pushes_out_nothing_that_is_open() {
    let registry = Registry::new();
    let breaker = breaker(&registry, 10);
    fail(&breaker, 1_000_000);
    let held = breaker.admit(&1_000_001).unwrap();
    for key in 0..10_000 {
        breaker.admit(&key).unwrap().settle(Outcome::Success);
    }
    assert_eq!(breaker.keys(), 10);
    assert_eq!(breaker.state(&1_000_000), State::Open);
    held.settle(Outcome::Failure);
    breaker.admit(&1_000_001).unwrap().settle(Outcome::Failure);
    assert_eq!(breaker.state(&1_000_001), State::Open, "its failure before the flood counted");
    assert_eq!(sample(&registry, "octostack_circuit_breaker_overflow_total"), 0.0);
    assert_eq!(sample(&registry, "octostack_circuit_breaker_evictions_total"), 9_992.0);
    let decisions = "octostack_policy_decisions_total circuit_breaker permitted";
    assert_eq!(sample(&registry, decisions), 10_004.0, "what is gone stays counted");
}

#[test]
fn threads_that_push_each_others_keys_out_lose_no_call() {
    let (registry, other) = (Registry::new(), Registry::new());
    let (breaker, bulkhead) = (breaker(&registry, 8), bulkhead(&other, 8));
    std::thread::scope(|scope| {
        for thread in 0..4_u32 {
            let (breaker, bulkhead) = (&breaker, &bulkhead);
            scope.spawn(move || {
                for call in 0..5_000 {
                    let key = (call * 7 + thread * 13) % 50;
                    let place = bulkhead.try_admit(&key);
                    breaker.admit(&key).unwrap().settle(Outcome::Success);
                    drop(place);
                }
            });
        }
    });
    let outcomes = "octostack_policy_outcomes_total circuit_breaker success";
    assert_eq!(sample(&registry, outcomes), 20_000.0);
    let decisions =
        |decision| sample(&other, &format!("octostack_policy_decisions_total bulkhead {decision}"));
    assert_eq!(decisions("permitted") + decisions("rejected"), 20_000.0);
    assert_eq!(sample(&other, "octostack_bulkhead_in_flight"), 0.0);
    assert!(breaker.keys() <= 8 && bulkhead.keys() <= 8);
}

#[test]
fn keys_without_room_share_one_unit() {
    let registry = Registry::new();
    let bulkhead = bulkhead(&registry, 2);
    let held = [bulkhead.try_admit(&1).unwrap(), bulkhead.try_admit(&2).unwrap()];
    let shared = bulkhead.try_admit(&3).unwrap();
    let full = bulkhead.try_admit(&4).unwrap_err();
    assert_eq!(full.kind, PolicyErrorKind::BulkheadFull);
    assert_eq!((bulkhead.in_flight(&3), bulkhead.keys()), (0, 2));
    assert_eq!(sample(&registry, "octostack_bulkhead_in_flight"), 3.0);
    assert_eq!(sample(&registry, "octostack_bulkhead_limit"), 3.0);
    assert_eq!(sample(&registry, "octostack_bulkhead_overflow_total"), 2.0);
    drop(held);
    let own = bulkhead.try_admit(&4).unwrap();
    assert_eq!(bulkhead.in_flight(&4), 1, "there is room again");
    drop((own, shared));
    assert_eq!(sample(&registry, "octostack_bulkhead_in_flight"), 0.0);
}

#[test]
fn idle_keys_go_when_they_rest_or_would_try_again() {
    let start = SystemClock.now();
    let builder = KeyedCircuitBreaker::<u32>::builder("keyed").registry(&Registry::new());
    let each = CircuitBreakerConfig { open_for: Duration::from_secs(50), ..each() };
    let builder = builder.each(each).idle_for(Duration::from_secs(10));
    let breaker = builder.build_at(&start).unwrap();
    let at = |seconds| start + Duration::from_secs(seconds);
    let fail = || breaker.admit_at(&1, &start).unwrap().settle_at(Outcome::Failure, &start);
    fail();
    fail();
    breaker.admit_at(&2, &start).unwrap().settle_at(Outcome::Success, &start);
    let held = breaker.admit_at(&3, &start).unwrap();
    assert_eq!(breaker.keys_at(&at(9)), 3);
    assert_eq!(breaker.keys_at(&at(10)), 2, "the one that rests went");
    assert_eq!(breaker.state(&1), State::Open, "it waits still");
    assert_eq!(breaker.keys_at(&at(100)), 1, "its wait is over");
    held.settle_at(Outcome::Success, &at(100));
    assert_eq!(breaker.keys_at(&at(100)), 0);
}

#[test]
fn settings_and_modes_reach_all_keys_and_keep_their_state() {
    let (registry, other) = (Registry::new(), Registry::new());
    let (breaker, bulkhead) = (breaker(&registry, 100), bulkhead(&other, 100));
    breaker.admit(&1).unwrap().settle(Outcome::Failure);
    let settings = KeyedCircuitBreakerConfig { consecutive_failures: 3, ..breaker.settings() };
    breaker.reconfigure(settings).unwrap();
    breaker.admit(&1).unwrap().settle(Outcome::Failure);
    assert_eq!(breaker.state(&1), State::Closed);
    breaker.admit(&1).unwrap().settle(Outcome::Failure);
    assert_eq!(breaker.state(&1), State::Open, "the first failure is kept");
    for _ in 0..2 {
        breaker.admit(&2).unwrap().settle(Outcome::Failure);
    }
    assert_eq!(breaker.state(&2), State::Closed, "new keys have them too");
    breaker.set_mode(Mode::ForcedOpen).unwrap();
    assert!(breaker.admit(&2).is_err() && breaker.admit(&3).is_err());
    breaker.set_mode(Mode::Disabled).unwrap();
    assert!(breaker.admit(&1).is_ok());

    let held = bulkhead.try_admit(&1).unwrap();
    let settings = KeyedBulkheadConfig { max_concurrent: 2, ..bulkhead.settings() };
    bulkhead.reconfigure(settings).unwrap();
    let second = bulkhead.try_admit(&1).unwrap();
    assert!(bulkhead.try_admit(&1).is_err());
    drop((held, second));
}

#[test]
fn settings_that_cannot_be_are_refused_with_their_numbers() {
    let builder = || KeyedCircuitBreaker::<u32>::builder("k").registry(&Registry::new());
    let error = builder().max_keys(0).idle_for(Duration::ZERO).build().unwrap_err().to_string();
    assert!(error.contains("settings.max_keys: 0 is out of range: 1 to 1000000"), "{error}");
    assert!(error.contains("settings.idle_for: 0s is out of range: 1s to 1day"), "{error}");

    let breaker = builder().max_keys(10_000).build().unwrap();
    breaker.admit(&1).unwrap().settle(Outcome::Success);
    let settings =
        KeyedCircuitBreakerConfig { max_keys: 0, window: Window::calls(513), ..breaker.settings() };
    let error = breaker.reconfigure(settings).unwrap_err().to_string();
    assert!(
        error.contains("513 calls need a restart: while running it can grow to 512"),
        "{error}"
    );
    assert_eq!(breaker.settings().max_keys, 10_000, "the old ones stay");
}

#[test]
fn nobody_sees_a_key_unless_it_is_shown() {
    let pages = |show: bool| {
        let registry = Registry::new();
        let builder = KeyedCircuitBreaker::<u32>::builder("keyed").registry(&registry);
        let builder = if show { builder.show_keys(|key| format!("tenant-{key}")) } else { builder };
        let breaker = builder.each(each()).build().unwrap();
        (0..60).for_each(|key| fail(&breaker, key));
        let page = registry.items()[0].status().to_string();
        (page, format!("{:?}", registry.events()))
    };
    let (page, events) = pages(true);
    assert_eq!(page.matches("tenant-").count(), 50, "{page}");
    assert!(events.contains("tenant-59"), "{events}");
    let (page, events) = pages(false);
    assert!(!page.contains("tenant-") && !events.contains("tenant-"));
    assert!(events.contains("keyed"), "an event of the policy all the same: {events}");
}

#[tokio::test(start_paused = true)]
async fn a_layer_judges_by_the_key_of_the_request_and_lets_others_pass() {
    let breaker = breaker(&Registry::new(), 100);
    let by_tenant = |request: &Request<()>| {
        request.headers().get("x-tenant").and_then(|tenant| tenant.to_str().ok()?.parse().ok())
    };
    let layer = breaker.layer(by_tenant).respond_http().until_body_end();
    let service = layer.layer(service_fn(|request: Request<()>| async move {
        let status =
            if request.headers().get("x-tenant").is_some_and(|t| t == "1") { 500 } else { 200 };
        let body = http_body_util::Full::new(bytes::Bytes::new());
        Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap())
    }));
    let of = |tenant: &str| Request::builder().header("x-tenant", tenant).body(()).unwrap();
    let status = async |request| service.clone().oneshot(request).await.unwrap().status().as_u16();
    assert_eq!((status(of("1")).await, status(of("1")).await), (500, 500));
    assert_eq!((status(of("1")).await, status(of("2")).await), (503, 200));
    assert_eq!(status(Request::new(())).await, 200);
    assert_eq!(breaker.keys(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_queue_is_that_of_its_key() {
    let builder = KeyedBulkhead::<u32>::builder("keyed").registry(&Registry::new());
    let builder = builder.max_concurrent(1).max_queue(1).max_wait(Duration::from_secs(5));
    let bulkhead = builder.max_keys(1).build().unwrap();
    let held = bulkhead.try_admit(&1).unwrap();
    let waiting = bulkhead.admit(&1);
    assert_eq!((bulkhead.in_flight(&1), bulkhead.queued(&1)), (1, 1));
    drop(held);
    let elsewhere = bulkhead.call(&2, async { Ok::<_, &str>(2) }).await;
    assert_eq!(elsewhere, Ok(2), "in the overflow: a place that has come is in use");
    let permit = waiting.await.unwrap();
    let full = bulkhead.around(&1, async { Ok::<u32, Error<&str>>(1) }).await.unwrap_err();
    let Error::Policy(full) = full else { panic!("not refused") };
    assert_eq!(full.kind, PolicyErrorKind::BulkheadFull, "after its wait");
    drop(permit);
    assert_eq!((bulkhead.in_flight(&1), bulkhead.queued(&1)), (0, 0));

    let service = bulkhead.layer(|key: &u32| (*key > 0).then_some(*key));
    let service = service.layer(service_fn(|key: u32| async move { Ok::<_, Error<&str>>(key) }));
    let held = bulkhead.try_admit(&1).unwrap();
    let mut queued = Box::pin(service.clone().oneshot(1));
    assert!(futures_pending(&mut queued));
    assert_eq!(bulkhead.queued(&1), 1);
    assert_eq!(service.oneshot(0).await, Ok(0), "without a key there is no limit");
    drop(held);
    assert_eq!(queued.await, Ok(1));
}

fn futures_pending<F: Future + Unpin>(future: &mut F) -> bool {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    std::pin::Pin::new(future).poll(&mut cx).is_pending()
}

#[test]
fn an_operator_changes_all_keys_at_once() {
    let registry = Registry::new();
    let bulkhead = bulkhead(&registry, 100);
    let item = registry.items().remove(0);
    let control: &dyn Control = item.control().unwrap();
    let patch =
        Patch { mode: None, settings: [("max_concurrent".to_owned(), 3_u32.into())].into() };
    control.check(&patch).unwrap();
    control.set_override(Some(&patch)).unwrap();
    let held: Vec<_> = (0..3).map(|_| bulkhead.try_admit(&1).unwrap()).collect();
    assert!(bulkhead.try_admit(&1).is_err());
    control.set_override(None).unwrap();
    drop(held);
    assert_eq!(bulkhead.settings().max_concurrent, 1);
}
