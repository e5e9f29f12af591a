//! TOML with the place of every value.

use super::error::Origin;
use super::parse::{Lines, SyntaxError};
use super::tree::{Data, Entry, Node};
use std::path::Path;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeInteger, DeString, DeTable, DeValue};

/// Reads TOML. Its parser goes on after a mistake, so all of them are reported; what it could make
/// of a broken file is thrown away.
pub(super) fn parse(text: &str, path: &Arc<Path>) -> Result<Node, Vec<SyntaxError>> {
    let lines = Lines::new(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let error = |error: &toml::de::Error| {
            let (line, column) = lines.place(error.span().map_or(0, |span| span.start));
            SyntaxError::new(line, column, error.message())
        };
        return Err(errors.iter().map(error).collect());
    }
    let from = Source { lines: &lines, path };
    let data = from.table(table.get_ref()).map_err(|error| vec![error])?;
    Ok(Node::new(data, Origin::at(path, 1, 1)))
}

struct Source<'a> {
    lines: &'a Lines<'a>,
    path: &'a Arc<Path>,
}

impl Source<'_> {
    fn origin<T>(&self, spanned: &Spanned<T>) -> Origin {
        let (line, column) = self.lines.place(spanned.span().start);
        Origin::at(self.path, line, column)
    }

    fn table(&self, table: &DeTable<'_>) -> Result<Data, SyntaxError> {
        // The parser sorts tables by key; people read their own order.
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let entry = |(key, value): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)| {
            Ok(Entry {
                key: key.get_ref().to_string(),
                origin: self.origin(key),
                node: self.node(value)?,
            })
        };
        let entries: Result<_, _> = entries.into_iter().map(entry).collect();
        entries.map(Data::Table)
    }

    fn node(&self, value: &Spanned<DeValue<'_>>) -> Result<Node, SyntaxError> {
        let data = match value.get_ref() {
            DeValue::String(text) => Data::Text(text.to_string()),
            DeValue::Integer(number) => self.integer(number, value)?,
            DeValue::Float(number) => Data::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(yes) => Data::Bool(*yes),
            DeValue::Datetime(time) => Data::Text(time.to_string()),
            DeValue::Array(items) => {
                let items: Result<_, _> = items.iter().map(|item| self.node(item)).collect();
                Data::List(items?)
            }
            DeValue::Table(table) => self.table(table)?,
        };
        Ok(Node::new(data, self.origin(value)))
    }

    fn integer<T>(&self, number: &DeInteger<'_>, at: &Spanned<T>) -> Result<Data, SyntaxError> {
        i128::from_str_radix(number.as_str(), number.radix()).map(Data::Integer).map_err(|_| {
            let (line, column) = self.lines.place(at.span().start);
            SyntaxError::new(line, column, "the number is too large")
        })
    }
}
