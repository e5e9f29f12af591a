//! Changes for a time, as they are asked for over HTTP; `/policyz` and the pages of other kinds
//! share this.
use super::page;
use super::statusz::in_force;
use super::wish::{Form, Wish};
use crate::inspect::overrides::{Actor, OverrideError, Target};
use crate::inspect::{Problem, Registry, Value};
use crate::{Clock, SystemClock};
use bytes::Bytes;
use http::{Response, StatusCode};
use std::borrow::Cow;

/// Does what the `body` of a `PUT` asks for.
pub(super) fn set(
    registry: &Registry,
    target: Target<'_>,
    form: Form,
    body: &[u8],
    actor: &Actor,
) -> Result<(), OverrideError> {
    let items = registry.targets(target)?;
    let before = registry.override_of(target);
    let mut wish = Wish::read(form, body, before.is_some());
    if wish.problems.is_empty() {
        let now = SystemClock.now();
        return registry.set_override(target, wish.patch, wish.ttl, actor, now).map(|_| ());
    }
    // It is refused already; what the items themselves would say belongs on the same list.
    let mut merged = before.map(|o| o.patch).unwrap_or_default();
    merged.merge(wish.patch);
    for problems in items.iter().filter_map(|item| item.control()?.check(&merged).err()) {
        wish.problems.extend(problems);
    }
    Err(OverrideError::Invalid(wish.problems))
}

/// The answer to a change that is not made.
pub(super) fn refusal(error: OverrideError) -> Response<Bytes> {
    match error {
        OverrideError::Unknown { .. } => {
            page::refusal(StatusCode::NOT_FOUND, &error.to_string(), &[])
        }
        OverrideError::Ttl(_) => {
            let problem = Problem::new("ttl", error.to_string());
            refusal(OverrideError::Invalid(vec![problem]))
        }
        OverrideError::Invalid(mut problems) => {
            // Instances of one name see the same things.
            let mut seen = Vec::new();
            problems.retain(|p| {
                !seen.contains(p) && {
                    seen.push(p.clone());
                    true
                }
            });
            let detail = format!("nothing was changed; problems: {}", problems.len());
            page::refusal(StatusCode::BAD_REQUEST, &detail, &problems)
        }
    }
}

/// The override of `target` as its page shows it: null if there is none.
pub(super) fn shown(registry: &Registry, target: Target<'_>) -> Value {
    let now = SystemClock.now();
    registry.override_of(target).map(|change| in_force(&change, now)).into()
}

/// All overrides of a kind, by name.
pub(super) fn all_shown(registry: &Registry, kind: &str) -> Value {
    let now = SystemClock.now();
    let overrides = registry.overrides().into_iter().filter(|change| change.kind == kind);
    Value::map(overrides.map(|change| (change.name.clone(), in_force(&change, now))))
}

/// Whether there was an override to end, on the page that a `DELETE` answers with.
pub(super) fn insert_ended(page: &mut Vec<(Cow<'static, str>, Value)>, ended: bool) {
    page.insert(page.len().min(1), ("ended".into(), ended.into()));
}
