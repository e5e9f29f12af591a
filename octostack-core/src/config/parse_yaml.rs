//! YAML with the place of every value.
//!
//! Reads the events of the parser itself: a loader would take the last of two equal keys, and
//! would copy what aliases name without end.

use super::error::Origin;
use super::parse::{MAX_DEPTH, SyntaxError};
use super::tree::{Data, Entry, Node};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput, Tag};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// How many values aliases may add to a file. A few lines of aliases to aliases can name billions.
const MAX_COPIED: usize = 10_000;

/// Reads the one document of `text`; an empty one is an empty table.
pub(super) fn parse(text: &str, path: &Arc<Path>) -> Result<Node, SyntaxError> {
    match read(text, path, 1)?.pop() {
        Some(node) if matches!(node.data, Data::Table(_)) => Ok(node),
        Some(node) if !matches!(node.data, Data::Null) => Err(SyntaxError::new(
            1,
            1,
            format!("the file is {}; it must be a table of keys", node.type_name()),
        )),
        _ => Ok(Node::new(Data::Table(Vec::new()), Origin::at(path, 1, 1))),
    }
}

/// Reads all documents of `text`.
pub(super) fn documents(text: &str, path: &Arc<Path>) -> Result<Vec<Node>, SyntaxError> {
    read(text, path, usize::MAX)
}

/// Reads the documents of `text`, which may be `most` at most.
fn read(text: &str, path: &Arc<Path>, most: usize) -> Result<Vec<Node>, SyntaxError> {
    let mut reader =
        Reader { parser: Parser::new_from_str(text), path, anchors: HashMap::new(), copied: 0 };
    let mut roots = Vec::new();
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamEnd => return Ok(roots),
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            _ if roots.len() == most => {
                return Err(error(span.start, "a second document; put one document in a file"));
            }
            event => roots.push(reader.node(event, span, 0)?),
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    path: &'a Arc<Path>,
    anchors: HashMap<usize, Node>,
    copied: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), SyntaxError> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(scan)) => Err(error(*scan.marker(), scan.info())),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn origin(&self, at: Marker) -> Origin {
        Origin::at(self.path, at.line(), at.col() + 1)
    }

    /// The node that begins with `event`.
    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, SyntaxError> {
        let at = span.start;
        if depth > MAX_DEPTH {
            return Err(error(at, "nested too deeply"));
        }
        let (data, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (scalar(&text, style, tag.as_deref(), at)?, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                refuse_foreign_tag(tag.as_deref(), at)?;
                (self.list(depth)?, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                refuse_foreign_tag(tag.as_deref(), at)?;
                (self.table(depth)?, anchor)
            }
            Event::Alias(anchor) => return self.alias(anchor, at),
            _ => return Err(error(at, "a value is missing here")),
        };
        let node = Node::new(data, self.origin(at));
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Data, SyntaxError> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::SequenceEnd => return Ok(Data::List(items)),
                event => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn table(&mut self, depth: usize) -> Result<Data, SyntaxError> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            let key = match event {
                Event::MappingEnd => return Ok(Data::Table(entries)),
                Event::Scalar(text, ..) => text.into_owned(),
                _ => return Err(error(span.start, "a key must be plain text")),
            };
            if entries.iter().any(|entry| entry.key == key) {
                return Err(error(span.start, "the key stands twice in one table"));
            }
            let origin = self.origin(span.start);
            let (event, span) = self.next()?;
            let node = self.node(event, span, depth + 1)?;
            entries.push(Entry { key, origin, node });
        }
    }

    fn alias(&mut self, anchor: usize, at: Marker) -> Result<Node, SyntaxError> {
        let node = self
            .anchors
            .get(&anchor)
            .ok_or_else(|| error(at, "the alias names no anchor above it"))?;
        self.copied += size(node);
        if self.copied > MAX_COPIED {
            return Err(error(at, "the aliases of this file name too many values"));
        }
        Ok(node.clone())
    }
}

/// How many values `node` holds, itself included.
fn size(node: &Node) -> usize {
    1 + match &node.data {
        Data::List(items) => items.iter().map(size).sum(),
        Data::Table(entries) => entries.iter().map(|entry| size(&entry.node)).sum(),
        _ => 0,
    }
}

fn error(at: Marker, message: &str) -> SyntaxError {
    SyntaxError::new(at.line(), at.col() + 1, message)
}

fn refuse_foreign_tag(tag: Option<&Tag>, at: Marker) -> Result<(), SyntaxError> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema() => Err(error(at, "tags are not supported here")),
        _ => Ok(()),
    }
}

fn scalar(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    at: Marker,
) -> Result<Data, SyntaxError> {
    refuse_foreign_tag(tag, at)?;
    let is_text = tag.is_some_and(|tag| tag.suffix == "str");
    if style != ScalarStyle::Plain || is_text {
        return Ok(Data::Text(text.to_owned()));
    }
    Ok(plain(text))
}

/// What plain text means by the core schema of YAML 1.2: `yes` and `on` are strings.
fn plain(text: &str) -> Data {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let radix = |prefix, radix| {
        let digits = text.strip_prefix(prefix)?;
        // `from_str_radix` would take a sign here.
        let plain = digits.bytes().all(|byte| byte.is_ascii_alphanumeric());
        plain.then(|| i128::from_str_radix(digits, radix).ok())?
    };
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Data::Null,
        "true" | "True" | "TRUE" => Data::Bool(true),
        "false" | "False" | "FALSE" => Data::Bool(false),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Data::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Data::Float(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => Data::Float(f64::NAN),
        _ => {
            if let Some(n) = radix("0x", 16).or_else(|| radix("0o", 8)) {
                Data::Integer(n)
            } else if let Ok(n) = digits.parse::<i128>() {
                Data::Integer(n)
            } else {
                // Rust also reads `inf`, `nan` and `infinity`, which are words in YAML.
                let number = text.bytes().all(|byte| b"+-.eE0123456789".contains(&byte));
                match text.parse() {
                    Ok(n) if number => Data::Float(n),
                    _ => Data::Text(text.to_owned()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{parse, plain};
    use crate::config::tree::{Data, Node};
    use std::path::Path;
    use std::sync::Arc;

    fn read(text: &str) -> Result<Node, (usize, usize, String)> {
        let path: Arc<Path> = Path::new("a.yaml").into();
        parse(text, &path).map_err(|error| (error.line, error.column, error.message))
    }

    #[test]
    fn keeps_places_of_keys_and_values() {
        let node = read("a: 1\nb:\n  c: [x, 2]\n").ok().unwrap();
        let list = node.get("b").and_then(|b| b.get("c")).unwrap();
        assert_eq!(list.origin.to_string(), "a.yaml:3:6");
        let Data::Table(entries) = &node.data else { panic!("a table") };
        assert_eq!(entries[1].origin.to_string(), "a.yaml:2:1");
        assert_eq!(node.to_json().to_string(), r#"{"a":1,"b":{"c":["x",2]}}"#);
    }

    #[test]
    fn reads_scalars_by_the_core_schema() {
        assert!(matches!(plain("yes"), Data::Text(_)));
        assert!(matches!(plain("0x1F"), Data::Integer(31)));
        assert!(matches!(plain("0x-1"), Data::Text(_)));
        assert!(matches!(plain("18446744073709551615"), Data::Integer(n) if n > 0));
        assert!(matches!(plain("1e3"), Data::Float(1000.0)));
        assert!(matches!(plain("nan"), Data::Text(_)));
        assert!(matches!(plain("1.2.3"), Data::Text(_)));
        assert!(matches!(plain("~"), Data::Null));
        let quoted = read("a: '1'\nb: !!str 2\n").ok().unwrap();
        assert_eq!(quoted.to_json().to_string(), r#"{"a":"1","b":"2"}"#);
    }

    #[test]
    fn refuses_what_would_be_read_by_half() {
        let refused = |text| read(text).err().unwrap();
        assert_eq!(refused("a: 1\na: 2\n").0, 2);
        assert!(refused("a: 1\n---\nb: 2\n").2.contains("second document"));
        assert!(refused("- a\n").2.contains("must be a table"));
        assert!(refused("a: !env X\n").2.contains("tags"));
        // Beyond its own limit the parser itself gives up.
        for text in [150, 50_000].map(|depth| format!("a: {}", "[".repeat(depth))) {
            let message = read(&text).err().unwrap().2;
            assert!(message.contains("deep") || message.contains("recursion"), "{message}");
        }
    }

    #[test]
    fn copies_aliases_up_to_a_limit() {
        let node = read("a: &x {b: 1}\nc: *x\n").ok().unwrap();
        assert_eq!(node.to_json().to_string(), r#"{"a":{"b":1},"c":{"b":1}}"#);
        let mut bomb = vec!["l0: &l0 [x, x, x, x, x, x, x, x, x, x]".to_owned()];
        for n in 1..12 {
            let before = format!("*l{}, ", n - 1).repeat(10);
            bomb.push(format!("l{n}: &l{n} [{before}]"));
        }
        let bomb = bomb.join("\n");
        assert!(read(&bomb).err().unwrap().2.contains("too many"));
    }
}
