//! A process that is killed while it writes its audit log.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test, and the process that it kills"
)]

use octostack_core::secret::audit::{Audit, AuditConfig, AuditMode, Record, verify};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Set in the environment of the test binary, it makes it the process that is killed.
const PLAYS_WRITER: &str = "OCTOSTACK_TEST_PLAYS_AUDIT_WRITER";

fn config(file: &Path, mode: AuditMode) -> AuditConfig {
    // Small, so that going on in another file is hit too.
    AuditConfig::new(file).with_mode(mode).with_max_bytes(20_000)
}

/// Not a test of its own: what the processes of the others run.
#[test]
fn writer() {
    let Ok(file) = std::env::var(PLAYS_WRITER) else { return };
    let (mode, file) = file.split_once(':').unwrap();
    let mode = if mode == "block" { AuditMode::Block } else { AuditMode::BestEffort };
    let audit = Audit::open(&config(Path::new(file), mode), "orders", "orders-1").unwrap();
    println!("open");
    loop {
        let record = Record::new("read").reference("vault://kv/orders").consumer("pool");
        audit.record(&record).unwrap();
    }
}

/// Starts a writer, and returns once it has opened the log.
fn start(file: &Path, mode: AuditMode) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "writer", "--nocapture"])
        .env(PLAYS_WRITER, format!("{}:{}", mode.as_str(), file.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let opened = lines.any(|line| line.is_ok_and(|line| line.ends_with("open")));
    assert!(opened, "the writer did not open the log: {:?}", child.wait_with_output());
    child
}

fn dir(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("audit-{name}"));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

#[test]
fn a_log_is_verified_whenever_its_process_is_killed() {
    for mode in [AuditMode::Block, AuditMode::BestEffort] {
        let dir = dir(mode.as_str());
        let file = dir.join("audit.jsonl");
        let mut lines = 0;
        for round in 0..40_u64 {
            let mut child = start(&file, mode);
            // Some are killed at once, some after hundreds of lines.
            let end = Instant::now() + Duration::from_micros(round * round * 37 % 20_000);
            while Instant::now() < end {
                std::thread::yield_now();
            }
            child.kill().unwrap();
            child.wait().unwrap();
            let verified = match verify(&file, None) {
                Ok(verified) => verified,
                Err(tampered) => panic!("round {round}: {tampered}"),
            };
            assert!(verified.lines > lines, "round {round}: {verified}");
            lines = verified.lines;
        }
        let audit = Audit::open(&config(&file, mode), "orders", "orders-2").unwrap();
        let verified = verify(&file, Some(audit.head().parse().unwrap())).unwrap();
        assert!(verified.notes.is_empty() && verified.files > 1, "{verified}");
        println!("{}: {} lines, 40 kills", mode.as_str(), verified.lines);
    }
}

#[test]
fn a_second_process_does_not_write_into_it() {
    let dir = dir("second");
    let file = dir.join("audit.jsonl");
    let mut child = start(&file, AuditMode::BestEffort);
    let error = Audit::open(&config(&file, AuditMode::Block), "orders", "2").unwrap_err();
    assert!(error.to_string().contains("another process writes it"), "{error}");
    child.kill().unwrap();
    child.wait().unwrap();
    Audit::open(&config(&file, AuditMode::Block), "orders", "2").unwrap();
}
