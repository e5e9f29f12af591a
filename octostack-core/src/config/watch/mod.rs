//! Whether a load would find anything else than the last one did.
//!
//! The guarantee is a look every second at all that was read, by content. What the system tells of
//! changes is a hint that makes the next look come earlier: it is not told of what happens on a
//! network file system, behind a link, or when there are too many watches already.

mod hint;
mod machine;

use super::disk::Consulted;
use crate::inspect::Value;
use hint::Hint;
use machine::{Machine, Step};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// How changes of files are noticed.
///
/// ```
/// use octostack_core::config::live::Watching;
/// use std::time::Duration;
///
/// let patient = Watching::new().with_interval(Duration::from_secs(10));
/// # let _ = patient;
/// ```
#[derive(Clone, Debug)]
pub struct Watching {
    interval: Duration,
    hints: bool,
}

impl Watching {
    /// A look every second, and at once where the system tells of a change (inotify).
    pub const fn new() -> Self {
        Self { interval: Duration::from_secs(1), hints: true }
    }

    /// Sets how often all files are read and compared: 1 s if not said, at least 10 ms. It is the
    /// longest time for which a change can go unnoticed.
    pub fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval.max(Duration::from_millis(10));
        self
    }

    /// Does not ask the system to tell of changes.
    pub const fn without_hints(mut self) -> Self {
        self.hints = false;
        self
    }
}

impl Default for Watching {
    fn default() -> Self {
        Self::new()
    }
}

/// How long a change has to last until it is taken, so that a file is not taken half written.
const SETTLE: Duration = Duration::from_millis(100);

/// The least time between two looks, however many hints there are.
const LEAST: Duration = Duration::from_millis(50);

/// Watches all that a load has looked at.
pub(super) struct Watch {
    machine: Machine<Consulted>,
    hint: Hint,
    interval: Duration,
    last: Instant,
    due: Instant,
    /// The look that is under way. Kept until it is over, so that looks that hang do not pile up.
    looking: Option<JoinHandle<Consulted>>,
    /// [`Consulted::look`], save in a test.
    how: fn(&Consulted) -> Consulted,
}

impl Watch {
    /// Will compare with what a load found.
    pub(super) fn new(base: Consulted, how: &Watching) -> Self {
        let interval = how.interval;
        let mut hint = if how.hints { Hint::new() } else { Hint::none("not wanted") };
        hint.watch(base.directories());
        let (machine, last) = (Machine::new(base), Instant::now());
        // At once: something may have changed since the load.
        Self { machine, hint, interval, last, due: last, looking: None, how: Consulted::look }
    }

    /// Compares with what another load found from now on.
    pub(super) fn rebase(&mut self, base: Consulted) {
        self.hint.watch(base.directories());
        self.machine.rebase(base);
        // It looks at what the load before looked at. Why it does may be news to this one too.
        if self.looking.take().is_some() {
            self.due = self.last + LEAST;
        }
    }

    /// Waits until a load would find something else, and it has settled.
    ///
    /// Cancel safe: what a dropped future has seen is seen by the next one.
    pub(super) async fn changed(&mut self) {
        loop {
            let now = self.look().await;
            // Nothing is awaited from here to the return, so no change is lost.
            self.last = Instant::now();
            let step = self.machine.see(now);
            self.due = self.last + if step == Step::Settling { SETTLE } else { self.interval };
            if step == Step::Changed {
                return;
            }
        }
    }

    /// The next look, when it is due.
    async fn look(&mut self) -> Consulted {
        loop {
            if self.looking.is_none() {
                // While it settles, another event does not make it settle sooner.
                if self.machine.is_settling() {
                    sleep_until(self.due).await;
                } else {
                    tokio::select! {
                        () = sleep_until(self.due) => {}
                        // Noted, and not waited for here: whoever drops this has heard it.
                        () = self.hint.heard() => {
                            self.due = self.due.min(self.last + LEAST);
                            continue;
                        }
                    }
                }
            }
            let looking = self.looking.get_or_insert_with(|| {
                let (base, how) = (self.machine.base().clone(), self.how);
                tokio::task::spawn_blocking(move || how(&base))
            });
            let look = looking.await;
            self.looking = None;
            match look {
                Ok(look) => return look,
                Err(_) => self.due = Instant::now() + self.interval, // the runtime ends
            }
        }
    }

    /// How it is done, for the page of the config.
    pub(super) fn status(&self) -> Value {
        Value::map([
            ("looks_every", Value::from(self.interval)),
            ("hints", self.hint.status().into()),
        ])
    }
}

#[cfg(test)]
mod tests;
