use super::event::Ring;
use super::overrides::{Actor, MAX_TTL, Override, OverrideError};
use super::{Event, Inspect, Metric, Observer, Patch, Sink, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

/// The items of a process, or of a part of it; see the [module docs](super).
///
/// Clones are cheap and share the contents.
#[derive(Clone, Default)]
pub struct Registry {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    items: Mutex<Vec<Weak<dyn Inspect>>>,
    overrides: Mutex<BTreeMap<String, Override>>,
    events: Mutex<Ring>,
    observers: Mutex<Vec<Arc<dyn Observer>>>,
}

/// Every critical section here leaves the lists whole at each step, so a panic elsewhere in the
/// process must not take the admin port down with it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
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
    /// If an operator has changed items of this name, the change applies to the new one too.
    pub fn register<T: Inspect + 'static>(&self, item: &Arc<T>) {
        let weak: Weak<T> = Arc::downgrade(item);
        {
            let mut items = lock(&self.shared.items);
            if items.len() == items.capacity() {
                items.retain(|item| item.strong_count() > 0); // so that it grows with the living
            }
            items.push(weak);
        }
        let Some(control) = item.control() else {
            return;
        };
        let patch = lock(&self.shared.overrides).get(item.name()).map(|o| o.patch.clone());
        if let Some(problems) = patch.and_then(|p| control.set_override(Some(&p)).err()) {
            let what = OverrideError::Invalid(problems).to_string();
            self.emit(Event::new("override_refused", item.name(), what));
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
    pub fn emit(&self, event: Event) {
        let event = Arc::new(event);
        lock(&self.shared.events).push(event.clone());
        let observers = lock(&self.shared.observers).clone();
        for observer in &observers {
            observer.observe(&event);
        }
    }

    /// The last 50 events, newest last.
    pub fn events(&self) -> Vec<Arc<Event>> {
        lock(&self.shared.events).to_vec()
    }

    /// Lets `observer` hear of every event from now on.
    pub fn observe(&self, observer: impl Observer + 'static) {
        lock(&self.shared.observers).push(Arc::new(observer));
    }

    /// The overrides in force, by name.
    pub fn overrides(&self) -> Vec<Override> {
        lock(&self.shared.overrides).values().cloned().collect()
    }

    /// Changes every policy called `name` until `now + ttl`.
    ///
    /// What an earlier override of that name set and `patch` does not mention stays, and gets the
    /// new time and actor.
    ///
    /// # Errors
    /// [`OverrideError`]: no such policy, a ttl out of range, or all that is wrong with the patch.
    pub fn set_override(
        &self,
        name: &str,
        patch: Patch,
        ttl: Duration,
        actor: &Actor,
        now: Instant,
    ) -> Result<Override, OverrideError> {
        if ttl.is_zero() || ttl > MAX_TTL {
            return Err(OverrideError::Ttl(ttl));
        }
        let targets = self.controllable(name)?;
        // Held to the end: two changes of one policy must not mix.
        let mut overrides = lock(&self.shared.overrides);
        let before = overrides.get(name).map(|o| o.patch.clone());
        let mut merged = before.clone().unwrap_or_default();
        merged.merge(patch);
        let apply = |try_only: bool| {
            for control in targets.iter().filter_map(|item| item.control()) {
                let result = if try_only {
                    control.check(&merged)
                } else {
                    control.set_override(Some(&merged))
                };
                result.map_err(OverrideError::Invalid)?;
            }
            Ok(())
        };
        apply(true)?;
        apply(false)?;
        let change = Override {
            kind: "policy",
            name: name.to_owned(),
            patch: merged,
            actor: actor.clone(),
            ends: now + ttl,
            ends_at: SystemTime::now() + ttl,
        };
        overrides.insert(name.to_owned(), change.clone());
        drop(overrides);
        let message = format!("changed for {} by {actor}", humantime::format_duration(ttl));
        let event = Event::new("override_set", name, message);
        self.emit(with_change(event, actor, before.as_ref(), Some(&change.patch)));
        Ok(change)
    }

    /// Ends the override of `name`. Returns whether there was one.
    ///
    /// # Errors
    /// [`OverrideError::Unknown`] if no policy has that name and no override either.
    pub fn end_override(&self, name: &str, actor: &Actor) -> Result<bool, OverrideError> {
        if !lock(&self.shared.overrides).contains_key(name) {
            return self.controllable(name).map(|_| false);
        }
        Ok(self.revert(name, |_| true, &format!("ended by {actor}"), actor))
    }

    /// Ends the overrides whose time is up at `now`. Returns when the next one ends.
    pub fn end_expired(&self, now: Instant) -> Option<Instant> {
        let over: Vec<String> =
            self.overrides().into_iter().filter(|o| o.ends <= now).map(|o| o.name).collect();
        for name in over {
            // Looks again under the lock: it may have been prolonged since.
            self.revert(&name, |o| o.ends <= now, "its time was up", &Actor::default());
        }
        self.overrides().into_iter().map(|o| o.ends).min()
    }

    fn revert(
        &self,
        name: &str,
        really: impl Fn(&Override) -> bool,
        why: &str,
        actor: &Actor,
    ) -> bool {
        let mut overrides = lock(&self.shared.overrides);
        if !overrides.get(name).is_some_and(really) {
            return false;
        }
        let Some(ended) = overrides.remove(name) else {
            return false;
        };
        for item in self.items().iter().filter(|item| item.name() == name) {
            if let Some(problems) = item.control().and_then(|c| c.set_override(None).err()) {
                // Its own settings were valid before the override, so this is a bug in the item.
                let what = OverrideError::Invalid(problems).to_string();
                self.emit(Event::new("override_stuck", name, what));
            }
        }
        drop(overrides);
        let event = Event::new("override_ended", name, why);
        self.emit(with_change(event, actor, Some(&ended.patch), None));
        true
    }

    fn controllable(&self, name: &str) -> Result<Vec<Arc<dyn Inspect>>, OverrideError> {
        let mut all = self.items();
        all.retain(|item| item.control().is_some());
        let (found, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|i| i.name() == name);
        if !found.is_empty() {
            return Ok(found);
        }
        let mut known: Vec<_> = others.iter().map(|item| item.name().to_owned()).collect();
        known.sort();
        known.dedup();
        Err(OverrideError::Unknown { name: name.to_owned(), known })
    }
}

/// What an audit asks of a change: who, from what, to what.
fn with_change(event: Event, actor: &Actor, from: Option<&Patch>, to: Option<&Patch>) -> Event {
    event
        .with("peer", actor.peer.clone())
        .with("token", actor.token.clone())
        .with("claimed_actor", actor.claimed.clone())
        .with("from", from.map(Value::from))
        .with("to", to.map(Value::from))
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
