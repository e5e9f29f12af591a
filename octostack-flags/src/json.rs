//! JSON text as a [`Value`]: maps keep their order, and a key that is given twice stays there
//! twice, so that whoever reads the map can say so.
use octostack_core::inspect::Value;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// Reads one JSON document.
pub(crate) fn parse(text: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice::<Json>(text).map(|json| json.0)
}

struct Json(Value);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(AnyValue).map(Json)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, yes: bool) -> Result<Value, E> {
        Ok(Value::Bool(yes))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        // Past `i64` it is a float, as every number is where the format comes from.
        #[allow(clippy::cast_precision_loss, reason = "that is what a JSON number may lose")]
        let float = || Value::Float(number as f64);
        Ok(i64::try_from(number).map_or_else(|_| float(), Value::Integer))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(Cow::Owned(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Json(item)) = from.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, Json(value))) = from.next_entry::<String, Json>()? {
            entries.push((Cow::Owned(key), value));
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::parse;
    use octostack_core::inspect::Value;

    #[test]
    fn keeps_order_duplicates_and_the_kinds_of_numbers() {
        let value = parse(br#"{"z": [1, 1.0, -2, 18446744073709551615], "a": null, "z": "x"}"#);
        let numbers = [1_i64.into(), 1.0.into(), Value::Integer(-2), (u64::MAX as f64).into()];
        let entries =
            [("z", Value::List(numbers.into())), ("a", Value::Null), ("z", Value::from("x"))];
        assert_eq!(value.unwrap(), Value::map(entries));
    }

    #[test]
    fn says_where_text_is_no_json() {
        let error = parse(b"{\n  \"flags\": {,}}").unwrap_err();
        assert_eq!((error.line(), error.column()), (2, 13));
        let deep = "[".repeat(1_000);
        assert!(parse(deep.as_bytes()).unwrap_err().to_string().contains("recursion limit"));
    }
}
