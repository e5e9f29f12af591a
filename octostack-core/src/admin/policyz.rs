//! `/policyz`: the policies of the process, and the changes to them.
use super::statusz::entries;
use super::wish::Form;
use super::{change, page};
use crate::inspect::overrides::{Actor, POLICY, Target};
use crate::inspect::{Inspect, Registry, Value};
use bytes::Bytes;
use http::Response;
use std::sync::Arc;

/// `GET /policyz`.
pub(super) fn list(registry: &Registry) -> Response<Bytes> {
    let instances = registry.changeable(POLICY).iter().map(instance).collect();
    page::status(&Value::map([
        ("policies", Value::List(instances)),
        ("overrides", change::all_shown(registry, POLICY)),
    ]))
}

/// `GET /policyz/{name}`.
pub(super) fn show(registry: &Registry, name: &str) -> Response<Bytes> {
    match registry.targets(name) {
        Ok(found) => page::status(&describe(registry, name, &found)),
        Err(unknown) => change::refusal(unknown),
    }
}

/// `PUT /policyz/{name}`.
pub(super) fn set(registry: &Registry, name: &str, body: &[u8], actor: &Actor) -> Response<Bytes> {
    match change::set(registry, name.into(), Form::Policy, body, actor) {
        Ok(()) => changed(registry, name, None),
        Err(error) => change::refusal(error),
    }
}

/// `DELETE /policyz/{name}`.
pub(super) fn end(registry: &Registry, name: &str, actor: &Actor) -> Response<Bytes> {
    match registry.end_override(name, actor) {
        Ok(ended) => changed(registry, name, Some(ended)),
        Err(error) => change::refusal(error),
    }
}

/// The page of `name` after a change. An override may outlive all policies of its name.
fn changed(registry: &Registry, name: &str, ended: Option<bool>) -> Response<Bytes> {
    let found = registry.targets(name).unwrap_or_default();
    let mut page = entries(describe(registry, name, &found));
    if let Some(ended) = ended {
        change::insert_ended(&mut page, ended);
    }
    page::status(&Value::Map(page))
}

fn describe(registry: &Registry, name: &str, found: &[Arc<dyn Inspect>]) -> Value {
    Value::map([
        ("name", Value::from(name.to_owned())),
        ("override", change::shown(registry, Target::new(POLICY, name))),
        ("instances", Value::List(found.iter().map(instance).collect())),
    ])
}

/// Name and kind, then whatever the policy says of itself.
fn instance(item: &Arc<dyn Inspect>) -> Value {
    let mut entry =
        vec![("name".into(), item.name().to_owned().into()), ("kind".into(), item.kind().into())];
    entry.extend(entries(item.status()));
    if let Some(why) = item.abnormal() {
        entry.push(("abnormal".into(), why.into()));
    }
    Value::Map(entry)
}
