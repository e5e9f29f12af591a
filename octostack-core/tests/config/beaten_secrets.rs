//! What a value beat is shown without the secrets in it.
use super::support::{bare_loader, load, temp_dir, write};
use octostack_core::binding::{Binding, Postgresql};
use octostack_core::config::Loader;
use octostack_core::secret::Secret;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Peer {
    name: String,
    password: Secret<String>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Sink {
    Off,
    On,
    Net { host: String, password: Secret<String> },
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Own {
    #[serde(default)]
    peers: Vec<Peer>,
    sink: Sink,
}

#[test]
fn in_items_of_a_list() {
    let dir = temp_dir("beaten-list");
    let low = write(&dir, "low.toml", "sink = 'off'\n[[peers]]\nname = 'a'\npassword = 's3cr3t'");
    let high = write(&dir, "high.toml", "[[peers]]\nname = 'b'\npassword = 's3cr3t'");
    let loaded = Loader::new("ORDERS_").file(low).file(high).load::<(), Own>().unwrap();
    let status = loaded.report.status().to_string();
    assert!(!status.contains("s3cr3t"), "{status}");
}

#[test]
fn in_another_variant() {
    let dir = temp_dir("beaten-variant");
    let low = write(&dir, "low.toml", "[sink.net]\nhost = 'a'\npassword = 's3cr3t'");
    let high = write(&dir, "high.toml", "sink = 'off'");
    let loaded = Loader::new("ORDERS_").file(low).file(high).load::<(), Own>().unwrap();
    let status = loaded.report.status().to_string();
    assert!(!status.contains("s3cr3t"), "{status}");
}

#[test]
fn where_nothing_won() {
    let dir = temp_dir("beaten-null");
    let low = write(&dir, "low.toml", "[admin]\ntoken = 's3cr3t'");
    let high = write(&dir, "high.yaml", "admin:\n  token: null\n");
    let loader = bare_loader([("ORDERS_SIGNING_KEY", "k")]).file(low).file(high);
    let status = load(&loader).unwrap().report.status().to_string();
    assert!(!status.contains("s3cr3t"), "{status}");
}

#[test]
fn in_the_url_of_a_binding() {
    #[derive(Debug, Serialize, Deserialize, JsonSchema)]
    struct Own {
        database: Binding<Postgresql>,
    }
    let dir = temp_dir("beaten-binding");
    let low = write(&dir, "low.toml", "database = 'postgres://u:s3cr3t@a/d'");
    let high = write(&dir, "high.toml", "database = 'postgres://u:other@b/d'");
    let loaded = Loader::new("ORDERS_").file(low).file(high).load::<(), Own>().unwrap();
    let status = loaded.report.status().to_string();
    assert!(!status.contains("s3cr3t") && !status.contains("other"), "{status}");
}

#[test]
fn what_is_no_secret_is_shown() {
    let dir = temp_dir("beaten-shown");
    let low = "[sink.net]\nhost = 'a'\npassword = 'x'\n[[peers]]\nname = 'c'\npassword = 'x'";
    let low = write(&dir, "low.toml", low);
    let middle = write(&dir, "middle.toml", "sink = 'off'");
    let high = "peers = []\n[sink.net]\nhost = 'b'\npassword = 'x'";
    let high = write(&dir, "high.toml", high);
    let loader = Loader::new("ORDERS_").file(low).file(&middle).file(high);
    let status = loader.load::<(), Own>().unwrap().report.status();
    let peers = status.get("peers").unwrap().to_string();
    assert!(peers.contains(r#"[{"name": "c", "password": "[redacted]"}]"#), "{peers}");
    let host = status.get("sink.net.host").unwrap().to_string();
    assert!(host.contains(r#""value": "a""#), "{host}");

    let low = write(&dir, "on.toml", "sink = 'on'");
    let loader = Loader::new("ORDERS_").file(low).file(middle);
    let sink = loader.load::<(), Own>().unwrap().report.get("sink").unwrap().clone();
    assert_eq!(sink.shadowed[0].value.to_string(), "\"on\"");
}
