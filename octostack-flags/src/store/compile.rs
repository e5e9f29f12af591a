use super::{Entries, Shared};
use crate::declared::{Declaration, Declared};
use crate::entry::Entry;
use crate::snapshot::CompiledFlag;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Weak};

/// The flags of a file, beside those that only the code declares, by key. An entry that is in
/// `known` goes on; the others are made, and listed in `fresh`.
pub(super) fn compile(
    store: &Weak<Shared>,
    known: &[Arc<CompiledFlag>],
    definitions: &Entries,
    evaluators: &Entries,
    fresh: &mut Vec<Arc<Entry>>,
) -> Vec<Arc<CompiledFlag>> {
    let mut declared: BTreeMap<&str, &'static dyn Declared> =
        Declaration::all().into_iter().map(|flag| (flag.key(), flag)).collect();
    let known: HashMap<&str, &Arc<Entry>> =
        known.iter().map(|flag| (flag.entry.name(), &flag.entry)).collect();
    let mut entry_of = |key: &str, declared| {
        if let Some(entry) = known.get(key) {
            return Arc::clone(entry);
        }
        let entry = Arc::new(Entry::new(key, declared, store.clone()));
        fresh.push(entry.clone());
        entry
    };
    let mut twice = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for (key, _) in definitions {
        if !seen.insert(&**key) {
            twice.insert(key.clone().into_owned());
        }
    }
    let mut flags = Vec::with_capacity(definitions.len());
    for (key, definition) in definitions {
        if !seen.remove(&**key) {
            continue; // the second of two
        }
        let entry = entry_of(key, declared.remove(&**key));
        flags.push(Arc::new(if twice.contains(&**key) {
            CompiledFlag::ambiguous(entry)
        } else {
            CompiledFlag::compile(entry, definition, evaluators)
        }));
    }
    for (key, flag) in declared {
        flags.push(Arc::new(CompiledFlag::undefined(entry_of(key, Some(flag)))));
    }
    flags.sort_by(|a, b| a.entry.name().cmp(b.entry.name()));
    flags
}
