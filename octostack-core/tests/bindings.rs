//! Backing services as a platform attaches them: real directories, one report.
#![cfg(feature = "bindings")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are not seen as tests")]

use octostack_core::binding::{Any, Binding, Kafka, Postgresql, Redis};
use octostack_core::config::{ErrorKind, Errors, Loaded, Loader};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

const PASSWORD: &str = "hunter2-canary";

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Settings {
    /// Where orders are kept.
    database: Binding<Postgresql>,
    cache: Option<Binding<Redis>>,
    #[serde(default)]
    shop: Shop,
    #[schemars(extend("x-binding-name" = "the-events", "x-binding-provider" = "acme"))]
    events: Option<Binding<Kafka>>,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
struct Shop {
    mail_server: Option<Binding<Any>>,
}

/// A directory that goes away with the test.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("octostack-bindings-{}-{number}", std::process::id());
        let dir = Self(std::env::temp_dir().join(name));
        fs::create_dir_all(&dir.0).unwrap();
        dir
    }

    /// A binding of plain files.
    fn bind(self, name: &str, entries: &[(&str, &str)]) -> Self {
        let dir = self.0.join(name);
        fs::create_dir_all(&dir).unwrap();
        for (entry, value) in entries {
            fs::write(dir.join(entry), value).unwrap();
        }
        self
    }

    fn loader(&self) -> Loader {
        Loader::new("ORDERS_").environment([("SERVICE_BINDING_ROOT", self.0.to_str().unwrap())])
    }

    fn file(&self, text: &str) -> PathBuf {
        let path = self.0.join("settings.toml");
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn load(loader: &Loader) -> Result<Loaded<(), Settings>, Errors> {
    let got = loader.load();
    let shown = match &got {
        Ok(got) => format!("{:?} {} {got:?}", got.settings, got.report.status()),
        Err(errors) => format!("{errors} {errors:?}"),
    };
    assert!(!shown.contains(PASSWORD), "{shown}");
    got
}

fn good(loader: &Loader) -> Loaded<(), Settings> {
    load(loader).unwrap_or_else(|errors| panic!("{errors}"))
}

fn bad(loader: &Loader) -> Errors {
    load(loader).err().unwrap()
}

fn url<K>(binding: &Binding<K>) -> String {
    binding.url().expose().clone()
}

#[test]
fn a_directory_of_its_type_is_attached_with_all_entries() {
    let dir = Dir::new().bind(
        "orders-db",
        &[
            ("type", "postgresql\n"),
            ("provider", "acme"),
            ("host", "db"),
            ("port", "6000\n"),
            ("username", "app"),
            ("password", &format!("{PASSWORD}\n\n")),
            ("database", "shop"),
            ("certificates", "PEM\n"),
        ],
    );
    fs::write(dir.0.join("orders-db/keystore"), [0xFF, 0xFE, 0]).unwrap();
    fs::create_dir(dir.0.join("orders-db/nested")).unwrap();
    let got = good(&dir.loader());
    let db = &got.settings.database;
    assert_eq!(url(db), format!("postgres://app:{PASSWORD}%0A@db:6000/shop"), "one newline less");
    assert_eq!((db.name(), db.provider()), (Some("orders-db"), Some("acme")));
    assert_eq!(db.entry("certificates").unwrap().expose(), "PEM");
    assert!(db.entry("keystore").is_none());
    let origin = &got.report.get("database").unwrap().origin;
    let path = dir.0.join("orders-db");
    assert_eq!(origin.to_string(), format!("binding orders-db ({})", path.display()));
}

#[test]
fn the_address_of_a_binding_is_its_uri() {
    let uri = format!("postgres://app:{PASSWORD}@one,two:6000/shop");
    let dir = Dir::new().bind(
        "db",
        &[("type", "postgresql"), ("uri", &uri), ("host", "one"), ("port", "1"), ("database", "x")],
    );
    let got = good(&dir.loader());
    let expected = format!("postgres://app:{PASSWORD}@one:5432,two:6000/shop");
    assert_eq!(url(&got.settings.database), expected);
    let origin = got.report.get("database").unwrap().origin.to_string();
    assert!(origin.ends_with("/db/uri)"), "{origin}");
}

#[test]
fn names_come_first_in_any_spelling_and_other_directories_are_passed_over() {
    let dir = Dir::new()
        .bind("database", &[("type", "postgresql"), ("host", "a")])
        .bind("other-db", &[("type", "postgresql"), ("host", "b")])
        .bind("mail-server", &[("type", "smtp"), ("uri", "smtp://mail:25")])
        .bind(
            "the-events",
            &[("type", "kafka"), ("provider", "acme"), ("bootstrap-servers", "k1,k2:1")],
        )
        .bind("no-type", &[("host", "c")])
        .bind(".hidden", &[("type", "postgresql"), ("host", "d")]);
    let got = good(&dir.loader());
    let settings = &got.settings;
    assert_eq!(settings.database.host(), Some("a"));
    assert_eq!(url(settings.shop.mail_server.as_ref().unwrap()), "smtp://mail:25");
    assert_eq!(url(settings.events.as_ref().unwrap()), "kafka://k1:9092,k2:1");
    assert!(settings.cache.is_none());
    let [warning] = &got.warnings[..] else { panic!("{:?}", got.warnings) };
    assert!(warning.contains("/no-type: no binding"), "{warning}");
}

#[test]
fn two_that_fit_are_named_and_a_key_chooses() {
    let dir = Dir::new()
        .bind("one", &[("type", "postgresql"), ("host", "a"), ("password", PASSWORD)])
        .bind("two", &[("type", "postgresql"), ("host", "b"), ("password", PASSWORD)]);
    let errors = bad(&dir.loader());
    assert_eq!(
        errors.to_string(),
        "1 problem in the configuration\n\nin bindings:\n  database: the bindings `one` and `two` \
         fit alike; set ORDERS_DATABASE_BINDING to the name of the one that is meant"
    );
    assert_eq!(errors.iter().next().unwrap().kind, ErrorKind::Ambiguous);
    let choose = |name| dir.loader().environment([("ORDERS_DATABASE_BINDING", name)]);
    assert_eq!(good(&choose("two")).settings.database.host(), Some("b"));
    let errors = bad(&choose("three"));
    assert!(errors.to_string().contains("there are `one`, `two`"), "{errors}");
    let chosen = dir.loader().file(dir.file("[database]\nbinding = \"one\""));
    assert_eq!(good(&chosen).settings.database.host(), Some("a"));
    let chosen = chosen.set("database.binding", "two");
    assert_eq!(good(&chosen).settings.database.host(), Some("b"), "the command line wins");
}

#[test]
fn a_binding_is_over_files_and_below_variables() {
    let dir =
        Dir::new().bind("db", &[("type", "postgresql"), ("host", "bound"), ("username", "u")]);
    let file = dir.file("[database]\nhost = \"filed\"\ndatabase = \"dev\"\npassword = \"dev\"");
    let loader = dir.loader().file(&file);
    assert_eq!(url(&good(&loader).settings.database), "postgres://u@bound:5432", "as a whole");
    let over = loader.clone().environment([("ORDERS_DATABASE", "postgres://given")]);
    let got = good(&over);
    assert_eq!(url(&got.settings.database), "postgres://given:5432", "as a whole");
    assert_eq!(got.settings.database.name(), None);
    let part = loader.clone().environment([("ORDERS_DATABASE_PASSWORD", PASSWORD)]);
    let expected = format!("postgres://u:{PASSWORD}@bound:5432");
    assert_eq!(url(&good(&part).settings.database), expected);
    let part = loader.set("database.host", "typed");
    assert_eq!(good(&part).settings.database.host(), Some("typed"));
}

#[test]
fn variables_of_one_binding_add_to_each_other_in_any_order() {
    let part = ("ORDERS_DATABASE_PASSWORD", PASSWORD);
    for name in ["ORDERS_DATABASE", "ORDERS_DATABASE_URL"] {
        let loader = Loader::new("ORDERS_").environment([part, (name, "postgres://a:old@b/c")]);
        let expected = format!("postgres://a:{PASSWORD}@b:5432/c");
        assert_eq!(url(&good(&loader).settings.database), expected, "{name}");
    }
    let twice = [("ORDERS_DATABASE", "postgres://a"), ("ORDERS_DATABASE_URL", "postgres://b")];
    let errors = bad(&Loader::new("ORDERS_").environment(twice));
    assert_eq!(
        errors.to_string(),
        "1 problem in the configuration\n\nin the environment:\n  ORDERS_DATABASE: database: its \
         URL is set by ORDERS_DATABASE_URL as well; keep one"
    );
    assert_eq!(errors.iter().next().unwrap().kind, ErrorKind::GivenTwice);
}

#[test]
fn the_process_is_over_a_dotenv_as_a_whole() {
    let dir = Dir::new();
    let dotenv = dir.0.join(".env");
    fs::write(&dotenv, "ORDERS_DATABASE_URL=postgres://dev\nORDERS_DATABASE_PASSWORD=dev\n")
        .unwrap();
    let loader = Loader::new("ORDERS_").dotenv(&dotenv);
    assert_eq!(url(&good(&loader).settings.database), "postgres://:dev@dev:5432");
    let over = loader.clone().environment([("ORDERS_DATABASE", "postgres://a@given")]);
    assert_eq!(url(&good(&over).settings.database), "postgres://a@given:5432");
    let part = loader.environment([("ORDERS_DATABASE_PASSWORD", PASSWORD)]);
    assert_eq!(url(&good(&part).settings.database), format!("postgres://:{PASSWORD}@dev:5432"));
}

/// Services of Kubernetes leave variables that look like parts of a binding.
#[test]
fn what_kubernetes_sets_for_a_service_of_that_name_is_no_part() {
    let from = Loader::new("ORDERS_").environment([
        ("ORDERS_DATABASE", "postgres://a@b:6000"),
        ("ORDERS_DATABASE_PORT", "tcp://10.0.0.1:5432"),
        ("ORDERS_DATABASE_SERVICE_HOST", "10.0.0.1"),
    ]);
    let loaded = good(&from);
    assert_eq!(url(&loaded.settings.database), "postgres://a@b:6000");
    assert!(loaded.warnings[0].contains("enableServiceLinks"), "{:?}", loaded.warnings);
}

#[test]
fn an_address_given_by_itself_asks_for_no_choice() {
    let dir = Dir::new()
        .bind("one", &[("type", "postgresql"), ("host", "a")])
        .bind("two", &[("type", "postgresql"), ("host", "b")]);
    let given = dir.loader().environment([("ORDERS_DATABASE", "postgres://given")]);
    assert_eq!(good(&given).settings.database.host(), Some("given"));
    let both = given.environment([("ORDERS_DATABASE_BINDING", "one")]);
    let errors = bad(&both);
    assert_eq!(errors.iter().next().unwrap().kind, ErrorKind::GivenTwice, "{errors}");
}

#[test]
fn a_url_comes_from_every_source_and_its_parts_from_others() {
    let dir = Dir::new();
    let file = dir.file("database = \"postgres://app@db/shop\"");
    let loader = Loader::new("ORDERS_").file(&file);
    assert_eq!(url(&good(&loader).settings.database), "postgres://app@db:5432/shop");
    let secret = dir.0.join("secret");
    fs::write(&secret, format!("{PASSWORD}\n")).unwrap();
    let part =
        loader.clone().environment([("ORDERS_DATABASE_PASSWORD_FILE", secret.to_str().unwrap())]);
    let expected = format!("postgres://app:{PASSWORD}@db:5432/shop");
    assert_eq!(url(&good(&part).settings.database), expected);
    fs::write(&secret, format!("postgres://x:{PASSWORD}@y\n")).unwrap();
    let whole = loader.clone().environment([("ORDERS_DATABASE_FILE", secret.to_str().unwrap())]);
    let got = good(&whole);
    assert_eq!(url(&got.settings.database), format!("postgres://x:{PASSWORD}@y:5432"));
    let shown = got.report.get("database").unwrap();
    assert_eq!((shown.value.to_string().as_str(), shown.secret), ("\"[redacted]\"", true));
    let json = format!(r#"{{"host": "h", "password": "{PASSWORD}"}}"#);
    let json = loader.clone().environment([("ORDERS_DATABASE", json.as_str())]);
    assert_eq!(
        url(&good(&json).settings.database),
        format!("postgres://app:{PASSWORD}@h:5432/shop")
    );
    let refused = bad(&loader.set("database", format!("postgres://a:{PASSWORD}@b")));
    assert_eq!(refused.iter().next().unwrap().kind, ErrorKind::SecretOnCommandLine);
}

#[test]
fn what_is_missing_or_wrong_says_how_to_attach_it() {
    let errors = bad(&Loader::new("ORDERS_"));
    assert_eq!(
        errors.to_string(),
        "1 problem in the configuration\n\nmissing:\n  database: required, and no source sets it; \
         expected a secret: a URL such as `postgres://user@host:5432/database`, or a table; set \
         ORDERS_DATABASE to its URL, or ORDERS_DATABASE_FILE to the file that holds it, or attach \
         a binding of type `postgresql`"
    );
    let forms = [
        "",
        "hunter2-canary",
        "postgres://a:hunter2-canary#@b",
        "mysql://a:hunter2-canary@b",
        "postgres://a:hunter2-canary@b:x",
        "5",
        "[1]",
        "{\"hots\": \"hunter2-canary\"}",
        "{\"port\": \"hunter2-canary\"}",
        "{\"port\": 0}",
        "{\"password\": 7}",
    ];
    for form in forms {
        let errors = bad(&Loader::new("ORDERS_").environment([("ORDERS_DATABASE", form)]));
        assert_eq!(errors.len(), 1, "{form}: {errors}");
        assert!(errors.to_string().contains("ORDERS_DATABASE: database"), "{form}: {errors}");
    }
    let loader = Loader::new("ORDERS_").environment([("ORDERS_DATABASE", "postgres://a:p#@b")]);
    let errors = bad(&loader).to_string();
    assert!(errors.contains("a `#` stands in it; write it as %23"), "{errors}");
    let dir = Dir::new().bind("db", &[("type", "postgresql"), ("host", "a"), ("port", "many")]);
    let errors = bad(&dir.loader()).to_string();
    assert!(
        errors.contains("in bindings:\n  binding db (")
            && errors.contains("/db/port): database.port: expected"),
        "{errors}"
    );
    let chosen = Loader::new("ORDERS_").environment([("ORDERS_DATABASE_BINDING", "x")]);
    assert!(bad(&chosen).to_string().contains("SERVICE_BINDING_ROOT is not set"));
    let nowhere = Loader::new("ORDERS_").environment([("SERVICE_BINDING_ROOT", "/nowhere/at/all")]);
    assert!(bad(&nowhere).to_string().contains("SERVICE_BINDING_ROOT: /nowhere/at/all: "));
}

#[test]
fn a_directory_that_cannot_be_used_is_told_with_the_reason() {
    let dir = Dir::new().bind("db", &[("type", "postgresql"), ("host", "a")]);
    fs::create_dir_all(dir.0.join("crowd")).unwrap();
    for entry in 0..1_001 {
        fs::write(dir.0.join(format!("crowd/{entry}")), "").unwrap();
    }
    fs::create_dir_all(dir.0.join("nested/type")).unwrap();
    let loaded = good(&dir.loader());
    let [crowd, nested] = &loaded.warnings[..] else { panic!("{:?}", loaded.warnings) };
    assert!(crowd.contains("/crowd: ") && crowd.contains("more than 1000 names"), "{crowd}");
    assert!(nested.contains("/nested: ") && nested.contains("no entry `type`"), "{nested}");
}

#[test]
fn a_rule_of_the_service_cannot_tell_a_password_either() {
    use octostack_core::inspect::Problem;

    let url = "postgres://app:hunter2%2Dcanary@db";
    let loader = Loader::new("ORDERS_").environment([("ORDERS_DATABASE", url)]);
    let errors = loader.load_with(|(), settings: &Settings| {
        let password = settings.database.password().unwrap().expose();
        vec![Problem::new("database", format!("{password} is too short"))]
    });
    let errors = errors.err().unwrap().to_string();
    assert!(errors.contains("details withheld") && !errors.contains(PASSWORD), "{errors}");
}

/// As kubelet does it: a new directory, then one rename of `..data`.
#[cfg(unix)]
mod volume {
    use super::{Dir, PASSWORD, good, url};
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    fn write(volume: &Path, version: &str, entries: &[(&str, &str)]) {
        let dir = volume.join(version);
        fs::create_dir_all(&dir).unwrap();
        for (entry, value) in entries {
            let path = dir.join(entry);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, value).unwrap();
        }
        symlink(version, volume.join("..data_tmp")).unwrap();
        fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
    }

    #[test]
    fn a_rotated_secret_is_seen_whole_by_the_next_load() {
        let dir = Dir::new();
        let volume = dir.0.join("database");
        let entries = |user, password| {
            [("type", "postgresql"), ("host", "db"), ("username", user), ("password", password)]
        };
        write_first(&volume, &entries("old", "old-password"));
        let before = good(&dir.loader());
        assert_eq!(url(&before.settings.database), "postgres://old:old-password@db:5432");

        write(&volume, "..2026_02", &entries("new", PASSWORD));
        fs::remove_dir_all(volume.join("..2026_01")).unwrap();
        let after = good(&dir.loader());
        assert_eq!(url(&after.settings.database), format!("postgres://new:{PASSWORD}@db:5432"));
        assert_ne!(before.settings.database, after.settings.database);
    }

    fn write_first(volume: &Path, entries: &[(&str, &str)]) {
        fs::create_dir_all(volume).unwrap();
        write(volume, "..2026_01", entries);
        for (entry, _) in entries {
            let top = entry.split('/').next().unwrap();
            let _ = symlink(format!("..data/{top}"), volume.join(top));
        }
    }

    /// Between its steps kubelet leaves links to what is gone, and files without a link.
    #[test]
    fn a_load_in_the_middle_of_a_rotation_finds_all_of_it() {
        let dir = Dir::new();
        let volume = dir.0.join("database");
        write_first(&volume, &[("type", "postgresql"), ("host", "a"), ("password", "old")]);
        write(&volume, "..2026_02", &[("type", "postgresql"), ("uri", "postgres://new@b")]);
        fs::remove_dir_all(volume.join("..2026_01")).unwrap();
        assert!(volume.join("password").symlink_metadata().is_ok(), "a link to nothing");
        assert_eq!(url(&good(&dir.loader()).settings.database), "postgres://new@b:5432");
        // Whatever is mounted beside the links is there too.
        fs::write(volume.join("certificates"), "PEM").unwrap();
        let settings = good(&dir.loader()).settings;
        assert_eq!(settings.database.entry("certificates").unwrap().expose(), "PEM");
    }

    #[test]
    fn all_bindings_may_be_one_volume() {
        let dir = Dir::new();
        let entries = [
            ("database/type", "postgresql"),
            ("database/uri", "postgres://one"),
            ("cache/type", "redis"),
            ("cache/host", "two"),
        ];
        write_first(&dir.0, &entries);
        let settings = good(&dir.loader()).settings;
        assert_eq!(url(&settings.database), "postgres://one:5432");
        assert_eq!(url(settings.cache.as_ref().unwrap()), "redis://two:6379");
    }
}

/// The watch of a running service sees a rotation, and the reload applies it.
#[cfg(feature = "reload")]
#[test]
fn a_reload_applies_what_was_rotated() {
    use octostack_core::config::live::{Live, Trigger};

    let dir = Dir::new().bind("db", &[("type", "postgresql"), ("host", "a"), ("password", "old")]);
    let live = Live::<(), Settings>::start(dir.loader(), |(), _| Vec::new()).unwrap();
    fs::write(dir.0.join("db/password"), PASSWORD).unwrap();
    let reloaded = live.reload(Trigger::Code).unwrap();
    assert_eq!(*reloaded.changed, ["database".to_owned()]);
    assert_eq!(live.settings().load().database.password().unwrap().expose(), PASSWORD);
    assert!(!live.status().to_string().contains(PASSWORD));

    let dir = dir.bind("db2", &[("type", "postgresql"), ("host", "b")]);
    let refused = live.reload(Trigger::Code).unwrap_err();
    assert!(refused.problems[0].to_string().contains("`db` and `db2` fit alike"));
    assert_eq!(live.settings().load().database.host(), Some("a"), "the last good one stays");
    drop(dir);
}
