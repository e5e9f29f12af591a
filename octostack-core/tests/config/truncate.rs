//! A file that was cut or scrambled never panics the loader, and is read whole or not at all.

use crate::support::{Framework, Settings, bare_loader, load, temp_dir, write};
use octostack_core::config::{ErrorKind, Errors, Loaded};
use proptest::prelude::*;
use std::path::Path;

const FILES: [(&str, &str); 3] = [
    (
        "cut.toml",
        "hosts = [\"a\", \"é\"]\nmode = \"slow\"\n\n[inventory]\nurl = 'http://x'\n\
         timeout = \"1s\"\npool_size = 0x10\n\n[limits.\"a.b\"]\nrps = 5\n",
    ),
    (
        "cut.yaml",
        "hosts: [a, \"é\"]\nmode: slow\ninventory: &i\n  url: 'http://x'\n  timeout: 1s\n  \
         pool_size: 0x10\nlimits:\n  a.b: { rps: 5 }\n",
    ),
    (
        "cut.json",
        "{\"hosts\": [\"a\", \"\\u00e9\"], \"mode\": \"slow\",\n \"inventory\": {\"url\": \
         \"http://x\", \"timeout\": \"1s\", \"pool_size\": 16},\n \"limits\": {\"a.b\": \
         {\"rps\": 5}}}\n",
    ),
];

fn read(dir: &Path, name: &str, bytes: &[u8]) -> Result<Loaded<Framework, Settings>, Errors> {
    let path = dir.join(name);
    std::fs::write(&path, bytes).unwrap();
    load(&bare_loader([("ORDERS_SIGNING_KEY", "k")]).file(path))
}

#[test]
fn a_file_cut_at_any_byte_is_read_whole_or_refused() {
    let dir = temp_dir("cut");
    for (name, text) in FILES {
        let whole = read(&dir, name, text.as_bytes()).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(whole.settings.limits["a.b"].rps, 5, "{name}");
        assert_eq!(whole.settings.hosts, ["a", "é"], "{name}");
        for end in 0..text.trim_end().len() {
            let cut = read(&dir, name, &text.as_bytes()[..end]);
            let Ok(loaded) = cut else { continue };
            // A cut between two lines is a valid file. What it says must all be there.
            let cut = &text[..end];
            assert!(!name.ends_with("json"), "half an object is no JSON: {cut}");
            let said = |key: &str| {
                loaded
                    .report
                    .get(key)
                    .is_some_and(|setting| setting.origin.to_string().contains(name))
            };
            for (line, key) in
                [("mode", "mode"), ("url", "inventory.url"), ("timeout", "inventory.timeout")]
            {
                assert_eq!(
                    cut.contains(&format!("\n{line}")) || cut.contains(&format!("  {line}")),
                    said(key),
                    "{key} in\n{cut}"
                );
            }
        }
    }
}

#[test]
fn two_halves_of_a_file_are_refused() {
    let dir = temp_dir("halves");
    for (name, text) in FILES {
        let errors = read(&dir, name, format!("{text}{text}").as_bytes()).unwrap_err();
        assert!(errors.iter().any(|error| error.kind == ErrorKind::Syntax), "{name}: {errors}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn scrambled_bytes_never_panic(
        file in 0..FILES.len(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let (name, text) = FILES[file];
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let mut bytes = text.as_bytes().to_vec();
        for (index, byte) in edits {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        let name = format!("scrambled-{name}");
        if let Err(errors) = read(dir, &name, &bytes) {
            prop_assert!(errors.len() > 0);
            prop_assert!(!errors.to_string().is_empty());
        }
    }

    #[test]
    fn any_text_never_panics(text in ".{0,200}", file in 0..FILES.len()) {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let name = format!("any-{}", FILES[file].0);
        if let Err(errors) = read(dir, &name, text.as_bytes()) {
            prop_assert!(!errors.to_string().is_empty());
        }
    }
}

#[test]
fn deep_nesting_is_refused() {
    let dir = temp_dir("deep");
    for (name, text) in [
        ("a.toml", format!("a = {}", "[".repeat(50_000))),
        ("a.yaml", format!("a: {}", "{b: ".repeat(50_000))),
        ("b.yaml", "- ".repeat(50_000)),
        ("a.json", format!("{{\"a\": {}", "[".repeat(50_000))),
    ] {
        let path = write(&dir, name, &text);
        let errors = load(&bare_loader([("ORDERS_SIGNING_KEY", "k")]).file(path)).unwrap_err();
        assert_eq!(errors.iter().next().unwrap().kind, ErrorKind::Syntax, "{name}");
    }
}
