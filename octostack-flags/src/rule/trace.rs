//! Watching an evaluation, to explain it. The same evaluation without a watcher costs nothing for
//! being watchable.
use super::operand::Operand;
use super::program::Node;
use octostack_core::inspect::Value;

/// Hears of each step of an evaluation.
pub(crate) trait Trace {
    /// A node begins.
    fn enter(&mut self, node: &Node);
    /// The node that began last, of those that have not ended, ends.
    fn leave(&mut self, result: Operand<'_>);
    /// A split placed a hash.
    fn split(&mut self, hash: u32, part: Option<usize>, total: u32);
}

/// Nobody watches.
impl Trace for () {
    #[inline]
    fn enter(&mut self, _: &Node) {}
    #[inline]
    fn leave(&mut self, _: Operand<'_>) {}
    #[inline]
    fn split(&mut self, _: u32, _: Option<usize>, _: u32) {}
}

/// Writes down what was evaluated, as a tree of operators with their results. What was not
/// evaluated, such as the branch of an `if` that was not taken, is not in it.
#[derive(Default)]
pub(crate) struct Explanation {
    open: Vec<Step>,
    root: Option<Value>,
}

struct Step {
    operator: &'static str,
    asks_for: Option<String>,
    operands: Vec<Value>,
    /// The last operand, where that is no node.
    list: Option<Value>,
    split: Option<Value>,
}

impl Explanation {
    pub(crate) fn into_value(self) -> Value {
        self.root.unwrap_or(Value::Null)
    }
}

impl Trace for Explanation {
    fn enter(&mut self, node: &Node) {
        self.open.push(Step {
            operator: node.name(),
            asks_for: node.asks_for(),
            operands: Vec::new(),
            list: node.list(),
            split: None,
        });
    }

    fn leave(&mut self, result: Operand<'_>) {
        let Some(mut step) = self.open.pop() else {
            return;
        };
        step.operands.extend(step.list);
        let result = result.to_value();
        let value = if step.operator == "constant" {
            result
        } else {
            let mut entries = vec![(step.operator.into(), step.asks_for.into())];
            if !step.operands.is_empty() {
                entries[0].1 = Value::List(step.operands);
            }
            entries.extend(step.split.map(|split| ("split".into(), split)));
            entries.push(("is".into(), result));
            Value::Map(entries)
        };
        match self.open.last_mut() {
            Some(outer) => outer.operands.push(value),
            None => self.root = Some(value),
        }
    }

    fn split(&mut self, hash: u32, part: Option<usize>, total: u32) {
        if let Some(step) = self.open.last_mut() {
            step.split = Some(Value::map([
                ("hash", Value::from(hash)),
                ("of_hashes", (1_u64 << 32).into()),
                ("part", part.into()),
                ("total_weight", total.into()),
            ]));
        }
    }
}
