//! Where lines go: a thread of our own, so that only it waits for who reads them.
use super::line::{LINE_LIMIT, Style};
use super::queue::{Batch, Queue};
use octostack_core::inspect::{Inspect, Metric, Sink, Value};
use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::thread::{self, ThreadId};
use std::time::Duration;

/// How long the end of a process, a panic and a fatal event wait for their lines to be written.
pub const FLUSH_LIMIT: Duration = Duration::from_secs(1);
/// How soon to try again what would block. A writer that says so tells nobody when it is over.
const TRY_AGAIN: Duration = Duration::from_millis(10);

/// Where log lines go, how many wait, and how many were lost.
///
/// Entered in a [`Registry`](octostack_core::Registry) it counts into
/// `octostack_telemetry_dropped_total{signal="logs"}`. When the last handle is dropped, the thread
/// that writes ends behind what waits; [`flush`](Self::flush) first to know that it is written.
#[derive(Debug)]
pub struct Output {
    queue: Arc<Queue>,
    thread: ThreadId,
}

impl Output {
    /// Starts the thread that writes.
    pub(super) fn start<W>(writer: W, style: Arc<Style>) -> io::Result<Self>
    where
        W: Write + Send + 'static,
    {
        let queue = Arc::new(Queue::new());
        let worker = Worker {
            queue: Arc::clone(&queue),
            writer,
            style,
            written: 0,
            untold: 0,
            torn: false,
            notice: String::new(),
        };
        // Nobody joins it: it may be stuck in a write, and the process must end all the same.
        let thread = thread::Builder::new().name("octostack-logs".to_owned());
        let thread = thread.spawn(|| worker.run())?.thread().id();
        Ok(Self { queue, thread })
    }

    /// Hands a line over. Never blocks; what finds no room is lost, and counted.
    pub(super) fn write(&self, line: &str) {
        self.queue.push(line);
    }

    /// How many lines were lost: the queue was full, or they could not be written.
    pub fn lost(&self) -> u64 {
        self.queue.tally().lost
    }

    /// How many lines are not written yet.
    pub fn queued(&self) -> u64 {
        self.queue.tally().queued
    }

    /// Waits until all that was logged before is written, or lost and counted; no longer than
    /// `timeout`, and tells whether it was in time. It blocks: not for an async task.
    pub fn flush(&self, timeout: Duration) -> bool {
        // What the writer logs itself cannot be written before it returns.
        !self.is_writing_thread() && self.queue.flush(timeout)
    }

    /// For what may be the last word of the process.
    pub(super) fn flush_last_word(&self) {
        if !self.is_writing_thread() {
            self.queue.flush_unless_stalled(FLUSH_LIMIT);
        }
    }

    /// Whether this is the thread that writes: what a writer says of itself must not wait for it.
    pub(super) fn is_writing_thread(&self) -> bool {
        thread::current().id() == self.thread
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.queue.close();
    }
}

pub(crate) static DROPPED: Metric = Metric::counter(
    "octostack_telemetry_dropped_total",
    "Telemetry that was lost, such as log lines that could not be written.",
);

impl Inspect for Output {
    fn name(&self) -> &'static str {
        "logs"
    }

    fn kind(&self) -> &'static str {
        "telemetry"
    }

    fn status(&self) -> Value {
        let tally = self.queue.tally();
        Value::map([("lost", tally.lost.into()), ("queued", tally.queued.into())])
    }

    fn collect(&self, sink: &mut dyn Sink) {
        sink.sample(&DROPPED, &[("signal", "logs")], self.lost() as f64);
    }
}

/// The thread that writes.
struct Worker<W> {
    queue: Arc<Queue>,
    writer: W,
    style: Arc<Style>,
    /// Lines of the batch in hand that are written.
    written: u64,
    /// Lost lines of which the log does not tell yet.
    untold: u64,
    /// The last line was cut short by an error.
    torn: bool,
    notice: String,
}

impl<W: Write> Worker<W> {
    fn run(mut self) {
        let mut batch = Batch::new();
        while let Some(refused) = self.queue.take(&mut batch) {
            self.untold += refused;
            let lines = self.write(&batch);
            if self.untold > 0 && lines.last_written {
                self.tell();
            }
            // How many lines a writer with a buffer loses by this is not known: it counts as one.
            let flush = u64::from(self.writer.flush().is_err());
            let lost = lines.all - self.written;
            self.written = 0;
            self.queue.finish(lines.all, lost + flush);
        }
    }

    fn write(&mut self, batch: &Batch) -> Lines {
        let mut lines = Lines { all: 0, last_written: false };
        for line in batch.lines() {
            lines.all += 1;
            // After an error the next line is tried all the same: a full disk may have room again.
            lines.last_written = self.write_line(line).is_ok();
            if lines.last_written {
                self.written += 1;
            } else {
                self.untold += 1;
            }
        }
        lines
    }

    /// Says in the log that lines are missing, behind the last one before them.
    fn tell(&mut self) {
        let mut notice = std::mem::take(&mut self.notice);
        notice.clear();
        self.style.write_notice(&mut notice, self.untold);
        if self.write_line(&notice).is_ok() {
            self.untold = 0;
        }
        self.notice = notice;
    }

    /// Writes a line by one call, unless the writer takes less.
    fn write_line(&mut self, line: &str) -> io::Result<()> {
        if self.torn {
            // Else this line would be the end of that one, and neither could be read.
            self.write_all(b"\n")?;
            self.torn = false;
        }
        self.write_all(line.as_bytes())
    }

    /// Unlike [`Write::write_all`] it tries again what would block: standard output does not block
    /// if somebody who shares it wants that, and half a line helps nobody.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let error = match self.writer.write(rest) {
                Ok(0) => ErrorKind::WriteZero.into(),
                Ok(n) => {
                    rest = rest.get(n..).unwrap_or_default();
                    continue;
                }
                Err(error) => error,
            };
            match error.kind() {
                ErrorKind::Interrupted => {}
                ErrorKind::WouldBlock => thread::park_timeout(TRY_AGAIN),
                _ => {
                    self.torn |= rest.len() < bytes.len();
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

/// What became of a batch.
struct Lines {
    all: u64,
    last_written: bool,
}

/// Also when the writer panics: then nobody writes any more, and nobody must wait for it.
impl<W> Drop for Worker<W> {
    fn drop(&mut self) {
        self.queue.end(self.written);
    }
}

// A line always finds room in an empty queue.
const _: () = assert!(2 * LINE_LIMIT < super::queue::BYTES);
