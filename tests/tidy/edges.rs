//! Who may depend on whom.
use crate::repo::Package;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// From each crate to the crates of this workspace that it may use.
pub(crate) type Edges = BTreeMap<String, BTreeSet<String>>;

/// The row that stands for every package below `examples/`.
const EXAMPLES: &str = "examples/*";

/// Frameworks that a library crate must not force on its users.
const FRAMEWORKS: [&str; 3] = ["axum", "tonic", "tower"];

/// Reads the table of `ARCHITECTURE.md` whose first column is called `crate`: the names in
/// backticks of the first column may depend on those of the second.
pub(crate) fn allowed_edges(text: &str) -> Edges {
    let mut edges = Edges::new();
    let lines = text.lines().skip_while(|l| !l.starts_with("| crate |"));
    for line in lines.skip(2).take_while(|l| l.starts_with('|')) {
        let mut columns = line.trim_matches('|').split('|').map(names);
        let (Some(from), Some(to)) = (columns.next(), columns.next()) else {
            continue;
        };
        for name in from {
            edges.entry(name).or_default().extend(to.iter().cloned());
        }
    }
    edges
}

/// The words in backticks.
fn names(column: &str) -> Vec<String> {
    column.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Dependencies inside the workspace that the table does not allow, of any kind: a crate that
/// needs its sibling in tests cannot be understood alone either.
pub(crate) fn check_edges(packages: &[Package], allowed: &Edges) -> Vec<String> {
    let members: BTreeSet<&str> = packages.iter().map(|p| p.name.as_str()).collect();
    let mut found = Vec::new();
    for package in packages {
        let row = if package.is_example() { EXAMPLES } else { package.name.as_str() };
        let Some(to) = allowed.get(row) else {
            found.push(format!(
                "{}: `{row}` has no row in the table of edges; decide what it may depend on and \
                 add it to ARCHITECTURE.md",
                package.manifest
            ));
            continue;
        };
        for (name, _) in dependencies(package) {
            if members.contains(name) && !to.contains(name) {
                found.push(format!(
                    "{}: `{row}` must not depend on `{name}`; move what both need into a crate \
                     below them, or the glue into the facade",
                    package.manifest
                ));
            }
        }
    }
    found
}

/// Frameworks in library crates that are not optional behind a feature of the same name. The
/// facade and the examples exist to bring them, and what is not published has no users.
pub(crate) fn check_frameworks(packages: &[Package]) -> Vec<String> {
    let mut found = Vec::new();
    let is_library = |p: &&Package| p.name.starts_with("octostack-") && p.is_published();
    for package in packages.iter().filter(is_library) {
        for (name, dependency) in dependencies(package) {
            let is_dev = dependency["kind"] == "dev";
            if !FRAMEWORKS.contains(&name) || is_dev {
                continue;
            }
            let manifest = &package.manifest;
            if dependency["optional"] != true {
                found.push(format!(
                    "{manifest}: `{name}` must be optional, behind a feature called `{name}`; use \
                     tower-layer, tower-service, http and http-body instead where that is enough"
                ));
            }
            found.extend(features_that_enable(package, name).filter(|f| f != name).map(|f| {
                format!("{manifest}: feature `{f}` brings in `{name}`; name it `{name}`")
            }));
        }
    }
    found
}

fn features_that_enable<'a>(
    package: &'a Package,
    dependency: &'a str,
) -> impl Iterator<Item = String> + 'a {
    let direct = [format!("dep:{dependency}"), format!("{dependency}/")];
    let features = package.metadata["features"].as_object().into_iter().flatten();
    features
        .filter(move |(_, enables)| {
            let mut list = enables.as_array().into_iter().flatten().filter_map(Value::as_str);
            list.any(|e| e == direct[0] || e.starts_with(&direct[1]))
        })
        .map(|(name, _)| name.clone())
}

fn dependencies(package: &Package) -> impl Iterator<Item = (&str, &Value)> {
    let list = package.metadata["dependencies"].as_array();
    list.into_iter().flatten().filter_map(|d| Some((d["name"].as_str()?, d)))
}

/// A complaint unless the manifest inherits the workspace's lints.
pub(crate) fn check_lints(path: &str, manifest: &str) -> Option<String> {
    let inherits = manifest.parse::<toml::Table>().is_ok_and(|table| {
        let lints = table.get("lints").and_then(toml::Value::as_table);
        lints.and_then(|l| l.get("workspace")).and_then(toml::Value::as_bool) == Some(true)
    });
    let advice = "does not inherit the lints; add `[lints]` with `workspace = true`";
    (!inherits).then(|| format!("{path}: {advice}"))
}

/// What keeps an example from building outside this workspace with one line changed.
pub(crate) fn check_example(path: &str, manifest: &str) -> Vec<String> {
    let mut found = Vec::new();
    if manifest.contains("workspace = true") {
        found.push(format!(
            "{path}: inherits from the workspace, which is not there when it is copied out; write \
             the values here"
        ));
    }
    let is_dependency = |line: &&str| line.starts_with("octostack = {") && line.contains("path =");
    if manifest.lines().filter(is_dependency).count() != 1 {
        found.push(format!(
            "{path}: depend on the facade in one line, `octostack = {{ path = \"../..\" }}`, so \
             that one line is changed when it is copied out"
        ));
    }
    if !manifest.lines().any(|line| line == "publish = false") {
        found.push(format!("{path}: is to be copied, not published; add `publish = false`"));
    }
    found
}

/// Packages of a `cargo tree --prefix=none` that must not be in it.
pub(crate) fn check_tree(tree: &str, banned: &[&str]) -> Vec<String> {
    let present: BTreeSet<&str> = tree.lines().filter_map(|l| l.split(' ').next()).collect();
    let banned = banned.iter().filter(|name| present.contains(**name));
    banned
        .map(|name| {
            format!(
                "octostack-resilience/Cargo.toml: without features it pulls in `{name}`; put the \
                 dependency that brings it behind a feature (`cargo tree -p octostack-resilience \
                 --no-default-features -e normal -i {name}` shows the way)"
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const TABLE: &str = "
| other | table |
|---|---|
| `x` | `y` |

| crate | may use | why |
|---|---|---|
| `core` | nothing | the ground |
| `left`, `right` | `core` | siblings |
| `examples/*` | `facade` | |

| `later` | `core` |
";

    fn package(name: &str, manifest: &str, metadata: Value) -> Package {
        Package { name: name.to_owned(), manifest: manifest.to_owned(), metadata }
    }

    fn depends_on(name: &str) -> Value {
        json!({ "dependencies": [{ "name": name, "kind": null, "optional": false }] })
    }

    #[test]
    fn reads_the_table_and_nothing_else() {
        let edges = allowed_edges(TABLE);
        let keys: Vec<_> = edges.keys().map(String::as_str).collect();
        assert_eq!(keys, ["core", "examples/*", "left", "right"]);
        assert!(edges["core"].is_empty());
        assert!(edges["right"].contains("core"));
    }

    #[test]
    fn refuses_siblings_shortcuts_and_strangers() {
        let core = || package("core", "core/Cargo.toml", json!({}));
        let right = || package("right", "right/Cargo.toml", json!({}));
        let good = [package("left", "left/Cargo.toml", depends_on("core")), core()];
        assert!(check_edges(&good, &allowed_edges(TABLE)).is_empty());

        let sibling = package("left", "left/Cargo.toml", depends_on("right"));
        let shortcut = package("shop", "examples/shop/Cargo.toml", depends_on("core"));
        let stranger = package("new", "new/Cargo.toml", json!({}));
        let bad = [sibling, shortcut, stranger, core(), right()];
        let found = check_edges(&bad, &allowed_edges(TABLE));
        assert_eq!(found.len(), 3, "{found:#?}");
        assert!(found[0].starts_with("left/Cargo.toml: `left` must not depend on `right`"));
        assert!(found[1].starts_with("examples/shop/Cargo.toml"));
        assert!(found[2].contains("`new` has no row"));
    }

    #[test]
    fn refuses_a_framework_without_its_feature() {
        let with = |optional: bool, feature: &str| {
            let metadata = json!({
                "dependencies": [{ "name": "axum", "kind": null, "optional": optional }],
                "features": { feature: ["dep:axum"] },
            });
            check_frameworks(&[package("octostack-x", "x/Cargo.toml", metadata)])
        };
        assert!(with(true, "axum").is_empty());
        let bench = json!({ "dependencies": [{ "name": "axum" }], "publish": [] });
        assert!(check_frameworks(&[package("octostack-x", "x/Cargo.toml", bench)]).is_empty());
        assert_eq!(with(false, "axum").len(), 1);
        assert!(with(true, "web")[0].contains("feature `web` brings in `axum`"));
        let metadata = json!({
            "publish": [],
            "dependencies": [{ "name": "axum", "kind": null, "optional": false }],
        });
        let proof = package("octostack-y", "tests/y/Cargo.toml", metadata);
        assert!(check_frameworks(&[proof]).is_empty(), "nobody depends on it");
    }

    #[test]
    fn refuses_a_crate_with_lints_of_its_own() {
        assert_eq!(check_lints("a", "[lints]\nworkspace = true\n"), None);
        for bad in ["", "[lints]\nworkspace = false\n", "[lints.rust]\nunsafe_code = \"warn\"\n"] {
            assert!(check_lints("a/Cargo.toml", bad).is_some_and(|m| m.starts_with("a/Cargo")));
        }
    }

    #[test]
    fn refuses_an_example_that_needs_the_workspace() {
        let good = "[package]\npublish = false\n[dependencies]\noctostack = { path = \"../..\" }\n";
        assert!(check_example("a", good).is_empty());
        let bad =
            "[package]\nedition.workspace = true\n[dependencies.octostack]\npath = \"../..\"\n";
        let found = check_example("examples/a/Cargo.toml", bad);
        assert_eq!(found.len(), 3, "{found:#?}");
        assert!(found.iter().all(|message| message.starts_with("examples/a/Cargo.toml: ")));
    }

    #[test]
    fn finds_a_banned_package_by_its_whole_name() {
        let tree = "octostack-core v0.1.0 (/somewhere)\ntokio-util v0.7.1\ntower-service v0.3.3";
        assert!(check_tree(tree, &["tokio", "tower"]).is_empty());
        let found = check_tree(&format!("{tree}\ntokio v1.54.1 (*)"), &["tokio", "tower"]);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("`tokio`"));
    }
}
