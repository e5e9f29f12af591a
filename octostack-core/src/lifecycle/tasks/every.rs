use super::agenda::Agenda;
use super::builder::{TaskBuilder, TaskError};
use super::entry::{Last, State, Ticks};
use super::supervise::{Run, caught, shut_down};
use super::{Restart, Task, WhenFailed};
#[cfg(feature = "health")]
use crate::health::Health;
use crate::inspect::Event;
use crate::lifecycle::{Lifecycle, Step};
use crate::{Clock, SystemClock, duration};
use std::fmt::{self, Display};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// How often something runs: a [`Duration`], or a function that knows it, such as one that asks the
/// settings. Zero is never, until the function says another; what is shorter than 1 ms is 1 ms.
pub trait Interval: Send + Sync + 'static {
    /// The interval at the moment.
    fn now(&self) -> Duration;

    /// Whether it can change.
    fn changes(&self) -> bool;
}

impl Interval for Duration {
    fn now(&self) -> Duration {
        *self
    }

    fn changes(&self) -> bool {
        false
    }
}

impl<F: Fn() -> Duration + Send + Sync + 'static> Interval for F {
    fn now(&self) -> Duration {
        self()
    }

    fn changes(&self) -> bool {
        true
    }
}

/// How soon another interval is noticed.
const LOOK: Duration = Duration::from_secs(1);

/// A task at an interval about to be declared; made by [`Lifecycle::every`].
///
/// | setting | default |
/// |---|---|
/// | [`jitter`](Self::jitter) | 0.1: a run begins up to a tenth of the interval late |
/// | [`at_once`](Self::at_once) | no: the first run is after one interval |
/// | [`timeout`](Self::timeout) | none |
/// | [`limit`](Self::limit) | 2: the third failed run in a row is one too many |
/// | [`when_failed`](Self::when_failed) | shown, and nothing else |
#[must_use = "a task does nothing until it runs"]
pub struct EveryBuilder<I> {
    task: TaskBuilder,
    interval: I,
    jitter: f64,
    at_once: bool,
    timeout: Option<Duration>,
    limit: usize,
}

/// As many as a health check has unless told otherwise, with the one that is too many.
const LIMIT: usize = 2;

impl Lifecycle {
    /// Declares a task that runs at an interval: a [`Duration`], or a function that is asked for it
    /// each second, so that a setting can change while the service runs.
    ///
    /// Runs never overlap and do not drift: they belong to points in time one interval apart. If
    /// one takes so long that the time of the next is past, that one is left out and counted.
    pub fn every<I: Interval>(&self, name: impl Into<String>, interval: I) -> EveryBuilder<I> {
        // The loop of runs ends with the service; only an interval that panics starts it again.
        let task = self.task(name).restart(Restart::OnFailure).without_limit();
        let task = task.when_failed(WhenFailed::Shown);
        EveryBuilder { task, interval, jitter: 0.1, at_once: false, timeout: None, limit: LIMIT }
    }
}

impl<I: Interval> EveryBuilder<I> {
    /// Sets by how much of the interval each run may begin late, at random, from 0 to 1: instances
    /// that started together do not all clean up together. Values beyond are taken as the nearest.
    pub fn jitter(mut self, part: f64) -> Self {
        self.jitter = part;
        self
    }

    /// Makes the first run begin as soon as the task starts.
    pub fn at_once(mut self) -> Self {
        self.at_once = true;
        self
    }

    /// Sets how long a run may take; it is dropped then, and has failed.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Sets how many runs in a row may fail. With one more it has failed, until a run succeeds or
    /// the interval is set to zero.
    pub fn limit(mut self, failures: usize) -> Self {
        self.limit = failures;
        self
    }

    /// Sets what follows when more runs in a row have failed than the [limit](Self::limit) allows.
    /// The next run comes when it is time all the same. With one that succeeds the service is ready
    /// again, or no longer degraded; nothing calls a [`Shutdown`](WhenFailed::Shutdown) back.
    pub fn when_failed(mut self, consequence: WhenFailed) -> Self {
        self.task = self.task.when_failed(consequence);
        self
    }

    /// Gives it the health in which that is a check, by the name `task.{name}`; see [`WhenFailed`].
    #[cfg(feature = "health")]
    pub fn health(mut self, health: &Health) -> Self {
        self.task = self.task.health(health);
        self
    }

    /// Lets it begin when `task` is ready; see [`TaskBuilder::after`].
    pub fn after(mut self, task: impl Into<String>) -> Self {
        self.task = self.task.after(task);
        self
    }

    /// Runs `run` at the interval. An error or a panic is one of that run alone: it is counted, an
    /// event and on the status page, and the next run comes when it is time.
    ///
    /// # Errors
    /// As [`TaskBuilder::run`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn run<F, Fut, E>(self, run: F) -> Result<(), TaskError>
    where
        F: Fn(Task) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Display,
    {
        let mut task = self.task;
        task.ticks = Some(Ticks { limit: self.limit, ..Ticks::default() });
        let plan = Arc::new(Plan {
            interval: self.interval,
            jitter: self.jitter,
            at_once: self.at_once,
            timeout: self.timeout,
            lifecycle: task.lifecycle.clone(),
            run: Box::new(move |task| {
                let run = run(task);
                Box::pin(async { run.await.map_err(|error| format!("{error:#}")) })
            }),
        });
        task.start(Box::new(move |task| {
            let plan = plan.clone();
            Box::pin(async move {
                plan.follow(task).await;
                Ok(())
            })
        }))
    }
}

impl<I: fmt::Debug> fmt::Debug for EveryBuilder<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EveryBuilder")
            .field("task", &self.task)
            .field("interval", &self.interval)
            .field("jitter", &self.jitter)
            .field("at_once", &self.at_once)
            .field("timeout", &self.timeout)
            .field("limit", &self.limit)
            .finish()
    }
}

struct Plan<I> {
    interval: I,
    jitter: f64,
    at_once: bool,
    timeout: Option<Duration>,
    lifecycle: Lifecycle,
    run: Box<dyn Fn(Task) -> Run + Send + Sync>,
}

impl<I: Interval> Plan<I> {
    /// One run after the other, until the end begins.
    async fn follow(&self, task: Task) {
        let now = SystemClock.now();
        let mut agenda = Agenda::new(self.interval.now(), self.jitter, now, fastrand::f64());
        if self.at_once && task.restarts() == 0 {
            agenda = agenda.at_once();
        }
        while task.stop.step() < Step::Drain {
            let (now, interval) = (SystemClock.now(), self.interval.now());
            agenda.change(interval, now);
            let next = agenda.next();
            task.entry.tick(|ticks| {
                (ticks.interval, ticks.next) = (interval, next);
                if next.is_none() {
                    ticks.in_a_row = 0; // nobody waits for it to succeed
                }
            });
            if next.is_some_and(|next| next <= now) {
                task.entry.enter(State::Running);
                self.once(&task).await;
                let skipped = agenda.ran(SystemClock.now(), fastrand::f64());
                task.entry.tick(|ticks| ticks.skipped += skipped);
                // A run that never waits must not keep others, and the end, from this thread.
                tokio::task::yield_now().await;
                continue;
            }
            let left = next.map(|next| next.saturating_duration_since(now));
            let look = self.interval.changes().then_some(LOOK);
            let nap = left.into_iter().chain(look).min();
            if !task.entry.is_idle() {
                task.entry.enter(State::Idle);
            }
            tokio::select! {
                biased;
                () = task.stop.reached(Step::Drain) => {}
                () = sleep(nap) => {}
            }
        }
    }

    async fn once(&self, task: &Task) {
        let began = SystemClock.now();
        let mut run = Box::pin(caught(|| (self.run)(task.clone())));
        let result = match self.timeout {
            None => run.as_mut().await.map_err(|failure| failure.message),
            Some(limit) => tokio::time::timeout(limit, run.as_mut()).await.map_or_else(
                |_| Err(format!("no end within {}", duration::format(limit))),
                |result| result.map_err(|failure| failure.message),
            ),
        };
        // One that has not ended may panic now; it has failed already.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(run)));
        let ended = SystemClock.now();
        let error = result.err();
        if let Some(error) = &error {
            task.entry.failed(error);
            let message = format!("a run failed: {error}");
            let event = Event::new("task_failed", task.name(), message)
                .with("error", error.clone())
                .with("restarts", task.restarts())
                .with("final", false);
            self.lifecycle.shared.registry.emit(event);
            shut_down(&self.lifecycle, &task.entry, task.entry.verdict());
        }
        task.entry.tick(|ticks| {
            if error.is_none() {
                ticks.succeeded += 1;
                ticks.in_a_row = 0;
            } else {
                ticks.failed += 1;
            }
            ticks.last = Some(Last { ended, took: ended.saturating_duration_since(began), error });
        });
    }
}

async fn sleep(nap: Option<Duration>) {
    match nap {
        Some(nap) => tokio::time::sleep(nap).await,
        None => std::future::pending().await,
    }
}
