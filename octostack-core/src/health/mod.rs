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
//! | `Required` | a shared one without which nothing can be answered | not ready |
//! | `Informational` | a mirror that is behind | shown, and nothing else |
//!
//! The difference between the first two matters most: if all instances go unready because the one
//! database they share is slow, an incident in one part becomes an outage of the whole. `Required` is
//! for who wants that: where every answer needs the database, and what is in front of the instances
//! has a better answer than they have.
//!
//! A result counts only after some in a row (see [`Schedule`]), a check that panics or takes too
//! long has failed, and a check from which nothing is heard any more does not stay green.
//! [`Health::check`] adds a check that does something; [`Health::passive`] adds one that only looks
//! at what the process knows anyway, such as the state of a circuit breaker. Ready-made ones are in
//! `checks` (feature `checks`). [`Health::group`] names some of them, to be asked for together.
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
#[cfg(feature = "checks")]
pub mod checks;
mod examine;
#[cfg(feature = "server")]
mod probe;
mod pulse;
#[cfg(feature = "server")]
mod report;
mod runner;
mod schedule;
mod standing;
mod state;
#[cfg(test)]
mod tests;

pub use examine::{Examination, Examine};
#[cfg(feature = "server")]
pub use probe::{Probe, Probes};
#[cfg(feature = "server")]
pub use report::Report;
pub use schedule::{Initial, Schedule};
pub use standing::{CheckKind, Standing};

use crate::inspect::{Event, Problem, Registry};
use crate::sync::lock;
use crate::{Clock, SystemClock};
use check::Check;
use pulse::{BEAT, Verdict};
use runner::{Shared, repeat};
use standing::Status;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// The checks of a service. Clones are cheap and share them.
#[derive(Clone)]
pub struct Health {
    shared: Arc<Shared>,
}

impl Health {
    /// Health without checks, which is good. Checks will be listed in `registry`.
    pub fn new(registry: &Registry) -> Self {
        Self { shared: Arc::new(Shared::new(registry)) }
    }

    /// Adds a check with the default [`Schedule`].
    ///
    /// The reason of a failure is shown to operators: keep secrets out of it. Give each check a
    /// name of its own, since checks of one name add up to one gauge.
    pub fn check(&self, name: impl Into<String>, kind: CheckKind, what: impl Examine) {
        self.add(Check::new(name.into(), kind, Schedule::new(), what));
    }

    /// Adds a check with a schedule of its own.
    ///
    /// # Errors
    /// Everything that is wrong with the schedule; the check is not added then.
    pub fn check_with(
        &self,
        name: impl Into<String>,
        kind: CheckKind,
        schedule: Schedule,
        what: impl Examine,
    ) -> Result<(), Vec<Problem>> {
        schedule.validate()?;
        self.add(Check::new(name.into(), kind, schedule, what));
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

    /// Names some checks, so that a probe asks for them together: `/readyz?group=name` of the admin
    /// port. A second group of a name replaces the first.
    ///
    /// Who asks for a group wants to know whether all of it works: a member that fails fails the
    /// group, also one that is shared or informational, and so does one without a result yet. `checks` are names; one that no check has
    /// (yet) is told and fails nothing.
    ///
    /// ```
    /// # use octostack_core::Registry;
    /// # use octostack_core::health::Health;
    /// # let health = Health::new(&Registry::new());
    /// health.group("storage", ["database", "scratch-disk"]);
    /// ```
    pub fn group<N: Into<String>>(
        &self,
        name: impl Into<String>,
        checks: impl IntoIterator<Item = N>,
    ) {
        let checks = checks.into_iter().map(Into::into).collect();
        lock(&self.shared.groups).insert(name.into(), checks);
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
        let pulse = self.shared.clone();
        tasks.spawn(async move {
            loop {
                pulse.pulse.beat();
                tokio::time::sleep(BEAT).await;
            }
        });
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

    /// Judges whether the runtime of [`run`](Self::run) still gets to run tasks, for as long as the
    /// future is polled: in a runtime in a thread of its own, since one that is blocked does not
    /// notice. While there was none for `limit`, liveness fails: a restart helps.
    ///
    /// `limit` is asked each time; zero judges nobody. A process that stood still as a whole is not
    /// blamed.
    pub async fn judge(&self, limit: impl Fn() -> Duration) {
        loop {
            let (what, message) = match self.shared.pulse.listen(SystemClock.now(), limit()) {
                Verdict::Same => {
                    tokio::time::sleep(BEAT).await;
                    continue;
                }
                Verdict::Stalled(time) => {
                    let time = crate::duration::format(time);
                    ("runtime_stalled", format!("no task got to run for {time}: something blocks"))
                }
                Verdict::Recovered(time) => {
                    let time = crate::duration::format(time);
                    ("runtime_recovered", format!("tasks run again, after {time}"))
                }
            };
            self.shared.registry.emit(Event::new(what, "runtime", message));
        }
    }

    /// Whether [`judge`](Self::judge) has found that no task gets to run.
    pub fn is_stalled(&self) -> bool {
        self.shared.pulse.is_stalled()
    }

    /// What all checks together say now.
    pub fn standing(&self) -> Standing {
        self.shared.standing(SystemClock.now())
    }

    /// Waits until the standing is another than `seen`, and returns it.
    pub async fn changed(&self, seen: Standing) -> Standing {
        loop {
            // Before the look: it hears of every change from here on, awaited or not.
            let change = self.shared.changed.notified();
            let now = self.standing();
            if now != seen {
                return now;
            }
            change.await;
        }
    }

    #[cfg(feature = "server")]
    fn members(&self, group: &str) -> Option<Vec<String>> {
        lock(&self.shared.groups).get(group).cloned()
    }

    #[cfg(feature = "server")]
    fn checks(&self) -> Vec<Arc<Check>> {
        // Those of which nothing is heard any more have failed.
        self.standing();
        lock(&self.shared.checks).clone()
    }

    /// The names of the checks that fail, but for informational ones.
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
        loop {
            let change = self.shared.changed.notified();
            let failing = self.failing();
            let why = format!("failing checks: {}", failing.join(", "));
            lifecycle.set_degraded((!failing.is_empty()).then_some(why));
            change.await;
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
