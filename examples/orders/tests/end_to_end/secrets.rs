//! Secrets that cannot be had when the service starts: it says what is wrong, where, and what to
//! do, and ends.
use crate::directory::Directory;
use crate::http::get;
use crate::process::{Orders, Process, now};
use crate::vault::Vault;
use rustix::process::Signal;
use std::net::TcpListener;
use std::time::Duration;

const TOKEN: &str = "t0ken-of-vault";
const SECRET: &str = "s3cr3t-hunter2";

/// Runs the service and `check`: both end with 78 and say the same. None of it is a secret.
fn refused(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let with = |command: &'static str| {
        let arguments = [&[command], arguments].concat();
        let exit = Process::spawn(&arguments, environment).end();
        assert_eq!((exit.code, exit.text.as_str()), (Some(78), ""), "{command}: {}", exit.errors);
        exit.errors
    };
    let said = with("run");
    assert_eq!(with("check"), said);
    assert!(!said.contains(SECRET) && !said.contains(TOKEN), "{said}");
    said
}

/// What is wrong with the admin token, where this stands in its place.
fn wrong(reference: &str, vault: &str) -> String {
    refused(&[], &[("ADMIN_TOKEN", reference), ("VAULT_ADDR", vault), ("VAULT_TOKEN", TOKEN)])
}

fn has(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "no {part:?} in\n{said}");
    }
}

#[test]
fn what_vault_does_not_have_is_told_with_its_place() {
    let vault = Vault::start(TOKEN, &[("admin", SECRET), ("other", SECRET)]);
    let url = vault.url();
    let place = "ADMIN_TOKEN: admin.token: ";
    let said = wrong("vault://kv/orders#amdin", &url);
    has(&said, &[place, "vault://kv/orders#amdin: ", "amdin", "admin", "other"]);
    let said = wrong("vault://kv/orders", &url);
    has(&said, &[place, "vault://kv/orders: ", "#"]);
    let said = wrong("vault://kv/nothing#admin", &url);
    has(&said, &[place, "vault://kv/nothing#admin: ", "kv/data/nothing"]);
    let said = wrong("vault://kv/orders?vresion=1#admin", &url);
    has(&said, &[place, "vresion", "there are kv, mount and version"]);
    vault.revoke(TOKEN);
    let said = wrong("vault://kv/orders#admin", &url);
    has(&said, &[place, "vault://kv/orders#admin: ", &url, "the token is not valid", "replace it"]);
}

#[test]
fn a_vault_that_cannot_be_reached_is_named() {
    let mut vault = Vault::start(TOKEN, &[]);
    let url = vault.url();
    vault.stop();
    let away = [
        ("ADMIN_TOKEN", "vault://kv/orders#admin"),
        ("VAULT_ADDR", &url),
        ("VAULT_TOKEN", TOKEN),
        ("ORDERS_SECRETS_START_TIMEOUT", "200ms"), // it may come
    ];
    let said = refused(&[], &away);
    has(&said, &["ADMIN_TOKEN: admin.token: vault://kv/orders#admin: ", &url, "cannot be reached"]);
    let none = refused(&[], &[("ADMIN_TOKEN", "vault://kv/orders#admin")]);
    has(
        &none,
        &["admin.token: vault://kv/orders#admin: ", "set secrets.vault.address", "VAULT_ADDR"],
    );
    let plain = wrong("vault://kv/orders#admin", "http://vault.example:8200");
    has(&plain, &["VAULT_ADDR: secrets.vault.address: ", "use https"]);
}

#[test]
fn a_reference_that_is_none_is_not_taken_for_the_secret() {
    for (reference, meant) in [
        ("valt://kv/orders#admin", "vault"),
        ("VAULT://kv/orders#admin", "vault"),
        ("flie:///run/secrets/token", "file"),
        ("ENV://ELSEWHERE", "env"),
    ] {
        let said = refused(&[], &[("ADMIN_TOKEN", reference)]);
        has(&said, &["ADMIN_TOKEN: admin.token: ", &format!("`{meant}://`"), "`_FILE`"]);
    }
    for (reference, problem) in [
        ("vault://", "it has no path"),
        ("env://ELSEWHERE", "the variable ELSEWHERE is not set"),
        ("file:///nowhere/token", "/nowhere/token: there is no such file"),
        ("file://token", "begins with a third `/`"),
        ("cred://token", "CREDENTIALS_DIRECTORY is not set"),
        ("aws-sm://orders/admin", "aws-sm"),
    ] {
        let said = refused(&[], &[("ADMIN_TOKEN", reference)]);
        has(&said, &["ADMIN_TOKEN: admin.token: ", problem]);
    }
}

#[test]
fn a_file_that_everybody_may_write_is_no_secret() {
    use std::os::unix::fs::PermissionsExt;
    let files = Directory::with("secrets-mode", &[("token", SECRET)]);
    let token = files.join("token");
    let mode = |mode| std::fs::set_permissions(&token, PermissionsExt::from_mode(mode)).unwrap();
    mode(0o602);
    let reference = format!("file://{token}");
    let said = refused(&[], &[("ADMIN_TOKEN", &reference)]);
    has(&said, &["everybody may write it", &format!("chmod o-w {token}")]);
    mode(0o604);
    let warned = Process::spawn(&["check"], &[("ADMIN_TOKEN", &reference)]).end();
    assert_eq!(warned.code, Some(0), "{}", warned.errors);
    has(&warned.errors, &["everybody on this machine may read", &format!("chmod o-r {token}")]);
}

#[test]
fn a_secret_in_plain_text_has_no_place_in_a_file_of_the_service() {
    let plain = format!("[admin]\ntoken = '{SECRET}'\n");
    for (name, environment) in [
        ("default.toml", &[][..]),
        ("development.toml", &[]),
        ("production.toml", &[("APP_ENV", "production")]),
    ] {
        let files = Directory::with(&format!("secrets-plain-{name}"), &[(name, &plain)]);
        let said = refused(&["--config-dir", files.path()], environment);
        let place = format!("{name}:2:9: admin.token: a secret in plain text");
        has(&said, &[&place, "set ORDERS_ADMIN_TOKEN, or refer to it", "file:///run/secrets/name"]);
    }
    // One of another environment is not read.
    let files = Directory::with("secrets-other", &[("production.toml", &plain)]);
    let other = Process::spawn(&["check", "--config-dir", files.path()], &[]).end();
    assert_eq!(other.code, Some(0), "{}", other.errors);
    // Nor does a variable that beats it make it right.
    let files = Directory::with("secrets-beaten", &[("default.toml", &plain)]);
    let said = refused(&["--config-dir", files.path()], &[("ADMIN_TOKEN", "another")]);
    has(&said, &["default.toml:2:9: admin.token: a secret in plain text"]);
}

#[test]
fn a_reference_in_a_file_of_the_service_is_followed() {
    let files = Directory::with("secrets-reference", &[]);
    files.write_secret("token", SECRET);
    let text = format!(
        "[admin]\ntoken = 'file://{}'\nread_token = 'env://ELSEWHERE'\n",
        files.join("token")
    );
    files.write("default.toml", &text);
    let arguments = ["--config-dir", files.path()];
    let environment = [("ELSEWHERE", "the-read-token"), ("ADMIN_ADDR", "0.0.0.0:0")];
    let orders = Orders::of(Process::spawn(&arguments, &environment));
    let with = |token: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        crate::http::ask(orders.admin, "GET", "/configz", &headers, "")
    };
    assert_eq!(get(orders.admin, "/configz").status, 401);
    assert_eq!((with(SECRET).status, with("the-read-token").status), (200, 200));
    let page = with(SECRET).json();
    let token = &page["settings"]["admin.token"];
    assert_eq!(token["value"], "[redacted]");
    assert!(token["source"].as_str().unwrap().ends_with("default.toml:2:9)"), "{token}");
    assert_eq!(orders.stop(Signal::TERM).code, Some(0));
}

#[test]
fn a_signal_ends_a_start_that_waits_for_vault() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    let environment = [
        ("ADMIN_TOKEN", "vault://kv/orders#token"),
        ("VAULT_ADDR", address.as_str()),
        ("VAULT_TOKEN", TOKEN),
        ("ORDERS_SECRETS_START_TIMEOUT", "10m"),
    ];
    let process = Process::spawn(&["run"], &environment);
    let asked = silent.accept().unwrap();
    let from = now();
    process.signal(Signal::TERM);
    // Not by the signal itself, which the first process of a container would not mind.
    let exit = process.exit();
    assert_eq!((exit.code, exit.text.as_str()), (Some(0), ""), "{}", exit.errors);
    has(&exit.errors, &["SIGTERM while the config was loaded"]);
    assert!(now() - from < Duration::from_secs(5));
    drop(asked);
}
