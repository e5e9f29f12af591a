//! `/statusz`: who this process is, how it is doing, and what is not as it usually is.
use super::Shared;
use crate::inspect::overrides::Override;
use crate::inspect::{Event, Inspect, Registry, Value};
use crate::time::rfc3339;
use crate::{Clock, SystemClock};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) fn status(admin: &Shared) -> Value {
    let now = SystemClock.now();
    let uptime = now.saturating_duration_since(admin.started);
    let mut page = entries(admin.identity.status());
    let generations = admin.generations.iter();
    let generations = generations.map(|(name, number)| (name.clone(), number().into()));
    let events = admin.registry.events().iter().map(|e| event(e)).collect();
    page.extend([
        ("start".into(), rfc3339(admin.started_at).into()),
        ("uptime".into(), Duration::from_secs(uptime.as_secs()).into()),
        ("phase".into(), admin.probes.phase().as_str().into()),
        ("health".into(), admin.probes.standing().as_str().into()),
        ("generations".into(), Value::map(generations)),
        ("abnormal".into(), Value::List(abnormal(&admin.registry, now))),
        ("tasks".into(), Value::List(tasks(&admin.registry))),
        ("events".into(), Value::List(events)),
    ]);
    Value::Map(page)
}

/// What an operator should look at: changes in force, and whatever says so of itself.
fn abnormal(registry: &Registry, now: Instant) -> Vec<Value> {
    let overrides = registry.overrides().into_iter();
    let mut list: Vec<_> = overrides
        .map(|change| {
            let details = entries(in_force(&change, now));
            let head = [
                ("kind".into(), Value::from("override")),
                ("target_kind".into(), change.kind.into()),
                ("name".into(), change.name.into()),
            ];
            Value::Map(head.into_iter().chain(details).collect())
        })
        .collect();
    for item in registry.items() {
        if let Some(why) = item.abnormal() {
            list.push(Value::map([
                ("kind", Value::from(item.kind())),
                ("name", item.name().to_owned().into()),
                ("why", why.into()),
            ]));
        }
    }
    list
}

/// The background tasks, in the order of their declaration.
fn tasks(registry: &Registry) -> Vec<Value> {
    let is_task = |item: &Arc<dyn Inspect>| matches!(item.kind(), "task" | "interval_task");
    let items = registry.items().into_iter().filter(is_task);
    let task = |item: Arc<dyn Inspect>| {
        let head = ("name".into(), item.name().to_owned().into());
        Value::Map(std::iter::once(head).chain(entries(item.status())).collect())
    };
    items.map(task).collect()
}

/// How a change in force looks, without its name.
pub(super) fn in_force(change: &Override, now: Instant) -> Value {
    let left = change.ends.saturating_duration_since(now);
    let actor = &change.actor;
    Value::map([
        ("change", Value::from(&change.patch)),
        ("claimed_actor", actor.claimed.clone().into()),
        ("peer", actor.peer.clone().into()),
        ("token", actor.token.clone().into()),
        ("ends", rfc3339(change.ends_at).into()),
        ("left", Duration::from_secs(left.as_secs()).into()),
    ])
}

fn event(event: &Event) -> Value {
    Value::map([
        ("at", Value::from(rfc3339(event.at))),
        ("kind", event.kind.into()),
        ("subject", event.subject.clone().into()),
        ("message", event.message.clone().into()),
        ("fields", Value::map(event.fields.iter().cloned())),
    ])
}

/// The entries of a map; what is none gets a name.
pub(super) fn entries(value: Value) -> Vec<(Cow<'static, str>, Value)> {
    match value {
        Value::Map(entries) => entries,
        other => vec![("status".into(), other)],
    }
}
