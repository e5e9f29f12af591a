//! One `orders` process: started with an environment of its own, watched through its log lines,
//! killed when the test is over.
use crate::http::{self, Answer};
use octostack::core::{Clock, SystemClock};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up. Tests wait for events, so this is only
/// reached by what is broken.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How soon to look again at what tells nobody that it changed.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

pub fn now() -> Instant {
    SystemClock.now()
}

/// What a process has said so far.
#[derive(Default)]
struct Said {
    lines: Vec<String>,
    errors: String,
    streams_at_end: usize,
}

#[derive(Default)]
struct Output {
    said: Mutex<Said>,
    changed: Condvar,
}

impl Output {
    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, change: impl FnOnce(&mut Said)) {
        change(&mut self.said());
        self.changed.notify_all();
    }

    /// Follows both streams until the process closes them, which it does by ending.
    fn follow(self: &Arc<Self>, child: &mut Child) {
        let lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let mut errors = child.stderr.take().expect("stderr is piped");
        let output = self.clone();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                output.update(|said| said.lines.push(line));
            }
            output.update(|said| said.streams_at_end += 1);
        });
        let output = self.clone();
        thread::spawn(move || {
            let mut text = Vec::new();
            // What is not to be read to its end is said as far as it goes.
            let _ = errors.read_to_end(&mut text);
            output.update(|said| {
                said.errors = String::from_utf8_lossy(&text).into_owned();
                said.streams_at_end += 1;
            });
        });
    }
}

/// How a process ended.
#[derive(Debug)]
pub struct Exit {
    pub code: Option<i32>,
    pub lines: Vec<Value>,
    /// Standard output as it is: a command that answers writes no log lines.
    pub text: String,
    pub errors: String,
}

/// A process of the service's binary.
pub struct Process {
    child: Child,
    output: Arc<Output>,
}

impl Process {
    /// Starts `orders` with these arguments and variables, and none that the test itself has.
    pub fn spawn(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::spawn_in(env!("CARGO_MANIFEST_DIR"), arguments, environment)
    }

    /// The same in this working directory.
    pub fn spawn_in(dir: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_orders"));
        command
            .args(arguments)
            .env_clear()
            .env("HOST", "127.0.0.1")
            .env("PORT", "0")
            .env("ADMIN_ADDR", "127.0.0.1:0")
            .envs(environment.iter().copied())
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let output = Arc::new(Output::default());
        output.follow(&mut child);
        Self { child, output }
    }

    /// Sends a signal. The process may have ended already.
    pub fn signal(&self, signal: Signal) {
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// A number that Linux tells of it in `/proc/PID/status`, such as `VmRSS` (in KiB).
    #[cfg(target_os = "linux")]
    pub fn status(&self, field: &str) -> Option<String> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
        Some(line.trim().trim_end_matches(" kB").to_owned())
    }

    /// Whether it has a handler for this signal.
    #[cfg(target_os = "linux")]
    pub fn handles(&self, signal: Signal) -> bool {
        let caught = self.status("SigCgt").and_then(|bits| u64::from_str_radix(&bits, 16).ok());
        caught.is_some_and(|bits| bits & (1 << (signal.as_raw() - 1)) != 0)
    }

    /// Waits until `look` finds something, and looks again whenever the process says something.
    pub fn wait_for<T>(&self, what: &str, mut look: impl FnMut(&[Value]) -> Option<T>) -> T {
        self.eventually(what, || look(&self.lines()))
    }

    /// Waits until `look` finds something; it is asked again and again.
    pub fn eventually<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let deadline = now() + PATIENCE;
        loop {
            if let Some(found) = look() {
                return found;
            }
            let said = self.output.said();
            let (said, _) = self
                .output
                .changed
                .wait_timeout(said, LOOK_AGAIN)
                .unwrap_or_else(PoisonError::into_inner);
            let dump = || format!("{}\n{}", said.lines.join("\n"), said.errors);
            assert!(now() < deadline, "waited in vain for {what}; it said\n{}", dump());
        }
    }

    /// Its log so far. Every line has to be one JSON object, whatever clients send.
    pub fn lines(&self) -> Vec<Value> {
        self.output.said().lines.iter().map(|line| object(line)).collect()
    }

    /// Waits for the log line with this message about this subject.
    pub fn event(&self, message: &str, subject: &str) -> Value {
        self.wait_for(&format!("{message} of {subject}"), |lines| {
            let is_it = |l: &&Value| l["message"] == message && l["context"]["subject"] == subject;
            lines.iter().find(is_it).cloned()
        })
    }

    /// Waits for an event of this kind.
    pub fn event_of(&self, kind: &str) -> Value {
        self.wait_for(kind, |lines| {
            lines.iter().find(|line| line["context"]["kind"] == kind).cloned()
        })
    }

    fn address(&self, listener: &str) -> SocketAddr {
        let line = self.event("listening", listener);
        let addr = line["context"]["addr"].as_str().expect("listening says where");
        addr.parse().expect("an address")
    }

    /// Waits for the end of a process that logs.
    pub fn exit(self) -> Exit {
        let mut exit = self.end();
        exit.lines = exit.text.lines().map(object).collect();
        exit
    }

    /// Waits for the end of a process that answers a command.
    pub fn end(mut self) -> Exit {
        self.eventually("the process to end", || {
            (self.output.said().streams_at_end == 2).then_some(())
        });
        let status = self.child.wait().expect("it was not waited for before");
        let said = self.output.said();
        Exit {
            code: status.code(),
            lines: Vec::new(),
            text: said.lines.join("\n"),
            errors: said.errors.clone(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail if it has ended, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn object(line: &str) -> Value {
    let value = serde_json::from_str(line);
    let value: Value = value.unwrap_or_else(|error| panic!("not a JSON line: {error}: {line:?}"));
    assert!(value.is_object(), "not an object: {line:?}");
    value
}

/// A service that is ready.
pub struct Orders {
    pub process: Process,
    pub public: SocketAddr,
    pub admin: SocketAddr,
}

impl Orders {
    /// Starts the service and waits until it is ready.
    pub fn start(environment: &[(&str, &str)]) -> Self {
        Self::of(Process::spawn(&[], environment))
    }

    /// Waits until a process is ready.
    pub fn of(process: Process) -> Self {
        let (public, admin) = (process.address("public"), process.address("admin"));
        let orders = Self { process, public, admin };
        orders.process.eventually("ready", || {
            (http::get(orders.admin, "/readyz").status == 200).then_some(())
        });
        orders
    }

    /// `GET` of a page on the admin port that is JSON.
    pub fn page(&self, path: &str) -> Value {
        let answer = http::get(self.admin, path);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }

    /// What a policy says of itself.
    pub fn policy(&self, name: &str) -> Value {
        self.page(&format!("/policyz/{name}"))["instances"][0].clone()
    }

    /// Changes a policy, as an operator does.
    pub fn change(&self, policy: &str, body: &str) -> Answer {
        let path = format!("/policyz/{policy}");
        let headers = [("content-type", "application/json"), ("x-actor", "test@example")];
        http::ask(self.admin, "PUT", &path, &headers, body)
    }

    /// Makes calls to the inventory slow. What it injects must go through to be believed.
    pub fn slow_inventory(&self, latency: &str) {
        let body = format!(r#"{{"settings": {{"latency": "{latency}"}}, "ttl": "1m"}}"#);
        let answer = self.change("inventory.chaos", &body);
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// The sum of the series of a metric that have these labels; none if there is no such series.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let page = http::get(self.admin, "/metrics").text();
        let labels: Vec<_> = labels.iter().map(|(key, v)| format!("{key}=\"{v}\"")).collect();
        let value = |line: &str| {
            let (series, value) = line.strip_prefix(name)?.rsplit_once(' ')?;
            let is_it = (series.is_empty() || series.starts_with('{'))
                && labels.iter().all(|label| series.contains(label));
            is_it.then(|| value.parse::<f64>().expect("a number"))
        };
        let values: Vec<f64> = page.lines().filter_map(value).collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// Waits until this many requests are in flight.
    pub fn wait_in_flight(&self, count: f64) {
        self.process.eventually("requests in flight", || {
            (self.metric("http_server_active_requests", &[]) == Some(count)).then_some(())
        });
    }

    /// Signals, and waits for the end.
    pub fn stop(self, signal: Signal) -> Exit {
        self.process.signal(signal);
        self.process.exit()
    }
}
