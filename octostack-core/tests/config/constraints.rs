use super::support::*;
use octostack_core::config::{ErrorKind, Loader};
use octostack_core::secret::Secret;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Demanding {
    #[schemars(regex(pattern = "^[a-z][a-z0-9-]*$"))]
    name: Option<String>,
    #[schemars(extend("multipleOf" = 64))]
    block: u32,
    regions: BTreeSet<String>,
    #[schemars(extend("minProperties" = 1, "maxProperties" = 2))]
    limits: BTreeMap<String, u32>,
    range: Option<(u16, u16)>,
    #[schemars(extend("pattern" = "^ey"))]
    token: Option<Secret<String>>,
    /// Use `block` instead.
    #[schemars(extend("deprecated" = true))]
    chunk: Option<u32>,
}

fn refusals(name: &str, text: &str) -> Vec<String> {
    let file = write(&temp_dir(name), "a.toml", text);
    match Loader::new("T_").file(file).load::<(), Demanding>() {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(|e| format!("{}: {}", e.key, e.message)).collect(),
    }
}

#[test]
fn what_a_schema_demands_of_a_value_is_checked() {
    let good = "name = 'a-1'\nblock = 128\nregions = ['a', 'b']\nlimits = {a = 1}\nrange = [1, 2]\n\
                token = 'eyJ'";
    assert_eq!(refusals("demands-good", good), [""; 0]);
    let bad = "name = 'A'\nblock = 100\nregions = ['a', 'a']\nlimits = {a = 1, b = 2, c = 3}\n\
               range = [1, 'two']\ntoken = 's3cr3t'";
    let said = refusals("demands-bad", bad);
    for line in [
        "name: does not match the pattern `^[a-z][a-z0-9-]*$`",
        "block: is no multiple of 64",
        "regions[1]: the same as `regions[0]`; each may stand once",
        "limits: has 3 keys, may have 2",
        "range[1]: expected a whole number from 0 to 65535, got a string",
        "token: does not match the pattern `^ey`",
    ] {
        assert!(said.iter().any(|said| said == line), "{line}: {said:#?}");
    }
    assert_eq!(said.len(), 6, "{said:#?}");
    assert!(!said.concat().contains("s3cr3t"));
    assert_eq!(refusals("demands-none", "limits = {}"), ["limits: has 0 keys, needs at least 1"]);
}

#[test]
fn keys_of_one_table_may_stand_in_several_sources() {
    let dir = temp_dir("demands-parts");
    let one = write(&dir, "one.toml", "limits = {}");
    let other = write(&dir, "other.toml", "limits = {a = 1}");
    assert!(Loader::new("T_").file(one).file(other).load::<(), Demanding>().is_ok());
}

#[test]
fn a_deprecated_key_is_a_warning_with_what_to_do() {
    let file = write(&temp_dir("deprecated"), "a.toml", "chunk = 1");
    let loaded = Loader::new("T_").file(file).load::<(), Demanding>().unwrap();
    assert_eq!(loaded.warnings.len(), 1);
    let warning = &loaded.warnings[0];
    assert!(
        warning.ends_with("a.toml:1:9: `chunk` is deprecated: Use `block` instead."),
        "{warning}"
    );
    let reference = Loader::new("T_").reference::<(), Demanding>().unwrap();
    assert!(reference.get("chunk").unwrap().deprecated);
    assert!(!reference.get("block").unwrap().deprecated);
}

#[test]
fn a_pattern_that_cannot_be_understood_is_told_at_the_start() {
    #[derive(Debug, Serialize, Deserialize, JsonSchema)]
    struct Broken {
        #[serde(default)]
        #[schemars(extend("pattern" = "(["))]
        name: String,
    }
    let errors = Loader::new("T_").load::<(), Broken>().unwrap_err();
    let error = errors.iter().next().unwrap();
    assert_eq!(error.kind, ErrorKind::BadSchema);
    let said = error.to_string();
    assert!(said.starts_with("name: the pattern `([` cannot be understood: "), "{said}");
}

#[test]
fn each_place_of_a_tuple_is_read_by_its_type() {
    #[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
    #[serde(default)]
    struct Own {
        window: (u8, String),
    }
    let load = |text: &str| Loader::new("T_").environment([("T_WINDOW", text)]).load::<(), Own>();
    // `8` is text here.
    assert_eq!(load("7, 8").unwrap().settings.window, (7, "8".to_owned()));
    assert_eq!(load(r#"[7, "d"]"#).unwrap().settings.window.1, "d");
    for (text, said) in [
        ("300, d", "T_WINDOW: window[0]: expected a whole number from 0 to 255, got 300"),
        ("7, d, e", "T_WINDOW: window: has 3 items, may have 2"),
        (
            "d, d",
            "T_WINDOW: window: expected a list as JSON, or with commas between items: a whole \
             number from 0 to 255, then a string, got other text",
        ),
    ] {
        assert_eq!(lines(&load(text).unwrap_err()), [said], "{text}");
    }
}

#[test]
fn a_deprecated_key_is_found_in_maps_and_lists_and_in_every_source() {
    #[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
    #[serde(default)]
    struct Own {
        each: BTreeMap<String, Item>,
        list: Vec<Item>,
    }
    #[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
    #[serde(default)]
    struct Item {
        /// Use
        /// `new`.
        ///
        /// It goes next year.
        #[schemars(extend("deprecated" = true))]
        old: u32,
        new: u32,
    }
    let dir = temp_dir("deprecated-inside");
    let low = write(&dir, "low.toml", "each.a.old = 1\nlist = [{ new = 1 }, { old = 2 }]");
    let high = write(&dir, "high.toml", "each.a.old = 3");
    let loaded = Loader::new("T_").file(low).file(high).load::<(), Own>().unwrap();
    let short = |line: &String| line.rsplit('/').next().unwrap().to_owned();
    assert_eq!(
        loaded.warnings.iter().map(short).collect::<Vec<_>>(),
        [
            "low.toml:1:14: `each.a.old` is deprecated: Use `new`.",
            "low.toml:2:30: `list[1].old` is deprecated: Use `new`.",
            "high.toml:1:14: `each.a.old` is deprecated: Use `new`.",
        ]
    );
}

#[test]
fn demands_that_nothing_meets_are_told_wherever_they_stand() {
    #[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
    #[serde(default)]
    struct Sections {
        server: Server,
    }
    #[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
    #[serde(default)]
    struct Server {
        #[schemars(regex(pattern = "(a"))]
        name: String,
    }
    #[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
    #[serde(default)]
    struct Own {
        #[schemars(extend("multipleOf" = 0))]
        step: u32,
    }
    let errors = Loader::new("T_").load::<Sections, Own>().unwrap_err();
    assert!(errors.iter().all(|error| error.kind == ErrorKind::BadSchema), "{errors}");
    let said = lines(&errors);
    assert_eq!(said.len(), 2, "{errors}");
    assert!(said[0].starts_with("server.name: the pattern `(a` cannot be"), "{errors}");
    assert_eq!(said[1], "step: nothing is a multiple of 0; mend `multipleOf` of the field");
    assert!(Loader::new("T_").reference::<Sections, Own>().is_err());
}
