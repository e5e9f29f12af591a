//! Work in the background of a service: supervised, in order, and to be seen.
//!
//! A spawned future that panics is gone, and nobody notices until a customer asks for the mail that
//! was never sent. So a task here has a name and somebody who looks after it:
//!
//! * [`Lifecycle::task`] runs it, and again after an error or a panic, with growing pauses. One that
//!   fails too often has failed for good, and then the service says so: see [`WhenFailed`].
//! * [`Lifecycle::every`] runs something at an interval, never twice at once. It can say so too when
//!   run after run fails.
//! * [`Lifecycle::spawn`] runs a future once, for work that cannot fail.
//!
//! The first two are on the status page with their state and last error, and in `octostack_task_*`.
//! At the end each is told by its [`Stop`], those that others come after last.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use octostack_core::Registry;
//! use octostack_core::lifecycle::{Lifecycle, LifecycleConfig, Signals, Step};
//! use std::time::Duration;
//!
//! let (_kill, signals) = Signals::manual();
//! let lifecycle = Lifecycle::new(LifecycleConfig::default(), &Registry::new());
//! lifecycle
//!     .task("cache")
//!     .says_when_ready()
//!     .run(|task| async move {
//!         // load it, then:
//!         task.ready();
//!         task.stop().reached(Step::Drain).await;
//!         Ok::<_, String>(())
//!     })?;
//! lifecycle
//!     .task("mailer")
//!     .after("cache")
//!     .backoff(Duration::from_millis(100), Duration::from_secs(30))
//!     .run(|task| async move {
//!         task.stop().reached(Step::Drain).await; // a loop would select on it
//!         Ok::<_, std::io::Error>(())
//!     })?;
//! lifecycle
//!     .every("cleanup", Duration::from_secs(60))
//!     .timeout(Duration::from_secs(10))
//!     .run(|_task| async { Ok::<_, String>(()) })?;
//!
//! lifecycle.ready();
//! lifecycle.shutdown("done");
//! assert_eq!(lifecycle.run(signals).await.exit_code(), 0);
//! # Ok::<_, octostack_core::lifecycle::TaskError>(()) }).unwrap();
//! ```
mod agenda;
mod builder;
mod entry;
mod every;
mod restart;
mod supervise;
#[cfg(test)]
mod tests;

pub use builder::{TaskBuilder, TaskError};
pub use every::{EveryBuilder, Interval};
pub use restart::Restart;

use super::{Lifecycle, Step, Stop, Stopper};
use crate::inspect::Registry;
use crate::sync::lock;
use entry::{Entry, Needs};
use restart::{Backoff, Restarts};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use supervise::Supervised;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// What follows when a task has failed for good, or one at an interval more often in a row than it
/// [may](EveryBuilder::limit). It is an event and on the status page anyway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFailed {
    /// The instance is not ready: without this task it should get no traffic. A local check
    /// `task.{name}` of the health that the task was [given](TaskBuilder::health).
    #[default]
    Unready,
    /// The service is degraded. A shared check `task.{name}`.
    Degraded,
    /// The service ends and the process exits with 1, so that whoever runs it starts it anew.
    Shutdown,
    /// Nothing else.
    Shown,
}

/// What the code of a task knows of itself.
#[derive(Clone)]
pub struct Task {
    entry: Arc<Entry>,
    stop: Stop,
}

impl Task {
    fn new(entry: Arc<Entry>) -> Self {
        let stop = entry.stop();
        Self { entry, stop }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.entry.name
    }

    /// What it ends by: at [`Step::Drain`] it should return. Requests have drained by then, and the
    /// tasks that come after it have ended.
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Says that those that come after it may start; see [`TaskBuilder::says_when_ready`].
    pub fn ready(&self) {
        self.entry.set_ready();
    }

    /// How often it was started again.
    pub fn restarts(&self) -> u64 {
        self.entry.restarts()
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("name", &self.entry.name).finish_non_exhaustive()
    }
}

/// The background tasks of a service.
pub(super) struct Tasks {
    registry: Registry,
    ending: Stopper,
    all: Mutex<Vec<Known>>,
}

struct Known {
    entry: Arc<Entry>,
    handle: JoinHandle<()>,
    /// Whether it has a place on the status page, also when it is over. Others come and go.
    declared: bool,
}

/// What a task that is told of the end late gets: those after it may have taken all the time.
const LEAST: Duration = Duration::from_millis(20);

/// What all of them together get beyond the deadline, however many they are.
const MOST: Duration = Duration::from_millis(200);

impl Tasks {
    pub(super) fn new(registry: Registry) -> Self {
        Self { registry, ending: Stopper::new(), all: Mutex::default() }
    }

    pub(super) fn spawn<F, Fut>(&self, lifecycle: &Lifecycle, name: String, task: F)
    where
        F: FnOnce(Stop) -> Fut,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let entry = Arc::new(Entry::new(name, Vec::new(), WhenFailed::Shown, None));
        let mut future = Some(task(entry.stop()));
        let supervised = Supervised {
            entry,
            needs: Needs::new(Vec::new()),
            restarts: Restarts::new(Restart::Never, Backoff::default(), None),
            body: Box::new(move |_| {
                let future = future.take();
                Box::pin(async move {
                    if let Some(future) = future {
                        future.await;
                    }
                    Ok(())
                })
            }),
            ready_at_start: true,
            lifecycle: lifecycle.clone(),
            ending: self.ending.stop(),
        };
        self.start(&mut lock(&self.all), supervised, false);
    }

    fn start(&self, all: &mut Vec<Known>, supervised: Supervised, declared: bool) {
        let entry = supervised.entry.clone();
        if declared {
            self.registry.register(&entry);
        }
        all.retain(|known| known.declared || !known.handle.is_finished());
        all.push(Known { entry, handle: tokio::spawn(supervised.run()), declared });
    }

    /// The names of those that have not ended.
    pub(super) fn names(&self) -> Vec<String> {
        let all = lock(&self.all);
        let living = all.iter().filter(|known| !known.entry.is_over());
        living.map(|known| known.entry.name.clone()).collect()
    }

    /// Tells all tasks to end and waits for them. Returns the names of those that had to be
    /// aborted.
    pub(super) async fn end(&self, deadline: Instant) -> Vec<String> {
        self.ending.advance(Step::Drain);
        let mut aborted = Vec::new();
        let last = deadline + MOST;
        let a_moment = || last.min(Instant::now() + LEAST);
        // The last first: those that come after others are declared after them. A task may start
        // another while it ends, so look until none is left.
        loop {
            let Some(Known { entry, mut handle, .. }) = lock(&self.all).pop() else {
                break;
            };
            let deadline = if entry.leads() { deadline.max(a_moment()) } else { deadline };
            // A panic is an end too; its report is out already.
            if timeout_at(deadline, &mut handle).await.is_err() {
                handle.abort();
                // So that those before it are told; but one that blocks hears of nothing.
                let _ = timeout_at(a_moment(), &mut handle).await;
                aborted.push(entry.name.clone());
            }
            entry.stopper.advance(Step::Cut);
        }
        self.ending.advance(Step::Cut);
        aborted
    }
}
