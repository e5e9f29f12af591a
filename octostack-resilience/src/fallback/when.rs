use super::run::is_unwanted;
use crate::outcome::Outcome;
use crate::protocol::Protocol;

/// What [`failure`](super::FallbackOn::Failure) means for a fallback's layer.
pub trait When<P, Res, Err>: Clone {
    /// Whether the answer is to be replaced; `outcome` is what the protocol says of it.
    fn is_failure(&self, protocol: &P, outcome: Outcome, output: &Result<Res, Err>) -> bool;
}

/// What the protocol takes for a failure or an overload, and what a policy refused; the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByProtocol;

impl<P: Protocol<Res, Err>, Res, Err> When<P, Res, Err> for ByProtocol {
    #[inline]
    fn is_failure(&self, protocol: &P, outcome: Outcome, output: &Result<Res, Err>) -> bool {
        is_unwanted(protocol, outcome, output)
    }
}

/// What a closure says; made by [`FallbackLayer::when`](super::FallbackLayer::when).
#[derive(Clone, Copy, Debug)]
pub struct Predicate<F> {
    pub(super) predicate: F,
}

impl<P, Res, Err, F> When<P, Res, Err> for Predicate<F>
where
    F: Fn(&Result<Res, Err>) -> bool + Clone,
{
    #[inline]
    fn is_failure(&self, _: &P, _: Outcome, output: &Result<Res, Err>) -> bool {
        (self.predicate)(output)
    }
}
