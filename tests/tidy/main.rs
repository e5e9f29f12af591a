//! The rules of this repository that neither compiler nor linter can hold, as tests.
//!
//! A rule that only reviewers know is broken within a month. Each check here is a pure function
//! from text to a list of violations, with a unit test on a sample that it must refuse; the tests
//! in this file feed it the repository. Every violation names the file and says what to do.
//!
//! Run them alone with `cargo test --test tidy`.
#![allow(clippy::print_stderr, reason = "who runs the tests wants to know what was skipped")]
mod bans;
mod book;
mod edges;
mod repo;
mod rust;
mod source;

use repo::Repo;

/// Fails with all violations at once: whoever fixes them wants the whole list.
#[track_caller]
fn assert_none(violations: &[String]) {
    assert!(
        violations.is_empty(),
        "{} violation(s):\n- {}\n",
        violations.len(),
        violations.join("\n- ")
    );
}

#[test]
fn crates_depend_on_each_other_only_as_the_architecture_says() {
    let repo = Repo::open();
    let table = edges::allowed_edges(&repo.read("ARCHITECTURE.md"));
    assert!(
        table.len() >= 5,
        "ARCHITECTURE.md: the table of edges is gone; it is a table whose first column is `crate`"
    );
    assert_none(&edges::check_edges(&repo.packages, &table));
}

#[test]
fn library_crates_name_web_frameworks_only_behind_a_feature() {
    assert_none(&edges::check_frameworks(&Repo::open().packages));
}

#[test]
fn every_library_crate_inherits_the_lints() {
    let repo = Repo::open();
    let libraries = repo.packages.iter().filter(|p| !p.is_example());
    let found: Vec<_> = libraries
        .filter_map(|p| edges::check_lints(&p.manifest, &repo.read(&p.manifest)))
        .collect();
    assert_none(&found);
}

#[test]
fn examples_can_be_copied_out() {
    let repo = Repo::open();
    let examples = repo.packages.iter().filter(|p| p.is_example());
    let found: Vec<_> =
        examples.flat_map(|p| edges::check_example(&p.manifest, &repo.read(&p.manifest))).collect();
    assert_none(&found);
}

#[test]
fn resilience_alone_is_small() {
    let tree = repo::cargo(&[
        "tree",
        "--package=octostack-resilience",
        "--no-default-features",
        "--edges=normal",
        "--prefix=none",
    ]);
    assert!(tree.contains("octostack-core"), "cargo tree says nothing useful: {tree}");
    assert_none(&edges::check_tree(&tree, &["hyper", "serde", "serde_json", "tokio"]));
}

#[test]
fn files_and_functions_stay_short() {
    let mut found = Vec::new();
    for file in Repo::open().rust_files_under_src() {
        found.extend(source::check_file_length(&file.path, &file.text));
        found.extend(source::check_function_length(&file.path, &file.text));
    }
    assert_none(&found);
}

#[test]
fn the_smallest_services_stay_small() {
    let repo = Repo::open();
    let examples = repo.packages.iter().filter(|p| p.manifest.starts_with("examples/minimal-"));
    let mains: Vec<_> = examples.map(|p| p.manifest.replace("Cargo.toml", "src/main.rs")).collect();
    assert!(mains.len() >= 2, "examples/minimal-axum or examples/minimal-tonic is missing");
    let found: Vec<_> =
        mains.iter().filter_map(|path| source::check_minimal(path, &repo.read(path))).collect();
    assert_none(&found);
}

#[test]
fn nothing_is_left_half_done() {
    let files = Repo::open().rust_files();
    assert!(files.len() > 20, "found only {} Rust files", files.len());
    let found: Vec<_> =
        files.iter().flat_map(|f| source::check_leftovers(&f.path, &f.text)).collect();
    assert_none(&found);
}

#[test]
fn atomics_of_policies_go_through_the_sync_module() {
    let files = Repo::open().rust_files_under_src();
    let found: Vec<_> = files
        .iter()
        .filter(|f| f.path.starts_with("octostack-resilience/"))
        .flat_map(|f| source::check_atomics(&f.path, &f.text))
        .collect();
    assert_none(&found);
}

#[test]
fn the_book_lists_every_page_and_every_page_exists() {
    let repo = Repo::open();
    let pages = repo.markdown_under("docs");
    assert_none(&book::check_summary(&repo.read("docs/SUMMARY.md"), &pages));
}

#[test]
fn links_between_documents_lead_somewhere() {
    let repo = Repo::open();
    let docs = repo.markdown_under("docs").into_iter();
    let top = ["README", "ARCHITECTURE", "CHANGELOG", "CONTRIBUTING", "SECURITY"];
    let pages = docs.map(|page| format!("docs/{page}")).chain(top.map(|page| format!("{page}.md")));
    let found: Vec<_> = pages
        .flat_map(|page| book::check_links(&page, &repo.read(&page), |path| repo.exists(path)))
        .collect();
    assert_none(&found);
}

#[test]
fn every_decision_is_in_the_index() {
    let repo = Repo::open();
    let pages = repo.markdown_under("docs/decisions");
    let index = repo.read("docs/decisions/README.md");
    assert_none(&book::check_decisions(&index, &pages));
}

#[test]
fn every_dependency_has_its_reason() {
    let repo = Repo::open();
    let manifest = repo.read("Cargo.toml");
    let reasons = repo.read("docs/dependencies.md");
    assert_none(&book::check_dependencies(&manifest, &reasons));
}

#[test]
fn every_type_of_arc_swap_is_banned() {
    let banned = bans::banned_types(&Repo::open().read("clippy.toml"));
    let modules = bans::modules_of_arc_swap();
    let found: Vec<_> =
        modules.iter().flat_map(|(module, text)| bans::check_bans(module, text, &banned)).collect();
    assert_none(&found);
}

#[test]
fn clippy_minds_what_is_banned() {
    let mut banned = bans::banned_types(&Repo::open().read("clippy.toml"));
    banned.retain(|path| path.starts_with("arc_swap::"));
    let Some(said) = bans::clippy_on(&banned) else {
        let required = std::env::var_os("OCTOSTACK_REQUIRE_TOOLS").is_some_and(|v| v == "1");
        assert!(!required, "there is no cargo clippy; install it with your Rust");
        eprintln!("SKIPPED: there is no cargo clippy; install it with your Rust");
        return;
    };
    let minds = |path: &str| said.contains(&format!("use of a disallowed type `{path}`"));
    let found: Vec<_> = banned
        .iter()
        .filter(|path| !minds(path))
        .map(|path| format!("clippy.toml: clippy lets `{path}` pass; is the path still right?"))
        .collect();
    assert_none(&found);
}
