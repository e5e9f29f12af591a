//! What a process writes to its standard output.
#![cfg(feature = "logs")]
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]
mod logs_support;

use octostack_telemetry::logs::{self, TelemetryConfig};
use std::io;
use std::process::{Command, Stdio};

/// Not a test of its own: the process that the test below starts.
#[test]
fn child() {
    if std::env::var_os("LOGS_CHILD").is_none() {
        return;
    }
    let config = TelemetryConfig::from_env(|name| std::env::var(name).ok()).unwrap();
    if std::env::var_os("LOGS_BROKEN").is_some() {
        let logs = logs::builder(&logs_support::identity()).config(config).writer(Broken);
        let guard = logs.init().unwrap();
        tracing::error!("what breaks it");
        assert!(guard.flush(logs_support::PATIENCE));
        return;
    }
    let _guard = logs::init(&logs_support::identity(), &config).unwrap();
    tracing::debug!(n = 1, "from the child");
    tracing::trace!("too fine");
    let _ = std::panic::catch_unwind(|| panic!("in the child"));
    if std::env::var_os("LOGS_ABORT").is_some() {
        std::process::abort(); // as a panic does that may not unwind
    }
}

struct Broken;

impl io::Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        panic!("in the writer");
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Standard output and standard error of the child.
fn run(format: &str, filter: &str) -> (String, String) {
    run_with("LOGS_PLAIN", format, filter)
}

fn run_with(mode: &str, format: &str, filter: &str) -> (String, String) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .envs([("LOGS_CHILD", "1"), (mode, "1"), ("RUST_LOG", filter)])
        .env("LOG_FORMAT", format)
        .env_remove("RUST_BACKTRACE")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success() == (mode != "LOGS_ABORT"), "{:?}", output.status);
    (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn is_json_unless_told_otherwise() {
    // No terminal here, so `auto` is JSON as well.
    for format in ["auto", "json", ""] {
        let (out, err) = run(format, "logs_stdout=debug,error");
        let lines = out.lines().filter_map(|line| line.find('{').map(|at| &line[at..]));
        let lines: Vec<serde_json::Value> =
            lines.map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2, "{out}");
        assert_eq!(lines[0]["message"], "from the child");
        assert_eq!(lines[1]["error"]["message"], "in the child");
        assert!(!err.contains("in the child"), "said once: {err}");
    }
    let (out, _) = run("pretty", "debug");
    assert!(out.contains(" DEBUG logs_stdout: from the child n=1\n"), "{out}");
    assert!(!out.contains('\u{1b}'), "colours are for terminals: {out}");
}

#[test]
fn a_filter_without_room_for_panics_leaves_them_on_standard_error() {
    let (out, err) = run("json", "logs_stdout=debug");
    assert_eq!(out.matches("{\"timestamp\"").count(), 1, "{out}");
    assert!(err.contains("in the child"), "{err}");
}

#[test]
fn a_panic_is_written_before_the_process_can_abort() {
    let (out, _) = run_with("LOGS_ABORT", "json", "debug");
    assert!(out.contains("\"message\":\"in the child\""), "{out}");
}

#[test]
fn a_panic_of_the_writer_is_on_standard_error() {
    let (_, err) = run_with("LOGS_BROKEN", "json", "debug");
    assert!(err.contains("octostack-logs") && err.contains("in the writer"), "{err}");
}
