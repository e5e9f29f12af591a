//! Several lives of logins and of what they are given: nothing may end while it is in use.

use super::script::{Script, TokenSpec};
use super::{MILLIS, fetch, provider, secret};
use octostack_core::secret::provider::{Lease, SecretProvider};
use octostack_core::secret::vault::{VaultConfig, VaultProvider};
use std::sync::Arc;
use std::time::Duration;

const LOGIN: &str = "auth/approle/login";

/// Uses credentials as a store does that believes what it is told: renews at two thirds of what a
/// lease has left, and fetches new ones in time where renewals do not go on. The old ones are
/// revoked once the new ones are there.
async fn user(vault: Arc<VaultProvider>) {
    let next = async || fetch(&vault, "vault://database/creds/orders").await.unwrap();
    let mut lease: Lease = next().await.lease.unwrap();
    loop {
        tokio::time::sleep(lease.ttl.mul_f64(2.0 / 3.0)).await;
        let id = lease.id.clone().unwrap();
        let asked = Duration::from_secs(2);
        if lease.renewable {
            let renewed = vault.renew(&id, asked).await.unwrap();
            let capped = renewed.ttl < MILLIS(1200);
            lease.ttl = renewed.ttl;
            lease.renewable = renewed.renewable && !capped;
            if lease.renewable || renewed.ttl > MILLIS(600) {
                continue;
            }
        }
        lease = next().await.lease.unwrap();
        vault.revoke(&id).await.unwrap();
    }
}

#[tokio::test]
async fn nothing_ends_while_it_is_in_use_over_many_lives() {
    let script = Script::start().await;
    let spec = TokenSpec::renewable(MILLIS(2000)).at_most(MILLIS(4000));
    script.approle("orders", "s3cr3t-id", spec);
    script.creds("orders", MILLIS(2000), MILLIS(3000));
    let config = VaultConfig::new(script.url()).with_approle("orders", secret("s3cr3t-id"));
    let vault = Arc::new(provider(config));
    let run = Arc::clone(&vault);
    tokio::spawn(async move { run.run().await });
    let mut users = tokio::task::JoinSet::new();
    for start in 0..5 {
        let vault = Arc::clone(&vault);
        users.spawn(async move {
            tokio::time::sleep(MILLIS(start * 150)).await;
            user(vault).await;
        });
    }
    let lives = script.asked(LOGIN, 4);
    tokio::select! {
        lives = tokio::time::timeout(Duration::from_secs(60), lives) => lives.unwrap(),
        failed = users.join_next() => panic!("a user of secrets has failed: {failed:?}"),
    }
    let ended = script.ended();
    assert!(ended.len() >= 10, "{} credentials were replaced", ended.len());
    let too_early: Vec<_> = ended.iter().filter(|(_, why)| *why != "revoked").collect();
    assert!(too_early.is_empty(), "these ended while they were in use: {too_early:?}");
    assert_eq!(vault.abnormal(), None);
}
