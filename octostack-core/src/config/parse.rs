//! Which parser reads a file, and what they share.

use super::tree::Node;
use super::{parse_json, parse_toml, parse_yaml};
use std::path::Path;
use std::sync::Arc;

/// How deep tables and lists may be nested. Nobody writes this, and recursion stays bounded.
pub(super) const MAX_DEPTH: usize = 100;

/// Endings of the files that can be read.
pub(super) const EXTENSIONS: [&str; 4] = ["toml", "yaml", "yml", "json"];

/// What a parser could not read. The message never quotes the text, which may hold a secret.
#[derive(Debug)]
pub(super) struct SyntaxError {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) message: String,
}

impl SyntaxError {
    pub(super) fn new(line: usize, column: usize, message: impl Into<String>) -> Self {
        Self { line, column, message: message.into() }
    }
}

/// Reads `text` in the format that the ending of `path` names; `None` for an unknown ending.
pub(super) fn parse(text: &str, path: &Arc<Path>) -> Option<Result<Node, Vec<SyntaxError>>> {
    parse_as(path.extension()?.to_str()?, text, path)
}

/// Reads `text`, which came from `path`, in the format that this ending stands for.
pub(super) fn parse_as(
    extension: &str,
    text: &str,
    path: &Arc<Path>,
) -> Option<Result<Node, Vec<SyntaxError>>> {
    match extension {
        "toml" => Some(parse_toml::parse(text, path)),
        "yaml" | "yml" => Some(parse_yaml::parse(text, path).map_err(|error| vec![error])),
        "json" => Some(parse_json::parse(text, path).map_err(|error| vec![error])),
        _ => None,
    }
}

/// From byte offsets to lines and columns.
pub(super) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = [0].into_iter().chain(ends.map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    /// Line and column of the byte at `offset`, both from 1.
    pub(super) fn place(&self, offset: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts[line - 1];
        let before = self.text.get(start..offset).unwrap_or_default();
        (line, before.chars().count() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::Lines;

    #[test]
    fn places_count_characters_from_one() {
        let lines = Lines::new("ab\nä = 1\n");
        assert_eq!(lines.place(0), (1, 1));
        assert_eq!(lines.place(2), (1, 3));
        assert_eq!(lines.place(3), (2, 1));
        assert_eq!(lines.place("ab\nä = ".len()), (2, 5));
        assert_eq!(lines.place(1_000), (3, 1), "past the end is the end");
    }
}
