//! One instance of an admin task at a time.
use super::{AdminTask, Exclusion};
use crate::BoxError;
use octostack_core::Identity;
use octostack_core::lifecycle::{FileLock, FileLockError};
use std::any::Any;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

/// What became of an attempt to take a lock.
#[derive(Debug)]
pub enum LockAttempt {
    /// It is ours until this is dropped, or the process ends.
    Taken(Box<dyn Any + Send>),
    /// Somebody has it; who, for people.
    Busy(String),
}

/// A lock for [`AdminTask::with_lock`]: a row of a database, a lease of an orchestrator.
///
/// What holds it should let go of it when its process dies, as the session of a database does. One
/// that ends by time has to be renewed by what [`LockAttempt::Taken`] carries.
///
/// ```
/// use octostack::{AdminTask, BoxError, LockAttempt, TaskLock};
/// use octostack::prelude::*;
/// use std::future::Future;
/// use std::pin::Pin;
/// use std::sync::{Arc, Mutex};
///
/// /// In place of an advisory lock of a database, which is the session's.
/// #[derive(Clone, Default)]
/// struct Sessions(Arc<Mutex<()>>);
///
/// impl TaskLock for Sessions {
///     fn attempt<'a>(
///         &'a self,
///         name: &'a str,
///     ) -> Pin<Box<dyn Future<Output = Result<LockAttempt, BoxError>> + Send + 'a>> {
///         Box::pin(async move {
///             Ok(match Arc::strong_count(&self.0) {
///                 1 => LockAttempt::Taken(Box::new(self.0.clone())),
///                 _ => LockAttempt::Busy(format!("another session holds {name}")),
///             })
///         })
///     }
/// }
///
/// # async fn migrate(app: App<()>, args: Vec<std::ffi::OsString>) -> Result<()> { Ok(()) }
/// let task = AdminTask::new("migrate", "creates the tables", migrate).with_lock(Sessions::default());
/// ```
pub trait TaskLock: Send + Sync + 'static {
    /// Takes the lock `name` if nobody has it, without waiting for whoever has. The name is
    /// `{service}-{environment}-{task}`, of letters, digits, `-`, `_` and `.`.
    fn attempt<'a>(
        &'a self,
        name: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<LockAttempt, BoxError>> + Send + 'a>>;
}

/// Why a task did not come to its end.
pub(super) enum Denied {
    /// Another instance runs.
    Busy(String),
    /// The process was told to end before it was its turn.
    Ended,
    /// It was told to end, and did not in time.
    Cut,
    /// The lock cannot be taken at all.
    Broken(BoxError),
}

/// How soon to look again whether it is free.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

impl<S> AdminTask<S> {
    /// Takes its lock, if it has one. Waits for whoever holds it for as long as `wait` says.
    pub(super) async fn lock(
        &self,
        identity: &Identity,
        dir: Option<&Path>,
        wait: Option<Duration>,
    ) -> Result<Box<dyn Any + Send>, Denied> {
        let name = lock_name(identity, self.name);
        let mut left = wait.unwrap_or_default();
        loop {
            let attempt = match &self.exclusion {
                Exclusion::Nothing => return Ok(Box::new(())),
                Exclusion::File => on_file(dir, &name),
                Exclusion::Elsewhere(lock) => lock.attempt(&name).await,
            };
            match attempt.map_err(Denied::Broken)? {
                LockAttempt::Taken(held) => return Ok(held),
                LockAttempt::Busy(who) if left.is_zero() => return Err(Denied::Busy(who)),
                LockAttempt::Busy(who) => {
                    if Some(left) == wait {
                        tracing::info!(task = self.name, "waiting: {who}");
                    }
                    let nap = left.min(LOOK_AGAIN);
                    tokio::time::sleep(nap).await;
                    left -= nap;
                }
            }
        }
    }
}

/// The lock on a file of this machine.
fn on_file(dir: Option<&Path>, name: &str) -> Result<LockAttempt, BoxError> {
    let dir = dir.map_or_else(std::env::temp_dir, Path::to_owned);
    match FileLock::try_acquire(&dir.join(format!("{name}.lock"))) {
        Ok(lock) => Ok(LockAttempt::Taken(Box::new(lock))),
        Err(held @ FileLockError::Held { .. }) => Ok(LockAttempt::Busy(held.to_string())),
        Err(error) => Err(format!("{error}; `lifecycle.lock_dir` names another directory").into()),
    }
}

/// Whose lock it is. Other characters than those of file names become `_`.
fn lock_name(identity: &Identity, task: &str) -> String {
    let name = format!("{}-{}-{task}", identity.name, identity.environment);
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    name.chars().map(|c| if plain(c) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::lock_name;
    use octostack_core::Identity;

    #[test]
    fn a_lock_stays_in_its_directory_whatever_the_environment_is_called() {
        let identity = Identity::new("price-feed", "1.0.0").with_environment("../etc/eu west");
        assert_eq!(lock_name(&identity, "re.index"), "price-feed-.._etc_eu_west-re.index");
    }
}
