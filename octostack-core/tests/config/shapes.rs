//! What shapes of settings work, and from where.

use crate::support::{Limit, lines, temp_dir, write};
use octostack_core::config::{Errors, Loader};
use octostack_core::secret::Secret;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Shapes {
    #[serde(default)]
    sink: Sink,
    #[serde(default)]
    auth: Auth,
    #[serde(default)]
    limits: HashMap<String, Limit>,
    #[serde(default)]
    tree: Option<Box<Tree>>,
    #[serde(flatten)]
    common: Common,
    #[serde(default, alias = "colour")]
    #[schemars(extend("x-aliases" = ["colour"]))]
    color: String,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Sink {
    #[default]
    Stdout,
    File {
        path: String,
        #[serde(default)]
        rotate: bool,
    },
    Net {
        addr: String,
    },
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
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

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Tree {
    name: String,
    child: Option<Box<Tree>>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Common {
    #[serde(default)]
    region: String,
}

fn load(name: &str, toml: &str, variables: &[(&str, &str)]) -> Result<Shapes, Errors> {
    let dir = temp_dir(&format!("shapes-{name}"));
    let path = write(&dir, "a.toml", toml);
    let loader = Loader::new("A_").environment(variables.iter().copied());
    loader.file(path).load::<(), _>().map(|loaded| loaded.settings)
}

fn good(name: &str, toml: &str, variables: &[(&str, &str)]) -> Shapes {
    load(name, toml, variables).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The errors, without the directory.
fn bad(name: &str, toml: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let errors = lines(&load(name, toml, variables).unwrap_err());
    let short = |line: String| match line.split_once("a.toml:") {
        Some((_, rest)) => rest.to_owned(),
        None => line,
    };
    errors.into_iter().map(short).collect()
}

#[test]
fn an_enum_with_a_tag_is_set_field_by_field() {
    let file = Sink::File { path: "/x".into(), rotate: true };
    let toml = "sink = { kind = 'file', path = '/x', rotate = true }";
    assert_eq!(good("tag", toml, &[]).sink, file);
    let variables = [("A_SINK_KIND", "file"), ("A_SINK_PATH", "/x"), ("A_SINK_ROTATE", "yes")];
    assert_eq!(good("tag-env", "", &variables).sink, file);
    // The fields of one variant do not stay when another layer names another variant.
    let net = [("A_SINK", r#"{"kind": "net", "addr": "h:1"}"#)];
    assert_eq!(good("tag-swap", toml, &net).sink, Sink::Net { addr: "h:1".into() });
}

#[test]
fn errors_in_an_enum_are_about_the_variant_that_was_meant() {
    assert_eq!(
        bad("variant", "sink = { kind = 'file', pth = '/x' }", &[]),
        [
            "1:25: sink.pth: unknown key; did you mean `path`?",
            "sink.path: required, and no source sets it; expected a string; set `sink.path` in a \
             config file, or the variable A_SINK_PATH",
        ]
    );
    assert_eq!(
        bad("variant-tag", "sink = { kind = 'flie', path = '/x' }", &[]),
        ["1:17: sink.kind: expected one of `stdout`, `file`, `net`"]
    );
    assert_eq!(
        bad("variant-none", "sink.path = '/x'", &[]),
        ["1:1: sink.kind: required beside its other keys; expected one of `stdout`, `file`, `net`"]
    );
    assert_eq!(
        bad("variant-env", "", &[("A_SINK_KIND", "flie")]),
        ["A_SINK_KIND: sink.kind: expected one of `stdout`, `file`, `net`, got `flie`"]
    );
}

#[test]
fn an_enum_without_a_tag_wraps_its_data() {
    let basic =
        |password: &str| Auth::Basic { user: "u".into(), password: Secret::new(password.into()) };
    let toml = "[auth.basic]\nuser = 'u'\npassword = 'p'\n";
    assert_eq!(good("wrap", toml, &[]).auth, basic("p"));
    let variables = [("A_AUTH_BASIC_PASSWORD", "q")];
    assert_eq!(good("wrap-env", toml, &variables).auth, basic("q"));
    assert_eq!(good("wrap-word", toml, &[("A_AUTH", "none")]).auth, Auth::None);
    let token = Auth::Token(Secret::new("t".into()));
    assert_eq!(good("wrap-swap", toml, &[("A_AUTH_TOKEN", "t")]).auth, token);
    let errors = bad("wrap-bad", "auth = 'hunter2'", &[]);
    assert_eq!(errors.len(), 1);
    assert!(errors[0].contains("`none`, a table with `token`"), "{errors:?}");
    assert!(!errors[0].contains("hunter2"), "{errors:?}");
}

#[test]
fn maps_take_any_key_from_files_and_json_from_the_environment() {
    let toml = "[limits]\n'a.b' = { rps = 1 }\nc = { rps = 2 }\n";
    let shapes = good("map", toml, &[("A_LIMITS", r#"{"c": {"rps": 3}}"#)]);
    assert_eq!(shapes.limits["a.b"], Limit { rps: 1 });
    assert_eq!(shapes.limits["c"], Limit { rps: 3 });
    let bad = bad("map-bad", "[limits]\n'a.b' = { rps = 'x' }\n", &[]);
    assert!(bad[0].starts_with("2:17: limits.\"a.b\".rps: expected a whole number"), "{bad:?}");
    let set = Loader::new("A_").set("limits.acme.rps", "4").load::<(), Shapes>().unwrap();
    assert_eq!(set.settings.limits["acme"], Limit { rps: 4 });
}

#[test]
fn flattened_fields_stand_with_those_around_them() {
    assert_eq!(good("flat", "region = 'eu'", &[]).common.region, "eu");
    assert_eq!(good("flat-env", "", &[("A_REGION", "us")]).common.region, "us");
    let bad = bad("flat-bad", "reigon = 'eu'", &[]);
    assert_eq!(bad, ["1:1: reigon: unknown key; did you mean `region`?"]);
}

#[test]
fn recursion_is_checked_by_serde_below_its_first_level() {
    let toml = "[tree]\nname = 'a'\nchild = { name = 'b', child = { name = 'c' } }\n";
    let tree = good("tree", toml, &[]).tree.unwrap();
    assert_eq!(tree.child.unwrap().child.unwrap().name, "c");
    let bad =
        bad("tree-bad", "[tree]\nname = 'a'\nchild = { name = 'b', child = { name = 1 } }\n", &[]);
    assert_eq!(bad.len(), 1, "{bad:?}");
    assert!(bad[0].starts_with("3:40: tree.child.child.name: "), "{bad:?}");
}

#[test]
fn an_alias_is_another_name_in_files() {
    assert_eq!(good("alias", "colour = 'red'", &[]).color, "red");
    let twice = bad("alias-twice", "colour = 'red'\ncolor = 'blue'", &[]);
    assert!(twice[0].contains("another name of a key"), "{twice:?}");
}

#[test]
fn a_default_that_no_source_touches_need_not_read_as_it_writes() {
    /// Written as text, read as a number.
    #[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
    struct OneWay {
        #[serde(default, serialize_with = "as_text")]
        level: u8,
    }
    #[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
    #[serde(default)]
    struct Outer {
        one_way: OneWay,
        name: String,
    }
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for this signature")]
    fn as_text<S: serde::Serializer>(level: &u8, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format!("level {level}"))
    }
    let from = Loader::new("A_").environment([("A_NAME", "x")]);
    let loaded = from.load::<(), Outer>().unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.settings.one_way.level, 0);
}

#[test]
fn the_length_of_a_list_and_a_string_is_checked() {
    #[derive(Debug, Serialize, Deserialize, JsonSchema)]
    struct Sized {
        #[schemars(length(min = 1, max = 2))]
        hosts: Vec<String>,
        #[schemars(length(min = 2, max = 3))]
        region: String,
        key: Secret<Vec<u8>>,
    }
    let load = |hosts, region, key| {
        let vars = [("A_HOSTS", hosts), ("A_REGION", region), ("A_KEY", key)];
        Loader::new("A_").environment(vars).load::<(), Sized>()
    };
    assert_eq!(load("a,b", "eur", "[1,2]").unwrap().settings.key.expose(), &[1, 2]);
    assert_eq!(
        lines(&load("[]", "e", "[]").unwrap_err()),
        [
            "A_HOSTS: hosts: has 0 items, needs at least 1",
            "A_KEY: key: the secret is empty; give its value",
            "A_REGION: region: expected a string of 2 to 3 characters, got 1 characters",
        ]
    );
    let errors = load("a,b,c", "euro", "[1]").unwrap_err();
    assert_eq!(lines(&errors)[0], "A_HOSTS: hosts: has 3 items, may have 2");
}
