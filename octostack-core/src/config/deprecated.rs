//! Keys that nobody should set any more.

use super::schema::Schema;
use super::tree::{Data, Node, push_key};

/// Warnings about those that a source sets.
pub(super) fn deprecated(tree: &Node, schema: &Schema) -> Vec<String> {
    let mut warnings = Vec::new();
    collect(tree, schema, &mut String::new(), &mut warnings);
    warnings
}

fn collect(node: &Node, schema: &Schema, key: &mut String, warnings: &mut Vec<String>) {
    let Data::Table(entries) = &node.data else { return };
    let fields = schema.fields();
    for entry in entries {
        let length = key.len();
        push_key(key, &entry.key);
        for field in fields.iter().filter(|field| field.name == entry.key) {
            if field.deprecated {
                let doc = field.doc.as_deref().and_then(|doc| doc.lines().next());
                let doc = doc.map_or_else(String::new, |doc| format!(": {doc}"));
                let origin = &entry.node.origin;
                warnings.push(format!("{origin}: {key} is deprecated{doc}"));
            }
            collect(&entry.node, &field.schema, key, warnings);
        }
        key.truncate(length);
    }
}
