//! Ends calls that take too long.
//!
//! # Why
//! A call without a time limit waits as long as the other side likes, and holds a connection,
//! memory and a caller while it does. Nobody waits for ever; so say for how long.
//!
//! # How it judges
//! * The call is polled first. An answer that is there wins, also in the very poll in which the
//!   time is up.
//! * The time runs from the first time that the call has to wait. One that answers at once never
//!   touches a timer or the clock.
//! * A call that is out of time is answered with [`TimedOut`](crate::PolicyErrorKind::TimedOut),
//!   which breakers count as a failure and retries may repeat. Its future is dropped with the
//!   future that held it.
//! * Another timeout counts for calls that start after the change.
//!
//! | mode | what happens |
//! |---|---|
//! | `enforce` | as above |
//! | `shadow` | the call goes on; that it took too long is counted |
//! | `disabled` | the call goes on |
//!
//! # What it counts
//! Every call that ended is *permitted*; a timeout never rejects. Its outcome is `success` if it
//! ended in time, whatever its result; `failure` if it was out of time; `cancelled` if its caller
//! went away; `ignored` if it panicked. In shadow, `shadow_rejected` counts those out of time.
//!
//! # Where in the stack
//! Twice, with two policies: innermost, around each attempt; and outside the retry, around all
//! attempts and the waits between them. The first should be shorter.
//!
//! # What it costs
//! For a call that answers at once: one load and one increment. No allocation, no lock, no clock.
//! For one that waits: the timer of tokio, which lives inside the future.
//!
//! # What it does not do
//! It does not stop work that blocks its thread, nor work that was spawned elsewhere. It times
//! neither the readiness of the service nor the body of its response.
//!
//! # Example
//! ```
//! use octostack_resilience::{Error, PolicyErrorKind, Timeout};
//! use std::time::Duration;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let timeout = Timeout::builder("inventory.timeout").timeout(Duration::from_millis(250)).build()?;
//!
//! let slow = async {
//!     tokio::time::sleep(Duration::from_secs(1)).await;
//!     Ok::<_, &str>("too late")
//! };
//! let Err(Error::Policy(error)) = timeout.call(slow).await else { panic!("not timed out") };
//! assert_eq!(error.kind, PolicyErrorKind::TimedOut);
//!
//! let fast = async { Ok::<_, &str>("in time") };
//! assert_eq!(timeout.call(fast).await, Ok("in time"));
//! # Ok(())
//! # }
//! ```
mod builder;
mod config;
mod future;
mod layer;
mod limit;
mod shared;

pub use builder::TimeoutBuilder;
pub use config::TimeoutConfig;
pub use future::{Call, ResponseFuture};
pub use layer::{TimeoutLayer, TimeoutService};
pub use shared::Shared;

use crate::handle::Handle;
use crate::protocol::Plain;
use crate::settings::SettingsError;
use octostack_core::inspect::Mode;
use std::sync::Arc;

/// A timeout; see the [module docs](self).
///
/// Clones are cheap and share the limit and the counters.
#[derive(Clone, Copy, Debug)]
pub struct Timeout<H = Arc<Shared>> {
    shared: H,
}

impl Timeout {
    /// Starts to build a timeout. The name shows in metrics, errors and on the admin port:
    /// 1 to 128 of `A-Z a-z 0-9 . _ -`.
    pub fn builder(name: impl Into<Arc<str>>) -> TimeoutBuilder {
        TimeoutBuilder::new(name.into())
    }

    /// Makes it live as long as the process: the handle is then `Copy`, and a call costs two
    /// reference counts less. The memory is never freed.
    pub fn leak(self) -> Timeout<&'static Shared> {
        Timeout { shared: crate::handle::leak(self.shared) }
    }
}

impl<H: Handle<Shared>> Timeout<H> {
    /// A Tower layer around this timeout.
    ///
    /// # Panics
    /// A call that has to wait panics outside a tokio runtime with its timer enabled.
    pub fn layer(&self) -> TimeoutLayer<Plain, H> {
        TimeoutLayer::new(self.clone())
    }

    /// Runs a future, and ends it if it takes too long.
    ///
    /// # Panics
    /// When polled outside a tokio runtime with its timer enabled, if the future has to wait.
    #[inline]
    pub fn call<F, T, E>(&self, future: F) -> Call<'_, F>
    where
        F: Future<Output = Result<T, E>>,
    {
        Call::new(&self.shared, future)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.shared.name()
    }

    /// The settings in force, with an operator's override on top.
    pub fn settings(&self) -> TimeoutConfig {
        self.shared.live.now().1
    }

    /// The mode in force, with an operator's override on top.
    pub fn mode(&self) -> Mode {
        self.shared.live.now().0
    }

    /// Replaces its settings, for calls that start from now on. An operator's override stays on
    /// top.
    ///
    /// # Errors
    /// Everything that is wrong with the settings; nothing has changed then.
    pub fn reconfigure(&self, settings: TimeoutConfig) -> Result<(), SettingsError> {
        self.shared.reconfigure(None, Some(settings))
    }

    /// Changes its mode, for calls that start from now on.
    ///
    /// # Errors
    /// It has the modes enforce, shadow and disabled.
    pub fn set_mode(&self, mode: Mode) -> Result<(), SettingsError> {
        self.shared.reconfigure(Some(mode), None)
    }
}
