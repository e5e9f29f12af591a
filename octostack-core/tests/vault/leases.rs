//! Credentials that are made for us, and their ends.

use super::script::{Script, TokenSpec};
use super::{MILLIS, SECONDS, fetch, provider, root, secret, text};
use octostack_core::secret::provider::{Lease, LeaseId, ProviderErrorKind, SecretProvider};
use octostack_core::secret::vault::{LeasePaths, VaultConfig};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Lets a role in whose tokens live like this.
fn approle(script: &Script, spec: TokenSpec) -> VaultConfig {
    script.approle("orders", "s3cr3t-id", spec);
    VaultConfig::new(script.url()).with_approle("orders", secret("s3cr3t-id"))
}

async fn lease(vault: &octostack_core::secret::vault::VaultProvider) -> Lease {
    fetch(vault, "vault://database/creds/orders").await.unwrap().lease.unwrap()
}

#[tokio::test]
async fn credentials_are_renewed_up_to_their_cap_and_revoked() {
    let script = Script::start().await;
    script.creds("orders", SECONDS(60), SECONDS(100));
    let vault = provider(root(&script));
    let fetched = fetch(&vault, "vault://database/creds/orders").await.unwrap();
    let (one, lease) = (fetched.payload.select(Some("username")).unwrap(), fetched.lease.unwrap());
    assert_eq!(one.expose(), "v-orders-1");
    assert_eq!((lease.ttl, lease.renewable, fetched.look_again), (SECONDS(60), true, None));
    let id = lease.id.unwrap();
    assert!(!format!("{id:?}").contains("lease-1"), "whoever has it can end it");

    script.advance(SECONDS(50)).await;
    let renewed = vault.renew(&id, SECONDS(60)).await.unwrap();
    assert!(renewed.ttl < SECONDS(51) && renewed.ttl > SECONDS(45), "capped: {renewed:?}");
    let asked = script.requests_to("sys/leases/renew").remove(0);
    assert_eq!((asked.method.as_str(), &asked.body["increment"]), ("PUT", &60.into()));
    assert!(vault.status().to_string().contains(r#""leases": 1"#));

    let two = text(&vault, "vault://database/creds/orders#username").await.unwrap();
    assert_eq!(two, "v-orders-2", "each fetch makes new ones");
    vault.revoke(&id).await.unwrap();
    assert_eq!(script.revoked(), ["database/creds/orders/lease-1"]);
    assert_eq!(script.leases().len(), 1);
}

#[tokio::test]
async fn a_lease_that_has_ended_is_gone() {
    let script = Script::start().await;
    script.creds("orders", SECONDS(60), SECONDS(100));
    let vault = provider(root(&script));
    let id = lease(&vault).await.id.unwrap();
    script.advance(SECONDS(61)).await;
    let error = vault.renew(&id, SECONDS(60)).await.unwrap_err();
    assert_eq!(error.kind(), ProviderErrorKind::Gone);
    assert!(error.message().contains("lease not found"), "{error}");
    assert!(!error.message().contains("lease-1"), "{error}");
    let error = fetch(&vault, "vault://database/creds/nobody").await.unwrap_err();
    assert!(error.message().contains("unknown role: nobody"), "{error}");
    assert_eq!(error.kind(), ProviderErrorKind::Invalid);
}

#[tokio::test]
async fn servers_with_the_legacy_paths_are_noticed_once() {
    let script = Script::start().await;
    script.speak_legacy();
    script.creds("orders", SECONDS(60), SECONDS(100));
    let vault = provider(root(&script));
    let (one, two) = (lease(&vault).await, lease(&vault).await);
    vault.renew(&one.id.clone().unwrap(), SECONDS(60)).await.unwrap();
    vault.revoke(&one.id.unwrap()).await.unwrap();
    vault.revoke(&two.id.unwrap()).await.unwrap();
    assert_eq!(script.revoked().len(), 2);
    assert_eq!(script.requests_to("sys/leases").len(), 1, "it is tried once");
    let error = vault.renew(&LeaseId::new("nothing/1"), SECONDS(60)).await.unwrap_err();
    assert_eq!(error.kind(), ProviderErrorKind::Gone, "{error}");

    let mut config = root(&script);
    config.lease_paths = LeasePaths::Current;
    let error = provider(config).renew(&LeaseId::new("a/1"), SECONDS(60)).await.unwrap_err();
    assert!(error.message().contains("path not supported"), "{error}");
}

#[tokio::test]
async fn a_lease_is_never_told_to_outlive_the_login_it_was_given_to() {
    let script = Script::start().await;
    script.creds("orders", SECONDS(3600), SECONDS(7200));
    let vault = provider(approle(&script, TokenSpec::once(SECONDS(600))));
    let first = lease(&vault).await;
    assert!(first.ttl <= SECONDS(600) && first.ttl > SECONDS(590), "{first:?}");
    let id = first.id.unwrap();
    let renewed = vault.renew(&id, SECONDS(3600)).await.unwrap();
    assert!(renewed.ttl <= SECONDS(600) && renewed.renewable, "{renewed:?}");

    // The token is gone, and with it the lease.
    script.revoke_all_tokens().await;
    assert_eq!(script.ended(), [("database/creds/orders/lease-2".to_owned(), "its token ended")]);
    let error = vault.renew(&id, SECONDS(3600)).await.unwrap_err();
    assert_eq!(error.kind(), ProviderErrorKind::Gone, "after a new login: {error}");
    assert!(lease(&vault).await.renewable);
}

#[tokio::test]
async fn what_an_earlier_login_was_given_is_not_renewed_past_it() {
    let script = Script::start().await;
    script.creds("orders", SECONDS(3600), SECONDS(7200));
    let config = approle(&script, TokenSpec::renewable(SECONDS(600)));
    script.token("operator", TokenSpec::renewable(SECONDS(1800)));
    let vault = provider(config);
    let id = lease(&vault).await.id.unwrap();
    let by_token = VaultConfig::new(script.url()).with_token(secret("operator"));
    vault.reconfigure(by_token).unwrap();
    let renewed = vault.renew(&id, SECONDS(3600)).await.unwrap();
    assert!(renewed.ttl <= SECONDS(600) && !renewed.renewable, "{renewed:?}");
    assert_eq!(script.requests_to("sys/leases/renew")[0].token(), "operator");
    assert!(lease(&vault).await.ttl > SECONDS(1700));
}

#[tokio::test]
async fn static_roles_are_looked_at_after_their_turn() {
    let script = Script::start().await;
    script.static_role("shop", SECONDS(60));
    let vault = provider(root(&script));
    let before = fetch(&vault, "vault://database/static-creds/shop").await.unwrap();
    assert_eq!((before.lease, before.version.as_deref()), (None, Some("turn 1")));
    let again = before.look_again.unwrap();
    assert!(again > SECONDS(60) && again <= SECONDS(61), "{again:?}");
    script.advance(again).await;
    let after = text(&vault, "vault://database/static-creds/shop#password").await.unwrap();
    assert_eq!(after, "password-of-shop-2");
    script.static_role("slow", SECONDS(86_400));
    let slow = fetch(&vault, "vault://database/static-creds/slow").await.unwrap();
    assert_eq!(slow.look_again, Some(SECONDS(300)), "somebody may turn it by hand");
}

#[tokio::test]
async fn an_orderly_end_ends_the_logins_that_are_ours() {
    let script = Script::start().await;
    script.creds("orders", SECONDS(3600), SECONDS(7200));
    let vault = provider(approle(&script, TokenSpec::renewable(SECONDS(600))));
    lease(&vault).await;
    vault.close().await.unwrap();
    assert_eq!((script.leases().len(), script.tokens().len()), (0, 1), "root stays");
    assert!(vault.status().to_string().contains(r#""login": null"#));

    script.token("given", TokenSpec::renewable(SECONDS(600)));
    let vault = provider(VaultConfig::new(script.url()).with_token(secret("given")));
    lease(&vault).await;
    vault.close().await.unwrap();
    assert!(script.tokens().contains(&"given".to_owned()), "it is not ours");
}

/// The script itself: a database hears of credentials in the right order.
#[tokio::test]
async fn a_database_behind_the_script_hears_of_every_beginning_and_end() {
    let script = Script::start().await;
    script.creds("orders", SECONDS(1), SECONDS(2));
    let users: Arc<Mutex<Vec<String>>> = Arc::default();
    let (made, ended) = (Arc::clone(&users), Arc::clone(&users));
    script.database(
        move |user| {
            made.lock().unwrap().push(user.username);
            std::future::ready(())
        },
        move |user| {
            ended.lock().unwrap().retain(|known| *known != user.username);
            std::future::ready(())
        },
    );
    let vault = provider(root(&script));
    let user = text(&vault, "vault://database/creds/orders#username").await.unwrap();
    assert_eq!(*users.lock().unwrap(), [user]);
    let end = async {
        while !users.lock().unwrap().is_empty() {
            tokio::time::sleep(MILLIS(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), end).await.unwrap();
    assert_eq!(script.ended()[0].1, "expired");
}
