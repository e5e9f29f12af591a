//! From JSON to a [`Program`]. Whatever a rule can get wrong is found here, all of it at once, so
//! that an evaluation has nothing to complain about.
use super::program::{Children, FLAG_KEY, Node, NodeId, Order, Program, TIMESTAMP};
use super::steps::{self, MAX_STEPS};
use crate::context::TARGETING_KEY;
use octostack_core::inspect::{Problem, Value};
use std::borrow::Cow;
use std::fmt::Write as _;

/// How deep operators may be nested, `$ref` included: an evaluation recurses as deep.
const MAX_DEPTH: usize = 64;

/// The most nodes of one rule: a bound on what `$ref` may multiply.
const MAX_NODES: usize = 10_000;

/// The rules that others refer to by name: `$evaluators` of a file.
pub(crate) type Evaluators = [(Cow<'static, str>, Value)];

/// A rule that compiled, and what is odd about it.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) program: Program,
    pub(crate) warnings: Vec<Problem>,
}

/// Compiles the rule at `path` of a file.
///
/// # Errors
/// Everything that is wrong with it, by its place.
pub(crate) fn compile(
    rule: &Value,
    path: &str,
    evaluators: &Evaluators,
    is_variant: &dyn Fn(&str) -> bool,
) -> Result<Compiled, Vec<Problem>> {
    let mut compiler = Compiler {
        evaluators,
        nodes: Vec::new(),
        children: Vec::new(),
        path: path.to_owned(),
        depth: 0,
        references: Vec::new(),
        needs_time: false,
        problems: Vec::new(),
        warnings: Vec::new(),
    };
    let root = compiler.node(rule);
    if compiler.problems.is_empty()
        && steps::most(&compiler.nodes, &compiler.children, root) > MAX_STEPS
    {
        compiler.problem(format!(
            "the rule can take more than {MAX_STEPS} steps; nest `cat`, lists and computed weights \
             less deeply"
        ));
    }
    if !compiler.problems.is_empty() {
        return Err(compiler.problems);
    }
    compiler.warn_of_results(root, is_variant);
    let program = Program {
        nodes: compiler.nodes.into(),
        children: compiler.children.into(),
        root,
        needs_time: compiler.needs_time,
    };
    Ok(Compiled { program, warnings: compiler.warnings })
}

pub(super) struct Compiler<'a> {
    evaluators: &'a Evaluators,
    nodes: Vec<Node>,
    children: Vec<NodeId>,
    /// Where in the file we are.
    path: String,
    depth: usize,
    /// The `$ref`s that we are in.
    references: Vec<&'a str>,
    needs_time: bool,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

const OPERATORS: &str = "var, if, ?:, ==, ===, !=, !==, !, !!, and, or, <, <=, >, >=, in, cat, \
                         starts_with, ends_with, fractional, $ref";

impl<'a> Compiler<'a> {
    /// Compiles what stands at the current place.
    pub(super) fn node(&mut self, rule: &'a Value) -> NodeId {
        if self.depth >= MAX_DEPTH || self.nodes.len() >= MAX_NODES {
            self.too_large();
            return 0;
        }
        self.depth += 1;
        let node = match rule {
            Value::Map(entries) => {
                if let [(operator, operands)] = &entries[..] {
                    self.operation(operator, operands)
                } else {
                    let count = entries.len();
                    self.problem(format!("an operation has one operator, this has {count}"))
                }
            }
            Value::List(items) if !items.iter().all(is_constant) => Node::List(self.items(items)),
            constant => Node::Constant(constant.clone()),
        };
        self.depth -= 1;
        self.push(node)
    }

    fn operation(&mut self, operator: &'a str, operands: &'a Value) -> Node {
        if operator == "$ref" {
            return self.reference(operands);
        }
        let length = self.path.len();
        let _ = write!(self.path, ".{operator}"); // a String takes everything
        let list = match operands {
            Value::List(list) => &list[..],
            single => std::slice::from_ref(single),
        };
        let node = self.operator(operator, list);
        self.path.truncate(length);
        node
    }

    fn operator(&mut self, operator: &str, list: &'a [Value]) -> Node {
        let equal = |sides, strict, negated| Node::Equal { sides, strict, negated };
        let node = match operator {
            "var" => self.var(list),
            "if" | "?:" => Some(Node::If(self.items(list))),
            "and" => Some(Node::And(self.items(list))),
            "or" => Some(Node::Or(self.items(list))),
            "!" => self.operands(list).map(|[operand]| Node::Not(operand)),
            "!!" => self.operands(list).map(|[operand]| Node::Truth(operand)),
            "==" => self.operands(list).map(|sides| equal(sides, false, false)),
            "!=" => self.operands(list).map(|sides| equal(sides, false, true)),
            "===" => self.operands(list).map(|sides| equal(sides, true, false)),
            "!==" => self.operands(list).map(|sides| equal(sides, true, true)),
            "<" => self.order(Order::Less, list, 3),
            "<=" => self.order(Order::LessOrEqual, list, 3),
            ">" => self.order(Order::Greater, list, 2),
            ">=" => self.order(Order::GreaterOrEqual, list, 2),
            "in" => self.within(list),
            "cat" => Some(Node::Join(self.items(list))),
            "starts_with" => Some(self.affix(list, false)),
            "ends_with" => Some(self.affix(list, true)),
            "fractional" => Some(self.fractional(list)),
            unknown => {
                let what = format!("there is no operator `{unknown}` here; there are {OPERATORS}");
                Some(self.problem(what))
            }
        };
        node.unwrap_or(Node::Constant(Value::Null))
    }

    fn var(&mut self, list: &'a [Value]) -> Option<Node> {
        let name: Cow<'_, str> = match list {
            [] => "".into(),
            [Value::Text(name)] | [Value::Text(name), _] => (&**name).into(),
            [Value::Integer(index)] | [Value::Integer(index), _] => index.to_string().into(),
            _ => {
                let what = "expected the name of an attribute, and perhaps a default";
                self.problem(what.into());
                return None;
            }
        };
        let default = list.get(1).map(|default| self.child(default, 1));
        Some(match &*name {
            "" => self.problem("a rule cannot ask for the whole context; name an attribute".into()),
            FLAG_KEY => Node::FlagKey,
            TIMESTAMP => {
                self.needs_time = true;
                Node::Timestamp
            }
            TARGETING_KEY => Node::TargetingKey { default },
            name => Node::Attribute { path: name.split('.').map(Into::into).collect(), default },
        })
    }

    fn order(&mut self, order: Order, list: &'a [Value], most: usize) -> Option<Node> {
        if !(2..=most).contains(&list.len()) {
            let wanted = if most == 2 { "2 operands" } else { "2 or 3 operands" };
            self.wrong_count(wanted, list.len());
            return None;
        }
        Some(Node::Order { order, operands: self.items(list) })
    }

    fn within(&mut self, list: &'a [Value]) -> Option<Node> {
        if let [needle, Value::List(items)] = list
            && let Some(mut texts) = items.iter().map(text_of).collect::<Option<Vec<_>>>()
        {
            texts.sort();
            texts.dedup();
            let needle = self.child(needle, 0);
            return Some(Node::OneOf { needle, texts: texts.into() });
        }
        let [needle, haystack] = self.operands(list)?;
        Some(Node::In { needle, haystack })
    }

    /// flagd's own operators answer null to what they cannot work with, which selects the default
    /// variant. So it is odd, and no error.
    fn affix(&mut self, list: &'a [Value], at_end: bool) -> Node {
        let [text, affix] = list else {
            let count = list.len();
            self.warn(format!("is always null: it has 2 operands, here are {count}"));
            return Node::Constant(Value::Null);
        };
        let (text, affix) = (self.child(text, 0), self.child(affix, 1));
        Node::Affix { text, affix, at_end }
    }

    fn reference(&mut self, name: &'a Value) -> Node {
        let Value::Text(name) = name else {
            return self.problem("expected the name of an entry of $evaluators".into());
        };
        let name = &**name;
        let Some((_, rule)) = self.evaluators.iter().find(|(known, _)| known == name) else {
            return self.problem(format!("$evaluators has no entry `{name}`"));
        };
        if self.references.contains(&name) {
            return self.problem(format!("`{name}` refers to itself, over other entries or alone"));
        }
        self.references.push(name);
        let path = std::mem::replace(&mut self.path, format!("$evaluators.{name}"));
        let node = self.node(rule);
        self.path = path;
        self.references.pop();
        Node::If(self.keep(&[node])) // the value of its only branch
    }

    /// Exactly as many operands as asked for.
    fn operands<const N: usize>(&mut self, list: &'a [Value]) -> Option<[NodeId; N]> {
        if list.len() != N {
            let wanted = if N == 1 { "1 operand".to_owned() } else { format!("{N} operands") };
            self.wrong_count(&wanted, list.len());
            return None;
        }
        let mut ids = [0; N];
        for (i, (id, operand)) in ids.iter_mut().zip(list).enumerate() {
            *id = self.child(operand, i);
        }
        Some(ids)
    }

    /// One operand of the operator that we are in.
    pub(super) fn child(&mut self, operand: &'a Value, index: usize) -> NodeId {
        self.at(|path| write!(path, "[{index}]"), |this| this.node(operand))
    }

    /// The operands of the operator that we are in, or the items of a list.
    fn items(&mut self, list: &'a [Value]) -> Children {
        let operands = list.iter().enumerate();
        let ids: Vec<_> = operands.map(|(i, operand)| self.child(operand, i)).collect();
        self.keep(&ids)
    }

    /// Does something a step further in the file.
    pub(super) fn at<T>(
        &mut self,
        step: impl FnOnce(&mut String) -> std::fmt::Result,
        work: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let length = self.path.len();
        let _ = step(&mut self.path); // a String takes everything
        let result = work(self);
        self.path.truncate(length);
        result
    }

    pub(super) fn keep(&mut self, ids: &[NodeId]) -> Children {
        let first = index(self.children.len());
        self.children.extend_from_slice(ids);
        Children { first, len: index(ids.len()) }
    }

    fn push(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        index(self.nodes.len() - 1)
    }

    /// Notes a problem; the node stands in for what could not be made.
    pub(super) fn problem(&mut self, message: String) -> Node {
        self.problems.push(Problem::new(self.path.clone(), message));
        Node::Constant(Value::Null)
    }

    pub(super) fn warn(&mut self, message: String) {
        self.warnings.push(Problem::new(self.path.clone(), message));
    }

    fn wrong_count(&mut self, wanted: &str, count: usize) {
        self.problem(format!("expected {wanted}, here are {count}"));
    }

    fn too_large(&mut self) {
        let what =
            format!("the rule is nested deeper than {MAX_DEPTH} or has over {MAX_NODES} parts");
        // Once: what follows is the same.
        if self.problems.last().is_none_or(|last| last.message != what) {
            self.problem(what);
        }
    }

    /// Warns of constant results that select no variant.
    fn warn_of_results(&mut self, id: NodeId, is_variant: &dyn Fn(&str) -> bool) {
        let results: Vec<NodeId> = match &self.nodes[id as usize] {
            Node::Constant(Value::Text(name)) if !is_variant(name) => {
                let what = format!("its result `{name}` is no variant of the flag");
                return self.warn(what);
            }
            Node::If(branches) => {
                let (pairs, last) = self.children_of(*branches).as_chunks::<2>();
                pairs.iter().map(|[_, value]| value).chain(last).copied().collect()
            }
            Node::Fractional(split) => self.children_of(split.outcomes).to_vec(),
            _ => return,
        };
        for result in results {
            self.warn_of_results(result, is_variant);
        }
    }

    fn children_of(&self, children: Children) -> &[NodeId] {
        &self.children[children.first as usize..][..children.len as usize]
    }
}

/// Bounded by [`MAX_NODES`].
fn index(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

pub(super) fn is_constant(value: &Value) -> bool {
    match value {
        Value::Map(_) => false,
        Value::List(items) => items.iter().all(is_constant),
        _ => true,
    }
}

fn text_of(value: &Value) -> Option<Box<str>> {
    value.as_str().map(Into::into)
}
