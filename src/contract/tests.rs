use super::check::{Check, Unreadable};
use super::{Contract, Format, Verdict};
use crate::framework::Framework;
use octostack_core::Identity;
use octostack_core::binding::{Binding, Postgresql, Redis};
use octostack_core::config::{Document, Loader};
use octostack_core::secret::Secret;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Settings with one of each: required, secret, optional.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Settings {
    /// Signs receipts.
    signing_key: Secret<String>,
    /// Where the stock is.
    stock_url: String,
    #[serde(default)]
    #[schemars(range(max = 10))]
    retries: u32,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Nothing {
    inventory: Option<String>,
}

fn identity() -> Identity {
    Identity::new("price-feed", "1.2.3").with_owner("team-a")
}

fn contract<S: JsonSchema>() -> Contract {
    Contract::of::<S>(&identity(), &Framework::default()).unwrap()
}

/// What the check says of `text`, and whether it fits.
fn check_as(text: &str, container: Option<&str>) -> Result<(String, bool), String> {
    let contract = contract::<Settings>();
    let check = Check { contract: &contract, judge: &Verdict::of::<Settings>, container };
    let files = [("m.yaml".to_owned(), text.to_owned())];
    match check.run(&files) {
        Ok(found) => Ok((found.to_string(), found.fit())),
        Err(Unreadable(why)) => Err(why),
    }
}

fn check(text: &str) -> (String, bool) {
    check_as(text, None).unwrap()
}

#[test]
fn the_document_has_the_facts() {
    let json: serde_json::Value =
        serde_json::from_str(&contract::<Settings>().render(Format::Json)).unwrap();
    assert_eq!(json["contract"], 1);
    assert_eq!(json["name"], "price-feed");
    assert_eq!(json["owner"], "team-a");
    assert_eq!(json["prefix"], "PRICE_FEED_");
    let of = |key: &str| {
        let all = json["variables"].as_array().unwrap();
        all.iter()
            .find(|variable| variable["key"] == key)
            .unwrap_or_else(|| panic!("{key}"))
            .clone()
    };
    assert_eq!(of("server.port")["name"], "PORT");
    assert_eq!(of("server.port")["default"], "8080");
    assert!(
        of("server.port")["also"].as_array().unwrap().contains(&"PRICE_FEED_SERVER_PORT".into())
    );
    assert_eq!(of("stock_url")["required"], true);
    assert_eq!(of("stock_url")["doc"], "Where the stock is.");
    assert_eq!(of("signing_key")["secret"], true);
    assert_eq!(of("signing_key")["default"], serde_json::Value::Null);
    assert_eq!(json["secrets"][0]["file_variable"], "PRICE_FEED_SIGNING_KEY_FILE");
    assert_eq!(json["ports"][1]["port"], 8081);
    assert_eq!(json["probes"][2]["path"], "/startupz");
    assert_eq!(json["probes"][2]["ports"], serde_json::json!(["admin"]));
    // 5 s lame duck, 20 s drain, 0.2 s cut, 2 s tasks, 1 s close, 1 s flush, 1 s admin, 1 s logs.
    assert_eq!(json["shutdown"]["budget_seconds"], 31.2);
    assert_eq!(json["shutdown"]["steps"][1]["key"], "lifecycle.drain_timeout");
    assert_eq!(json["exit_codes"][5]["value"], 78);
}

#[test]
fn the_file_of_variables_asks_for_what_is_required() {
    let text = contract::<Settings>().render(Format::Env);
    let open: Vec<_> =
        text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert_eq!(open, ["PRICE_FEED_SIGNING_KEY_FILE=", "PRICE_FEED_STOCK_URL="], "{text}");
    assert!(text.contains("\n# stock_url: Where the stock is.\n"), "{text}");
    assert!(text.contains("\n#PORT=8080\n"), "{text}");
    assert!(!text.contains("ADMIN_TOKEN="), "{text}");
    // Every default that is shown is one that a loader reads, and takes for the same.
    let shown = text.lines().filter_map(|line| line.strip_prefix('#')?.split_once('='));
    let shown = shown.filter(|(name, value)| !name.contains(' ') && !value.is_empty());
    let mut set: Vec<_> = shown.filter(|(name, _)| *name != "CONFIG_DIR").collect();
    assert!(set.len() > 40, "{set:?}");
    for (_, value) in &mut set {
        *value = value.trim_matches('\'');
    }
    set.extend([("PRICE_FEED_SIGNING_KEY", "s"), ("PRICE_FEED_STOCK_URL", "u")]);
    let loader = Loader::new("PRICE_FEED_").environment(set).texts([]);
    let verdict = Verdict::of::<Settings>(&Framework::known_to(loader));
    assert!(verdict.errors.is_empty() && verdict.warnings.is_empty(), "{verdict:?}");
    let json = |framework: &Framework| serde_json::to_value(framework).unwrap();
    assert_eq!(json(&verdict.framework), json(&Framework::default()));
}

#[test]
fn the_manifest_that_is_printed_fits() {
    let text = contract::<Settings>().render(Format::Kubernetes);
    let documents = Document::read(&text, Path::new("m.yaml")).map_err(|e| e.to_string()).unwrap();
    let kinds: Vec<_> =
        documents.iter().filter_map(|document| document.root().get("kind")?.text()).collect();
    assert_eq!(kinds, ["ConfigMap", "Service", "PodDisruptionBudget", "Deployment"]);
    let (found, fits) = check(&text);
    assert_eq!((&*found, fits), ("", true), "{text}");
    assert!(text.contains("terminationGracePeriodSeconds: 35"), "{text}");

    // Without secrets and without anything that is required.
    let contract = contract::<Nothing>();
    let text = contract.render(Format::Kubernetes);
    let check = Check { contract: &contract, judge: &Verdict::of::<Nothing>, container: None };
    let found = check.run(&[("m.yaml".to_owned(), text.clone())]).map_err(|e| e.0).unwrap();
    assert!(found.is_empty(), "{found}\n{text}");
    let of = "the manifest fits: Deployment price-feed, container price-feed";
    assert_eq!(found.summary(), of);
}

/// A manifest that fits, as people write it.
const GOOD: &str = r#"apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data:
  default.toml: |
    retries = 3
  LEVEL: info
---
apiVersion: v1
kind: Service
metadata: {name: feed}
spec:
  selector: {app: feed}
  ports:
    - {port: 80, targetPort: http}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: feed}
spec:
  template:
    metadata:
      labels: {app: feed}
    spec:
      terminationGracePeriodSeconds: 40
      containers:
        - name: proxy
          ports: [{name: proxied, containerPort: 9999}]
        - name: price-feed
          ports:
            - {name: http, containerPort: 8080}
            - {name: admin, containerPort: 8081}
          env:
            - {name: ADMIN_ADDR, value: "0.0.0.0:8081"}
            - {name: CONFIG_DIR, value: /etc/feed}
            - {name: PRICE_FEED_STOCK_URL, value: "http://stock"}
            - {name: PRICE_FEED_SIGNING_KEY_FILE, value: /run/key}
          startupProbe: {httpGet: {path: /startupz, port: admin}}
          readinessProbe: {httpGet: {path: /readyz, port: http}}
          livenessProbe: {httpGet: {path: /livez, port: 8080}}
          volumeMounts:
            - {name: config, mountPath: /etc/feed}
      volumes:
        - {name: config, configMap: {name: settings}}
"#;

/// The line in `text` on which `part` stands.
fn line_of(text: &str, part: &str) -> usize {
    let at = text.find(part).unwrap_or_else(|| panic!("no {part}"));
    text[..at].matches('\n').count() + 1
}

#[test]
fn a_good_manifest_fits() {
    assert_eq!(check(GOOD), (String::new(), true));
}

/// Whether the manifest with `from` replaced has exactly one finding, at the place of `marked`.
#[track_caller]
fn one(from: &str, to: &str, marked: &str, message: &str, contradicts: bool) {
    assert!(GOOD.contains(from), "{from}");
    let text = GOOD.replacen(from, to, 1);
    let (found, fits) = check(&text);
    let place = format!("m.yaml:{}:", line_of(&text, marked));
    let lines: Vec<_> = found.lines().filter(|line| line.starts_with("  ")).collect();
    assert_eq!(lines.len(), 1, "{to}\n{found}");
    assert!(lines[0].trim_start().starts_with(&place), "{place}\n{found}");
    assert!(lines[0].contains(message), "{message}\n{found}");
    assert_eq!(fits, !contradicts, "{found}");
}

#[test]
fn each_contradiction_of_settings_is_found_at_its_place() {
    let url = r#"            - {name: PRICE_FEED_STOCK_URL, value: "http://stock"}
"#;
    let here = "name: price-feed";
    one(url, "", here, "stock_url is required and nothing sets it; set PRICE_FEED_STOCK_URL", true);
    let key = "            - {name: PRICE_FEED_SIGNING_KEY_FILE, value: /run/key}\n";
    one(key, "", here, "signing_key is required", true);
    let literal = key.replace("_FILE, value: /run/key", ", value: s3cr3t");
    one(key, &literal, "s3cr3t", "PRICE_FEED_SIGNING_KEY is a secret and stands here", true);
    let (found, _) = check(&GOOD.replace(key, &literal));
    assert!(!found.contains("s3cr3t"), "{found}");
    let both = format!(
        "{key}            - {{name: PRICE_FEED_SIGNING_KEY, valueFrom: {{secretKeyRef: {{name: a, key: b}}}}}}\n"
    );
    one(key, &both, "secretKeyRef", "at once; keep one", true);
    let misspelt = "            - {name: PRICE_FEED_RETRYS, value: \"3\"}\n";
    let with = |line: &str| format!("{url}{line}");
    one(url, &with(misspelt), "RETRYS", "did you mean PRICE_FEED_RETRIES?", true);
    let wrong = misspelt.replace("RETRYS, value: \"3\"", "RETRIES, value: \"11\"");
    one(url, &with(&wrong), "RETRIES", "expected a whole number from 0 to 10, got 11", true);
    let number = misspelt.replace("RETRYS, value: \"3\"", "RETRIES, value: 3");
    one(url, &with(&number), "RETRIES", "put it into quotes", true);
    one("retries = 3", "retrys = 3", "retrys", "default.toml:1:1: retrys: unknown key", true);
    one("retries = 3", "signing_key = 's'", "signing_key", "stands in a ConfigMap", true);
    let elsewhere = "signing_key = 'vault://kv/feed#key'";
    assert!(!check(&GOOD.replace("retries = 3", elsewhere)).0.contains("stands in a ConfigMap"));
    let token = "            - {name: ADMIN_READ_TOKEN, value: vault://kv/feed#token}\n";
    let (found, _) = check(&GOOD.replace(url, &with(token)));
    assert!(!found.contains("ADMIN_READ_TOKEN"), "{found}");
    let host = "            - {name: HOST, value: localhost}\n";
    one(url, &with(host), "HOST", "server.host is loopback", true);
    let arguments = "          args: [serve]\n          ports:\n            - {name: http";
    one(
        "          ports:\n            - {name: http",
        arguments,
        "[serve]",
        "args: there is no command `serve`",
        true,
    );
}

#[test]
fn what_comes_from_elsewhere_is_not_called_missing() {
    let url = r#"            - {name: PRICE_FEED_STOCK_URL, value: "http://stock"}
"#;
    // From the config map that is mounted.
    let text = GOOD.replace(url, "").replace("retries = 3", "stock_url = 'x'");
    assert_eq!(check(&text), (String::new(), true));
    // From the cluster.
    let by_reference = "            - {name: PRICE_FEED_STOCK_URL, valueFrom: {secretKeyRef: {name: a, key: b}}}\n";
    assert_eq!(check(&GOOD.replace(url, by_reference)), (String::new(), true));
    // From what another file may hold.
    let env_from = "          envFrom: [{configMapRef: {name: elsewhere}}]\n          env:\n";
    let text = GOOD.replace(url, "").replace("          env:\n", env_from);
    let (found, fits) = check(&text);
    assert!(fits, "{found}");
    assert!(found.contains("ConfigMap elsewhere is not in these files"), "{found}");
    assert!(
        found.contains("stock_url is required; it can only come from ConfigMap elsewhere"),
        "{found}"
    );
    // From a config map in the same file, whose values count.
    let env_from = "          envFrom: [{configMapRef: {name: settings}}]\n          env:\n";
    let text = GOOD.replace("          env:\n", env_from).replace("LEVEL", "PRICE_FEED_RETRIES");
    let (found, fits) = check(&text);
    assert!(!fits, "{found}");
    let place = format!("m.yaml:{}:", line_of(&text, "PRICE_FEED_RETRIES"));
    assert!(found.contains(&place) && found.contains("got `info`"), "{found}");
}

#[test]
fn each_contradiction_of_ports_and_probes_is_found_at_its_place() {
    one("/livez", "/healthz", "/healthz", "/healthz is no probe of the service", true);
    one("/livez", "/readyz", "livenessProbe", "a restart does not help; ask /livez", true);
    one("path: /readyz", "path: /livez", "readinessProbe", "ask /readyz", true);
    one(
        "{path: /startupz, port: admin}",
        "{path: /startupz, port: http}",
        "startupProbe",
        "on the admin port only",
        true,
    );
    one(
        "port: 8080}}",
        "port: 8082}}",
        "8082",
        "port 8082 is not open; the service opens 8080",
        true,
    );
    one(
        "{path: /readyz, port: http}",
        "{path: /readyz, port: web}",
        "web}",
        "no port of the container is called web",
        true,
    );
    one(
        "{path: /readyz, port: http}",
        "{path: /readyz, port: http, scheme: HTTPS}",
        "HTTPS",
        "plain HTTP",
        true,
    );
    one(
        "{name: ADMIN_ADDR, value: \"0.0.0.0:8081\"}",
        "{name: APP_ENV, value: production}",
        "startupProbe",
        "set ADMIN_ADDR=0.0.0.0:8081",
        true,
    );
    one(
        "targetPort: http",
        "targetPort: 8090",
        "8090",
        "Service feed: port 8090 is not open",
        true,
    );
    one(
        "            - {name: admin, containerPort: 8081}\n",
        "            - {name: admin, containerPort: 8081}\n            - {containerPort: 7000}\n",
        "7000",
        "containerPort 7000/TCP is not open",
        true,
    );
    one(
        "          readinessProbe: {httpGet: {path: /readyz, port: http}}\n",
        "",
        "name: price-feed",
        "no readinessProbe",
        false,
    );
    // A port of the container beside it is that one's.
    let text = GOOD.replace("targetPort: http", "targetPort: proxied");
    assert_eq!(check(&text), (String::new(), true));
    // The port that the manifest sets is the one that is compared.
    let moved = GOOD.replace(
        "          env:\n",
        "          env:\n            - {name: PORT, value: \"9000\"}\n",
    );
    let (found, _) = check(&moved);
    assert!(found.contains("the service opens 9000 (server.port)"), "{found}");
    assert_eq!(check(&moved.replace("8080", "9000")), (String::new(), true));
}

#[test]
fn what_only_the_cluster_knows_is_not_guessed() {
    let env = "          env:\n";
    let by_reference = "          env:\n            - {name: PORT, valueFrom: {configMapKeyRef: {name: a, key: b}}}\n";
    let text = GOOD.replace(env, by_reference).replace("8080", "9000");
    let (found, fits) = check(&text);
    assert!(fits, "{found}");
    assert!(found.contains("ports and probes are not compared"), "{found}");
    let file = "          env:\n            - {name: CONFIG_FILE, value: /etc/more.toml}\n";
    one(env, file, "/etc/more.toml", "what the files of CONFIG_FILE set is unknown", false);
}

/// Settings with backing services.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Attached {
    database: Binding<Postgresql>,
    cache: Option<Binding<Redis>>,
}

#[test]
fn backing_services_are_listed_also_those_that_may_be_missing() {
    let json = contract::<Attached>().render(Format::Json);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        json["bindings"],
        serde_json::json!([
            {"key": "cache", "type": "redis"},
            {"key": "database", "type": "postgresql"},
        ])
    );
    let root = |variable: &serde_json::Value| variable["name"] == "SERVICE_BINDING_ROOT";
    assert!(json["variables"].as_array().unwrap().iter().any(root));
}

#[test]
fn what_is_attached_in_the_cluster_is_not_called_missing() {
    let contract = contract::<Attached>();
    let said = |variables: &str| {
        let text = format!(
            "kind: Pod\nmetadata: {{name: price-feed}}\nspec:\n  enableServiceLinks: false\n  \
             terminationGracePeriodSeconds: 40\n  containers:\n    - name: price-feed\n      \
             env: [{variables}]\n"
        );
        let check = Check { contract: &contract, judge: &Verdict::of::<Attached>, container: None };
        let found = check.run(&[("m.yaml".to_owned(), text)]).map_err(|Unreadable(why)| why);
        let found = found.unwrap();
        (found.to_string(), found.fit())
    };
    let unseen = "database is a backing service that only the cluster knows whole";
    let root = "{name: SERVICE_BINDING_ROOT, value: /bindings}";
    for variables in [
        root.to_owned(),
        format!("{root}, {{name: PRICE_FEED_DATABASE_BINDING, value: feed}}"),
        format!("{root}, {{name: PRICE_FEED_DATABASE_PORT, value: '6000'}}"),
        "{name: PRICE_FEED_DATABASE_URL_FILE, value: /run/secrets/url}".to_owned(),
    ] {
        let (found, fits) = said(&variables);
        assert!(fits && found.contains(unseen), "{variables}: {found}");
    }
    let (found, fits) = said("{name: PRICE_FEED_DATABASE_FILE, value: /run/secrets/url}");
    assert!(fits && !found.contains("database"), "{found}");
    let wrong = "{name: PRICE_FEED_DATABASE_URL, value: 'mysql://h'}";
    for (variables, expected) in [
        ("", "database is required and nothing sets it"),
        (wrong, "its scheme is not `postgres` or `postgresql`"),
        (&*format!("{root}, {wrong}"), "its scheme is not `postgres` or `postgresql`"),
    ] {
        let (found, fits) = said(variables);
        assert!(!fits && found.contains(expected), "{variables}: {found}");
    }
}

#[test]
fn each_contradiction_of_the_pod_is_found_at_its_place() {
    let grace = "      terminationGracePeriodSeconds: 40\n";
    let short = "terminationGracePeriodSeconds 20 is less than the 31s 200ms that the end may take";
    one("Seconds: 40", "Seconds: 20", "Seconds: 20", short, true);
    one(grace, "", "name: price-feed", "Seconds 30, the default, is less", true);
    let hook = "          lifecycle: {preStop: {sleep: {seconds: 15}}}\n          env:\n";
    one("          env:\n", hook, "Seconds: 40", "after a preStop of 15s", true);
    let hook =
        "          lifecycle: {preStop: {exec: {command: [sh, -c, sleep 9]}}}\n          env:\n";
    one("          env:\n", hook, "Seconds: 40", "after a preStop of 9s", true);
    let drain = "retries = 3\n    [lifecycle]\n    drain_timeout = '1m'";
    one("retries = 3", drain, "Seconds: 40", "1m 11s 200ms", true);
    one(
        "{name: feed}\nspec:\n  selector",
        "{name: price-feed}\nspec:\n  selector",
        "terminationGrace",
        "enableServiceLinks: false",
        false,
    );
    one(
        "mountPath: /etc/feed}",
        "mountPath: /etc/feed/default.toml, subPath: default.toml}",
        "subPath",
        "never changes",
        false,
    );
}

#[test]
fn workloads_of_all_kinds_are_found() {
    // As a list, in JSON.
    let list = r#"{"kind": "List", "items": [{"kind": "CronJob", "metadata": {"name": "nightly"},
      "spec": {"jobTemplate": {"spec": {"template": {"spec": {
        "terminationGracePeriodSeconds": 5, "containers": [{"name": "any"}]}}}}}}]}"#;
    let (found, fits) = check(list);
    assert!(!fits);
    assert!(found.contains("in CronJob nightly, container any:"), "{found}");
    assert!(found.contains("m.yaml:3:42: terminationGracePeriodSeconds 5"), "{found}");
    assert!(!found.contains("readinessProbe"), "{found}");

    let unnamed = GOOD.replace("name: price-feed", "name: web");
    let why = check_as(&unnamed, None).unwrap_err();
    assert!(why.contains("there are proxy, web: say which one with --container"), "{why}");
    assert_eq!(check_as(&unnamed, Some("web")), Ok((String::new(), true)));
    assert!(check_as("kind: Service\n", None).unwrap_err().contains("no Deployment"));
}

#[test]
fn what_is_no_manifest_is_said_with_its_place() {
    let why = check_as("kind: Pod\nspec: [1\n", None).unwrap_err();
    assert!(why.starts_with("m.yaml:"), "{why}");
    assert!(check_as("a: 1\n", None).unwrap_err().contains("no `kind`"));
}

#[test]
fn framework_settings_are_known_where_the_service_lacks_its_own() {
    let loader = Loader::new("PRICE_FEED_").environment([("PORT", "9000")]).texts([]);
    let verdict = Verdict::of::<Settings>(&Framework::known_to(loader));
    assert_eq!(verdict.framework.server.listener.port, 9000);
    assert_eq!(verdict.errors.len(), 2, "{verdict:?}");
}

#[test]
fn probes_by_grpc_ask_the_public_port_for_readiness() {
    let http = "readinessProbe: {httpGet: {path: /readyz, port: http}}";
    let grpc = |port: &str| format!("readinessProbe: {{grpc: {{port: {port}}}}}");
    assert_eq!(check(&GOOD.replace(http, &grpc("8080"))), (String::new(), true));
    one(http, &grpc("50051"), "50051", "readinessProbe: port 50051 is not open", true);
    one(http, &grpc("8081"), "8081}}", "the admin port does not speak gRPC", true);
    let grpc = "livenessProbe: {grpc: {port: 8080}}";
    one(
        "livenessProbe: {httpGet: {path: /livez, port: 8080}}",
        grpc,
        "livenessProbe",
        "by httpGet",
        true,
    );
}

#[test]
fn the_chapter_on_kubernetes_shows_the_manifest_that_is_printed() {
    let identity = Identity::new("minimal-axum", "0.1.0").with_owner("team-greetings");
    let mut contract = Contract::of::<Nothing>(&identity, &Framework::default()).unwrap();
    // With feature `vault` there are more.
    contract.secrets.retain(|secret| secret.file_variable.starts_with("ADMIN_"));
    let chapter = include_str!("../../docs/kubernetes.md");
    let section = chapter.split("\n## ").find(|section| section.starts_with("The manifest"));
    let section = section.expect("the section that shows it");
    let blocks = section.split("\n```").filter_map(|block| block.strip_prefix("yaml\n"));
    let shown: Vec<_> = blocks.flat_map(str::lines).collect();
    let printed = contract.render(Format::Kubernetes);
    let different = shown.iter().zip(printed.lines()).find(|(shown, printed)| *shown != printed);
    assert_eq!(different, None, "copy what the command prints into docs/kubernetes.md");
    assert_eq!(shown.len(), printed.lines().count(), "{printed}");
}

async fn nothing(
    _: crate::App<Nothing>,
    _: Vec<std::ffi::OsString>,
) -> Result<(), crate::BoxError> {
    Ok(())
}

#[test]
fn a_manifest_has_room_for_the_locks_of_admin_tasks_if_there_are_some() {
    let mut framework = Framework::default();
    let print = |framework: &Framework, task: crate::AdminTask<Nothing>| {
        let contract = Contract::of::<Nothing>(&identity(), framework).unwrap();
        contract.with_tasks(&[task]).render(Format::Kubernetes)
    };
    let task = || crate::AdminTask::new("migrate", "creates the tables", nothing);
    let text = print(&framework, task());
    assert!(text.contains("runs\n              mountPath: \"/tmp\"\n"), "{text}");
    assert!(text.contains("        - name: locks\n          emptyDir: {}\n"), "{text}");
    let fits = check(&text);
    assert!(!fits.0.contains("locks") && !fits.0.contains("/tmp"), "{}", fits.0);
    assert!(!print(&framework, task().concurrent()).contains("locks"));
    framework.lifecycle.lock_dir = Some("/run/locks".into());
    assert!(print(&framework, task()).contains("mountPath: \"/run/locks\"\n"));
}
