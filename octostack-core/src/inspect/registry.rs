use super::event::Ring;
use super::overrides::Override;
use super::{Event, Inspect, Metric, Observer, Sink};
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

/// The items of a process, or of a part of it; see the [module docs](super).
///
/// Clones are cheap and share the contents.
#[derive(Clone, Default)]
pub struct Registry {
    pub(super) shared: Arc<Shared>,
}

#[derive(Default)]
pub(super) struct Shared {
    /// Held while an override changes, until all its items have followed. Controls run under it;
    /// so it is taken first, and only by those who change something.
    pub(super) changing: Mutex<()>,
    // The others are held for a moment each, and never while code of an item or observer runs.
    items: Mutex<Vec<Weak<dyn Inspect>>>,
    /// By kind, then by name.
    pub(super) overrides: Mutex<BTreeMap<&'static str, BTreeMap<String, Override>>>,
    events: Mutex<Ring>,
    observers: Mutex<Vec<Arc<dyn Observer>>>,
}

/// Every critical section here leaves the lists whole at each step, so a panic elsewhere in the
/// process must not take the admin port down with it.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Registry {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// The registry of the process: what builders use unless they are told otherwise.
    pub fn global() -> &'static Self {
        static GLOBAL: OnceLock<Registry> = OnceLock::new();
        GLOBAL.get_or_init(Self::new)
    }

    /// Adds an item, for as long as somebody else keeps it alive.
    ///
    /// If an operator has changed items of this kind and name, the change applies to the new one
    /// too.
    ///
    /// What it costs does not depend on how many items there are.
    pub fn register<T: Inspect + 'static>(&self, item: &Arc<T>) {
        let weak: Weak<T> = Arc::downgrade(item);
        {
            let mut items = lock(&self.shared.items);
            if items.len() == items.capacity() {
                items.retain(|item| item.strong_count() > 0); // so that it grows with the living
                let living = items.len();
                items.reserve(living.max(4)); // the next clean-up is as many registrations away
            }
            items.push(weak);
        }
        if let Some(control) = item.control() {
            self.apply_override_to(item.name(), control);
        }
    }

    /// The living items, in the order of registration.
    pub fn items(&self) -> Vec<Arc<dyn Inspect>> {
        lock(&self.shared.items).iter().filter_map(Weak::upgrade).collect()
    }

    /// Names that more than one living item of the same kind has, each with the number of items.
    /// Usually a mistake worth a warning at start.
    pub fn duplicates(&self) -> Vec<(String, usize)> {
        let mut counts = BTreeMap::<(String, &'static str), usize>::new();
        for item in self.items() {
            *counts.entry((item.name().to_owned(), item.kind())).or_default() += 1;
        }
        counts.into_iter().filter(|(_, n)| *n > 1).map(|((name, _), n)| (name, n)).collect()
    }

    /// Hands the samples of all items, and those of the registry itself, to `sink`.
    pub fn collect(&self, sink: &mut dyn Sink) {
        static OVERRIDES: Metric = Metric::gauge(
            "octostack_override_active",
            "1 for each thing that an operator has changed for a time.",
        );
        for item in self.items() {
            item.collect(sink);
        }
        for o in self.overrides() {
            sink.sample(&OVERRIDES, &[("kind", o.kind), ("name", &o.name)], 1.0);
        }
    }

    /// Records an event and tells the observers, in this order: whoever hears of it finds it.
    ///
    /// An observer that panics does not keep the others from hearing.
    pub fn emit(&self, event: Event) {
        let event = Arc::new(event);
        lock(&self.shared.events).push(event.clone());
        let observers = lock(&self.shared.observers).clone();
        for observer in &observers {
            // The observer may be left half-way, but it is nobody else's business: neither of the
            // next observers, nor of the request that this thread may be serving. The panic hook
            // has told of it.
            let _ = catch_unwind(AssertUnwindSafe(|| observer.observe(&event)));
        }
    }

    /// The last 50 events, newest last.
    pub fn events(&self) -> Vec<Arc<Event>> {
        lock(&self.shared.events).to_vec()
    }

    /// Lets `observer` hear of every event from now on, and before that of the last ones that there
    /// were. Called while nothing happens yet: an event of this moment may be told twice, or late.
    pub fn observe_all(&self, observer: impl Observer + 'static) {
        self.events().iter().for_each(|event| observer.observe(event));
        self.observe(observer);
    }

    /// Lets `observer` hear of every event from now on.
    pub fn observe(&self, observer: impl Observer + 'static) {
        lock(&self.shared.observers).push(Arc::new(observer));
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let items = self.items();
        let names = items.iter().map(|item| item.name());
        f.debug_struct("Registry")
            .field("items", &names.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
