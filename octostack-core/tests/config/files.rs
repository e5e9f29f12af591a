use crate::support::{Limit, Mode, bare_loader, lines, load, loader, temp_dir, write};
use octostack_core::config::{ErrorKind, Origin};
use std::path::Path;
use std::time::Duration;

const KEY: (&str, &str) = ("ORDERS_SIGNING_KEY", "k");

#[test]
fn later_sources_win_key_by_key() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config/good");
    let vars = [KEY, ("APP_ENV", "production"), ("ORDERS_INVENTORY_POOL_SIZE", "4")];
    let extra = dir.join("extra.json");
    let vars = vars.into_iter().chain([("CONFIG_FILE", extra.to_str().unwrap())]);
    let loaded = load(&bare_loader([]).environment(vars).config_dir(&dir).set("retries", "9"));
    let loaded = loaded.unwrap_or_else(|errors| panic!("{errors}"));
    let settings = loaded.settings;
    assert_eq!(settings.inventory.url, "http://inventory:50051", "default.toml");
    assert_eq!(settings.inventory.timeout, Duration::from_secs(1), "production.yaml");
    assert_eq!(settings.mode, Mode::Slow, "the named file");
    assert_eq!(settings.inventory.pool_size, 4, "the environment over extra.json");
    assert_eq!(settings.retries, 9, "the command line");
    assert_eq!(settings.limits["acme"], Limit { rps: 5 }, "tables merge");
    assert_eq!(settings.limits["globex"], Limit { rps: 7 });
    assert_eq!(loaded.framework.server.port, 9000);
    assert_eq!(loaded.framework.server.host, "127.0.0.1", "default of the type");
    assert_eq!(loaded.environment, "production");
    assert_eq!(loaded.files.len(), 3);
    assert_eq!(loaded.warnings, [""; 0]);
}

#[test]
fn a_half_set_struct_keeps_the_default_of_the_field_that_holds_it() {
    let loaded = load(&bare_loader([KEY, ("ORDERS_INVENTORY_URL", "http://x")])).unwrap();
    assert_eq!(loaded.settings.inventory.url, "http://x");
    assert_eq!(loaded.settings.inventory.timeout, Duration::from_millis(500));
    let untouched = load(&bare_loader([KEY])).unwrap();
    assert_eq!(untouched.settings.inventory.timeout, Duration::from_millis(500));
}

#[test]
fn the_directory_comes_from_the_argument_then_the_variable_then_the_fallback() {
    let [a, b, c] = ["dir-a", "dir-b", "dir-c"].map(temp_dir);
    for (dir, port) in [(&a, 1), (&b, 2), (&c, 3)] {
        write(dir, "default.toml", &format!("server.port = {port}"));
    }
    let variable = bare_loader([KEY, ("CONFIG_DIR", b.to_str().unwrap())]);
    let port = |loader| load(&loader).unwrap().framework.server.port;
    assert_eq!(port(variable.clone().config_dir(&a).fallback_dir(&c)), 1);
    assert_eq!(port(variable.clone().fallback_dir(&c)), 2);
    assert_eq!(port(bare_loader([KEY]).fallback_dir(&c)), 3);
    assert_eq!(port(bare_loader([KEY])), 8080, "no directory is no error");
    let prefixed = variable.environment([("ORDERS_CONFIG_DIR", a.to_str().unwrap())]);
    assert_eq!(port(prefixed), 1, "a prefixed form beats a bare one");
}

#[test]
fn what_was_named_must_exist() {
    let errors = load(
        &bare_loader([KEY, ("CONFIG_FILE", "/nowhere/a.toml:/nowhere/b.yaml")])
            .config_dir("/nowhere")
            .file("/nowhere/c.ini"),
    )
    .unwrap_err();
    assert_eq!(
        lines(&errors),
        [
            "the config directory /nowhere does not exist",
            "/nowhere/a.toml: there is no such file",
            "/nowhere/b.yaml: there is no such file",
            "/nowhere/c.ini: there is no such file",
        ]
    );
}

#[test]
fn unusable_files_are_explained() {
    let dir = temp_dir("unusable");
    write(&dir, "default.toml", "");
    write(&dir, "default.yml", "");
    let ini = write(&dir, "a.ini", "");
    std::fs::write(dir.join("b.toml"), [0xff, 0xfe]).unwrap();
    std::fs::create_dir(dir.join("c.toml")).unwrap();
    write(&dir, "d.json", &format!("{{\"a\": \"{}\"}}", "x".repeat(1 << 20)));
    let loader = bare_loader([KEY]).config_dir(&dir);
    let loader = ["a.ini", "b.toml", "c.toml", "d.json"]
        .iter()
        .fold(loader, |loader, name| loader.file(dir.join(name)));
    let text = load(&loader).unwrap_err().to_string();
    for part in [
        "default.toml and ",
        "both exist; keep one of them",
        &format!("{}: the name must end in .toml, .yaml, .yml, .json", ini.display()),
        "b.toml: it is not UTF-8 text",
        "c.toml: it is a directory",
        "d.json: it is larger than 1 MiB",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

#[test]
fn the_name_of_the_environment_cannot_leave_the_directory() {
    for name in ["../x", "a/b", ".hidden", "a b"] {
        let errors = load(&loader("good", [KEY]).environment_name(name)).unwrap_err();
        assert_eq!(errors.iter().next().unwrap().kind, ErrorKind::OutOfRange, "{name}");
    }
}

#[test]
fn syntax_errors_name_their_place_and_hide_what_follows_from_them() {
    let dir = temp_dir("syntax");
    write(&dir, "default.toml", "a = \nsigning_key = \"hunter2\n");
    write(&dir, "development.yaml", "inventory:\n  - a\n b: 1\n");
    let json = write(&dir, "x.json", "{\n  \"mode\": ]\n}");
    let errors = load(&bare_loader([]).config_dir(&dir).file(json)).unwrap_err();
    let text = errors.to_string();
    for part in ["default.toml:1:", "default.toml:2:", "development.yaml:3:", "x.json:2:"] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert!(!text.contains("hunter2"), "{text}");
    assert!(
        errors.iter().all(|error| error.kind == ErrorKind::Syntax),
        "no key is called missing while a file cannot be read:\n{text}"
    );
}

#[test]
fn every_format_says_where_a_value_stands() {
    let dir = temp_dir("places");
    for (name, text, line, column) in [
        ("a.toml", "[inventory]\n  pool_size = true\n", 2, 15),
        ("a.yaml", "inventory:\n  pool_size: true\n", 2, 14),
        ("a.json", "{\"inventory\":\n {\"pool_size\": true}}", 2, 16),
    ] {
        let path = write(&dir, name, text);
        let errors = load(&bare_loader([KEY]).file(&path)).unwrap_err();
        let [error] = errors.iter().as_slice() else { panic!("one error in {name}: {errors}") };
        assert_eq!(error.key, "inventory.pool_size");
        let Some(Origin::File { line: l, column: c, .. }) = error.origin else {
            panic!("a place in {name}")
        };
        assert_eq!((l, c), (line, column), "{name}");
    }
}
