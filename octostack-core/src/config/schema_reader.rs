//! From the JSON schema that schemars derives to the one that is worked with.

use super::bindings::Bindable;
use super::bounds::Bounds;
use super::constraint::Constraints;
use super::schema::{Field, Kind, Schema, Table};
use serde_json::{Map, Value as Json};

/// The extension of the schema that marks what takes effect with a restart only.
const RESTART: &str = "x-restart-required";

struct Reader<'a> {
    root: &'a Json,
}

/// Reads the JSON schema `root`.
pub(super) fn read(root: &Json) -> Schema {
    Reader { root }.read(root, &mut Vec::new())
}

impl Reader<'_> {
    /// Reads `json`; `within` are the references that lead here, to see a recursion.
    fn read(&self, json: &Json, within: &mut Vec<String>) -> Schema {
        let Some(object) = json.as_object() else {
            return Schema::any();
        };
        let target = object.get("$ref").and_then(Json::as_str);
        if let Some(target) = target {
            let mut schema = self.follow(target, within);
            schema.default = object.get("default").cloned().or(schema.default);
            schema.secret |= is_secret(object);
            schema.restart |= is_marked(object, RESTART);
            return schema;
        }
        let (mut kind, nullable) = self.kind(object, within);
        let binding = Bindable::of(object);
        if binding.is_some() {
            kind = Bindable::table(kind);
        }
        let secret = is_secret(object);
        // The default of a secret serialises as the word that stands for one.
        let default = object.get("default").cloned().filter(|_| !secret);
        let restart = is_marked(object, RESTART);
        let constraints = Constraints::of(object);
        Schema { nullable, secret, restart, default, constraints, binding, kind }
    }

    fn follow(&self, target: &str, within: &mut Vec<String>) -> Schema {
        let found = self.root.pointer(target.trim_start_matches('#'));
        match found {
            Some(found) if !within.iter().any(|known| known == target) => {
                within.push(target.to_owned());
                let schema = self.read(found, within);
                within.pop();
                schema
            }
            _ => Schema::any(),
        }
    }

    /// The kind, and whether null is accepted beside it.
    fn kind(&self, object: &Map<String, Json>, within: &mut Vec<String>) -> (Kind, bool) {
        if let Some(word) = object.get("const").and_then(Json::as_str) {
            return (Kind::Words(vec![word.to_owned()]), false);
        }
        if let Some(values) = object.get("enum").and_then(Json::as_array) {
            let words = values.iter().filter_map(Json::as_str).map(str::to_owned);
            return (Kind::Words(words.collect()), values.contains(&Json::Null));
        }
        if let Some(forms) = ["oneOf", "anyOf"].iter().find_map(|key| object.get(*key)) {
            let forms = forms.as_array().map(Vec::as_slice).unwrap_or_default();
            return self.forms(object, forms, within);
        }
        let types = match object.get("type") {
            Some(Json::String(one)) => vec![one.as_str()],
            Some(Json::Array(many)) => many.iter().filter_map(Json::as_str).collect(),
            _ if object.contains_key("properties") => vec!["object"],
            _ => return (Kind::Any, true),
        };
        let nullable = types.contains(&"null");
        let mut types = types.into_iter().filter(|name| *name != "null");
        let kind = match (types.next(), types.next()) {
            (None, _) => Kind::Nothing,
            (Some(one), None) => self.typed(one, object, within),
            (Some(_), Some(_)) => Kind::Any,
        };
        (kind, nullable)
    }

    fn typed(&self, name: &str, object: &Map<String, Json>, within: &mut Vec<String>) -> Kind {
        let size = |key, or| object.get(key).and_then(Json::as_u64).unwrap_or(or);
        match name {
            "boolean" => Kind::Bool,
            "integer" => Kind::Integer(Bounds::of(object)),
            "number" => Kind::Number(Bounds::of(object)),
            "string" if object.get("format") == Some(&"duration".into()) => Kind::Duration,
            "string" => Kind::Text { min: size("minLength", 0), max: size("maxLength", u64::MAX) },
            "array" => Kind::List {
                first: self.first(object, within),
                item: Box::new(self.item(object, within)),
                min: size("minItems", 0),
                max: size("maxItems", u64::MAX),
            },
            "object" => Kind::Table(self.table(object, within)),
            _ => Kind::Any,
        }
    }

    /// The places of a tuple.
    fn first(&self, object: &Map<String, Json>, within: &mut Vec<String>) -> Vec<Schema> {
        let first = object.get("prefixItems").and_then(Json::as_array);
        first.into_iter().flatten().map(|json| self.read(json, within)).collect()
    }

    /// What else a list holds.
    fn item(&self, object: &Map<String, Json>, within: &mut Vec<String>) -> Schema {
        object.get("items").map_or_else(Schema::any, |items| self.read(items, within))
    }

    fn table(&self, object: &Map<String, Json>, within: &mut Vec<String>) -> Table {
        let required = object.get("required").and_then(Json::as_array);
        let is_required = |name: &str| required.is_some_and(|all| all.contains(&name.into()));
        let properties = object.get("properties").and_then(Json::as_object);
        let fields = properties.into_iter().flatten().map(|(name, json)| {
            let schema = self.read(json, within);
            let aliases = json.get("x-aliases").and_then(Json::as_array);
            let aliases = aliases.into_iter().flatten().filter_map(Json::as_str);
            Field {
                name: name.clone(),
                aliases: aliases.map(str::to_owned).collect(),
                // A secret has no default, whatever the struct around it says.
                required: is_required(name) || (schema.secret && !schema.nullable),
                deprecated: json.get("deprecated") == Some(&Json::Bool(true)),
                doc: json.get("description").and_then(Json::as_str).map(str::to_owned),
                schema,
            }
        });
        let fields = fields.collect();
        let others = object.get("additionalProperties").or_else(|| {
            // Numbers as keys of a map.
            let patterns = object.get("patternProperties")?.as_object()?;
            patterns.values().next()
        });
        let others = others.filter(|others| **others != Json::Bool(false));
        Table { fields, others: others.map(|others| Box::new(self.read(others, within))) }
    }

    /// `oneOf` and `anyOf`: an `Option`, an enum, or an enum flattened into a struct.
    fn forms(
        &self,
        object: &Map<String, Json>,
        forms: &[Json],
        within: &mut Vec<String>,
    ) -> (Kind, bool) {
        let is_null = |form: &Json| form.get("type") == Some(&"null".into());
        let mut nullable = forms.iter().any(is_null);
        let forms = forms.iter().filter(|form| !is_null(form));
        let mut forms: Vec<_> = forms.map(|form| self.read(form, within)).collect();
        let base = self.table(object, within);
        if !base.fields.is_empty() {
            for form in &mut forms {
                if let Kind::Table(table) = &mut form.kind {
                    table.fields.splice(0..0, base.fields.iter().cloned());
                }
            }
        }
        nullable |= forms.iter().any(|form| form.nullable);
        let words = |form: &Schema| match &form.kind {
            Kind::Words(words) if !form.secret => Some(words.clone()),
            _ => None,
        };
        if let Some(words) = forms.iter().map(words).collect::<Option<Vec<_>>>() {
            return (Kind::Words(words.concat()), nullable);
        }
        match forms.len() {
            1 => (forms.remove(0).kind, nullable),
            _ => (Kind::OneOf(forms), nullable),
        }
    }
}

fn is_marked(object: &Map<String, Json>, extension: &str) -> bool {
    object.get(extension) == Some(&Json::Bool(true))
}

fn is_secret(object: &Map<String, Json>) -> bool {
    let marked = |json: &Json| json.get("x-secret") == Some(&Json::Bool(true));
    let forms = ["anyOf", "oneOf"].iter().filter_map(|key| object.get(*key));
    let mut forms = forms.filter_map(Json::as_array).flatten();
    // An option of a secret is a secret; an enum with one secret variant is not.
    object.get("x-secret") == Some(&Json::Bool(true))
        || (object.contains_key("anyOf")
            && forms.clone().any(marked)
            && forms.all(|form| marked(form) || form.get("type") == Some(&"null".into())))
}
