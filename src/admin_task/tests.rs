use super::lock::Denied;
use super::run::{Job, judge, to_the_end, unfinished};
use super::{AdminTask, LockAttempt, TaskLock};
use crate::app::testing::app;
use crate::{App, BoxError, Identity, Problem, Service};
use octostack_core::lifecycle::{Signal, Signals, Step};
use std::ffi::OsString;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

async fn nothing(_: App<()>, _: Vec<OsString>) -> Result<(), BoxError> {
    Ok(())
}

fn identity() -> Identity {
    Identity::new("test", "1.0.0").with_environment("production")
}

/// Busy for the first attempts.
struct Elsewhere(AtomicUsize);

impl TaskLock for Elsewhere {
    fn attempt<'a>(
        &'a self,
        name: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<LockAttempt, BoxError>> + Send + 'a>> {
        Box::pin(async move {
            assert_eq!(name, "test-production-migrate");
            let left = self.0.load(Ordering::Relaxed);
            self.0.store(left.saturating_sub(1), Ordering::Relaxed);
            match left {
                usize::MAX => Err("no connection".into()),
                0 => Ok(LockAttempt::Taken(Box::new(()))),
                _ => Ok(LockAttempt::Busy("session 7 has it".to_owned())),
            }
        })
    }
}

/// What comes of a lock that is busy for some attempts, and how long it took.
async fn lock(busy: usize, wait: Option<Duration>) -> (Result<(), String>, Duration) {
    let task = AdminTask::new("migrate", "creates the tables", nothing);
    let task = task.with_lock(Elsewhere(AtomicUsize::new(busy)));
    let begin = Instant::now();
    let result = task.lock(&identity(), None, wait).await;
    let result = result.map(drop).map_err(|denied| match denied {
        Denied::Busy(who) => who,
        Denied::Broken(error) => format!("broken: {error}"),
        Denied::Ended | Denied::Cut => unreachable!("nobody ends it"),
    });
    (result, begin.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_lock_elsewhere_is_waited_for_as_long_as_it_is_said() {
    let busy = Err("session 7 has it".to_owned());
    assert_eq!(lock(0, None).await, (Ok(()), Duration::ZERO));
    assert_eq!(lock(1, None).await, (busy.clone(), Duration::ZERO));
    let (result, took) = lock(10, Some(Duration::MAX)).await;
    assert!(result.is_ok() && took >= 2 * SECOND && took < 3 * SECOND, "{took:?}");
    let (result, took) = lock(10, Some(SECOND)).await;
    assert!(result == busy && took >= SECOND && took < 2 * SECOND, "{took:?}");
    let (result, _) = lock(usize::MAX, Some(SECOND)).await;
    assert_eq!(result, Err("broken: no connection".to_owned()));
}

#[test]
fn an_end_is_an_exit_code() {
    let code = |ended| judge(&identity(), "migrate", ended);
    let returned = |result| code(Ok(Ok(result)));
    assert_eq!(returned(Ok(ExitCode::from(9))), ExitCode::from(9));
    assert_eq!(returned(Err("no disk".into())), ExitCode::FAILURE);
    let settings = Problem::new("pool.size", "is too small");
    assert_eq!(returned(Err(settings.into())), ExitCode::from(78));
    assert_eq!(code(Ok(Err(Denied::Broken("no disk".into())))), ExitCode::FAILURE);
    assert_eq!(code(Ok(Err(Denied::Busy("process 7".to_owned())))), ExitCode::from(75));
    assert_eq!(code(Ok(Err(Denied::Ended))), ExitCode::from(75));
    assert_eq!(code(Ok(Err(Denied::Cut))), ExitCode::from(3));
}

#[tokio::test]
async fn a_panic_is_a_failure() {
    let panicked = tokio::spawn(async { panic!("on purpose") }).await;
    assert_eq!(judge(&identity(), "migrate", panicked), ExitCode::FAILURE);
}

#[test]
#[should_panic(expected = "two admin tasks are called `migrate`")]
fn two_of_one_name_are_refused() {
    let service = Service::new(identity()).task("migrate", "creates the tables", nothing);
    let _ = service.task("migrate", "creates them again", nothing);
}

#[test]
#[should_panic(expected = "`../migrate` is no name for an admin task")]
fn a_name_stays_on_the_command_line_and_in_its_directory() {
    let _ = AdminTask::new("../migrate", "creates the tables", nothing);
}

/// A lock that knows whether it is held.
#[derive(Clone, Default)]
struct Watched(Arc<AtomicBool>);

struct Held(Watched);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Relaxed);
    }
}

impl TaskLock for Watched {
    fn attempt<'a>(
        &'a self,
        _: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<LockAttempt, BoxError>> + Send + 'a>> {
        self.0.store(true, Ordering::Relaxed);
        let held = Held(self.clone());
        Box::pin(async { Ok(LockAttempt::Taken(Box::new(held))) })
    }
}

/// The exit code of a task, and whether its lock was held when resources closed.
async fn ends<F, Fut>(signals: Signals, run: F) -> (ExitCode, bool)
where
    F: Fn(App<()>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    let (app, _source) = app::<()>(&serde_json::json!({}));
    let lock = Watched::default();
    let task = AdminTask::new("migrate", "creates the tables", move |app, _| run(app));
    let job = Job { task: task.with_lock(lock.clone()), arguments: Vec::new(), wait: None };
    let (held, seen) = (lock.0.clone(), Arc::new(AtomicBool::new(false)));
    let note = seen.clone();
    app.on_close("pool", move || async move {
        note.store(held.load(Ordering::Relaxed), Ordering::Relaxed);
    });
    let code = to_the_end(&identity(), app, signals, job, None).await;
    assert!(!lock.0.load(Ordering::Relaxed), "it is let go of in the end");
    (code, seen.load(Ordering::Relaxed))
}

#[tokio::test(start_paused = true)]
async fn the_lock_is_held_until_resources_are_closed_however_the_task_ends() {
    let (_nobody, signals) = Signals::manual();
    assert_eq!(ends(signals, |_| async { Ok(()) }).await, (ExitCode::SUCCESS, true));
    let (_nobody, signals) = Signals::manual();
    let fails = ends(signals, |_| async { Err("no disk".into()) }).await;
    assert_eq!(fails, (ExitCode::FAILURE, true));
    let (_nobody, signals) = Signals::manual();
    let panics = ends(signals, |_| async { panic!("on purpose") }).await;
    assert_eq!(panics, (ExitCode::FAILURE, true));
    let (kill, signals) = Signals::manual();
    kill.send(Signal::Terminate).unwrap();
    let cut = ends(signals, |_| std::future::pending()).await;
    assert_eq!(cut, (ExitCode::from(3), true));
}

#[tokio::test(start_paused = true)]
async fn what_it_has_started_and_did_not_end_is_not_a_success() {
    let (_nobody, signals) = Signals::manual();
    let leaves = |ends: bool| {
        move |app: App<()>| async move {
            app.task("writer").run(move |task| async move {
                task.stop().reached(if ends { Step::Drain } else { Step::Cut }).await;
                Ok::<_, BoxError>(())
            })?;
            Ok(())
        }
    };
    assert_eq!(ends(signals, leaves(false)).await.0, ExitCode::from(3));
    let (_nobody, signals) = Signals::manual();
    assert_eq!(ends(signals, leaves(true)).await.0, ExitCode::SUCCESS);

    let (_nobody, signals) = Signals::manual();
    let clings = |app: App<()>| async move {
        app.on_close("file", std::future::pending);
        Ok(())
    };
    assert_eq!(ends(signals, clings).await.0, ExitCode::from(3));
    let (_nobody, signals) = Signals::manual();
    let silent = |app: App<()>| async move {
        app.lifecycle().on_flush("traces", std::future::pending);
        Ok(())
    };
    assert_eq!(ends(signals, silent).await.0, ExitCode::SUCCESS, "the collector is to blame");
}

#[tokio::test(start_paused = true)]
async fn all_that_did_not_come_to_its_end_is_said() {
    let (app, _source) = app::<()>(&serde_json::json!({}));
    app.on_close("file", std::future::pending);
    app.lifecycle().spawn("writer", |_| std::future::pending());
    app.lifecycle().shutdown("task migrate has ended");
    let (_nobody, signals) = Signals::manual();
    let outcome = app.lifecycle().run(signals).await;
    assert_eq!(
        unfinished(&outcome).unwrap(),
        "it returned, but what it had started did not end within lifecycle.task_timeout, and was \
         aborted: writer; what it had opened did not close within lifecycle.close_timeout, or \
         panicked: file"
    );
}

#[tokio::test]
async fn a_lock_that_cannot_be_taken_says_where_to_change_that() {
    let task = AdminTask::new("migrate", "creates the tables", nothing);
    let denied = task.lock(&identity(), Some(Path::new("/nowhere")), None).await;
    let Err(Denied::Broken(error)) = denied else { panic!("there is no such directory") };
    let error = error.to_string();
    assert!(error.ends_with("; `lifecycle.lock_dir` names another directory"), "{error}");
}
