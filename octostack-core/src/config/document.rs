//! Files that are not settings, read with the place of every value.

use super::error::{Error, ErrorKind, Origin};
use super::parse::SyntaxError;
use super::tree::{Data, Node};
use super::{parse_json, parse_yaml};
use std::path::Path;
use std::sync::Arc;

/// A document of a YAML or JSON file, with the place of every value: for tools that have to say
/// where in a manifest something stands. The parser is that of config files.
///
/// No `Debug`: it may hold secrets.
///
/// ```
/// use octostack_core::config::Document;
/// use std::path::Path;
///
/// let text = "kind: Pod\n---\nkind: Service\nspec: {ports: [{port: 80}]}\n";
/// let documents = Document::read(text, Path::new("all.yaml"))?;
/// let spec = documents[1].root().get("spec").unwrap();
/// let port = spec.get("ports").unwrap().items().next().unwrap().get("port").unwrap();
/// assert_eq!(port.integer(), Some(80));
/// assert_eq!(port.origin().to_string(), "all.yaml:4:23");
/// # Ok::<(), Box<octostack_core::config::Error>>(())
/// ```
#[allow(missing_debug_implementations, reason = "it may hold secrets")]
pub struct Document {
    root: Node,
}

/// A value in a [`Document`].
#[derive(Clone, Copy)]
#[allow(missing_debug_implementations, reason = "it may hold secrets")]
pub struct Item<'a> {
    node: &'a Node,
}

impl Document {
    /// Reads all documents of `text`: YAML, with `---` between documents, or JSON. `path` is what
    /// origins call the file; nothing is read from it.
    ///
    /// # Errors
    /// The first thing that is neither, with its place.
    pub fn read(text: &str, path: &Path) -> Result<Vec<Self>, Box<Error>> {
        let path: Arc<Path> = path.into();
        // YAML refuses some escapes of JSON; JSON refuses most of YAML.
        let json = if text.trim_start().starts_with('{') {
            parse_json::parse(text, &path).ok()
        } else {
            None
        };
        let roots = match json {
            Some(root) => Ok(vec![root]),
            None => parse_yaml::documents(text, &path),
        };
        let failed = |SyntaxError { line, column, message }| {
            let origin = Origin::at(&path, line, column);
            Box::new(Error::new(ErrorKind::Syntax, &[], message).with_origin(origin))
        };
        Ok(roots.map_err(failed)?.into_iter().map(|root| Self { root }).collect())
    }

    /// The outermost value.
    pub fn root(&self) -> Item<'_> {
        Item { node: &self.root }
    }
}

impl<'a> Item<'a> {
    /// Where it stands.
    pub fn origin(self) -> &'a Origin {
        &self.node.origin
    }

    /// What `key` holds, if this is a table that has it.
    pub fn get(self, key: &str) -> Option<Self> {
        self.node.get(key).map(|node| Self { node })
    }

    /// Keys and values, if this is a table.
    pub fn entries(self) -> impl Iterator<Item = (&'a str, Self)> {
        let entries = match &self.node.data {
            Data::Table(entries) => entries.as_slice(),
            _ => &[],
        };
        entries.iter().map(|entry| (&*entry.key, Self { node: &entry.node }))
    }

    /// The items, if this is a list.
    pub fn items(self) -> impl Iterator<Item = Self> {
        let items = match &self.node.data {
            Data::List(items) => items.as_slice(),
            _ => &[],
        };
        items.iter().map(|node| Self { node })
    }

    /// The text, if this is text.
    pub fn text(self) -> Option<&'a str> {
        match &self.node.data {
            Data::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if this is a whole one.
    pub fn integer(self) -> Option<i128> {
        match self.node.data {
            Data::Integer(number) => Some(number),
            _ => None,
        }
    }

    /// Whether it is true, if this is a boolean.
    pub fn boolean(self) -> Option<bool> {
        match self.node.data {
            Data::Bool(yes) => Some(yes),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Document, Item};
    use std::path::Path;

    fn read(text: &str) -> Result<Vec<Document>, String> {
        Document::read(text, Path::new("m")).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_json_with_its_own_escapes() {
        let documents = read(r#" {"kind": "\ud83d\ude00", "yes": true}"#).ok().unwrap();
        let root = documents[0].root();
        assert_eq!(root.get("kind").and_then(Item::text), Some("\u{1f600}"));
        assert_eq!(root.get("yes").and_then(Item::boolean), Some(true));
        assert_eq!(root.entries().count(), 2);
    }

    #[test]
    fn says_where_it_is_broken() {
        let broken = read("a: 1\n---\nb: [1\n").err().unwrap();
        assert!(broken.starts_with("m:"), "{broken}");
        // A flow mapping is YAML too.
        assert_eq!(read("{a: 1}\n---\n{b: 2}").ok().unwrap().len(), 2);
        assert!(read("").ok().unwrap().is_empty());
    }
}
