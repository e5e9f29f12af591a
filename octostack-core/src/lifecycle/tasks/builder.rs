use super::entry::{Entry, Needs, Ticks};
use super::restart::{Backoff, Limit, Restart, Restarts};
use super::supervise::{Run, Supervised};
use super::{Task, WhenFailed};
#[cfg(feature = "health")]
use crate::health::{CheckKind, Health};
use crate::lifecycle::Lifecycle;
use crate::sync::lock;
use std::fmt::{self, Display};
use std::sync::Arc;
use std::time::Duration;

/// A task about to be declared; made by [`Lifecycle::task`].
///
/// | setting | default | why |
/// |---|---|---|
/// | [`restart`](Self::restart) | on failure | most tasks are loops that end when they are told to |
/// | [`backoff`](Self::backoff) | 500 ms, doubled up to 60 s | what failed once may be well in a moment; what it asks may be down for long |
/// | [`limit`](Self::limit) | 10 restarts in 10 min | what fails at once has failed for good after about four minutes |
/// | [`when_failed`](Self::when_failed) | unready | an instance that does half of its work should not look well |
#[must_use = "a task does nothing until it runs"]
pub struct TaskBuilder {
    pub(super) lifecycle: Lifecycle,
    name: String,
    after: Vec<String>,
    restart: Restart,
    backoff: Backoff,
    limit: Option<Limit>,
    when_failed: WhenFailed,
    says_when_ready: bool,
    pub(super) ticks: Option<Ticks>,
    #[cfg(feature = "health")]
    health: Option<Health>,
}

impl Lifecycle {
    /// Declares a background task, by a name that no other declared task has.
    pub fn task(&self, name: impl Into<String>) -> TaskBuilder {
        TaskBuilder {
            lifecycle: self.clone(),
            name: name.into(),
            after: Vec::new(),
            restart: Restart::default(),
            backoff: Backoff::default(),
            limit: Some(Limit::default()),
            when_failed: WhenFailed::default(),
            says_when_ready: false,
            ticks: None,
            #[cfg(feature = "health")]
            health: None,
        }
    }
}

impl TaskBuilder {
    /// Sets whether it starts again after it has ended.
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// Sets the pause before the first restart, and the longest: each is twice the one before, less
    /// up to a half at random. A run that lasted longer than the longest pause makes the next pause
    /// the first again. At least 1 ms.
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.backoff = Backoff { first, longest };
        self
    }

    /// Sets how many restarts after failures it may have `within` some time. One more failure, and
    /// it has failed for good.
    pub fn limit(mut self, restarts: usize, within: Duration) -> Self {
        self.limit = Some(Limit { restarts, within });
        self
    }

    /// Lets it start again as often as it fails.
    pub fn without_limit(mut self) -> Self {
        self.limit = None;
        self
    }

    /// Sets what follows when it has failed for good.
    pub fn when_failed(mut self, consequence: WhenFailed) -> Self {
        self.when_failed = consequence;
        self
    }

    /// Lets it start when `task` is ready, which has been declared already: when that has started,
    /// has said so if it [says when](Self::says_when_ready), or is done. At the end it is told first,
    /// and `task` once it has ended. Can be called for more than one.
    ///
    /// What comes after stays as it is when `task` fails later and starts again.
    pub fn after(mut self, task: impl Into<String>) -> Self {
        self.after.push(task.into());
        self
    }

    /// Holds back those that come after it until its code calls [`Task::ready`], or is done.
    pub fn says_when_ready(mut self) -> Self {
        self.says_when_ready = true;
        self
    }

    /// Gives it the health in which its failure for good is a check, by the name `task.{name}`; see
    /// [`WhenFailed`].
    #[cfg(feature = "health")]
    pub fn health(mut self, health: &Health) -> Self {
        self.health = Some(health.clone());
        self
    }

    /// Runs it. `task` is called for each start; what it returns has failed with an error or a
    /// panic.
    ///
    /// The error is shown to operators, cut at 500 characters: keep secrets out of it.
    ///
    /// # Errors
    /// If the name is empty or taken, or one that it comes after has not been declared. Then
    /// nothing runs. As a task can only come after earlier ones, there are no circles.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn run<F, Fut, E>(self, mut task: F) -> Result<(), TaskError>
    where
        F: FnMut(Task) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Display,
    {
        self.start(Box::new(move |handle| {
            let run = task(handle);
            // `{:#}` is how error reports with causes print them all on one line.
            Box::pin(async { run.await.map_err(|error| format!("{error:#}")) })
        }))
    }

    pub(super) fn start(self, body: Box<dyn FnMut(Task) -> Run + Send>) -> Result<(), TaskError> {
        let tasks = &self.lifecycle.shared.tasks;
        let name = self.name;
        if name.is_empty() {
            return Err(TaskError("a task has no name".to_owned()));
        }
        // Held to the end: nobody takes the name meanwhile.
        let mut all = lock(&tasks.all);
        let find = |name: &str| all.iter().find(|known| known.declared && known.entry.name == name);
        if find(&name).is_some() {
            return Err(TaskError(format!("two tasks are called `{name}`; rename one")));
        }
        let mut needs = Vec::new();
        for need in &self.after {
            let Some(known) = find(need) else {
                let why = if *need == name { "itself" } else { "which is not declared" };
                let names = all.iter().filter(|known| known.declared);
                let names: Vec<_> = names.map(|known| known.entry.name.as_str()).collect();
                let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                return Err(TaskError(format!(
                    "task `{name}` comes after `{need}`, {why}; declare that one before it (so far: \
                     {names})"
                )));
            };
            needs.push(known.entry.clone());
        }
        let entry = Arc::new(Entry::new(name, self.after, self.when_failed, self.ticks));
        let supervised = Supervised {
            entry: entry.clone(),
            needs: Needs::new(needs),
            restarts: Restarts::new(self.restart, self.backoff, self.limit),
            body,
            ready_at_start: !self.says_when_ready,
            lifecycle: self.lifecycle.clone(),
            ending: tasks.ending.stop(),
        };
        tasks.start(&mut all, supervised, true);
        drop(all);
        #[cfg(feature = "health")]
        if let (Some(health), Some(kind)) = (self.health, check_kind(self.when_failed)) {
            health.passive(format!("task.{}", entry.name), kind, move || entry.verdict());
        }
        Ok(())
    }
}

#[cfg(feature = "health")]
const fn check_kind(when_failed: WhenFailed) -> Option<CheckKind> {
    match when_failed {
        WhenFailed::Unready => Some(CheckKind::Local),
        WhenFailed::Degraded => Some(CheckKind::Shared),
        WhenFailed::Shutdown | WhenFailed::Shown => None,
    }
}

impl fmt::Debug for TaskBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskBuilder")
            .field("name", &self.name)
            .field("after", &self.after)
            .field("restart", &self.restart)
            .field("backoff", &self.backoff)
            .field("limit", &self.limit)
            .field("when_failed", &self.when_failed)
            .finish_non_exhaustive()
    }
}

/// Why a task cannot be declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskError(String);

impl Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TaskError {}
