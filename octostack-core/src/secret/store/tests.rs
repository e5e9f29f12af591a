use super::*;
use crate::inspect::{Metric, Sink};
use crate::secret::Secret;
use crate::secret::audit::{Audit, AuditConfig, AuditMode, verify};
use crate::secret::provider::{Answer, Fetched, Lease, LeaseId, ProviderError, Renewed};
use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::time::{Instant, sleep};

const TTL: Duration = Duration::from_secs(60);

/// A provider whose leases end, like a database engine: what was revoked or is over is not valid.
#[derive(Clone)]
struct Engine(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    fetches: u64,
    renewals: u64,
    /// What the next answers are instead.
    faults: VecDeque<ProviderError>,
    revoke_faults: VecDeque<ProviderError>,
    /// Without an answer while this is set.
    hangs: bool,
    /// How long an answer takes.
    slow: Duration,
    ttl: Option<Duration>,
    valid: BTreeSet<String>,
    revoked: Vec<String>,
    /// The most that a lease may last from its creation, by id.
    born: BTreeMap<String, Instant>,
    most: Option<Duration>,
    leased: bool,
    look_again: Option<Duration>,
    text: Option<&'static str>,
}

impl Engine {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Inner { leased: true, ..Inner::default() })))
    }

    fn with<T>(&self, look: impl FnOnce(&mut Inner) -> T) -> T {
        look(&mut lock(&self.0))
    }

    fn fail(&self, times: usize) {
        let down = ProviderError::unavailable("is down");
        self.with(|inner| inner.faults.extend(vec![down; times]));
    }

    fn secrets(&self) -> (Secrets, Registry) {
        let registry = Registry::new();
        let builder = Secrets::builder("orders").registry(&registry);
        (builder.provider(self.clone()).build(), registry)
    }
}

impl SecretProvider for Engine {
    fn scheme(&self) -> &'static str {
        "db"
    }

    fn fetch<'a>(&'a self, _: &'a SecretRef) -> Answer<'a, Fetched> {
        Box::pin(async move {
            if self.with(|inner| inner.hangs) {
                std::future::pending::<()>().await;
            }
            sleep(self.with(|inner| inner.slow)).await;
            self.with(|inner| {
                if let Some(error) = inner.faults.pop_front() {
                    return Err(error);
                }
                inner.fetches += 1;
                let id = format!("lease-{}", inner.fetches);
                let text =
                    inner.text.map_or_else(|| format!("password-{}", inner.fetches), Into::into);
                let mut fetched = Fetched::text(Secret::new(text));
                fetched.look_again = inner.look_again;
                if inner.leased {
                    inner.valid.insert(id.clone());
                    inner.born.insert(id.clone(), Instant::now());
                    let id = Some(LeaseId::new(id));
                    let ttl = inner.ttl.unwrap_or(TTL);
                    fetched = fetched.with_lease(Lease { id, ttl, renewable: true });
                }
                Ok(fetched)
            })
        })
    }

    fn renew<'a>(&'a self, lease: &'a LeaseId, increment: Duration) -> Answer<'a, Renewed> {
        Box::pin(async move {
            self.with(|inner| {
                if let Some(error) = inner.faults.pop_front() {
                    return Err(error);
                }
                if !inner.valid.contains(lease.expose()) {
                    return Err(ProviderError::gone("lease not found"));
                }
                inner.renewals += 1;
                let age = inner.born[lease.expose()].elapsed();
                let left = inner.most.map_or(increment, |most| most.saturating_sub(age));
                Ok(Renewed { ttl: increment.min(left), renewable: true })
            })
        })
    }

    fn revoke<'a>(&'a self, lease: &'a LeaseId) -> Answer<'a, ()> {
        Box::pin(async move {
            self.with(|inner| {
                if let Some(error) = inner.revoke_faults.pop_front() {
                    return Err(error);
                }
                inner.valid.remove(lease.expose());
                inner.revoked.push(lease.expose().clone());
                Ok(())
            })
        })
    }
}

fn reference() -> SecretRef {
    "db://orders".parse().unwrap()
}

fn text(version: &Version) -> String {
    version.select(None).unwrap().expose().clone()
}

fn kinds(registry: &Registry) -> Vec<&'static str> {
    registry.events().iter().map(|event| event.kind).collect()
}

fn samples(registry: &Registry) -> Vec<String> {
    struct Lines(Vec<String>);
    impl Sink for Lines {
        fn sample(&mut self, metric: &'static Metric, labels: &[(&'static str, &str)], value: f64) {
            self.0.push(format!("{} {labels:?} {value}", metric.name));
        }
    }
    let mut lines = Lines(Vec::new());
    registry.collect(&mut lines);
    lines.0
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_for_as_long_as_it_may_be_then_replaced_and_revoked_when_unused() {
    let engine = Engine::new();
    engine.with(|inner| inner.most = Some(3 * TTL));
    let (secrets, registry) = engine.secrets();
    let handle = secrets.open("pool", &reference()).await.unwrap();
    let first = handle.load().unwrap();
    assert_eq!((text(&first).as_str(), first.number()), ("password-1", 1));

    handle.changed(1).await;
    let second = handle.load().unwrap();
    assert_eq!((text(&second).as_str(), second.number()), ("password-2", 2));
    assert!(engine.with(|inner| inner.renewals) >= 3);
    assert!(first.is_valid() && !first.is_current() && second.is_current());
    sleep(Duration::from_millis(10)).await;
    assert_eq!(engine.with(|inner| inner.revoked.clone()), [""; 0], "somebody holds it");

    drop(first);
    sleep(Duration::from_millis(10)).await;
    assert_eq!(engine.with(|inner| inner.revoked.clone()), ["lease-1"]);
    assert_eq!(kinds(&registry), ["secret_rotated"]);
    assert_eq!((secrets.standing(), secrets.generation()), (Ok(()), 2));
}

#[tokio::test(start_paused = true)]
async fn an_old_version_is_kept_alive_while_it_is_held_and_told_of_if_it_ends_so() {
    let engine = Engine::new();
    let (secrets, registry) = engine.secrets();
    let handle = secrets.open("pool", &reference()).await.unwrap();
    let first = handle.load().unwrap();
    handle.refresh().await.unwrap();
    sleep(10 * TTL).await;
    assert!(first.is_valid() && !first.is_current(), "its lease is renewed still");
    assert!(engine.with(|inner| inner.revoked.is_empty()));

    engine.with(|inner| inner.most = Some(TTL));
    sleep(2 * TTL).await;
    assert!(!first.is_valid());
    assert!(kinds(&registry).contains(&"secret_expired_in_use"));
}

#[tokio::test(start_paused = true)]
async fn what_was_fetched_last_is_used_until_its_time_is_over_and_the_failure_shows() {
    let engine = Engine::new();
    let (secrets, registry) = engine.secrets();
    let handle = secrets.open("pool", &reference()).await.unwrap();
    let start = Instant::now();
    engine.fail(1000);
    sleep(Duration::from_secs(50)).await;
    assert_eq!(text(&handle.load().unwrap()), "password-1");
    assert!(secrets.standing().unwrap_err().contains("db://orders: not fresh since"));
    assert_eq!(kinds(&registry), ["secret_refresh_failed"], "once, not each time");

    tokio::time::sleep_until(start + TTL + Duration::from_millis(1)).await;
    let error = handle.load().unwrap_err();
    assert_eq!(error.kind(), SecretErrorKind::Expired);
    assert_eq!(
        error.to_string(),
        "db://orders: its time is over, and it cannot be replaced: is down"
    );
    assert!(secrets.standing().unwrap_err().contains("has ended"));

    engine.with(|inner| inner.faults.clear());
    handle.changed(1).await;
    assert_eq!(text(&handle.load().unwrap()), "password-2");
    assert_eq!(secrets.standing(), Ok(()));
    let told = kinds(&registry);
    assert_eq!(told[1..], ["secret_expired", "secret_rotated", "secret_refresh_recovered"]);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_gone_is_not_used_any_more() {
    let engine = Engine::new();
    let (secrets, _) = engine.secrets();
    let handle = secrets.open("pool", &reference()).await.unwrap();
    let old = handle.load().unwrap();
    engine.with(|inner| inner.valid.clear());
    handle.changed(1).await;
    assert!(!old.is_valid());
    assert_eq!(text(&handle.load().unwrap()), "password-2");
}

#[tokio::test(start_paused = true)]
async fn many_who_ask_at_once_are_one_request_and_a_storm_is_one_a_second() {
    let engine = Engine::new();
    let (secrets, _) = engine.secrets();
    let open = |name: String| {
        let secrets = secrets.clone();
        async move { secrets.open(name, &reference()).await.unwrap() }
    };
    let mut opening = JoinSet::new();
    for number in 0..50 {
        opening.spawn(open(format!("pool-{number}")));
    }
    let handles = opening.join_all().await;
    assert_eq!(engine.with(|inner| inner.fetches), 1);

    let bad = handles[0].load().unwrap();
    let start = Instant::now();
    let mut asking = JoinSet::new();
    for handle in handles {
        let bad = bad.clone();
        asking.spawn(async move { handle.rejected(&bad).await.unwrap().number() });
    }
    let numbers = asking.join_all().await;
    assert!(numbers.iter().all(|number| *number == 2), "{numbers:?}");
    assert_eq!(engine.with(|inner| inner.fetches), 2);
    assert!(start.elapsed() <= Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn who_asks_while_it_is_fetched_has_that_answer_and_no_other_is_asked_for() {
    let engine = Engine::new();
    let (secrets, _) = engine.secrets();
    let handle = secrets.open("pool", &reference()).await.unwrap();
    engine.with(|inner| inner.slow = Duration::from_secs(5));
    sleep(Duration::from_secs(2)).await;
    let late = async {
        sleep(Duration::from_secs(2)).await;
        handle.refresh().await
    };
    let (one, two) = tokio::join!(handle.refresh(), late);
    assert_eq!((one, two), (Ok(()), Ok(())));
    let old = handle.load().unwrap();
    sleep(Duration::from_secs(20)).await;
    assert_eq!(engine.with(|inner| inner.fetches), 2);

    // Both were refused with the same version; one is answered before the other asks.
    let one = handle.rejected(&old).await.unwrap();
    let two = handle.rejected(&old).await.unwrap();
    assert_eq!((one.number(), two.number()), (3, 3));
    sleep(Duration::from_secs(20)).await;
    assert_eq!(engine.with(|inner| inner.fetches), 3);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_does_not_make_it_forget_who_has_asked() {
    let engine = Engine::new();
    engine.with(|inner| inner.ttl = Some(Duration::from_millis(1200)));
    let (secrets, _) = engine.secrets();
    let handle = secrets.open("pool", &reference()).await.unwrap();
    // Less than a second after the last fetch it waits; the renewal is at 0.8 s, give or take.
    let refreshed = tokio::time::timeout(Duration::from_millis(1100), handle.refresh()).await;
    assert_eq!(refreshed, Ok(Ok(())));
    assert_eq!(engine.with(|inner| (inner.renewals, inner.fetches)), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_is_down_at_the_start_has_a_while_to_come_up() {
    let engine = Engine::new();
    let (secrets, _) = engine.secrets();
    engine.fail(3);
    let start = Instant::now();
    secrets.open("pool", &reference()).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(10));

    let engine = Engine::new();
    let (secrets, _) = engine.secrets();
    engine.fail(1000);
    let error = secrets.open("pool", &reference()).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (SecretErrorKind::Unavailable, "is down"));
    engine.with(|inner| inner.faults.clear());
    secrets.open("pool", &reference()).await.unwrap();

    let engine = Engine::new();
    let (secrets, _) = engine.secrets();
    engine.with(|inner| inner.hangs = true);
    let error = secrets.open("pool", &reference()).await.unwrap_err();
    assert_eq!(error.message(), "no answer within 10s");

    let engine = Engine::new();
    let (secrets, _) = engine.secrets();
    engine.with(|inner| inner.faults.push_back(ProviderError::refused("permission denied")));
    let start = Instant::now();
    let error = secrets.open("pool", &reference()).await.unwrap_err();
    assert_eq!((error.kind(), start.elapsed()), (SecretErrorKind::Refused, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn an_open_that_is_given_up_leaves_nothing_behind() {
    let engine = Engine::new();
    let (secrets, _) = engine.secrets();
    engine.with(|inner| inner.hangs = true);
    let reference = reference();
    let open = secrets.open("pool", &reference);
    assert!(tokio::time::timeout(Duration::from_millis(5), open).await.is_err());
    sleep(Duration::from_secs(31)).await; // the request in flight comes to its end
    assert!(secrets.shared.core.cells().is_empty());

    engine.with(|inner| inner.hangs = false);
    let handle = secrets.open("pool", &reference).await.unwrap();
    drop(handle);
    sleep(Duration::from_millis(10)).await;
    assert_eq!(engine.with(|inner| inner.revoked.clone()), ["lease-1"], "nobody uses it");
    assert!(secrets.shared.core.cells().is_empty());
}

#[tokio::test(start_paused = true)]
async fn without_a_lease_it_is_looked_at_again_and_the_same_is_no_new_version() {
    let engine = Engine::new();
    engine.with(|inner| {
        inner.leased = false;
        inner.look_again = Some(TTL);
        inner.text = Some("hunter2");
    });
    let (secrets, registry) = engine.secrets();
    let handle = secrets.open("pool", &reference()).await.unwrap();
    sleep(5 * TTL).await;
    assert!(engine.with(|inner| inner.fetches) >= 4);
    assert_eq!(handle.load().unwrap().number(), 1);
    engine.with(|inner| inner.text = Some("hunter3"));
    handle.changed(1).await;
    assert_eq!(text(&handle.load().unwrap()), "hunter3");

    // Without an end it is used for as long as there is no other.
    engine.fail(10_000);
    sleep(1000 * TTL).await;
    assert_eq!(text(&handle.load().unwrap()), "hunter3");
    assert!(secrets.standing().is_err());
    let shown = format!("{:?} {:?}", registry.items()[0].status().to_string(), samples(&registry));
    assert!(shown.contains("is down") && !shown.contains("hunter"), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn the_end_revokes_what_is_left_in_use_or_not() {
    let engine = Engine::new();
    let (secrets, _) = engine.secrets();
    let handle = secrets.open("pool", &reference()).await.unwrap();
    let first = handle.load().unwrap();
    handle.refresh().await.unwrap();
    let waiting = tokio::spawn({
        let handle = handle.clone();
        async move { handle.refresh().await }
    });
    secrets.close().await;
    assert_eq!(engine.with(|inner| inner.revoked.len()), 2);
    assert!(waiting.await.unwrap().is_err());
    drop(first);
    let error = secrets.open("pool", &reference()).await.unwrap_err();
    assert_eq!(error.kind(), SecretErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn revoking_is_tried_again_and_told_of_if_it_fails() {
    let engine = Engine::new();
    let fail = |times: usize| {
        let down = ProviderError::unavailable("is down");
        engine.with(|inner| inner.revoke_faults.extend(vec![down; times]));
    };
    let (secrets, registry) = engine.secrets();
    let handle = secrets.open("pool", &reference()).await.unwrap();
    fail(2);
    handle.refresh().await.unwrap();
    sleep(Duration::from_secs(3)).await;
    assert_eq!(engine.with(|inner| inner.revoked.clone()), ["lease-1"]);

    fail(3);
    handle.refresh().await.unwrap();
    sleep(Duration::from_secs(5)).await;
    assert_eq!(engine.with(|inner| inner.revoked.len()), 1);
    assert_eq!(kinds(&registry).last(), Some(&"secret_revoke_failed"));
}

#[tokio::test(start_paused = true)]
async fn two_in_one_process_do_not_see_each_other() {
    let (one, other) = (Engine::new(), Engine::new());
    other.with(|inner| inner.text = Some("other"));
    let ((secrets, registry), (others, _)) = (one.secrets(), other.secrets());
    let handle = secrets.open("pool", &reference()).await.unwrap();
    let theirs = others.open("pool", &reference()).await.unwrap();
    assert_eq!(text(&handle.load().unwrap()), "password-1");
    assert_eq!(text(&theirs.load().unwrap()), "other");
    others.close().await;
    handle.refresh().await.unwrap();
    assert_eq!(one.with(|inner| inner.fetches), 2);
    assert_eq!(registry.items().len(), 1);

    let nobody = Secrets::builder("x").registry(&Registry::new()).build();
    let error = nobody.open("pool", &reference()).await.unwrap_err();
    assert_eq!(error.message(), "nobody here follows `db://`; known: none");
}

#[tokio::test(start_paused = true)]
async fn numbers_are_there_for_alerts() {
    let engine = Engine::new();
    let (secrets, registry) = engine.secrets();
    let handle = secrets.open("pool", &reference()).await.unwrap();
    sleep(TTL).await;
    engine.fail(1);
    let _ = handle.refresh().await;
    let samples = samples(&registry).join("\n");
    for part in [
        "octostack_secret_expiry_timestamp_seconds [(\"secret\", \"db://orders\")]",
        "octostack_secret_refresh_total [(\"secret\", \"db://orders\"), (\"result\", \"failed\")] 1",
        "(\"result\", \"fetched\")] 1",
        "(\"result\", \"renewed\")] 1",
        "octostack_secret_version [(\"secret\", \"db://orders\")] 1",
    ] {
        assert!(samples.contains(part), "{part} in\n{samples}");
    }
    assert!(!samples.contains("password"), "{samples}");
}

/// Whoever holds a version may use it, whatever else happens: the engine is asked at each step.
#[tokio::test(start_paused = true)]
async fn users_of_a_rotating_secret_never_hold_one_that_is_not_valid() {
    let engine = Engine::new();
    engine.with(|inner| inner.most = Some(2 * TTL));
    let (secrets, registry) = engine.secrets();
    let handle = secrets.open("pool", &reference()).await.unwrap();
    let times = Arc::new(AtomicUsize::new(0));
    let mut users = JoinSet::new();
    for user in 0..20_u64 {
        let (handle, engine, times) = (handle.clone(), engine.clone(), times.clone());
        users.spawn(async move {
            let end = Instant::now() + 40 * TTL;
            while Instant::now() < end {
                let version = handle.load().unwrap();
                for _ in 0..5 {
                    let lease = text(&version).replace("password", "lease");
                    assert!(engine.with(|inner| inner.valid.contains(&lease)), "{lease}");
                    times.fetch_add(1, Ordering::Relaxed);
                    sleep(Duration::from_millis(500 + 37 * user)).await;
                }
            }
        });
    }
    users.join_all().await;
    sleep(Duration::from_millis(10)).await;
    let (fetches, revoked) = engine.with(|inner| (inner.fetches, inner.revoked.len() as u64));
    assert!(times.load(Ordering::Relaxed) > 1000);
    assert!(fetches >= 15, "{fetches}");
    assert_eq!(revoked, fetches - 1);
    assert!(!kinds(&registry).contains(&"secret_expired_in_use"));
}

/// An audit log in a folder of its own, and what its lines say: action, version, outcome.
struct Log(std::path::PathBuf);

impl Log {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("octostack-store-{name}"));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir.join("audit.jsonl"))
    }

    fn secrets(&self, engine: &Engine, mode: AuditMode) -> Secrets {
        let audit = Audit::open(&AuditConfig::new(&self.0).with_mode(mode), "orders", "1").unwrap();
        let builder = Secrets::builder("orders").registry(&Registry::new());
        builder.provider(engine.clone()).audit(audit).build()
    }

    fn said(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.0).unwrap();
        let said = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let of = |name: &str| line[name].to_string().trim_matches('"').to_owned();
            format!("{} {} {} {}", of("action"), of("consumer"), of("version"), of("outcome"))
        };
        text.lines().map(said).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn each_access_is_on_record_with_its_outcome_and_no_secret() {
    let (engine, log) = (Engine::new(), Log::new("record"));
    engine.with(|inner| inner.most = Some(TTL));
    let secrets = log.secrets(&engine, AuditMode::Block);
    let handle = secrets.open("pool", &reference()).await.unwrap();
    for _ in 0..3 {
        handle.load().unwrap();
    }
    handle.changed(1).await;
    engine.fail(1000);
    sleep(2 * TTL).await;
    for _ in 0..3 {
        handle.load().unwrap_err();
    }
    drop(handle);
    secrets.close().await;
    let said = log.said();
    let first = ["open null null ok", "fetch null 1 ok", "read pool 1 ok", "renew null null ok"];
    assert_eq!(said[..4], first);
    assert_eq!(said.iter().filter(|line| *line == "read pool 1 ok").count(), 1);
    for line in ["retire null 1 ok", "revoke null 1 ok", "fetch null 2 ok", "read pool 2 expired"] {
        assert_eq!(said.iter().filter(|said| *said == line).count(), 1, "{line}: {said:#?}");
    }
    assert!(said.contains(&"fetch null null unavailable".to_owned()), "{said:#?}");
    let text = std::fs::read_to_string(&log.0).unwrap();
    assert!(!text.contains("password-") && !text.contains("lease-"), "{text}");
    assert!(text.contains(r#""action":"retire""#) && text.contains(r#""reads":3"#), "{text}");
    assert!(verify(&log.0, None).is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_put_on_record_nobody_gets_unless_it_is_best_effort() {
    for (mode, refused) in [(AuditMode::Block, true), (AuditMode::BestEffort, false)] {
        let (engine, log) = (Engine::new(), Log::new(mode.as_str()));
        let secrets = log.secrets(&engine, mode);
        let handle = secrets.open("pool", &reference()).await.unwrap();
        // Somebody else writes into the file.
        std::fs::write(&log.0, "another\n").unwrap();
        let got = handle.load();
        assert_eq!(got.is_err(), refused, "{mode:?}: {got:?}");
        if let Err(error) = got {
            assert_eq!(error.kind(), SecretErrorKind::NotRecorded);
            assert!(error.to_string().contains("the access is not on record"), "{error}");
        }
        assert!(secrets.standing().unwrap_err().contains("audit"), "{mode:?}");
    }
}
