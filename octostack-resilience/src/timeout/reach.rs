//! How far a timeout reaches: what it takes from a request and tells it, what it times.
use super::Shared;
use super::readiness::Before;
use super::run::Run;
use super::travel::Unsaid;
use crate::extent::Head;
use crate::handle::Handle;
use std::time::Instant;

/// What the calls through a layer have to do with a timeout: whether deadlines come and go with
/// requests ([`Travel`](super::Travel)), whether the wait for readiness is timed
/// ([`Readiness`](super::Readiness)), and where a call ends ([`Extent`](crate::extent::Extent)).
#[derive(Clone, Copy, Debug, Default)]
pub struct Reach<T = Unsaid, R = Before, X = Head> {
    pub(super) travel: T,
    pub(super) readiness: R,
    pub(super) extent: X,
}

/// A call whose answer has begun while its time runs.
#[derive(Debug)]
#[cfg_attr(not(feature = "http"), allow(dead_code, reason = "without bodies nothing goes on"))]
pub struct Clocked<P, H: Handle<Shared>> {
    pub(super) run: Run<H>,
    /// When its time is up; until the first wait that is open.
    pub(super) until: Option<Instant>,
    /// How its body would be cut off.
    pub(super) protocol: P,
}

impl<P: Clone, H: Handle<Shared>> Clocked<P, H> {
    #[inline]
    pub(super) fn new(run: Run<H>, until: Option<Instant>, protocol: &P) -> Self {
        Self { run, until, protocol: protocol.clone() }
    }
}

#[cfg(feature = "http")]
impl<P, H: Handle<Shared>> Clocked<P, H> {
    /// However the call ended, it did so in time.
    pub(super) fn end(mut self) {
        self.run.end(crate::Outcome::Success);
    }
}
