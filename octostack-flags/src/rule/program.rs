//! A rule in the form in which it is evaluated: a flat list of nodes that name each other by
//! number, with everything decided that does not depend on the context.
use crate::bucketing::Split;
use octostack_core::inspect::Value;

/// Which node of a [`Program`].
pub(crate) type NodeId = u32;

/// A run of numbers in [`Program::children`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Children {
    pub(super) first: u32,
    pub(super) len: u32,
}

/// One step.
#[derive(Debug)]
pub(crate) enum Node {
    Constant(Value),
    FlagKey,
    /// Seconds since 1970, the same for a whole request.
    Timestamp,
    TargetingKey {
        default: Option<NodeId>,
    },
    Attribute {
        path: Box<[Box<str>]>,
        default: Option<NodeId>,
    },
    /// A list with items that have to be computed.
    List(Children),
    /// Condition, value, condition, value, ..., value for none of them.
    If(Children),
    And(Children),
    Or(Children),
    Not(NodeId),
    /// `!!`
    Truth(NodeId),
    Equal {
        sides: [NodeId; 2],
        strict: bool,
        negated: bool,
    },
    /// Two or three operands, each of which has to be in order with the next.
    Order {
        order: Order,
        operands: Children,
    },
    In {
        needle: NodeId,
        haystack: NodeId,
    },
    /// `in` with a list of constant texts, sorted.
    OneOf {
        needle: NodeId,
        texts: Box<[Box<str>]>,
    },
    Join(Children),
    /// `starts_with` and `ends_with`.
    Affix {
        text: NodeId,
        affix: NodeId,
        at_end: bool,
    },
    Fractional(Box<Fractional>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A split of users, by the hash of a key.
#[derive(Debug)]
pub(crate) struct Fractional {
    /// What is hashed; the flag's key with the targeting key if the rule names nothing.
    pub(super) key: Option<NodeId>,
    pub(super) weights: Weights,
    /// What each part gets.
    pub(super) outcomes: Children,
}

#[derive(Debug)]
pub(crate) enum Weights {
    Constant(Split),
    /// A node for each part.
    Computed(Children),
}

/// A compiled rule.
#[derive(Debug)]
pub(crate) struct Program {
    pub(super) nodes: Box<[Node]>,
    pub(super) children: Box<[NodeId]>,
    pub(super) root: NodeId,
    /// Whether the rule asks for the time.
    pub(crate) needs_time: bool,
}

impl Program {
    #[inline]
    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }

    #[inline]
    pub(super) fn children(&self, children: Children) -> &[NodeId] {
        let first = children.first as usize;
        &self.children[first..first + children.len as usize]
    }
}

impl Node {
    /// What an explanation calls it.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Constant(_) => "constant",
            Self::FlagKey
            | Self::Timestamp
            | Self::TargetingKey { .. }
            | Self::Attribute { .. } => "var",
            Self::List(_) => "list",
            Self::If(_) => "if",
            Self::And(_) => "and",
            Self::Or(_) => "or",
            Self::Not(_) => "!",
            Self::Truth(_) => "!!",
            Self::Equal { strict: false, negated: false, .. } => "==",
            Self::Equal { strict: false, negated: true, .. } => "!=",
            Self::Equal { strict: true, negated: false, .. } => "===",
            Self::Equal { strict: true, negated: true, .. } => "!==",
            Self::Order { order, .. } => match order {
                Order::Less => "<",
                Order::LessOrEqual => "<=",
                Order::Greater => ">",
                Order::GreaterOrEqual => ">=",
            },
            Self::In { .. } | Self::OneOf { .. } => "in",
            Self::Join(_) => "cat",
            Self::Affix { at_end: false, .. } => "starts_with",
            Self::Affix { at_end: true, .. } => "ends_with",
            Self::Fractional(_) => "fractional",
        }
    }

    /// The list that an `in` looks into, where it is part of the node.
    pub(super) fn list(&self) -> Option<Value> {
        match self {
            Self::OneOf { texts, .. } => {
                Some(Value::List(texts.iter().map(|text| text.to_string().into()).collect()))
            }
            _ => None,
        }
    }

    /// What a `var` asks for.
    pub(super) fn asks_for(&self) -> Option<String> {
        match self {
            Self::FlagKey => Some(FLAG_KEY.into()),
            Self::Timestamp => Some(TIMESTAMP.into()),
            Self::TargetingKey { .. } => Some(crate::context::TARGETING_KEY.into()),
            Self::Attribute { path, .. } => Some(path.join(".")),
            _ => None,
        }
    }
}

/// The key of the flag, as a rule asks for it.
pub(super) const FLAG_KEY: &str = "$flagd.flagKey";

/// The time, as a rule asks for it.
pub(super) const TIMESTAMP: &str = "$flagd.timestamp";
