use crate::support::{Mode, bare_loader, lines, load, temp_dir, write};
use octostack_core::config::{ErrorKind, Loader};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

const KEY: (&str, &str) = ("ORDERS_SIGNING_KEY", "k");

#[test]
fn names_follow_the_path_with_one_or_two_underscores() {
    let loaded = load(&bare_loader([
        KEY,
        ("ORDERS_INVENTORY_POOL_SIZE", "3"),
        ("ORDERS_INVENTORY__URL", "http://x"),
        ("ORDERS_DATABASE__URL", "postgres://x"),
        ("ORDERS_DATABASE_PASSWORD", "p"),
    ]))
    .unwrap();
    assert_eq!(loaded.settings.inventory.pool_size, 3);
    assert_eq!(loaded.settings.inventory.url, "http://x");
    assert_eq!(loaded.settings.database.unwrap().url, "postgres://x");
    assert_eq!(loaded.warnings, [""; 0]);
}

#[test]
fn a_prefixed_form_beats_a_bare_one() {
    let port = |variables: &[(&str, &str)]| {
        let from = bare_loader([KEY]).environment(variables.iter().copied());
        load(&from).map(|loaded| loaded.framework.server.port)
    };
    assert_eq!(port(&[("PORT", "1")]), Ok(1));
    assert_eq!(port(&[("PORT", "1"), ("ORDERS_PORT", "2")]), Ok(2));
    let all = [("PORT", "1"), ("ORDERS_PORT", "2"), ("ORDERS_SERVER_PORT", "3")];
    assert_eq!(port(&all), Ok(3));
    assert_eq!(port(&[("PORT", "")]), Ok(8080), "empty is unset");
}

#[test]
fn the_same_key_twice_in_the_environment_is_an_error() {
    let errors = load(&bare_loader([
        KEY,
        ("ORDERS_SIGNING_KEY_FILE", "/nowhere"),
        ("ORDERS_SERVER_PORT", "1"),
        ("ORDERS_SERVER__PORT", "2"),
    ]))
    .unwrap_err();
    assert!(errors.iter().all(|error| error.kind == ErrorKind::GivenTwice));
    assert_eq!(
        lines(&errors),
        [
            "ORDERS_SERVER_PORT: server.port: set by ORDERS_SERVER_PORT and \
             ORDERS_SERVER__PORT at once; keep one",
            "ORDERS_SIGNING_KEY: signing_key: set by ORDERS_SIGNING_KEY and \
             ORDERS_SIGNING_KEY_FILE at once; keep one",
        ]
    );
}

#[test]
fn files_lose_exactly_one_newline() {
    let dir = temp_dir("newline");
    for (text, expected) in [("s\n", "s"), ("s\r\n", "s"), ("s\n\n", "s\n"), (" s", " s")] {
        let path = write(&dir, "secret", text);
        let from = bare_loader([
            ("ORDERS_SIGNING_KEY_FILE", path.to_str().unwrap()),
            ("ADMIN_TOKEN_FILE", path.to_str().unwrap()),
        ]);
        let loaded = load(&from).unwrap();
        assert_eq!(loaded.settings.signing_key.expose(), expected);
        assert_eq!(loaded.framework.admin.token.unwrap().expose(), expected, "bare");
    }
    let path = write(&dir, "secret", "\n");
    let from = bare_loader([("ORDERS_SIGNING_KEY_FILE", path.to_str().unwrap())]);
    let errors = load(&from).unwrap_err();
    assert_eq!(errors.iter().next().unwrap().kind, ErrorKind::EmptySecret);
    assert_eq!(errors.len(), 1, "{errors}");
}

#[test]
fn an_exact_key_beats_the_file_form() {
    #[derive(Debug, Serialize, Deserialize, JsonSchema)]
    struct Tls {
        cert: Option<String>,
        cert_file: String,
    }
    let from = Loader::new("A_").environment([("A_CERT_FILE", "/etc/cert.pem")]);
    let loaded = from.load::<(), Tls>().unwrap();
    assert_eq!(loaded.settings.cert, None);
    assert_eq!(loaded.settings.cert_file, "/etc/cert.pem");
}

#[test]
fn text_means_what_the_type_says() {
    #[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
    struct All {
        yes: bool,
        whole: i64,
        big: u64,
        part: f64,
        text: String,
        digits: String,
        #[serde(with = "octostack_core::duration")]
        #[schemars(schema_with = "octostack_core::duration::schema")]
        wait: Duration,
        mode: Mode,
        maybe: Option<u16>,
        empty: Option<u16>,
        names: Vec<String>,
        none: Vec<String>,
        numbers: Vec<u8>,
        table: Inner,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
    struct Inner {
        a: u8,
        #[serde(default)]
        b: Option<String>,
    }
    let from = Loader::new("A_").environment([
        ("A_YES", "On"),
        ("A_WHOLE", " -7 "),
        ("A_BIG", "18446744073709551615"),
        ("A_PART", "1e-3"),
        ("A_TEXT", ""),
        ("A_DIGITS", "0123"),
        ("A_WAIT", "1m 30s"),
        ("A_MODE", "slow"),
        ("A_MAYBE", "5"),
        ("A_EMPTY", ""),
        ("A_NAMES", "a, b"),
        ("A_NONE", "[]"),
        ("A_NUMBERS", "[1, 2]"),
        ("A_TABLE", r#"{"a": 1, "b": "x"}"#),
        ("A_TABLE_A", "2"),
    ]);
    let all = from.load::<(), All>().unwrap_or_else(|errors| panic!("{errors}")).settings;
    let expected = All {
        yes: true,
        whole: -7,
        big: u64::MAX,
        part: 0.001,
        text: String::new(),
        digits: "0123".into(),
        wait: Duration::from_secs(90),
        mode: Mode::Slow,
        maybe: Some(5),
        empty: None,
        names: vec!["a".into(), "b".into()],
        none: vec![],
        numbers: vec![1, 2],
        table: Inner { a: 2, b: Some("x".into()) },
    };
    assert_eq!(all, expected);

    let bad =
        Loader::new("A_").environment([("A_YES", "maybe"), ("A_NUMBERS", "1,x"), ("A_TABLE", "{")]);
    let text = bad.load::<(), All>().unwrap_err().to_string();
    for part in [
        "A_YES: yes: expected true or false, got `maybe`",
        "A_NUMBERS: numbers: expected a list as JSON, or with commas between items",
        "A_TABLE: table: expected an object as JSON",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

#[test]
fn a_misspelt_variable_is_named_beside_the_error_that_it_explains() {
    let misspelt = ("ORDERS_INVENTROY_URL", "x");
    let errors = load(&bare_loader([misspelt])).unwrap_err(); // the key is missing
    assert_eq!(errors.warnings().len(), 1);
    let said = errors.to_string();
    let reason = "no problem, but maybe the reason:\n  ORDERS_INVENTROY_URL: no setting reads this \
                  variable; did you mean ORDERS_INVENTORY_URL?";
    assert!(said.ends_with(reason), "{said}");
}

#[test]
fn unknown_variables_are_warnings_with_a_suggestion() {
    let loaded = load(
        &bare_loader([
            KEY,
            ("ORDERS_INVENTROY_URL", "x"),
            ("ORDERS_LIMITS_ACME_RPS", "1"),
            ("ORDERS_XYZZY", "1"),
            ("ORDERS_DATABASE_FILE", "/x"),
            ("ORDERS_RUST_LOG", "debug"),
            ("ORDERS_APP_ENV", "staging"),
            ("OTHER", "1"),
        ])
        .known_variable("RUST_LOG"),
    )
    .unwrap();
    assert_eq!(
        loaded.warnings,
        [
            "ORDERS_DATABASE_FILE: no setting reads this variable; did you mean \
             ORDERS_DATABASE_URL?",
            "ORDERS_INVENTROY_URL: no setting reads this variable; did you mean \
             ORDERS_INVENTORY_URL?",
            "ORDERS_LIMITS_ACME_RPS: no setting reads this variable; ORDERS_LIMITS sets the \
             whole map, as JSON",
            "ORDERS_XYZZY: no setting reads this variable; check the name, or unset it",
        ]
    );
    assert_eq!(loaded.environment, "staging");
}

#[test]
fn variables_of_kubernetes_service_links_are_left_alone() {
    let loaded = load(&bare_loader([
        KEY,
        ("ORDERS_SERVICE_HOST", "10.0.0.1"),
        ("ORDERS_SERVICE_PORT", "80"),
        ("ORDERS_SERVICE_PORT_HTTP", "80"),
        ("ORDERS_PORT", "tcp://10.0.0.1:80"),
        ("ORDERS_PORT_80_TCP", "tcp://10.0.0.1:80"),
        ("ORDERS_PORT_80_TCP_PROTO", "tcp"),
        ("ORDERS_PORT_80_TCP_PORT", "80"),
        ("ORDERS_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("PORT", "7000"),
    ]))
    .unwrap();
    assert_eq!(loaded.framework.server.port, 7000, "the bare name is ours");
    let [warning] = loaded.warnings.as_slice() else {
        panic!("one warning: {:?}", loaded.warnings)
    };
    assert!(warning.starts_with("ORDERS_PORT, ORDERS_PORT_80_TCP, "), "{warning}");
    assert!(warning.contains("enableServiceLinks: false"), "{warning}");
}

#[test]
fn the_process_environment_is_a_source() {
    /// Cargo sets these for the test.
    #[derive(Debug, Serialize, Deserialize, JsonSchema)]
    struct Cargo {
        pkg: Pkg,
    }
    #[derive(Debug, Serialize, Deserialize, JsonSchema)]
    struct Pkg {
        name: String,
    }
    let loaded = Loader::new("CARGO_").process_environment().load::<(), Cargo>().unwrap();
    assert_eq!(loaded.settings.pkg.name, "octostack-core");
}

#[test]
fn keys_that_are_not_built_in_name_their_feature() {
    let dir = temp_dir("feature");
    let file =
        write(&dir, "a.toml", "[server.tls]\ncert = \"a\"\n[limits.a]\nrps = 1\nburts = 1\n");
    let (one, two) = ("ORDERS_SERVER_TLS_KEY", "ORDERS_SERVER__TLS__CERT_FILE");
    let loader = bare_loader([KEY, (one, "k"), (two, "k"), ("ORDERS_SERVER_TLSX", "k")])
        .file(&file)
        .set("server.tls.key", "b")
        .with_feature("limits.*.burts", "bursts")
        .with_feature("server.port", "ports")
        .with_feature("server.tls", "octostack/tls");
    let errors = load(&loader).unwrap_err();
    let needs = |feature: &str| {
        format!(
            "it needs the feature {feature}, without which this service is built; add the feature \
             in its Cargo.toml"
        )
    };
    let tls = needs("`tls` of `octostack`");
    let file = file.display();
    assert_eq!(
        lines(&errors),
        [
            format!("{file}:1:9: server.tls: {tls}, or remove the key"),
            format!("{file}:5:1: limits.a.burts: {}, or remove the key", needs("`bursts`")),
            format!("--set server.tls.key: server.tls.key: {tls}, or remove the key"),
        ]
    );
    let [other, needs @ ..] = errors.warnings() else { panic!("{errors}") };
    assert!(!other.contains("feature"), "a name that only begins alike: {other}");
    let says = |name| format!("{name}: no setting reads this variable; {tls}, or unset it");
    assert_eq!(needs, [one, two].map(says));
}
