//! From the start of a task to its last end.
use super::entry::{Entry, Needs, State};
use super::restart::{Next, Restarts};
use super::{Task, WhenFailed};
use crate::inspect::Event;
use crate::lifecycle::{Lifecycle, Step, Stop};
use crate::{Clock, SystemClock, duration};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// One run of a task.
pub(super) type Run = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// Characters of an error that are kept: it is shown on pages and in logs.
const LONGEST_ERROR: usize = 500;

/// What a run has failed by.
pub(super) struct Failure {
    pub(super) panicked: bool,
    pub(super) message: String,
}

/// Runs what `start` makes; a panic of either is a failure.
pub(super) async fn caught(start: impl FnOnce() -> Run) -> Result<(), Failure> {
    let (mut start, mut run) = (Some(start), None);
    let result = std::future::poll_fn(|cx| {
        let poll = catch_unwind(AssertUnwindSafe(|| {
            if let Some(start) = start.take() {
                run = Some(start());
            }
            run.as_mut().map_or(Poll::Ready(Ok(())), |run| run.as_mut().poll(cx))
        }));
        match poll {
            Ok(poll) => poll.map_err(|message| (false, message)),
            Err(panic) => Poll::Ready(Err((true, said(panic.as_ref())))),
        }
    });
    let result = result.await;
    // What it holds may panic too when it is let go of.
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(run)));
    let dropped = dropped.map_err(|panic| (true, said(panic.as_ref())));
    result.and(dropped).map_err(|(panicked, mut message)| {
        if let Some((end, _)) = message.char_indices().nth(LONGEST_ERROR) {
            message.truncate(end);
            message.push('…');
        }
        Failure { panicked, message }
    })
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("no message"))
}

/// A task under supervision.
pub(super) struct Supervised {
    pub(super) entry: Arc<Entry>,
    pub(super) needs: Needs,
    pub(super) restarts: Restarts,
    pub(super) body: Box<dyn FnMut(Task) -> Run + Send>,
    /// Whether it is ready as soon as it starts.
    pub(super) ready_at_start: bool,
    pub(super) lifecycle: Lifecycle,
    /// Of all tasks.
    pub(super) ending: Stop,
}

impl Supervised {
    pub(super) async fn run(mut self) {
        let (entry, ending) = (self.entry.clone(), self.ending.clone());
        let tell = async {
            entry.tell(&ending).await;
            std::future::pending().await
        };
        let state = tokio::select! {
            biased;
            state = self.work() => state,
            state = tell => state,
        };
        entry.enter(state);
        // Only now, so that those it comes after find it ended: they are told next.
        drop(self.needs);
    }

    /// Waits, runs and runs again. Returns how it has ended.
    async fn work(&mut self) -> State {
        let stop = self.entry.stop();
        tokio::select! {
            biased;
            // First: what can start does, also if the end begins at this moment.
            () = self.needs.ready() => {}
            () = self.ending.reached(Step::Drain) => return State::Done,
        }
        loop {
            self.entry.enter(State::Running);
            if self.ready_at_start {
                self.entry.set_ready();
            }
            let began = SystemClock.now();
            let (body, task) = (&mut self.body, Task::new(self.entry.clone()));
            let failure = caught(|| body(task)).await.err();
            let now = SystemClock.now();
            let next = match (&failure, stop.step() >= Step::Drain) {
                (None, true) => Next::Done,
                (Some(_), true) => Next::Failed,
                (failure, false) => {
                    let ran = now.saturating_duration_since(began);
                    self.restarts.ended(failure.is_some(), ran, now, fastrand::f64())
                }
            };
            if let Some(failure) = &failure {
                self.report(failure, next);
            }
            match next {
                Next::Done => {
                    self.entry.set_ready(); // it has done what others wait for
                    return State::Done;
                }
                Next::Failed => return State::Failed,
                Next::Again(pause) => {
                    self.entry.enter(State::BackingOff);
                    tokio::select! {
                        biased;
                        () = stop.reached(Step::Drain) => return State::Done,
                        () = tokio::time::sleep(pause) => {}
                    }
                }
            }
        }
    }

    fn report(&self, failure: &Failure, next: Next) {
        let Failure { panicked, message } = failure;
        self.entry.failed(message);
        let then = match next {
            Next::Again(pause) => {
                let millis = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
                format!("starts again in {}", duration::format(Duration::from_millis(millis)))
            }
            Next::Failed | Next::Done => "will not start again".to_owned(),
        };
        let kind = if *panicked { "task_panicked" } else { "task_failed" };
        let event = Event::new(kind, self.entry.name.as_str(), format!("{message}; {then}"))
            .with("error", message.clone())
            .with("restarts", self.entry.restarts())
            .with("final", next == Next::Failed);
        self.lifecycle.shared.registry.emit(event);
        let failed = if next == Next::Failed {
            Err(format!("failed for good: {message}"))
        } else {
            self.entry.verdict() // of a task at an interval
        };
        shut_down(&self.lifecycle, &self.entry, failed);
    }
}

/// Ends the service if that is what follows when a task has `failed`.
pub(super) fn shut_down(lifecycle: &Lifecycle, entry: &Entry, failed: Result<(), String>) {
    let serving = !lifecycle.phase().is_ending();
    if let Err(why) = failed
        && serving
        && entry.when_failed == WhenFailed::Shutdown
    {
        lifecycle.fail(format!("task {} {why}", entry.name));
    }
}
