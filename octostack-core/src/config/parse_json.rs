//! JSON with the place of every value.
//!
//! `serde_json` decides what is valid and decodes strings; the walk here only finds the places,
//! which it does not keep. A YAML parser is no stand-in: it takes files that are no JSON, and
//! refuses `"\ud83d\ude00"`, which is.

use super::error::Origin;
use super::parse::{Lines, SyntaxError};
use super::tree::{Data, Entry, Node};
use std::path::Path;
use std::sync::Arc;

/// Reads one JSON object.
pub(super) fn parse(text: &str, path: &Arc<Path>) -> Result<Node, SyntaxError> {
    // Also bounds how deep the walk below can go.
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| {
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or_default();
        SyntaxError::new(error.line().max(1), error.column().max(1), message)
    })?;
    if !value.is_object() {
        let message = "the file must be an object: `{ \"key\": value }`";
        return Err(SyntaxError::new(1, 1, message));
    }
    let lines = Lines::new(text);
    let mut walk = Walk { text, at: 0, lines: &lines, path };
    walk.node()
}

struct Walk<'a> {
    text: &'a str,
    at: usize,
    lines: &'a Lines<'a>,
    path: &'a Arc<Path>,
}

impl<'a> Walk<'a> {
    fn peek(&mut self) -> Option<u8> {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
        self.text.as_bytes().get(self.at).copied()
    }

    /// Steps over `byte` if it comes next.
    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn error(&self, message: &str) -> SyntaxError {
        let (line, column) = self.lines.place(self.at);
        SyntaxError::new(line, column, message)
    }

    fn origin(&mut self) -> Origin {
        self.peek();
        let (line, column) = self.lines.place(self.at);
        Origin::at(self.path, line, column)
    }

    fn node(&mut self) -> Result<Node, SyntaxError> {
        let origin = self.origin();
        let data = match self.peek() {
            Some(b'{') => self.table()?,
            Some(b'[') => self.list()?,
            Some(b'"') => Data::Text(self.string()?),
            _ => self.word()?,
        };
        Ok(Node::new(data, origin))
    }

    fn table(&mut self) -> Result<Data, SyntaxError> {
        let mut entries: Vec<Entry> = Vec::new();
        self.take(b'{');
        while !self.take(b'}') {
            let origin = self.origin();
            let start = self.at;
            let key = self.string()?;
            if entries.iter().any(|entry| entry.key == key) {
                self.at = start;
                return Err(self.error("the key stands twice in one object"));
            }
            self.take(b':');
            let node = self.node()?;
            entries.push(Entry { key, origin, node });
            self.take(b',');
        }
        Ok(Data::Table(entries))
    }

    fn list(&mut self) -> Result<Data, SyntaxError> {
        let mut items = Vec::new();
        self.take(b'[');
        while !self.take(b']') {
            items.push(self.node()?);
            self.take(b',');
        }
        Ok(Data::List(items))
    }

    /// The text up to the first byte that `ends` names, and steps over it.
    fn until(&mut self, ends: impl Fn(u8) -> bool) -> &'a str {
        let rest = &self.text[self.at..];
        let length = rest.bytes().position(ends).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn string(&mut self) -> Result<String, SyntaxError> {
        let start = self.at;
        let mut escaped = true; // the opening quote ends nothing
        let mut end = false;
        for byte in self.text.as_bytes()[start..].iter().copied() {
            self.at += 1;
            end = byte == b'"' && !escaped;
            if end {
                break;
            }
            escaped = byte == b'\\' && !escaped;
        }
        let quoted = &self.text[start..self.at];
        serde_json::from_str(quoted).ok().filter(|_| end).ok_or_else(|| self.error("not a string"))
    }

    /// A number, `true`, `false` or `null`.
    fn word(&mut self) -> Result<Data, SyntaxError> {
        let word = self.until(|byte| b" \t\r\n,]}".contains(&byte));
        match word {
            "null" => Ok(Data::Null),
            "true" => Ok(Data::Bool(true)),
            "false" => Ok(Data::Bool(false)),
            number => number
                .parse()
                .map(Data::Integer)
                .or_else(|_| number.parse().map(Data::Float))
                .map_err(|_| self.error("not a value")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parse;
    use crate::config::tree::Node;
    use std::path::Path;
    use std::sync::Arc;

    fn read(text: &str) -> Result<Node, (usize, usize, String)> {
        let path: Arc<Path> = Path::new("a.json").into();
        parse(text, &path).map_err(|error| (error.line, error.column, error.message))
    }

    #[test]
    fn reads_what_serde_json_reads() {
        for text in [
            "{}",
            " {\n\t\"a\" : [ ] , \"b\": [1, -2.5e3,true,null, {\"c\":\"\"}]}\r\n",
            r#"{"quote\"d": "a\\", "emoji": "\ud83d\ude00 \u00e9\/", "big": 18446744073709551615}"#,
        ] {
            let expected: serde_json::Value = serde_json::from_str(text).unwrap();
            assert_eq!(read(text).ok().unwrap().to_json(), expected);
        }
    }

    #[test]
    fn keeps_places() {
        let node = read("{\n  \"a\": {\"b\": [1,\n 2]}\n}").ok().unwrap();
        let list = node.get("a").and_then(|a| a.get("b")).unwrap();
        assert_eq!(list.origin.to_string(), "a.json:2:14");
    }

    #[test]
    fn refuses_what_is_no_json() {
        let refused = |text| read(text).err().unwrap();
        assert_eq!(refused("{\n\"a\": }").0, 2);
        assert_eq!(refused("{\"a\": 1}\n{}").0, 2);
        assert_eq!(refused("{\"a\": 1,\n \"a\": 2}").0, 2);
        assert!(refused("[]").2.contains("object"));
        assert!(refused(&"[".repeat(100_000)).2.contains("recursion"));
    }
}
