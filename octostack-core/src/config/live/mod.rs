//! Settings that change while the service runs: one path for every change, all or nothing.
//!
//! A reload goes wrong in quiet ways. Half of it is applied when the other half turns out to be
//! wrong; a key that was deleted lives on, because new values were merged over old ones; a value
//! that only a restart can change is shown as if it were in effect; a file that nobody could parse
//! is noticed at the next start, at night. [`Live`] does it in one way, whoever asks for it:
//!
//! 1. **Read** everything anew, from defaults to command line: the whole, not what is different.
//! 2. **Check** it as at the start. What only a restart can change keeps its value and is
//!    [reported](Live::status).
//! 3. **Ask** everyone who [depends on it](Live::on_reload). Each may refuse, and says why.
//! 4. **Swap**: one store, after which every reader sees the new settings and none of the old.
//! 5. **Tell** those who were asked; what they do now cannot fail.
//!
//! If anything is wrong in 1 to 3 the last good settings stay, whole. What was wrong stands on the
//! status page, in the metrics, among the events and in a [health check](Live::standing), until a
//! reload succeeds.
//!
//! A reload that changes no value in effect is no new generation: a comment, another order, the
//! same number from another file.
//!
//! # Example
//!
//! ```
//! use octostack_core::config::Loader;
//! use octostack_core::config::live::{Commit, Live, Trigger};
//! use octostack_core::inspect::Problem;
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize, JsonSchema)]
//! struct Settings {
//!     pool_size: u32,
//! }
//!
//! let file = std::env::temp_dir().join(format!("octostack-live-{}.toml", std::process::id()));
//! std::fs::write(&file, "pool_size = 10")?;
//! let loader = Loader::new("ORDERS_").file(&file);
//! let live = Live::<(), Settings>::start(loader, |_, _| Vec::new())?;
//!
//! live.on_reload("pool", |change| {
//!     let size = change.new.settings.pool_size;
//!     if size > 50 {
//!         return Err(vec![Problem::new("pool_size", "the database allows 50")]);
//!     }
//!     Ok(Commit::new(move || println!("the pool has {size} places from now on")))
//! });
//!
//! std::fs::write(&file, "pool_size = 20")?;
//! let reloaded = live.reload(Trigger::Code).unwrap();
//! assert_eq!((reloaded.generation, &*reloaded.changed), (2, &["pool_size".to_owned()][..]));
//!
//! std::fs::write(&file, "pool_size = 100")?;
//! let refused = live.reload(Trigger::Code).unwrap_err();
//! assert_eq!(refused.problems[0].to_string(), "pool_size: the database allows 50");
//! assert_eq!(live.settings().load().pool_size, 20);
//! # std::fs::remove_file(&file)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
mod follow;
mod history;
mod outcome;
mod page;
mod state;
mod subscribers;

pub use super::watch::Watching;
pub use follow::Hangups;
pub use outcome::{Refused, Reloaded, Trigger};
pub use subscribers::{Change, Commit, Side};

use super::load::Reloading;
use super::loader::Attempt;
use super::refusal::Screen;
use super::{Errors, Loaded, Loader, Report, Waiting};
use crate::Dynamic;
use crate::inspect::{Event, Problem, Registry};
use crate::sync::lock;
use follow::Base;
use history::{Generation, History};
use outcome::Counts;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use state::State;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;
use subscribers::Subscribers;

/// Settings that can be loaded again while they are used; see the [module docs](self).
///
/// `F` are the framework's sections, `S` the service's own settings. Clones are cheap and share
/// everything.
pub struct Live<F, S> {
    shared: Arc<Shared<F, S>>,
}

type Rules<F, S> = Box<dyn Fn(&F, &S) -> Vec<Problem> + Send + Sync>;

struct Shared<F, S> {
    loader: Loader,
    rules: Rules<F, S>,
    environment: String,
    settings: Dynamic<S>,
    subscribers: Subscribers<F, S>,
    /// Held while a reload runs, so that there is one at a time. Code of subscribers runs under it.
    reloading: Mutex<()>,
    /// Those that wait for it as tasks do so here: a reload that hangs must not take a thread of
    /// the runtime for each of them.
    queue: Arc<tokio::sync::Mutex<()>>,
    /// What pages show. Held for a moment each time.
    state: Mutex<State<F>>,
    base: Base,
    registry: Mutex<Option<Registry>>,
}

impl<F, S> Live<F, S>
where
    F: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static,
    S: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static,
{
    /// Loads the settings for the first time; generation 1.
    ///
    /// `rules` are asked about what no single value shows, now and at each reload, as in
    /// [`Loader::load_with`].
    ///
    /// # Errors
    /// Everything that is wrong, in one report.
    pub fn start(
        loader: Loader,
        rules: impl Fn(&F, &S) -> Vec<Problem> + Send + Sync + 'static,
    ) -> Result<Self, Errors> {
        let Attempt { loaded, consulted, documents } = loader.attempt(&rules, None, None);
        let Reloading { loaded: mut first, kept, sources, screen, .. } = loaded?;
        loader.accepted();
        first.warnings.extend(documents.accepted());
        let now = SystemTime::now();
        let history = History::new(Generation::first(now, first.report));
        let state = State {
            framework: Arc::new(first.framework),
            screen: Arc::new(screen),
            files: first.files,
            warnings: first.warnings,
            history,
            waiting: Vec::new(),
            succeeded_at: now,
            last: None,
            counts: Counts::default(),
            failed: None,
            secrets_failed: None,
        };
        let shared = Shared {
            loader,
            rules: Box::new(rules),
            environment: first.environment,
            settings: Dynamic::new(first.settings),
            subscribers: Subscribers::default(),
            reloading: Mutex::default(),
            queue: Arc::default(),
            state: Mutex::new(state),
            base: Base::new(consulted, kept, sources),
            registry: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Loads everything again, in this thread: it reads files.
    ///
    /// One at a time: a second one waits for the first. Do not call it from code that a reload
    /// runs.
    ///
    /// # Errors
    /// What is wrong. The last good settings stay.
    pub fn reload(&self, trigger: Trigger) -> Result<Reloaded, Arc<Refused>> {
        let shared = &*self.shared;
        let _one_at_a_time = lock(&shared.reloading);
        let kept = shared.base.kept();
        // A secret that changed is no reason to read what may be wrong meanwhile.
        let by_secrets = trigger == Trigger::Secrets;
        let sources = by_secrets.then(|| shared.base.sources()).flatten();
        // Code of the settings' own types runs in there.
        let attempt = || shared.loader.attempt(&shared.rules, Some(&kept), sources.as_deref());
        let Ok(attempt) = catch_unwind(AssertUnwindSafe(attempt)) else {
            return Err(self.refuse(trigger, Refused::panicked()));
        };
        let Attempt { loaded, consulted, documents } = attempt;
        if sources.is_none() {
            shared.base.rebase(consulted);
        }
        let Reloading { loaded, waiting, screen, sources: said, .. } = match loaded {
            Ok(reloading) => reloading,
            Err(errors) => return Err(self.refuse(trigger, Refused::of(&errors))),
        };
        let (old_framework, old_screen, old_report) = {
            let state = lock(&shared.state);
            let report = state.history.current().report.clone();
            (state.framework.clone(), state.screen.clone(), report)
        };
        let changed = loaded.report.differing_keys(&old_report);
        let commits = if changed.is_empty() {
            Vec::new()
        } else {
            let old_settings = shared.settings.load();
            let change = Change {
                old: Side { framework: &*old_framework, settings: &old_settings.value },
                new: Side { framework: &loaded.framework, settings: &loaded.settings },
                keys: &changed,
            };
            match shared.subscribers.prepare(&change) {
                Ok(commits) => commits,
                Err(refused) => {
                    let refused = refused.screened(&[&old_screen, &screen]);
                    return Err(self.refuse(trigger, refused));
                }
            }
        };
        let mut loaded = loaded;
        if sources.is_none() {
            loaded.warnings.extend(documents.accepted());
            shared.base.said(said);
        }
        shared.loader.accepted();
        let reloaded = self.apply(&trigger, (loaded, screen), changed, waiting);
        self.emit(subscribers::run(commits));
        Ok(reloaded)
    }

    /// Puts settings that all have agreed to in the place of those in effect.
    fn apply(
        &self,
        trigger: &Trigger,
        (loaded, screen): (Loaded<F, S>, Screen),
        changed: Vec<String>,
        waiting: Vec<Waiting>,
    ) -> Reloaded {
        let settings = &self.shared.settings;
        let applied = !changed.is_empty();
        let generation =
            if applied { settings.store(loaded.settings) } else { settings.generation() };
        let reloaded = Reloaded { generation, changed, waiting };
        let mut state = lock(&self.shared.state);
        let mut events = reloaded.events(trigger, &state.waiting);
        let now = SystemTime::now();
        state.succeed(now, trigger.clone(), &reloaded);
        if *trigger != Trigger::Secrets {
            let known = |warning: &&String| !state.warnings.contains(warning);
            let news = loaded.warnings.iter().filter(known);
            events.extend(news.map(|text| Event::new("config_warning", "config", text.clone())));
            state.files = loaded.files;
            state.warnings = loaded.warnings;
        }
        if applied {
            state.framework = Arc::new(loaded.framework);
            state.screen = Arc::new(screen);
            state.history.push(Generation {
                number: generation,
                at: now,
                trigger: Some(trigger.clone()),
                changed: reloaded.changed.clone(),
                report: Arc::new(loaded.report),
            });
        } else {
            state.history.moved(loaded.report);
        }
        drop(state);
        self.emit(events);
        reloaded
    }

    fn refuse(&self, trigger: Trigger, refused: Refused) -> Arc<Refused> {
        self.shared.loader.refused();
        let refused = Arc::new(refused);
        let event = refused.event(&trigger);
        lock(&self.shared.state).fail(SystemTime::now(), trigger, &refused);
        self.emit(vec![event]);
        refused
    }
}

impl<F, S> Live<F, S> {
    /// The service's own settings. Their generation is that of the whole config.
    pub fn settings(&self) -> &Dynamic<S> {
        &self.shared.settings
    }

    /// The framework's sections, as they are now.
    pub fn framework(&self) -> Arc<F> {
        lock(&self.shared.state).framework.clone()
    }

    /// The environment that the service runs in, which a reload does not change.
    pub fn environment(&self) -> &str {
        &self.shared.environment
    }

    /// Every setting in effect, with the source that won.
    pub fn report(&self) -> Arc<Report> {
        lock(&self.shared.state).history.current().report.clone()
    }

    /// What is probably not as intended, but no error.
    pub fn warnings(&self) -> Vec<String> {
        lock(&self.shared.state).warnings.clone()
    }

    /// The config files that were read, lowest first.
    pub fn files(&self) -> Vec<PathBuf> {
        lock(&self.shared.state).files.clone()
    }

    /// Asks `prepare` about every change of the settings, from now on and for as long as the
    /// process lives.
    ///
    /// It must not change anything yet: others may refuse. What is to be done once all have agreed
    /// is the [`Commit`] that it returns; that must not fail. Problems are shown with their keys
    /// as they are, such as `inventory.timeout`. Whoever panics has refused. `name` says in
    /// messages who it is.
    ///
    /// Subscribers are asked, and told, in the order in which they came.
    pub fn on_reload<P>(&self, name: impl Into<String>, prepare: P)
    where
        P: Fn(&Change<'_, F, S>) -> Result<Commit, Vec<Problem>> + Send + Sync + 'static,
    {
        self.shared.subscribers.add(name.into(), Box::new(prepare));
    }

    fn emit(&self, events: Vec<Event>) {
        let registry = lock(&self.shared.registry).clone();
        if let Some(registry) = registry {
            for event in events {
                registry.emit(event);
            }
        }
    }
}

impl<F, S> Clone for Live<F, S> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

/// Settings may hold what is not to be printed, so they are not.
impl<F, S> fmt::Debug for Live<F, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live")
            .field("environment", &self.shared.environment)
            .field("generation", &self.shared.settings.generation())
            .finish_non_exhaustive()
    }
}
