//! Secrets that change while the service runs: the admin token is one of a Vault.
use crate::directory::Directory;
use crate::http::{ask, get};
use crate::process::Orders;
use crate::vault::Vault;
use rustix::process::Signal;
use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

const REFERENCE: &str = "vault://kv/orders#admin";
/// What is fetched of it: the field is chosen here.
const SECRET: &str = "vault://kv/orders";
const FIRST: &str = "first-t0ken";
const SECOND: &str = "second-t0ken";
const VAULT_TOKEN: &str = "t0ken-of-vault";

/// Starts the service with the admin token of `vault`, which is looked at often.
fn start(vault: &Vault, more: &[(&str, &str)]) -> Orders {
    let url = vault.url();
    let environment = [
        ("ADMIN_TOKEN", REFERENCE),
        ("VAULT_ADDR", &url),
        ("ORDERS_SECRETS_VAULT_POLL_INTERVAL", "50ms"),
    ];
    Orders::start(&[&environment[..], more].concat())
}

/// Whether an admin request with this token is let in. It asks for nothing, which is a mistake of
/// another kind.
fn lets_in(orders: &Orders, token: &str) -> bool {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let answer = ask(orders.admin, "PUT", "/policyz/inventory.breaker", &headers, "{}");
    match answer.status {
        400 => true,
        401 => false,
        other => panic!("{other}: {}", answer.text()),
    }
}

/// Waits until only `token` is let in.
fn token_is(orders: &Orders, token: &str, before: &str) {
    orders.process.eventually("the new token", || lets_in(orders, token).then_some(()));
    assert!(!lets_in(orders, before), "the old one is over");
}

/// Waits for the event of this kind about the secret.
fn event(orders: &Orders, kind: &str) -> Value {
    orders.process.wait_for(kind, |lines| {
        let is_it =
            |line: &&Value| line["context"]["kind"] == kind && line["context"]["subject"] == SECRET;
        lines.iter().rfind(is_it).cloned()
    })
}

fn phase_is(orders: &Orders, phase: &str) {
    orders.process.eventually(phase, || {
        let is_it = orders.metric("octostack_lifecycle_phase", &[("phase", phase)]);
        (is_it == Some(1.0)).then_some(())
    });
}

/// Ends it, and looks whether it has told a secret.
fn end(orders: Orders) {
    let pages = ["/configz", "/configz/diff", "/statusz", "/secretz", "/metrics"];
    let shown: String = pages.into_iter().map(|page| get(orders.admin, page).text()).collect();
    let exit = orders.stop(Signal::TERM);
    assert_eq!(exit.code, Some(0), "{}", exit.errors);
    for secret in [FIRST, SECOND, VAULT_TOKEN] {
        assert!(!exit.text.contains(secret) && !shown.contains(secret), "{secret} got out");
    }
}

#[test]
fn a_secret_is_rotated_under_a_running_service() {
    let vault = Vault::start(VAULT_TOKEN, &[("admin", FIRST)]);
    let orders = start(&vault, &[("VAULT_TOKEN", VAULT_TOKEN)]);
    assert!(lets_in(&orders, FIRST) && !lets_in(&orders, SECOND));
    let started = orders.page("/statusz");
    assert_eq!(started["generations"]["secrets"], 1);

    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let customers = scope.spawn(|| {
            let mut answers = Vec::new();
            while !over.load(SeqCst) {
                answers.push(get(orders.public, "/orders/1").status);
            }
            answers
        });
        vault.put(&[("admin", SECOND)]);
        token_is(&orders, SECOND, FIRST);
        over.store(true, SeqCst);
        let answers = customers.join().unwrap();
        assert!(!answers.is_empty() && answers.iter().all(|status| *status == 200), "{answers:?}");
    });

    let rotated = event(&orders, "secret_rotated");
    assert!(rotated["message"].as_str().unwrap().contains("replaced by version 2"), "{rotated}");
    let page = orders.page("/configz");
    assert_eq!(page["generation"], 2);
    assert_eq!(page["generations"][0]["by"], "a secret that was replaced", "{page:#}");
    let token = &page["settings"]["admin.token"];
    assert_eq!(token["value"], "[redacted]");
    let source = token["source"].as_str().unwrap();
    assert!(source.contains(REFERENCE) && source.contains("ADMIN_TOKEN"), "{source}");
    let diff = orders.page("/configz/diff?from=1&to=2");
    let change = &diff["changes"]["admin.token"];
    assert_eq!(diff["changes"].as_object().map(serde_json::Map::len), Some(1), "{diff:#}");
    assert_eq!(change["from"]["value"], "[redacted]");
    assert_eq!(change["to"]["value"], "[redacted]");
    assert_eq!(orders.metric("octostack_secret_version", &[("secret", SECRET)]), Some(2.0));
    let status = orders.page("/statusz");
    assert_eq!(status["generations"]["secrets"], 2);
    assert_eq!(status["started_at"], started["started_at"], "it is the same process");
    assert!(status.to_string().contains("secret_rotated"), "{status:#}");
    end(orders);
}

#[test]
fn while_vault_is_away_the_last_secret_stays_in_use() {
    let mut vault = Vault::start(VAULT_TOKEN, &[("admin", FIRST)]);
    let orders = start(&vault, &[("VAULT_TOKEN", VAULT_TOKEN)]);
    vault.stop();
    let failed = event(&orders, "secret_refresh_failed");
    let message = failed["message"].as_str().unwrap();
    assert!(message.contains(&vault.url()) && message.contains("stays in use"), "{message}");
    phase_is(&orders, "degraded");
    let degraded = get(orders.admin, "/readyz");
    assert_eq!(degraded.status, 200, "it gets traffic as before");
    let check =
        |orders: &Orders| orders.metric("octostack_health_check_status", &[("check", "secrets")]);
    assert_eq!(check(&orders), Some(0.0));
    let abnormal = orders.page("/statusz")["abnormal"].to_string();
    assert!(abnormal.contains(SECRET) && abnormal.contains("not fresh since"), "{abnormal}");
    assert_eq!(get(orders.public, "/orders/1").status, 200);
    assert!(lets_in(&orders, FIRST));
    // A reload of all the rest does not need it.
    let bearer = format!("Bearer {FIRST}");
    let headers = [("authorization", bearer.as_str())];
    let reloaded = ask(orders.admin, "POST", "/configz/reload", &headers, "");
    assert_eq!((reloaded.status, &reloaded.json()["result"]), (200, &"unchanged".into()));

    vault.put(&[("admin", SECOND)]);
    vault.resume();
    event(&orders, "secret_refresh_recovered");
    token_is(&orders, SECOND, FIRST);
    phase_is(&orders, "ready");
    assert_eq!(check(&orders), Some(1.0));
    assert_eq!(orders.page("/statusz")["abnormal"], serde_json::json!([]));
    end(orders);
}

#[test]
fn a_new_secret_that_cannot_be_used_leaves_the_old_one_in_use_until_it_is_put_right() {
    let vault = Vault::start(VAULT_TOKEN, &[("admin", FIRST)]);
    let orders = start(&vault, &[("VAULT_TOKEN", VAULT_TOKEN)]);
    vault.put(&[("amdin", SECOND)]);
    let error = orders.process.eventually("the refusal", || {
        let error = orders.page("/configz")["last_error"].to_string();
        error.contains("admin.token").then_some(error)
    });
    assert!(error.contains(REFERENCE), "{error}");
    assert!(lets_in(&orders, FIRST), "the last good one");
    phase_is(&orders, "degraded");
    vault.put(&[("admin", SECOND)]);
    token_is(&orders, SECOND, FIRST);
    phase_is(&orders, "ready");
    end(orders);
}

/// The token of the Vault is in a file, and another one is put there.
fn a_token_in_a_file(name: &str, variable: &str) {
    let vault = Vault::start("t0ken-of-before", &[("admin", FIRST)]);
    let files = Directory::with(name, &[]);
    files.write_secret("token", "t0ken-of-before\n");
    let orders = start(&vault, &[(variable, &files.join("token"))]);
    assert!(lets_in(&orders, FIRST));

    vault.allow(VAULT_TOKEN);
    files.write_secret("token", &format!("{VAULT_TOKEN}\n"));
    vault.revoke("t0ken-of-before");
    vault.put(&[("admin", SECOND)]);
    token_is(&orders, SECOND, FIRST);
    assert!(vault.asked_with(VAULT_TOKEN).iter().any(|path| path == "/v1/kv/data/orders"));
    phase_is(&orders, "ready");
    end(orders);
}

#[test]
fn another_token_of_vault_in_the_file_of_its_variable_is_used() {
    a_token_in_a_file("vault-token-file", "VAULT_TOKEN_FILE");
}

#[test]
fn another_token_of_vault_in_the_sink_of_an_agent_is_used() {
    a_token_in_a_file("vault-token-sink", "ORDERS_SECRETS_VAULT_TOKEN_FILE");
}
