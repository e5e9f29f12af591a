//! How much work an evaluation can be. Text and lists that a rule puts together are computed each
//! time they are looked at, and weights twice; nested into each other that doubles and doubles. So
//! the worst is worked out when a rule is compiled, and a rule that is too much is an error.
use super::program::{Node, NodeId, Weights};
use octostack_core::inspect::Value;

/// The most steps of one evaluation: about a millisecond.
pub(super) const MAX_STEPS: u64 = 100_000;

/// How often an operator looks at an operand, at the most: once for its truth, once as text, once
/// as a number.
const LOOKS: u64 = 3;

/// What one node costs.
#[derive(Clone, Copy)]
struct Cost {
    /// To evaluate it and to look at the result once.
    steps: u64,
    /// Whether to look at the result is to compute it.
    lazy: bool,
}

/// The most steps that the last of `nodes` can take. Operands stand before what uses them.
pub(super) fn most(nodes: &[Node], children: &[NodeId], root: NodeId) -> u64 {
    let mut costs: Vec<Cost> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let cost = cost(node, nodes, children, &costs);
        costs.push(cost);
    }
    costs.get(root as usize).map_or(0, |cost| cost.steps)
}

fn cost(node: &Node, nodes: &[Node], children: &[NodeId], costs: &[Cost]) -> Cost {
    let of = |id: NodeId| costs[id as usize];
    let list = |c: &super::program::Children| {
        &children[c.first as usize..c.first as usize + c.len as usize]
    };
    let lazy = |ids: &[NodeId]| ids.iter().any(|id| of(*id).lazy);
    let used = |ids: &[NodeId], looks: u64| -> u64 {
        let each = |id: &NodeId| {
            let Cost { steps, lazy } = of(*id);
            if lazy { steps.saturating_mul(looks) } else { steps }
        };
        ids.iter().map(each).fold(1, u64::saturating_add)
    };
    let all = |ids: &[NodeId], lazy: bool| Cost { steps: used(ids, LOOKS), lazy };
    match node {
        Node::Constant(_) | Node::FlagKey | Node::Timestamp => Cost { steps: 1, lazy: false },
        Node::TargetingKey { default } | Node::Attribute { default, .. } => {
            let ids = default.as_slice();
            all(ids, lazy(ids))
        }
        Node::List(items) | Node::Join(items) => all(list(items), true),
        Node::If(operands) | Node::And(operands) | Node::Or(operands) => {
            let ids = list(operands);
            all(ids, lazy(ids))
        }
        Node::Not(operand) | Node::Truth(operand) => all(&[*operand], false),
        Node::Equal { sides, .. } => all(sides, false),
        Node::Order { operands, .. } => all(list(operands), false),
        Node::OneOf { needle, .. } => all(&[*needle], false),
        Node::Affix { text, affix, .. } => all(&[*text, *affix], false),
        // The needle is compared with each item.
        Node::In { needle, haystack } => {
            let items = match &nodes[*haystack as usize] {
                Node::Constant(Value::List(items)) => items.len() as u64,
                Node::List(items) => u64::from(items.len),
                _ => 1,
            };
            let needle = used(&[*needle], items.saturating_mul(LOOKS).max(LOOKS));
            Cost { steps: needle.saturating_add(used(&[*haystack], LOOKS)), lazy: false }
        }
        Node::Fractional(split) => {
            let outcomes = list(&split.outcomes);
            let mut steps = used(outcomes, LOOKS).saturating_add(used(split.key.as_slice(), LOOKS));
            if let Weights::Computed(weights) = &split.weights {
                steps = steps.saturating_add(used(list(weights), LOOKS).saturating_mul(2));
            }
            Cost { steps, lazy: lazy(outcomes) }
        }
    }
}
