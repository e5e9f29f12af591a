//! Secrets that somebody has written.

use super::script::{ROOT, Script};
use super::{SECONDS, fetch, provider, reference, root, secret, text};
use octostack_core::secret::provider::{ProviderErrorKind, SecretProvider};
use octostack_core::secret::vault::{KvVersion, VaultConfig};

const MINUTES_5: std::time::Duration = std::time::Duration::from_secs(300);

#[tokio::test]
async fn a_field_of_either_version_is_read_by_the_same_reference() {
    let script = Script::start().await;
    script.put_kv2("kv/orders", &[("password", "hunter2"), ("user", "app")]);
    script.put_kv1("kv1/orders", &[("password", "hunter1")]);
    let vault = provider(root(&script));
    assert_eq!(text(&vault, "vault://kv/orders#password").await.unwrap(), "hunter2");
    assert_eq!(text(&vault, "vault://kv/data/orders#password").await.unwrap(), "hunter2");
    assert_eq!(text(&vault, "vault://kv1/orders#password").await.unwrap(), "hunter1");
    assert_eq!(text(&vault, "vault://kv1/orders").await.unwrap(), "hunter1", "the only field");

    let mounts = script.requests_to("sys/internal/ui/mounts");
    assert_eq!(mounts.len(), 2, "each mount is asked for once");
    let asked = script.requests_to("kv/data/orders").remove(0);
    assert_eq!((asked.method.as_str(), asked.token()), ("GET", ROOT));
    assert_eq!(asked.headers["x-vault-request"], "true");
    assert!(asked.headers["user-agent"].starts_with("octostack/"), "{asked:?}");
    let status = vault.status().to_string();
    assert!(
        status.contains(r#""mounts": {"kv": "kv version 2", "kv1": "kv version 1"}"#),
        "{status}"
    );
    assert!(!status.contains(ROOT) && !format!("{vault:?}").contains(ROOT), "{status}");
    assert_eq!(vault.abnormal(), None);
}

#[tokio::test]
async fn versions_are_told_and_looked_at_again_unless_one_is_pinned() {
    let script = Script::start().await;
    script.put_kv2("kv/orders", &[("password", "one")]);
    script.put_kv2("kv/orders", &[("password", "two")]);
    let vault = provider(root(&script));
    let last = fetch(&vault, "vault://kv/orders").await.unwrap();
    assert_eq!((last.version.as_deref(), last.look_again), (Some("2"), Some(MINUTES_5)));
    assert!(last.lease.is_none());
    let first = fetch(&vault, "vault://kv/orders?version=1").await.unwrap();
    assert_eq!((first.version.as_deref(), first.look_again), (Some("1"), None));
    assert_eq!(text(&vault, "vault://kv/orders?version=1#password").await.unwrap(), "one");

    script.delete_kv2("kv/orders", false);
    let error = fetch(&vault, "vault://kv/orders").await.unwrap_err();
    assert_eq!(error.kind(), ProviderErrorKind::NotFound);
    assert!(error.message().contains("kv/data/orders: version 2 was deleted at 2026-"), "{error}");
    script.delete_kv2("kv/orders", true);
    let error = fetch(&vault, "vault://kv/orders").await.unwrap_err();
    assert!(error.message().contains("version 2 was destroyed"), "{error}");
    let error = fetch(&vault, "vault://kv/nothing").await.unwrap_err();
    assert_eq!(error.kind(), ProviderErrorKind::NotFound);
    let error = fetch(&vault, "vault://kv1/orders?version=1").await.unwrap_err();
    assert!(error.message().contains("which only KV version 2 has"), "{error}");
}

#[tokio::test]
async fn values_that_are_no_text_are_as_they_are_written() {
    let script = Script::start().await;
    let data =
        serde_json::json!({ "port": 5432, "on": true, "of": ["a"], "text": "a\"b", "n": null });
    script.put_kv2_json("kv/orders", data);
    let vault = provider(root(&script));
    for (field, is) in
        [("port", "5432"), ("on", "true"), ("of", r#"["a"]"#), ("text", "a\"b"), ("n", "null")]
    {
        let from = format!("vault://kv/orders#{field}");
        assert_eq!(text(&vault, &from).await.unwrap(), is);
    }
}

#[tokio::test]
async fn mounts_and_paths_may_have_several_parts_and_odd_names() {
    let script = Script::start().await;
    script.mount_kv("team/blue/kv", 2);
    script.put_kv2("team/blue/kv/a/b c%d", &[("x", "deep")]);
    let vault = provider(root(&script));
    assert_eq!(text(&vault, "vault://team/blue/kv/a/b c%d").await.unwrap(), "deep");
}

#[tokio::test]
async fn where_the_server_does_not_say_it_others_can() {
    let script = Script::start().await;
    script.hide_mounts();
    script.mount_kv("team/kv", 2);
    script.put_kv2("kv/orders", &[("p", "flat")]);
    script.put_kv2("team/kv/orders", &[("p", "deep")]);
    script.put_kv1("kv1/orders", &[("p", "old")]);
    let vault = provider(root(&script));
    for (from, is) in [
        ("vault://kv/data/orders", "flat"),
        ("vault://kv/orders?kv=2", "flat"),
        ("vault://team/kv/orders?kv=2&mount=team/kv", "deep"),
        ("vault://team/kv/data/orders", "deep"),
        ("vault://kv1/orders?kv=1", "old"),
        ("vault://kv1/orders", "old"),
        // The answer says that it is one of version 2.
        ("vault://kv/orders", "flat"),
    ] {
        assert_eq!(text(&vault, from).await.unwrap(), is, "{from}");
    }
    let mut config = root(&script);
    config.kv_version = KvVersion::V2;
    assert_eq!(text(&provider(config), "vault://kv/orders").await.unwrap(), "flat");
}

#[tokio::test]
async fn many_that_start_at_once_ask_for_their_mount_once() {
    let script = Script::start().await;
    let vault = std::sync::Arc::new(provider(root(&script)));
    let mut all = tokio::task::JoinSet::new();
    for number in 0..20 {
        script.put_kv2(&format!("kv/{number}"), &[("p", "x")]);
    }
    for number in 0..20 {
        let vault = vault.clone();
        all.spawn(async move { text(&vault, &format!("vault://kv/{number}")).await.unwrap() });
    }
    assert_eq!(all.join_all().await, vec!["x"; 20]);
    assert_eq!(script.requests_to("sys/internal/ui/mounts").len(), 1);
}

#[tokio::test]
async fn a_mount_that_has_become_another_one_is_noticed() {
    let script = Script::start().await;
    script.put_kv1("kv1/orders", &[("p", "before")]);
    let vault = provider(root(&script));
    assert_eq!(text(&vault, "vault://kv1/orders").await.unwrap(), "before");
    let again = Script::start().await;
    again.mount_kv("kv1", 2);
    again.put_kv2("kv1/orders", &[("p", "after")]);
    vault.reconfigure(root(&again)).unwrap();
    assert_eq!(text(&vault, "vault://kv1/orders").await.unwrap(), "after");

    // The same server: a 404 makes it ask again.
    script.mount_kv("kv1", 2);
    script.put_kv2("kv1/other", &[("p", "after")]);
    let vault = provider(root(&script));
    script.mount_kv("kv1", 1);
    assert!(text(&vault, "vault://kv1/other").await.is_err());
    script.mount_kv("kv1", 2);
    assert_eq!(text(&vault, "vault://kv1/other").await.unwrap(), "after");
}

#[tokio::test]
async fn what_version_1_calls_a_lease_is_how_soon_to_look_again() {
    let script = Script::start().await;
    script.put_kv1("kv1/orders", &[("p", "x")]);
    script.put_kv1("kv1/short", &[("p", "x"), ("ttl", "20")]);
    let vault = provider(root(&script));
    let plain = fetch(&vault, "vault://kv1/orders").await.unwrap();
    assert_eq!((plain.lease, plain.look_again), (None, Some(MINUTES_5)));
    let short = fetch(&vault, "vault://kv1/short").await.unwrap();
    assert_eq!((short.lease, short.look_again), (None, Some(SECONDS(20))));
}

#[tokio::test]
async fn namespaces_do_not_see_each_other() {
    let script = Script::start().await;
    let (blue, red) = (script.namespace("team/blue"), script.namespace("team/red"));
    blue.put_kv2("kv/orders", &[("p", "of blue")]);
    red.put_kv2("kv/orders", &[("p", "of red")]);
    let of = |namespace: &str| {
        let mut config = root(&script);
        config.namespace = Some(namespace.to_owned());
        provider(config)
    };
    let (one, two) = (of("team/blue"), of("team/red"));
    assert_eq!(text(&one, "vault://kv/orders").await.unwrap(), "of blue");
    assert_eq!(text(&two, "vault://kv/orders").await.unwrap(), "of red");
    assert!(text(&provider(root(&script)), "vault://kv/orders").await.is_err());
    assert!(one.status().to_string().contains(r#""namespace": "team/blue""#));
}

#[tokio::test]
async fn the_same_server_is_openbao_by_another_scheme() {
    let script = Script::start().await;
    script.put_kv2("kv/orders", &[("p", "x")]);
    let bao = provider(root(&script)).with_scheme("bao");
    assert_eq!(bao.scheme(), "bao");
    assert_eq!(text(&bao, "bao://kv/orders#p").await.unwrap(), "x");
    let error = bao.check(&reference("bao://orders")).unwrap_err();
    assert!(error.contains("has no mount"), "{error}");
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let keys = |config: VaultConfig| -> Vec<String> {
        let problems = config.validate().err().unwrap_or_default();
        problems.into_iter().map(|problem| problem.key).collect()
    };
    let https = || VaultConfig::new("https://vault:8200");
    assert_eq!(keys(VaultConfig::default()), [""; 0], "no Vault at all is fine");
    assert_eq!(keys(https()), ["token"]);
    assert_eq!(keys(https().with_token(secret("a b"))), ["token"]);
    assert_eq!(keys(https().with_token(secret("t"))), [""; 0]);
    assert_eq!(keys(VaultConfig::new("http://vault:8200")), ["address"]);
    let with = |json: &str| keys(serde_json::from_str(json).unwrap());
    assert_eq!(with(r#"{"address": "https://v", "auth": "approle"}"#), ["role_id"]);
    assert_eq!(with(r#"{"address": "https://v", "auth": "kubernetes"}"#), ["role"]);
    let mixed = r#"{"address": "https://v", "token": "t", "role_id": "r", "namespace": "a b",
        "auth_mount": "/x", "timeout": "1h", "poll_interval": "0s", "max_response_bytes": 1}"#;
    let all =
        ["role_id", "namespace", "auth_mount", "poll_interval", "timeout", "max_response_bytes"];
    assert_eq!(with(mixed), all);
    let both = r#"{"address": "https://v", "token": "t", "token_file": "/t"}"#;
    assert_eq!(with(both), ["token"]);
    assert!(serde_json::from_str::<VaultConfig>(r#"{"adress": "https://v"}"#).is_err());

    let config = https().with_token(secret("hunter2"));
    assert!(!format!("{config:?}").contains("hunter2"));
    assert!(!serde_json::to_string(&config).unwrap().contains("hunter2"));
    let problems = octostack_core::secret::vault::VaultProvider::new(VaultConfig::default());
    assert_eq!(problems.unwrap_err()[0].key, "address");
}
