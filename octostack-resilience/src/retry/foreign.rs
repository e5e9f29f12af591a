//! Schedules of the crate `backoff`, for code that has its policies already.
use ::backoff::backoff::Backoff;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

type Policy = Box<dyn Backoff + Send + Sync>;

/// Makes a schedule for each call. Nothing of it is shared by calls, so a panic breaks one at most.
pub(super) struct Factory(AssertUnwindSafe<Arc<dyn Fn() -> Policy + Send + Sync>>);

/// The schedule of one call, made when its first attempt has failed.
#[derive(Default)]
pub(super) struct Waits(Option<AssertUnwindSafe<Policy>>);

impl Factory {
    pub(super) fn new<B>(make: impl Fn() -> B + Send + Sync + 'static) -> Self
    where
        B: Backoff + Send + Sync + 'static,
    {
        Self(AssertUnwindSafe(Arc::new(move || Box::new(make()))))
    }
}

impl Waits {
    /// The next wait, or `None` to give up.
    pub(super) fn next(&mut self, factory: &Factory) -> Option<Duration> {
        let policy = self.0.get_or_insert_with(|| {
            let mut policy = (factory.0)();
            // Literals such as `ExponentialBackoff { initial_interval, ..Default::default() }`
            // begin with what they say only after this, as the crate's own loops do.
            policy.reset();
            AssertUnwindSafe(policy)
        });
        policy.next_backoff()
    }
}

impl Clone for Factory {
    fn clone(&self) -> Self {
        Self(AssertUnwindSafe(self.0.0.clone()))
    }
}

impl fmt::Debug for Factory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Factory")
    }
}
