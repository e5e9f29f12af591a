//! How overrides begin, change and end; what they are is in [`overrides`](super::overrides).
use super::overrides::{Actor, MAX_TTL, Override, OverrideError, Target};
use super::registry::lock;
use super::{Control, Event, Inspect, Patch, Registry, Value};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

type Item = Arc<dyn Inspect>;

impl Registry {
    /// The overrides in force, by kind and name.
    pub fn overrides(&self) -> Vec<Override> {
        let overrides = lock(&self.shared.overrides);
        overrides.values().flat_map(|of_a_kind| of_a_kind.values().cloned()).collect()
    }

    /// The override in force of `target`, if there is one.
    pub fn override_of<'a>(&self, target: impl Into<Target<'a>>) -> Option<Override> {
        let target = target.into();
        lock(&self.shared.overrides).get(target.kind)?.get(target.name).cloned()
    }

    /// The living items that can be changed as `kind`, such as [`POLICY`], in the order of
    /// registration.
    ///
    /// [`POLICY`]: super::overrides::POLICY
    pub fn changeable(&self, kind: &str) -> Vec<Item> {
        let mut items = self.items();
        items.retain(|item| control_as(kind, item).is_some());
        items
    }

    /// The living items that an override of `target` changes: one or more.
    ///
    /// # Errors
    /// [`OverrideError::Unknown`] if there is none; it says which there are.
    pub fn targets<'a>(&self, target: impl Into<Target<'a>>) -> Result<Vec<Item>, OverrideError> {
        let target = target.into();
        let mut items = self.changeable(target.kind);
        controls(&items, target)?;
        items.retain(|item| item.name() == target.name);
        Ok(items)
    }

    /// Changes every item of `target` until `now + ttl`: a name alone means the policies of that
    /// name.
    ///
    /// What an earlier override of that target set and `patch` does not mention stays, and gets
    /// the new time and actor. An earlier one whose time is up at `now` is ended first.
    ///
    /// # Errors
    /// [`OverrideError`]: no such item, a ttl out of range, or all that is wrong with the patch.
    pub fn set_override<'a>(
        &self,
        target: impl Into<Target<'a>>,
        patch: Patch,
        ttl: Duration,
        actor: &Actor,
        now: Instant,
    ) -> Result<Override, OverrideError> {
        if ttl.is_zero() || ttl > MAX_TTL {
            return Err(OverrideError::Ttl(ttl));
        }
        let target = target.into();
        self.change_items(|items, events| {
            let controls = controls(items, target)?;
            let before = match self.override_of(target) {
                // Nobody has come to end it yet; it must not live on in the new one.
                Some(old) if old.ends <= now => {
                    self.take_back(&old, &controls, TIME_UP, &Actor::default(), events);
                    None
                }
                old => old.map(|o| o.patch),
            };
            let mut merged = before.clone().unwrap_or_default();
            merged.merge(patch);
            apply(&controls, target, &merged, before.as_ref(), events)?;
            let change = Override {
                kind: target.kind,
                name: target.name.to_owned(),
                patch: merged,
                actor: actor.clone(),
                ends: now + ttl,
                ends_at: SystemTime::now() + ttl,
            };
            lock(&self.shared.overrides)
                .entry(target.kind)
                .or_default()
                .insert(target.name.to_owned(), change.clone());
            let message = format!("changed for {} by {actor}", humantime::format_duration(ttl));
            let event = event("override_set", target, message);
            events.push(with_change(event, actor, before.as_ref(), Some(&change.patch)));
            Ok(change)
        })
    }

    /// Ends the override of `target`: a name alone means the policies of that name. Returns
    /// whether there was one.
    ///
    /// # Errors
    /// [`OverrideError::Unknown`] if there is no such item and no such override either.
    pub fn end_override<'a>(
        &self,
        target: impl Into<Target<'a>>,
        actor: &Actor,
    ) -> Result<bool, OverrideError> {
        let target = target.into();
        if self.end(target, |_| true, &format!("ended by {actor}"), actor) {
            return Ok(true);
        }
        controls(&self.items(), target).map(|_| false)
    }

    /// Ends the overrides whose time is up at `now`. Returns when the next one ends.
    pub fn end_expired(&self, now: Instant) -> Option<Instant> {
        for over in self.overrides().iter().filter(|o| o.ends <= now) {
            // Looks again under the lock: it may have been prolonged since.
            self.end(over.target(), |o| o.ends <= now, TIME_UP, &Actor::default());
        }
        self.overrides().into_iter().map(|o| o.ends).min()
    }

    /// Gives an item that is listed already the override of its kind and name.
    pub(super) fn apply_override_to(&self, name: &str, control: &dyn Control) {
        // A change made before this one is found here, one made after it finds the item, and none
        // ends between the look and the application.
        self.change(|events| {
            let target = Target::new(control.target_kind(), name);
            let patch = self.override_of(target).map(|o| o.patch);
            if let Some(problems) = patch.and_then(|p| control.set_override(Some(&p)).err()) {
                let what = OverrideError::Invalid(problems).to_string();
                events.push(event("override_refused", target, what));
            }
        });
    }

    /// Runs `work` while nobody else changes any item, then emits its events.
    fn change<T>(&self, work: impl FnOnce(&mut Vec<Event>) -> T) -> T {
        let mut events = Vec::new();
        let result = {
            let _changing = lock(&self.shared.changing);
            work(&mut events)
        };
        for event in events {
            self.emit(event);
        }
        result
    }

    /// As [`change`](Self::change), on the items that live once nobody else changes any.
    fn change_items<T>(&self, work: impl FnOnce(&[Item], &mut Vec<Event>) -> T) -> T {
        // Dropped after the lock: the last one to hold an item runs its destructor.
        let mut items = Vec::new();
        self.change(|events| {
            items = self.items();
            work(&items, events)
        })
    }

    fn end(
        &self,
        target: Target<'_>,
        really: impl Fn(&Override) -> bool,
        why: &str,
        actor: &Actor,
    ) -> bool {
        self.change_items(|items, events| {
            let Some(ended) = self.override_of(target).filter(really) else {
                return false;
            };
            // An override may outlive all items of its name.
            let controls = controls(items, target).unwrap_or_default();
            self.take_back(&ended, &controls, why, actor, events);
            true
        })
    }

    /// Takes `ended` off its items, then off the list: it is listed as long as any item has it.
    fn take_back(
        &self,
        ended: &Override,
        controls: &[&dyn Control],
        why: &str,
        actor: &Actor,
        events: &mut Vec<Event>,
    ) {
        let target = ended.target();
        events.extend(controls.iter().filter_map(|control| put_back(*control, target, None)));
        if let Some(of_its_kind) = lock(&self.shared.overrides).get_mut(target.kind) {
            of_its_kind.remove(target.name);
        }
        let event = event("override_ended", target, why);
        events.push(with_change(event, actor, Some(&ended.patch), None));
    }
}

/// Why an override ended that nobody ended.
const TIME_UP: &str = "its time was up";

/// What may be changed of `item` by those who change a `kind`.
fn control_as<'a>(kind: &str, item: &'a Item) -> Option<&'a dyn Control> {
    item.control().filter(|control| control.target_kind() == kind)
}

/// The controls of the items that `target` names.
fn controls<'a>(
    items: &'a [Item],
    target: Target<'_>,
) -> Result<Vec<&'a dyn Control>, OverrideError> {
    let named = items.iter().filter(|item| item.name() == target.name);
    let found: Vec<_> = named.filter_map(|item| control_as(target.kind, item)).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let others = items.iter().filter(|item| control_as(target.kind, item).is_some());
    let mut known: Vec<_> = others.map(|item| item.name().to_owned()).collect();
    known.sort();
    known.dedup();
    Err(OverrideError::Unknown { kind: target.kind, name: target.name.to_owned(), known })
}

/// Changes all items, or none of them.
fn apply(
    controls: &[&dyn Control],
    target: Target<'_>,
    patch: &Patch,
    before: Option<&Patch>,
    events: &mut Vec<Event>,
) -> Result<(), OverrideError> {
    for control in controls {
        control.check(patch).map_err(OverrideError::Invalid)?;
    }
    for (done, control) in controls.iter().enumerate() {
        if let Err(problems) = control.set_override(Some(patch)) {
            // It passed the check, so a reload has come between.
            events.extend(controls[..done].iter().filter_map(|c| put_back(*c, target, before)));
            return Err(OverrideError::Invalid(problems));
        }
    }
    Ok(())
}

/// Gives an item back the override that it had before. An event tells if it refuses.
fn put_back(control: &dyn Control, target: Target<'_>, before: Option<&Patch>) -> Option<Event> {
    // It ran with these settings before, so this is a bug in the item, or a reload came between.
    let problems = control.set_override(before).err()?;
    Some(event("override_stuck", target, OverrideError::Invalid(problems).to_string()))
}

fn event(kind: &'static str, target: Target<'_>, message: impl Into<String>) -> Event {
    Event::new(kind, target.name, message).with("target_kind", target.kind)
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
