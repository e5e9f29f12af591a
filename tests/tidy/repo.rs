//! The repository as the checks see it: packages, Rust files, Markdown pages.
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The checkout that this test was built from.
pub(crate) struct Repo {
    root: PathBuf,
    pub(crate) packages: Vec<Package>,
}

/// A workspace member.
#[derive(Clone, Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// Path of its Cargo.toml from the root of the repository, with `/`.
    pub(crate) manifest: String,
    /// What `cargo metadata` says about it.
    pub(crate) metadata: Value,
}

impl Package {
    pub(crate) fn is_example(&self) -> bool {
        self.manifest.starts_with("examples/")
    }

    /// Whether it may go to a registry.
    pub(crate) fn is_published(&self) -> bool {
        self.metadata["publish"].as_array().is_none_or(|registries| !registries.is_empty())
    }
}

/// A file and its text.
#[derive(Debug)]
pub(crate) struct File {
    /// Path from the root of the repository, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Repo {
    pub(crate) fn open() -> Self {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let json = cargo(&["metadata", "--no-deps", "--format-version=1"]);
        let metadata: Value = serde_json::from_str(&json).expect("cargo metadata prints JSON");
        let packages = packages(&metadata, &root);
        assert!(!packages.is_empty(), "cargo metadata lists no package");
        Self { root, packages }
    }

    /// The text of a file that has to be there.
    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path))
            .unwrap_or_else(|error| panic!("{path}: {error}; the tidy test needs this file"))
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// All Rust files of all members.
    pub(crate) fn rust_files(&self) -> Vec<File> {
        let folders = self.packages.iter().flat_map(|package| {
            let home = Path::new(&package.manifest).parent().unwrap_or(Path::new(""));
            ["src", "tests", "benches", "build.rs"].map(|name| home.join(name))
        });
        let mut paths: Vec<PathBuf> = folders
            .flat_map(|folder| walk(&self.root.join(folder)))
            .filter(|path| path.extension().is_some_and(|e| e == "rs"))
            .collect();
        paths.sort();
        paths.dedup();
        let file = |path: &PathBuf| File {
            path: self.relative(path),
            text: fs::read_to_string(path).unwrap_or_default(),
        };
        paths.iter().map(file).collect()
    }

    /// The Rust files that ship: under `src`, test modules apart.
    pub(crate) fn rust_files_under_src(&self) -> Vec<File> {
        let mut files = self.rust_files();
        files.retain(|file| ships(&file.path));
        assert!(!files.is_empty(), "found no Rust file under src");
        files
    }

    /// Paths of the Markdown files below `folder`, from `folder`.
    pub(crate) fn markdown_under(&self, folder: &str) -> Vec<String> {
        let base = self.root.join(folder);
        let mut pages: Vec<String> = walk(&base)
            .into_iter()
            .filter(|path| path.extension().is_some_and(|e| e == "md"))
            .filter(|path| !path.components().any(|c| c.as_os_str() == "book"))
            .map(|path| slashes(path.strip_prefix(&base).unwrap_or(&path)))
            .collect();
        pages.sort();
        assert!(!pages.is_empty(), "found no page under {folder}");
        pages
    }

    fn relative(&self, path: &Path) -> String {
        slashes(path.strip_prefix(&self.root).unwrap_or(path))
    }
}

/// Runs the cargo that runs this test, in the repository, and returns what it prints.
pub(crate) fn cargo(args: &[&str]) -> String {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(program)
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {args:?} failed: {errors}");
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}

fn packages(metadata: &Value, root: &Path) -> Vec<Package> {
    let listed = metadata["packages"].as_array().map(Vec::as_slice);
    let package = |metadata: &Value| {
        let manifest = Path::new(metadata["manifest_path"].as_str()?);
        Some(Package {
            name: metadata["name"].as_str()?.to_owned(),
            manifest: slashes(manifest.strip_prefix(root).unwrap_or(manifest)),
            metadata: metadata.clone(),
        })
    };
    listed.unwrap_or_default().iter().filter_map(package).collect()
}

/// Whether a Rust file is part of what users get.
fn ships(path: &str) -> bool {
    let in_src = path.starts_with("src/") || path.contains("/src/");
    let name = path.rsplit('/').next().unwrap_or(path);
    let is_test = name == "tests.rs" || name.ends_with("_tests.rs") || path.contains("/tests/");
    in_src && !is_test
}

/// All files below a folder, or the file itself; nothing if there is neither.
fn walk(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let Ok(entries) = fs::read_dir(path) else {
        return Vec::new();
    };
    entries.flatten().flat_map(|entry| walk(&entry.path())).collect()
}

fn slashes(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "/")
}

#[test]
fn test_modules_do_not_ship() {
    for path in ["src/lib.rs", "octostack-core/src/inspect/mod.rs"] {
        assert!(ships(path), "{path}");
    }
    let tests = [
        "tests/tidy/main.rs",
        "octostack-core/src/dynamic/tests.rs",
        "octostack-core/src/dynamic/loom_tests.rs",
        "octostack-core/src/tests/one.rs",
        "octostack-core/benches/one.rs",
    ];
    for path in tests {
        assert!(!ships(path), "{path}");
    }
}
