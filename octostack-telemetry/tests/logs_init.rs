//! Installing the logs of a process. One test: a process has one subscriber.
#![cfg(feature = "logs")]
mod logs_support;

use logs_support::{Lines, PATIENCE, identity, json};
use octostack_core::Registry;
use octostack_telemetry::logs;

#[test]
fn installs_once_and_logs_panics() {
    let (lines, registry) = (Lines::default(), Registry::new());
    let builder = |registry| {
        logs::builder(&identity())
            .config(json().with_filter("warn".parse().unwrap()))
            .registry(registry)
            .writer(lines.writer())
    };
    let guard = builder(&registry).init().unwrap();
    assert_eq!(registry.items()[0].kind(), "telemetry");

    tracing::info!("filtered");
    tracing::warn!("written");
    let worker = std::thread::Builder::new().name("worker".into());
    let panic = || panic!("order {} lost\n{{}}", 7);
    assert!(worker.spawn(panic).unwrap().join().is_err());

    let second = Registry::new();
    let error = builder(&second).init().unwrap_err();
    assert!(error.to_string().contains("add `LogLayer`"), "{error}");
    assert!(second.items().is_empty(), "a failed one leaves nothing behind");

    assert!(guard.flush(PATIENCE));
    let written = lines.json();
    assert_eq!(written.len(), 2, "{written:?}");
    assert_eq!(written[0]["message"], "written");
    let panic = &written[1];
    assert_eq!(
        (&panic["level"], &panic["message"], &panic["error"]["type"]),
        (&"error".into(), &"panicked".into(), &"panic".into())
    );
    assert_eq!(panic["error"]["message"], "order 7 lost\n{}");
    assert_eq!(panic["context"]["thread"], "worker");
    let location = panic["context"]["location"].as_str().unwrap();
    assert!(location.starts_with("octostack-telemetry/tests/logs_init.rs:"), "{location}");

    let flushed = lines.flushed();
    tracing::error!("last words");
    drop(guard);
    assert_eq!(lines.json().len(), 3);
    assert!(lines.flushed() > flushed, "what the writer holds back is handed on");
}
