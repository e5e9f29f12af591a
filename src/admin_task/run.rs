//! From loaded settings to the exit code of an admin task.
use super::AdminTask;
use super::lock::Denied;
use crate::reload::Settings;
use crate::run::{self, Start, is_config, panicked};
use crate::service::{EX_CONFIG, Loaded, say_wrong};
use crate::{App, BoxError, Identity};
use octostack_core::config::live::Hangups;
use octostack_core::lifecycle::{Cause, LifecycleConfig, Outcome, Signals, Step, Stop};
use std::any::Any;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinError;

/// Try again later, as in `sysexits.h`.
const EX_TEMPFAIL: u8 = 75;

/// Work was cut at its limit; as that of a drain.
const CUT: u8 = 3;

/// A task that is to run, with what the command line says of it.
pub(crate) struct Job<S> {
    pub(crate) task: AdminTask<S>,
    pub(crate) arguments: Vec<OsString>,
    /// How long to wait for another instance.
    pub(crate) wait: Option<Duration>,
}

/// Runs the task to its end.
pub(crate) fn run<S: Settings>(
    identity: Identity,
    loaded: Loaded<S>,
    signals: Signals,
    job: Job<S>,
) -> ExitCode {
    run::within(identity, loaded, async |start| live(start, signals, job).await)
}

/// Inside the runtime: lock, run, end.
async fn live<S: Settings>(start: Start<S>, signals: Signals, job: Job<S>) -> ExitCode {
    // As a service does not end by it either.
    let _hangups = Hangups::install();
    // No load balancer is behind it.
    let limits = start.config.framework().lifecycle.clone();
    let limits = LifecycleConfig { lame_duck: Some(Duration::ZERO), ..limits };
    let dir = limits.lock_dir.clone();
    let (run, identity, config, _flag_file) = start.assemble(limits);
    let app = App::new(identity.clone(), &config, &run);
    to_the_end(&identity, app, signals, job, dir).await
}

/// Runs it beside a lifecycle, which ends when it has ended, or tells it to.
pub(super) async fn to_the_end<S: Settings>(
    identity: &Identity,
    app: App<S>,
    signals: Signals,
    job: Job<S>,
    dir: Option<PathBuf>,
) -> ExitCode {
    let lifecycle = app.lifecycle().clone();
    let name = job.task.name();
    // The lock stays in this channel, however the task ends: what it has started may still run.
    let (locks, lock) = oneshot::channel();

    // The end waits for it, as for requests, until it is known how it went.
    let mut listening = Some(lifecycle.listener());
    let mut work = tokio::spawn({
        let (identity, stop) = (identity.clone(), lifecycle.stop());
        async move { attempt(job, app, &identity, dir.as_deref(), (locks, stop)).await }
    });
    lifecycle.ready();
    let mut ending = pin!(lifecycle.run(signals));
    let mut done = None;
    let outcome = loop {
        tokio::select! {
            biased;
            ended = &mut work, if done.is_none() => {
                done = Some(judge(identity, name, ended));
                lifecycle.shutdown(format!("task {name} has ended"));
                drop(listening.take());
            }
            outcome = &mut ending => break outcome,
        }
    };
    work.abort();
    if done.is_none() {
        std::mem::forget(lock); // for what blocks, until the end of the process
    }
    match (outcome.ended_by, &outcome.cause, done) {
        (Some(signal), ..) => ExitCode::from(128 + signal.number()),
        (None, Cause::Failed(why), Some(code)) if code == ExitCode::SUCCESS => {
            fail(identity, name, &why.as_str().into())
        }
        (None, _, Some(code)) if code == ExitCode::SUCCESS => {
            unfinished(&outcome).map_or(code, |why| {
                fail(identity, name, &why.into());
                ExitCode::from(CUT)
            })
        }
        (None, _, Some(code)) => code,
        (None, _, None) => cut(identity, name), // it blocks, and has not even noticed
    }
}

/// What the task has returned, if it came to that.
pub(super) type Attempt = Result<Result<ExitCode, BoxError>, Denied>;

/// Runs the task once it is its turn. Gives the lock away, to be held to the end.
async fn attempt<S>(
    job: Job<S>,
    app: App<S>,
    identity: &Identity,
    dir: Option<&Path>,
    (locks, stop): (oneshot::Sender<Box<dyn Any + Send>>, Stop),
) -> Attempt {
    let Job { task, arguments, wait } = job;
    let lock = tokio::select! {
        biased;
        lock = task.lock(identity, dir, wait) => lock?,
        () = stop.reached(Step::Drain) => return Err(Denied::Ended),
    };
    // Fails when nobody waits for the task any more.
    let _held = locks.send(lock);
    // Before what it uses is closed.
    tokio::select! {
        biased;
        result = (task.run)(app, arguments) => Ok(result),
        () = stop.reached(Step::Cut) => Err(Denied::Cut),
    }
}

/// The exit code of a task that has ended. What went wrong is said.
pub(super) fn judge(
    identity: &Identity,
    name: &str,
    ended: Result<Attempt, JoinError>,
) -> ExitCode {
    match ended {
        Ok(Ok(Ok(code))) => code,
        Ok(Ok(Err(error)) | Err(Denied::Broken(error))) => fail(identity, name, &error),
        Ok(Err(Denied::Busy(who))) => {
            let why = format!("{who}; `--wait` before the name of the task waits for it");
            say(identity, &format!("task {name} did not run"), &why.into());
            ExitCode::from(EX_TEMPFAIL)
        }
        Ok(Err(Denied::Cut)) => cut(identity, name),
        Ok(Err(Denied::Ended)) => {
            let why = "it was told to end before it was its turn";
            say(identity, &format!("task {name} did not run"), &why.into());
            ExitCode::from(EX_TEMPFAIL)
        }
        Err(error) => {
            let error = match error.try_into_panic() {
                Ok(panic) => panicked(panic.as_ref()),
                Err(error) => error.to_string(),
            };
            fail(identity, name, &error.into())
        }
    }
}

/// Says that it was cut at its limit.
fn cut(identity: &Identity, name: &str) -> ExitCode {
    fail(identity, name, &"it did not end in time, and was cut".into());
    ExitCode::from(CUT)
}

/// What of a task that has returned did not come to its end.
pub(super) fn unfinished(outcome: &Outcome) -> Option<String> {
    let aborted = "what it had started did not end within lifecycle.task_timeout, and was aborted";
    let unclosed = "what it had opened did not close within lifecycle.close_timeout, or panicked";
    let parts = [(aborted, &outcome.aborted_tasks), (unclosed, &outcome.unclosed)];
    let parts = parts.into_iter().filter(|(_, names)| !names.is_empty());
    let parts: Vec<_> =
        parts.map(|(what, names)| format!("{what}: {}", names.join(", "))).collect();
    (!parts.is_empty()).then(|| format!("it returned, but {}", parts.join("; ")))
}

/// Says that it failed, and which exit code that is.
fn fail(identity: &Identity, name: &str, error: &BoxError) -> ExitCode {
    let code = say(identity, &format!("task {name} failed"), error);
    if is_config(&**error) { EX_CONFIG.into() } else { code }
}

/// Says on standard error, and as a fatal event, what went wrong.
fn say(identity: &Identity, what: &str, error: &BoxError) -> ExitCode {
    let mut text = format!("{}: {what}: {error}", identity.name);
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}"); // to a String
        cause = error.source();
    }
    say_wrong(&text);
    run::fatal("task", what, error)
}
