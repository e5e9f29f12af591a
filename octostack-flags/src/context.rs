use crate::json;
use octostack_core::inspect::Value;
use std::borrow::Cow;
use std::fmt;

/// For whom flags are evaluated: a targeting key, mostly a user id, and attributes that rules ask
/// for.
///
/// A rule reads `{"var": "plan"}` as the attribute `plan`, `{"var": "user.name"}` as the entry
/// `name` of the attribute `user`, and `{"var": "targetingKey"}` as the targeting key. What is not
/// there is null to a rule.
///
/// Contexts may hold personal data, so `Debug` prints the names of the attributes only.
///
/// ```
/// use octostack_flags::Context;
///
/// let context = Context::new().with_targeting_key("user-42".to_owned()).with("plan", "pro");
/// assert_eq!(context.targeting_key(), Some("user-42"));
/// assert_eq!(context.attribute("plan"), Some(&"pro".into()));
/// ```
#[derive(Clone, Default)]
pub struct Context {
    targeting_key: Option<Cow<'static, str>>,
    /// Few enough that a look at each is quicker than a hash.
    attributes: Vec<(Cow<'static, str>, Value)>,
}

/// How deep the maps of a parsed context are: each level is a call on the stack.
const MAX_DEPTH: usize = 32;

/// Name of the targeting key in rules.
pub(crate) const TARGETING_KEY: &str = "targetingKey";

impl Context {
    /// A context that says nothing: rules see null for everything. Does not allocate.
    pub const fn new() -> Self {
        Self { targeting_key: None, attributes: Vec::new() }
    }

    /// Sets the targeting key. An empty one is none.
    #[must_use]
    pub fn with_targeting_key(mut self, key: impl Into<Cow<'static, str>>) -> Self {
        self.set_targeting_key(key);
        self
    }

    /// Sets an attribute; an earlier value of that name is replaced.
    ///
    /// A rule takes dots in a name apart, so give `user.name` as the map `user` with its entry
    /// `name`, or by [`parse`](Self::parse).
    ///
    /// Text for `targetingKey` sets the targeting key.
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> Self {
        self.set(name, value);
        self
    }

    /// As [`with_targeting_key`](Self::with_targeting_key), in place.
    pub fn set_targeting_key(&mut self, key: impl Into<Cow<'static, str>>) {
        let key = key.into();
        self.targeting_key = (!key.is_empty()).then_some(key);
    }

    /// As [`with`](Self::with), in place.
    pub fn set(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Value>) {
        let (name, value) = (name.into(), value.into());
        match (&*name, value) {
            (TARGETING_KEY, Value::Text(key)) => self.set_targeting_key(key),
            (_, value) => match self.attributes.iter_mut().find(|(known, _)| *known == name) {
                Some((_, old)) => *old = value,
                None => self.attributes.push((name, value)),
            },
        }
    }

    /// A context out of names and texts, as a query string or a command line has them.
    ///
    /// A text that is a number, `true`, `false` or `null` in JSON is that, and so is one in double
    /// quotes; any other is itself. Dots in a name lead into maps: `user.name`, up to 32 deep; a
    /// name with more of them is one name.
    ///
    /// ```
    /// use octostack_flags::Context;
    ///
    /// let context = Context::parse([("targetingKey", "7"), ("user.age", "7"), ("zip", "\"7\"")]);
    /// assert_eq!(context.targeting_key(), Some("7"));
    /// assert_eq!(context.attribute("user").and_then(|user| user.get("age")), Some(&7_i64.into()));
    /// assert_eq!(context.attribute("zip"), Some(&"7".into()));
    /// ```
    pub fn parse<K, V>(pairs: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: AsRef<str>,
        V: AsRef<str>,
    {
        let mut context = Self::new();
        for (name, text) in pairs {
            let (name, text) = (name.as_ref(), text.as_ref());
            if name == TARGETING_KEY {
                context.set_targeting_key(text.to_owned());
                continue;
            }
            let value = json::parse(text.as_bytes()).ok();
            let value = value.filter(|value| !matches!(value, Value::List(_) | Value::Map(_)));
            let value = value.unwrap_or_else(|| text.to_owned().into());
            let mut path: Vec<_> = name.split('.').collect();
            if path.len() > MAX_DEPTH {
                path = vec![name];
            }
            let first = path.remove(0).to_owned();
            let old = context.attribute(&first).cloned();
            context.set(first, nested(old, &path, value));
        }
        context
    }

    /// The targeting key, if there is one.
    pub fn targeting_key(&self) -> Option<&str> {
        self.targeting_key.as_deref()
    }

    /// The attribute of that name, without a look into it.
    pub fn attribute(&self, name: &str) -> Option<&Value> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// What lies at `path`: an attribute, then keys of maps and indices of lists.
    #[inline]
    pub(crate) fn at(&self, path: &[Box<str>]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.attribute(first)?, |value, key| match value {
            Value::List(items) => items.get(key.parse::<usize>().ok()?),
            value => value.get(key),
        })
    }
}

/// `old` with `value` at `path`, in maps that are made as needed.
fn nested(old: Option<Value>, path: &[&str], value: Value) -> Value {
    let Some((first, rest)) = path.split_first() else {
        return value;
    };
    let mut entries = match old {
        Some(Value::Map(entries)) => entries,
        _ => Vec::new(),
    };
    match entries.iter_mut().find(|(known, _)| known == first) {
        Some((_, inner)) => *inner = nested(Some(inner.clone()), rest, value),
        None => entries.push(((*first).to_owned().into(), nested(None, rest, value))),
    }
    Value::Map(entries)
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.attributes.iter().map(|(name, _)| name);
        f.debug_struct("Context")
            .field("has_targeting_key", &self.targeting_key.is_some())
            .field("attributes", &names.collect::<Vec<_>>())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::Context;
    use octostack_core::inspect::Value;

    #[test]
    fn the_targeting_key_has_two_ways_in_and_is_never_empty() {
        let context = Context::new().with("targetingKey", "a");
        assert_eq!(context.targeting_key(), Some("a"));
        assert_eq!(context.with_targeting_key("").targeting_key(), None);
    }

    #[test]
    fn paths_lead_into_maps_and_lists() {
        let user = Value::map([("names", Value::List(vec!["ann".into(), "bob".into()]))]);
        let context = Context::new().with("user", Value::Null).with("user", user);
        let at = |path: &str| {
            let path: Vec<Box<str>> = path.split('.').map(Into::into).collect();
            context.at(&path).cloned()
        };
        assert_eq!(at("user.names.1"), Some("bob".into()));
        assert_eq!(at("user.names.2"), None);
        assert_eq!(at("user.names.first"), None);
        assert_eq!(at("user.age"), None);
        assert_eq!(at("other"), None);
    }

    #[test]
    fn a_name_with_too_many_dots_is_one_name() {
        let deep = vec!["a"; 100_000].join(".");
        let context = Context::parse([(&*deep, "1"), ("a.b", "2"), ("a.c", "3")]);
        assert_eq!(context.attribute(&deep), Some(&Value::Integer(1)));
        let a = Value::map([("b", Value::Integer(2)), ("c", Value::Integer(3))]);
        assert_eq!(context.attribute("a"), Some(&a));
    }

    #[test]
    fn prints_no_personal_data() {
        let context = Context::new().with_targeting_key("ann").with("mail", "ann@example.org");
        let text = format!("{context:?}");
        assert!(text.contains("mail") && !text.contains("ann"), "{text}");
    }
}
