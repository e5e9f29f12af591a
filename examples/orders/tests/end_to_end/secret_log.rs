//! The record of all accesses to secrets, and the command that verifies it.
use crate::directory::Directory;
use crate::http::{ask, get};
use crate::process::{Exit, Orders, Process};
use crate::vault::Vault;
use rustix::process::Signal;
use serde_json::Value;
use std::fs;

const VAULT_TOKEN: &str = "t0ken-of-vault";
const FIRST: &str = "first-t0ken";
const SECOND: &str = "second-t0ken";

/// A service with an admin token of `vault` that keeps a record in `files`.
fn environment(files: &Directory, vault: &Vault) -> Vec<(&'static str, String)> {
    vec![
        ("ADMIN_TOKEN", "vault://kv/orders#admin".to_owned()),
        ("ADMIN_READ_TOKEN", "env://ELSEWHERE".to_owned()),
        ("ELSEWHERE", "the-read-token".to_owned()),
        ("VAULT_ADDR", vault.url()),
        ("VAULT_TOKEN", VAULT_TOKEN.to_owned()),
        ("ORDERS_SECRETS_VAULT_POLL_INTERVAL", "50ms".to_owned()),
        ("ORDERS_SECRETS_AUDIT_FILE", files.join("audit.jsonl")),
    ]
}

fn borrowed<'a>(environment: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    environment.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

fn lines(files: &Directory) -> Vec<Value> {
    let text = fs::read_to_string(files.join("audit.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Waits until another version of the secret is fetched and read.
fn rotate(orders: &Orders, vault: &Vault, files: &Directory) {
    vault.put(&[("admin", SECOND)]);
    orders.process.eventually("the second version", || {
        let of_second = |line: &Value| {
            line["action"] == "read" && line["version"] == 2 && line["consumer"] == "admin.token"
        };
        lines(files).iter().any(of_second).then_some(())
    });
}

fn verify(files: &Directory, head: Option<&str>) -> Exit {
    let file = files.join("audit.jsonl");
    let head: Vec<_> = head.into_iter().flat_map(|head| ["--head", head]).collect();
    let arguments = [&["secrets", "verify", file.as_str()], head.as_slice()].concat();
    Process::spawn(&arguments, &[]).end()
}

fn verified(files: &Directory, head: Option<&str>) -> String {
    let exit = verify(files, head);
    assert_eq!((exit.code, exit.errors.as_str()), (Some(0), ""));
    exit.text
}

/// What it says of a log that is not as it was written.
fn tampered(files: &Directory, head: Option<&str>) -> String {
    let exit = verify(files, head);
    assert_eq!((exit.code, exit.text.as_str()), (Some(1), ""), "{}", exit.errors);
    assert!(exit.errors.starts_with("orders: ") && exit.errors.contains("audit.jsonl"));
    exit.errors
}

/// A log of a whole life with a rotation in it.
fn log_of_a_life(name: &str) -> (Directory, String) {
    let files = Directory::with(name, &[]);
    let vault = Vault::start(VAULT_TOKEN, &[("admin", FIRST)]);
    let environment = environment(&files, &vault);
    let orders = Orders::start(&borrowed(&environment));
    rotate(&orders, &vault, &files);
    // It is told where whoever can edit the file cannot.
    let opened = orders.process.event_of("audit_opened");
    let first = opened["context"]["head"].as_str().expect("it tells the head").to_owned();
    let head = orders.page("/secretz")["audit"]["head"].as_str().expect("here too").to_owned();
    assert_eq!(orders.stop(Signal::TERM).code, Some(0));
    verified(&files, Some(&first));
    (files, head)
}

#[test]
fn every_access_is_on_record_and_the_log_verifies() {
    let (files, head) = log_of_a_life("audit-life");
    let all = lines(&files);
    assert_eq!(all[0]["action"], "open");
    for (action, reference, consumer) in [
        ("read", "env://ELSEWHERE", Some("admin.read_token")),
        ("fetch", "vault://kv/orders", None),
        ("read", "vault://kv/orders#admin", Some("admin.token")),
    ] {
        let is_it = |line: &&Value| {
            let (who, what) = (line["consumer"].as_str(), line["reference"].as_str());
            line["action"] == action && who == consumer && what == Some(reference)
        };
        let line = all.iter().find(is_it);
        let line = line.unwrap_or_else(|| panic!("no {action} of {reference}: {all:#?}"));
        assert_eq!((&line["outcome"], &line["service"]), (&"ok".into(), &"orders".into()));
    }
    let said = verified(&files, Some(&head));
    assert!(said.starts_with(&format!("{} lines in 1 file are as they were", all.len())), "{said}");
    let text = fs::read_to_string(files.join("audit.jsonl")).unwrap();
    for secret in [FIRST, SECOND, VAULT_TOKEN, "the-read-token"] {
        assert!(!text.contains(secret), "{secret} is on record");
    }
}

#[test]
fn what_was_changed_is_found() {
    let (files, head) = log_of_a_life("audit-changed");
    let path = files.join("audit.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let all: Vec<_> = text.lines().collect();
    let write = |lines: &[&str]| files.write("audit.jsonl", &(lines.join("\n") + "\n"));

    let changed = all[1].replace("\"outcome\":\"ok\"", "\"outcome\":\"no\"");
    assert_ne!(changed, all[1]);
    write(&[&all[..1], &[changed.as_str()], &all[2..]].concat());
    let said = tampered(&files, None);
    assert!(said.contains("line 2: it was changed"), "{said}");

    write(&[&all[..2], &all[3..]].concat());
    let said = tampered(&files, None);
    assert!(
        said.contains("line 3: it has the number 4 after 2: lines before it are gone"),
        "{said}"
    );

    write(&[&all[..1], &[all[2], all[1]], &all[3..]].concat());
    let said = tampered(&files, None);
    assert!(said.contains("line 2: "), "{said}");

    // The end is gone, which the head beside the log knows.
    let last = all.len();
    write(&all[..last - 1]);
    let said = tampered(&files, None);
    let expected = format!("it ends at line {}, and line {last} is known of", last - 1);
    assert!(said.contains(&expected), "{said}");
    files.write("audit.jsonl", text[..text.len() - 10].as_ref());
    let said = tampered(&files, None);
    assert!(said.contains("cut in the middle of a line"), "{said}");

    // The head is gone too: whoever has one of the status page or of the log still knows.
    let number: usize = head.split_once(':').unwrap().0.parse().unwrap();
    write(&all[..number - 1]);
    fs::remove_file(format!("{path}.head")).unwrap();
    assert!(tampered(&files, None).contains("it is gone"));
    let said = tampered(&files, Some(&head));
    assert!(said.contains(&format!("and line {number} is known of")), "{said}");

    files.write("audit.jsonl", &text);
    verified(&files, Some(&head));
    let other = format!("{number}:{}", "0".repeat(64));
    assert!(tampered(&files, Some(&other)).contains("all was rewritten"));
    for arguments in
        [&["secrets"][..], &["secrets", "verify"], &["secrets", "verify", &path, "--head", "7"]]
    {
        let exit = Process::spawn(arguments, &[]).end();
        assert_eq!(exit.code, Some(64), "{arguments:?}: {}", exit.errors);
    }
    let exit = Process::spawn(&["secrets", "verify", "/nowhere/audit.jsonl"], &[]).end();
    assert_eq!(exit.code, Some(1));
    assert!(exit.errors.contains("/nowhere: cannot read it"), "{}", exit.errors);
}

#[test]
fn a_service_that_is_killed_leaves_a_log_that_verifies_and_goes_on_with_it() {
    let files = Directory::with("audit-killed", &[]);
    let vault = Vault::start(VAULT_TOKEN, &[("admin", FIRST)]);
    let environment = environment(&files, &vault);
    let mut before = 0;
    for round in 0..5 {
        let orders = Orders::start(&borrowed(&environment));
        // The secret changes all the time, so that it writes when it is killed.
        for number in 0..=round * 3 {
            vault.put(&[("admin", &format!("t0ken-{round}-{number}"))]);
        }
        let exit = orders.stop(Signal::KILL);
        assert_eq!(exit.code, None, "it was killed");
        verified(&files, None);
        let now = lines_that_are_whole(&files);
        assert!(now > before, "round {round}: {now}");
        before = now;
    }
    let opened = lines(&files).iter().filter(|line| line["action"] == "open").count();
    assert_eq!(opened, 5);
}

fn lines_that_are_whole(files: &Directory) -> usize {
    let text = fs::read_to_string(files.join("audit.jsonl")).unwrap();
    text.split_inclusive('\n').filter(|line| line.ends_with('\n')).count()
}

#[test]
fn without_a_record_nobody_gets_a_secret_unless_told_otherwise() {
    let files = Directory::with("audit-block", &[("audit.jsonl", "")]);
    let vault = Vault::start(VAULT_TOKEN, &[("admin", FIRST)]);
    let mut environment = environment(&files, &vault);
    // A directory is no file to write, whoever tries.
    let file = files.join("audit.jsonl");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let refused = |environment: &[(&'static str, String)]| {
        let exit = Process::spawn(&[], &borrowed(environment)).end();
        assert_eq!((exit.code, exit.text.as_str()), (Some(78), ""), "{}", exit.errors);
        let what = format!("ORDERS_SECRETS_AUDIT_FILE: secrets.audit.file: {file}");
        assert!(exit.errors.contains(&what), "{}", exit.errors);
        assert!(!exit.errors.contains(FIRST), "{}", exit.errors);
    };
    refused(&environment);
    environment.push(("ORDERS_SECRETS_AUDIT_MODE", "best_effort".to_owned()));
    refused(&environment);
    assert!(vault.asked_with(VAULT_TOKEN).is_empty(), "nothing was asked for");
    fs::remove_dir(&file).unwrap();
}

/// What becomes of a rotation while nothing can be written: another file is in the place of the
/// log, which it does not go on in.
fn while_it_cannot_be_written(name: &str, mode: &str) -> (Orders, Directory, Vault) {
    let files = Directory::with(name, &[]);
    let vault = Vault::start(VAULT_TOKEN, &[("admin", FIRST)]);
    let mut environment = environment(&files, &vault);
    environment.push(("ORDERS_SECRETS_AUDIT_MODE", mode.to_owned()));
    let orders = Orders::start(&borrowed(&environment));
    files.write_secret("audit.jsonl", "another file\n");
    vault.put(&[("admin", SECOND)]);
    orders.process.eventually("a line that is not written", || {
        let failed = [("result", "failed")];
        orders
            .metric("octostack_secret_audit_lines_total", &failed)
            .filter(|count| *count > 0.0)
            .map(|_| ())
    });
    orders.process.eventually("the warning", || {
        let abnormal = orders.page("/statusz")["abnormal"].to_string();
        abnormal.contains("accesses to secrets are not on record").then_some(())
    });
    assert_eq!(get(orders.public, "/orders/1").status, 200);
    (orders, files, vault)
}

fn lets_in(orders: &Orders, token: &str) -> bool {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    ask(orders.admin, "PUT", "/policyz/inventory.breaker", &headers, "{}").status == 400
}

#[test]
fn a_new_secret_is_refused_while_the_record_cannot_be_kept() {
    let (orders, files, _vault) = while_it_cannot_be_written("audit-block-later", "block");
    orders.process.eventually("the refusal", || {
        let error = orders.page("/configz")["last_error"].to_string();
        error.contains("the access is not on record").then_some(())
    });
    assert!(lets_in(&orders, FIRST) && !lets_in(&orders, SECOND), "the last good config stays");

    fs::remove_file(files.join("audit.jsonl")).unwrap();
    orders.process.eventually("the second token", || lets_in(&orders, SECOND).then_some(()));
    assert_eq!(orders.stop(Signal::TERM).code, Some(0));
}

#[test]
fn with_best_effort_a_new_secret_is_used_and_the_gap_is_told() {
    let (orders, _files, _vault) = while_it_cannot_be_written("audit-effort", "best_effort");
    orders.process.eventually("the second token", || lets_in(&orders, SECOND).then_some(()));
    assert!(!lets_in(&orders, FIRST));
    assert_eq!(orders.stop(Signal::TERM).code, Some(0));
}
