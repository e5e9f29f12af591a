use super::{Step, Stop, Stopper};
use crate::inspect::{Event, Registry};
use crate::sync::lock;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// The background tasks that have not ended.
pub(super) struct Tasks {
    registry: Registry,
    stopper: Stopper,
    running: Mutex<Vec<Task>>,
}

struct Task {
    name: String,
    handle: JoinHandle<()>,
}

impl Tasks {
    pub(super) fn new(registry: Registry) -> Self {
        Self { registry, stopper: Stopper::new(), running: Mutex::default() }
    }

    pub(super) fn stop(&self) -> Stop {
        self.stopper.stop()
    }

    pub(super) fn spawn(&self, name: String, task: impl Future<Output = ()> + Send + 'static) {
        let report = PanicReport { registry: self.registry.clone(), name: name.clone() };
        let handle = tokio::spawn(async move {
            let _report = report;
            task.await;
        });
        let mut running = lock(&self.running);
        running.retain(|task| !task.handle.is_finished());
        running.push(Task { name, handle });
    }

    pub(super) fn names(&self) -> Vec<String> {
        let running = lock(&self.running);
        let living = running.iter().filter(|task| !task.handle.is_finished());
        living.map(|task| task.name.clone()).collect()
    }

    /// Tells all tasks to end and waits for them. Returns the names of those that had to be
    /// aborted.
    pub(super) async fn end(&self, deadline: Instant) -> Vec<String> {
        self.stopper.advance(Step::Drain);
        let mut aborted = Vec::new();
        // A task may start another while it ends, so look until none is left.
        loop {
            let Some(mut task) = lock(&self.running).pop() else {
                break;
            };
            // A panic is an end too; its report is out already.
            if timeout_at(deadline, &mut task.handle).await.is_err() {
                task.handle.abort();
                aborted.push(task.name);
            }
        }
        self.stopper.advance(Step::Cut);
        aborted
    }
}

/// Says at once that a task is gone, though nobody joins it before the end.
struct PanicReport {
    registry: Registry,
    name: String,
}

impl Drop for PanicReport {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let message = "the background task panicked and is gone";
            self.registry.emit(Event::new("task_panicked", self.name.clone(), message));
        }
    }
}

/// What a call gets even if those before it took all the time: most need no more.
const LEAST: Duration = Duration::from_millis(20);

type Call = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// Calls for the end, last registered first.
#[derive(Default)]
pub(super) struct Hooks(Mutex<Vec<(String, Call)>>);

impl Hooks {
    pub(super) fn push<F, Fut>(&self, name: String, call: F)
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        lock(&self.0).push((name, Box::new(move || Box::pin(call()))));
    }

    /// Makes all calls, one after the other. Returns the names of those that panicked or did not
    /// finish in time: before `deadline`, which is for all together.
    pub(super) async fn run(&self, deadline: Instant) -> Vec<String> {
        let mut failed = Vec::new();
        loop {
            let Some((name, call)) = lock(&self.0).pop() else {
                return failed;
            };
            let deadline = deadline.max(Instant::now() + LEAST);
            // A task of its own, so that a panic of one does not keep the next from closing.
            let mut running = tokio::spawn(async move { call().await });
            match timeout_at(deadline, &mut running).await {
                Ok(Ok(())) => {}
                Ok(Err(_panicked)) => failed.push(name),
                Err(_late) => {
                    running.abort();
                    failed.push(name);
                }
            }
        }
    }
}
