//! What is known of one task, and what of it is seen from outside.
use super::WhenFailed;
use crate::inspect::{Inspect, Metric, Sink, Value};
use crate::lifecycle::{Step, Stop, Stopper};
use crate::sync::lock;
use crate::{Clock, SystemClock, duration};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// What a task is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Until those that it comes after are ready.
    Waiting,
    Running,
    /// Until it is time for the next run.
    Idle,
    /// Until it starts again.
    BackingOff,
    /// For good.
    Failed,
    Done,
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Idle => "idle",
            Self::BackingOff => "backing off",
            Self::Failed => "failed",
            Self::Done => "done",
        }
    }

    const fn is_over(self) -> bool {
        matches!(self, Self::Failed | Self::Done)
    }
}

/// One task, from its declaration on.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) when_failed: WhenFailed,
    /// The names of those that it comes after.
    after: Vec<String>,
    /// What its code ends by.
    pub(super) stopper: Stopper,
    /// Whether those that come after it may start.
    ready: watch::Sender<bool>,
    /// How many that come after it have not ended.
    dependents: watch::Sender<usize>,
    /// Whether there ever was one.
    leads: AtomicBool,
    facts: Mutex<Facts>,
    /// Of a task at an interval.
    ticks: Option<Mutex<Ticks>>,
}

struct Facts {
    state: State,
    since: Instant,
    restarts: u64,
    failures: u64,
    last_error: Option<String>,
}

/// What is known of a task at an interval.
#[derive(Clone, Default)]
pub(super) struct Ticks {
    pub(super) interval: Duration,
    /// When the next run begins.
    pub(super) next: Option<Instant>,
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    pub(super) skipped: u64,
    pub(super) last: Option<Last>,
    /// Failures since a run succeeded.
    pub(super) in_a_row: usize,
    /// How many of them it may have.
    pub(super) limit: usize,
}

/// How the last run went.
#[derive(Clone)]
pub(super) struct Last {
    pub(super) ended: Instant,
    pub(super) took: Duration,
    pub(super) error: Option<String>,
}

impl Entry {
    pub(super) fn new(
        name: String,
        after: Vec<String>,
        when_failed: WhenFailed,
        ticks: Option<Ticks>,
    ) -> Self {
        Self {
            name,
            when_failed,
            after,
            stopper: Stopper::new(),
            ready: watch::Sender::new(false),
            dependents: watch::Sender::new(0),
            leads: AtomicBool::new(false),
            facts: Mutex::new(Facts {
                state: State::Waiting,
                since: SystemClock.now(),
                restarts: 0,
                failures: 0,
                last_error: None,
            }),
            ticks: ticks.map(Mutex::new),
        }
    }

    pub(super) fn stop(&self) -> Stop {
        self.stopper.stop()
    }

    /// Goes on to `state`.
    pub(super) fn enter(&self, state: State) {
        let mut facts = lock(&self.facts);
        if state == State::Running && facts.state == State::BackingOff {
            facts.restarts += 1;
        }
        (facts.state, facts.since) = (state, SystemClock.now());
    }

    /// Takes note of a failure.
    pub(super) fn failed(&self, error: &str) {
        let mut facts = lock(&self.facts);
        facts.failures += 1;
        facts.last_error = Some(error.to_owned());
        drop(facts);
        self.tick(|ticks| ticks.in_a_row += 1);
    }

    pub(super) fn restarts(&self) -> u64 {
        lock(&self.facts).restarts
    }

    pub(super) fn is_idle(&self) -> bool {
        lock(&self.facts).state == State::Idle
    }

    pub(super) fn is_over(&self) -> bool {
        lock(&self.facts).state.is_over()
    }

    /// Lets those start that come after it.
    pub(super) fn set_ready(&self) {
        self.ready.send_replace(true);
    }

    /// Waits for that.
    pub(super) async fn ready(&self) {
        // `self` keeps the sender alive, so the only way out is the word.
        let _ = self.ready.subscribe().wait_for(|ready| *ready).await;
    }

    /// Waits until the end has begun and all that come after it have ended, then tells its code.
    pub(super) async fn tell(&self, ending: &Stop) {
        ending.reached(Step::Drain).await;
        let _ = self.dependents.subscribe().wait_for(|number| *number == 0).await;
        self.stopper.advance(Step::Drain);
    }

    /// Whether others come after it, so that it may be told late.
    pub(super) fn leads(&self) -> bool {
        self.leads.load(Ordering::Relaxed)
    }

    /// Why it has failed, if it has: for good, or at an interval more often than it may.
    pub(super) fn verdict(&self) -> Result<(), String> {
        let too_many = self.ticks.as_ref().and_then(|ticks| {
            let ticks = lock(ticks);
            (ticks.in_a_row > ticks.limit).then_some(ticks.in_a_row)
        });
        let facts = lock(&self.facts);
        match (facts.state, too_many, &facts.last_error) {
            (State::Failed, _, Some(error)) => Err(format!("failed for good: {error}")),
            (_, Some(number), Some(error)) => {
                Err(format!("failed {number} times in a row: {error}"))
            }
            _ => Ok(()),
        }
    }

    /// Changes what is known of a task at an interval.
    pub(super) fn tick(&self, change: impl FnOnce(&mut Ticks)) {
        if let Some(ticks) = &self.ticks {
            change(&mut lock(ticks));
        }
    }
}

/// Holds back the end of those that a task comes after, until it is dropped.
pub(super) struct Needs(Vec<Arc<Entry>>);

impl Needs {
    pub(super) fn new(needs: Vec<Arc<Entry>>) -> Self {
        for need in &needs {
            need.leads.store(true, Ordering::Relaxed);
            need.dependents.send_modify(|number| *number += 1);
        }
        Self(needs)
    }

    pub(super) async fn ready(&self) {
        for need in &self.0 {
            need.ready().await;
        }
    }
}

impl Drop for Needs {
    fn drop(&mut self) {
        for need in &self.0 {
            need.dependents.send_modify(|number| *number -= 1);
        }
    }
}

/// How long ago, in whole seconds.
fn ago(then: Instant) -> String {
    let elapsed = SystemClock.now().saturating_duration_since(then);
    duration::format(Duration::from_secs(elapsed.as_secs()))
}

static RUNNING: Metric = Metric::gauge(
    "octostack_task_running",
    "1 for a background task that runs at the moment, 0 for one that does not.",
);
static RESTARTS: Metric = Metric::counter(
    "octostack_task_restarts_total",
    "Starts of a background task after the first.",
);
static FAILURES: Metric = Metric::counter(
    "octostack_task_failures_total",
    "Runs of a background task that ended with an error, a panic or at their limit.",
);
static RUNS: Metric =
    Metric::counter("octostack_task_runs_total", "Runs of a task at an interval, by result.");
static SKIPPED: Metric = Metric::counter(
    "octostack_task_skipped_total",
    "Runs of a task at an interval that were left out since the one before took too long.",
);

impl Inspect for Entry {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        if self.ticks.is_some() { "interval_task" } else { "task" }
    }

    fn status(&self) -> Value {
        let facts = lock(&self.facts);
        let mut entries = vec![
            ("state", Value::from(facts.state.as_str())),
            ("for", ago(facts.since).into()),
            ("restarts", facts.restarts.into()),
            ("failures", facts.failures.into()),
            ("last_error", facts.last_error.clone().into()),
        ];
        drop(facts);
        if !self.after.is_empty() {
            entries.push(("after", self.after.clone().into()));
        }
        if let Some(ticks) = &self.ticks {
            let ticks = lock(ticks).clone();
            let left = |at: Instant| at.saturating_duration_since(SystemClock.now());
            let next =
                ticks.next.map(|at| duration::format(Duration::from_secs(left(at).as_secs())));
            let last = ticks.last.map(|last| {
                Value::map([
                    ("result", Value::from(if last.error.is_none() { "ok" } else { "failed" })),
                    ("error", last.error.into()),
                    ("took", last.took.into()),
                    ("ago", ago(last.ended).into()),
                ])
            });
            entries.extend([
                ("interval", ticks.interval.into()),
                ("next_in", next.into()),
                ("last_run", last.unwrap_or(Value::Null)),
                ("runs", (ticks.succeeded + ticks.failed).into()),
                ("skipped", ticks.skipped.into()),
                ("failed_in_a_row", ticks.in_a_row.into()),
                ("limit", (self.when_failed != WhenFailed::Shown).then_some(ticks.limit).into()),
            ]);
        }
        Value::map(entries)
    }

    fn collect(&self, sink: &mut dyn Sink) {
        let task = &[("task", &*self.name)];
        {
            let facts = lock(&self.facts);
            let running = f64::from(u8::from(facts.state == State::Running));
            sink.sample(&RUNNING, task, running);
            sink.sample(&RESTARTS, task, facts.restarts as f64);
            sink.sample(&FAILURES, task, facts.failures as f64);
        }
        if let Some(ticks) = &self.ticks {
            let ticks = lock(ticks).clone();
            for (result, count) in [("ok", ticks.succeeded), ("failed", ticks.failed)] {
                sink.sample(&RUNS, &[("task", &self.name), ("result", result)], count as f64);
            }
            sink.sample(&SKIPPED, task, ticks.skipped as f64);
        }
    }

    fn abnormal(&self) -> Option<String> {
        let facts = lock(&self.facts);
        let error = facts.last_error.as_deref().unwrap_or("no error");
        match facts.state {
            State::BackingOff => Some(format!("backing off after: {error}")),
            State::Failed => Some(format!("failed for good {} ago: {error}", ago(facts.since))),
            _ => {
                drop(facts);
                let last = lock(self.ticks.as_ref()?).last.clone()?;
                Some(format!("the last run failed {} ago: {}", ago(last.ended), last.error?))
            }
        }
    }
}
