//! Targeting rules: JSON logic with the operators of flagd, compiled once and evaluated often.
//!
//! `compile.rs` turns JSON into a [`Program`], with an error for whatever the rule can get wrong;
//! `evaluate.rs` runs it, which cannot fail. `operand.rs` is the arithmetic between them,
//! `trace.rs` explains a run.
mod compile;
mod evaluate;
mod fractional;
mod operand;
mod program;
mod steps;
mod trace;

#[cfg(test)]
mod oracle_tests;
#[cfg(test)]
mod tests;

pub(crate) use compile::{Evaluators, compile};
pub(crate) use evaluate::Run;
pub(crate) use operand::{Operand, same_text};
pub(crate) use program::Program;
pub(crate) use trace::Explanation;
