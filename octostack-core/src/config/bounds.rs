//! How large a number may be.

use serde_json::{Map, Number, Value as Json};
use std::cmp::Ordering;

/// Inclusive and exclusive limits of a number.
#[derive(Clone, Debug, Default)]
pub(super) struct Bounds {
    min: Option<Number>,
    max: Option<Number>,
    above: Option<Number>,
    below: Option<Number>,
}

impl Bounds {
    /// Those that the schema of a number states.
    pub(super) fn of(json: &Map<String, Json>) -> Self {
        let number = |key| json.get(key).and_then(Json::as_number).cloned();
        // schemars names the width of an integer; a limit of the user's own may be narrower.
        let format = json.get("format").and_then(Json::as_str);
        let (low, high): (Option<Number>, Option<Number>) = match format {
            Some("int8") => (Some(i8::MIN.into()), Some(i8::MAX.into())),
            Some("int16") => (Some(i16::MIN.into()), Some(i16::MAX.into())),
            Some("int32") => (Some(i32::MIN.into()), Some(i32::MAX.into())),
            Some("int64" | "int") => (Some(i64::MIN.into()), Some(i64::MAX.into())),
            Some("uint8") => (Some(0.into()), Some(u8::MAX.into())),
            Some("uint16") => (Some(0.into()), Some(u16::MAX.into())),
            Some("uint32") => (Some(0.into()), Some(u32::MAX.into())),
            Some("uint64" | "uint") => (Some(0.into()), Some(u64::MAX.into())),
            _ => (None, None),
        };
        Self {
            min: number("minimum").or(low),
            max: number("maximum").or(high),
            above: number("exclusiveMinimum"),
            below: number("exclusiveMaximum"),
        }
    }

    /// Whether the whole number `n` is within them. Exact, where the limits are whole too.
    pub(super) fn allow_integer(&self, n: i128) -> bool {
        let compare = |limit: &Number| {
            limit.as_i128().map_or_else(
                || (n as f64).partial_cmp(&limit.as_f64().unwrap_or(f64::NAN)),
                |limit| Some(n.cmp(&limit)),
            )
        };
        self.allow(compare)
    }

    /// Whether the number `n` is within them.
    pub(super) fn allow_float(&self, n: f64) -> bool {
        n.is_finite() && self.allow(|limit| n.partial_cmp(&limit.as_f64()?))
    }

    fn allow(&self, compare: impl Fn(&Number) -> Option<Ordering>) -> bool {
        let holds = |limit: &Option<Number>, test: fn(Ordering) -> bool| {
            limit.as_ref().is_none_or(|limit| compare(limit).is_some_and(test))
        };
        holds(&self.min, Ordering::is_ge)
            && holds(&self.max, Ordering::is_le)
            && holds(&self.above, Ordering::is_gt)
            && holds(&self.below, Ordering::is_lt)
    }

    /// ` from 0 to 65535`, or nothing without limits.
    pub(super) fn describe(&self) -> String {
        let part = |word: &str, limit: &Option<Number>| {
            limit.as_ref().map(|limit| format!(" {word} {limit}"))
        };
        let low = part("from", &self.min).or_else(|| part("above", &self.above));
        let high = part("to", &self.max).or_else(|| part("below", &self.below));
        low.unwrap_or_default() + &high.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::Bounds;
    use serde_json::json;

    fn bounds(json: &serde_json::Value) -> Bounds {
        Bounds::of(json.as_object().unwrap())
    }

    #[test]
    fn the_width_of_a_type_is_a_limit() {
        for (format, low, high) in [
            ("int8", i128::from(i8::MIN), i128::from(i8::MAX)),
            ("int32", i32::MIN.into(), i32::MAX.into()),
            ("int64", i64::MIN.into(), i64::MAX.into()),
            ("uint16", 0, u16::MAX.into()),
            ("uint64", 0, u64::MAX.into()),
        ] {
            let bounds = bounds(&json!({ "format": format }));
            assert!(bounds.allow_integer(low) && bounds.allow_integer(high), "{format}");
            assert!(!bounds.allow_integer(low - 1), "{format}");
            assert!(!bounds.allow_integer(high + 1), "{format}");
        }
    }

    #[test]
    fn limits_are_inclusive_or_exclusive() {
        let ratio = bounds(&json!({ "minimum": 0.0, "exclusiveMaximum": 1.0 }));
        assert!(ratio.allow_float(0.0) && ratio.allow_float(0.999) && ratio.allow_integer(0));
        assert!(!ratio.allow_float(1.0) && !ratio.allow_integer(1));
        assert!(!ratio.allow_float(f64::NAN) && !ratio.allow_float(f64::INFINITY));
        assert_eq!(ratio.describe(), " from 0.0 below 1.0");
        let positive = bounds(&json!({ "exclusiveMinimum": 0 }));
        assert!(!positive.allow_integer(0) && positive.allow_integer(1));
        assert_eq!(positive.describe(), " above 0");
        let any = bounds(&json!({ "type": "number" }));
        assert!(any.allow_float(f64::MAX) && !any.allow_float(f64::NAN));
        assert_eq!(any.describe(), "");
    }
}
