//! A config file with everything that can be set, to begin from.

use super::env::Names;
use super::error::Errors;
use super::loader::Loader;
use super::schema::{Field, Kind, Schema};
use super::whole::Whole;
use crate::secret::REDACTED;
use schemars::JsonSchema;
use serde_json::Value as Json;
use std::fmt::Write as _;

impl Loader {
    /// A TOML file in which every key stands with its doc comment: those with a default commented
    /// out beside it, those that are required with what to write. It reads as no file at all until
    /// somebody fills something in.
    ///
    /// # Errors
    /// What is wrong with the structs, such as two keys with one variable.
    pub fn default_file<F: JsonSchema, S: JsonSchema>(&self) -> Result<String, Errors> {
        let (whole, mut errors) = Whole::of::<F, S>();
        let whole = whole.with_own_first();
        let (names, collisions) = Names::new(&self.prefix, &whole.schema, &self.bare);
        errors.extend(collisions);
        if !errors.is_empty() {
            return Err(errors.into());
        }
        let mut file = File { names: &names, text: String::new() };
        file.table(&whole.schema, &mut Vec::new(), None, false);
        Ok(file.text)
    }
}

struct File<'a> {
    names: &'a Names<'a>,
    text: String,
}

/// Whether a field is a table of its own in the file: a struct, and no secret.
fn is_section(schema: &Schema) -> bool {
    let has_fields = matches!(&schema.kind, Kind::Table(table) if !table.fields.is_empty());
    has_fields && !schema.secret && schema.binding.is_none()
}

impl File<'_> {
    /// `optional` is a table that is not there unless somebody writes it: all of it is commented.
    fn table(
        &mut self,
        schema: &Schema,
        path: &mut Vec<String>,
        default: Option<&Json>,
        optional: bool,
    ) {
        let fields = schema.fields();
        let default_of = |field: &Field| -> Option<Json> {
            let outer = default.and_then(|default| default.get(&field.name));
            outer.or(field.schema.default.as_ref()).cloned()
        };
        for field in fields.iter().filter(|field| !is_section(&field.schema)) {
            self.leaf(field, path, default_of(field).as_ref());
        }
        for field in fields.iter().filter(|field| is_section(&field.schema)) {
            let default = default_of(field);
            let absent =
                optional || (field.schema.nullable && default.as_ref().is_none_or(Json::is_null));
            path.push(field.name.clone());
            self.comment(field.doc.as_deref());
            let header = path.iter().map(|key| key_of(key)).collect::<Vec<_>>().join(".");
            let mark = if absent { "# " } else { "" };
            // Writing to a String cannot fail.
            let _ = writeln!(self.text, "{mark}[{header}]\n");
            self.table(&field.schema, path, default.as_ref(), absent);
            path.pop();
        }
    }

    fn leaf(&mut self, field: &Field, path: &[String], default: Option<&Json>) {
        self.comment(field.doc.as_deref());
        let schema = &field.schema;
        let key = key_of(&field.name);
        let steps = path.iter().chain([&field.name]).cloned().map(super::tree::Step::Key);
        let variable = self.names.variable(&steps.collect::<Vec<_>>());
        let written = default.filter(|json| !json.is_null() && !schema.is_secret()).map(inline);
        let line = match written {
            Some(_) if !default.is_some_and(is_writable) => {
                format!("# {key} = …  # has a default that no file can hold: {}", schema.expected())
            }
            Some(value) => format!("# {key} = {value}"),
            None if schema.is_secret() => {
                let needed = if schema.nullable { "optional" } else { "required" };
                format!(
                    "# {key}: a secret, {needed}; set {variable}_FILE to the file that holds it"
                )
            }
            None if field.required => {
                let expected = schema.expected();
                format!("# {key} = …  # required: {expected}; or set {variable}")
            }
            None => format!("# {key} = …  # none by default: {}", schema.expected()),
        };
        let _ = writeln!(self.text, "{line}\n");
    }

    fn comment(&mut self, doc: Option<&str>) {
        for line in doc.unwrap_or_default().lines() {
            let _ = writeln!(self.text, "{}", format!("# {line}").trim_end());
        }
    }
}

/// Whether a file may say it: no secret is in it, and no number beyond those of TOML.
fn is_writable(json: &Json) -> bool {
    match json {
        Json::String(text) => text != REDACTED,
        Json::Number(number) => !number.is_u64() || number.is_i64(),
        Json::Array(items) => items.iter().all(is_writable),
        Json::Object(entries) => entries.values().all(is_writable),
        _ => true,
    }
}

/// A key as TOML has it.
fn key_of(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    if !key.is_empty() && key.chars().all(bare) { key.to_owned() } else { text(key) }
}

/// Text as TOML has it, which is as JSON but for one character.
fn text(text: &str) -> String {
    Json::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// A value on one line.
fn inline(json: &Json) -> String {
    match json {
        // TOML has no nothing; an empty table is as near as it gets.
        Json::Null => "{}".to_owned(),
        Json::String(string) => text(string),
        Json::Array(items) => {
            format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", "))
        }
        Json::Object(entries) => {
            let entries = entries.iter().filter(|(_, value)| !value.is_null());
            let entries: Vec<_> = entries
                .map(|(key, value)| format!("{} = {}", key_of(key), inline(value)))
                .collect();
            if entries.is_empty() {
                "{}".to_owned()
            } else {
                format!("{{ {} }}", entries.join(", "))
            }
        }
        other => other.to_string(),
    }
}
