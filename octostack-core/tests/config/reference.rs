use super::support::*;
use octostack_core::config::Loader;
use octostack_core::secret::Secret;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

fn everything() -> Loader {
    bare_loader([])
}

#[test]
fn the_reference_has_every_key_with_what_applies() {
    let reference = everything().reference::<Framework, Settings>().unwrap();
    let key = |path: &str| reference.get(path).unwrap_or_else(|| panic!("{path}"));
    let port = key("server.port");
    assert_eq!(port.variables, ["ORDERS_SERVER_PORT", "ORDERS_SERVER__PORT"]);
    assert_eq!(port.bare, ["PORT"]);
    assert_eq!(port.doc, "Port to listen on.");
    assert_eq!(port.default.as_ref().unwrap().to_string(), "8080");
    assert!(port.framework && !port.required && port.reloadable);
    let secret = key("signing_key");
    assert!(secret.secret && secret.required && secret.default.is_none());
    assert_eq!(key("signing_key").variables, ["ORDERS_SIGNING_KEY"]);
    // That of the field, not that of its type.
    assert_eq!(key("inventory.timeout").default.as_ref().unwrap().to_string(), "\"500ms\"");
    // Whoever gives no database at all needs no password.
    assert!(!key("database.password").required && !key("database.url").required);
    assert_eq!(key("mode").expected, "one of `fast`, `slow`");
    assert_eq!(key("limits").variables, ["ORDERS_LIMITS"]);
    assert!(reference.get("inventory").is_none(), "a section is no key");
}

#[test]
fn the_default_file_reads_as_no_file_and_filled_in_as_the_defaults() {
    let text = everything().default_file::<Framework, Settings>().unwrap();
    let dir = temp_dir("default-file");
    let with = |name: &str, text: &str| {
        let loader = bare_loader([("ORDERS_SIGNING_KEY", "k")]).file(write(&dir, name, text));
        let all = load(&loader).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        format!("{:?} {:?}", all.framework, all.settings)
    };
    let none = with("none.toml", "");
    assert_eq!(with("as-it-is.toml", &text), none);
    let is_default = |line: &&str| {
        let key = line.strip_prefix("# ").and_then(|line| line.split_once(" = "));
        key.is_some_and(|(key, value)| !key.contains(' ') && !value.starts_with('…'))
    };
    let filled = text.lines().map(|line| match Some(line).filter(is_default) {
        Some(line) => line.trim_start_matches("# "),
        None => line,
    });
    let filled: Vec<_> = filled.collect();
    let count = text.lines().filter(|line| is_default(line)).count();
    assert!(count >= 8, "{count} defaults in\n{text}");
    assert_eq!(with("filled-in.toml", &filled.join("\n")), none);
    for line in [
        "# Port to listen on.",
        "# port = 8080",
        "[inventory]",
        "# timeout = \"500ms\"",
        "# [database]",
        "# signing_key: a secret, required; set ORDERS_SIGNING_KEY_FILE to the file that holds it",
    ] {
        assert!(text.lines().any(|l| l == line), "no {line:?} in\n{text}");
    }
}

#[test]
fn the_schema_is_that_of_a_whole_file_without_secrets() {
    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(tag = "kind", rename_all = "snake_case")]
    enum Sink {
        File { path: String },
        Net { host: String },
    }
    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Own {
        sink: Sink,
        name: String,
    }
    let schema = everything().json_schema::<Framework, Own>();
    let properties = schema["properties"].as_object().unwrap();
    let mut names: Vec<_> = properties.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["admin", "name", "server", "sink"]);
    assert_eq!(schema["additionalProperties"], false);
    assert!(schema.get("required").is_none(), "the environment may have it");
    let forms = schema["properties"]["sink"]["oneOf"].as_array().unwrap();
    assert!(forms.iter().all(|form| form["required"].as_array().is_some()), "{forms:?}");
    assert!(!everything().json_schema::<Framework, Settings>().to_string().contains("[redacted]"));
}

#[test]
fn a_report_names_what_each_value_beat() {
    let dir = temp_dir("shadowed");
    let low = write(&dir, "low.toml", "retries = 2\nhosts = ['a']\nsigning_key = 's3cr3t-1'");
    let high = write(&dir, "high.toml", "retries = 3\nhosts = ['b', 'c']");
    let variables = [("ORDERS_RETRIES", "4"), ("ORDERS_SIGNING_KEY", "s3cr3t-2")];
    let loaded = load(&bare_loader(variables).file(low).file(high)).unwrap();
    let beaten = |key: &str| -> Vec<String> {
        let setting = loaded.report.get(key).unwrap();
        let shown = |shadowed: &octostack_core::config::Shadowed| {
            let origin = shadowed.origin.to_string();
            let name = origin.rsplit('/').next().unwrap().to_owned();
            format!("{} {name}", shadowed.value)
        };
        setting.shadowed.iter().map(shown).collect()
    };
    assert_eq!(beaten("retries"), ["3 high.toml:1:11", "2 low.toml:1:11", "5 default"]);
    assert_eq!(beaten("hosts"), ["[\"a\"] low.toml:2:9", "[] default"]);
    assert_eq!(beaten("signing_key"), ["\"[redacted]\" low.toml:3:15"]);
    assert_eq!(beaten("mode"), [""; 0]);
    assert!(!loaded.report.status().to_string().contains("s3cr3t"));
    assert_eq!(loaded.report.nearest("retrys"), Some("retries"));
    assert_eq!(loaded.report.nearest("inventry"), Some("inventory"));
}

#[test]
fn what_was_beaten_shows_no_secret_also_where_only_a_part_of_it_is_one() {
    #[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "lowercase")]
    enum Auth {
        #[default]
        None,
        Token(Secret<String>),
        Basic {
            user: String,
            password: Secret<String>,
        },
    }
    // Below its first level the schema does not say what is a secret.
    #[derive(Debug, Serialize, Deserialize, JsonSchema)]
    struct Tree {
        child: Vec<Tree>,
        key: Option<Secret<String>>,
    }
    #[derive(Debug, Serialize, Deserialize, JsonSchema)]
    struct Own {
        #[serde(default)]
        auth: Auth,
        #[serde(default)]
        both: Vec<(String, Secret<String>)>,
        #[serde(default)]
        tree: Option<Box<Tree>>,
    }
    let dir = temp_dir("shadowed-parts");
    let low = write(
        &dir,
        "low.toml",
        "auth = { token = 's3cr3t-1' }\nboth = [['a', 's3cr3t-2']]\n\
         tree = { child = [{ child = [], key = 's3cr3t-5' }] }",
    );
    let basic = "auth = { basic = { user = 'u', password = 's3cr3t-3' } }";
    let high = write(&dir, "high.toml", basic);
    for variables in [
        vec![],
        vec![("A_AUTH", "none"), ("A_BOTH", r#"[["b", "s3cr3t-4"]]"#), ("A_TREE_CHILD", "[]")],
    ] {
        let sources = Loader::new("A_").environment(variables.clone());
        let loaded = sources.file(&low).file(&high).load::<(), Own>().unwrap();
        let shown = format!("{:?}", loaded.report) + &loaded.report.status().to_string();
        assert!(!shown.contains("s3cr3t"), "{variables:?}: {shown}");
        let setting = loaded.report.iter().find(|setting| setting.key.starts_with("auth")).unwrap();
        if !variables.is_empty() {
            // What is no secret stands there.
            assert!(shown.contains(r#"["a", "[redacted]"]"#), "{shown}");
            assert!(shown.contains(r#""user": "u""#), "{shown}");
        }
        assert!(!setting.shadowed.is_empty() || variables.is_empty(), "{setting:?}");
    }
}

#[test]
fn a_default_that_holds_secrets_or_what_toml_cannot_write_is_a_placeholder() {
    #[derive(Debug, Serialize, Deserialize, JsonSchema)]
    #[serde(default)]
    struct Own {
        keys: Vec<(String, Secret<String>)>,
        named: BTreeMap<String, Secret<String>>,
        most: u64,
        plain: Vec<String>,
    }
    impl Default for Own {
        fn default() -> Self {
            let key = || Secret::new("s3cr3t".to_owned());
            let keys = vec![("a".into(), key())];
            let named = BTreeMap::from([("a".into(), key())]);
            Self { keys, named, most: u64::MAX, plain: vec!["x".into()] }
        }
    }
    let everything = Loader::new("A_");
    let text = everything.default_file::<(), Own>().unwrap();
    assert!(!text.contains("redacted"), "{text}");
    assert!(text.contains("# most = …") && text.contains("# plain = [\"x\"]"), "{text}");
    let schema = everything.json_schema::<(), Own>();
    assert!(!schema.to_string().contains("[redacted]"), "{schema}");
    assert_eq!(schema["properties"]["plain"]["default"][0], "x");
}
