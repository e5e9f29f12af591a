//! The rate limits as a user meets them.
#![cfg(all(feature = "rate-limit", feature = "tokio"))]
use octostack_core::inspect::overrides::{Actor, OverrideError};
use octostack_core::inspect::{Metric, Mode, Patch, Registry, Sink, Value};
use octostack_core::testing::{Probe, check, check_rejecting};
use octostack_core::{Clock, SystemClock};
use octostack_resilience::rate_limit::RateLimitBuilder;
use octostack_resilience::rate_limit::keyed::KeyedRateLimitBuilder;
use octostack_resilience::{
    CircuitBreaker, Error, KeyedRateLimit, KeyedRateLimitConfig, PolicyError, PolicyErrorKind,
    RateLimit, RateLimitConfig,
};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;
use tower::{Layer, ServiceExt, service_fn};

type Failure = Error<Infallible>;

const MINUTE: Duration = Duration::from_secs(60);

/// Three at once, then one each 20 s.
fn builder(registry: &Registry) -> RateLimitBuilder {
    RateLimit::builder("geocoder").registry(registry).limit(3).period(MINUTE)
}

fn keyed(registry: &Registry) -> KeyedRateLimitBuilder {
    KeyedRateLimit::builder("geocoder").registry(registry).limit(3).period(MINUTE)
}

fn rate_limited(wait: Option<Duration>) -> PolicyError {
    PolicyError::new("geocoder", PolicyErrorKind::RateLimited).with_retry_after(wait)
}

fn ok() -> Ready<Result<u32, Infallible>> {
    ready(Ok(7))
}

/// Samples that are not zero, by their last label or their name.
#[derive(Default)]
struct Samples(Vec<(String, f64)>);

impl Sink for Samples {
    fn sample(&mut self, metric: &'static Metric, labels: &[(&'static str, &str)], value: f64) {
        if metric.name == "octostack_override_active" {
            return;
        }
        assert_eq!(labels[0], ("policy", "geocoder"));
        let name = match labels {
            [_] => metric.name,
            [_, ("kind", "rate_limit"), (_, name)] => name,
            other => panic!("{}: {other:?}", metric.name),
        };
        if value > 0.0 {
            self.0.push((name.to_owned(), value));
        }
    }
}

#[track_caller]
fn assert_counts(registry: &Registry, expected: &[(&str, f64)]) {
    let mut samples = Samples::default();
    registry.collect(&mut samples);
    let seen: Vec<_> = samples.0.iter().map(|(name, value)| (&**name, *value)).collect();
    assert_eq!(seen, expected);
}

/// What the admin port shows of the policy.
fn status(registry: &Registry) -> Value {
    let [item] = &registry.items()[..] else { panic!("one policy") };
    item.status()
}

fn entry<'a>(status: &'a Value, key: &str) -> &'a Value {
    status.get(key).expect("an entry")
}

fn change(
    registry: &Registry,
    mode: Option<Mode>,
    settings: &[(&str, Value)],
) -> Result<(), String> {
    let settings = settings.iter().map(|(key, v)| ((*key).to_owned(), v.clone())).collect();
    let patch = Patch { mode, settings };
    let now = SystemClock.now();
    registry
        .set_override("geocoder", patch, MINUTE, &Actor::default(), now)
        .map(drop)
        .map_err(|error: OverrideError| error.to_string())
}

#[tokio::test(start_paused = true)]
async fn rejects_what_is_over_the_limit_and_says_when_to_come_back() {
    let registry = Registry::new();
    let limit = builder(&registry).build().unwrap();
    for _ in 0..3 {
        assert_eq!(limit.call(ok()).await, Ok(7));
    }
    let wait = Duration::from_secs(20);
    assert_eq!(limit.call(ok()).await, Err(Error::Policy(rate_limited(Some(wait)))));
    assert_eq!(limit.admit(), Err(rate_limited(Some(wait))));

    let just = Duration::from_nanos(1);
    tokio::time::advance(Duration::from_nanos(19_999_999_999)).await;
    assert_eq!(limit.admit(), Err(rate_limited(Some(just))));
    tokio::time::advance(just).await;
    assert_eq!(limit.admit(), Ok(()));
    assert_counts(&registry, &[("permitted", 4.0), ("rejected", 3.0)]);
}

#[test]
fn the_time_can_be_given() {
    let limit = builder(&Registry::new()).build().unwrap();
    let start = SystemClock.now() + MINUTE;
    for _ in 0..3 {
        limit.admit_at(&start).unwrap();
    }
    limit.admit_at(&start).unwrap_err();
    limit.admit_at(&(start + MINUTE / 3)).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_rejected_call_does_not_run() {
    let registry = Registry::new();
    let (limit, keyed) = (builder(&registry).build().unwrap(), keyed(&registry).build().unwrap());
    let ran = AtomicU32::new(0);
    let work = || async {
        ran.fetch_add(1, Relaxed);
        Ok::<_, Infallible>(())
    };
    for _ in 0..5 {
        let _ = limit.call(work()).await;
        let _ = keyed.call("red", work()).await;
    }
    assert_eq!(ran.load(Relaxed), 6);
}

#[tokio::test(start_paused = true)]
async fn all_services_of_a_handle_share_the_limit() {
    let registry = Registry::new();
    let limit = builder(&registry).build().unwrap();
    let one = limit.layer().layer(service_fn(|()| ready(Ok::<_, Failure>(1))));
    let two = limit.clone().leak().layer().layer(service_fn(|()| ready(Ok::<_, Failure>(2))));
    assert_eq!(one.clone().oneshot(()).await, Ok(1));
    assert_eq!(two.oneshot(()).await, Ok(2));
    assert_eq!(one.clone().oneshot(()).await, Ok(1));
    let error = one.oneshot(()).await.unwrap_err();
    assert_eq!(error, Error::Policy(rate_limited(Some(MINUTE / 3))));
}

#[tokio::test(start_paused = true)]
async fn keeps_the_contract_of_tower() {
    let registry = Registry::new();
    let probe = Probe::new(|| Ok::<_, Failure>(200));
    let rest = || Ok(());
    let wide = builder(&registry).limit(1_000).build().unwrap();
    check("rate limit", &probe, |inner| wide.layer().layer(inner), || (), rest);
    let weighed = wide.layer().weight(|(): &()| 2);
    check("weighed rate limit", &probe, |inner| weighed.layer(inner), || (), rest);
    let leaked = wide.leak();
    check("leaked rate limit", &probe, |inner| leaked.layer().layer(inner), || (), rest);
    let wide = keyed(&registry).limit(1_000).build().unwrap();
    let by = |(): &()| Some(1);
    check("keyed rate limit", &probe, |inner| wide.layer(by).layer(inner), || (), rest);
    let leaked = wide.leak();
    check("leaked, keyed", &probe, |inner| leaked.layer(by).layer(inner), || (), rest);

    let full = builder(&registry).burst(1).build().unwrap();
    full.admit().unwrap();
    check_rejecting("full rate limit", &probe, |inner| full.layer().layer(inner), || (), rest);
    let full = keyed(&registry).burst(1).build().unwrap();
    full.admit(&1).unwrap();
    check_rejecting("full, keyed", &probe, |inner| full.layer(by).layer(inner), || (), rest);
}

#[tokio::test(start_paused = true)]
async fn a_request_counts_as_its_weight() {
    let registry = Registry::new();
    let by_weight = |weight: &u32| *weight;
    let limit = builder(&registry).build().unwrap();
    let one = limit.layer().weight(by_weight).layer(service_fn(|n| ready(Ok::<_, Failure>(n))));
    let keyed = keyed(&registry).build().unwrap();
    let by_key = keyed.layer(|_: &u32| Some("red")).weight(by_weight);
    let each = by_key.layer(service_fn(|n| ready(Ok::<_, Failure>(n))));

    for service in [one.boxed_clone(), each.boxed_clone()] {
        let ask = |weight| service.clone().oneshot(weight);
        let rejected = |wait| Err(Error::Policy(rate_limited(wait)));
        assert_eq!(ask(4).await, rejected(None), "never, so there is no time to come back");
        assert_eq!(ask(2).await, Ok(2));
        assert_eq!(ask(2).await, rejected(Some(MINUTE / 3)));
        assert_eq!((ask(1).await, ask(0).await, ask(0).await), (Ok(1), Ok(0), Ok(0)));
        assert_eq!(ask(3).await, rejected(Some(MINUTE)));
    }
    assert_eq!(limit.admit_weighted(2), Err(rate_limited(Some(2 * MINUTE / 3))));
    assert_eq!(keyed.admit_weighted("red", 2), Err(rate_limited(Some(2 * MINUTE / 3))));
    keyed.admit_weighted("blue", 3).unwrap();
}

#[tokio::test(start_paused = true)]
async fn tower_resilience_a_rejection_always_knows_when_to_come_back() {
    let registry = Registry::new();
    let (limit, keyed) = (builder(&registry).build().unwrap(), keyed(&registry).build().unwrap());
    for _ in 0..3 {
        limit.admit().unwrap();
        keyed.admit("red").unwrap();
    }
    for seconds in (1..20).rev() {
        tokio::time::advance(Duration::from_secs(1)).await;
        let wait = Some(Duration::from_secs(seconds));
        assert_eq!(limit.admit(), Err(rate_limited(wait)));
        assert_eq!(keyed.admit("red"), Err(rate_limited(wait)));
    }
}

#[tokio::test(start_paused = true)]
async fn tower_resilience_a_clone_that_is_readied_and_dropped_burns_nothing() {
    let registry = Registry::new();
    let limit = builder(&registry).build().unwrap();
    let service = limit.layer().layer(service_fn(|()| ready(Ok::<_, Failure>(1))));
    for _ in 0..50 {
        let mut clone = service.clone();
        clone.ready().await.unwrap();
    }
    assert_eq!(entry(&status(&registry), "available"), &Value::from(3_u32));
}

#[tokio::test(start_paused = true)]
async fn tower_resilience_nobody_sleeps_so_none_wake_together() {
    let registry = Registry::new();
    let limit = builder(&registry).build().unwrap();
    let service = limit.layer().layer(service_fn(|()| ready(Ok::<_, Failure>(1))));
    let start = SystemClock.now();
    let mut passed = 0;
    for _ in 0..100 {
        passed += u32::from(service.clone().oneshot(()).await.is_ok());
    }
    assert_eq!((passed, SystemClock.now()), (3, start), "answered at once, each of them");
}

#[cfg(feature = "http")]
#[tokio::test(start_paused = true)]
async fn tower_governor_retry_after_is_rounded_up_and_never_zero() {
    let limit = builder(&Registry::new()).limit(60_000).burst(1).build().unwrap();
    limit.admit().unwrap();
    let answer = || ready(Ok::<_, Infallible>(http::Response::new(bytes::Bytes::new())));
    let service = limit.layer().respond_http().layer(service_fn(move |()| answer()));
    let response = service.oneshot(()).await.unwrap();
    assert_eq!(response.headers()["retry-after"], "1", "a millisecond, which is not now");
}

#[tokio::test(start_paused = true)]
async fn each_key_has_its_own_limit_and_no_key_has_none() {
    let registry = Registry::new();
    let limit = keyed(&registry).build().unwrap();
    let by = |key: &&'static str| (!key.is_empty()).then_some(*key);
    let service = limit.layer(by).layer(service_fn(|key| ready(Ok::<_, Failure>(key))));
    for key in ["red", "red", "red", "blue", "", "", "", "", ""] {
        assert_eq!(service.clone().oneshot(key).await, Ok(key));
    }
    let error = service.clone().oneshot("red").await.unwrap_err();
    assert_eq!(error, Error::Policy(rate_limited(Some(MINUTE / 3))));
    // An owned key and a borrowed one are the same.
    assert_eq!(limit.admit(&String::from("red")), Err(rate_limited(Some(MINUTE / 3))));
    assert_counts(
        &registry,
        &[("octostack_rate_limit_keys", 2.0), ("permitted", 4.0), ("rejected", 2.0)],
    );
    tokio::time::advance(MINUTE / 3).await;
    assert_eq!(limit.keys(), 1, "blue has its whole burst again");
    tokio::time::advance(MINUTE).await;
    assert_counts(&registry, &[("permitted", 4.0), ("rejected", 2.0)]);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_asked_for_only_if_it_matters() {
    let registry = Registry::new();
    let limit = keyed(&registry).limit(0).build().unwrap();
    let asked = Arc::new(AtomicU32::new(0));
    let counting = asked.clone();
    let by = move |(): &()| {
        counting.fetch_add(1, Relaxed);
        None::<u8>
    };
    let service = limit.layer(by).layer(service_fn(|()| ready(Ok::<_, Failure>(1))));
    service.clone().oneshot(()).await.unwrap();
    limit.set_mode(Mode::ForcedOpen).unwrap();
    let error = service.clone().oneshot(()).await.unwrap_err();
    assert_eq!(error, Error::Policy(rate_limited(None)), "without a key, too");
    assert_eq!(asked.load(Relaxed), 0);
    limit.set_mode(Mode::Enforce).unwrap();
    let settings = KeyedRateLimitConfig { limit: 1, ..limit.settings() };
    limit.reconfigure(settings).unwrap();
    service.oneshot(()).await.unwrap();
    assert_eq!(asked.load(Relaxed), 1);
    assert_counts(&registry, &[("rejected", 1.0)]);
}

#[tokio::test(start_paused = true)]
async fn a_policy_around_it_knows_its_word() {
    let registry = Registry::new();
    let breaker =
        CircuitBreaker::builder("b").registry(&registry).minimum_calls(1).build().unwrap();
    let limit = builder(&registry).build().unwrap();
    for _ in 0..9 {
        let _ = breaker.around(limit.call(ok())).await;
    }
    assert_eq!(breaker.state(), octostack_resilience::breaker::State::Closed);
    let nested = limit.around(breaker.call(ok())).await;
    assert_eq!(nested, Err(Error::Policy(rate_limited(Some(MINUTE / 3)))));
}

#[cfg(feature = "http")]
#[tokio::test(start_paused = true)]
async fn answers_in_http_and_grpc() {
    use bytes::Bytes;
    use http::Response;
    let limit = builder(&Registry::new()).burst(1).build().unwrap();
    limit.admit().unwrap();
    tokio::time::advance(Duration::from_millis(100)).await;

    let answer = || ready(Ok::<_, Infallible>(Response::new(Bytes::new())));
    let http = limit.layer().respond_http().layer(service_fn(move |()| answer()));
    let response = http.oneshot(()).await.unwrap();
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "20", "19.9 s, rounded up");
    let problem: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(
        (&problem["code"], &problem["policy"]),
        (&"rate_limited".into(), &"geocoder".into())
    );

    let grpc = limit.layer().respond_grpc().layer(service_fn(move |()| answer()));
    let response = grpc.oneshot(()).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "8");
    assert_eq!(response.headers()["grpc-retry-pushback-ms"], "19900");

    // What is nearly over is not over: never "0", which would mean now.
    tokio::time::advance(Duration::from_millis(19_899)).await;
    let http = limit.layer().respond_http().layer(service_fn(move |()| answer()));
    assert_eq!(http.oneshot(()).await.unwrap().headers()["retry-after"], "1");
}

#[tokio::test(start_paused = true)]
async fn an_operator_changes_it_while_it_runs() {
    let registry = Registry::new();
    let limit = builder(&registry).build().unwrap();
    limit.admit().unwrap();
    assert_eq!(entry(&status(&registry), "available"), &Value::from(2_u32));

    change(&registry, None, &[("limit", 600_u32.into()), ("burst", 5_u32.into())]).unwrap();
    assert_eq!(entry(&status(&registry), "available"), &Value::from(4_u32), "1 of 5 is used");
    assert_eq!(entry(&status(&registry), "overridden"), &Value::from(true));
    for _ in 0..4 {
        limit.admit().unwrap();
    }
    let tenth = Duration::from_millis(100);
    assert_eq!(limit.admit(), Err(rate_limited(Some(tenth))));

    registry.end_override("geocoder", &Actor::default()).unwrap();
    assert_eq!(limit.admit(), Err(rate_limited(Some(MINUTE / 3))), "all 3 are used");

    change(&registry, Some(Mode::Shadow), &[]).unwrap();
    limit.admit().unwrap();
    change(&registry, Some(Mode::ForcedOpen), &[]).unwrap();
    assert_eq!(limit.admit(), Err(rate_limited(None)));
    let why = registry.items()[0].abnormal();
    assert_eq!(why.as_deref(), Some("mode is forced_open"));
    assert_counts(&registry, &[("permitted", 6.0), ("rejected", 3.0), ("shadow_rejected", 1.0)]);

    change(&registry, None, &[("burst", 0_u32.into()), ("limit", 0_u32.into())]).unwrap();
    assert_eq!(entry(&status(&registry), "available"), &Value::Null);
}

#[test]
fn wrong_settings_are_refused_with_all_their_problems() {
    let registry = Registry::new();
    let error = builder(&registry).period(Duration::ZERO).build().unwrap_err();
    let problem = "settings.period: 0s is out of range: 1ms to 1day";
    assert_eq!(error.to_string(), format!("policy `geocoder` cannot work like this: {problem}"));
    let limit = builder(&registry).build().unwrap();
    let settings = RateLimitConfig { burst: 9, limit: 0, ..limit.settings() };
    limit.reconfigure(settings).unwrap_err();
    limit.set_mode(Mode::ForcedClosed).unwrap_err();
    assert_eq!(limit.settings(), RateLimitConfig { limit: 3, period: MINUTE, burst: 0 });
}

#[tokio::test(start_paused = true)]
async fn keys_are_bounded_and_never_shown() {
    let registry = Registry::new();
    let limit = keyed(&registry).max_keys(10).build().unwrap();
    let noisy = "mallory@example.org";
    for _ in 0..9 {
        let _ = limit.admit(noisy);
    }
    for key in 0..1_000 {
        limit.admit(&key).unwrap();
    }
    assert_eq!(limit.keys(), 10);
    limit.admit(noisy).unwrap_err();
    let status = status(&registry);
    assert_eq!(entry(&status, "keys"), &Value::from(10_u32));
    assert_eq!(entry(&status, "per"), &Value::from("key"));
    assert_eq!(entry(&status, "evictions"), &Value::from(991_u32));
    let shown = format!("{status} {limit:?}");
    assert!(!shown.contains("mallory"), "{shown}");
    assert!(shown.len() < 1_000, "{shown}");
}

#[tokio::test(start_paused = true)]
async fn the_number_of_keys_changes_while_it_runs() {
    let registry = Registry::new();
    let limit = keyed(&registry).max_keys(1_000).build().unwrap();
    for key in 0..2_000 {
        limit.admit(&key).unwrap();
    }
    assert_eq!(limit.keys(), 1_000);
    change(&registry, None, &[("max_keys", 100_u32.into())]).unwrap();
    assert_eq!(limit.keys(), 100);
    let refused = change(&registry, None, &[("max_keys", 3_u32.into())]).unwrap_err();
    let expected = "settings.max_keys: 3 needs a restart: while running it can shrink to 15";
    assert_eq!(refused, expected);
    let settings = KeyedRateLimitConfig { max_keys: 3, ..limit.settings() };
    assert_eq!(limit.reconfigure(settings).unwrap_err().problems[0].to_string(), expected);
    change(&registry, None, &[("max_keys", 5_000_u32.into())]).unwrap();
    for key in 0..4_000 {
        limit.admit(&key).unwrap();
    }
    assert!(limit.keys() > 3_500, "{}", limit.keys());
    let keys = change(&registry, None, &[("max_keys", 0_u32.into())]).unwrap_err();
    assert_eq!(keys, "settings.max_keys: 0 is out of range: 1 to 10000000");
}
