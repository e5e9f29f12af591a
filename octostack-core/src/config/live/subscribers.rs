//! Those who depend on the settings: asked first, told afterwards.

use super::outcome::Refused;
use crate::inspect::{Event, Problem};
use crate::sync::lock;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

/// The settings before and after, for those who are asked about them.
#[derive(Debug)]
#[non_exhaustive]
pub struct Change<'a, F, S> {
    /// What is in effect.
    pub old: Side<'a, F, S>,
    /// What is to be in effect.
    pub new: Side<'a, F, S>,
    /// The keys whose values differ, such as `inventory.timeout`; at least one.
    pub keys: &'a [String],
}

/// All settings of one generation.
#[derive(Debug)]
#[non_exhaustive]
pub struct Side<'a, F, S> {
    /// The framework's sections.
    pub framework: &'a F,
    /// The service's own settings.
    pub settings: &'a S,
}

/// What is to be done once all have agreed. It runs after the settings were swapped.
#[must_use = "a commit does nothing until the reload runs it"]
pub struct Commit(Option<Box<dyn FnOnce() + Send>>);

impl Commit {
    /// Nothing is to be done: whoever reads the settings sees the new ones.
    pub const fn nothing() -> Self {
        Self(None)
    }

    /// Does `work`, which must not fail and should not take long: the reload waits for it.
    pub fn new(work: impl FnOnce() + Send + 'static) -> Self {
        Self(Some(Box::new(work)))
    }

    /// Does it now. A reload does that; call it in tests of what you prepare.
    pub fn run(self) {
        if let Some(work) = self.0 {
            work();
        }
    }
}

impl fmt::Debug for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Commit(work)" } else { "Commit(nothing)" })
    }
}

pub(super) type Prepare<F, S> =
    Box<dyn Fn(&Change<'_, F, S>) -> Result<Commit, Vec<Problem>> + Send + Sync>;

/// All of them, in the order in which they came.
pub(super) struct Subscribers<F, S> {
    list: Mutex<Vec<Arc<Subscriber<F, S>>>>,
}

struct Subscriber<F, S> {
    name: String,
    prepare: Prepare<F, S>,
}

impl<F, S> Default for Subscribers<F, S> {
    fn default() -> Self {
        Self { list: Mutex::default() }
    }
}

impl<F, S> Subscribers<F, S> {
    pub(super) fn add(&self, name: String, prepare: Prepare<F, S>) {
        lock(&self.list).push(Arc::new(Subscriber { name, prepare }));
    }

    /// Asks everyone, also after one has refused: whoever mends the config wants the whole list.
    pub(super) fn prepare(
        &self,
        change: &Change<'_, F, S>,
    ) -> Result<Vec<(String, Commit)>, Refused> {
        let list = lock(&self.list).clone(); // a subscriber may bring another
        let mut commits = Vec::new();
        let mut problems = Vec::new();
        for subscriber in &list {
            let asked = catch_unwind(AssertUnwindSafe(|| (subscriber.prepare)(change)));
            match asked {
                Ok(Ok(commit)) => commits.push((subscriber.name.clone(), commit)),
                Ok(Err(refusal)) if refusal.is_empty() => {
                    let what = format!("{} refuses the change and says no reason", subscriber.name);
                    problems.push(Problem::new("", what));
                }
                Ok(Err(refusal)) => problems.extend(refusal),
                Err(_) => {
                    let what = format!(
                        "{} panicked when it was asked; the log says where",
                        subscriber.name
                    );
                    problems.push(Problem::new("", what));
                }
            }
        }
        if problems.is_empty() { Ok(commits) } else { Err(Refused { problems }) }
    }
}

/// Does what was agreed on. One that panics does not keep the others from it.
pub(super) fn run(commits: Vec<(String, Commit)>) -> Vec<Event> {
    let mut events = Vec::new();
    for (name, Commit(work)) in commits {
        let Some(work) = work else { continue };
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
            let what = format!("{name} panicked while it followed the config; the log says where");
            events.push(Event::new("config_commit_failed", "config", what));
        }
    }
    events
}
