//! Pages of what operators change for a time, such as `/flagz`. Policies have one of their own.
use super::statusz::entries;
use super::wish::Form;
use super::{change, page};
use crate::inspect::overrides::{Actor, Target};
use crate::inspect::{Problem, Registry, Value};
use bytes::Bytes;
use http::request::Parts;
use http::{Response, StatusCode};
use std::borrow::Cow;

type Show =
    dyn Fn(&Parts, Option<&str>) -> Result<Option<Value>, Vec<Problem>> + Send + Sync + 'static;

/// The page of one kind.
pub(super) struct OverridePage {
    pub(super) kind: &'static str,
    pub(super) show: Box<Show>,
}

/// What a path leads to that such a page owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// All there are: `/flagz`.
    List,
    /// One, by name: `/flagz/{name}`.
    One(String),
    /// The change of one: `/flagz/{name}/override`.
    Override(String),
}

impl Place {
    /// Reads what follows the path of the page. Names are taken apart before they are decoded, so
    /// they may hold any character.
    pub(super) fn of(rest: &str) -> Option<Self> {
        if rest.is_empty() || rest == "/" {
            return Some(Self::List);
        }
        let mut words = rest.strip_prefix('/')?.split('/');
        let name = page::percent_decoded(words.next()?).filter(|name| !name.is_empty())?;
        match (words.next(), words.next()) {
            (None, _) => Some(Self::One(name)),
            (Some("override"), None) => Some(Self::Override(name)),
            _ => None,
        }
    }
}

impl OverridePage {
    /// `GET`, of all or of one.
    pub(super) fn look(
        &self,
        registry: &Registry,
        parts: &Parts,
        name: Option<&str>,
    ) -> Response<Bytes> {
        match ((self.show)(parts, name), name) {
            (Ok(Some(page)), None) => {
                let mut page = entries(page);
                let at = page.len();
                put(&mut page, at, "overrides", change::all_shown(registry, self.kind));
                page::status(&Value::Map(page))
            }
            (Ok(Some(page)), Some(name)) => self.one(registry, page, name, None),
            (Ok(None), name) => {
                let missing = self.missing(registry, name);
                page::refusal(StatusCode::NOT_FOUND, &missing, &[])
            }
            (Err(problems), _) => {
                let detail = format!("the query has no answer; problems: {}", problems.len());
                page::refusal(StatusCode::BAD_REQUEST, &detail, &problems)
            }
        }
    }

    /// `PUT`.
    pub(super) fn set(
        &self,
        registry: &Registry,
        parts: &Parts,
        name: &str,
        body: &[u8],
        actor: &Actor,
    ) -> Response<Bytes> {
        let target = Target::new(self.kind, name);
        match change::set(registry, target, Form::Fields, body, actor) {
            Ok(()) => self.changed(registry, parts, name, None),
            Err(error) => change::refusal(error),
        }
    }

    /// `DELETE`.
    pub(super) fn end(
        &self,
        registry: &Registry,
        parts: &Parts,
        name: &str,
        actor: &Actor,
    ) -> Response<Bytes> {
        match registry.end_override(Target::new(self.kind, name), actor) {
            Ok(ended) => self.changed(registry, parts, name, Some(ended)),
            Err(error) => change::refusal(error),
        }
    }

    /// The page of `name` after a change: whatever it shows, the change is made.
    fn changed(
        &self,
        registry: &Registry,
        parts: &Parts,
        name: &str,
        ended: Option<bool>,
    ) -> Response<Bytes> {
        let page = (self.show)(&without_query(parts), Some(name)).ok().flatten();
        // An override may outlive what it changes.
        let page = page.unwrap_or_else(|| Value::map([("name", Value::from(name.to_owned()))]));
        self.one(registry, page, name, ended)
    }

    fn one(
        &self,
        registry: &Registry,
        page: Value,
        name: &str,
        ended: Option<bool>,
    ) -> Response<Bytes> {
        let mut page = entries(page);
        let change = change::shown(registry, Target::new(self.kind, name));
        put(&mut page, 1, "override", change);
        if let Some(ended) = ended {
            change::insert_ended(&mut page, ended);
        }
        page::status(&Value::Map(page))
    }

    fn missing(&self, registry: &Registry, name: Option<&str>) -> String {
        let kind = self.kind;
        match name.map(|name| (name, registry.targets(Target::new(kind, name)))) {
            Some((_, Err(unknown))) => unknown.to_string(),
            Some((name, Ok(_))) => format!("nothing is known of the {kind} `{name}`"),
            None => format!("this page has no list; ask for one {kind} by name"),
        }
    }
}

/// Sets an entry; one that is new comes at the place `at`.
fn put(page: &mut Vec<(Cow<'static, str>, Value)>, at: usize, key: &'static str, value: Value) {
    match page.iter_mut().find(|(known, _)| known == key) {
        Some((_, old)) => *old = value,
        None => page.insert(at.min(page.len()), (key.into(), value)),
    }
}

/// A page that is shown because of a change must not fail for what the change says besides.
fn without_query(parts: &Parts) -> Parts {
    let mut parts = parts.clone();
    if let Ok(path) = parts.uri.path().parse() {
        parts.uri = path;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::Place;

    #[test]
    fn takes_paths_apart_before_names_are_decoded() {
        let one = |name: &str| Some(Place::One(name.to_owned()));
        let change = |name: &str| Some(Place::Override(name.to_owned()));
        for (rest, place) in [
            ("", Some(Place::List)),
            ("/", Some(Place::List)),
            ("/a", one("a")),
            ("/a/override", change("a")),
            ("/override", one("override")),
            ("/override/override", change("override")),
            ("/a%2Fb%3F%20%c3%b6", one("a/b? ö")),
            ("/a%2Foverride", one("a/override")),
            ("/a%2Foverride/override", change("a/override")),
            ("/%2e%2e/override", change("..")),
            ("s", None),
            ("/a/", None),
            ("/a/b", None),
            ("/a/override/", None),
            ("/a/%6fverride", None),
            ("//override", None),
            ("/%ff", None),
        ] {
            assert_eq!(Place::of(rest), place, "{rest}");
        }
    }
}
