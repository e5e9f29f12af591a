//! The JSON Schema of a whole config file, for editors and other tools.

use super::loader::Loader;
use super::schema::generated;
use crate::secret::REDACTED;
use schemars::JsonSchema;
use serde_json::{Map, Value as Json, json};

impl Loader {
    /// The JSON Schema (draft 2020-12) of a config file of a service: the framework's sections and
    /// its own settings in one object. Nothing is required in it, since every other source may have
    /// it too.
    pub fn json_schema<F: JsonSchema, S: JsonSchema>(&self) -> Json {
        let mut whole = Map::new();
        let mut properties = Map::new();
        let mut shared = Map::new();
        for mut part in [generated::<S>(), generated::<F>()] {
            let mut take = |key: &str| match part.get_mut(key).map(Json::take) {
                Some(Json::Object(entries)) => entries,
                _ => Map::new(),
            };
            properties.extend(take("properties"));
            shared.extend(take("$defs"));
        }
        whole.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
        whole.insert("type".into(), "object".into());
        whole.insert("properties".into(), properties.into());
        if !shared.is_empty() {
            whole.insert("$defs".into(), shared.into());
        }
        whole.insert("additionalProperties".into(), json!(false));
        let mut whole = Json::Object(whole);
        clean(&mut whole, false);
        whole
    }
}

/// Takes out what is wrong of a file: that a value must be in this one, and defaults of secrets.
/// What tells a `variant` of an enum from the others stays required.
fn clean(json: &mut Json, variant: bool) {
    match json {
        Json::Object(entries) => {
            let is_struct = entries.contains_key("properties") && !variant;
            entries.retain(|key, value| {
                let demands = key == "required" && is_struct && value.is_array();
                !demands && (key != "default" || !hide(value))
            });
            for (key, value) in entries {
                match value {
                    Json::Array(forms) if key == "oneOf" || key == "anyOf" => {
                        for form in forms {
                            clean(form, true);
                        }
                    }
                    value => clean(value, false),
                }
            }
        }
        Json::Array(items) => {
            for item in items {
                clean(item, false);
            }
        }
        _ => {}
    }
}

/// Takes secrets out of a default. Whether it was one as a whole.
fn hide(default: &mut Json) -> bool {
    match default {
        Json::String(text) => text == REDACTED,
        Json::Object(entries) => {
            entries.retain(|_, value| !hide(value));
            false
        }
        // Without one item it would be another list.
        Json::Array(items) => items.iter_mut().any(hide),
        _ => false,
    }
}
