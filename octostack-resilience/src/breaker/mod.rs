//! Stops calling what is down, and finds out when it is back.
//!
//! # Why
//! A dependency that is down costs its callers a timeout each, and every one of those calls helps
//! to keep it down. A circuit breaker watches the results of calls. When too many of them fail it
//! *opens*: calls are rejected at once, without touching the dependency. After a while it lets a
//! few calls through (*half-open*), and closes again if they go well.
//!
//! # How it judges
//! * By any of three rules: the share of failures in a window, the share of slow calls in it, or
//!   failures in a row. The settings are those of [`CircuitBreakerConfig`].
//! * The [`Window`] is one of calls, exact and sliding, not a counter that is reset now and then:
//!   after a million successes an outage opens it within one window. Or one of time, which costs
//!   the same however many calls there are.
//! * A result counts in the state that admitted its call. A call that was admitted before the
//!   outage and comes back during the trial calls decides nothing.
//! * A rejection of another policy further in is no failure of the service; a timeout is. A call
//!   that its caller cancelled says nothing, and gives its trial place back.
//! * An error of readiness, while the breaker is not open, is the result of a call too: a service
//!   that cannot even connect is down.
//! * Each trial that fails doubles the wait, up to
//!   [`max_open_for`](CircuitBreakerConfig::max_open_for). Chance adds to it, and the service may ask
//!   for more: `Retry-After` of a failed call, in the form that the [protocol](crate::Protocol)
//!   of a layer reads, or by [`Permit::settle_after`].
//! * Trial calls are counted, not timed. One that never comes back loses its place after
//!   [`half_open_timeout`](CircuitBreakerConfig::half_open_timeout).
//!
//! # Where in the stack
//! Inside the retry, so that each attempt is judged; outside the attempt's timeout, so that a
//! timeout is a failure it sees.
//!
//! # What it costs
//! Closed: one load to admit and one compare-and-swap to settle. No allocation, no lock, no clock.
//! A window of time reads the clock once, telling slow calls reads it twice.
//!
//! # What it does not do
//! It does not retry, time out or fall back. It sees a failure in the body of a response that began
//! well only with [`until_body_end()`](CircuitBreakerLayer::until_body_end).
//!
//! # Example
//! ```
//! use octostack_resilience::{CircuitBreaker, Error, PolicyErrorKind, Window};
//! use std::time::Duration;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let breaker = CircuitBreaker::builder("inventory")
//!     .window(Window::calls(10))
//!     .minimum_calls(4)
//!     .failure_rate(0.5)
//!     .open_for(Duration::from_secs(5))
//!     .build()?;
//!
//! for _ in 0..4 {
//!     let _ = breaker.call(async { Err::<(), _>("connection refused") }).await;
//! }
//!
//! let rejected = breaker.call(async { Ok::<_, &str>("never runs") }).await.unwrap_err();
//! let Error::Policy(error) = rejected else { panic!("not rejected") };
//! assert_eq!(error.kind, PolicyErrorKind::CircuitOpen);
//! assert!(error.retry_after > Some(Duration::from_secs(4)));
//! # Ok(())
//! # }
//! ```
mod builder;
mod config;
mod counts;
mod future;
pub mod keyed;
mod layer;
mod machine;
mod permit;
mod probes;
mod rules;
mod shared;
mod state;
mod streak;
mod ticket;
mod wait;
mod window;

pub use builder::CircuitBreakerBuilder;
pub use config::{CircuitBreakerConfig, Window};
pub use future::{Around, Call, Judge, ResponseFuture, Verdict};
pub use keyed::{
    KeyedCircuitBreaker, KeyedCircuitBreakerBuilder, KeyedCircuitBreakerConfig,
    KeyedCircuitBreakerLayer, KeyedCircuitBreakerService,
};
pub use layer::{CircuitBreakerLayer, CircuitBreakerService};
pub use permit::Permit;
pub use shared::Shared;
pub use state::State;

use crate::error::{FromPolicy, PolicyError};
use crate::handle::Handle;
use crate::outcome::Outcome;
use crate::policy::policy_handle;
use crate::protocol::Plain;
use octostack_core::{Clock, SystemClock};
use std::sync::Arc;

/// A circuit breaker; see the [module docs](self).
///
/// Clones are cheap and share the state.
#[derive(Clone, Copy, Debug)]
pub struct CircuitBreaker<H = Arc<Shared>> {
    shared: H,
}

policy_handle!(CircuitBreaker, CircuitBreakerBuilder, CircuitBreakerConfig, modes: "enforce, shadow, disabled, `forced_open` and `forced_closed`");

impl<H: Handle<Shared>> CircuitBreaker<H> {
    /// Whether [`reconfigure`](Self::reconfigure) would take these settings, if they are valid.
    #[cfg(all(feature = "http", feature = "rate-limit", feature = "tokio"))]
    pub(crate) fn check_settings(
        &self,
        settings: &CircuitBreakerConfig,
    ) -> Vec<octostack_core::inspect::Problem> {
        self.shared.check_settings(settings)
    }

    /// A Tower layer around this breaker. All services of all its layers share the state.
    pub fn layer(&self) -> CircuitBreakerLayer<Plain, H> {
        CircuitBreakerLayer::new(self.clone())
    }

    /// Runs a future under this breaker: an `Ok` is a success, an `Err` a failure.
    ///
    /// The breaker decides now; the future starts when the result is polled. If another policy
    /// guards the future already, use [`around`](Self::around).
    #[inline]
    pub fn call<F, T, E>(&self, future: F) -> Call<'_, F, Judge<F::Output>>
    where
        F: Future<Output = Result<T, E>>,
    {
        self.call_with(future, |output| match output {
            Ok(_) => Outcome::Success,
            Err(_) => Outcome::Failure,
        })
    }

    /// As [`call`](Self::call), around the call of another policy, or any future whose error can
    /// carry a policy's word. The error type stays as it is; what a policy further in refused is no
    /// failure. The [module docs of errors](crate::error#calls-within-calls) show it.
    #[inline]
    pub fn around<F, T, E>(&self, future: F) -> Around<'_, F>
    where
        F: Future<Output = Result<T, E>>,
        E: FromPolicy,
    {
        Around::new(&self.shared, future)
    }

    /// As [`call`](Self::call), with a verdict of your own.
    ///
    /// ```
    /// use octostack_resilience::{CircuitBreaker, Outcome};
    /// use std::io::{Error, ErrorKind};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let breaker = CircuitBreaker::builder("files").build()?;
    /// let read = async { std::fs::read("/does/not/exist") };
    /// let judge = |output: &Result<_, Error>| match output {
    ///     Err(error) if error.kind() == ErrorKind::NotFound => Outcome::Success,
    ///     Err(_) => Outcome::Failure,
    ///     Ok(_) => Outcome::Success,
    /// };
    /// assert!(breaker.call_with(read, judge).await.is_err(), "but the disk works");
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn call_with<F, T, E, C>(&self, future: F, classify: C) -> Call<'_, F, C>
    where
        F: Future<Output = Result<T, E>>,
        C: Fn(&Result<T, E>) -> Outcome,
    {
        Call::new(&self.shared, future, classify)
    }

    /// Asks to make one call by hand.
    ///
    /// # Errors
    /// [`CircuitOpen`](crate::PolicyErrorKind::CircuitOpen), with the time to wait if it is known.
    #[inline]
    pub fn admit(&self) -> Result<Permit<H>, PolicyError> {
        self.admit_at(&SystemClock)
    }

    /// As [`admit`](Self::admit), with the time of another clock.
    ///
    /// # Errors
    /// As [`admit`](Self::admit).
    #[inline]
    pub fn admit_at(&self, clock: &impl Clock) -> Result<Permit<H>, PolicyError> {
        let ticket = self.shared.admit(clock)?;
        Ok(Permit::new(self.shared.clone(), ticket))
    }

    /// The state that callers meet.
    pub fn state(&self) -> State {
        self.shared.machine.state()
    }
}
