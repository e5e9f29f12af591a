//! JSON and [`Value`], in both directions.
use crate::inspect::Value;
use serde::ser::{Serialize, SerializeMap, Serializer};

/// A [`Value`] that serde can write: maps keep their order, which those of `serde_json` do not.
struct Ordered<'a>(&'a Value);

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => to.serialize_unit(),
            Value::Bool(yes) => to.serialize_bool(*yes),
            Value::Integer(n) => to.serialize_i64(*n),
            Value::Float(n) => to.serialize_f64(*n),
            Value::Text(text) => to.serialize_str(text),
            Value::List(items) => to.collect_seq(items.iter().map(Ordered)),
            Value::Map(entries) => {
                let mut map = to.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, &Ordered(value))?;
                }
                map.end()
            }
        }
    }
}

/// Prints `value` for people, with a newline at the end.
pub(super) fn pretty(value: &Value) -> Vec<u8> {
    // Keys are text and nothing here can fail, so the fallback is for the type only.
    let mut text =
        serde_json::to_vec_pretty(&Ordered(value)).unwrap_or_else(|_| value.to_string().into());
    text.push(b'\n');
    text
}

/// What a request said, as a [`Value`]. Whole numbers past `i64` become floats.
pub(super) fn value(json: serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match json {
        Json::Null => Value::Null,
        Json::Bool(yes) => Value::Bool(yes),
        Json::Number(n) => match n.as_i64() {
            Some(n) => Value::Integer(n),
            None => Value::Float(n.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::from(text),
        Json::Array(items) => Value::List(items.into_iter().map(value).collect()),
        Json::Object(entries) => Value::map(entries.into_iter().map(|(k, v)| (k, value(v)))),
    }
}

#[cfg(test)]
mod tests {
    use super::{Value, pretty, value};

    #[test]
    fn keeps_the_order_and_reads_back() {
        let status = Value::map([
            ("z", Value::List(vec![1_u64.into(), 0.5.into(), Value::Null])),
            ("a", Value::from("quote \" and \u{1}")),
            ("infinite", f64::INFINITY.into()),
        ]);
        let text = String::from_utf8(pretty(&status)).unwrap();
        assert!(text.find("\"z\"") < text.find("\"a\""), "{text}");
        let back = value(serde_json::from_str(&text).unwrap());
        assert_eq!(back.get("z"), status.get("z"));
        assert_eq!(back.get("a"), status.get("a"));
        assert_eq!(back.get("infinite"), Some(&Value::Null));
    }

    #[test]
    fn large_numbers_become_floats() {
        let read = |text| value(serde_json::from_str(text).unwrap());
        assert_eq!(read("9223372036854775807"), Value::Integer(i64::MAX));
        assert_eq!(read("9223372036854775808"), Value::Float(9_223_372_036_854_775_808.0));
    }
}
