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

#[cfg(test)]
mod tests {
    use super::{Limits, Queue, Tally};
    use opentelemetry::InstrumentationScope;
    use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status};
    use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};
    use tokio::time::Instant;

    const DELAY: Duration = Duration::from_secs(5);

    fn queue() -> Queue {
        Queue::new(Limits { queue: 5, batch: 3, delay: DELAY })
    }

    fn span(name: &'static str) -> SpanData {
        SpanData {
            span_context: SpanContext::NONE,
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: name.into(),
            start_time: SystemTime::UNIX_EPOCH,
            end_time: SystemTime::UNIX_EPOCH,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::default(),
        }
    }

    fn push(queue: &Queue, names: &[&'static str]) {
        for name in names {
            queue.push(span(name));
        }
    }

    /// The names of the next batch, and how long it took to come.
    async fn next(queue: &Queue) -> (Vec<String>, Duration) {
        let start = Instant::now();
        let batch = queue.next().await.expect("it is not closed");
        (batch.iter().map(|span| span.name.to_string()).collect(), start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_batch_goes_at_once_and_a_part_waits_for_more() {
        let queue = queue();
        push(&queue, &["a", "b", "c", "d"]);
        assert_eq!(next(&queue).await, (vec!["a".into(), "b".into(), "c".into()], Duration::ZERO));
        assert_eq!(next(&queue).await, (vec!["d".into()], DELAY));
    }

    #[tokio::test(start_paused = true)]
    async fn the_delay_begins_with_the_first_span_and_a_full_batch_ends_it() {
        let queue = Arc::new(queue());
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move { (next(&queue).await, next(&queue).await) }
        });
        tokio::time::sleep(3 * DELAY).await; // nothing is there
        push(&queue, &["a"]);
        tokio::time::sleep(DELAY / 2).await;
        push(&queue, &["b"]);
        tokio::time::sleep(DELAY).await;
        push(&queue, &["c", "d", "e"]);
        let (first, second) = waiting.await.unwrap();
        assert_eq!(first, (vec!["a".into(), "b".into()], 4 * DELAY));
        assert_eq!(second.0.len(), 3);
        assert!(second.1 < DELAY, "{:?}", second.1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_finds_no_room_is_counted() {
        let queue = queue();
        push(&queue, &["a", "b", "c", "d", "e", "f", "g"]);
        assert_eq!(queue.tally(), Tally { sent: 0, queued: 5, lost: 2 });
        let batch = queue.next().await.unwrap();
        assert_eq!(queue.tally().queued, 5, "what is in hand is not sent yet");
        queue.finish(batch.len(), false);
        assert_eq!(queue.tally(), Tally { sent: 0, queued: 2, lost: 5 });
        let batch = queue.next().await.unwrap();
        queue.finish(batch.len(), true);
        assert_eq!(queue.tally(), Tally { sent: 2, queued: 0, lost: 5 });
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_gets_what_was_there_and_no_more() {
        let queue = Arc::new(queue());
        assert!(queue.flush(Duration::ZERO), "nothing to wait for");
        push(&queue, &["a"]);
        let flushed = std::thread::spawn({
            let queue = queue.clone();
            move || queue.flush(Duration::from_secs(30))
        });
        // In real time: it comes as soon as the thread asks, not after the delay.
        while queue.lock().wanted == 0 {
            std::thread::yield_now();
        }
        let (names, took) = next(&queue).await;
        assert_eq!((names, took), (vec!["a".into()], Duration::ZERO));
        push(&queue, &["b"]);
        queue.finish(1, true);
        assert!(flushed.join().unwrap());
        assert!(!queue.flush(Duration::ZERO), "b is not sent");
    }

    #[tokio::test(start_paused = true)]
    async fn ends_after_what_waits() {
        let queue = queue();
        push(&queue, &["a"]);
        queue.close();
        push(&queue, &["late"]);
        assert_eq!(next(&queue).await, (vec!["a".into()], Duration::ZERO));
        assert!(queue.next().await.is_none());
        assert_eq!(queue.tally().lost, 1);
    }
}
