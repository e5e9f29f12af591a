//! Which keys there are.
use crate::framework::Framework;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value as Json;

/// A setting.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) path: String,
    pub(super) variables: Vec<String>,
    pub(super) bare: Vec<String>,
    pub(super) expected: String,
    pub(super) default: Option<String>,
    pub(super) required: bool,
    pub(super) secret: bool,
    pub(super) reloadable: bool,
    pub(super) doc: String,
    pub(super) framework: bool,
    pub(super) binding: Option<String>,
}

/// The keys of the framework and of the settings `S`, for variables that begin with `prefix`.
pub(super) fn of<S: JsonSchema>(prefix: &str) -> Vec<Key> {
    let mut keys = Vec::new();
    Walk { prefix, framework: false, keys: &mut keys }.root(&schema::<S>());
    Walk { prefix, framework: true, keys: &mut keys }.root(&schema::<Framework>());
    keys
}

fn schema<T: JsonSchema>() -> Json {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

struct Walk<'a> {
    prefix: &'a str,
    framework: bool,
    keys: &'a mut Vec<Key>,
}

impl Walk<'_> {
    fn root(&mut self, schema: &Json) {
        self.table(schema, &mut Vec::new(), false, None);
    }

    /// `given` is what the table around it has as its default, which beats the type's own.
    fn table(
        &mut self,
        schema: &Json,
        path: &mut Vec<String>,
        restart: bool,
        given: Option<&Json>,
    ) {
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        for (name, json) in schema["properties"].as_object().into_iter().flatten() {
            path.push(name.clone());
            let restart = restart || json["x-restart-required"] == true;
            let default = given.or(schema.get("default")).map(|given| &given[name]);
            let default = default.or(json.get("default"));
            if json["properties"].is_object() {
                self.table(json, path, restart, default);
            } else {
                let required = required.contains(&Json::from(name.as_str()));
                self.leaf(json, path, default, required, restart);
            }
            path.pop();
        }
    }

    fn leaf(
        &mut self,
        json: &Json,
        path: &[String],
        default: Option<&Json>,
        required: bool,
        restart: bool,
    ) {
        let forms = json["anyOf"].as_array().map(Vec::as_slice).unwrap_or_default();
        let secret = json["x-secret"] == true || forms.iter().any(|form| form["x-secret"] == true);
        let nullable = forms.iter().any(|form| form["type"] == "null")
            || json["type"].as_array().is_some_and(|types| types.contains(&"null".into()));
        let upper = |separator: &str| {
            let name = path.join(separator).to_ascii_uppercase().replace('-', "_");
            format!("{}{name}", self.prefix)
        };
        let mut variables = vec![upper("_"), upper("__")];
        variables.dedup();
        let dotted = path.join(".");
        let bare = Framework::bare_names().filter(|(_, key)| self.framework && *key == dotted);
        let default = match default {
            None | Some(Json::Null) => None,
            Some(Json::String(text)) => Some(text.clone()),
            Some(other) => Some(other.to_string()),
        };
        self.keys.push(Key {
            variables,
            bare: bare.map(|(name, _)| name.to_owned()).collect(),
            expected: expected(json),
            default: default.filter(|_| !secret),
            required: required || (secret && !nullable),
            secret,
            reloadable: !restart,
            doc: json["description"].as_str().unwrap_or_default().replace('\n', " "),
            framework: self.framework,
            binding: binding(json, forms),
            path: dotted,
        });
    }
}

/// The type of the backing service; that of an `Option` stands in one of its `forms`.
fn binding(json: &Json, forms: &[Json]) -> Option<String> {
    let mut around = [json].into_iter().chain(forms);
    around.find_map(|json| json["x-binding"].as_str()).map(str::to_owned)
}

fn expected(json: &Json) -> String {
    let format = json["format"].as_str().filter(|format| *format == "duration");
    let one = json["type"].as_str();
    let mut some = json["type"].as_array().into_iter().flatten().filter_map(Json::as_str);
    let kind = format.or(one).or(some.rfind(|kind| *kind != "null"));
    kind.unwrap_or("value").to_owned()
}
