//! Documents that must keep up with what they describe.
use std::collections::BTreeSet;

/// The pages that a list of links names, without `./` and without anchors.
fn links(text: &str) -> BTreeSet<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets
        .filter(|target| !target.contains("://"))
        .map(|target| target.split('#').next().unwrap_or(target))
        .map(|target| target.trim_start_matches("./").to_owned())
        .filter(|target| !target.is_empty())
        .collect()
}

/// Links of a page that lead nowhere. `exists` is asked for paths from the root.
pub(crate) fn check_links(page: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let folder = page.rsplit_once('/').map_or("", |(folder, _)| folder);
    let dead = links(text).into_iter().filter(|target| !exists(&resolve(folder, target)));
    dead.map(|target| format!("{page}: links to `{target}`, which does not exist; mend the link"))
        .collect()
}

fn resolve(folder: &str, target: &str) -> String {
    let mut path: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            ".." => drop(path.pop()),
            "." | "" => {}
            _ => path.push(part),
        }
    }
    path.join("/")
}

/// Chapters of `docs/SUMMARY.md` that do not exist, and pages under `docs` that it does not list.
pub(crate) fn check_summary(summary: &str, pages: &[String]) -> Vec<String> {
    let listed = links(summary);
    let exists: BTreeSet<_> = pages.iter().filter(|page| *page != "SUMMARY.md").cloned().collect();
    let missing = listed.difference(&exists).map(|page| {
        format!("docs/SUMMARY.md: lists `{page}`, which does not exist; write it or unlist it")
    });
    let hidden = exists.difference(&listed).map(|page| {
        format!("docs/{page}: is not in docs/SUMMARY.md, so the book leaves it out; list it there")
    });
    missing.chain(hidden).collect()
}

/// Decision pages that the index does not list, and the other way round.
pub(crate) fn check_decisions(index: &str, pages: &[String]) -> Vec<String> {
    let is_decision = |page: &String| page.starts_with(|c: char| c.is_ascii_digit());
    let listed: BTreeSet<_> = links(index).into_iter().filter(is_decision).collect();
    let exists: BTreeSet<_> = pages.iter().filter(|page| is_decision(page)).cloned().collect();
    let missing = listed.difference(&exists).map(|page| {
        format!("docs/decisions/README.md: lists `{page}`, which does not exist; unlist it")
    });
    let hidden = exists.difference(&listed).map(|page| {
        format!("docs/decisions/{page}: is not in the index; list it in docs/decisions/README.md")
    });
    missing.chain(hidden).collect()
}

/// Dependencies of the workspace without a row in `docs/dependencies.md`, and rows without one.
pub(crate) fn check_dependencies(manifest: &str, reasons: &str) -> Vec<String> {
    let Ok(table) = manifest.parse::<toml::Table>() else {
        return vec!["Cargo.toml: is not TOML".to_owned()];
    };
    let listed = table.get("workspace").and_then(|w| w.get("dependencies"));
    let used: BTreeSet<&str> = listed
        .and_then(toml::Value::as_table)
        .into_iter()
        .flat_map(|dependencies| dependencies.keys())
        .map(String::as_str)
        .filter(|name| !name.starts_with("octostack"))
        .collect();
    let rows = reasons.lines().filter_map(|line| line.strip_prefix("| `"));
    let explained: BTreeSet<&str> = rows.filter_map(|row| row.split('`').next()).collect();
    let silent = used.difference(&explained).map(|name| {
        format!(
            "docs/dependencies.md: `{name}` has no row; say what it is for and why this one \
             (`| `{name}` | … | … |`)"
        )
    });
    let gone = explained
        .difference(&used)
        .map(|name| format!("docs/dependencies.md: `{name}` is no longer used; take its row out"));
    silent.chain(gone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn finds_missing_and_hidden_chapters() {
        let summary = "# Summary\n- [A](./a.md)\n- [B](b/c.md#part)\n- [Web](https://a.example)\n";
        let good = pages(&["SUMMARY.md", "a.md", "b/c.md"]);
        assert!(check_summary(summary, &good).is_empty());
        let found = check_summary(summary, &pages(&["SUMMARY.md", "a.md", "new.md"]));
        assert_eq!(found.len(), 2);
        assert!(found[0].contains("lists `b/c.md`"));
        assert!(found[1].starts_with("docs/new.md: is not in"));
    }

    #[test]
    fn finds_dead_links() {
        let exists = |path: &str| ["docs/a.md", "README.md"].contains(&path);
        let good = "[a](./a.md#x) [r](../README.md) [w](https://a.example/x) [here](#part)";
        assert!(check_links("docs/b.md", good, exists).is_empty());
        let found = check_links("docs/sub/b.md", "[a](a.md) [up](../a.md)", exists);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("docs/sub/b.md: links to `a.md`"));
    }

    #[test]
    fn finds_decisions_that_the_index_does_not_know() {
        let index = "- [One](0001-one.md)\n- [Two](0002-two.md)\n";
        let good = pages(&["README.md", "0001-one.md", "0002-two.md"]);
        assert!(check_decisions(index, &good).is_empty());
        let found = check_decisions(index, &pages(&["README.md", "0001-one.md", "0003-three.md"]));
        assert_eq!(found.len(), 2);
        assert!(found[1].starts_with("docs/decisions/0003-three.md"));
    }

    #[test]
    fn finds_dependencies_without_a_reason() {
        let manifest =
            "[workspace.dependencies]\noctostack-core = \"1\"\nhttp = \"1\"\nbytes = \"1\"\n";
        let good = "| crate | for |\n|---|---|\n| `http` | types |\n| `bytes` | bodies |\n";
        assert!(check_dependencies(manifest, good).is_empty());
        let found = check_dependencies(manifest, "| `http` | types |\n| `gone` | ? |\n");
        assert_eq!(found.len(), 2);
        assert!(found[0].contains("`bytes` has no row"));
        assert!(found[1].contains("`gone` is no longer used"));
    }
}
