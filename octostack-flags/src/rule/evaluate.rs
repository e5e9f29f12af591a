//! Runs a rule: no allocation, no lock, no clock, and an answer for every input.
use super::operand::Operand;
use super::program::{Children, Fractional, Node, NodeId, Order, Program, Weights};
use super::trace::Trace;
use crate::bucketing::{Bucketing, Unit};
use crate::context::Context;
use octostack_core::inspect::Value;
use std::cmp::Ordering;
use std::fmt;

/// One evaluation: a rule, and all that it may look at.
pub(crate) struct Run<'a> {
    pub(crate) program: &'a Program,
    pub(crate) flag: &'a str,
    pub(crate) context: &'a Context,
    pub(crate) bucketing: Bucketing,
    /// Seconds since 1970.
    pub(crate) timestamp: i64,
}

impl Run<'_> {
    /// What the rule says.
    #[inline]
    pub(crate) fn result(&self, trace: &mut impl Trace) -> Operand<'_> {
        self.eval(self.program.root, trace)
    }

    #[inline]
    fn eval(&self, id: NodeId, trace: &mut impl Trace) -> Operand<'_> {
        let node = self.program.node(id);
        trace.enter(node);
        let result = match node {
            Node::Constant(value) => Operand::of(value), // half of all nodes: not worth a call
            node => self.step(node, trace),
        };
        trace.leave(result);
        result
    }

    // Not split further: a match over all nodes that a reader can see whole.
    fn step<'r>(&'r self, node: &'r Node, trace: &mut impl Trace) -> Operand<'r> {
        match node {
            Node::Constant(value) => Operand::of(value),
            Node::FlagKey => Operand::Text(self.flag),
            Node::Timestamp => Operand::Integer(self.timestamp),
            Node::TargetingKey { default } => match self.context.targeting_key() {
                Some(key) => Operand::Text(key),
                None => self.or_default(*default, trace),
            },
            Node::Attribute { path, default } => match self.context.at(path) {
                None | Some(Value::Null) => self.or_default(*default, trace),
                Some(value) => Operand::of(value),
            },
            Node::List(items) => Operand::Computed(Items { run: self, items: *items }),
            Node::If(branches) => self.branch(*branches, trace),
            Node::And(operands) => self.first(*operands, false, trace),
            Node::Or(operands) => self.first(*operands, true, trace),
            Node::Not(operand) => Operand::Bool(!self.eval(*operand, trace).is_true()),
            Node::Truth(operand) => Operand::Bool(self.eval(*operand, trace).is_true()),
            Node::Equal { sides: [left, right], strict, negated } => {
                let (left, right) = (self.eval(*left, trace), self.eval(*right, trace));
                let equal = if *strict { left.is_identical(right) } else { left.is_equal(right) };
                Operand::Bool(equal != *negated)
            }
            Node::Order { order, operands } => {
                Operand::Bool(self.in_order(*order, *operands, trace))
            }
            Node::In { needle, haystack } => {
                let needle = self.eval(*needle, trace);
                Operand::Bool(needle.is_in(self.eval(*haystack, trace)))
            }
            Node::OneOf { needle, texts } => {
                let needle = self.eval(*needle, trace).text();
                let found = |text: &str| texts.binary_search_by(|known| (**known).cmp(text));
                Operand::Bool(needle.is_some_and(|text| found(&text).is_ok()))
            }
            Node::Join(pieces) => Operand::Joined(Joined { run: self, pieces: *pieces }),
            Node::Affix { text, affix, at_end } => {
                match (self.eval(*text, trace).text(), self.eval(*affix, trace).text()) {
                    (Some(text), Some(affix)) if *at_end => Operand::Bool(text.ends_with(&*affix)),
                    (Some(text), Some(affix)) => Operand::Bool(text.starts_with(&*affix)),
                    _ => Operand::Null,
                }
            }
            Node::Fractional(split) => self.part(split, trace).unwrap_or(Operand::Null),
        }
    }

    fn or_default(&self, default: Option<NodeId>, trace: &mut impl Trace) -> Operand<'_> {
        default.map_or(Operand::Null, |default| self.eval(default, trace))
    }

    fn branch(&self, branches: Children, trace: &mut impl Trace) -> Operand<'_> {
        let (pairs, last) = self.program.children(branches).as_chunks::<2>();
        for [condition, value] in pairs {
            if self.eval(*condition, trace).is_true() {
                return self.eval(*value, trace);
            }
        }
        self.or_default(last.first().copied(), trace)
    }

    /// The first operand that is as `wanted`, else the last.
    fn first(&self, operands: Children, wanted: bool, trace: &mut impl Trace) -> Operand<'_> {
        let mut last = Operand::Null;
        for operand in self.program.children(operands) {
            last = self.eval(*operand, trace);
            if last.is_true() == wanted {
                break;
            }
        }
        last
    }

    fn in_order(&self, order: Order, operands: Children, trace: &mut impl Trace) -> bool {
        let fits = |found: Option<Ordering>| match order {
            Order::Less => found == Some(Ordering::Less),
            Order::LessOrEqual => matches!(found, Some(Ordering::Less | Ordering::Equal)),
            Order::Greater => found == Some(Ordering::Greater),
            Order::GreaterOrEqual => matches!(found, Some(Ordering::Greater | Ordering::Equal)),
        };
        let mut operands = self.program.children(operands).iter();
        let Some(first) = operands.next() else {
            return false;
        };
        let mut left = self.eval(*first, trace);
        operands.all(|next| {
            let right = self.eval(*next, trace);
            let fits = fits(left.order(right));
            left = right;
            fits
        })
    }

    fn part<'r>(&'r self, split: &'r Fractional, trace: &mut impl Trace) -> Option<Operand<'r>> {
        let hash = self.hash(split.key, trace)?;
        let (part, total) = match &split.weights {
            Weights::Constant(weights) => (self.bucketing.part_of(hash, weights), weights.total()),
            Weights::Computed(nodes) => {
                let total = self.sums(*nodes).try_fold(0, |_, sum| sum)?;
                let ends = self.sums(*nodes).flatten();
                (self.bucketing.place(hash, total, ends).filter(|_| total > 0), total)
            }
        };
        trace.split(hash, part, total);
        let outcome = self.program.children(split.outcomes)[part?];
        Some(self.eval(outcome, trace))
    }

    /// The sums of the weights up to each; `None` where one is no weight or they are too many.
    fn sums(&self, nodes: Children) -> impl Iterator<Item = Option<u32>> {
        let mut sum = Some(0_u32);
        self.program.children(nodes).iter().map(move |node| {
            let weight = self.eval(*node, &mut ()).weight();
            let next = sum?.checked_add(weight?);
            sum = next.filter(|sum| i32::try_from(*sum).is_ok());
            sum
        })
    }

    /// The hash of what a split goes by; `None` if there is nothing to go by.
    fn hash(&self, key: Option<NodeId>, trace: &mut impl Trace) -> Option<u32> {
        let own = match key {
            Some(key) => self.eval(key, trace),
            None => return self.hash_targeting(),
        };
        match own {
            // flagd's V2 falls back to the targeting key, its V3 says null.
            Operand::Null if self.bucketing != Bucketing::V3 => self.hash_targeting(),
            Operand::Null | Operand::Computed(_) => None,
            Operand::Joined(joined) => Some(self.bucketing.hash_display(joined)),
            Operand::Text(text) => self.bucketing.hash(Unit::Text(text)),
            Operand::Compound(value) => self.bucketing.hash(Unit::Value(value)),
            Operand::Bool(yes) => self.bucketing.hash(Unit::Value(&Value::Bool(yes))),
            Operand::Integer(number) => self.bucketing.hash(Unit::Value(&Value::Integer(number))),
            Operand::Float(number) => self.bucketing.hash(Unit::Value(&Value::Float(number))),
        }
    }

    fn hash_targeting(&self) -> Option<u32> {
        let key = self.context.targeting_key()?;
        self.bucketing.hash(Unit::Targeting { flag: self.flag, key })
    }
}

/// Text that a rule puts together out of pieces: computed each time it is written.
#[derive(Clone, Copy)]
pub(crate) struct Joined<'a> {
    run: &'a Run<'a>,
    pieces: Children,
}

impl fmt::Display for Joined<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pieces = self.run.program.children(self.pieces);
        pieces.iter().try_for_each(|piece| self.run.eval(*piece, &mut ()).fmt(f))
    }
}

/// A list that a rule computes: item by item, each time it is looked at.
#[derive(Clone, Copy)]
pub(crate) struct Items<'a> {
    run: &'a Run<'a>,
    items: Children,
}

impl<'a> Items<'a> {
    fn iter(self) -> impl Iterator<Item = Operand<'a>> {
        let items = self.run.program.children(self.items);
        items.iter().map(move |item| self.run.eval(*item, &mut ()))
    }

    pub(super) const fn is_empty(self) -> bool {
        self.items.len == 0
    }

    pub(super) fn any(self, wanted: impl Fn(Operand<'a>) -> bool) -> bool {
        self.iter().any(wanted)
    }

    pub(super) fn to_value(self) -> Value {
        Value::List(self.iter().map(Operand::to_value).collect())
    }
}

impl fmt::Display for Items<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, item) in self.iter().enumerate() {
            f.write_str(if i == 0 { "" } else { "," })?;
            item.fmt(f)?;
        }
        Ok(())
    }
}
