//! One call from its start to its end, and the fallback that may follow.
use super::Shared;
use super::config::FallbackOn;
use super::tally::Rules;
use crate::error::PolicyError;
use crate::handle::Handle;
use crate::outcome::Outcome;
use crate::protocol::Protocol;

/// Counts how the call ended, and how its fallback did; also when it is dropped.
pub(super) struct Run<H: Handle<Shared>> {
    handle: H,
    rules: Rules,
    stage: Stage,
}

#[derive(Clone, Copy)]
enum Stage {
    Calling,
    Answering,
    Ended,
}

impl<H: Handle<Shared>> Run<H> {
    #[inline]
    pub(super) fn start(handle: H) -> Self {
        let rules = handle.tally.rules();
        Self { handle, rules, stage: Stage::Calling }
    }

    /// Whether an answer may be replaced, so that there is something to keep for that.
    #[inline]
    pub(super) fn acts(&self) -> bool {
        self.rules.acts()
    }

    /// The call has ended with `output`. Whether that is to be replaced.
    #[inline]
    pub(super) fn judge<P, Res, Err>(
        &mut self,
        protocol: &P,
        output: &Result<Res, Err>,
        is_failure: impl FnOnce(Outcome) -> bool,
    ) -> bool
    where
        P: Protocol<Res, Err>,
    {
        let outcome = protocol.classify(output);
        self.end(outcome);
        if !self.rules.acts() && !self.rules.watches() {
            return false;
        }
        let unwanted = match self.rules.on() {
            FallbackOn::Failure => is_failure(outcome),
            FallbackOn::Rejection => outcome != Outcome::Success && is_rejection(protocol, output),
            FallbackOn::Error => output.is_err(),
        };
        if unwanted && self.rules.watches() {
            self.handle.tally.watched();
        }
        unwanted && self.rules.acts()
    }

    /// The guarded call, or its fallback, has ended.
    #[inline]
    pub(super) fn end(&mut self, outcome: Outcome) {
        match self.stage {
            Stage::Calling => self.handle.tally.end(outcome),
            Stage::Answering => self.handle.tally.answered(outcome),
            Stage::Ended => {}
        }
        self.stage = Stage::Ended;
    }

    /// The fallback begins.
    pub(super) fn answers(&mut self) {
        self.stage = Stage::Answering;
    }

    /// There turned out to be no fallback.
    pub(super) fn passes(&mut self) {
        self.stage = Stage::Ended;
    }

    /// A panic of either.
    #[cold]
    pub(super) fn panicked(&mut self) {
        self.end(Outcome::Failure);
    }
}

/// What replaces an answer unless told otherwise: nobody can use a failure or a refusal.
#[inline]
pub(super) fn is_unwanted<P, Res, Err>(
    protocol: &P,
    outcome: Outcome,
    output: &Result<Res, Err>,
) -> bool
where
    P: Protocol<Res, Err>,
{
    match outcome {
        Outcome::Failure | Outcome::Overloaded => true,
        Outcome::Ignored => is_rejection(protocol, output),
        Outcome::Success | Outcome::Cancelled => false,
    }
}

fn is_rejection<P, Res, Err>(protocol: &P, output: &Result<Res, Err>) -> bool
where
    P: Protocol<Res, Err>,
{
    protocol.policy_error(output).is_some_and(PolicyError::is_rejection)
}

impl<H: Handle<Shared>> Drop for Run<H> {
    #[inline]
    fn drop(&mut self) {
        if !matches!(self.stage, Stage::Ended) {
            self.end(Outcome::of_drop());
        }
    }
}
