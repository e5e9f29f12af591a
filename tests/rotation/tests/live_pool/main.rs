//! Credentials rotate many times past their longest life while a pool is under load, from a Vault
//! over HTTP to a real PostgreSQL: no query fails.
//!
//! `OCTOSTACK_ROTATION_SECONDS` makes the main run longer.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "figures, and what was skipped")]
#![allow(clippy::unwrap_used, reason = "it fails the test")]

mod bank;
mod careless;
mod check;
mod postgres;
#[path = "../../../../octostack-core/tests/vault/script/mod.rs"]
mod script;

use bank::{Load, TOTAL};
use octostack_core::Registry;
use octostack_core::secret::vault::{VaultConfig, VaultProvider};
use octostack_core::secret::{Handle, Secret, SecretRef, Secrets};
use octostack_rotation::pool::pool;
use postgres::Postgres;
use script::{Fault, ROOT, Script};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

const SECOND: Duration = Duration::from_secs(1);

/// How long credentials live, and at most by renewals: one renewal, then new ones.
const SHORT: (Duration, Duration) = (Duration::from_secs(4), Duration::from_secs(6));

/// So long that a test ends before.
const LONG: (Duration, Duration) = (Duration::from_secs(600), Duration::from_secs(1200));

/// A database, and a Vault that makes its credentials.
struct Shop {
    vault: Script,
    admin: Arc<Client>,
    postgres: Postgres,
}

/// A service that uses them.
struct Service {
    registry: Registry,
    secrets: Secrets,
    credentials: Handle,
}

impl Shop {
    /// `None` where there is no PostgreSQL.
    async fn open((ttl, max_ttl): (Duration, Duration)) -> Option<Self> {
        let postgres = Postgres::start().await?;
        let vault = Script::start().await;
        vault.creds("orders", ttl, max_ttl);
        let admin = bank::open(&postgres, &vault).await;
        Some(Self { vault, admin, postgres })
    }

    async fn service(&self) -> Service {
        let config = VaultConfig::new(self.vault.url()).with_token(Secret::new(ROOT.to_owned()));
        let registry = Registry::new();
        let provider = VaultProvider::new(config).unwrap();
        let secrets = Secrets::builder("orders").registry(&registry).provider(provider).build();
        let reference: SecretRef = "vault://database/creds/orders".parse().unwrap();
        let credentials = secrets.open("pool", &reference).await.unwrap();
        Service { registry, secrets, credentials }
    }

    /// As whoever has credentials.
    fn server(&self) -> tokio_postgres::Config {
        self.postgres.config("")
    }

    /// Ends the services: nothing that they were given is left.
    async fn close(self, services: impl IntoIterator<Item = Service>) {
        for service in services {
            service.secrets.close().await;
        }
        let gone = async {
            while !bank::roles(&self.admin).await.is_empty() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let gone = tokio::time::timeout(10 * SECOND, gone).await;
        assert!(gone.is_ok(), "roles are left: {:?}", bank::roles(&self.admin).await);
        assert_eq!(bank::total(&self.admin).await, TOTAL, "no transaction was lost or done twice");
    }
}

impl Service {
    fn told(&self, kind: &str) -> usize {
        self.registry.events().iter().filter(|event| event.kind == kind).count()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_query_fails_while_credentials_rotate() {
    let Some(shop) = Shop::open(SHORT).await else { return };
    let seconds = std::env::var("OCTOSTACK_ROTATION_SECONDS").map(|it| it.parse().unwrap());
    let (start, length) = (Instant::now(), Duration::from_secs(seconds.unwrap_or(25)));
    let services = [shop.service().await, shop.service().await, shop.service().await];
    let pools = services.each_ref().map(|it| pool(shop.server(), it.credentials.clone(), 4));
    let loads = pools.each_ref().map(|pool| Load::start(pool, 5));
    sleep(length).await;
    let (mut queries, mut failures) = (0, Vec::new());
    for load in loads {
        let (done, failed) = load.stop().await;
        queries += done;
        failures.extend(failed);
    }
    let took = start.elapsed();
    let rotations: Vec<_> = services.iter().map(|it| it.credentials.number() - 1).collect();
    let (all, failed) = (rotations.iter().sum::<u64>(), failures.len());
    println!("rotation: {queries} queries, {all} rotations, {failed} failures in {took:.1?}");
    assert_eq!(failures, Vec::<String>::new());
    // Each lives for less than its longest life, which is 6 s.
    let least = length.as_secs() / 6;
    assert!(rotations.iter().all(|number| *number >= least), "{rotations:?} in {took:?}");
    assert!(queries > 10 * length.as_secs(), "{queries} queries in {took:?}");
    let ended = shop.vault.ended();
    let expired: Vec<_> = ended.iter().filter(|(_, why)| *why != "revoked").collect();
    assert!(expired.is_empty(), "each is revoked once its last connection has gone: {expired:?}");
    assert!(services.iter().all(|service| service.told("secret_expired_in_use") == 0));
    drop(pools);
    shop.close(services).await;
}

/// Otherwise the test above would prove nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_that_keeps_its_connections_loses_queries() {
    let Some(shop) = Shop::open(SHORT).await else { return };
    let service = shop.service().await;
    let pool = careless::pool(shop.server(), service.credentials.clone(), 6);
    let load = Load::start(&pool, 8);
    let lost = async {
        while shop.vault.ended().is_empty() {
            sleep(Duration::from_millis(20)).await;
        }
        sleep(SECOND).await;
    };
    tokio::time::timeout(30 * SECOND, lost).await.unwrap();
    let (queries, failures) = load.stop().await;
    println!("careless: {queries} queries, {} failures", failures.len());
    assert!(!failures.is_empty(), "{queries} queries, and none failed");
    assert_eq!(shop.vault.ended()[0].1, "expired");
    assert!(service.told("secret_expired_in_use") > 0, "and an operator is told");
    drop(pool);
    shop.close([service]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_that_somebody_else_has_ended_are_replaced_when_they_are_refused() {
    let Some(shop) = Shop::open(LONG).await else { return };
    let service = shop.service().await;
    let pool = pool(shop.server(), service.credentials.clone(), 6);
    drop(pool.get().await.unwrap());
    let old = bank::roles(&shop.admin).await.remove(0);
    let end = format!("ALTER ROLE \"{old}\" PASSWORD 'another'");
    shop.admin.batch_execute(&end).await.unwrap();
    // One connection is there already, and more are made.
    let load = Load::start(&pool, 8);
    service.credentials.changed(1).await;
    while load.queries() < 200 {
        sleep(Duration::from_millis(10)).await;
    }
    let (_, failures) = load.stop().await;
    assert_eq!(failures, Vec::<String>::new());
    assert_eq!(service.credentials.number(), 2, "however many were refused");
    assert_eq!(shop.vault.requests_to("database/creds/orders").len(), 2);
    drop(pool);
    shop.close([service]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_vault_is_down_the_last_credentials_are_used_until_their_end() {
    let Some(shop) = Shop::open((6 * SECOND, 60 * SECOND)).await else { return };
    let service = shop.service().await;
    let pool = pool(shop.server(), service.credentials.clone(), 6);
    let load = Load::start(&pool, 8);
    let down = usize::MAX;
    shop.vault.faults(down, "sys/leases/renew", Fault::Status(503, "Vault is sealed"));
    shop.vault.faults(down, "database/creds", Fault::Status(503, "Vault is sealed"));
    // The renewal at two thirds of the life fails, and is tried again.
    shop.vault.asked("sys/leases/renew", 2).await;
    assert!(service.secrets.standing().unwrap_err().contains("not fresh since"));
    shop.vault.heal();
    while service.secrets.standing().is_err() {
        sleep(Duration::from_millis(20)).await;
    }
    let (_, failures) = load.stop().await;
    assert_eq!(failures, Vec::<String>::new());
    assert_eq!((service.credentials.number(), service.told("secret_refresh_recovered")), (1, 1));
    drop(pool);
    shop.close([service]).await;
}
