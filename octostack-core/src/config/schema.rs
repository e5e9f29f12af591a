//! What the settings struct accepts: the JSON schema that schemars derives, in the shape that
//! checking and environment names need.

use super::bindings::Bindable;
use super::bounds::Bounds;
use super::constraint::Constraints;
use super::schema_reader::read;
use super::tree::Step;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value as Json;

/// The JSON schema of `T`.
pub(super) fn generated<T: JsonSchema>() -> Json {
    let mut settings = SchemaSettings::draft2020_12();
    // Names of types mean nothing to the walk. Recursive types are still referred to.
    settings.inline_subschemas = true;
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

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
    /// What else it demands of a value.
    pub(super) constraints: Constraints,
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
        /// What the first items are, in a tuple; the others are each an `item`.
        first: Vec<Schema>,
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
    /// Its doc comment.
    pub(super) doc: Option<String>,
    /// Nobody should set it any more.
    pub(super) deprecated: bool,
    pub(super) schema: Schema,
}

/// What a key may hold: usually one schema, which is worth no allocation.
pub(super) enum Inner<'a> {
    One(Option<&'a Schema>),
    Many(std::vec::IntoIter<&'a Schema>),
}

impl<'a> Iterator for Inner<'a> {
    type Item = &'a Schema;

    fn next(&mut self) -> Option<&'a Schema> {
        match self {
            Self::One(schema) => schema.take(),
            Self::Many(schemas) => schemas.next(),
        }
    }
}

impl Schema {
    /// The schema of `T`.
    pub(super) fn of<T: JsonSchema>() -> Self {
        read(&generated::<T>())
    }

    pub(super) fn any() -> Self {
        Self::of_kind(Kind::Any, true)
    }

    /// A schema that demands nothing but its kind.
    pub(super) fn of_kind(kind: Kind, nullable: bool) -> Self {
        Self {
            nullable,
            secret: false,
            restart: false,
            default: None,
            constraints: Constraints::default(),
            binding: None,
            kind,
        }
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
    pub(super) fn inner(&self, key: &str) -> Inner<'_> {
        match &self.kind {
            Kind::Table(table) => {
                let field = table.fields.iter().find(|field| field.name == key);
                Inner::One(field.map(|field| &field.schema).or(table.others.as_deref()))
            }
            Kind::OneOf(forms) => {
                let all: Vec<_> = forms.iter().flat_map(|form| form.inner(key)).collect();
                Inner::Many(all.into_iter())
            }
            _ => Inner::One(None),
        }
    }

    /// What the items of a list may be.
    pub(super) fn items(&self) -> Vec<&Self> {
        match &self.kind {
            Kind::List { first, item, max, .. } => {
                // A tuple has nothing but its places.
                let rest = Some(&**item).filter(|_| *max > first.len() as u64);
                first.iter().chain(rest).collect()
            }
            Kind::OneOf(forms) => forms.iter().flat_map(Self::items).collect(),
            _ => Vec::new(),
        }
    }

    /// Whether it is a tuple, in one form at least.
    pub(super) fn has_places(&self) -> bool {
        match &self.kind {
            Kind::List { first, .. } => !first.is_empty(),
            Kind::OneOf(forms) => forms.iter().any(Self::has_places),
            _ => false,
        }
    }

    /// Whether nothing stands twice in it, as in a set, in one form at least.
    pub(super) fn has_unique_items(&self) -> bool {
        self.constraints.is_unique()
            || matches!(&self.kind, Kind::OneOf(forms) if forms.iter().any(Self::has_unique_items))
    }

    /// What item `index` of a list may be.
    pub(super) fn item(&self, index: usize) -> Vec<&Self> {
        match &self.kind {
            Kind::List { first, item, .. } => vec![first.get(index).unwrap_or(item)],
            Kind::OneOf(forms) => forms.iter().flat_map(|form| form.item(index)).collect(),
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
                Step::Index(index) => all.flat_map(|schema| schema.item(*index)).collect(),
            };
        }
        schemas
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
                Kind::List { .. } => self.items().into_iter().any(Self::may_hold_secret),
                Kind::Table(table) => {
                    table.fields.iter().any(|field| field.schema.may_hold_secret())
                        || table.others.as_ref().is_some_and(|s| s.may_hold_secret())
                }
                Kind::OneOf(forms) => forms.iter().any(Self::may_hold_secret),
                _ => false,
            }
    }

    /// Whether text for it would hold a secret. Unlike [`may_hold_secret`](Self::may_hold_secret)
    /// it does not count what is merely unknown, or free-form settings could not be set.
    pub(super) fn holds_secret(&self) -> bool {
        self.secret
            || match &self.kind {
                Kind::List { .. } => self.items().into_iter().any(Self::holds_secret),
                Kind::OneOf(forms) => forms.iter().any(Self::holds_secret),
                Kind::Table(table) => {
                    let others = table.others.as_deref();
                    let fields = table.fields.iter().map(|field| &field.schema);
                    fields.chain(others).any(Self::holds_secret)
                }
                _ => false,
            }
    }

    /// Whether a change of it, or of something in it, takes effect with a restart only.
    pub(super) fn needs_restart(&self) -> bool {
        self.restart
            || match &self.kind {
                Kind::List { .. } => self.items().into_iter().any(Self::needs_restart),
                Kind::Table(table) => {
                    let others = table.others.as_deref();
                    let fields = table.fields.iter().map(|field| &field.schema);
                    fields.chain(others).any(Self::needs_restart)
                }
                Kind::OneOf(forms) => forms.iter().any(Self::needs_restart),
                _ => false,
            }
    }

    /// Whether all in it takes effect with a restart only, as it cannot be taken apart.
    pub(super) fn stays_whole(&self) -> bool {
        match &self.kind {
            Kind::Table(Table { others: None, .. }) => self.restart,
            _ => self.needs_restart(),
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
            Kind::List { first, item, .. } if first.is_empty() => {
                format!("a list, each item {}", item.expected())
            }
            Kind::List { .. } => format!("a list: {}", self.in_order()),
            Kind::Table(_) => "a table".into(),
            Kind::OneOf(forms) => alternatives(forms),
        };
        let plain = format!("{plain}{}", self.constraints.describe());
        if self.secret { format!("a secret: {plain}") } else { plain }
    }

    /// What the places of a tuple hold, in words.
    pub(super) fn in_order(&self) -> String {
        self.items().into_iter().map(Self::expected).collect::<Vec<_>>().join(", then ")
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
