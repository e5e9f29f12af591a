use crate::support::{temp_dir, write};
use octostack_core::binding::{Binding, Postgresql};
use octostack_core::config::{ErrorKind, Loader, SecretSource, Wanted};
use octostack_core::inspect::Problem;
use octostack_core::secret::Secret;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::sync::{Arc, Mutex};

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Settings {
    #[schemars(length(min = 8))]
    key: Secret<String>,
    pin: Option<Secret<u16>>,
    database: Option<Binding<Postgresql>>,
    plain: Option<String>,
}

/// What the source of secrets needs for itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Framework {
    secrets: Section,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Section {
    address: Option<String>,
    token: Option<Secret<String>>,
}

/// Follows `vault://`: the secret is the path, spelled backwards.
#[derive(Default)]
struct Backwards {
    section: Mutex<Json>,
    asked: Mutex<Vec<String>>,
}

impl SecretSource for Backwards {
    fn configure(&self, section: &Json) -> Result<(), Vec<Problem>> {
        *self.section.lock().unwrap() = section.clone();
        match section["address"].as_str() {
            Some("wrong") => Err(vec![Problem::new("address", "is wrong")]),
            _ => Ok(()),
        }
    }

    fn resolve(&self, wanted: &[Wanted]) -> Vec<Result<Secret<String>, String>> {
        let mut asked = self.asked.lock().unwrap();
        let answer = |wanted: &Wanted| {
            let had = if wanted.found.is_some() { " (had)" } else { "" };
            asked.push(format!("{} = {}{had}", wanted.key, wanted.reference));
            match &wanted.found {
                Some(read) => read.clone(),
                None if wanted.reference.path() == "locked" => Err("permission denied".to_owned()),
                None => Ok(Secret::new(wanted.reference.path().chars().rev().collect())),
            }
        };
        wanted.iter().map(answer).collect()
    }
}

fn file(name: &str, text: &str) -> std::path::PathBuf {
    write(&temp_dir(&format!("references-{name}")), "default.toml", text)
}

fn loader(name: &str, text: &str) -> Loader {
    let path = file(name, text);
    Loader::new("T_").config_dir(path.parent().unwrap())
}

#[test]
fn what_this_machine_has_is_read_and_named_with_its_place() {
    let secret = file("local-secret", "12345678\n");
    let text = format!("key = 'file://{}'\npin = 'env://T_PIN_ELSEWHERE'", secret.display());
    let from = loader("local", &text).environment([("T_PIN_ELSEWHERE", "4711")]);
    let loaded = from.load::<Framework, Settings>().unwrap();
    assert_eq!(loaded.settings.key.expose(), "12345678");
    assert_eq!(loaded.settings.pin.as_ref().unwrap().expose(), &4711);
    let origin = loaded.report.get("key").unwrap().origin.to_string();
    assert!(origin.starts_with(&format!("file://{} (", secret.display())), "{origin}");
    assert!(origin.ends_with("default.toml:1:7)"), "{origin}");
    let warnings = loaded.warnings.join("\n");
    assert!(!warnings.contains("T_PIN_ELSEWHERE"), "something reads it: {warnings}");
    assert!(!format!("{:?}", loaded.report).contains("12345678"));
}

#[test]
fn a_secret_in_plain_text_in_a_file_of_the_directory_is_refused() {
    for (text, key) in [
        ("key = 'hunter2hunter2'", "T_KEY"),
        ("key = 'env://K'\npin = 4711", "T_PIN"),
        ("key = 'env://K'\ndatabase = 'postgres://app:hunter2@db/shop'", "T_DATABASE"),
        (
            "key = 'env://K'\ndatabase.host = 'db'\ndatabase.password = 'hunter2'",
            "T_DATABASE_PASSWORD",
        ),
    ] {
        let from = loader("plain", text).environment([("K", "12345678")]);
        let errors = from.load::<Framework, Settings>().unwrap_err();
        let shown = errors.to_string();
        assert_eq!(errors.iter().next().unwrap().kind, ErrorKind::SecretInFile, "{shown}");
        assert!(shown.contains(&format!("set {key}, or refer to it")), "{shown}");
        assert!(!shown.contains("hunter2") && !shown.contains("4711"), "{shown}");
        // A file that somebody names may be one that is kept secret.
        let path = file("plain-named", text);
        let named = Loader::new("T_").file(path).environment([("K", "12345678")]);
        named.load::<Framework, Settings>().unwrap();
    }
    // An address without a password is none.
    let text = "key = 'env://K'\ndatabase = 'postgres://app@db/shop'";
    let from = loader("open", text).environment([("K", "12345678"), ("T_DATABASE_PASSWORD", "p")]);
    let database = from.load::<Framework, Settings>().unwrap().settings.database.unwrap();
    assert_eq!(database.password().unwrap().expose(), "p");
}

#[test]
fn others_are_asked_all_at_once_with_what_they_need_read_before() {
    let text = "key = 'vault://12345678'\n\
                [secrets]\naddress = 'https://vault'\ntoken = 'env://TOKEN'\n\
                [database]\nurl = 'postgres://db/shop'\n\
                username = 'vault://ppa'\npassword = 'vault://terces'";
    let source = Arc::new(Backwards::default());
    let from = loader("others", text).environment([("TOKEN", "t0ken")]).secrets(source.clone());
    let loaded = from.load::<Framework, Settings>().unwrap();
    assert_eq!(loaded.settings.key.expose(), "87654321");
    let database = loaded.settings.database.unwrap();
    assert_eq!(database.username(), Some("app"));
    assert_eq!(database.password().unwrap().expose(), "secret");
    assert_eq!(source.section.lock().unwrap()["token"], "t0ken");
    assert_eq!(
        *source.asked.lock().unwrap(),
        [
            "key = vault://12345678",
            "secrets.token = env://TOKEN (had)",
            "database.username = vault://ppa",
            "database.password = vault://terces",
        ]
    );
}

#[test]
fn what_cannot_be_followed_is_told_with_its_place_and_nothing_else_is() {
    let source = Arc::new(Backwards::default());
    let of = |text: &str| {
        let from = loader("wrong", text).secrets(source.clone());
        let errors = from.load::<Framework, Settings>().unwrap_err();
        assert_eq!(errors.len(), 1, "{errors}");
        errors.to_string()
    };
    let shown = of("key = 'vault://locked'");
    assert!(shown.contains(":1:7: key: vault://locked: permission denied"), "{shown}");
    let shown = of("key = 'env://NOWHERE'");
    assert!(shown.contains("key: env://NOWHERE: the variable NOWHERE is not set"), "{shown}");
    let shown = of("key = 'vault://#x'");
    assert!(shown.contains("key: no reference: it has no path"), "{shown}");
    let shown = of("key = 'vault://abc'");
    assert!(shown.contains("expected a secret: a string of at least 8 characters"), "{shown}");
    assert!(shown.contains("vault://abc (") && !shown.contains("cba"), "{shown}");
    let shown = of("key = 'vault://12345678'\npin = 'vault://word'");
    assert!(shown.contains("pin: vault://word: expected a secret: a whole number"), "{shown}");
    let shown = of("key = 'vault://12345678'\nsecrets.address = 'wrong'");
    assert!(shown.contains(":2:19: secrets.address: is wrong"), "{shown}");
    let shown = of("key = 'vault://12345678'\nsecrets.token = 'vault://x'");
    assert!(shown.contains("secrets.token: it is needed to reach secrets"), "{shown}");

    let nobody = loader("nobody", "key = 'vault://12345678'");
    let shown = nobody.load::<Framework, Settings>().unwrap_err().to_string();
    assert!(shown.contains("nobody here follows references of `vault://`"), "{shown}");
}

#[test]
fn what_a_file_of_a_variable_holds_is_the_secret_itself() {
    let path = file("itself", "vault://not-a-reference\n");
    let from = Loader::new("T_").environment([("T_KEY_FILE", path.display().to_string())]);
    let loaded = from.load::<Framework, Settings>().unwrap();
    assert_eq!(loaded.settings.key.expose(), "vault://not-a-reference");
    // A variable may hold a reference, and what is no secret is left alone.
    let from = Loader::new("T_")
        .environment([
            ("T_KEY", "vault://12345678"),
            ("T_PLAIN", "vault://x"),
            ("T_PIN", "env://P"),
        ])
        .environment([("P", "1")])
        .secrets(Arc::new(Backwards::default()));
    let settings = from.load::<Framework, Settings>().unwrap().settings;
    assert_eq!((settings.key.expose().as_str(), settings.pin.unwrap().expose()), ("87654321", &1));
    assert_eq!(settings.plain.as_deref(), Some("vault://x"));
}

#[test]
fn what_is_no_reference_by_a_slip_is_not_taken_for_the_secret() {
    for (text, meant) in [
        ("valt://kv/orders#key", "vault"),
        ("Vault://kv/orders#key", "vault"),
        ("flie:///run/secrets/key", "file"),
        ("creds://key-of-orders", "cred"),
        ("aws_sm://orders/key", "aws-sm"),
    ] {
        let from = Loader::new("T_").environment([("T_KEY", text)]);
        let errors = from.load::<Framework, Settings>().unwrap_err();
        let shown = errors.to_string();
        assert_eq!(errors.iter().next().unwrap().kind, ErrorKind::Reference, "{shown}");
        assert!(shown.contains(&format!(
            "T_KEY: key: begins almost like a reference; was `{meant}://` meant?"
        )));
        assert!(!shown.contains("orders") && !shown.contains("secrets/key"), "{shown}");
        // It may be the secret, if somebody says so.
        let path = file("slip", text);
        let itself = Loader::new("T_").environment([("T_KEY_FILE", path.display().to_string())]);
        assert_eq!(itself.load::<(), Settings>().unwrap().settings.key.expose(), text);
    }
    // A secret may be an address.
    for text in ["https://hooks.example/T0", "amqps://a:b@c", "s3://bucket", "vault:12345678"] {
        let from = Loader::new("T_").environment([("T_KEY", text)]);
        assert_eq!(from.load::<(), Settings>().unwrap().settings.key.expose(), text);
    }
}

#[test]
fn who_has_no_use_for_secrets_does_not_need_them() {
    let loader =
        || Loader::new("T_").environment([("T_KEY", "vault://kv/orders#key"), ("T_PLAIN", "x")]);
    assert!(loader().load::<(), Settings>().is_err());
    let settings = loader().unfollowed().load::<(), Settings>().unwrap().settings;
    assert_eq!(settings.key.expose(), "vault://kv/orders#key");
    assert_eq!(settings.plain.as_deref(), Some("x"));
    let wrong = Loader::new("T_").environment([("T_KEY", "vault://")]).unfollowed();
    assert!(wrong.load::<(), Settings>().unwrap_err().to_string().contains("no reference"));
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Access {
    Basic { user: String, password: Secret<String> },
    Bearer { token: Secret<String> },
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
enum Outside {
    Token(Secret<String>),
    Pair { one: Secret<String> },
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Common {
    shared: Secret<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Shapes {
    list: Vec<Secret<String>>,
    map: std::collections::BTreeMap<String, Secret<String>>,
    access: Access,
    many: Vec<Access>,
    outside: Outside,
    other: Outside,
    whole: Secret<Vec<String>>,
    nested: Option<Box<Common>>,
    tuple: (String, Secret<String>),
    untagged: Untagged,
    #[serde(flatten)]
    common: Common,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Untagged {
    Number(u16),
    Text(Secret<String>),
}

#[test]
fn a_reference_is_followed_wherever_a_secret_may_be() {
    let text = "list = ['env://A', 'env://B']\nmap = { x = 'env://A' }\nshared = 'env://B'\n\
                access = { kind = 'basic', user = 'env://A', password = 'env://A' }\n\
                many = [{ kind = 'bearer', token = 'env://B' }]\n\
                outside = { Token = 'env://A' }\nother = { Pair = { one = 'env://B' } }\n\
                whole = ['env://A']\nnested = { shared = 'env://B' }\n\
                tuple = ['env://A', 'env://A']\nuntagged = 'env://A'";
    let from = loader("shapes", text).environment([("A", "of-a"), ("B", "of-b")]);
    let loaded = from.load::<Framework, Shapes>();
    let settings = loaded.unwrap().settings;
    let list: Vec<_> = settings.list.iter().map(Secret::expose).collect();
    assert_eq!(list, ["of-a", "of-b"]);
    assert_eq!(settings.map["x"].expose(), "of-a");
    let Access::Basic { user, password } = &settings.access else { panic!("{settings:?}") };
    assert_eq!((user.as_str(), password.expose().as_str()), ("env://A", "of-a"));
    let Access::Bearer { token } = &settings.many[0] else { panic!("{settings:?}") };
    assert_eq!(token.expose(), "of-b");
    let Outside::Token(token) = &settings.outside else { panic!("{settings:?}") };
    assert_eq!(token.expose(), "of-a");
    let Outside::Pair { one } = &settings.other else { panic!("{settings:?}") };
    assert_eq!(one.expose(), "of-b");
    assert_eq!(settings.whole.expose(), &["of-a".to_owned()]);
    assert_eq!(settings.nested.unwrap().shared.expose(), "of-b");
    assert_eq!(
        (settings.tuple.0.as_str(), settings.tuple.1.expose().as_str()),
        ("env://A", "of-a")
    );
    let Untagged::Text(text) = &settings.untagged else { panic!() };
    assert_eq!(text.expose(), "of-a");
    assert_eq!(settings.common.shared.expose(), "of-b");
}

#[test]
fn a_variable_with_a_reference_in_it_is_not_taken_for_the_secret() {
    let text = "key = 'env://HERE'\npin = 'env://T_PIN'";
    for there in ["vault://kv/orders#key", "file:///run/secrets/key", "env://HERE"] {
        let from = loader("twice", text).environment([("HERE", there), ("T_PIN", "4711")]);
        let errors = from.load::<Framework, Settings>().unwrap_err().to_string();
        assert!(
            errors.contains("key: env://HERE: the variable HERE holds a reference"),
            "{errors}"
        );
    }
}
