//! The thread that writes: what a reader that stalls, an error and a panic there do to the rest.
#![cfg(feature = "logs")]
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]
mod logs_support;

use logs_support::{PATIENCE, identity, json};
use octostack_core::{Clock as _, SystemClock};
use octostack_telemetry::logs::{LogLayer, Output};
use serde_json::{Value, json as value};
use std::io::{self, ErrorKind, Write};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;
use tracing::Dispatch;
use tracing_subscriber::layer::SubscriberExt as _;

/// What a writer does with the next call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Write,
    /// Waits until it is something else, as a pipe that is full.
    Stall,
    /// Takes the first byte of a line, then none.
    Tear,
    WouldBlock,
    Panic,
}

struct Inner {
    mode: Mode,
    text: Vec<u8>,
    calls: u64,
}

/// A writer that a test can stop and break, and read.
#[derive(Clone)]
struct Pipe(Arc<(Mutex<Inner>, Condvar)>);

impl Pipe {
    fn new(mode: Mode) -> Self {
        let inner = Inner { mode, text: Vec::new(), calls: 0 };
        Self(Arc::new((Mutex::new(inner), Condvar::new())))
    }

    fn set(&self, mode: Mode) {
        self.0.0.lock().unwrap().mode = mode;
        self.0.1.notify_all();
    }

    /// Waits until it was called that often.
    fn wait_for_calls(&self, calls: u64) {
        let inner = self.0.0.lock().unwrap();
        let (_inner, waited) =
            self.0.1.wait_timeout_while(inner, PATIENCE, |inner| inner.calls < calls).unwrap();
        assert!(!waited.timed_out(), "not called {calls} times");
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.0.lock().unwrap().text.clone()).unwrap()
    }

    fn lines(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut inner = self.0.0.lock().unwrap();
        inner.calls += 1;
        self.0.1.notify_all();
        let mut inner = self.0.1.wait_while(inner, |inner| inner.mode == Mode::Stall).unwrap();
        let taken = match inner.mode {
            Mode::Tear if inner.calls == 1 => 1,
            Mode::Tear => return Err(ErrorKind::StorageFull.into()),
            Mode::WouldBlock => return Err(ErrorKind::WouldBlock.into()),
            Mode::Panic => {
                drop(inner);
                panic!("in the writer");
            }
            Mode::Write | Mode::Stall => bytes.len(),
        };
        inner.text.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn logs_to(pipe: &Pipe) -> (Dispatch, Arc<Output>) {
    let layer = LogLayer::with_writer(&identity(), &json(), pipe.clone()).unwrap();
    let output = layer.output().clone();
    (Dispatch::new(tracing_subscriber::registry().with(layer)), output)
}

/// Logs the numbers up to `count` from each of some threads, and waits for these.
fn log(logs: &Dispatch, threads: u64, count: u64) {
    thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                tracing::dispatcher::with_default(logs, || {
                    (0..count).for_each(|n| tracing::info!(thread, n, "line"));
                });
            });
        }
    });
}

fn info(logs: &Dispatch, message: &str) {
    tracing::dispatcher::with_default(logs, || tracing::info!("{message}"));
}

fn number(line: &Value, key: &str) -> u64 {
    line["context"][key].as_u64().unwrap()
}

#[test]
fn a_stalled_reader_stops_nobody_and_what_is_lost_is_told() {
    const THREADS: u64 = 4;
    const EACH: u64 = 10_000;
    let pipe = Pipe::new(Mode::Stall);
    let (logs, output) = logs_to(&pipe);
    info(&logs, "first");
    pipe.wait_for_calls(1);

    log(&logs, THREADS, EACH); // returns: that is the point
    let (lost, queued) = (output.lost(), output.queued());
    assert_eq!(lost + queued, THREADS * EACH + 1);
    // The bound in lines, or that in bytes, and the one that is in hand.
    assert!((10_000..=16_385).contains(&queued), "{queued}");
    assert!(!output.flush(Duration::from_millis(20)), "still stalled");

    pipe.set(Mode::Write);
    assert!(output.flush(PATIENCE));
    assert_eq!((output.lost(), output.queued()), (lost, 0));
    info(&logs, "room again");
    assert!(output.flush(PATIENCE));

    let lines = pipe.lines();
    assert_eq!(lines.len() as u64, queued + 2, "with `room again` and the notice");
}

#[test]
fn the_notice_stands_where_lines_are_missing() {
    let pipe = Pipe::new(Mode::Stall);
    let (logs, output) = logs_to(&pipe);
    info(&logs, "in hand");
    pipe.wait_for_calls(1);
    log(&logs, 1, 20_000);
    let lost = output.lost();
    pipe.set(Mode::Write);
    assert!(output.flush(PATIENCE));
    info(&logs, "after");
    info(&logs, "and more");
    assert!(output.flush(PATIENCE));

    let lines = pipe.lines();
    let at = lines.len() - 3;
    assert_eq!(number(&lines[at - 1], "n"), 20_000 - lost - 1, "the last one before them");
    assert_eq!(lines[at + 1]["message"], "after");
    let mut notice = lines[at].clone();
    notice.as_object_mut().unwrap().remove("timestamp").unwrap();
    assert_eq!(
        notice,
        value!({"level": "warn", "service": "orders", "version": "1.4.2", "environment": "test",
                "message": format!("dropped {lost} log lines"), "target": "octostack::logs",
                "context": {"dropped": lost}})
    );
    let notices = lines.iter().filter(|line| line["target"] == "octostack::logs").count();
    assert_eq!(notices, 1);
}

#[test]
fn each_thread_keeps_its_order_and_every_line_is_written_or_counted() {
    const THREADS: u64 = 8;
    const EACH: u64 = 5_000;
    let pipe = Pipe::new(Mode::Write);
    let (logs, output) = logs_to(&pipe);
    log(&logs, THREADS, EACH);
    assert!(output.flush(PATIENCE));

    let mut next = [0; 8];
    let (mut written, mut told) = (0, 0);
    for line in pipe.lines() {
        if line["target"] == "octostack::logs" {
            told += number(&line, "dropped");
            continue;
        }
        written += 1;
        let (thread, n) = (number(&line, "thread"), number(&line, "n"));
        let next = &mut next[usize::try_from(thread).unwrap()];
        assert!(n >= *next, "{n} of thread {thread} after {next}");
        *next = n + 1;
    }
    assert_eq!(written + output.lost(), THREADS * EACH);
    assert_eq!(told, output.lost());
}

#[test]
fn errors_are_counted_line_by_line_and_told_once_they_are_over() {
    let pipe = Pipe::new(Mode::Tear);
    let (logs, output) = logs_to(&pipe);
    log(&logs, 1, 3);
    assert!(output.flush(PATIENCE), "lost, but dealt with");
    assert_eq!((output.lost(), pipe.text().as_str()), (3, "{"));

    pipe.set(Mode::Write);
    info(&logs, "again");
    assert!(output.flush(PATIENCE));
    let text = pipe.text();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("{"), "the torn line is one of its own");
    let message = |line: &str| serde_json::from_str::<Value>(line).unwrap()["message"].clone();
    assert_eq!(lines.map(message).collect::<Vec<_>>(), ["again", "dropped 3 log lines"]);
    assert_eq!(output.lost(), 3);
}

#[test]
fn what_would_block_is_tried_again() {
    let pipe = Pipe::new(Mode::WouldBlock);
    let (logs, output) = logs_to(&pipe);
    info(&logs, "patient");
    pipe.wait_for_calls(3);
    assert_eq!((output.lost(), output.queued()), (0, 1));
    pipe.set(Mode::Write);
    assert!(output.flush(PATIENCE));
    assert_eq!(pipe.lines().len(), 1);
    assert_eq!(output.lost(), 0);
}

#[test]
fn a_writer_that_panics_costs_the_log_and_nothing_else() {
    let pipe = Pipe::new(Mode::Write);
    let (logs, output) = logs_to(&pipe);
    info(&logs, "good");
    assert!(output.flush(PATIENCE));
    pipe.set(Mode::Panic);
    log(&logs, 4, 1_000);
    assert!(output.flush(PATIENCE), "nobody waits for a thread that is gone");
    log(&logs, 4, 1_000);
    assert!(output.flush(PATIENCE));
    assert_eq!((output.lost(), output.queued()), (8_000, 0));
    assert_eq!(pipe.lines().len(), 1);
}

#[test]
fn a_fatal_event_is_written_before_it_returns_but_does_not_wait_for_ever() {
    let fatal = |logs: &Dispatch| {
        tracing::dispatcher::with_default(logs, || tracing::error!(fatal = true, "the end"));
    };
    let pipe = Pipe::new(Mode::Write);
    let (logs, output) = logs_to(&pipe);
    fatal(&logs);
    assert_eq!(pipe.lines()[0]["level"], "fatal");

    pipe.set(Mode::Stall);
    let from = SystemClock.now();
    (0..50).for_each(|_| fatal(&logs));
    let took = SystemClock.now() - from;
    assert!(took < Duration::from_secs(10), "one waits a second, the others not: {took:?}");
    assert_eq!((output.lost(), output.queued()), (0, 50));
    pipe.set(Mode::Write);
}

#[test]
fn the_thread_ends_behind_what_waits() {
    struct Ends(Pipe, Sender<()>);
    impl Write for Ends {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            self.1.send(()).map_err(io::Error::other)
        }
    }
    let pipe = Pipe::new(Mode::Stall);
    let (sender, flushes) = channel();
    let layer = LogLayer::with_writer(&identity(), &json(), Ends(pipe.clone(), sender)).unwrap();
    let logs = Dispatch::new(tracing_subscriber::registry().with(layer));
    log(&logs, 1, 10);
    drop(logs);
    pipe.set(Mode::Write);
    while flushes.recv_timeout(PATIENCE).is_ok() {}
    assert_eq!(flushes.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
    assert_eq!(pipe.lines().len(), 10);
}

#[test]
fn a_writer_that_logs_and_flushes_does_not_wait_for_itself() {
    type Says = Arc<Mutex<Option<(Dispatch, Arc<Output>)>>>;
    struct Chatty(Pipe, Says);
    impl Write for Chatty {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Once, else it would go on for ever.
            let says = self.1.lock().unwrap().take();
            if let Some((logs, output)) = says {
                info(&logs, "from the writer");
                assert!(!output.flush(Duration::MAX));
            }
            self.0.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (pipe, says) = (Pipe::new(Mode::Write), Says::default());
    let writer = Chatty(pipe.clone(), Arc::clone(&says));
    let layer = LogLayer::with_writer(&identity(), &json(), writer).unwrap();
    let output = layer.output().clone();
    let logs = Dispatch::new(tracing_subscriber::registry().with(layer));
    *says.lock().unwrap() = Some((logs.clone(), output.clone()));
    info(&logs, "outside");
    assert!(output.flush(PATIENCE)); // deals with the first line
    assert!(output.flush(PATIENCE)); // and with what was logged meanwhile
    assert_eq!(pipe.lines().len(), 2);
}
