//! The framework's sections and the service's own settings as one schema.

use super::constraint::faults;
use super::error::{Error, ErrorKind};
use super::loader::RESERVED_SECTIONS;
use super::schema::{Kind, Schema, Table};
use super::tree::Step;
use schemars::JsonSchema;

/// All settings.
pub(super) struct Whole {
    pub(super) schema: Schema,
    /// Names of the framework's sections.
    sections: Vec<String>,
    /// There are none, as its type is `()`.
    pub(super) no_framework: bool,
    /// The service has no settings, likewise.
    pub(super) no_settings: bool,
}

impl Whole {
    /// The sections `F` and the settings `S`, and what is wrong with these structs.
    pub(super) fn of<F: JsonSchema, S: JsonSchema>() -> (Self, Vec<Error>) {
        let (sections, own) = (Schema::of::<F>(), Schema::of::<S>());
        let mut errors = Vec::new();
        let names = sections.fields().into_iter().map(|field| field.name.clone());
        let names: Vec<_> = names.collect();
        let taken = |name: &String| RESERVED_SECTIONS.contains(&&**name) || names.contains(name);
        for field in own.fields().iter().filter(|field| taken(&field.name)) {
            let message = "this name is a section of the framework; rename the field";
            let path = [Step::Key(field.name.clone())];
            errors.push(Error::new(ErrorKind::BadSchema, &path, message));
        }
        errors.extend([&sections, &own].into_iter().flat_map(faults));
        let is_nothing = |schema: &Schema| matches!(schema.kind, Kind::Nothing);
        let (no_framework, no_settings) = (is_nothing(&sections), is_nothing(&own));
        let mut all = Table::default();
        for (schema, whose) in [(sections, "framework"), (own, "service")] {
            match schema.kind {
                Kind::Table(table) => {
                    all.fields.extend(table.fields);
                    all.others = all.others.or(table.others);
                }
                Kind::Nothing => {}
                _ => {
                    let message =
                        format!("the settings of the {whose} must be a struct with fields");
                    errors.push(Error::new(ErrorKind::BadSchema, &[], message));
                }
            }
        }
        let schema = Schema::of_kind(Kind::Table(all), false);
        (Self { schema, sections: names, no_framework, no_settings }, errors)
    }

    /// Whether `key` is a section of the framework.
    pub(super) fn is_section(&self, key: &str) -> bool {
        self.sections.iter().any(|section| section == key)
    }

    /// Puts the service's own settings before the sections.
    pub(super) fn with_own_first(mut self) -> Self {
        if let Kind::Table(table) = &mut self.schema.kind {
            table.fields.rotate_left(self.sections.len());
        }
        self
    }
}
