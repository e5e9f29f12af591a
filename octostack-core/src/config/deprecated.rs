//! Settings that still work and should not be used any more.

use super::schema::{Kind, Schema};
use super::tree::{Data, Node, Step, display};

/// A warning for each deprecated key that `node` sets.
pub(super) fn deprecated(node: &Node, schema: &Schema) -> Vec<String> {
    let mut warnings = Vec::new();
    if !has_any(schema) {
        return warnings; // as most have none, and a load should cost little
    }
    collect(node, &[schema], &mut Vec::new(), &mut warnings);
    warnings
}

/// Whether anything in `schema` is deprecated.
fn has_any(schema: &Schema) -> bool {
    match &schema.kind {
        Kind::Table(table) => {
            table.fields.iter().any(|field| field.deprecated || has_any(&field.schema))
                || table.others.as_deref().is_some_and(has_any)
        }
        Kind::List { first, item, .. } => first.iter().any(has_any) || has_any(item),
        Kind::OneOf(forms) => forms.iter().any(has_any),
        _ => false,
    }
}

fn collect(node: &Node, schemas: &[&Schema], path: &mut Vec<Step>, warnings: &mut Vec<String>) {
    match &node.data {
        Data::Table(entries) => {
            for entry in entries {
                let fields = schemas.iter().flat_map(|schema| schema.fields());
                let fields: Vec<_> = fields.filter(|field| field.name == entry.key).collect();
                path.push(Step::Key(entry.key.clone()));
                // Of variants that share the key, another one may be meant.
                if !fields.is_empty() && fields.iter().all(|field| field.deprecated) {
                    let doc = fields.iter().find_map(|field| field.doc.as_deref());
                    let doc = doc.and_then(|doc| doc.split("\n\n").next()).map(|doc| {
                        format!(": {}", doc.split_whitespace().collect::<Vec<_>>().join(" "))
                    });
                    let (key, doc) = (display(path), doc.unwrap_or_default());
                    warnings.push(format!("{}: `{key}` is deprecated{doc}", entry.node.origin));
                } else {
                    let inner = schemas.iter().flat_map(|schema| schema.inner(&entry.key));
                    collect(&entry.node, &inner.collect::<Vec<_>>(), path, warnings);
                }
                path.pop();
            }
        }
        Data::List(items) => {
            for (index, item) in items.iter().enumerate() {
                let inner = schemas.iter().flat_map(|schema| schema.item(index));
                path.push(Step::Index(index));
                collect(item, &inner.collect::<Vec<_>>(), path, warnings);
                path.pop();
            }
        }
        _ => {}
    }
}
