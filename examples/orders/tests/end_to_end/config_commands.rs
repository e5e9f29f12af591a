//! What the command `config` prints.
use crate::process::{Exit, Process};
use serde_json::Value;

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Exit {
    Process::spawn(arguments, environment).end()
}

fn printed(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let exit = run(arguments, environment);
    assert_eq!((exit.code, exit.errors.as_str()), (Some(0), ""), "{arguments:?}");
    exit.text
}

const SECRET: &str = "s3cr3t-hunter2";

#[test]
fn settings_are_shown_with_their_source_and_what_it_beat() {
    let environment = [("ORDERS_INVENTORY_TIMEOUT", "3s"), ("ADMIN_TOKEN", SECRET)];
    let all = printed(&["config"], &environment);
    assert!(!all.contains(SECRET), "{all}");
    let line = |key: &str| {
        let found = all.lines().find(|line| line.split_whitespace().next() == Some(key));
        found.unwrap_or_else(|| panic!("{key}: {all}")).to_owned()
    };
    assert!(line("inventory.timeout").ends_with("ORDERS_INVENTORY_TIMEOUT"));
    assert!(line("admin.token").contains("\"[redacted]\""));
    assert!(all.contains("beaten: default"), "{all}");

    let one = printed(&["config", "inventory.timeout", "--format", "json"], &environment);
    let json: Value = serde_json::from_str(&one).unwrap();
    let timeout = &json["inventory.timeout"];
    assert_eq!((&timeout["value"], &timeout["reloadable"]), (&"3s".into(), &true.into()));
    assert_eq!(timeout["shadowed"][0]["source"], "default");
    assert_eq!(json.as_object().unwrap().len(), 1);

    let section = printed(&["config", "lifecycle"], &environment);
    assert!(section.lines().all(|line| line.trim_start().starts_with("lifecycle.")), "{section}");
}

#[test]
fn what_cannot_be_shown_is_refused() {
    let unknown = run(&["config", "inventry"], &[]);
    assert_eq!(unknown.code, Some(64));
    assert!(unknown.errors.contains("did you mean `inventory`?"), "{unknown:?}");
    let bad = run(&["config"], &[("PORT", "http")]);
    assert_eq!(bad.code, Some(78));
    assert!(bad.errors.contains("PORT: server.port: expected a whole number"), "{bad:?}");
    assert_eq!(run(&["config", "--docs", "--schema"], &[]).code, Some(64));
}

#[test]
fn what_can_be_set_is_shown_whatever_is_set() {
    let broken = [("PORT", "http")];
    let docs = printed(&["config", "--docs"], &broken);
    let port = docs.lines().find(|line| line.starts_with("| `server.port` |")).unwrap();
    assert!(port.contains("`PORT`, `ORDERS_SERVER_PORT`"), "{port}");
    assert!(port.contains("| `8080` | restart |"), "{port}");
    let token = docs.lines().find(|line| line.starts_with("| `admin.token` |")).unwrap();
    assert!(token.contains("`ADMIN_TOKEN_FILE`") && token.contains("| reload |"), "{token}");

    let schema: Value = serde_json::from_str(&printed(&["config", "--schema"], &broken)).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["properties"]["server"]["properties"]["port"]["default"], 8080);
    assert!(schema["properties"]["inventory"].is_object());
}

/// Each default that the file shows, said out loud.
fn filled_in(text: &str) -> String {
    let line = |line: &str| {
        let key = line.strip_prefix("# ").and_then(|line| line.split_once(" = "));
        let default = key.is_some_and(|(key, value)| !key.contains(' ') && !value.starts_with('…'));
        if default { line.trim_start_matches("# ").to_owned() } else { line.to_owned() }
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_default_file_says_what_applies() {
    let text = printed(&["config", "--default"], &[]);
    assert!(text.contains(
        "# Where the inventory listens, and the policies on the way to it.\n[inventory]"
    ));
    let dir = std::env::temp_dir().join(format!("orders-default-file-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let shown = |text: &str| {
        std::fs::write(dir.join("default.toml"), text).unwrap();
        let dir = dir.to_str().unwrap();
        let json = printed(&["config", "--format", "json", "--config-dir", dir], &[]);
        let Value::Object(settings) = serde_json::from_str(&json).unwrap() else {
            panic!("{json}")
        };
        settings.into_iter().map(|(key, of)| (key, of["value"].clone())).collect::<Vec<_>>()
    };
    let none = shown("");
    assert_eq!(shown(&text), none);
    let filled = filled_in(&text);
    assert_ne!(filled, text);
    assert_eq!(shown(&filled), none);
    std::fs::remove_dir_all(dir).unwrap();
}
