//! Spans on their way from the threads that end them to the one that sends.
//!
//! The SDK has a processor of this kind, but it tells nobody how many spans it has dropped.
use opentelemetry_sdk::trace::SpanData;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// How many spans wait and travel together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// More than this are dropped.
    pub(super) queue: usize,
    /// At most this many are sent at once, and as soon as there are as many.
    pub(super) batch: usize,
    /// How long a span waits for others.
    pub(super) delay: Duration,
}

#[derive(Debug)]
struct State {
    waiting: VecDeque<SpanData>,
    /// How many spans were taken in since the start.
    accepted: u64,
    /// How many of them were dealt with.
    finished: u64,
    /// How many of those were sent.
    sent: u64,
    /// How many were refused.
    refused: u64,
    /// Until which of them somebody waits.
    wanted: u64,
    /// No more are taken in.
    closed: bool,
}

/// A bounded queue of spans; see the [module docs](self).
#[derive(Debug)]
pub(super) struct Queue {
    limits: Limits,
    state: Mutex<State>,
    /// Wakes the thread that sends.
    work: Notify,
    /// Wakes those who wait for it.
    done: Condvar,
}

/// How a [`Queue`] is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) sent: u64,
    pub(super) queued: u64,
    pub(super) lost: u64,
}

impl Queue {
    pub(super) fn new(limits: Limits) -> Self {
        let state = State {
            waiting: VecDeque::with_capacity(limits.queue),
            accepted: 0,
            finished: 0,
            sent: 0,
            refused: 0,
            wanted: 0,
            closed: false,
        };
        Self { limits, state: Mutex::new(state), work: Notify::new(), done: Condvar::new() }
    }

    /// Sound after a panic too: there is none under this lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a span in, or counts it as lost. Waits for nobody.
    pub(super) fn push(&self, span: SpanData) {
        let mut state = self.lock();
        if state.closed || state.waiting.len() >= self.limits.queue {
            state.refused += 1;
            return;
        }
        state.waiting.push_back(span);
        state.accepted += 1;
        // The first starts the delay, and a full batch ends it.
        let wake = [1, self.limits.batch].contains(&state.waiting.len());
        drop(state);
        if wake {
            self.work.notify_one();
        }
    }

    /// The next spans to send: a full batch, or what there is once the first has waited long
    /// enough or somebody waits for it. None if there will be no more.
    pub(super) async fn next(&self) -> Option<Vec<SpanData>> {
        let mut since = None;
        loop {
            if let Poll::Ready(batch) = self.take(since) {
                return batch;
            }
            if since.is_none() && !self.lock().waiting.is_empty() {
                since = Some(Instant::now());
            }
            match since {
                None => self.work.notified().await,
                Some(since) => {
                    let _ = timeout_at(since + self.limits.delay, self.work.notified()).await;
                }
            }
        }
    }

    /// A batch, if one is due, or none if there will be no more.
    fn take(&self, since: Option<Instant>) -> Poll<Option<Vec<SpanData>>> {
        let mut state = self.lock();
        if state.waiting.is_empty() {
            return if state.closed { Poll::Ready(None) } else { Poll::Pending };
        }
        let waited = since.is_some_and(|since| since.elapsed() >= self.limits.delay);
        let full = state.waiting.len() >= self.limits.batch;
        if !(waited || full || state.closed || state.wanted > state.finished) {
            return Poll::Pending;
        }
        let count = state.waiting.len().min(self.limits.batch);
        Poll::Ready(Some(state.waiting.drain(..count).collect()))
    }

    /// What became of a batch.
    pub(super) fn finish(&self, spans: usize, sent: bool) {
        let mut state = self.lock();
        state.finished += spans as u64;
        state.sent += if sent { spans as u64 } else { 0 };
        drop(state);
        self.done.notify_all();
    }

    /// Waits until all spans that were taken in before were dealt with; whether that was in time.
    pub(super) fn flush(&self, timeout: Duration) -> bool {
        let mut state = self.lock();
        let until = state.accepted;
        state.wanted = until;
        self.work.notify_one();
        let waited = self.done.wait_timeout_while(state, timeout, |s| s.finished < until);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.finished >= until
    }

    /// Takes no more in, and lets the thread that sends end once it has sent what waits.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.work.notify_one();
    }

    pub(super) fn tally(&self) -> Tally {
        let state = self.lock();
        Tally {
            sent: state.sent,
            queued: state.accepted - state.finished,
            lost: state.refused + state.finished - state.sent,
        }
    }
}
