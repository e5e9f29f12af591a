use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::time::Duration;

/// A status or a setting: what JSON can say, without a JSON library.
///
/// Durations travel as text such as `30s` or `1m 30s`, which is how people write and read them.
/// `Display` prints JSON on one line.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number. Not finite prints as `null`, as JSON has no word for it.
    Float(f64),
    /// Text.
    Text(Cow<'static, str>),
    /// A list.
    List(Vec<Value>),
    /// Keys with values, in the order in which they should be shown.
    Map(Vec<(Cow<'static, str>, Value)>),
}

impl Value {
    /// A map of the given entries, in their order.
    pub fn map<K: Into<Cow<'static, str>>>(entries: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Map(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }

    /// The value under `key`, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => entries.iter().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// The text, if this is text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number as a float, if this is a number.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Self::Integer(n) => Some(n as f64),
            Self::Float(n) => Some(n),
            _ => None,
        }
    }

    /// What to call it in an error message.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "an object",
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(yes) => yes.fmt(f),
            Self::Integer(n) => n.fmt(f),
            Self::Float(n) if n.is_finite() => write!(f, "{n:?}"),
            Self::Null | Self::Float(_) => f.write_str("null"),
            Self::Text(text) => write_string(f, text),
            Self::List(items) => {
                f.write_char('[')?;
                for (i, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if i == 0 { "" } else { ", " })?;
                }
                f.write_char(']')
            }
            Self::Map(entries) => {
                f.write_char('{')?;
                for (i, (key, value)) in entries.iter().enumerate() {
                    f.write_str(if i == 0 { "" } else { ", " })?;
                    write_string(f, key)?;
                    write!(f, ": {value}")?;
                }
                f.write_char('}')
            }
        }
    }
}

/// Writes `text` as a JSON string (RFC 8259, section 7).
fn write_string(out: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    out.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            c if c < ' ' => write!(out, "\\u{:04x}", u32::from(c))?,
            c => out.write_char(c)?,
        }
    }
    out.write_char('"')
}

impl From<bool> for Value {
    fn from(yes: bool) -> Self {
        Self::Bool(yes)
    }
}

impl From<i64> for Value {
    fn from(n: i64) -> Self {
        Self::Integer(n)
    }
}

impl From<u32> for Value {
    fn from(n: u32) -> Self {
        Self::Integer(n.into())
    }
}

/// Counters past `i64::MAX` stay there.
impl From<u64> for Value {
    fn from(n: u64) -> Self {
        Self::Integer(n.try_into().unwrap_or(i64::MAX))
    }
}

impl From<usize> for Value {
    fn from(n: usize) -> Self {
        (n as u64).into()
    }
}

impl From<f64> for Value {
    fn from(n: f64) -> Self {
        Self::Float(n)
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<Duration> for Value {
    fn from(duration: Duration) -> Self {
        Self::Text(humantime::format_duration(duration).to_string().into())
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl<T: Into<Self>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::Value;
    use std::time::Duration;

    #[test]
    fn prints_json() {
        let value = Value::map([
            ("text", Value::from("a \"b\"\n\u{1}\\")),
            ("numbers", vec![Value::from(1_u64), 0.5.into(), f64::NAN.into(), 1.0.into()].into()),
            ("wait", Duration::from_millis(90_500).into()),
            ("none", None::<bool>.into()),
        ]);
        assert_eq!(
            value.to_string(),
            "{\"text\": \"a \\\"b\\\"\\n\\u0001\\\\\", \"numbers\": [1, 0.5, null, 1.0], \
             \"wait\": \"1m 30s 500ms\", \"none\": null}"
        );
    }

    #[test]
    fn finds_keys_of_maps_only() {
        let value = Value::map([("a", 1_u64.into())]);
        assert_eq!(value.get("a"), Some(&Value::Integer(1)));
        assert_eq!(value.get("b"), None);
        assert_eq!(Value::Null.get("a"), None);
        assert_eq!(Value::from(u64::MAX), Value::Integer(i64::MAX));
    }
}
