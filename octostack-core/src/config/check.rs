//! A tree of values against the schema: everything that can be said before serde reads it.

use super::error::{Error, ErrorKind, Origin};
use super::merge::{tags, variant};
use super::schema::{Kind, Schema, Table};
use super::suggest::nearest;
use super::tree::{Data, Entry, Node, Step};
use crate::secret::{REDACTED, SecretRef};

/// How much of the settings a tree holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// One source of several: what it lacks may stand in another.
    Part,
    /// All of them together.
    Whole,
}

/// How the variable of a key is called, for advice.
pub(super) type VariableName<'a> = &'a dyn Fn(&[Step]) -> String;

/// Checks `node` and returns what is wrong with it.
pub(super) fn check<'a>(
    node: &'a Node,
    schema: &'a Schema,
    extent: Extent,
    variable: VariableName<'a>,
    schemes: &'a [&'a str],
) -> Vec<Error> {
    let mut checker = Checker { extent, variable, schemes, path: Vec::new(), errors: Vec::new() };
    checker.node(node, schema);
    checker.errors
}

struct Checker<'a> {
    extent: Extent,
    variable: VariableName<'a>,
    /// Those of references, beside those that always mean one.
    schemes: &'a [&'a str],
    /// Made into steps of their own only for an error.
    path: Vec<At<'a>>,
    errors: Vec<Error>,
}

/// A step that somebody else owns.
#[derive(Clone, Copy)]
enum At<'a> {
    Key(&'a str),
    Index(usize),
}

impl From<&At<'_>> for Step {
    fn from(at: &At<'_>) -> Self {
        match at {
            At::Key(key) => Self::Key((*key).to_owned()),
            At::Index(index) => Self::Index(*index),
        }
    }
}

impl<'a> Checker<'a> {
    fn report(&mut self, kind: ErrorKind, origin: &Origin, message: String) {
        let error = Error::new(kind, &self.steps(), message).with_origin(origin.clone());
        self.errors.push(error);
    }

    fn steps(&self) -> Vec<Step> {
        self.path.iter().map(Step::from).collect()
    }

    fn below(&mut self, step: At<'a>, visit: impl FnOnce(&mut Self)) {
        self.path.push(step);
        visit(self);
        self.path.pop();
    }

    fn node(&mut self, node: &'a Node, schema: &'a Schema) {
        // What it leads to is checked once it has been followed.
        if let Data::Text(text) = &node.data
            && schema.is_secret()
            && SecretRef::is_meant(text, self.schemes)
        {
            return;
        }
        let before = self.errors.len();
        self.kind(node, schema);
        // A table is complete only with all sources.
        let complete = self.extent == Extent::Whole || !matches!(node.data, Data::Table(_));
        let nothing = matches!(node.data, Data::Null);
        if let Data::List(items) = &node.data {
            self.repeated(items, schema);
        }
        let good = self.errors.len() == before && complete && !nothing;
        if let Some(message) = good.then(|| schema.constraints.broken_by(node)).flatten() {
            self.report(ErrorKind::OutOfRange, &node.origin, message);
        }
    }

    fn repeated(&mut self, items: &'a [Node], schema: &'a Schema) {
        if let Some((again, before)) = schema.constraints.repeated(items) {
            let mut first = self.steps();
            first.push(Step::Index(before));
            let first = super::tree::display(&first);
            self.below(At::Index(again), |this| {
                let message = format!("the same as `{first}`; each may stand once");
                this.report(ErrorKind::OutOfRange, &items[again].origin, message);
            });
        }
    }

    fn kind(&mut self, node: &'a Node, schema: &'a Schema) {
        match (&node.data, &schema.kind) {
            (Data::Null, _) if schema.nullable => {}
            (_, Kind::Any) | (Data::Null, Kind::Nothing) => {}
            (_, Kind::OneOf(forms)) => self.one_of(node, schema, forms),
            (Data::Table(entries), Kind::Table(table)) => self.table(node, entries, table),
            (Data::List(items), Kind::List { first, item, min, max }) => {
                let count = items.len() as u64;
                if items.is_empty() && schema.secret {
                    let message = "the secret is empty; give its value".to_owned();
                    self.report(ErrorKind::EmptySecret, &node.origin, message);
                } else if count < *min {
                    let message = format!("has {count} items, needs at least {min}");
                    self.report(ErrorKind::OutOfRange, &node.origin, message);
                } else if count > *max {
                    let message = format!("has {count} items, may have {max}");
                    self.report(ErrorKind::OutOfRange, &node.origin, message);
                }
                for (index, node) in items.iter().enumerate() {
                    let item = first.get(index).unwrap_or(item);
                    self.below(At::Index(index), |this| this.node(node, item));
                }
            }
            (Data::Text(text), _) if schema.secret => self.secret(node, text, schema),
            _ => self.leaf(node, schema),
        }
    }

    fn secret(&mut self, node: &'a Node, text: &str, schema: &'a Schema) {
        if text.is_empty() {
            let message = "the secret is empty; give its value".to_owned();
            self.report(ErrorKind::EmptySecret, &node.origin, message);
        } else if text == REDACTED {
            let message = "this is what a secret is shown as, not its value".to_owned();
            self.report(ErrorKind::EmptySecret, &node.origin, message);
        } else {
            self.leaf(node, schema);
        }
    }

    fn leaf(&mut self, node: &'a Node, schema: &'a Schema) {
        // Right type, and within the limits?
        let verdict = match (&node.data, &schema.kind) {
            (Data::Bool(_), Kind::Bool) => Some(true),
            (Data::Integer(n), Kind::Integer(bounds) | Kind::Number(bounds)) => {
                Some(bounds.allow_integer(*n))
            }
            (Data::Float(n), Kind::Number(bounds)) => Some(bounds.allow_float(*n)),
            (Data::Text(text), Kind::Text { min, max }) => {
                let length = text.chars().count() as u64;
                Some((*min..=*max).contains(&length))
            }
            (Data::Text(text), Kind::Duration) => Some(crate::duration::parse(text).is_ok()),
            (Data::Text(text), Kind::Words(words)) => Some(words.contains(text)),
            _ => None,
        };
        match verdict {
            Some(true) => {}
            Some(false) => {
                let expected = schema.expected();
                let message = match shown(node, schema) {
                    Some(shown) => format!("expected {expected}, got {shown}"),
                    None => format!("expected {expected}"),
                };
                let kind = match schema.kind {
                    Kind::Duration => ErrorKind::WrongType,
                    _ => ErrorKind::OutOfRange,
                };
                self.report(kind, &node.origin, message);
            }
            None => {
                let message = format!("expected {}, got {}", schema.expected(), node.type_name());
                self.report(ErrorKind::WrongType, &node.origin, message);
            }
        }
    }

    fn table(&mut self, node: &'a Node, entries: &'a [Entry], table: &'a Table) {
        for entry in entries {
            let field = table.fields.iter().find(|field| field.name == entry.key);
            let schema = field.map(|field| &field.schema).or(table.others.as_deref());
            self.below(At::Key(&entry.key), |this| match schema {
                Some(schema) => this.node(&entry.node, schema),
                None => this.unknown(entry, table),
            });
        }
        if self.extent == Extent::Part {
            return;
        }
        for field in table.fields.iter().filter(|field| field.required) {
            if node.get(&field.name).is_none() {
                let step = At::Key(&field.name);
                self.below(step, |this| this.missing(&field.schema));
            }
        }
    }

    fn unknown(&mut self, entry: &'a Entry, table: &'a Table) {
        let names = table.fields.iter().map(|field| field.name.as_str());
        let help = match nearest(&entry.key, names.clone()) {
            Some(name) => format!("did you mean `{name}`?"),
            None if table.fields.is_empty() => "no keys are expected here".to_owned(),
            None => format!("known keys are `{}`", names.collect::<Vec<_>>().join("`, `")),
        };
        let message = format!("unknown key; {help}");
        self.report(ErrorKind::UnknownKey, &entry.origin, message);
    }

    /// Reports what must be set for an absent `schema`: itself, or what it requires.
    fn missing(&mut self, schema: &'a Schema) {
        if let Kind::Table(table) = &schema.kind {
            let required: Vec<_> = table.fields.iter().filter(|field| field.required).collect();
            for field in &required {
                let step = At::Key(&field.name);
                self.below(step, |this| this.missing(&field.schema));
            }
            if !required.is_empty() {
                return;
            }
        }
        let key = super::tree::display(&self.steps());
        let variable = (self.variable)(&self.steps());
        let advice = if let Some(binding) = &schema.binding {
            let advice = binding.advice();
            format!(
                "set {variable} to its URL, or {variable}_FILE to the file that holds it, {advice}"
            )
        } else if schema.secret {
            format!("set {variable}_FILE to the file that holds it, or {variable} to its value")
        } else {
            format!("set `{key}` in a config file, or the variable {variable}")
        };
        let message =
            format!("required, and no source sets it; expected {}; {advice}", schema.expected());
        let error = Error::new(ErrorKind::Missing, &self.steps(), message);
        self.errors.push(error);
    }

    /// An enum with data: fits if one form does; else the form that was meant is explained.
    fn one_of(&mut self, node: &'a Node, schema: &'a Schema, forms: &'a [Schema]) {
        let attempt = |this: &mut Self, form: &'a Schema| {
            let before = this.errors.len();
            this.node(node, form);
            this.errors.split_off(before)
        };
        if forms.iter().any(|form| attempt(self, form).is_empty()) {
            return;
        }
        if let Some(meant) = variant(node, schema) {
            self.node(node, &forms[meant]);
        } else if !self.wrong_tag(node, forms) {
            let message = format!("expected {}, got {}", schema.expected(), node.type_name());
            self.report(ErrorKind::WrongType, &node.origin, message);
        }
    }

    /// Reports a tag that no variant has, or that is not there.
    fn wrong_tag(&mut self, node: &'a Node, forms: &'a [Schema]) -> bool {
        let tables = forms.iter().filter_map(|form| match &form.kind {
            Kind::Table(table) => tags(table).next(),
            _ => None,
        });
        let tags: Vec<_> = tables.collect();
        let (Some((key, _)), Data::Table(_)) = (tags.first().copied(), &node.data) else {
            return false;
        };
        if tags.len() < forms.len() {
            return false;
        }
        let words: Vec<_> = tags.iter().map(|(_, word)| *word).collect();
        let expected = format!("one of `{}`", words.join("`, `"));
        match node.get(key) {
            Some(tag) => self.below(At::Key(key), |this| {
                let message = format!("expected {expected}");
                this.report(ErrorKind::OutOfRange, &tag.origin, message);
            }),
            None if self.extent == Extent::Whole => {
                let origin = node.origin.clone();
                self.below(At::Key(key), |this| {
                    let message = format!("required beside its other keys; expected {expected}");
                    this.report(ErrorKind::Missing, &origin, message);
                });
            }
            // The tag is in another source. Unknown keys wait until all are known.
            None => {}
        }
        true
    }
}

/// A value that is out of range, if it may be shown: numbers and short words of plain settings.
fn shown(node: &Node, schema: &Schema) -> Option<String> {
    match &node.data {
        _ if schema.secret => None,
        Data::Integer(n) => Some(format!("{n}")),
        Data::Float(n) => Some(format!("{n}")),
        Data::Text(text) => Some(match schema.kind {
            Kind::Text { .. } => format!("{} characters", text.chars().count()),
            _ => quoted(text),
        }),
        _ => None,
    }
}

/// `text` in quotes, without control characters and not too long.
pub(super) fn quoted(text: &str) -> String {
    const MAX: usize = 40;
    let mut short: String = text.chars().take(MAX).flat_map(char::escape_debug).collect();
    if text.chars().count() > MAX {
        short.push('…');
    }
    format!("`{short}`")
}
