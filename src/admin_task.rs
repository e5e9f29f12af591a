//! Admin tasks: what an operator runs once, with the settings and secrets of the service.
#[cfg(feature = "cli")]
mod lock;
#[cfg(feature = "cli")]
mod run;
#[cfg(all(test, feature = "cli"))]
mod tests;

#[cfg(feature = "cli")]
pub use lock::{LockAttempt, TaskLock};
#[cfg(feature = "cli")]
pub(crate) use run::{Job, run};

#[cfg(feature = "cli")]
use crate::{App, BoxError, Service};
#[cfg(feature = "cli")]
use std::ffi::OsString;
#[cfg(feature = "cli")]
use std::fmt;
#[cfg(feature = "cli")]
use std::future::Future;
#[cfg(feature = "cli")]
use std::pin::Pin;
#[cfg(feature = "cli")]
use std::process::{ExitCode, Termination};
#[cfg(feature = "cli")]
use std::sync::Arc;

/// The admin tasks that a [`Service`](crate::Service) with settings `S` has. Implemented by
/// [`NoTasks`] for all settings, and by `TasksFor` for one type.
pub trait AdminTasks<S>: Clone + Send + 'static {
    /// All of them, in the order in which they were added.
    #[cfg(feature = "cli")]
    fn all(&self) -> &[AdminTask<S>];
}

/// There are none.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTasks;

impl<S> AdminTasks<S> for NoTasks {
    #[cfg(feature = "cli")]
    fn all(&self) -> &[AdminTask<S>] {
        &[]
    }
}

#[cfg(feature = "cli")]
type Run<S> = dyn Fn(App<S>, Vec<OsString>) -> Pin<Box<dyn Future<Output = Result<ExitCode, BoxError>> + Send>>
    + Send
    + Sync;

/// What keeps a second instance from running.
#[cfg(feature = "cli")]
#[derive(Clone)]
enum Exclusion {
    /// A lock on a file of this machine.
    File,
    Elsewhere(Arc<dyn TaskLock>),
    Nothing,
}

/// Something that an operator runs once: `{bin} admin {task} [args]`. It has the settings, secrets
/// and telemetry of the service, and no port.
///
/// Added with [`Service::admin_task`]; [`Service::task`] is the short form.
#[cfg(feature = "cli")]
pub struct AdminTask<S> {
    name: &'static str,
    about: &'static str,
    run: Arc<Run<S>>,
    exclusion: Exclusion,
}

#[cfg(feature = "cli")]
impl<S> AdminTask<S> {
    /// A task by its name on the command line, and what it does, in one line of help.
    ///
    /// `run` gets the [`App`], and the arguments after the name as they were given. What it returns
    /// is how the process exits: 0 for `Ok(())`, the code for `Ok(ExitCode)`, 1 for an error or a
    /// panic; 78 for an error that blames the settings, as [`Service::run`] has it.
    ///
    /// # Panics
    /// If the name is anything but letters, digits, `-`, `_` and `.`, or begins with `-`.
    pub fn new<F, Fut, T>(name: &'static str, about: &'static str, run: F) -> Self
    where
        F: Fn(App<S>, Vec<OsString>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, BoxError>> + Send + 'static,
        T: Termination,
    {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        assert!(
            !name.is_empty() && !name.starts_with('-') && name.chars().all(fits),
            "`{name}` is no name for an admin task: letters, digits, `-`, `_` and `.`"
        );
        let run = move |app, arguments| -> Pin<Box<dyn Future<Output = _> + Send>> {
            let running = run(app, arguments);
            Box::pin(async { Ok(running.await?.report()) })
        };
        Self { name, about, run: Arc::new(run), exclusion: Exclusion::File }
    }

    /// Lets more than one instance run at a time. Otherwise a lock on a file of this machine keeps
    /// a second one from it, in `lifecycle.lock_dir`.
    pub fn concurrent(mut self) -> Self {
        self.exclusion = Exclusion::Nothing;
        self
    }

    /// Takes a lock elsewhere in place of the one on a file: for a task of which one instance may
    /// run, however many machines there are.
    pub fn with_lock(mut self, lock: impl TaskLock) -> Self {
        self.exclusion = Exclusion::Elsewhere(Arc::new(lock));
        self
    }

    pub(crate) const fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) const fn about(&self) -> &'static str {
        self.about
    }

    /// Whether one instance runs at a time.
    pub(crate) const fn is_exclusive(&self) -> bool {
        !matches!(self.exclusion, Exclusion::Nothing)
    }

    /// Whether that is by a file of this machine.
    pub(crate) const fn locks_file(&self) -> bool {
        matches!(self.exclusion, Exclusion::File)
    }
}

#[cfg(feature = "cli")]
impl<S> Clone for AdminTask<S> {
    fn clone(&self) -> Self {
        let Self { name, about, run, exclusion } = self;
        Self { name, about, run: run.clone(), exclusion: exclusion.clone() }
    }
}

#[cfg(feature = "cli")]
impl<S> fmt::Debug for AdminTask<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminTask")
            .field("name", &self.name)
            .field("about", &self.about)
            .field("exclusive", &self.is_exclusive())
            .finish_non_exhaustive()
    }
}

/// Admin tasks of a service with settings of type `S`; made by [`Service::task`].
#[cfg(feature = "cli")]
pub struct TasksFor<S> {
    all: Vec<AdminTask<S>>,
}

#[cfg(feature = "cli")]
impl<S> TasksFor<S> {
    fn and(mut self, task: AdminTask<S>) -> Self {
        let name = task.name;
        assert!(
            self.all.iter().all(|other| other.name != name),
            "two admin tasks are called `{name}`"
        );
        self.all.push(task);
        self
    }
}

#[cfg(feature = "cli")]
impl<S: 'static> AdminTasks<S> for TasksFor<S> {
    fn all(&self) -> &[AdminTask<S>] {
        &self.all
    }
}

#[cfg(feature = "cli")]
impl<S> Clone for TasksFor<S> {
    fn clone(&self) -> Self {
        Self { all: self.all.clone() }
    }
}

#[cfg(feature = "cli")]
impl<S> fmt::Debug for TasksFor<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TasksFor").field(&self.all).finish()
    }
}

#[cfg(feature = "cli")]
impl<R> Service<R> {
    /// Adds something that an operator runs once: `{bin} admin {name} [args]`, with the settings,
    /// secrets and telemetry of the service and no port. More than one can be added.
    ///
    /// One instance runs at a time on a machine; [`admin_task`](Self::admin_task) adds one that is
    /// otherwise. For the rest see [`AdminTask::new`].
    ///
    /// ```no_run
    /// use octostack::prelude::*;
    /// use std::ffi::OsString;
    ///
    /// # #[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
    /// # struct Settings {}
    /// /// Creates the tables.
    /// async fn migrate(app: App<Settings>, args: Vec<OsString>) -> Result<()> {
    ///     info!(?args, "creating tables");
    ///     Ok(())
    /// }
    ///
    /// # async fn build(app: App<Settings>) -> Result<Router> { Ok(Router::new()) }
    /// fn main() -> ExitCode {
    ///     octostack::service!().task("migrate", "creates the tables", migrate).run(build)
    /// }
    /// ```
    ///
    /// # Panics
    /// As [`AdminTask::new`], or if there is one of that name.
    pub fn task<S, F, Fut, T>(
        self,
        name: &'static str,
        about: &'static str,
        run: F,
    ) -> Service<R, TasksFor<S>>
    where
        F: Fn(App<S>, Vec<OsString>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, BoxError>> + Send + 'static,
        T: Termination,
    {
        self.admin_task(AdminTask::new(name, about, run))
    }

    /// Adds an [`AdminTask`].
    ///
    /// # Panics
    /// If there is one of that name.
    pub fn admin_task<S>(self, task: AdminTask<S>) -> Service<R, TasksFor<S>> {
        self.with_tasks(|_| TasksFor { all: vec![task] })
    }
}

#[cfg(feature = "cli")]
impl<R, S> Service<R, TasksFor<S>> {
    /// One more admin task; see [`Service::task`].
    ///
    /// # Panics
    /// As [`AdminTask::new`], or if there is one of that name.
    pub fn task<F, Fut, T>(self, name: &'static str, about: &'static str, run: F) -> Self
    where
        F: Fn(App<S>, Vec<OsString>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, BoxError>> + Send + 'static,
        T: Termination,
    {
        self.admin_task(AdminTask::new(name, about, run))
    }

    /// One more [`AdminTask`].
    ///
    /// # Panics
    /// If there is one of that name.
    pub fn admin_task(self, task: AdminTask<S>) -> Self {
        self.with_tasks(|tasks| tasks.and(task))
    }
}
