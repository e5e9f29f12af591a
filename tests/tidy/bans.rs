//! What `clippy.toml` bans, and whether clippy minds it.
use crate::rust::blank;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Paths of the types that a `clippy.toml` bans.
pub(crate) fn banned_types(text: &str) -> BTreeSet<String> {
    let config: toml::Table = text.parse().expect("clippy.toml is TOML");
    let entries = config["disallowed-types"].as_array().expect("a list of types");
    let path = |entry: &toml::Value| Some(entry.get("path")?.as_str()?.to_owned());
    entries.iter().filter_map(path).collect()
}

/// Types that a module of a crate makes public and that are not banned.
pub(crate) fn check_bans(module: &str, text: &str, banned: &BTreeSet<String>) -> Vec<String> {
    let blanked = blank(text);
    let public = blanked.lines().filter_map(|line| {
        let rest = line.strip_prefix("pub ")?;
        let kinds = ["struct ", "enum ", "type "];
        kinds.iter().find_map(|kind| rest.strip_prefix(kind))
    });
    let name = |rest: &str| {
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        format!("{module}::{}", &rest[..end])
    };
    let missing = public.map(name).filter(|path| !banned.contains(path));
    missing.map(|path| format!("clippy.toml: add `{path}` to disallowed-types")).collect()
}

/// The modules of arc-swap that others can reach, with their sources.
pub(crate) fn modules_of_arc_swap() -> Vec<(&'static str, String)> {
    let modules = [
        ("arc_swap", "src/lib.rs"),
        ("arc_swap::access", "src/access.rs"),
        ("arc_swap::cache", "src/cache.rs"),
        ("arc_swap::strategy", "src/strategy/mod.rs"),
    ];
    let (_, folder) = arc_swap();
    modules.map(|(module, file)| (module, read(&folder.join(file)))).into()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The version of arc-swap in our tree, and where its source is.
fn arc_swap() -> (String, PathBuf) {
    let json = crate::repo::cargo(&["metadata", "--format-version=1"]);
    let metadata: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    let found = packages.iter().find(|package| package["name"] == "arc-swap").expect("arc-swap");
    let text = |key: &str| found[key].as_str().expect("text").to_owned();
    let manifest = PathBuf::from(text("manifest_path"));
    (text("version"), manifest.parent().expect("a folder").to_owned())
}

/// What clippy says, under our rules, of a crate that imports each of these types of arc-swap; none
/// if there is no clippy.
pub(crate) fn clippy_on(types: &BTreeSet<String>) -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let probe = Path::new(env!("CARGO_TARGET_TMPDIR")).join("banned-types");
    fs::create_dir_all(probe.join("src")).expect("a folder for the probe");
    let (version, _) = arc_swap();
    let manifest = format!(
        "[package]\nname = \"probe\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n\
         arc-swap = {{ version = \"={version}\", features = [\"rwlock-strategy\", \"weak\"] }}\n"
    );
    let imports = types.iter().enumerate().map(|(i, path)| format!("pub use {path} as T{i};\n"));
    // A build of the same text would say nothing again.
    let source = format!("// {:?}\n{}", std::time::SystemTime::now(), imports.collect::<String>());
    let write = |file: &str, text: String| fs::write(probe.join(file), text).expect("written");
    write("Cargo.toml", manifest);
    write("Cargo.lock", read(&root.join("Cargo.lock")));
    write("src/lib.rs", source);
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    if !Command::new(&program).args(["clippy", "--version"]).output().ok()?.status.success() {
        return None;
    }
    let output = Command::new(program)
        .args(["clippy", "--offline", "--target-dir", "target"])
        .current_dir(&probe)
        .env("CLIPPY_CONF_DIR", root)
        .env_remove("RUSTFLAGS")
        .output()
        .expect("cargo starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "the probe does not compile: {said}");
    Some(said)
}

#[test]
fn finds_a_type_that_is_not_banned() {
    let list = "disallowed-types = [{ path = \"a::B\", reason = \"\" }]";
    let banned = banned_types(list);
    assert!(
        check_bans("a", "pub struct B<T>(T);\nstruct C;\n// pub struct D;\n", &banned).is_empty()
    );
    let found = check_bans("a", "pub type E<T> = B<T>;\npub struct F;", &banned);
    let missing = |name: &str| format!("clippy.toml: add `a::{name}` to disallowed-types");
    assert_eq!(found, [missing("E"), missing("F")]);
}
