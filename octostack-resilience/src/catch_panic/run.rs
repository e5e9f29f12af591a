//! One call from its start to its end, whatever end that is.
use super::Shared;
use super::tally::Catch;
use crate::error::PolicyError;
use crate::handle::Handle;
use crate::outcome::Outcome;
use crate::unwind::ending_on_panic;
use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// One call that has begun; counts how it ended, also when it is dropped.
pub(super) struct Run<H: Handle<Shared>> {
    handle: H,
    catch: Catch,
    ended: bool,
}

impl<H: Handle<Shared>> Run<H> {
    #[inline]
    pub(super) fn start(handle: H) -> Self {
        let catch = handle.catch();
        Self { handle, catch, ended: false }
    }

    #[inline]
    pub(super) fn end(&mut self, outcome: Outcome) {
        self.ended = true;
        self.handle.end(outcome);
    }

    /// Runs a part of the call. A panic in it is counted; what becomes of it, the mode says.
    ///
    /// After a panic nothing of the call is used any more, only dropped: that makes up for what the
    /// compiler cannot see to be safe to unwind through.
    #[inline]
    pub(super) fn catching<T>(&mut self, part: impl FnOnce() -> T) -> Result<T, PolicyError> {
        if self.catch == Catch::Nothing {
            let panicked = |run: &mut Self| run.end(Outcome::Failure);
            return Ok(ending_on_panic(self, panicked, part));
        }
        catch_unwind(AssertUnwindSafe(part)).map_err(|payload| self.caught(payload))
    }

    #[cold]
    fn caught(&mut self, payload: Box<dyn Any + Send>) -> PolicyError {
        self.end(Outcome::Failure);
        self.handle.tell(&*payload);
        if self.catch == Catch::Watch {
            self.handle.watched();
            resume_unwind(payload);
        }
        dropping(move || drop(payload));
        self.handle.panicked()
    }
}

/// Drops what a panic has left. What panics once more while it is dropped has been told of already.
pub(super) fn dropping(drop: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(drop)) {
        mem::forget(payload); // its own drop may be the next to panic
    }
}

impl<H: Handle<Shared>> Drop for Run<H> {
    #[inline]
    fn drop(&mut self) {
        if !self.ended {
            self.end(Outcome::of_drop());
        }
    }
}
