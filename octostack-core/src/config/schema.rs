//! What the settings struct accepts: the JSON schema that schemars derives, in the shape that
//! checking and environment names need.

use super::bindings::Bindable;
use super::bounds::Bounds;
use super::tree::Step;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema as Generated};
use serde_json::{Map, Value as Json};

/// The extension of the schema that marks what takes effect with a restart only.
const RESTART: &str = "x-restart-required";

/// What one setting accepts.
#[derive(Clone, Debug)]
pub(super) struct Schema {
    /// Nothing (`null`) is accepted too.
    pub(super) nullable: bool,
    /// It is a secret, whole.
    pub(super) secret: bool,
    /// A change of it takes effect with a restart only; so does one of everything in it.
    pub(super) restart: bool,
    /// What stands here if no source says anything, as far as it can be serialised.
    pub(super) default: Option<Json>,
    /// It is a backing service; `kind` is that of its table.
    pub(super) binding: Option<Bindable>,
    pub(super) kind: Kind,
}

/// The types of settings.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// The schema says nothing, or it would never end.
    Any,
    /// Nothing at all: the type `()`.
    Nothing,
    Bool,
    Integer(Bounds),
    Number(Bounds),
    Text {
        min: u64,
        max: u64,
    },
    Duration,
    /// One of these words.
    Words(Vec<String>),
    List {
        item: Box<Schema>,
        min: u64,
        max: u64,
    },
    Table(Table),
    /// One of these forms: an enum with data.
    OneOf(Vec<Schema>),
}

/// A struct, a map, or both at once by `#[serde(flatten)]`.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub(super) fields: Vec<Field>,
    /// What other keys hold; none are allowed without it.
    pub(super) others: Option<Box<Schema>>,
}

/// A field of a struct.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) aliases: Vec<String>,
    pub(super) required: bool,
    pub(super) schema: Schema,
}

impl Schema {
    /// The schema of `T`.
    pub(super) fn of<T: JsonSchema>() -> Self {
        let mut settings = SchemaSettings::draft2020_12();
        // Names of types mean nothing to the walk. Recursive types are still referred to.
        settings.inline_subschemas = true;
        let root: Generated = settings.into_generator().into_root_schema_for::<T>();
        let root = root.to_value();
        Reader { root: &root }.read(&root, &mut Vec::new())
    }

    fn any() -> Self {
        let kind = Kind::Any;
        Self { nullable: true, secret: false, restart: false, default: None, binding: None, kind }
    }

    /// The struct fields that may stand here, in whichever form; an enum has those of all variants.
    pub(super) fn fields(&self) -> Vec<&Field> {
        match &self.kind {
            Kind::Table(table) => table.fields.iter().collect(),
            Kind::OneOf(forms) => forms.iter().flat_map(Self::fields).collect(),
            _ => Vec::new(),
        }
    }

    /// What `key` may hold here; several where variants of an enum share it.
    pub(super) fn inner(&self, key: &str) -> Vec<&Self> {
        match &self.kind {
            Kind::Table(table) => {
                let field = table.fields.iter().find(|field| field.name == key);
                let schema = field.map(|field| &field.schema).or(table.others.as_deref());
                schema.into_iter().collect()
            }
            Kind::OneOf(forms) => forms.iter().flat_map(|form| form.inner(key)).collect(),
            _ => Vec::new(),
        }
    }

    /// What the items of a list may be.
    pub(super) fn items(&self) -> Vec<&Self> {
        match &self.kind {
            Kind::List { item, .. } => vec![item],
            Kind::OneOf(forms) => forms.iter().flat_map(Self::items).collect(),
            _ => Vec::new(),
        }
    }

    /// What may stand at `path`; nothing if no form leads there.
    pub(super) fn at(&self, path: &[Step]) -> Vec<&Self> {
        let mut schemas = vec![self];
        for step in path {
            let all = schemas.into_iter();
            schemas = match step {
                Step::Key(key) => all.flat_map(|schema| schema.inner(key)).collect(),
                Step::Index(_) => all.flat_map(Self::items).collect(),
            };
        }
        schemas
    }

    /// Whether a change of what stands at `path` takes effect with a restart only.
    pub(super) fn restarts_at(&self, path: &[Step]) -> bool {
        let mut schemas = vec![self];
        for step in path {
            if schemas.iter().any(|schema| schema.restart) {
                return true;
            }
            let all = schemas.into_iter();
            schemas = match step {
                Step::Key(key) => all.flat_map(|schema| schema.inner(key)).collect(),
                Step::Index(_) => all.flat_map(Self::items).collect(),
            };
        }
        // What cannot be taken apart stays as a whole.
        schemas.iter().any(|schema| schema.needs_restart())
    }

    /// Whether a value that stands here is a secret, in one form at least.
    pub(super) fn is_secret(&self) -> bool {
        self.secret || matches!(&self.kind, Kind::OneOf(forms) if forms.iter().any(Self::is_secret))
    }

    /// Whether a secret can be anywhere in it. True if in doubt.
    pub(super) fn may_hold_secret(&self) -> bool {
        self.secret
            || match &self.kind {
                Kind::Any => true,
                Kind::List { item, .. } => item.may_hold_secret(),
                Kind::Table(table) => {
                    table.fields.iter().any(|field| field.schema.may_hold_secret())
                        || table.others.as_ref().is_some_and(|s| s.may_hold_secret())
                }
                Kind::OneOf(forms) => forms.iter().any(Self::may_hold_secret),
                _ => false,
            }
    }

    /// Whether a change of it, or of something in it, takes effect with a restart only.
    pub(super) fn needs_restart(&self) -> bool {
        self.restart
            || match &self.kind {
                Kind::List { item, .. } => item.needs_restart(),
                Kind::Table(table) => {
                    let others = table.others.as_deref();
                    let fields = table.fields.iter().map(|field| &field.schema);
                    fields.chain(others).any(Self::needs_restart)
                }
                Kind::OneOf(forms) => forms.iter().any(Self::needs_restart),
                _ => false,
            }
    }

    /// What to write there, for an error message.
    pub(super) fn expected(&self) -> String {
        let plain = match &self.kind {
            _ if let Some(binding) = &self.binding => binding.expected(),
            Kind::Any => "a value".into(),
            Kind::Nothing => "nothing".into(),
            Kind::Bool => "true or false".into(),
            Kind::Integer(bounds) => format!("a whole number{}", bounds.describe()),
            Kind::Number(bounds) => format!("a number{}", bounds.describe()),
            Kind::Text { min: 0 | 1, max: u64::MAX } => "a string".into(),
            Kind::Text { min, max: u64::MAX } => format!("a string of at least {min} characters"),
            Kind::Text { min, max } => format!("a string of {min} to {max} characters"),
            Kind::Duration => "a duration such as `250ms`, `30s` or `1h 30m`".into(),
            Kind::Words(words) if words.len() == 1 => format!("`{}`", words[0]),
            Kind::Words(words) => format!("one of `{}`", words.join("`, `")),
            Kind::List { item, .. } => format!("a list, each item {}", item.expected()),
            Kind::Table(_) => "a table".into(),
            Kind::OneOf(forms) => alternatives(forms),
        };
        if self.secret { format!("a secret: {plain}") } else { plain }
    }
}

/// The forms of an enum in words: its names together, then what else it may be.
fn alternatives(forms: &[Schema]) -> String {
    let mut words = Vec::new();
    let mut others = Vec::new();
    for form in forms {
        match &form.kind {
            Kind::Words(more) => words.extend(more.iter().map(|word| format!("`{word}`"))),
            Kind::Table(table) => match table.fields.as_slice() {
                [only] if only.required => others.push(format!("a table with `{}`", only.name)),
                _ => others.push(form.expected()),
            },
            _ => others.push(form.expected()),
        }
    }
    others.dedup();
    words.extend(others);
    format!("one of {}", words.join(", "))
}

struct Reader<'a> {
    root: &'a Json,
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
        Schema { nullable, secret, restart, default, binding, kind }
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
                item: Box::new(self.item(object, within)),
                min: size("minItems", 0),
                max: size("maxItems", u64::MAX),
            },
            "object" => Kind::Table(self.table(object, within)),
            _ => Kind::Any,
        }
    }

    /// What a list holds; the places of a tuple are checked by serde alone.
    fn item(&self, object: &Map<String, Json>, within: &mut Vec<String>) -> Schema {
        match (object.get("prefixItems"), object.get("items")) {
            (None, Some(items)) => self.read(items, within),
            _ => Schema::any(),
        }
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
