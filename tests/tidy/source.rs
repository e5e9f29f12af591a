//! What a Rust file may look like.
use crate::rust::{blank, functions, without_tests};

const FILE_LINES: usize = 400;
const FUNCTION_LINES: usize = 70;

/// What the book says of the smallest services: under 40 lines.
const MINIMAL_LINES: usize = 39;

/// Macros that say the work is not finished.
const LEFTOVERS: [&str; 3] = ["todo!", "unimplemented!", "dbg!"];

/// A file that has grown past one idea. Its own tests do not count.
pub(crate) fn check_file_length(path: &str, text: &str) -> Option<String> {
    let lines = without_tests(&blank(text)).lines().count();
    (lines > FILE_LINES).then(|| {
        format!("{path}: {lines} lines, at most {FILE_LINES}; split it by what changes together")
    })
}

/// A smallest whole service that is no longer small: if it needs more, the facade needs mending.
pub(crate) fn check_minimal(path: &str, text: &str) -> Option<String> {
    let lines = text.lines().count();
    (lines > MINIMAL_LINES).then(|| {
        format!(
            "{path}: {lines} lines, at most {MINIMAL_LINES}; let the facade do what is too long"
        )
    })
}

/// Functions that do not fit a screen. Comments and blank lines do not count: nobody should save
/// on those.
pub(crate) fn check_function_length(path: &str, text: &str) -> Vec<String> {
    let blanked = blank(text);
    let all = functions(without_tests(&blanked)).into_iter();
    let long = all.filter(|function| function.length > FUNCTION_LINES);
    long.map(|f| {
        let (name, line, length) = (f.name, f.line, f.length);
        format!(
            "{path}:{line}: `{name}` has {length} lines, at most {FUNCTION_LINES}; give its parts \
             names"
        )
    })
    .collect()
}

/// Macros that must not be committed, in tests neither.
pub(crate) fn check_leftovers(path: &str, text: &str) -> Vec<String> {
    let blanked = blank(text);
    let mut found = Vec::new();
    for (number, line) in (1..).zip(blanked.lines()) {
        for name in LEFTOVERS {
            let mut hits = line.match_indices(name);
            if hits.any(|(at, _)| !after_word(line, at)) {
                found.push(format!("{path}:{number}: `{name}` is left; finish it or take it out"));
            }
        }
    }
    found
}

/// Atomics that loom cannot see.
pub(crate) fn check_atomics(path: &str, text: &str) -> Vec<String> {
    let blanked = blank(text);
    let mut found = Vec::new();
    for (number, line) in (1..).zip(without_tests(&blanked).lines()) {
        let direct = ["std::sync::atomic", "core::sync::atomic", "loom::sync"];
        let is_direct =
            |name: &&str| line.match_indices(*name).any(|(at, _)| !after_word(line, at));
        if direct.iter().any(is_direct) || imports_atomic(line) {
            found.push(format!(
                "{path}:{number}: take atomics from `octostack_core::sync`, so that loom can \
                 explore them"
            ));
        }
    }
    found
}

/// Whether what stands at `at` is only the end of a longer word.
fn after_word(line: &str, at: usize) -> bool {
    line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// `use std::sync::{Arc, atomic::…}`
fn imports_atomic(line: &str) -> bool {
    line.contains("std::sync::{") && line.contains("atomic")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_a_minimal_service_of_forty_lines() {
        assert_eq!(check_minimal("a/main.rs", &"\n".repeat(39)), None);
        let found = check_minimal("a/main.rs", &"\n".repeat(40)).unwrap();
        assert!(found.starts_with("a/main.rs: 40 lines, at most 39"), "{found}");
    }

    #[test]
    fn refuses_a_long_file_but_not_long_tests() {
        let code = "fn a() {}\n".repeat(FILE_LINES);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{code}}}\n");
        assert_eq!(check_file_length("a.rs", &format!("{code}{tests}")), None);
        let message = check_file_length("a.rs", &format!("{code}fn b() {{}}\n"));
        assert!(message.is_some_and(|m| m.starts_with("a.rs: 401 lines")));
    }

    #[test]
    fn refuses_a_long_function() {
        let body = |lines| format!("\nfn long() {{\n{}}}\n", "    a();\n    // b\n".repeat(lines));
        assert!(check_function_length("a.rs", &body(FUNCTION_LINES - 2)).is_empty());
        let found = check_function_length("a.rs", &body(FUNCTION_LINES - 1));
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("a.rs:2: `long` has 71 lines"), "{found:?}");
    }

    #[test]
    fn refuses_leftovers_in_code_only() {
        assert!(check_leftovers("a.rs", "// todo!()\nlet a = \"dbg!\"; my_todo!();").is_empty());
        let found = check_leftovers("a.rs", "fn a() {\n    todo!()\n}\nfn b() { dbg!(1); }");
        assert_eq!(found.len(), 2);
        assert!(found[0].starts_with("a.rs:2: `todo!`"));
    }

    #[test]
    fn refuses_atomics_past_the_sync_module() {
        assert!(check_atomics("a.rs", "use octostack_core::sync::atomic::AtomicU64;").is_empty());
        assert!(
            check_atomics("a.rs", "#[cfg(test)]\nmod tests {\nuse std::sync::atomic;\n}")
                .is_empty()
        );
        for bad in [
            "use std::sync::atomic::AtomicU64;",
            "use std::sync::{Arc, atomic::AtomicU64};",
            "let a = core::sync::atomic::AtomicBool::new(true);",
        ] {
            assert_eq!(check_atomics("a.rs", bad).len(), 1, "{bad}");
        }
    }
}
