//! Whatever servers and networks do.

use super::script::{Fault, ROOT, Script};
use super::{SECONDS, fetch, provider, root, text};
use octostack_core::secret::provider::ProviderErrorKind::{Invalid, Refused, Unavailable};
use octostack_core::secret::provider::SecretProvider;
use octostack_core::secret::vault::VaultProvider;

/// A provider that is logged in and knows the mount.
async fn ready() -> (Script, VaultProvider) {
    let script = Script::start().await;
    script.put_kv2("kv/orders", &[("p", "x")]);
    let mut config = root(&script);
    config.timeout = SECONDS(2);
    config.max_response_bytes = 4096;
    let vault = provider(config);
    text(&vault, "vault://kv/orders").await.unwrap();
    (script, vault)
}

#[tokio::test]
async fn each_failure_is_told_for_what_it_is_and_is_over_afterwards() {
    let (script, vault) = ready().await;
    let long = format!(r#"{{"data": {{"data": {{"p": "{}"#, "x".repeat(200));
    for (fault, kind, says) in [
        (
            Fault::Status(503, "Vault is sealed"),
            Unavailable,
            "503 Service Unavailable: Vault is sealed",
        ),
        (Fault::Status(500, "internal error"), Unavailable, "500 Internal Server Error"),
        (Fault::Status(412, "required index state not present"), Unavailable, "412"),
        (Fault::Status(472, ""), Unavailable, "472 a recovering secondary"),
        (Fault::Status(473, ""), Unavailable, "473 a standby"),
        (Fault::Status(400, "missing client token"), Refused, "missing client token"),
        (Fault::Status(400, "odd"), Invalid, "400 Bad Request: odd"),
        (Fault::Hang, Unavailable, "did not answer within 2s"),
        (Fault::Drop, Unavailable, "cannot be reached"),
        (Fault::Cut, Unavailable, "did not come to the end of its answer"),
        (Fault::Say("<html>hunter2</html>".to_owned()), Invalid, "the answer is no JSON"),
        (Fault::Say(long), Invalid, "the answer is no JSON"),
        (Fault::Say(r#"{"data": "hunter2"}"#.to_owned()), Invalid, "is not what was asked for"),
        (
            Fault::Say(r#"{"data": {"p": "hunter2"}}"#.to_owned()),
            Invalid,
            "no secret of KV version 2",
        ),
        (Fault::Say("{}".to_owned()), Invalid, "holds no data"),
        (Fault::Huge(5000), Unavailable, "more than 4096 bytes (max_response_bytes)"),
    ] {
        let shown = format!("{fault:?}");
        script.fault(fault);
        let error = fetch(&vault, "vault://kv/orders").await.unwrap_err();
        assert_eq!(error.kind(), kind, "{shown}: {error}");
        assert!(error.message().contains(says), "{shown}: {error}");
        assert!(error.message().starts_with("kv/data/orders: "), "{error}");
        assert!(!error.message().contains("hunter2"), "{error}");
        assert_eq!(vault.abnormal().is_some(), kind == Unavailable, "{:?}", vault.abnormal());
        assert_eq!(text(&vault, "vault://kv/orders").await.unwrap(), "x", "after {shown}");
        assert_eq!(vault.abnormal(), None);
    }
    let status = vault.status().to_string();
    assert!(status.contains("last_failure") && status.contains("max_response_bytes"), "{status}");
}

#[tokio::test]
async fn a_server_that_wants_to_be_left_alone_says_for_how_long() {
    let (script, vault) = ready().await;
    script.fault(Fault::Busy(429, 7));
    let error = fetch(&vault, "vault://kv/orders").await.unwrap_err();
    assert_eq!((error.kind(), error.retry_after()), (Unavailable, Some(SECONDS(7))));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let (script, _) = ready().await;
    let mut config = root(&script);
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    config.address = Some(format!("http://{port}"));
    let vault = provider(config);
    let error = fetch(&vault, "vault://kv/orders").await.unwrap_err();
    assert_eq!(error.kind(), Unavailable);
    assert!(error.message().contains("cannot be reached"), "{error}");
    assert!(vault.abnormal().unwrap().contains("cannot log in"));
    let error = fetch(&vault, "vault://kv/orders").await.unwrap_err();
    assert!(error.retry_after().is_some(), "it is left alone for a moment");
}

#[tokio::test]
async fn a_secret_that_a_server_repeats_is_in_no_message() {
    let (script, vault) = ready().await;
    script.fault(Fault::Status(400, "the token hvs.root-of-the-script\nis   odd"));
    let error = fetch(&vault, "vault://kv/orders").await.unwrap_err();
    assert!(error.message().ends_with("the token [redacted] is odd"), "{error}");
    assert!(!vault.status().to_string().contains(ROOT));
}

#[tokio::test]
async fn a_standby_sends_to_the_active_one_with_method_body_and_token() {
    let (script, vault) = ready().await;
    let active = Script::start().await;
    active.put_kv2("kv/orders", &[("p", "of the active one")]);
    active.creds("orders", SECONDS(60), SECONDS(60));
    let to = |path: &str| Fault::Redirect(307, format!("{}/v1/{path}", active.url()));
    script.fault(to("kv/data/orders"));
    assert_eq!(text(&vault, "vault://kv/orders").await.unwrap(), "of the active one");
    assert_eq!(active.requests()[0].token(), ROOT);

    script.faults(1, "database", to("database/creds/orders"));
    let lease = fetch(&vault, "vault://database/creds/orders").await.unwrap().lease.unwrap();
    script.faults(1, "sys/leases/revoke", to("sys/leases/revoke"));
    vault.revoke(&lease.id.unwrap()).await.unwrap();
    assert_eq!(active.revoked().len(), 1);
    assert_eq!(active.requests().last().unwrap().method, "PUT");

    script.faults(
        9,
        "kv/data",
        Fault::Redirect(307, format!("{}/v1/kv/data/orders", script.url())),
    );
    let before = script.requests().len();
    let error = fetch(&vault, "vault://kv/orders").await.unwrap_err();
    assert!(error.message().contains("redirects more than 2 times"), "{error}");
    assert_eq!(script.requests().len() - before, 3);
    script.heal();
    script.fault(Fault::Redirect(307, "http://example.org/v1/x".to_owned()));
    let error = fetch(&vault, "vault://kv/orders").await.unwrap_err();
    assert!(error.message().contains("where others could read the token"), "{error}");
}
