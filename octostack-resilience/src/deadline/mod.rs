//! Until when the caller of the current work waits: known to everything that the work calls.
//!
//! # Why
//! Who asks for something gives up at some time. Work that goes on after that helps nobody: it
//! takes places, connections and attempts from calls whose callers still wait. So the end of the
//! wait travels with the work: through the policies of this process, to the next service in a
//! header, and there on.
//!
//! # How it travels
//! * It belongs to the future that is polled at the moment. A [`Timeout`](crate::Timeout) sets it
//!   for everything inside it; a layer made with `accept_deadline(…)` takes it from a header of the
//!   request, and one made with `forward_deadline(…)` puts what is left into a header.
//! * The earliest counts: nothing inside is told of a later one than what is outside.
//! * A timeout that has not had to wait yet has not read the clock either: asked for the deadline
//!   it says *now and the whole limit*. So a call that answers at once costs no clock read.
//! * Policies go by it: a bulkhead queues no call beyond it, a retry does not wait for an attempt
//!   that would begin after it, and nothing begins once it has passed.
//! * A task that is spawned on a runtime starts without one. [`carry`] takes the current one along;
//!   [`without`] leaves it behind, for work that must go on when the caller is gone.
//!
//! # What it costs
//! Two words in a thread-local, set and put back by each poll of a timeout. No allocation, and no
//! clock until somebody asks.
//!
//! # What it does not do
//! It ends nothing: that is the work of the [`Timeout`](crate::Timeout) that set it. [`by`] and
//! [`carry`] set no timer either. Tasks that are polled by the work itself, as those of a `LocalSet`
//! in it, have its deadline.
//!
//! # Example
//! ```
//! use octostack_core::{Clock, SystemClock};
//! use octostack_resilience::deadline;
//! use std::time::Duration;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! assert_eq!(deadline::current(), None, "nobody waits for us");
//!
//! let end = SystemClock.now() + Duration::from_secs(2);
//! let row = deadline::by(end, async {
//!     // Ask a database to give up by itself when nobody waits any more.
//!     let left = deadline::remaining().expect("somebody waits");
//!     assert!(left <= Duration::from_secs(2));
//!
//!     tokio::spawn(deadline::carry(async move { assert_eq!(deadline::current(), Some(end)) }))
//!         .await
//!         .expect("no panic");
//!     deadline::without(async { assert_eq!(deadline::current(), None) }).await;
//!     "row"
//! });
//! assert_eq!(row.await, "row");
//! # }
//! ```
#[cfg(feature = "http")]
mod header;
mod scope;

#[cfg(feature = "http")]
pub use header::DeadlineHeader;
#[cfg(feature = "tokio")]
pub(crate) use scope::Entered;
pub(crate) use scope::Scope;

use octostack_core::SystemClock;
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Until when the caller of the current work waits, if that is known.
pub fn current() -> Option<Instant> {
    Scope::current().deadline(&SystemClock)
}

/// For how long the caller of the current work still waits; zero when it has given up.
pub fn remaining() -> Option<Duration> {
    Scope::current().remaining(&SystemClock)
}

/// Runs `future` for a caller that waits until `deadline`, or until the current one if that is
/// earlier. It ends nothing by itself.
pub fn by<F: Future>(deadline: Instant, future: F) -> Within<F> {
    Within { scope: Scope::current().by(deadline), future }
}

/// Takes the current deadline along to where `future` is polled: into a spawned task.
pub fn carry<F: Future>(future: F) -> Within<F> {
    let scope = Scope::current().deadline(&SystemClock).map_or(Scope::NONE, Scope::until);
    Within { scope, future }
}

/// Runs `future` without a deadline: for work that goes on when the caller is gone.
pub fn without<F: Future>(future: F) -> Within<F> {
    Within { scope: Scope::NONE, future }
}

/// As [`by`], for code that does not await.
pub fn scope<T>(deadline: Instant, work: impl FnOnce() -> T) -> T {
    let _entered = Scope::current().by(deadline).enter();
    work()
}

pin_project! {
    /// A future with a deadline of its own; made by [`by`], [`carry`] and [`without`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Within<F> {
        scope: Scope,
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Within<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _entered = this.scope.enter();
        this.future.poll(cx)
    }
}
