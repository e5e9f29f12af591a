//! The contract with the platform: what the binary says of itself, and where manifests differ.
use serde_json::Value;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

/// Runs `orders` to its end, with `input` on standard input.
fn orders(arguments: &[&str], environment: &[(&str, &str)], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_orders"))
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // Whoever refuses the command line reads nothing.
    let _ = child.stdin.take().expect("it is piped").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What `contract --format` prints, under these variables.
fn contract(format: &str, environment: &[(&str, &str)]) -> String {
    let output = orders(&["contract", "--format", format], environment, "");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// The code and the words of a check of `manifest`.
fn check(manifest: &str) -> (Option<i32>, String, String) {
    let output = orders(&["contract", "check", "-"], &[], manifest);
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_document_says_what_it_needs_and_offers() {
    let json: Value = serde_json::from_str(&contract("json", &[])).unwrap();
    assert_eq!(json["contract"], 1);
    assert_eq!(json["name"], "orders");
    assert_eq!(json["owner"], "team-shop");
    assert_eq!(json["ports"][0]["port"], 8080);
    let variables = json["variables"].as_array().unwrap();
    let url = variables.iter().find(|variable| variable["key"] == "inventory.url").unwrap();
    assert_eq!(url["name"], "ORDERS_INVENTORY_URL");
    let token = variables.iter().find(|variable| variable["key"] == "admin.token").unwrap();
    assert_eq!((&token["name"], &token["secret"]), (&"ADMIN_TOKEN".into(), &true.into()));
    assert_eq!(json["shutdown"]["budget_seconds"], 31.2);
}

#[test]
fn ports_and_the_end_are_those_in_effect() {
    let set = [("PORT", "9000"), ("ORDERS_LIFECYCLE_DRAIN_TIMEOUT", "60s")];
    let json: Value = serde_json::from_str(&contract("json", &set)).unwrap();
    assert_eq!(json["ports"][0]["port"], 9000);
    assert_eq!(json["shutdown"]["budget_seconds"], 71.2);
    // A config that is refused is no reason to say nothing.
    let json: Value = serde_json::from_str(&contract("json", &[("PORT", "http")])).unwrap();
    assert_eq!(json["ports"][0]["port"], 8080);
}

#[test]
fn the_file_of_variables_has_nothing_to_fill_in() {
    let text = contract("env", &[]);
    assert!(text.contains("\n#PORT=8080\n"), "{text}");
    assert!(text.contains("\n#ADMIN_TOKEN_FILE=\n"), "{text}");
    assert!(text.lines().all(|line| line.is_empty() || line.starts_with('#')), "{text}");
}

#[test]
fn the_manifest_that_it_prints_fits() {
    let manifest = contract("k8s", &[]);
    let (code, said, errors) = check(&manifest);
    assert_eq!(code, Some(0), "{errors}\n{manifest}");
    assert_eq!(said, "the manifest fits: Deployment orders, container orders\n");
    assert_eq!(errors, "", "{manifest}");
    // Also as it is configured here.
    let set = [("PORT", "9000"), ("ORDERS_LIFECYCLE_DRAIN_TIMEOUT", "60s")];
    let manifest = contract("k8s", &set);
    assert!(manifest.contains("terminationGracePeriodSeconds: 75"), "{manifest}");
}

#[test]
fn each_contradiction_is_named_with_its_place() {
    let manifest = contract("k8s", &[]);
    let changes = [
        ("Seconds: 35", "Seconds: 10", "Seconds: 10", "is less than the 31s 200ms"),
        ("path: /livez", "path: /health", "/health", "is no probe of the service"),
        ("containerPort: 8080", "containerPort: 80", "containerPort: 80", "is not open"),
        ("value: 0.0.0.0:8081", "value: 127.0.0.1:8081", "port: admin", "on loopback"),
        ("name: APP_ENV", "name: ORDERS_INVENTRY_URL", "value: prod", "did you mean"),
        ("name: APP_ENV", "name: ADMIN_TOKEN", "value: prod", "is a secret and stands here"),
        ("targetPort: http", "targetPort: web", "targetPort: web", "is called web"),
    ];
    for (from, to, marked, message) in changes {
        assert!(manifest.contains(from), "{from}\n{manifest}");
        let changed = manifest.replacen(from, to, 1);
        let (code, said, errors) = check(&changed);
        assert_eq!((code, &*said), (Some(1), ""), "{to}: {errors}");
        let at = changed.find(marked).unwrap();
        let place = format!("standard input:{}:", changed[..at].matches('\n').count() + 1);
        let found = errors.lines().find(|line| line.contains(message));
        let found = found.unwrap_or_else(|| panic!("{message}\n{errors}"));
        assert!(found.trim_start().starts_with(&place), "{place}\n{errors}");
    }
}

#[test]
fn what_cannot_be_read_is_said() {
    let (code, _, errors) = check("kind: [\n");
    assert_eq!(code, Some(1));
    assert!(errors.starts_with("orders: standard input:"), "{errors}");
    let output = orders(&["contract", "check", "no-such.yaml"], &[], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no-such.yaml: cannot be read"));
    for usage in [&["contract", "check"][..], &["contract", "--format", "yaml"]] {
        assert_eq!(orders(usage, &[], "").status.code(), Some(64), "{usage:?}");
    }
}
