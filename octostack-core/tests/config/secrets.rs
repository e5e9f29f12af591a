//! No secret leaves through an error, a report or a debug print, whatever is wrong with it.

use crate::support::{Framework, Settings, bare_loader, load, temp_dir, write};
use octostack_core::config::Loader;
use octostack_core::secret::{Secret, Zeroize};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const CANARY: &str = "cAnArY-7731";

#[test]
fn a_good_secret_is_in_no_output() {
    let from = bare_loader([("ORDERS_SIGNING_KEY", CANARY), ("ADMIN_TOKEN", CANARY)]);
    let loaded = load(&from).unwrap();
    assert_eq!(loaded.settings.signing_key.expose(), CANARY);
    for text in [
        format!("{loaded:?}"),
        format!("{from:?}"),
        loaded.report.status().to_string(),
        serde_json::to_string(&loaded.settings).unwrap(),
        serde_json::to_string(&loaded.framework).unwrap(),
    ] {
        assert!(!text.contains(CANARY), "{text}");
    }
}

/// A value that its own type refuses, with a message that repeats it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
struct Picky(String);

impl Zeroize for Picky {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

impl<'de> Deserialize<'de> for Picky {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Err(serde::de::Error::custom(format!("no such thing: {text:?}")))
    }
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Odd {
    plain: Picky,
    picky: Secret<Picky>,
    number: Secret<u32>,
    #[serde(default)]
    maybe: Option<Secret<String>>,
    #[serde(default)]
    list: Vec<Secret<Picky>>,
    #[serde(default)]
    either: Option<Either>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Either {
    Number(Secret<u32>),
    Pair { key: Secret<Picky> },
}

#[test]
fn a_bad_secret_is_in_no_error() {
    let dir = temp_dir("canary");
    for (index, text) in [
        // Wrong types, unknown keys, refused by the type, quoted in the error of another key.
        format!("picky = '{CANARY}'\nnumber = '{CANARY}'\nmaybe = ['{CANARY}']\nplain = 'x'"),
        format!("picky = {{ x = '{CANARY}' }}\nplain = '{CANARY}'\nnumber = 1"),
        format!("picky = '{CANARY}'\nplain = '{CANARY}'\nnumber = 1"),
        format!("number = -1\nlist = ['{CANARY}', 3]\neither = '{CANARY}'\nplain = 'x'"),
        format!("either = {{ key = '{CANARY}' }}\nlist = '{CANARY}'\nplain = 'x'"),
        format!("picky = '{CANARY}\nnumber = 1"),
        format!("picky = '{CANARY}' x\npicky = '{CANARY}'"),
    ]
    .iter()
    .enumerate()
    {
        let path = write(&dir, &format!("{index}.toml"), text);
        let errors = Loader::new("A_").file(path).load::<(), Odd>().unwrap_err();
        for report in [errors.to_string(), format!("{errors:?}")] {
            assert!(!report.contains(CANARY), "{text}\n{report}");
        }
    }
    let yaml = write(&dir, "a.yaml", &format!("picky: {CANARY}: x\n  number: !{CANARY} 1\n"));
    let json = write(&dir, "a.json", &format!("{{\"picky\": \"{CANARY}\" \"{CANARY}\"}}"));
    for path in [yaml, json] {
        let errors = Loader::new("A_").file(path).load::<(), Odd>().unwrap_err();
        assert!(!errors.to_string().contains(CANARY), "{errors}");
    }
}

#[test]
fn a_bad_secret_from_variables_is_in_no_error() {
    let names = ["PLAIN", "PICKY", "NUMBER", "MAYBE", "LIST", "EITHER", "EITHER_KEY"];
    for name in names {
        let variable = (format!("A_{name}"), CANARY.to_owned());
        let secret = (name != "PICKY").then(|| ("A_PICKY".to_owned(), CANARY.to_owned()));
        let from = Loader::new("A_").environment([variable]).environment(secret);
        let errors = from.load::<(), Odd>().unwrap_err();
        assert!(!format!("{errors}{errors:?}").contains(CANARY), "{name}: {errors}");
    }
    for key in ["picky", "number", "maybe", "list", "either", "either.key"] {
        let errors = Loader::new("A_").set(key, CANARY).load::<(), Odd>().unwrap_err();
        assert!(
            errors.to_string().contains("cannot be set on the command line"),
            "{key}: {errors}"
        );
        assert!(!errors.to_string().contains(CANARY), "{key}: {errors}");
    }
}

#[test]
fn a_secret_has_no_default_and_is_not_the_word_that_hides_it() {
    #[derive(Debug, Serialize, Deserialize, JsonSchema)]
    #[serde(default)]
    struct Defaulted {
        name: String,
        db: Db,
    }
    #[derive(Debug, Serialize, Deserialize, JsonSchema)]
    struct Db {
        user: String,
        password: Secret<String>,
    }
    impl Default for Defaulted {
        fn default() -> Self {
            let (user, password) = ("app".into(), Secret::new("changeme".into()));
            Self { name: "x".into(), db: Db { user, password } }
        }
    }
    let load = |variables: &[(&str, &str)]| {
        let from = Loader::new("A_").environment(variables.iter().copied());
        from.load::<(), Defaulted>()
    };
    let errors = load(&[]).unwrap_err();
    assert!(errors.to_string().contains("db.password: required"), "{errors}");
    let errors = load(&[("A_DB_PASSWORD", "[redacted]")]).unwrap_err();
    assert!(errors.to_string().contains("not its value"), "{errors}");
    let settings = load(&[("A_DB_PASSWORD", "p")]).unwrap().settings;
    assert_eq!(settings.db.password.expose(), "p");
    assert_eq!(settings.db.user, "app", "the rest of the default stays");
}

#[test]
fn an_empty_secret_is_an_error_wherever_it_stands() {
    let dir = temp_dir("empty-secret");
    let path = write(&dir, "a.yaml", "signing_key: ''\n");
    let from = bare_loader([("ADMIN_TOKEN", "")]).file(path);
    let errors = from.load::<Framework, Settings>().unwrap_err();
    let keys: Vec<_> = errors.iter().map(|error| error.key.as_str()).collect();
    assert_eq!(keys, ["signing_key", "admin.token"], "{errors}");
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Login {
    /// Here `key` is no secret,
    Public {
        #[schemars(with = "String")]
        key: std::net::IpAddr,
    },
    /// here it is.
    Private { key: Secret<Picky> },
}

/// A type whose message repeats the value in another form.
#[derive(Clone, Debug, Serialize, JsonSchema)]
struct Loud(String);

impl Zeroize for Loud {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

impl<'de> Deserialize<'de> for Loud {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?.to_uppercase();
        Err(serde::de::Error::custom(format!("WHAT IS {text}")))
    }
}

#[test]
fn the_reason_of_a_refusal_is_withheld_where_a_secret_stands() {
    #[derive(Debug, Serialize, Deserialize, JsonSchema)]
    struct Keys {
        secret: Secret<Loud>,
        plain: Loud,
    }
    let variables = [("A_SECRET", CANARY), ("A_PLAIN", "plain")];
    let errors = Loader::new("A_").environment(variables).load::<(), Keys>().unwrap_err();
    let text = errors.to_string();
    assert!(text.contains("A_PLAIN: plain: WHAT IS PLAIN"), "{text}");
    assert!(text.contains("A_SECRET: secret: its type refuses the value"), "{text}");
    assert!(!text.contains(&CANARY.to_uppercase()), "{text}");
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Logins {
    login: Login,
    #[schemars(with = "String")]
    address: std::net::IpAddr,
    #[schemars(length(min = 20))]
    long: Secret<String>,
    /// Not a `Secret`, but marked as one.
    #[schemars(extend("x-secret" = true))]
    marked: String,
}

#[test]
fn a_key_that_is_a_secret_in_one_variant_is_treated_as_one() {
    let dir = temp_dir("login");
    for kind in ["public", "private"] {
        let login = format!("login = {{ kind = '{kind}', key = '{CANARY}' }}");
        let rest = format!("address = '{CANARY}'\nlong = '{CANARY}'\nmarked = '{CANARY}'\n");
        let path = write(&dir, "a.toml", &format!("{login}\n{rest}"));
        let errors = Loader::new("A_").file(path).load::<(), Logins>().unwrap_err();
        assert!(!format!("{errors}{errors:?}").contains(CANARY), "{errors}");
        assert!(errors.to_string().contains("long: expected a secret: a string of at least 20"));
        assert!(errors.to_string().contains("address: invalid IP address syntax"), "{errors}");
    }
    let path = write(
        &dir,
        "b.toml",
        &format!(
            "login = {{ kind = 'public', key = '::1' }}\naddress = '::1'\n\
             long = '0123456789{CANARY}'\nmarked = '{CANARY}'\n"
        ),
    );
    let loaded = Loader::new("A_").file(path).load::<(), Logins>().unwrap();
    assert!(!loaded.report.status().to_string().contains(CANARY));
    let secrets: Vec<_> = loaded.report.secrets().collect();
    assert_eq!(secrets, ["login.key", "long", "marked"]);
}

#[test]
fn a_secret_in_the_place_of_its_path_is_in_no_error() {
    for value in [CANARY, "/cAnArY-7731", "cAnArY-7731/x==", "\u{0}cAnArY-7731"] {
        let from = bare_loader([("ORDERS_SIGNING_KEY_FILE", value)]);
        let errors = load(&from).unwrap_err();
        assert!(!format!("{errors}{errors:?}").contains("cAnArY"), "{errors}");
        assert!(errors.to_string().contains("takes the path of a file"), "{errors}");
        let twice = from.environment([("ORDERS_SIGNING_KEY", CANARY)]);
        let errors = load(&twice).unwrap_err();
        assert!(!format!("{errors}{errors:?}").contains("cAnArY"), "{errors}");
    }
    let from = bare_loader([("ORDERS_SIGNING_KEY_FILE", "/run/secret/key")]);
    let text = load(&from).unwrap_err().to_string();
    assert!(text.contains("(/run/secret/key): signing_key: there is no such file"), "{text}");
}
