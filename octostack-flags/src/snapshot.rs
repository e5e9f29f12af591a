//! All flags at one time, ready to be evaluated.
use crate::bucketing::Bucketing;
use crate::context::Context;
use crate::definition::Definition;
use crate::entry::Entry;
use crate::evaluation::{ErrorCode, Reason};
use crate::rule::{self, Evaluators, Explanation, Operand, Program, Run, same_text};
use crate::variant::{Counts, Text, Variant, VariantValue};
use octostack_core::inspect::{Problem, Value};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The flags of one generation. Immutable; a reload or an override makes another.
///
/// Made by [`Flags`](crate::Flags). Whoever holds one sees all flags as they were at one time.
#[derive(Debug)]
pub struct Snapshot {
    /// Not 0, and another one for each snapshot of the process, until 2³² of them have been made.
    id: u32,
    slots: Box<[Slot]>,
    by_key: HashMap<Text, u32>,
    bucketing: Bucketing,
    /// Whether any rule asks for the time.
    needs_time: bool,
    /// Counts questions for flags that are not there.
    unknown: Arc<Counts>,
}

/// A flag, and what an operator has made of it.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) flag: Arc<CompiledFlag>,
    pub(crate) forced: Option<u16>,
}

/// A flag as the file defines it.
#[derive(Debug)]
pub(crate) struct CompiledFlag {
    pub(crate) entry: Arc<Entry>,
    pub(crate) body: Body,
    pub(crate) variants: Box<[Variant]>,
    pub(crate) default: Option<u16>,
    /// Counts the answers that are no variant.
    pub(crate) none: Arc<Counts>,
    pub(crate) metadata: Value,
    /// The rule as it was written.
    pub(crate) targeting: Value,
    pub(crate) warnings: Vec<Problem>,
}

/// What is done to evaluate a flag.
#[derive(Debug)]
pub(crate) enum Body {
    /// The code declares it, the file does not have it.
    Undefined,
    /// The file has it, and it is wrong.
    Broken(Vec<Problem>),
    Disabled,
    /// Everybody gets the default.
    Static,
    Rule(Program),
}

/// How an evaluation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Resolution {
    pub(crate) variant: Option<u16>,
    pub(crate) reason: Reason,
    pub(crate) error: Option<ErrorCode>,
}

impl Resolution {
    const fn of(variant: Option<u16>, reason: Reason) -> Self {
        Self { variant, reason, error: None }
    }

    pub(crate) const fn error(code: ErrorCode) -> Self {
        Self { variant: None, reason: Reason::Error, error: Some(code) }
    }
}

impl Snapshot {
    pub(crate) fn new(slots: Vec<Slot>, bucketing: Bucketing, unknown: Arc<Counts>) -> Self {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let by_key = slots.iter().zip(0..).map(|(slot, i)| (slot.flag.entry.key(), i)).collect();
        let needs_time = slots.iter().any(|slot| match &slot.flag.body {
            Body::Rule(program) => program.needs_time,
            _ => false,
        });
        let id = LAST.fetch_add(1, Relaxed).wrapping_add(1).max(1);
        Self { id, slots: slots.into(), by_key, bucketing, needs_time, unknown }
    }

    #[inline]
    pub(crate) const fn id(&self) -> u32 {
        self.id
    }

    pub(crate) const fn needs_time(&self) -> bool {
        self.needs_time
    }

    pub(crate) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    pub(crate) fn index(&self, key: &str) -> Option<u32> {
        self.by_key.get(key).copied()
    }

    #[inline]
    pub(crate) fn slot(&self, index: u32) -> Option<&Slot> {
        self.slots.get(index as usize)
    }

    pub(crate) fn count_unknown(&self) {
        self.unknown.count(Reason::Error);
    }

    /// How many flags there are, those that only the code declares included.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are no flags.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The arithmetic of `fractional`.
    pub const fn bucketing(&self) -> Bucketing {
        self.bucketing
    }

    /// Evaluates `slot`, and counts nothing.
    #[inline]
    pub(crate) fn resolve(&self, slot: &Slot, context: &Context, timestamp: i64) -> Resolution {
        match slot.decided() {
            Ok(resolution) => resolution,
            Err(program) => {
                let run = self.run(slot, program, context, timestamp);
                slot.flag.select(run.result(&mut ()))
            }
        }
    }

    /// As [`resolve`](Self::resolve), with what the rule did, or null where there was none.
    pub(crate) fn explain(
        &self,
        slot: &Slot,
        context: &Context,
        timestamp: i64,
    ) -> (Resolution, Value) {
        match slot.decided() {
            Ok(resolution) => (resolution, Value::Null),
            Err(program) => {
                let mut explanation = Explanation::default();
                let run = self.run(slot, program, context, timestamp);
                let resolution = slot.flag.select(run.result(&mut explanation));
                (resolution, explanation.into_value())
            }
        }
    }

    #[inline]
    fn run<'a>(
        &self,
        slot: &'a Slot,
        program: &'a Program,
        context: &'a Context,
        timestamp: i64,
    ) -> Run<'a> {
        let flag = slot.flag.entry.name();
        Run { program, flag, context, bucketing: self.bucketing, timestamp }
    }
}

impl Slot {
    /// The answer that needs no context, or the rule that needs one.
    #[inline]
    fn decided(&self) -> Result<Resolution, &Program> {
        if self.forced.is_some() {
            return Ok(Resolution::of(self.forced, Reason::Override));
        }
        Ok(match &self.flag.body {
            Body::Rule(program) => return Err(program),
            Body::Static => self.flag.default_as(Reason::Static),
            Body::Disabled => Resolution::of(None, Reason::Disabled),
            Body::Undefined => Resolution::error(ErrorCode::FlagNotFound),
            Body::Broken(_) => Resolution::error(ErrorCode::ParseError),
        })
    }

    #[inline]
    pub(crate) fn variant(&self, resolution: Resolution) -> Option<&Variant> {
        self.flag.variants.get(usize::from(resolution.variant?))
    }

    /// Counts an answer.
    #[inline]
    pub(crate) fn count(&self, resolution: Resolution) {
        let counts = self.variant(resolution).map_or(&self.flag.none, |variant| &variant.counts);
        counts.count(resolution.reason);
    }
}

impl CompiledFlag {
    /// A flag that the file does not have.
    pub(crate) fn undefined(entry: Arc<Entry>) -> Self {
        Self::without_variants(entry, Body::Undefined)
    }

    fn without_variants(entry: Arc<Entry>, body: Body) -> Self {
        Self {
            none: entry.none(),
            entry,
            body,
            variants: Box::default(),
            default: None,
            metadata: Value::Map(Vec::new()),
            targeting: Value::Null,
            warnings: Vec::new(),
        }
    }

    /// The flag that stands in a file under `flags`. One that is wrong becomes a broken one.
    pub(crate) fn compile(entry: Arc<Entry>, flag: &Value, evaluators: &Evaluators) -> Self {
        let key = entry.name().to_owned();
        let definition = match Definition::read(&key, flag) {
            Ok(definition) => definition,
            Err(problems) => return Self::without_variants(entry, Body::Broken(problems)),
        };
        let is_variant = |name: &str| definition.variants.iter().any(|(known, _)| *known == name);
        let path = format!("flags.{key}.targeting");
        let rule = definition
            .targeting
            .map(|rule| rule::compile(rule, &path, evaluators, &is_variant))
            .transpose();
        let (body, warnings) = match rule {
            // To switch a flag off helps against a wrong rule too.
            Err(problems) if !definition.enabled => (Body::Disabled, problems),
            Err(problems) => (Body::Broken(problems), Vec::new()),
            Ok(_) if !definition.enabled => (Body::Disabled, Vec::new()),
            Ok(None) => (Body::Static, Vec::new()),
            Ok(Some(compiled)) => (Body::Rule(compiled.program), compiled.warnings),
        };
        let mut warnings = warnings;
        warnings.extend(misfits(&entry, &definition));
        let variants = definition.variants.into_iter().map(|(name, value)| Variant {
            name: Text::shared(name),
            value,
            counts: entry.counts(name),
        });
        Self {
            none: entry.none(),
            variants: variants.collect(),
            entry,
            body,
            default: definition.default,
            metadata: definition.metadata,
            targeting: definition.targeting.cloned().unwrap_or(Value::Null),
            warnings,
        }
    }

    /// A flag that stands in a file more than once.
    pub(crate) fn ambiguous(entry: Arc<Entry>) -> Self {
        let key = format!("flags.{}", entry.name());
        let problem = Problem::new(key, "is there twice; nobody knows which one is meant");
        Self::without_variants(entry, Body::Broken(vec![problem]))
    }

    /// The variant called `name`.
    #[inline]
    pub(crate) fn position(&self, name: &str) -> Option<u16> {
        self.find(|known| known == name)
    }

    fn find(&self, is_it: impl Fn(&str) -> bool) -> Option<u16> {
        let found = self.variants.iter().position(|variant| is_it(&variant.name))?;
        u16::try_from(found).ok()
    }

    /// What the result of the rule selects.
    #[inline]
    fn select(&self, result: Operand<'_>) -> Resolution {
        let found = match result {
            Operand::Null => return self.default_as(Reason::Default),
            Operand::Text(name) => self.position(name),
            Operand::Bool(true) => self.position("true"),
            Operand::Bool(false) => self.position("false"),
            Operand::Joined(joined) => self.find(|name| same_text(name, joined)),
            _ => None,
        };
        match found {
            Some(_) => Resolution::of(found, Reason::TargetingMatch),
            None => Resolution::error(ErrorCode::General),
        }
    }

    /// Without a default variant the code decides.
    #[inline]
    const fn default_as(&self, reason: Reason) -> Resolution {
        let reason = if self.default.is_some() { reason } else { Reason::Default };
        Resolution::of(self.default, reason)
    }

    /// What is wrong with it, if anything is.
    pub(crate) fn problems(&self) -> &[Problem] {
        match &self.body {
            Body::Broken(problems) => problems,
            _ => &[],
        }
    }
}

/// Variants whose values the code cannot take.
fn misfits(entry: &Entry, definition: &Definition<'_>) -> Vec<Problem> {
    let Some(declared) = entry.declared() else {
        return Vec::new();
    };
    let unfit = definition.variants.iter().filter(|(_, value)| !declared.takes(value));
    let describe = |(name, value): &(&str, VariantValue)| {
        let key = format!("flags.{}.variants.{name}", entry.name());
        let (found, wanted) = (value.type_name(), declared.type_name());
        let found = if found == wanted { "a number that it cannot hold" } else { found };
        Problem::new(key, format!("the code declares {wanted}, this is {found}"))
    };
    unfit.map(describe).collect()
}

/// What a flag says: the answer to [`Pinned::evaluate`](crate::Pinned::evaluate).
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Evaluation<'a> {
    /// The value; `None` where the default in code is to be taken.
    pub value: Option<&'a VariantValue>,
    /// The variant that has this value.
    pub variant: Option<&'a str>,
    /// Why.
    pub reason: Reason,
    /// What is wrong, where the reason is [`Reason::Error`].
    pub error: Option<ErrorCode>,
    /// The flag's metadata: a map of its own entries.
    pub metadata: &'a Value,
}

impl Evaluation<'_> {
    pub(crate) const UNKNOWN: Evaluation<'static> = Evaluation {
        value: None,
        variant: None,
        reason: Reason::Error,
        error: Some(ErrorCode::FlagNotFound),
        metadata: &Value::Map(Vec::new()),
    };

    pub(crate) fn new(slot: &Slot, resolution: Resolution) -> Evaluation<'_> {
        let variant = slot.variant(resolution);
        Evaluation {
            value: variant.map(|variant| &variant.value),
            variant: variant.map(|variant| variant.name.as_str()),
            reason: resolution.reason,
            error: resolution.error,
            metadata: &slot.flag.metadata,
        }
    }
}
