//! The filter of a process changes. One test: a process has one subscriber.
#![cfg(feature = "logs")]
mod logs_support;

use logs_support::{Lines, PATIENCE, identity, json};
use octostack_core::Registry;
use octostack_telemetry::logs;

#[test]
fn places_that_were_asked_before_follow_the_filter() {
    let (lines, registry) = (Lines::default(), Registry::new());
    let guard = logs::builder(&identity())
        .config(json().with_filter("warn".parse().unwrap()))
        .registry(&registry)
        .writer(lines.writer())
        .init()
        .unwrap();
    let set = |filter: &str| guard.filter().set(filter.parse().unwrap());
    let note = |step| tracing::info!(step, "one place in the code");
    note(1);
    assert!(set("info"));
    assert!(!set("info"), "the same once more is no change");
    note(2);
    assert!(set("trace,logs_filter=off"));
    note(3);
    assert!(set("logs_filter=debug"));
    note(4);
    assert_eq!(guard.filter().now().to_string(), "logs_filter=debug");
    assert!(guard.flush(PATIENCE));
    let steps: Vec<_> = lines.json().iter().map(|line| line["context"]["step"].clone()).collect();
    assert_eq!(steps, [2, 4]);
}
