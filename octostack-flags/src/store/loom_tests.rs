//! Every interleaving of a load and an override.
use crate::store::Flags;
use crate::{Context, Reason};
use loom::thread;
use octostack_core::Registry;

fn file(value: u8) -> String {
    format!(
        r#"{{"flags": {{"a": {{"state": "ENABLED", "variants": {{"x": {value}, "y": 0}},
        "defaultVariant": "x"}}}}}}"#
    )
}

/// Neither takes the other back, whichever comes first.
#[test]
fn planted_an_override_and_a_load_at_once_both_hold() {
    loom::model(|| {
        let flags = Flags::builder().registry(&Registry::new()).build();
        flags.load(file(1).as_bytes(), "first").unwrap();
        let other = flags.clone();
        let loading = thread::spawn(move || other.load(file(2).as_bytes(), "second").unwrap());
        flags.shared.force("a", Some("y"));
        loading.join().unwrap();
        let pinned = flags.pin(Context::new());
        assert_eq!(pinned.evaluate("a").reason, Reason::Override, "the override is lost");
        flags.shared.force("a", None);
        let pinned = flags.pin(Context::new());
        let value = pinned.evaluate("a").value.map(|value| value.to_value().to_string());
        assert_eq!(value.as_deref(), Some("2"), "the load is lost");
    });
}

#[test]
fn no_count_is_lost() {
    loom::model(|| {
        let counts = loom::sync::Arc::new(crate::variant::Counts::default());
        let other = counts.clone();
        let counting = thread::spawn(move || other.count(Reason::Static));
        counts.count(Reason::Static);
        counting.join().unwrap();
        assert_eq!(counts.each().collect::<Vec<_>>(), [(Reason::Static, 2)]);
    });
}
