use crate::support::{Framework, Settings, bare_loader, lines, load, loader, temp_dir, write};
use octostack_core::config::{ErrorKind, Loader};
use octostack_core::inspect::{Problem, Value};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[test]
fn lists_every_problem_of_every_kind_at_once() {
    let variables = [
        ("PORT", "-1"),
        ("ORDERS_MODE", "medium"),
        ("ORDERS_INVENTORY_TIMEOUT", "soon"),
        ("ORDERS_DATABASE_PASSWORD_FILE", "/nowhere/password"),
    ];
    let loader = loader("bad", variables).set("hots", "a").set("database.password", "hunter2");
    let errors = load(&loader).unwrap_err();
    let text = errors.to_string();
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/config/bad/");
    let text = text.replace(root, "");
    assert_eq!(
        text,
        "\
17 problems in the configuration

in files:
  default.toml:1:9: hosts: expected a list, each item a string, got a string
  default.toml:2:11: retries: expected a whole number from 1 to 100, got 101
  default.toml:5:8: server.port: expected a whole number from 0 to 65535, got a string
  default.toml:6:1: server.prot: unknown key; did you mean `port`?
  default.toml:9:1: inventory.tiemout: unknown key; did you mean `timeout`?
  default.toml:10:8: inventory.addr: invalid socket address syntax
  default.toml:11:27: inventory.mirrors[1]: invalid socket address syntax
  default.toml:11:51: inventory.mirrors[3]: invalid socket address syntax
  default.toml:14:12: database.password: the secret is empty; give its value

in the environment:
  ORDERS_DATABASE_PASSWORD_FILE (/nowhere/password): database.password: there is no such file
  ORDERS_INVENTORY_TIMEOUT: inventory.timeout: expected a duration such as `250ms`, `30s` or \
         `1h 30m`, got `soon`
  ORDERS_MODE: mode: expected one of `fast`, `slow`, got `medium`
  PORT: server.port: expected a whole number from 0 to 65535, got -1

on the command line:
  --set hots: hots: unknown key; did you mean `hosts`?
  --set database.password: database.password: a secret cannot be set on the command line, which \
         other processes can read; use ORDERS_DATABASE_PASSWORD_FILE

missing:
  database.url: required, and no source sets it; expected a string; set `database.url` in a \
         config file, or the variable ORDERS_DATABASE_URL
  signing_key: required, and no source sets it; expected a secret: a string; set \
         ORDERS_SIGNING_KEY_FILE to the file that holds it, or ORDERS_SIGNING_KEY to its value"
    );
}

#[test]
fn the_settings_struct_itself_can_be_wrong() {
    #[derive(Debug, Serialize, Deserialize, JsonSchema)]
    struct Clash {
        chaos: bool,
        server: bool,
        pool_size: u8,
        pool: Pool,
        config_dir: String,
    }
    #[derive(Debug, Serialize, Deserialize, JsonSchema)]
    struct Pool {
        size: u8,
    }
    let errors = bare_loader([]).load::<Framework, Clash>().unwrap_err();
    assert!(errors.iter().all(|error| error.kind == ErrorKind::BadSchema));
    let keys: Vec<_> = errors.iter().map(|error| error.key.as_str()).collect();
    assert_eq!(keys, ["chaos", "server", "config_dir", "pool_size"]);
    let text = errors.to_string();
    assert!(text.contains("ORDERS_POOL_SIZE would set this and `pool.size`"), "{text}");

    let errors = bare_loader([]).load::<Framework, Vec<u8>>().unwrap_err();
    assert!(errors.to_string().contains("must be a struct"));
    assert!(bare_loader([]).load::<Framework, ()>().is_ok());
}

#[test]
fn validation_sees_whole_settings_and_names_their_source() {
    let cross = |framework: &Framework, settings: &Settings| {
        let mut problems = Vec::new();
        if framework.server.port == 9000 && settings.retries > 3 {
            problems.push(Problem::new("server.port", "not with that many retries"));
            problems.push(Problem::new("", format!("key {}", settings.signing_key.expose())));
        }
        problems
    };
    let variables = [("ORDERS_SIGNING_KEY", "hunter2")];
    let errors = loader("good", variables).load_with(cross).unwrap_err();
    assert_eq!(errors.len(), 2);
    let text = lines(&errors).join("\n");
    assert!(text.contains("default.toml:2:8: server.port: not with that many"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    assert!(loader("good", variables).set("retries", "2").load_with(cross).is_ok());
}

#[test]
fn effective_settings_name_the_source_that_won() {
    let variables = [("ORDERS_SIGNING_KEY", "hunter2"), ("PORT", "0")];
    let loaded = load(&loader("good", variables).set("hosts", "x,y")).unwrap();
    let source = |key| loaded.report.get(key).map(|setting| setting.origin.to_string());
    assert_eq!(source("server.port").as_deref(), Some("PORT"));
    assert_eq!(source("server.host").as_deref(), Some("default"));
    assert_eq!(source("hosts").as_deref(), Some("--set hosts"));
    assert!(source("inventory.url").unwrap().ends_with("good/default.toml:5:7"));
    assert!(source("limits.acme.rps").unwrap().ends_with("good/default.toml:9:7"));
    assert_eq!(source("inventory.pool_size").as_deref(), Some("default"));
    assert_eq!(loaded.report.get("hosts").unwrap().value.to_string(), r#"["x", "y"]"#);
    let secrets: Vec<_> = loaded.report.secrets().collect();
    assert_eq!(secrets, ["admin.token", "signing_key"]);
    let status = loaded.report.status();
    let signing = status.get("signing_key").unwrap();
    assert_eq!(signing.get("value"), Some(&Value::from("[redacted]")));
    assert_eq!(signing.get("source"), Some(&Value::from("ORDERS_SIGNING_KEY")));
    assert_eq!(status.get("admin.token").unwrap().get("value"), Some(&Value::Null));
    assert!(!status.to_string().contains("hunter2"));
}

#[test]
fn one_problem_is_announced_as_one() {
    let errors = Loader::new("ORDERS_").load::<Framework, Settings>().unwrap_err();
    assert!(
        errors.to_string().starts_with("1 problem in the configuration\n\nmissing:\n  signing")
    );
}

#[test]
fn a_key_that_nobody_knows_hides_no_other_problem() {
    /// Refuses a combination of its fields, as an `impl Deserialize` does.
    #[derive(Debug, Serialize, Deserialize, JsonSchema)]
    #[serde(try_from = "Range")]
    struct Checked {
        low: u32,
        high: u32,
    }

    #[derive(Deserialize, JsonSchema)]
    struct Range {
        low: u32,
        high: u32,
    }

    impl TryFrom<Range> for Checked {
        type Error = &'static str;

        fn try_from(Range { low, high }: Range) -> Result<Self, Self::Error> {
            if low <= high { Ok(Self { low, high }) } else { Err("low is above high") }
        }
    }

    #[derive(Debug, Serialize, Deserialize, JsonSchema)]
    struct Own {
        range: Checked,
    }

    let dir = temp_dir("hides-nothing");
    write(&dir, "default.toml", "[range]\nlow = 2\nhigh = 1\nhgih = 3\n");
    let loader = Loader::new("ORDERS_").config_dir(&dir);
    let errors = loader.load::<Framework, Own>().unwrap_err();
    let text = errors.to_string();
    assert!(text.contains("range.hgih: unknown key; did you mean `high`?"), "{text}");
    assert!(text.contains("range: low is above high"), "{text}");
    assert_eq!(errors.iter().count(), 2, "{text}");
}
