//! Compiles `fractional`: `[key, [variant, weight], ...]`, where the key and the weights may be
//! left out and everything may be computed.
use super::compile::Compiler;
use super::operand::Operand;
use super::program::{Fractional, Node, NodeId, Weights};
use crate::bucketing::Split;
use octostack_core::inspect::Value;
use std::fmt::Write as _;

impl<'a> Compiler<'a> {
    pub(super) fn fractional(&mut self, list: &'a [Value]) -> Node {
        let (key, parts, offset) = match list.split_first() {
            Some((key, parts)) if !matches!(key, Value::List(_)) => {
                (Some(self.child(key, 0)), parts, 1)
            }
            _ => (None, list, 0),
        };
        if parts.is_empty() {
            return self.problem("expected at least one part, such as [\"on\", 50]".into());
        }
        let mut outcomes = Vec::with_capacity(parts.len());
        let mut weights = Vec::with_capacity(parts.len());
        for (i, part) in parts.iter().enumerate() {
            let place = i + offset;
            let step = |path: &mut String| write!(path, "[{place}]");
            if let Some((outcome, weight)) = self.at(step, |this| this.part(part)) {
                outcomes.push(outcome);
                weights.push(weight);
            }
        }
        let Some(weights) = self.weights(weights, offset) else {
            return Node::Constant(Value::Null);
        };
        let outcomes = self.keep(&outcomes);
        Node::Fractional(Box::new(Fractional { key, weights, outcomes }))
    }

    /// Variant and weight of one part.
    fn part(&mut self, part: &'a Value) -> Option<(NodeId, Option<&'a Value>)> {
        match part {
            Value::List(part) if (1..=2).contains(&part.len()) => {
                Some((self.child(&part[0], 0), part.get(1)))
            }
            _ => {
                let what = "expected a variant and its weight, such as [\"on\", 50]";
                self.problem(what.into());
                None
            }
        }
    }

    /// Weights that are known now, or nodes that compute them. `None` for weights that make the
    /// whole split null, as flagd has it.
    fn weights(&mut self, weights: Vec<Option<&'a Value>>, offset: usize) -> Option<Weights> {
        const ONE: &Value = &Value::Integer(1);
        let weights: Vec<_> = weights.into_iter().map(|weight| weight.unwrap_or(ONE)).collect();
        if weights.iter().any(|weight| matches!(weight, Value::Map(_))) {
            let place = |i| move |path: &mut String| write!(path, "[{i}][1]");
            let numbered = weights.into_iter().zip(offset..);
            let nodes: Vec<_> =
                numbered.map(|(weight, i)| self.at(place(i), |this| this.node(weight))).collect();
            return Some(Weights::Computed(self.keep(&nodes)));
        }
        let mut numbers = Vec::with_capacity(weights.len());
        for weight in weights {
            let Some(number) = Operand::of(weight).weight() else {
                self.warn(format!("is always null: the weight {weight} is no whole number"));
                return None;
            };
            numbers.push(number);
        }
        match Split::new(numbers) {
            Ok(split) => Some(Weights::Constant(split)),
            Err(error) => {
                self.warn(format!("is always null: {error}"));
                None
            }
        }
    }
}
