//! The service from outside: a real process, sockets and signals.
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};

struct Service {
    child: Child,
    log: Lines<BufReader<ChildStdout>>,
    public: String,
}

impl Service {
    /// Starts the service on a free port, and waits until it is ready.
    fn start(environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_minimal-axum"))
            .env_clear()
            .envs([("HOST", "127.0.0.1"), ("PORT", "0"), ("ADMIN_ADDR", "127.0.0.1:0")])
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let log = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut service = Self { child, log, public: String::new() };
        service.public = service.wait_until_ready();
        service
    }

    /// Where it listens, by its log.
    fn wait_until_ready(&mut self) -> String {
        let mut addr = None;
        loop {
            let line = self.log.next().expect("it gets ready").expect("a line");
            let line: Value = serde_json::from_str(&line).expect("a JSON object");
            if line["message"] == "listening" && line["context"]["listener"] == "public" {
                addr = line["context"]["addr"].as_str().map(str::to_owned);
            }
            if line["message"] == "starting -> ready" {
                return addr.expect("it has said where it listens");
            }
        }
    }

    /// Asks for a path: the status line, and the body.
    fn get(&self, path: &str) -> (String, String) {
        let mut socket = TcpStream::connect(&self.public).expect("it listens");
        let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        socket.write_all(head.as_bytes()).expect("it reads");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a whole head");
        (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
    }

    /// Asks it to end: the exit code, and the last line of its log.
    fn stop(mut self) -> (Option<i32>, String) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it runs");
        let last = self.log.by_ref().map_while(Result::ok).last();
        let status = self.child.wait().expect("it ends");
        (status.code(), last.unwrap_or_default())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill(); // fails if it has ended, which is fine
        let _ = self.child.wait();
    }
}

#[test]
fn starts_greets_is_probed_and_ends() {
    let service = Service::start(&[]);
    let ok = |body: &str| ("HTTP/1.1 200 OK".to_owned(), body.to_owned());
    assert_eq!(service.get("/"), ok("hello\n"));
    assert_eq!(service.get("/livez"), ok("ok"));
    assert_eq!(service.get("/readyz"), ok("ok"));
    let (code, last) = service.stop();
    assert_eq!(code, Some(0), "{last}");
    assert!(last.contains("draining -> stopped"), "{last}");
}

#[test]
fn the_greeting_is_a_setting() {
    let service = Service::start(&[("MINIMAL_AXUM_GREETING", "good morning")]);
    assert_eq!(service.get("/").1, "good morning\n");
    assert_eq!(service.stop().0, Some(0));
}

#[test]
fn a_port_that_is_taken_is_an_end_in_order() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let addr = taken.local_addr().expect("it listens").to_string();
    let port = addr.rsplit(':').next().expect("an address has a port");
    for (port, admin) in [(port, "127.0.0.1:0"), ("0", &*addr)] {
        let output = Command::new(env!("CARGO_BIN_EXE_minimal-axum"))
            .env_clear()
            .envs([("HOST", "127.0.0.1"), ("PORT", port), ("ADMIN_ADDR", admin)])
            .output()
            .expect("the binary starts");
        let log = String::from_utf8(output.stdout).expect("it is text");
        let last = log.lines().last().unwrap_or_default();
        assert_eq!(output.status.code(), Some(1), "{log}");
        assert!(last.contains("draining -> stopped") && last.contains(&addr), "{log}");
    }
}
