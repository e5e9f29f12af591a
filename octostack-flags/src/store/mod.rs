mod compile;
#[cfg(all(test, octostack_loom))]
mod loom_tests;
mod page;

use crate::bucketing::Bucketing;
use crate::context::Context;
use crate::declared::Declaration;
use crate::definition::{Document, LoadError};
use crate::evaluation::ErrorCode;
use crate::pin::{Current, Pinned};
use crate::snapshot::{CompiledFlag, Slot, Snapshot};
use crate::variant::{Counts, VariantValue};
use compile::compile;
use octostack_core::Dynamic;
use octostack_core::inspect::{Event, Problem, Registry, Value};
use octostack_core::sync::{Mutex, MutexGuard, lock};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

/// The flags of a process: what the code declares, as the file that was loaded last defines it.
///
/// Clones are cheap and share everything. Before anything is loaded each flag has its default in
/// code.
#[derive(Clone)]
pub struct Flags {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) registry: Registry,
    pub(crate) current: Dynamic<Snapshot>,
    pub(crate) unknown: Arc<Counts>,
    pub(crate) state: Mutex<State>,
    /// Held by a load from its beginning to its end; taken before `state`.
    loading: Mutex<()>,
}

/// Keys and values of a file, in its order.
type Entries = [(Cow<'static, str>, Value)];

/// What changes when a file is loaded or an operator overrides a flag: one at a time.
pub(crate) struct State {
    bucketing: Bucketing,
    /// The flags as the last good file has them, by key.
    flags: Vec<Arc<CompiledFlag>>,
    /// The variants that operators have chosen, by key.
    forced: BTreeMap<String, String>,
    pub(crate) source: Source,
}

/// Where the flags come from, and how the last attempt to load them went.
#[derive(Clone, Debug, Default)]
pub(crate) struct Source {
    pub(crate) origin: String,
    pub(crate) metadata: Option<Value>,
    pub(crate) loaded_at: Option<SystemTime>,
    pub(crate) error: Option<String>,
}

/// What a load has done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loaded {
    /// The generation that it made.
    pub generation: u64,
    /// How many flags the file has.
    pub flags: usize,
    /// What is wrong with single flags. Those have their defaults in code; the others work.
    pub problems: Vec<Problem>,
    /// What is odd, and how file and code do not fit.
    pub warnings: Vec<Problem>,
}

/// Describes a [`Flags`]; made by [`Flags::builder`].
#[derive(Clone, Debug)]
pub struct FlagsBuilder {
    registry: Registry,
    bucketing: Bucketing,
}

impl FlagsBuilder {
    /// Where the flags register; the default is the registry of the process.
    #[must_use]
    pub fn registry(mut self, registry: &Registry) -> Self {
        self.registry = registry.clone();
        self
    }

    /// The arithmetic of `fractional`; the default is [`Bucketing::V2`], which the flagd daemon
    /// and most of its providers have at the time of writing.
    #[must_use]
    pub const fn bucketing(mut self, bucketing: Bucketing) -> Self {
        self.bucketing = bucketing;
        self
    }

    /// Makes the flags: those that the code declares, with their defaults.
    pub fn build(self) -> Flags {
        let unknown = Arc::<Counts>::default();
        let mut fresh = Vec::new();
        let shared = Arc::new_cyclic(|store| {
            let flags = compile(store, &[], &[], &[], &mut fresh);
            let slots = flags.iter().map(|flag| Slot { flag: flag.clone(), forced: None });
            let first = Snapshot::new(slots.collect(), self.bucketing, unknown.clone());
            Shared {
                current: Dynamic::new(first),
                registry: self.registry,
                unknown,
                state: Mutex::new(State {
                    bucketing: self.bucketing,
                    flags,
                    forced: BTreeMap::new(),
                    source: Source::default(),
                }),
                loading: Mutex::new(()),
            }
        });
        shared.registry.register(&shared);
        for entry in fresh {
            shared.registry.register(&entry);
        }
        Flags { shared }
    }
}

impl Flags {
    /// Starts to describe flags.
    pub fn builder() -> FlagsBuilder {
        FlagsBuilder { registry: Registry::global().clone(), bucketing: Bucketing::V2 }
    }

    /// The flags of the process: what a [`Flag`](crate::Flag) reads where there is no request.
    pub fn global() -> &'static Self {
        static GLOBAL: OnceLock<Flags> = OnceLock::new();
        GLOBAL.get_or_init(|| Self::builder().build())
    }

    /// Replaces all flags by those of a file in flagd's format. `origin` says on pages and in
    /// events where the text comes from.
    ///
    /// What is wrong with one flag is an error of that flag alone: it has its default in code, and
    /// is told of in [`Loaded::problems`] and on `/flagz`. Counters go on, and what operators have
    /// chosen stays.
    ///
    /// # Errors
    /// If the text is no flag file at all. The flags stay as they were then; the error is on
    /// `/flagz`, `/statusz` and in the metrics until a load succeeds.
    pub fn load(&self, text: &[u8], origin: &str) -> Result<Loaded, LoadError> {
        let document = match Document::read(text) {
            Ok(document) => document,
            Err(error) => {
                self.failed(&format!("{origin}: {error}"));
                return Err(error);
            }
        };
        let Document { flags, evaluators, metadata } = document;
        let count = flags.len();
        let (generation, flags) = self.replace(&flags, &evaluators, |source| {
            *source = Source {
                origin: origin.to_owned(),
                metadata: Some(metadata),
                loaded_at: Some(SystemTime::now()),
                error: None,
            };
        });
        let problems: Vec<_> = flags.iter().flat_map(|flag| flag.problems()).cloned().collect();
        let mut warnings = Declaration::problems();
        warnings.extend(flags.iter().flat_map(|flag| flag.warnings.clone()));
        let event =
            Event::new("flags_loaded", "flags", format!("{} from {origin}", plural(count, "flag")));
        self.shared.registry.emit(event.with("generation", generation));
        if let Some(first) = problems.first() {
            let message = match problems.len() - 1 {
                0 => format!("{origin}: {first}"),
                more => {
                    let more = plural(more, "more problem");
                    format!("{origin}: {first}, and {more}; see /flagz")
                }
            };
            self.shared.registry.emit(Event::new("flags_failing", "flags", message));
        }
        Ok(Loaded { generation, flags: count, problems, warnings })
    }

    /// Notes that flags could not be read, and why: they stay as they are.
    pub fn failed(&self, error: &str) {
        if self.note(Some(error)) {
            self.shared.registry.emit(Event::new("flags_load_failed", "flags", error));
        }
    }

    /// Notes that flags can be read again, and are what was loaded last.
    pub fn recovered(&self) {
        if self.note(None) {
            let what = "the flags can be read again, and have not changed";
            self.shared.registry.emit(Event::new("flags_readable", "flags", what));
        }
    }

    /// Returns whether this is news.
    fn note(&self, error: Option<&str>) -> bool {
        let source = &mut lock(&self.shared.state).source;
        let is_news = source.error.as_deref() != error;
        source.error = error.map(str::to_owned);
        is_news
    }

    /// Changes the arithmetic of `fractional`. Users may change sides; see
    /// [`bucketing`](crate::bucketing).
    pub fn set_bucketing(&self, bucketing: Bucketing) {
        let mut state = lock(&self.shared.state);
        if state.bucketing != bucketing {
            state.bucketing = bucketing;
            self.shared.publish(state);
        }
    }

    /// The flags as they are now.
    pub fn snapshot(&self) -> Current {
        self.shared.current.load()
    }

    /// The generation of the flags: one more with each load and each override.
    pub fn generation(&self) -> u64 {
        self.shared.current.generation()
    }

    /// Pins the flags as they are now, for whoever `context` describes.
    pub fn pin(&self, context: Context) -> Pinned {
        Pinned::new(self.snapshot(), context)
    }

    /// All there is to know, for a page: where the flags come from, and each of them.
    pub fn status(&self) -> Value {
        self.shared.page()
    }

    /// What there is to know of one flag; `None` if there is none of that key.
    pub fn status_of(&self, key: &str) -> Option<Value> {
        self.snapshot().index(key).map(|_| self.shared.status_of(key))
    }

    /// What the flag `key` is for `context`, and each step of its rule with its result; `None` if
    /// there is no such flag. Nothing is counted.
    pub fn explain(&self, key: &str, context: Context) -> Option<Value> {
        let pinned = self.pin(context);
        let (evaluation, steps) = pinned.explain(key)?;
        Some(Value::map([
            ("value", evaluation.value.map(VariantValue::to_value).into()),
            ("variant", evaluation.variant.map(str::to_owned).into()),
            ("reason", evaluation.reason.as_str().into()),
            ("error", evaluation.error.map(ErrorCode::as_str).into()),
            ("steps", steps),
        ]))
    }

    /// Puts new definitions in place, beside the flags that only the code declares.
    fn replace(
        &self,
        definitions: &Entries,
        evaluators: &Entries,
        note: impl FnOnce(&mut Source),
    ) -> (u64, Vec<Arc<CompiledFlag>>) {
        let shared = &self.shared;
        let mut fresh = Vec::new();
        let (generation, flags) = {
            // One load after the other, and not under the lock that pages take: to compile takes
            // its time.
            let _loading = lock(&shared.loading);
            let known = lock(&shared.state).flags.clone();
            let store = Arc::downgrade(shared);
            let flags = compile(&store, &known, definitions, evaluators, &mut fresh);
            let mut state = lock(&shared.state);
            let is_there = |key: &str| flags.binary_search_by(|f| f.entry.name().cmp(key)).is_ok();
            state.forced.retain(|key, _| is_there(key));
            state.flags.clone_from(&flags);
            note(&mut state.source);
            (shared.publish(state), flags)
        };
        // Not under the lock: an override of a flag that is new here is applied by this.
        for entry in fresh {
            shared.registry.register(&entry);
        }
        (generation, flags)
    }
}

impl Shared {
    /// Makes the state the current snapshot.
    fn publish(&self, state: MutexGuard<'_, State>) -> u64 {
        let slots = state.flags.iter().map(|flag| {
            let forced = state.forced.get(flag.entry.name());
            Slot { flag: flag.clone(), forced: forced.and_then(|name| flag.position(name)) }
        });
        let snapshot = Snapshot::new(slots.collect(), state.bucketing, self.unknown.clone());
        // Under the lock, so that the last change is the last snapshot. The model checker must
        // notice if it is not.
        let held = (!cfg!(octostack_planted_bug)).then_some(state);
        let generation = self.current.store(snapshot);
        drop(held);
        generation
    }

    /// Lets everybody have `variant`, or each what the flag says.
    ///
    /// There may be no such variant, as a reload may take it away. Then the flag is evaluated as
    /// without, until it is there.
    pub(crate) fn force(&self, key: &str, variant: Option<&str>) {
        let mut state = lock(&self.state);
        match variant {
            Some(variant) => state.forced.insert(key.to_owned(), variant.to_owned()),
            None => state.forced.remove(key),
        };
        self.publish(state);
    }

    /// Says what is wrong with `variant` as a choice for everybody.
    pub(crate) fn check_variant(&self, key: &str, variant: &str) -> Result<(), Vec<Problem>> {
        let snapshot = self.current.load();
        let Some(slot) = snapshot.index(key).and_then(|index| snapshot.slot(index)) else {
            return Ok(());
        };
        if slot.flag.position(variant).is_some() {
            return Ok(());
        }
        let names: Vec<_> = slot.flag.variants.iter().map(|v| v.name.as_str()).collect();
        let known = match names.len() {
            0 => "the flag has none, as no file defines it, or it is wrong there".to_owned(),
            _ => format!("there are {}", names.join(", ")),
        };
        Err(vec![Problem::new("variant", format!("there is no variant `{variant}`; {known}"))])
    }

    /// The variant that an operator has chosen for `key`.
    pub(crate) fn forced(&self, key: &str) -> Option<String> {
        lock(&self.state).forced.get(key).cloned()
    }
}

fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snapshot = self.snapshot();
        f.debug_struct("Flags")
            .field("generation", &snapshot.generation)
            .field("flags", &snapshot.len())
            .finish_non_exhaustive()
    }
}
