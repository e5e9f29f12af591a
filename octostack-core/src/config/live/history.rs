//! The last generations, and what is different between two of them.

use super::outcome::{Trigger, keys, list};
use crate::config::{Report, Setting};
use crate::inspect::{Problem, Value};
use crate::time::rfc3339;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

/// How many generations are kept.
const MOST: usize = 16;

/// Settings that were in effect once. Holds no secret.
pub(super) struct Generation {
    pub(super) number: u64,
    pub(super) at: SystemTime,
    /// What brought it; `None` for the start.
    pub(super) trigger: Option<Trigger>,
    pub(super) changed: Vec<String>,
    pub(super) report: Arc<Report>,
}

impl Generation {
    /// That of the start.
    pub(super) fn first(at: SystemTime, report: Report) -> Self {
        let (changed, report) = (Vec::new(), Arc::new(report));
        Self { number: 1, at, trigger: None, changed, report }
    }

    fn status(&self) -> Value {
        let trigger = self.trigger.as_ref().map_or_else(|| "the start".into(), ToString::to_string);
        Value::map([
            ("generation", Value::from(self.number)),
            ("at", rfc3339(self.at).into()),
            ("by", trigger.into()),
            ("changed", keys(&self.changed)),
        ])
    }
}

/// The last generations, oldest first; never empty.
pub(super) struct History {
    older: VecDeque<Generation>,
    current: Generation,
}

impl History {
    pub(super) const fn new(first: Generation) -> Self {
        Self { older: VecDeque::new(), current: first }
    }

    pub(super) const fn current(&self) -> &Generation {
        &self.current
    }

    pub(super) fn push(&mut self, next: Generation) {
        if self.older.len() + 1 == MOST {
            self.older.pop_front();
        }
        self.older.push_back(std::mem::replace(&mut self.current, next));
    }

    /// The values are the same; they may stand elsewhere.
    pub(super) fn moved(&mut self, report: Report) {
        self.current.report = Arc::new(report);
    }

    fn all(&self) -> impl DoubleEndedIterator<Item = &Generation> {
        self.older.iter().chain([&self.current])
    }

    /// How it looks on the page, newest first.
    pub(super) fn status(&self) -> Value {
        list(self.all().rev().map(Generation::status))
    }

    /// What changed from one generation to another; without numbers, by the last change.
    pub(super) fn diff(&self, from: Option<u64>, to: Option<u64>) -> Result<Value, Vec<Problem>> {
        let to = to.unwrap_or(self.current.number);
        let from = from.unwrap_or_else(|| to.saturating_sub(1).max(1));
        let mut problems = Vec::new();
        let mut find = |name: &str, number: u64| {
            let found = self.all().find(|generation| generation.number == number);
            if found.is_none() {
                let first = self.older.front().unwrap_or(&self.current).number;
                let last = self.current.number;
                let message = format!(
                    "generation {number} is not kept; there are those from {first} to {last}"
                );
                problems.push(Problem::new(name, message));
            }
            found
        };
        let (old, new) = (find("from", from), find("to", to));
        let (Some(old), Some(new)) = (old, new) else { return Err(problems) };
        Ok(Value::map([
            ("from", old.status()),
            ("to", new.status()),
            ("changes", changes(&old.report, &new.report)),
        ]))
    }
}

/// By key: what it was, and what it is. `null` where there was no such setting.
fn changes(old: &Report, new: &Report) -> Value {
    let side = |report: &Report, key: &str| report.get(key).map(entry).into();
    let change = |key: String| {
        let sides = Value::map([("from", side(old, &key)), ("to", side(new, &key))]);
        (key, sides)
    };
    Value::map(new.differing_keys(old).into_iter().map(change))
}

fn entry(setting: &Setting) -> Value {
    Value::map([("value", setting.value.clone()), ("source", setting.origin.to_string().into())])
}
