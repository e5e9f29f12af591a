use super::event::Ring;
use super::overrides::{Actor, MAX_TTL, Override, OverrideError};
use super::{Control, Event, Inspect, Metric, Observer, Patch, Sink, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
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
    /// Held while an override changes, until all its items have followed. Controls run under it;
    /// so it is taken first, and only by those who change something.
    changing: Mutex<()>,
    // The others are held for a moment each, and never while code of an item or observer runs.
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
        // The item is listed already. So a change made before this one is found here, one made
        // after it finds the item, and none ends between the look and the application.
        self.change(|_, events| {
            let patch = self.override_of(item.name()).map(|o| o.patch);
            if let Some(problems) = patch.and_then(|p| control.set_override(Some(&p)).err()) {
                let what = OverrideError::Invalid(problems).to_string();
                events.push(Event::new("override_refused", item.name(), what));
            }
        });
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
    /// new time and actor. An earlier one whose time is up at `now` is ended first.
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
        self.change(|items, events| {
            let targets = controls(items, name)?;
            let before = match self.override_of(name) {
                // Nobody has come to end it yet; it must not live on in the new one.
                Some(old) if old.ends <= now => {
                    self.take_back(&old, &targets, TIME_UP, &Actor::default(), events);
                    None
                }
                old => old.map(|o| o.patch),
            };
            let mut merged = before.clone().unwrap_or_default();
            merged.merge(patch);
            apply(&targets, name, &merged, before.as_ref(), events)?;
            let change = Override {
                kind: "policy",
                name: name.to_owned(),
                patch: merged,
                actor: actor.clone(),
                ends: now + ttl,
                ends_at: SystemTime::now() + ttl,
            };
            lock(&self.shared.overrides).insert(name.to_owned(), change.clone());
            let message = format!("changed for {} by {actor}", humantime::format_duration(ttl));
            let event = Event::new("override_set", name, message);
            events.push(with_change(event, actor, before.as_ref(), Some(&change.patch)));
            Ok(change)
        })
    }

    /// Ends the override of `name`. Returns whether there was one.
    ///
    /// # Errors
    /// [`OverrideError::Unknown`] if no policy has that name and no override either.
    pub fn end_override(&self, name: &str, actor: &Actor) -> Result<bool, OverrideError> {
        if self.end(name, |_| true, &format!("ended by {actor}"), actor) {
            return Ok(true);
        }
        controls(&self.items(), name).map(|_| false)
    }

    /// Ends the overrides whose time is up at `now`. Returns when the next one ends.
    pub fn end_expired(&self, now: Instant) -> Option<Instant> {
        let over: Vec<String> =
            self.overrides().into_iter().filter(|o| o.ends <= now).map(|o| o.name).collect();
        for name in over {
            // Looks again under the lock: it may have been prolonged since.
            self.end(&name, |o| o.ends <= now, TIME_UP, &Actor::default());
        }
        self.overrides().into_iter().map(|o| o.ends).min()
    }

    /// Runs `work` on the living items while nobody else changes any, then emits its events.
    fn change<T>(&self, work: impl FnOnce(&[Arc<dyn Inspect>], &mut Vec<Event>) -> T) -> T {
        let mut events = Vec::new();
        let items; // dropped after the lock: the last one to hold an item runs its destructor
        let result = {
            let _changing = lock(&self.shared.changing);
            items = self.items();
            work(&items, &mut events)
        };
        for event in events {
            self.emit(event);
        }
        result
    }

    fn end(
        &self,
        name: &str,
        really: impl Fn(&Override) -> bool,
        why: &str,
        actor: &Actor,
    ) -> bool {
        self.change(|items, events| {
            let Some(ended) = self.override_of(name).filter(really) else {
                return false;
            };
            // An override may outlive all items of its name.
            let targets = controls(items, name).unwrap_or_default();
            self.take_back(&ended, &targets, why, actor, events);
            true
        })
    }

    /// Takes `ended` off its items, then off the list: it is listed as long as any item has it.
    fn take_back(
        &self,
        ended: &Override,
        targets: &[&dyn Control],
        why: &str,
        actor: &Actor,
        events: &mut Vec<Event>,
    ) {
        let name = &ended.name;
        events.extend(targets.iter().filter_map(|control| put_back(*control, name, None)));
        lock(&self.shared.overrides).remove(name);
        let event = Event::new("override_ended", name, why);
        events.push(with_change(event, actor, Some(&ended.patch), None));
    }

    fn override_of(&self, name: &str) -> Option<Override> {
        lock(&self.shared.overrides).get(name).cloned()
    }
}

/// Why an override ended that nobody ended.
const TIME_UP: &str = "its time was up";

/// The controls of the items called `name`.
fn controls<'a>(
    items: &'a [Arc<dyn Inspect>],
    name: &str,
) -> Result<Vec<&'a dyn Control>, OverrideError> {
    let all = items.iter().filter_map(|item| Some((item.name(), item.control()?)));
    let (found, others): (Vec<_>, Vec<_>) = all.partition(|(known, _)| *known == name);
    if !found.is_empty() {
        return Ok(found.into_iter().map(|(_, control)| control).collect());
    }
    let mut known: Vec<_> = others.into_iter().map(|(known, _)| known.to_owned()).collect();
    known.sort();
    known.dedup();
    Err(OverrideError::Unknown { name: name.to_owned(), known })
}

/// Changes all targets, or none of them.
fn apply(
    targets: &[&dyn Control],
    name: &str,
    patch: &Patch,
    before: Option<&Patch>,
    events: &mut Vec<Event>,
) -> Result<(), OverrideError> {
    for control in targets {
        control.check(patch).map_err(OverrideError::Invalid)?;
    }
    for (done, control) in targets.iter().enumerate() {
        if let Err(problems) = control.set_override(Some(patch)) {
            // It passed the check, so a reload has come between.
            events.extend(targets[..done].iter().filter_map(|c| put_back(*c, name, before)));
            return Err(OverrideError::Invalid(problems));
        }
    }
    Ok(())
}

/// Gives an item back the override that it had before. An event tells if it refuses.
fn put_back(control: &dyn Control, name: &str, before: Option<&Patch>) -> Option<Event> {
    // It ran with these settings before, so this is a bug in the item, or a reload came between.
    let problems = control.set_override(before).err()?;
    Some(Event::new("override_stuck", name, OverrideError::Invalid(problems).to_string()))
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
