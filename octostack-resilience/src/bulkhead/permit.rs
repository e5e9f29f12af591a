use super::Shared;
#[cfg(feature = "http")]
use crate::extent::{BodyGuard, Ending};
use crate::handle::Handle;
use std::fmt;

/// A place in a bulkhead, free again when it is dropped.
#[must_use = "a permit that is dropped at once frees its place at once"]
pub struct Permit<H: Handle<Shared>> {
    handle: H,
    /// A call that passed in mode shadow or disabled has nothing to give back.
    placed: bool,
}

impl<H: Handle<Shared>> Permit<H> {
    #[inline]
    pub(super) fn new(handle: H, placed: bool) -> Self {
        Self { handle, placed }
    }
}

/// However the call ended, its place is free.
#[cfg(feature = "http")]
impl<H: Handle<Shared>> BodyGuard for Permit<H> {
    fn end(self, _: Ending<'_>) {}
}

impl<H: Handle<Shared>> Drop for Permit<H> {
    #[inline]
    fn drop(&mut self) {
        if self.placed {
            self.handle.permits.leave();
        }
    }
}

impl<H: Handle<Shared>> fmt::Debug for Permit<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("policy", &self.handle.name()).finish_non_exhaustive()
    }
}
