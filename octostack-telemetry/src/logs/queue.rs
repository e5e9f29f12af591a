//! Lines on their way from the threads that log to the one that writes.
//!
//! Two buffers: threads append to the one while the writer works on the other, and it swaps them
//! when it is done. Both have their full size from the start, so that no line waits for memory; of
//! what was never used the system gives none. Under the lock is a copy of one line and no more: no
//! I/O, no code of others, nothing that can panic.
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What may wait, in bytes: some seconds of access events (about 450 bytes each) at a thousand a
/// second, and little beside what a service needs anyway. As much again may be with the writer.
pub(super) const BYTES: usize = 4 * 1024 * 1024;
/// What may wait, in lines: enough that lines of the usual length meet the bound in bytes first,
/// and a bound on what is kept of each.
const LINES: usize = 16 * 1024;

/// Lines in their order.
#[derive(Debug)]
pub(super) struct Batch {
    text: String,
    /// Where each line ends. Line breaks do not tell: a line for people may have some inside.
    ends: Vec<usize>,
}

impl Batch {
    pub(super) fn new() -> Self {
        Self { text: String::with_capacity(BYTES), ends: Vec::with_capacity(LINES) }
    }

    /// Whether there was room for it.
    fn push(&mut self, line: &str) -> bool {
        let fits = self.ends.len() < LINES && self.text.len() + line.len() <= BYTES;
        if fits {
            self.text.push_str(line);
            self.ends.push(self.text.len());
        }
        fits
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.text[start..*end])
    }

    fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }
}

#[derive(Debug)]
struct State {
    waiting: Batch,
    /// How many lines were taken in since the start.
    accepted: u64,
    /// How many of them the writer has dealt with.
    finished: u64,
    /// How many lines are lost, refused ones included.
    lost: u64,
    /// How many were refused since the writer last heard of it.
    refused: u64,
    /// What was finished when somebody last waited in vain.
    stalled: Option<u64>,
    /// How many wait for the writer.
    flushing: usize,
    /// The writer sleeps. Waking costs a system call, also if nobody sleeps.
    idle: bool,
    /// Nobody will log any more.
    closed: bool,
    /// The writer has ended, and nobody will write any more.
    gone: bool,
}

/// A bounded queue of lines; see the [module docs](self).
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    work: Condvar,
    done: Condvar,
}

/// How a [`Queue`] is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tally {
    /// Lines that were refused or could not be written.
    pub(super) lost: u64,
    /// Lines that are not written yet.
    pub(super) queued: u64,
}

impl Queue {
    pub(super) fn new() -> Self {
        let state = State {
            waiting: Batch::new(),
            accepted: 0,
            finished: 0,
            lost: 0,
            refused: 0,
            stalled: None,
            flushing: 0,
            idle: false,
            closed: false,
            gone: false,
        };
        Self { state: Mutex::new(state), work: Condvar::new(), done: Condvar::new() }
    }

    /// Sound after a panic too: there is none under this lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a line in, or counts it as lost. Never waits for the writer.
    pub(super) fn push(&self, line: &str) {
        let mut state = self.lock();
        if state.gone || !state.waiting.push(line) {
            state.lost += 1;
            state.refused += 1;
            return;
        }
        state.accepted += 1;
        let wake = mem::take(&mut state.idle);
        drop(state);
        if wake {
            self.work.notify_one();
        }
    }

    /// Waits until the writer has dealt with what was taken in before; whether it did in time.
    pub(super) fn flush(&self, timeout: Duration) -> bool {
        self.wait(self.lock(), timeout)
    }

    /// Like [`flush`](Self::flush), but waits no more once that was in vain, until the writer has
    /// moved on: whoever logs must not pay for a stalled reader again and again.
    pub(super) fn flush_unless_stalled(&self, timeout: Duration) {
        let state = self.lock();
        if state.stalled != Some(state.finished) {
            self.wait(state, timeout);
        }
    }

    fn wait(&self, mut state: MutexGuard<'_, State>, timeout: Duration) -> bool {
        let until = state.accepted;
        state.flushing += 1;
        let waited = self.done.wait_timeout_while(state, timeout, |s| s.finished < until);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.flushing -= 1;
        let finished = state.finished >= until;
        if !finished {
            state.stalled = Some(state.finished);
        }
        finished
    }

    /// Lets the writer end once it has written what waits.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.work.notify_one();
    }

    pub(super) fn tally(&self) -> Tally {
        let state = self.lock();
        Tally { lost: state.lost, queued: state.accepted - state.finished }
    }

    /// For the writer: waits for lines, puts them in place of what is in `batch`, and tells how
    /// many were refused behind them. None if there will be no more.
    pub(super) fn take(&self, batch: &mut Batch) -> Option<u64> {
        batch.clear();
        let mut state = self.lock();
        while state.waiting.ends.is_empty() {
            if state.closed {
                return None;
            }
            state.idle = true;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.idle = false; // it may have been woken by nobody
        mem::swap(&mut state.waiting, batch);
        Some(mem::take(&mut state.refused))
    }

    /// For the writer: it has dealt with this many lines, and this many losses came of it.
    pub(super) fn finish(&self, lines: u64, lost: u64) {
        let mut state = self.lock();
        state.finished += lines;
        state.lost += lost;
        self.tell(state);
    }

    /// For the writer: it ends, after it wrote this many of the lines that it has not finished.
    pub(super) fn end(&self, written: u64) {
        let mut state = self.lock();
        state.gone = true;
        state.lost += state.accepted - state.finished - written;
        state.finished = state.accepted;
        self.tell(state);
    }

    fn tell(&self, state: MutexGuard<'_, State>) {
        let somebody = state.flushing > 0;
        drop(state);
        if somebody {
            self.done.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BYTES, Batch, LINES, Queue, Tally};
    use std::time::Duration;

    fn tally(queue: &Queue) -> (u64, u64) {
        let Tally { lost, queued } = queue.tally();
        (lost, queued)
    }

    #[test]
    fn keeps_lines_apart_and_in_order() {
        let (queue, mut batch) = (Queue::new(), Batch::new());
        for line in ["a\n", "b\n  c\n", "", "d\n"] {
            queue.push(line);
        }
        assert_eq!(queue.take(&mut batch), Some(0));
        assert_eq!(batch.lines().collect::<Vec<_>>(), ["a\n", "b\n  c\n", "", "d\n"]);
        queue.push("e\n");
        assert_eq!(tally(&queue), (0, 5), "what the writer has in hand is not written yet");
        queue.finish(4, 1);
        assert_eq!(tally(&queue), (1, 1));
        assert_eq!(queue.take(&mut batch), Some(0));
        assert_eq!(batch.lines().collect::<Vec<_>>(), ["e\n"]);
    }

    #[test]
    fn refuses_what_is_too_much_and_says_how_much_that_was() {
        let (queue, mut batch) = (Queue::new(), Batch::new());
        (0..LINES).for_each(|_| queue.push("x\n"));
        assert_eq!(tally(&queue), (0, LINES as u64));
        queue.push("x\n");
        queue.push("x\n");
        assert_eq!(tally(&queue), (2, LINES as u64));
        assert_eq!(queue.take(&mut batch), Some(2));

        let half = "y".repeat(BYTES / 2);
        (0..3).for_each(|_| queue.push(&half));
        assert_eq!(tally(&queue).0, 3, "two fit exactly");
        assert_eq!(queue.take(&mut batch), Some(1), "each is told once");
        assert_eq!(batch.lines().count(), 2);
        assert_eq!((batch.text.capacity(), batch.ends.capacity()), (BYTES, LINES), "never grows");
    }

    #[test]
    fn waits_in_vain_once() {
        let (queue, mut batch) = (Queue::new(), Batch::new());
        assert!(queue.flush(Duration::ZERO), "nothing to wait for");
        queue.push("a\n");
        assert!(!queue.flush(Duration::ZERO));
        queue.flush_unless_stalled(Duration::MAX);
        queue.take(&mut batch);
        queue.push("b\n");
        queue.flush_unless_stalled(Duration::MAX);
        queue.finish(1, 0);
        assert!(!queue.flush(Duration::ZERO), "it waits for what is behind as well");
        queue.take(&mut batch);
        queue.finish(1, 0);
        queue.flush_unless_stalled(Duration::MAX);
        assert!(queue.flush(Duration::MAX));
    }

    #[test]
    fn without_a_writer_all_is_lost_and_nobody_waits() {
        let (queue, mut batch) = (Queue::new(), Batch::new());
        for line in ["a\n", "b\n", "c\n"] {
            queue.push(line);
        }
        queue.take(&mut batch);
        queue.push("d\n");
        queue.end(2);
        assert_eq!(tally(&queue), (2, 0), "c and d");
        queue.push("e\n");
        assert_eq!(tally(&queue), (3, 0));
        assert!(queue.flush(Duration::MAX));
    }

    #[test]
    fn ends_after_what_waits() {
        let (queue, mut batch) = (Queue::new(), Batch::new());
        queue.push("a\n");
        queue.close();
        assert_eq!(queue.take(&mut batch), Some(0));
        assert_eq!(queue.take(&mut batch), None);
    }
}
