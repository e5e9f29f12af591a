//! Other settings for whole stacks while they run: all or none, and nothing is forgotten.
#![cfg(all(feature = "http", feature = "rate-limit", feature = "tokio"))]
#![allow(clippy::unwrap_used, reason = "a test may panic")]
use octostack_core::inspect::overrides::Actor;
use octostack_core::inspect::{Patch, Registry, Value};
use octostack_core::{Clock, SystemClock};
use octostack_resilience::chaos::ChaosSwitch;
use octostack_resilience::{
    BulkheadConfig, ChaosConfig, CircuitBreakerConfig, Inbound, InboundConfig, Outbound,
    OutboundConfig, Outcome, RateLimit, RateLimitConfig, TimeoutConfig, Window,
};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn over(registry: &Registry, policy: &str, key: &str, value: Value) {
    let patch = Patch { mode: None, settings: vec![(key.to_owned(), value)] };
    let (minute, actor) = (60 * SECOND, Actor::default());
    registry.set_override(policy, patch, minute, &actor, SystemClock.now()).unwrap();
}

fn keys(error: octostack_resilience::SettingsError) -> Vec<String> {
    error.problems.into_iter().map(|problem| problem.key).collect()
}

#[tokio::test(start_paused = true)]
async fn a_reload_to_the_same_settings_changes_nothing() {
    let registry = Registry::new();
    let settings = OutboundConfig {
        rate_limit: RateLimitConfig { limit: 2, period: 3600 * SECOND, burst: 2 },
        breaker: CircuitBreakerConfig {
            window: Window::Time(60 * SECOND),
            minimum_calls: 4,
            ..CircuitBreakerConfig::default()
        },
        bulkhead: BulkheadConfig { max_concurrent: 1, ..BulkheadConfig::default() },
        chaos: ChaosConfig { error_rate: 1.0, expires_after: 5 * SECOND, ..ChaosConfig::default() },
        ..OutboundConfig::default()
    };
    let builder = Outbound::builder("prices").registry(&registry).chaos_enabled(true);
    let stack = builder.settings(settings.clone()).build().unwrap();
    tokio::time::advance(6 * SECOND).await;
    stack.rate_limit().admit().unwrap();
    let place = stack.bulkhead().try_admit().unwrap();
    for _ in 0..3 {
        stack.breaker().admit().unwrap().settle(Outcome::Failure);
    }

    let events = registry.events().len();
    stack.check(&settings).unwrap();
    stack.reconfigure(settings.clone()).unwrap();

    assert!(stack.bulkhead().try_admit().is_err(), "the permit is still out");
    drop(place);
    assert!(stack.chaos().draw().error.is_none(), "it has expired, and stays so");
    stack.rate_limit().admit().unwrap();
    assert!(stack.rate_limit().admit().is_err(), "what was taken is still taken");
    assert_eq!(registry.events().len(), events);
    stack.breaker().admit().unwrap().settle(Outcome::Failure);
    assert_eq!(stack.breaker().state().as_str(), "open", "three failures were remembered");

    // Neither does it close again because of a reload.
    stack.reconfigure(settings).unwrap();
    assert_eq!(stack.breaker().state().as_str(), "open");
}

#[test]
fn a_check_sees_all_that_a_change_would_refuse() {
    let registry = Registry::new();
    let stack = Outbound::builder("prices").registry(&registry).chaos_enabled(false);
    let stack = stack.build().unwrap();
    let settings = OutboundConfig {
        timeout: TimeoutConfig { timeout: 60 * SECOND, ..TimeoutConfig::default() },
        breaker: CircuitBreakerConfig {
            window: Window::Calls(10_000),
            half_open_timeout: 90 * SECOND,
            ..CircuitBreakerConfig::default()
        },
        chaos: ChaosConfig { error_rate: 1.0, ..ChaosConfig::default() },
        ..OutboundConfig::default()
    };
    let all = ["timeout.timeout", "breaker.window", "chaos.error_rate"];
    assert_eq!(keys(stack.check(&settings).unwrap_err()), all);
    assert_eq!(keys(stack.reconfigure(settings.clone()).unwrap_err()), all);
    assert_eq!(keys(stack.check_with_chaos(&settings, true).unwrap_err()), all[..2]);
    assert_eq!(stack.timeout().settings(), TimeoutConfig::default(), "nothing has changed");
}

#[test]
fn an_override_does_not_stand_in_the_way() {
    let registry = Registry::new();
    let stack = Outbound::builder("prices").registry(&registry).build().unwrap();
    over(&registry, "prices.bulkhead", "max_queue", 0_u32.into());
    over(&registry, "prices.timeout", "timeout", "2s".into());
    let bulkhead = BulkheadConfig { max_concurrent: 7, ..BulkheadConfig::default() };
    let timeout = TimeoutConfig { timeout: 3 * SECOND, ..TimeoutConfig::default() };
    let settings = OutboundConfig { bulkhead, timeout, ..OutboundConfig::default() };
    stack.check(&settings).unwrap();
    stack.reconfigure(settings).unwrap();
    assert_eq!(stack.timeout().settings().timeout, 2 * SECOND, "the override is on top");
    assert_eq!(stack.bulkhead().settings().max_concurrent, 7, "what it does not name follows");
    registry.end_override("prices.timeout", &Actor::default()).unwrap();
    assert_eq!(stack.timeout().settings().timeout, 3 * SECOND);
}

#[test]
fn settings_that_contradict_an_override_hold_when_it_ends() {
    let registry = Registry::new();
    let stack = Outbound::builder("prices").registry(&registry).build().unwrap();
    over(&registry, "prices.retry", "max_delay", "1s".into());
    // The first wait is then longer than the longest.
    let mut settings = OutboundConfig::default();
    settings.retry.base_delay = 2 * SECOND;
    settings.retry.max_delay = 4 * SECOND;
    stack.check(&settings).unwrap();
    stack.reconfigure(settings.clone()).unwrap();
    let before = stack.retry().settings();
    assert_eq!(before.max_delay, SECOND, "the override stays whole");
    assert!(before.base_delay < SECOND, "so what was in force stays");
    registry.end_override("prices.retry", &Actor::default()).unwrap();
    assert_eq!(stack.retry().settings(), settings.retry);
}

#[test]
fn a_stack_in_front_of_a_service_takes_all_or_nothing() {
    let registry = Registry::new();
    let stack = Inbound::builder("inbound").registry(&registry).build().unwrap();
    let place = stack.bulkhead().try_admit().unwrap();
    let bulkhead = BulkheadConfig { max_concurrent: 1, ..BulkheadConfig::default() };
    let rate_limit = RateLimitConfig { limit: 3, ..RateLimitConfig::default() };
    let good = InboundConfig { bulkhead, rate_limit, ..InboundConfig::default() };
    let timeout = TimeoutConfig { timeout: SECOND, ..TimeoutConfig::default() };
    let queue = BulkheadConfig { max_queue: 5, max_wait: SECOND, ..BulkheadConfig::default() };
    let bad = InboundConfig { timeout, bulkhead: queue, ..good.clone() };
    assert_eq!(keys(stack.check(&bad).unwrap_err()), ["bulkhead.max_wait"]);
    assert_eq!(keys(stack.reconfigure(bad).unwrap_err()), ["bulkhead.max_wait"]);
    assert_eq!(stack.timeout().settings().timeout, 30 * SECOND, "nothing has changed");
    assert_eq!(stack.bulkhead().settings().max_concurrent, 1_000);

    stack.reconfigure(good.clone()).unwrap();
    assert!(stack.bulkhead().try_admit().is_err(), "the permit from before counts");
    drop(place);
    assert!(stack.bulkhead().try_admit().is_ok());
    let limit = registry.items().into_iter().find(|item| item.name() == "inbound.rate_limit");
    let limit = limit.unwrap().status();
    let shown = limit.get("settings").and_then(|settings| settings.get("limit")).cloned();
    assert_eq!(shown, Some(3_u32.into()), "its own limit follows too");

    let events = registry.events().len();
    stack.reconfigure(good).unwrap();
    assert_eq!(registry.events().len(), events);
}

#[test]
fn a_limit_of_ones_own_is_left_alone() {
    let registry = Registry::new();
    let all = RateLimit::builder("all").registry(&registry).limit(5).build().unwrap();
    let stack = Inbound::builder("inbound").registry(&registry);
    let stack = stack.build_limited_by(all.layer()).unwrap();
    let rate_limit = RateLimitConfig { limit: 3, ..RateLimitConfig::default() };
    let bulkhead = BulkheadConfig { max_concurrent: 9, ..BulkheadConfig::default() };
    stack.reconfigure(InboundConfig { rate_limit, bulkhead, ..Default::default() }).unwrap();
    assert_eq!((all.settings().limit, stack.bulkhead().settings().max_concurrent), (5, 9));
}

#[test]
fn the_gate_of_chaos_can_close_and_open() {
    let registry = Registry::new();
    let switch = ChaosSwitch::new(&registry);
    let builder = Outbound::builder("prices").registry(&registry);
    let stack = builder.chaos_enabled(true).chaos_switch(&switch).build().unwrap();
    over(&registry, "prices.chaos", "error_rate", 1.0.into());
    assert!(stack.chaos().draw().error.is_some());

    switch.set_enabled(false);
    switch.set_enabled(false);
    assert!(stack.chaos().draw().error.is_none(), "what was set stops");
    assert!(!stack.chaos().enabled() && !switch.is_enabled());
    let injects = ChaosConfig { error_rate: 0.5, ..ChaosConfig::default() };
    let settings = OutboundConfig { chaos: injects, ..OutboundConfig::default() };
    assert_eq!(keys(stack.reconfigure(settings.clone()).unwrap_err()), ["chaos.error_rate"]);
    let item = registry.items().into_iter().find(|item| item.name() == "prices.chaos").unwrap();
    let patch = Patch { mode: None, settings: vec![("error_rate".to_owned(), 1.0.into())] };
    let refused = item.control().unwrap().check(&patch).unwrap_err();
    assert!(refused[0].to_string().contains("chaos.enabled"), "{refused:?}");
    // An operator may always end what is there.
    registry.end_override("prices.chaos", &Actor::default()).unwrap();

    switch.set_enabled(true);
    stack.reconfigure(settings).unwrap();
    assert!(stack.chaos().enabled());
    let told = |registry: &Registry| {
        registry.events().iter().filter(|event| event.kind == "chaos_switch").count()
    };
    assert_eq!(told(&registry), 2, "each change is told once");

    let registry = Registry::new();
    let closed = ChaosSwitch::new(&registry).with_enabled(false);
    assert!(!closed.is_enabled() && closed.is_killed());
    let state = registry.items()[0].status().get("state").cloned();
    assert_eq!((state, told(&registry)), (Some("forbidden".into()), 0), "a start is no change");
    assert_eq!(registry.items()[0].abnormal(), None, "production without chaos is normal");
}
