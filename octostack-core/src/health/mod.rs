//! Is this instance well, and should it get traffic?
//!
//! Checks run in the background, never in the request of whoever asks: a probe costs two atomic
//! loads and a clock read, however slow the database is and however many probes come. What a
//! failing check means depends on its kind:
//!
//! | [`CheckKind`] | example | when it fails |
//! |---|---|---|
//! | `Local` | a cache that must be loaded, a disk that must be writable | not ready: this instance gets no traffic |
//! | `Shared` | a database that every instance uses | degraded: a warning, still ready |
//! | `Informational` | a mirror that is behind | shown, and nothing else |
//!
//! The difference between the first two matters most: if all instances go unready because the one
//! database they share is slow, an incident in one part becomes an outage of the whole.
//!
//! A result counts only after some in a row (see [`Schedule`]), a check that panics or takes too
//! long has failed, and a check from which nothing is heard any more does not stay green.
//! [`Health::check`] adds a check that does something; [`Health::passive`] adds one that only looks
//! at what the process knows anyway, such as the state of a circuit breaker.
//!
//! Health knows nothing of start and shutdown, which are the lifecycle's. `Probes` (with feature
//! `server`) answers from both, and `Health::report_to` (with feature `lifecycle`) makes failing
//! checks the phase `degraded`.
//!
//! ```
//! use octostack_core::Registry;
//! use octostack_core::health::{CheckKind, Health, Standing};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let health = Health::new(&Registry::new());
//! health.check("scratch-disk", CheckKind::Local, || async {
//!     std::fs::metadata(std::env::temp_dir()).map(drop)
//! });
//! assert_eq!(health.standing(), Standing::Unready, "not known yet");
//!
//! let background = tokio::spawn({
//!     let health = health.clone();
//!     async move { health.run().await }
//! });
//! assert_eq!(health.changed(Standing::Unready).await, Standing::Good);
//! # background.abort();
//! # }
//! ```
mod check;
#[cfg(feature = "server")]
mod probe;
mod schedule;
mod state;
#[cfg(test)]
mod tests;

#[cfg(feature = "server")]
pub use probe::{Probe, Probes};
pub use schedule::{Initial, Schedule};

use crate::inspect::{Event, Problem, Registry};
use crate::sync::lock;
use crate::{Clock, SystemClock};
use check::Check;
use state::Change;
use std::fmt::{self, Display};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// What it means when a check fails; see the [module docs](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// This instance is at fault: it is not ready.
    Local,
    /// Something that all instances use is at fault: degraded, still ready.
    Shared,
    /// Worth showing and nothing else.
    Informational,
}

impl CheckKind {
    /// Its name on status pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Shared => "shared",
            Self::Informational => "informational",
        }
    }
}

/// What a check says after its thresholds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Unknown,
    Passing,
    Failing,
}

impl Status {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Passing => "passing",
            Self::Failing => "failing",
        }
    }
}

/// What all checks together say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Standing {
    /// Nothing is wrong.
    Good,
    /// A shared check fails: still ready.
    Degraded,
    /// A local check fails or has no result yet: not ready.
    Unready,
}

impl Standing {
    /// Its name on status pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Degraded => "degraded",
            Self::Unready => "unready",
        }
    }

    /// What one check adds to the whole.
    const fn of(kind: CheckKind, status: Status) -> Self {
        match (kind, status) {
            (CheckKind::Local, Status::Failing | Status::Unknown) => Self::Unready,
            (CheckKind::Shared, Status::Failing) => Self::Degraded,
            _ => Self::Good,
        }
    }

    const fn from_u8(number: u8) -> Self {
        match number {
            0 => Self::Good,
            1 => Self::Degraded,
            _ => Self::Unready,
        }
    }
}

/// The checks of a service. Clones are cheap and share them.
#[derive(Clone)]
pub struct Health {
    shared: Arc<Shared>,
}

struct Shared {
    registry: Registry,
    /// What `fresh_until` counts from.
    origin: Instant,
    checks: Mutex<Vec<Arc<Check>>>,
    standing: AtomicU8,
    /// Milliseconds after `origin` at which the first result gets stale; until then `standing` is
    /// true without a look at the checks.
    fresh_until: AtomicU64,
    changed: Notify,
    added: Notify,
    running: tokio::sync::Mutex<()>,
}

impl Health {
    /// Health without checks, which is good. Checks will be listed in `registry`.
    pub fn new(registry: &Registry) -> Self {
        Self {
            shared: Arc::new(Shared {
                registry: registry.clone(),
                origin: SystemClock.now(),
                checks: Mutex::default(),
                standing: AtomicU8::new(Standing::Good as u8),
                fresh_until: AtomicU64::new(u64::MAX),
                changed: Notify::new(),
                added: Notify::new(),
                running: tokio::sync::Mutex::default(),
            }),
        }
    }

    /// Adds a check with the default [`Schedule`].
    ///
    /// The reason of a failure is shown to operators: keep secrets out of it.
    pub fn check<F, Fut, E>(&self, name: impl Into<String>, kind: CheckKind, run: F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Display,
    {
        self.add(Check::new(name.into(), kind, Schedule::new(), run));
    }

    /// Adds a check with a schedule of its own.
    ///
    /// # Errors
    /// Everything that is wrong with the schedule; the check is not added then.
    pub fn check_with<F, Fut, E>(
        &self,
        name: impl Into<String>,
        kind: CheckKind,
        schedule: Schedule,
        run: F,
    ) -> Result<(), Vec<Problem>>
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Display,
    {
        schedule.validate()?;
        self.add(Check::new(name.into(), kind, schedule, run));
        Ok(())
    }

    /// Adds a check that only looks at what the process knows anyway.
    ///
    /// `look` is called once a second and each answer is believed at once; it must not block.
    pub fn passive<F>(&self, name: impl Into<String>, kind: CheckKind, look: F)
    where
        F: Fn() -> Result<(), String> + Send + Sync + 'static,
    {
        // Inside the future, so that a panic of `look` is one of the check.
        let look = Arc::new(look);
        let run = move || {
            let look = look.clone();
            async move { look() }
        };
        self.add(Check::new(name.into(), kind, Schedule::passive(), run));
    }

    fn add(&self, check: Check) {
        let check = Arc::new(check);
        self.shared.registry.register(&check);
        lock(&self.shared.checks).push(check);
        self.shared.settle(SystemClock.now());
        self.shared.changed.notify_waiters(); // a local check is not known yet
        self.shared.added.notify_one();
    }

    /// Runs the checks for as long as the future is polled; later additions too.
    ///
    /// Each check runs in a task of its own, so that one that blocks holds up no other. They end
    /// when the future is dropped. A second call waits until the first has ended.
    pub async fn run(&self) {
        let _only_one = self.shared.running.lock().await;
        let mut tasks = JoinSet::new();
        let mut started = 0;
        loop {
            let new = lock(&self.shared.checks)[started..].to_vec();
            started += new.len();
            for check in new {
                tasks.spawn(repeat(self.shared.clone(), check));
            }
            tokio::select! {
                () = self.shared.added.notified() => {}
                () = self.shared.stale() => {}
            }
        }
    }

    /// What all checks together say now.
    pub fn standing(&self) -> Standing {
        self.shared.standing(SystemClock.now())
    }

    /// Waits until the standing is another than `seen`, and returns it.
    pub async fn changed(&self, seen: Standing) -> Standing {
        let mut change = std::pin::pin!(self.shared.changed.notified());
        loop {
            change.as_mut().enable(); // before the look, so that no change is missed between
            let now = self.standing();
            if now != seen {
                return now;
            }
            change.as_mut().await;
            change.set(self.shared.changed.notified());
        }
    }

    /// The names of the local and shared checks that fail.
    pub fn failing(&self) -> Vec<String> {
        let checks = lock(&self.shared.checks);
        let failing = checks.iter().filter(|check| {
            let status = lock(&check.state).status;
            status == Status::Failing && check.kind != CheckKind::Informational
        });
        failing.map(|check| check.name.clone()).collect()
    }

    /// Keeps `lifecycle` told whether a check fails, which is `ready <-> degraded`, for as long as
    /// the future is polled.
    #[cfg(feature = "lifecycle")]
    pub async fn report_to(&self, lifecycle: &crate::lifecycle::Lifecycle) {
        let mut change = std::pin::pin!(self.shared.changed.notified());
        loop {
            change.as_mut().enable();
            let failing = self.failing();
            let why = format!("failing checks: {}", failing.join(", "));
            lifecycle.set_degraded((!failing.is_empty()).then_some(why));
            change.as_mut().await;
            change.set(self.shared.changed.notified());
        }
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health")
            .field("standing", &self.standing())
            .field("checks", &lock(&self.shared.checks).len())
            .finish_non_exhaustive()
    }
}

async fn repeat(shared: Arc<Shared>, check: Arc<Check>) {
    loop {
        let result = check.attempt().await;
        let now = SystemClock.now();
        let change = lock(&check.state).record(result, &check.schedule, now);
        shared.settle(now);
        shared.announce(change.map(|change| (check.clone(), change)));
        tokio::time::sleep(check.schedule.pause(fastrand::f64())).await;
    }
}

impl Shared {
    fn standing(&self, now: Instant) -> Standing {
        if self.millis(now) < self.fresh_until.load(Ordering::Acquire) {
            Standing::from_u8(self.standing.load(Ordering::Acquire))
        } else {
            self.settle(now)
        }
    }

    /// Sums the checks up, after those that got stale have been failed.
    fn settle(&self, now: Instant) -> Standing {
        let mut changes = Vec::new();
        let mut standing = Standing::Good;
        let mut fresh_until = u64::MAX;
        // Held to the end: an older sum must not overwrite a newer one.
        let checks = lock(&self.checks);
        for check in checks.iter() {
            let mut state = lock(&check.state);
            let change = state.age(&check.schedule, now);
            changes.extend(change.map(|change| (check.clone(), change)));
            standing = standing.max(Standing::of(check.kind, state.status));
            let until = state.fresh_until(&check.schedule);
            // One more, since `millis` rounds down: when it is reached, the result is stale indeed.
            let until = until.map_or(u64::MAX, |at| self.millis(at).saturating_add(1));
            fresh_until = fresh_until.min(until);
        }
        self.standing.store(standing as u8, Ordering::Release);
        self.fresh_until.store(fresh_until, Ordering::Release);
        drop(checks);
        self.announce(changes);
        standing
    }

    /// Waits until a result has got stale, and draws the consequences.
    async fn stale(&self) {
        loop {
            let until = self.fresh_until.load(Ordering::Acquire);
            let left = until.saturating_sub(self.millis(SystemClock.now()));
            if left == 0 {
                self.settle(SystemClock.now());
                return;
            }
            // Looks again now and then, since results move the moment.
            let nap = Duration::from_millis(left).min(Duration::from_secs(5));
            tokio::time::sleep(nap).await;
        }
    }

    fn announce(&self, changes: impl IntoIterator<Item = (Arc<Check>, Change)>) {
        for (check, Change { from, to }) in changes {
            let reason = lock(&check.state).reason.clone();
            let message = match &reason {
                Some(reason) => format!("{}: {reason}", to.as_str()),
                None => to.as_str().to_owned(),
            };
            let event = Event::new("health_check", check.name.as_str(), message)
                .with("kind", check.kind.as_str())
                .with("from", from.as_str())
                .with("to", to.as_str())
                .with("reason", reason);
            self.registry.emit(event);
            self.changed.notify_waiters();
        }
    }

    fn millis(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.origin).as_millis();
        u64::try_from(since).unwrap_or(u64::MAX)
    }
}
