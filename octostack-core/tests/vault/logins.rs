//! Being logged in, and staying so.

use super::script::{Fault, Script, TokenSpec};
use super::{SECONDS, dir, fetch, provider, root, secret, text};
use octostack_core::secret::provider::{ProviderErrorKind, SecretProvider};
use octostack_core::secret::vault::{VaultAuth, VaultConfig, VaultProvider};
use std::sync::Arc;
use std::time::Duration;

const LOGIN: &str = "auth/approle/login";

async fn started() -> Script {
    let script = Script::start().await;
    script.put_kv2("kv/orders", &[("p", "x")]);
    script
}

fn approle(script: &Script) -> VaultConfig {
    VaultConfig::new(script.url()).with_approle("orders", secret("s3cr3t-id"))
}

/// A provider that is kept logged in, as a service does it.
fn running(config: VaultConfig) -> Arc<VaultProvider> {
    let vault = Arc::new(provider(config));
    let run = Arc::clone(&vault);
    tokio::spawn(async move { run.run().await });
    vault
}

async fn reads(vault: &VaultProvider) -> Result<String, String> {
    text(vault, "vault://kv/orders").await
}

/// Waits for what is expected; a test that waits in vain fails.
async fn within(what: impl Future<Output = ()>) {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("it did not come");
}

#[tokio::test]
async fn all_who_ask_at_once_share_one_login() {
    let script = started().await;
    script.approle("orders", "s3cr3t-id", TokenSpec::renewable(SECONDS(600)));
    let vault = Arc::new(provider(approle(&script)));
    assert!(script.requests().is_empty(), "nothing is asked before it is needed");
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let vault = Arc::clone(&vault);
        all.spawn(async move { reads(&vault).await });
    }
    while let Some(read) = all.join_next().await {
        assert_eq!(read.unwrap().unwrap(), "x");
    }
    assert_eq!(script.requests_to(LOGIN).len(), 1);
    let asked = &script.requests_to(LOGIN)[0];
    assert_eq!(asked.body["role_id"], "orders");
    assert_eq!((asked.token(), asked.body.as_object().unwrap().len()), ("", 2));
}

#[tokio::test]
async fn a_login_is_renewed_and_replaced_when_renewals_are_capped() {
    let script = started().await;
    let spec = TokenSpec::renewable(SECONDS(3)).at_most(SECONDS(5));
    script.approle("orders", "s3cr3t-id", spec);
    let vault = running(approle(&script));
    reads(&vault).await.unwrap();
    within(script.asked(LOGIN, 2)).await;
    let renewals = script.requests_to("auth/token/renew-self").len();
    assert!((1..=3).contains(&renewals), "{renewals} renewals before the cap");
    assert_eq!(script.requests_to("auth/token/renew-self")[0].body["increment"], 3);
    assert_eq!(reads(&vault).await.unwrap(), "x");
    assert_eq!(vault.abnormal(), None);
}

#[tokio::test]
async fn a_server_that_fails_a_renewal_is_asked_again() {
    let script = started().await;
    script.approle("orders", "s3cr3t-id", TokenSpec::renewable(SECONDS(2)));
    let vault = running(approle(&script));
    reads(&vault).await.unwrap();
    script.faults(2, "auth/token/renew-self", Fault::Status(503, "Vault is sealed"));
    within(script.asked("auth/token/renew-self", 4)).await;
    assert_eq!(script.requests_to(LOGIN).len(), 1, "the login has never ended");
}

#[tokio::test]
async fn a_token_that_was_revoked_is_replaced_within_the_request() {
    let script = started().await;
    script.approle("orders", "s3cr3t-id", TokenSpec::renewable(SECONDS(600)));
    let vault = provider(approle(&script));
    reads(&vault).await.unwrap();
    script.revoke_all_tokens().await;
    assert_eq!(reads(&vault).await.unwrap(), "x");
    assert_eq!(script.requests_to(LOGIN).len(), 2);
}

#[tokio::test]
async fn a_path_that_is_not_allowed_does_not_cost_a_login() {
    let script = started().await;
    script.approle("orders", "s3cr3t-id", TokenSpec::renewable(SECONDS(600)));
    script.deny("kv/data/orders");
    let vault = provider(approle(&script));
    for _ in 0..3 {
        let error = fetch(&vault, "vault://kv/orders").await.unwrap_err();
        assert_eq!(error.kind(), ProviderErrorKind::Refused);
        assert!(
            error
                .message()
                .contains("kv/data/orders: 403 Forbidden: 1 error occurred: * permission denied"),
            "{error}"
        );
    }
    assert_eq!(script.requests_to(LOGIN).len(), 1);
    // Where the token may not even ask about itself, it is doubted once.
    script.deny("auth/token/lookup-self");
    for _ in 0..3 {
        assert!(reads(&vault).await.is_err());
    }
    assert_eq!(script.requests_to(LOGIN).len(), 2);
    script.allow("kv/data/orders");
    assert_eq!(reads(&vault).await.unwrap(), "x");
}

#[tokio::test]
async fn a_wrong_secret_is_not_tried_over_and_over_and_a_new_one_at_once() {
    let script = started().await;
    script.approle("orders", "another", TokenSpec::renewable(SECONDS(600)));
    let vault = provider(approle(&script));
    let error = fetch(&vault, "vault://kv/orders").await.unwrap_err();
    assert_eq!(error.kind(), ProviderErrorKind::Refused);
    assert!(
        error.message().contains("the login at auth/approle: 400 Bad Request: invalid role or")
    );
    let error = fetch(&vault, "vault://kv/orders").await.unwrap_err();
    assert!(error.retry_after().is_some(), "{error:?}");
    assert_eq!(script.requests_to(LOGIN).len(), 1, "servers lock out who fails too often");
    let abnormal = vault.abnormal().unwrap();
    assert!(abnormal.contains("cannot log in: the login at auth/approle"), "{abnormal}");

    let better = VaultConfig::new(script.url()).with_approle("orders", secret("another"));
    vault.reconfigure(better.clone()).unwrap();
    assert_eq!(reads(&vault).await.unwrap(), "x");
    assert_eq!(vault.abnormal(), None);
    // Nothing has changed, so nothing is done.
    vault.reconfigure(better).unwrap();
    // A new secret is for the next login.
    script.approle("orders", "newest", TokenSpec::renewable(SECONDS(600)));
    vault
        .reconfigure(VaultConfig::new(script.url()).with_approle("orders", secret("newest")))
        .unwrap();
    reads(&vault).await.unwrap();
    assert_eq!(script.requests_to(LOGIN).len(), 2);
    script.revoke_all_tokens().await;
    reads(&vault).await.unwrap();
    assert_eq!(script.requests_to(LOGIN)[2].body["secret_id"], "newest");
    let wrong = VaultConfig::new("http://vault:8200");
    assert!(vault.reconfigure(wrong).is_err());
    assert_eq!(reads(&vault).await.unwrap(), "x", "the settings of before stay");
}

#[tokio::test]
async fn a_service_account_is_read_at_each_login() {
    let script = started().await;
    let file = dir("jwt").join("token");
    std::fs::write(&file, "jwt-1\n").unwrap();
    script.login_at("clusters/blue", "orders", "jwt-1", TokenSpec::renewable(SECONDS(600)));
    let mut config = VaultConfig::new(script.url()).with_kubernetes("orders");
    config.auth_mount = Some("clusters/blue".to_owned());
    config.jwt_file = file.clone();
    let vault = provider(config);
    assert_eq!(reads(&vault).await.unwrap(), "x");
    std::fs::write(&file, "jwt-2\n").unwrap();
    script.login_at("clusters/blue", "orders", "jwt-2", TokenSpec::renewable(SECONDS(600)));
    script.revoke_all_tokens().await;
    assert_eq!(reads(&vault).await.unwrap(), "x");
    let logins = script.requests_to("auth/clusters/blue/login");
    assert_eq!(
        (&logins[0].body["jwt"], &logins[1].body["jwt"]),
        (&"jwt-1".into(), &"jwt-2".into())
    );
    std::fs::remove_file(&file).unwrap();
    script.revoke_all_tokens().await;
    let error = reads(&vault).await.unwrap_err();
    assert!(error.contains("token cannot be read"), "{error}");
}

#[tokio::test]
async fn a_role_may_need_no_secret() {
    let script = started().await;
    script.approle("orders", "", TokenSpec::renewable(SECONDS(600)));
    let mut config = approle(&script);
    config.secret_id = None;
    assert_eq!(reads(&provider(config)).await.unwrap(), "x");
    assert_eq!(script.requests_to(LOGIN)[0].body, serde_json::json!({ "role_id": "orders" }));
}

#[tokio::test]
async fn a_given_token_is_kept_alive_and_what_cannot_be_is_told() {
    let script = started().await;
    script.token("given", TokenSpec::renewable(SECONDS(2)));
    let with = |token: &str| VaultConfig::new(script.url()).with_token(secret(token));
    let vault = running(with("given"));
    assert_eq!(reads(&vault).await.unwrap(), "x");
    within(script.asked("auth/token/renew-self", 2)).await;
    assert_eq!(vault.abnormal(), None);

    script.token("short", TokenSpec::once(SECONDS(600)));
    vault.reconfigure(with("short")).unwrap();
    reads(&vault).await.unwrap();
    let abnormal = vault.abnormal().unwrap();
    assert!(abnormal.starts_with("the token ends at 20"), "{abnormal}");
    assert!(abnormal.ends_with("and cannot be renewed; replace it"), "{abnormal}");

    script.revoke_token("short").await;
    let error = fetch(&vault, "vault://kv/orders").await.unwrap_err();
    assert_eq!(error.kind(), ProviderErrorKind::Refused);
    assert!(error.message().contains("there is no other; replace it"), "{error}");
    assert!(!error.message().contains("short"), "{error}");
    vault.reconfigure(root(&script)).unwrap();
    reads(&vault).await.unwrap();
    assert_eq!(vault.abnormal(), None, "it never ends");
}

#[tokio::test]
async fn a_token_that_may_not_look_at_itself_is_used_all_the_same() {
    let script = started().await;
    script.token("given", TokenSpec::renewable(SECONDS(600)));
    script.deny("auth/token/lookup-self");
    let vault = provider(VaultConfig::new(script.url()).with_token(secret("given")));
    assert_eq!(reads(&vault).await.unwrap(), "x");
    let abnormal = vault.abnormal().unwrap();
    assert!(abnormal.contains("has to allow read on auth/token/lookup-self"), "{abnormal}");

    // What is not allowed is told, and the token is not taken for the cause.
    script.hide_mounts();
    let config = || VaultConfig::new(script.url()).with_token(secret("given"));
    assert_eq!(reads(&provider(config())).await.unwrap(), "x");
    script.deny("kv/data/orders");
    let error = fetch(&provider(config()), "vault://kv/orders?kv=2").await.unwrap_err();
    assert!(error.message().starts_with("kv/data/orders: 403 Forbidden: "), "{error}");
    assert!(error.message().contains("has to allow read on auth/token/lookup-self"), "{error}");
}

#[tokio::test]
async fn the_file_of_an_agent_is_read_again_when_its_token_has_ended() {
    let script = started().await;
    let file = dir("sink").join("token");
    let write = |token: &str| {
        std::fs::write(&file, format!("{token}\n")).unwrap();
        script.token(token, TokenSpec::once(SECONDS(600)));
    };
    write("first");
    let mut config = VaultConfig::new(script.url());
    (config.auth, config.token_file) = (VaultAuth::Token, Some(file.clone()));
    let vault = provider(config);
    assert_eq!(reads(&vault).await.unwrap(), "x");
    write("second");
    script.revoke_token("first").await;
    assert_eq!(reads(&vault).await.unwrap(), "x");
    assert_eq!(script.requests().last().unwrap().token(), "second");
    assert_eq!(vault.abnormal(), None);
}

#[tokio::test]
async fn a_server_that_renews_no_tokens_gets_no_token_in_a_path() {
    let script = started().await;
    script.speak_legacy();
    script.put_kv1("kv1/orders", &[("p", "x")]);
    script.approle("orders", "s3cr3t-id", TokenSpec::renewable(SECONDS(2)));
    let vault = running(approle(&script));
    text(&vault, "vault://kv1/orders").await.unwrap();
    within(script.asked(LOGIN, 2)).await;
    assert!(script.requests().iter().all(|request| !request.path.contains("hvs.")));
    assert_eq!(text(&vault, "vault://kv1/orders").await.unwrap(), "x");
}

#[tokio::test]
async fn a_fetch_that_is_dropped_in_the_login_leaves_it_to_the_next() {
    let script = started().await;
    script.approle("orders", "s3cr3t-id", TokenSpec::renewable(SECONDS(600)));
    script.fault(Fault::Hang);
    let vault = provider(approle(&script));
    tokio::select! {
        read = reads(&vault) => panic!("the server hangs, and it read {read:?}"),
        () = within(script.asked(LOGIN, 1)) => {}
    }
    assert_eq!(reads(&vault).await.unwrap(), "x");
}

#[tokio::test]
async fn two_providers_share_nothing() {
    let script = started().await;
    script.approle("orders", "s3cr3t-id", TokenSpec::renewable(SECONDS(600)));
    script.approle("stock", "other-id", TokenSpec::renewable(SECONDS(600)));
    let other = VaultConfig::new(script.url()).with_approle("stock", secret("other-id"));
    let (one, two) = (provider(approle(&script)), provider(other));
    reads(&one).await.unwrap();
    reads(&two).await.unwrap();
    let reads = script.requests_to("kv/data/orders");
    assert_ne!(reads[0].token(), reads[1].token());
    one.close().await.unwrap();
    assert!(text(&two, "vault://kv/orders").await.is_ok());
    assert_eq!(script.requests_to(LOGIN).len(), 2);
}

#[tokio::test]
async fn an_agent_on_the_way_adds_the_token_itself() {
    let script = started().await;
    let vault = running(VaultConfig::new(script.url()).with_agent());
    // Here is no agent, so that the server refuses what comes without a token.
    for _ in 0..2 {
        let error = fetch(&vault, "vault://kv/orders").await.unwrap_err();
        assert_eq!(error.kind(), ProviderErrorKind::Refused);
    }
    let requests = script.requests();
    assert!(requests.iter().all(|request| !request.headers.contains_key("x-vault-token")));
    assert!(requests.iter().all(|request| !request.path.starts_with("auth/")), "{requests:?}");
    vault.close().await.unwrap();
}

#[tokio::test]
async fn an_answer_that_names_the_token_needs_no_further_look_at_it() {
    let script = started().await;
    script.approle("orders", "s3cr3t-id", TokenSpec::renewable(SECONDS(600)));
    let vault = provider(approle(&script));
    reads(&vault).await.unwrap();
    for _ in 0..2 {
        let error = "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n";
        script.fault(Fault::Status(403, error));
        assert_eq!(reads(&vault).await.unwrap(), "x");
    }
    assert_eq!(script.requests_to(LOGIN).len(), 3);
    assert!(script.requests_to("auth/token").is_empty());
}

#[tokio::test]
async fn whoever_is_logged_in_by_new_settings_is_kept_so() {
    let script = started().await;
    script.token("given", TokenSpec::renewable(SECONDS(4)));
    let vault = running(root(&script));
    reads(&vault).await.unwrap();
    vault.reconfigure(VaultConfig::new(script.url()).with_token(secret("given"))).unwrap();
    reads(&vault).await.unwrap();
    within(script.asked("auth/token/renew-self", 2)).await;
    assert_eq!(reads(&vault).await.unwrap(), "x");
}

#[tokio::test]
async fn settings_that_are_the_same_change_nothing() {
    let script = started().await;
    let vault = provider(root(&script));
    reads(&vault).await.unwrap();
    let before = script.requests().len();
    vault.reconfigure(root(&script)).unwrap();
    reads(&vault).await.unwrap();
    assert_eq!(script.requests().len(), before + 1, "the login and the mount are known");
}
