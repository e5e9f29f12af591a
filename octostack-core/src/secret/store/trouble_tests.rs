//! Providers that misbehave, and ends that come at a bad time.

use super::*;
use crate::inspect::{Metric, Sink};
use crate::secret::Secret;
use crate::secret::provider::{Answer, Fetched, Lease, LeaseId, ProviderError, Renewed};
use std::future::{pending, ready};
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::time::{sleep, timeout};

const TTL: Duration = Duration::from_secs(60);

type Fetch = dyn Fn(u64) -> Answer<'static, Fetched> + Send + Sync;
type Renew = dyn Fn(u64) -> Answer<'static, Renewed> + Send + Sync;

/// Answers as it is told, by how often it was asked before.
#[derive(Clone)]
struct Told {
    fetch: Arc<Fetch>,
    renew: Arc<Renew>,
    fetches: Arc<AtomicU64>,
    renewals: Arc<AtomicU64>,
    revoked: Arc<Mutex<Vec<String>>>,
    closed: Arc<AtomicU64>,
}

impl Told {
    fn new(fetch: impl Fn(u64) -> Answer<'static, Fetched> + Send + Sync + 'static) -> Self {
        Self {
            fetch: Arc::new(fetch),
            renew: Arc::new(|_| {
                Box::pin(ready(Ok(Renewed { ttl: Duration::from_secs(60), renewable: true })))
            }),
            fetches: Arc::default(),
            renewals: Arc::default(),
            revoked: Arc::default(),
            closed: Arc::default(),
        }
    }

    fn renewing(
        mut self,
        renew: impl Fn(u64) -> Answer<'static, Renewed> + Send + Sync + 'static,
    ) -> Self {
        self.renew = Arc::new(renew);
        self
    }

    fn builder(&self, registry: &Registry) -> SecretsBuilder {
        Secrets::builder("orders").registry(registry).provider(self.clone())
    }

    fn revoked(&self) -> Vec<String> {
        lock(&self.revoked).clone()
    }
}

impl SecretProvider for Told {
    fn scheme(&self) -> &'static str {
        "db"
    }

    fn fetch<'a>(&'a self, _: &'a SecretRef) -> Answer<'a, Fetched> {
        (self.fetch)(self.fetches.fetch_add(1, Ordering::SeqCst))
    }

    fn renew<'a>(&'a self, _: &'a LeaseId, _: Duration) -> Answer<'a, Renewed> {
        (self.renew)(self.renewals.fetch_add(1, Ordering::SeqCst))
    }

    fn revoke<'a>(&'a self, lease: &'a LeaseId) -> Answer<'a, ()> {
        lock(&self.revoked).push(lease.expose().clone());
        Box::pin(ready(Ok(())))
    }

    fn close(&self) -> Answer<'_, ()> {
        self.closed.fetch_add(1, Ordering::SeqCst);
        Box::pin(ready(Ok(())))
    }
}

struct Nowhere;

impl Sink for Nowhere {
    fn sample(&mut self, _: &'static Metric, _: &[(&'static str, &str)], _: f64) {}
}

fn reference() -> SecretRef {
    "db://orders".parse().unwrap()
}

fn leased(count: u64, ttl: Duration) -> Fetched {
    named(&format!("lease-{count}"), &format!("password-{count}"), ttl)
}

fn named(lease: &str, password: &str, ttl: Duration) -> Fetched {
    let lease = Lease { id: Some(LeaseId::new(lease)), ttl, renewable: true };
    Fetched::text(Secret::new(password.to_owned())).with_lease(lease)
}

fn give(fetched: Fetched) -> Answer<'static, Fetched> {
    Box::pin(ready(Ok(fetched)))
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_panics_is_one_that_does_not_answer() {
    for early in [true, false] {
        let told = Told::new(|count| give(leased(count, TTL))).renewing(move |count| {
            assert!(count > 0 || !early, "a slip");
            Box::pin(async move {
                assert!(count > 0, "a slip");
                Ok(Renewed { ttl: TTL, renewable: true })
            })
        });
        let secrets = told.builder(&Registry::new()).build();
        let handle = secrets.open("pool", &reference()).await.unwrap();
        sleep(Duration::from_secs(44)).await;
        assert!(told.renewals.load(Ordering::SeqCst) > 0);
        sleep(10 * TTL).await;
        assert!(handle.load().is_ok(), "it goes on");
        assert!(timeout(TTL, handle.refresh()).await.unwrap().is_ok());
        secrets.close().await;
        assert_eq!(told.revoked().last().map(String::as_str), Some("lease-1"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_time_of_nothing_is_no_reason_for_a_storm() {
    for (ttl, look_again) in [(Some(Duration::ZERO), None), (None, Some(Duration::ZERO))] {
        let told = Told::new(move |count| {
            let mut fetched = leased(count, ttl.unwrap_or_default());
            fetched.lease = fetched.lease.filter(|_| ttl.is_some());
            fetched.look_again = look_again;
            // As whatever is not ready at once; without it the test would hang.
            Box::pin(async move {
                sleep(Duration::from_millis(1)).await;
                Ok(fetched)
            })
        });
        let secrets = told.builder(&Registry::new()).build();
        let _ = secrets.open("pool", &reference()).await;
        let _handle = secrets.alive(&reference());
        sleep(Duration::from_secs(10)).await;
        let fetches = told.fetches.load(Ordering::SeqCst);
        assert!(fetches <= 120, "{fetches} in 10 s");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_before_its_time_is_revoked_when_nobody_holds_it() {
    // Its time is not over at the provider.
    let told = Told::new(|count| match count {
        1 => Box::pin(ready(Err(ProviderError::unavailable("is down")))),
        count => give(leased(count, TTL)),
    });
    let secrets = told.builder(&Registry::new()).on_error(OnError::Drop).build();
    let handle = secrets.open("pool", &reference()).await.unwrap();
    let held = handle.load().unwrap();
    handle.refresh().await.unwrap_err();
    sleep(Duration::from_millis(1)).await;
    assert!(!held.is_valid() && handle.load().is_err());
    drop(held);
    sleep(TTL).await;
    assert_eq!(told.revoked(), ["lease-0"]);
    assert!(handle.load().is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_old_version_that_could_not_be_renewed_is_revoked_all_the_same() {
    let told = Told::new(|count| give(leased(count, TTL)))
        .renewing(|_| Box::pin(ready(Err(ProviderError::unavailable("is down")))));
    let secrets = told.builder(&Registry::new()).on_error(OnError::Drop).build();
    let handle = secrets.open("pool", &reference()).await.unwrap();
    let held = handle.load().unwrap();
    handle.refresh().await.unwrap();
    sleep(Duration::from_secs(45)).await;
    drop(held);
    sleep(Duration::from_secs(1)).await;
    assert!(told.revoked().contains(&"lease-0".to_owned()), "{:?}", told.revoked());
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_given_twice_is_one_and_not_revoked_while_it_is_in_use() {
    // A cache in front of the provider, such as an agent.
    let told = Told::new(|count| match count {
        0 | 1 => give(named("lease-0", "password-0", TTL)),
        _ => give(named("lease-0", "password-1", TTL)),
    });
    let secrets = told.builder(&Registry::new()).build();
    let handle = secrets.open("pool", &reference()).await.unwrap();
    handle.refresh().await.unwrap();
    assert_eq!(handle.number(), 1, "it is the same");
    handle.refresh().await.unwrap();
    assert_eq!(handle.number(), 2);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(told.revoked(), [""; 0]);
    drop(handle);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(told.revoked(), ["lease-0"]);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_hangs_leaves_time_for_another_before_the_end() {
    let told =
        Told::new(|count| give(leased(count, Duration::from_secs(10)))).renewing(
            |count| match count {
                0 => Box::pin(pending()),
                _ => Box::pin(ready(Ok(Renewed { ttl: Duration::from_secs(10), renewable: true }))),
            },
        );
    let secrets = told.builder(&Registry::new()).build();
    let handle = secrets.open("pool", &reference()).await.unwrap();
    for second in 0..60 {
        assert!(handle.load().is_ok(), "after {second} s");
        sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn at_the_end_nobody_waits_for_what_will_not_come_and_is_told_why() {
    let told = Told::new(|count| match count {
        1 => give(leased(count, TTL)),
        _ => Box::pin(ready(Err(ProviderError::unavailable("is down")))),
    });
    let secrets = told.builder(&Registry::new()).start_timeout(10 * TTL).build();
    let handle = secrets.open("pool", &reference()).await.unwrap();
    let opening = tokio::spawn({
        let secrets = secrets.clone();
        async move { secrets.open("other", &"db://other".parse().unwrap()).await }
    });
    sleep(Duration::from_secs(1)).await;
    secrets.close().await;
    let opened = timeout(Duration::from_secs(1), opening).await.expect("it ends").unwrap();
    assert_eq!(opened.unwrap_err().kind(), SecretErrorKind::Closed);
    assert_eq!(handle.load().unwrap_err().kind(), SecretErrorKind::Closed);
    assert_eq!(handle.refresh().await.unwrap_err().kind(), SecretErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn the_second_who_closes_waits_for_the_first_and_logs_out_no_more() {
    struct Slow(Told);
    impl SecretProvider for Slow {
        fn scheme(&self) -> &'static str {
            "db"
        }
        fn fetch<'a>(&'a self, reference: &'a SecretRef) -> Answer<'a, Fetched> {
            self.0.fetch(reference)
        }
        fn revoke<'a>(&'a self, lease: &'a LeaseId) -> Answer<'a, ()> {
            Box::pin(async move {
                sleep(Duration::from_secs(1)).await;
                assert_eq!(self.0.closed.load(Ordering::SeqCst), 0, "it is logged out");
                self.0.revoke(lease).await
            })
        }
        fn close(&self) -> Answer<'_, ()> {
            self.0.close()
        }
    }
    let told = Told::new(|count| give(leased(count, TTL)));
    let builder = Secrets::builder("orders").registry(&Registry::new());
    let secrets = builder.provider(Slow(told.clone())).build();
    let _handle = secrets.open("pool", &reference()).await.unwrap();
    // One that is given up in between.
    assert!(timeout(Duration::from_millis(10), secrets.close()).await.is_err());
    tokio::join!(secrets.close(), secrets.close());
    assert_eq!(told.revoked(), ["lease-0"]);
    assert_eq!(told.closed.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_opened_again_is_counted_once() {
    struct Names(Vec<String>);
    impl Sink for Names {
        fn sample(&mut self, metric: &'static Metric, labels: &[(&'static str, &str)], _: f64) {
            self.0.push(format!("{} {labels:?}", metric.name));
        }
    }
    let told = Told::new(|count| give(leased(count, TTL)));
    let registry = Registry::new();
    let secrets = told.builder(&registry).build();
    let handle = secrets.open("pool", &reference()).await.unwrap();
    handle.refresh().await.unwrap();
    let generation = secrets.generation();
    let _held = handle.load().unwrap();
    drop(handle);
    sleep(Duration::from_secs(1)).await;
    let _handle = secrets.open("pool", &reference()).await.unwrap();

    let mut names = Names(Vec::new());
    registry.collect(&mut names);
    let count = names.0.len();
    names.0.sort_unstable();
    names.0.dedup();
    assert_eq!(names.0.len(), count, "a series is there twice");
    assert!(secrets.generation() >= generation, "it counts up");
    let status = secrets.status().to_string();
    assert!(status.contains(r#""old_versions_in_use": 1"#), "{status}");
}

#[tokio::test(start_paused = true)]
async fn what_nobody_uses_any_more_is_not_missed() {
    let told = Told::new(|count| match count {
        0 => give(leased(count, TTL)),
        _ => Box::pin(ready(Err(ProviderError::unavailable("is down")))),
    });
    let secrets = told.builder(&Registry::new()).build();
    let handle = secrets.open("pool", &reference()).await.unwrap();
    let _held = handle.load().unwrap();
    handle.refresh().await.unwrap_err();
    assert!(secrets.standing().is_err());
    drop(handle);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(secrets.standing(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_lease_of_ages_is_shown_and_held() {
    for ttl in [Duration::from_secs(1 << 40), Duration::from_secs(1 << 61), Duration::MAX] {
        let told = Told::new(move |count| give(leased(count, ttl)));
        let registry = Registry::new();
        let secrets = told.builder(&registry).build();
        let handle = secrets.open("pool", &reference()).await.unwrap();
        let _ = secrets.status().to_string();
        registry.collect(&mut Nowhere);
        sleep(Duration::from_secs(3600)).await;
        assert!(handle.load().is_ok());
        secrets.close().await;
    }
}
