//! A log that nobody reads: whoever collects it has stalled, and the pipe is full.
use crate::http::{self, Connection};
use crate::process::{PATIENCE, now};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

/// A service whose log is read until it listens, and then no more.
struct Unread {
    child: Child,
    log: BufReader<ChildStdout>,
    public: SocketAddr,
    admin: SocketAddr,
}

impl Unread {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_orders"))
            .env_clear()
            .env("HOST", "127.0.0.1")
            .env("PORT", "0")
            .env("ADMIN_ADDR", "127.0.0.1:0")
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut log = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let (mut public, mut admin) = (None, None);
        while public.is_none() || admin.is_none() {
            let mut line = String::new();
            assert!(log.read_line(&mut line).expect("the log can be read") > 0, "it ended");
            let line: Value = serde_json::from_str(&line).expect("a JSON line");
            let addr = line["context"]["addr"].as_str().map(|addr| addr.parse().expect("address"));
            match line["context"]["subject"].as_str() {
                Some("public") => public = public.or(addr),
                Some("admin") => admin = admin.or(addr),
                _ => {}
            }
        }
        Self { child, log, public: public.unwrap(), admin: admin.unwrap() }
    }

    /// How many log lines it says it has lost.
    fn dropped(&self) -> u64 {
        let page = http::get(self.admin, "/metrics").text();
        let series = "octostack_telemetry_dropped_total{signal=\"logs\"} ";
        let value = page.lines().find_map(|line| line.strip_prefix(series));
        value.expect("the metric is there").parse().expect("a number")
    }

    /// Lets four clients ask again and again until lines are lost, and for a while then.
    fn fill(&self) {
        let (answered, full) = (AtomicU64::new(0), AtomicBool::new(false));
        thread::scope(|scope| {
            let clients: Vec<_> =
                (0..4).map(|_| scope.spawn(|| ask_until(self.public, &full, &answered))).collect();
            let deadline = now() + 2 * PATIENCE;
            while self.dropped() == 0 && clients.iter().all(|client| !client.is_finished()) {
                assert!(now() < deadline, "no line lost after {} answers", answered.load(SeqCst));
            }
            // All of them are served still.
            let before = answered.load(SeqCst);
            while answered.load(SeqCst) < before + 200 {
                assert!(now() < deadline, "no more answers");
                assert_eq!(http::get(self.admin, "/livez").status, 200);
                assert_eq!(http::get(self.public, "/readyz").status, 200);
            }
            full.store(true, SeqCst);
        });
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        // Both fail if it has ended, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks on one connection; long ids make long lines.
fn ask_until(addr: SocketAddr, full: &AtomicBool, answered: &AtomicU64) {
    let id = "a".repeat(128);
    let request =
        format!("GET /orders/77 HTTP/1.1\r\nhost: localhost\r\nx-request-id: {id}\r\n\r\n");
    let mut connection = Connection::open(addr).expect("it accepts");
    while !full.load(SeqCst) {
        connection.send(request.as_bytes()).expect("it reads");
        assert_eq!(connection.answer().expect("it answers").status, 404);
        answered.fetch_add(1, SeqCst);
    }
}

#[test]
fn requests_go_on_and_the_process_ends_in_time() {
    let mut orders = Unread::start();
    orders.fill();

    let from = now();
    kill_process(Pid::from_child(&orders.child), Signal::TERM).expect("it lives");
    let status = loop {
        if let Some(status) = orders.child.try_wait().expect("it is our child") {
            break status;
        }
        assert!(now() - from < PATIENCE, "it does not end");
        thread::park_timeout(Duration::from_millis(5));
    };
    assert_eq!(status.code(), Some(0));
    // Nothing to drain but idle connections, and a second for the log.
    assert!(now() - from < Duration::from_secs(10), "{:?}", now() - from);
}

#[test]
fn once_it_is_read_again_it_says_what_is_missing() {
    let mut orders = Unread::start();
    orders.fill();
    let said = loop {
        let mut line = String::new();
        assert!(orders.log.read_line(&mut line).expect("the log can be read") > 0, "it ended");
        let line: Value = serde_json::from_str(&line).expect("each line is whole");
        if line["target"] == "octostack::logs" {
            break line;
        }
    };
    let dropped = orders.dropped();
    assert_eq!(said["level"], "warn");
    assert_eq!(said["message"], format!("dropped {dropped} log lines"));
    assert_eq!(said["context"]["dropped"], dropped);

    kill_process(Pid::from_child(&orders.child), Signal::TERM).expect("it lives");
    let mut rest = String::new();
    orders.log.read_to_string(&mut rest).expect("text");
    assert!(rest.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{rest}");
    assert_eq!(orders.child.wait().expect("it is our child").code(), Some(0));
}
