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
        "regions: item 1 stands there already; each may once",
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
        warning.ends_with("a.toml:1:9: chunk is deprecated: Use `block` instead."),
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
    assert_eq!(error.to_string(), "name: the pattern `([` cannot be understood; mend it");
}
