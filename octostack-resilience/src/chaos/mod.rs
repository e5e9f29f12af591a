//! Breaks a dependency on purpose, to see what the rest does about it.
//!
//! # Why
//! A fallback, a breaker or a timeout that never met a failure is a guess. This policy makes calls
//! fail or slow, for a share of them that can be changed while the service runs, so that the guess
//! becomes an experiment: in a test, in development, or for half a minute in production.
//!
//! # How it decides
//! * Each call draws for an error and for a latency, independently.
//! * Latency comes first, and also before an error: a failing dependency is often a slow one.
//! * An injected error never reaches the service. Breakers count it and retries may repeat it, as
//!   they would a real one.
//! * Only calls of a route, with a header or of a tenant are meant, if the settings say so; those
//!   that have all that is given. What a layer cannot tell of a request, that request has not.
//! * What the nth call that is meant meets depends on the `seed` and on n alone, in all threads
//!   together. Each time that settings are applied, the count starts again: the same settings with
//!   the same seed are the same run.
//! * After `expires_after` it does nothing any more.
//! * A [`ChaosSwitch`] stops all policies that have it, at once.
//! * A call that is held back looks every 100 ms whether chaos is over, and then goes on.
//! * It is behind a gate. Until the builder says [`enabled(true)`](ChaosBuilder::enabled), settings
//!   that inject and all overrides are refused.
//!
//! Its decisions are counted only while it has something to inject: `rejected` are injected errors,
//! `permitted` all other calls, those that are not meant too.
//!
//! # Where in the stack
//! Innermost, right around the transport: everything outside it has to cope.
//!
//! # What it costs
//! With nothing to inject: one load. No allocation, no lock, no clock, no random number. While it is
//! armed: a short lock for the settings, an increment or two, and the clock if it expires.
//!
//! # What it does not do
//! It does not make up a success and does not damage bodies. It does not stop by itself when too
//! much breaks: whoever watches that uses the switch.
//!
//! # Example
//! ```
//! use octostack_resilience::{Chaos, ChaosConfig, Error, PolicyErrorKind, error};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let chaos = Chaos::builder("inventory.chaos").enabled(true).build()?;
//! let stock = ServiceBuilder::new()
//!     .layer(chaos.layer())
//!     .layer(error::layer())
//!     .service(service_fn(|item: u32| async move { Ok::<_, std::io::Error>(item * 10) }));
//! assert_eq!(stock.clone().oneshot(4).await?, 40);
//!
//! chaos.reconfigure(ChaosConfig { error_rate: 1.0, ..ChaosConfig::default() })?;
//! let Err(Error::Policy(error)) = stock.oneshot(4).await else { panic!("not injected") };
//! assert_eq!(error.kind, PolicyErrorKind::Injected);
//! # Ok(())
//! # }
//! ```
mod builder;
mod call;
mod config;
mod hold;
mod layer;
mod machine;
mod only;
mod replay;
mod shared;
mod status;
mod switch;
mod target;

pub use builder::ChaosBuilder;
pub use call::Call;
pub use config::ChaosConfig;
pub use layer::{ChaosLayer, ChaosService, ResponseFuture};
pub use only::Wanted;
pub use shared::Shared;
pub use switch::ChaosSwitch;
pub use target::{Aim, By, Source, Subject, Unseen};
#[cfg(feature = "http")]
pub use target::{HttpAim, HttpRequests, OrHttp};

use crate::error::{FromPolicy, MapError, PolicyError};
use crate::handle::Handle;
use crate::policy::policy_handle;
use crate::protocol::Plain;
use octostack_core::{Clock, SystemClock};
use std::sync::Arc;
use std::time::Duration;

/// A chaos policy; see the [module docs](self).
///
/// Clones are cheap and share the state.
#[derive(Clone, Copy, Debug)]
pub struct Chaos<H = Arc<Shared>> {
    shared: H,
}

/// What is to happen to one call; made by [`Chaos::draw`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "a fault that is counted should happen"]
#[non_exhaustive]
pub struct Fault {
    /// How long to hold the call back first; often zero.
    pub latency: Duration,
    /// What to answer instead of making the call.
    pub error: Option<PolicyError>,
}

policy_handle!(Chaos, ChaosBuilder, ChaosConfig, modes: "enforce, shadow and disabled");

impl<H: Handle<Shared>> Chaos<H> {
    /// Whether [`reconfigure`](Self::reconfigure) would take these settings, if they are valid.
    #[cfg(all(feature = "http", feature = "rate-limit"))]
    pub(crate) fn check_settings(
        &self,
        settings: &ChaosConfig,
        enabled: bool,
    ) -> Vec<octostack_core::inspect::Problem> {
        self.shared.check_settings(settings, enabled)
    }

    /// A Tower layer around this policy. All services of all its layers share the state.
    pub fn layer(&self) -> ChaosLayer<Plain, H> {
        ChaosLayer::new(self.clone())
    }

    /// Runs a future under this policy.
    ///
    /// The policy decides now; the future starts after the latency, if there is any, and not at
    /// all if an error is injected. If another policy guards the future already, use
    /// [`around`](Self::around). Nothing is known of the call, so that it is none of those that a
    /// target means; see [`call_for`](Self::call_for).
    #[inline]
    pub fn call<F, T, E>(&self, future: F) -> Call<MapError<F>, H>
    where
        F: Future<Output = Result<T, E>>,
    {
        self.call_for(&Subject::new(), future)
    }

    /// As [`call`](Self::call), for a call of which something is known.
    #[inline]
    pub fn call_for<F, T, E>(&self, subject: &Subject<'_>, future: F) -> Call<MapError<F>, H>
    where
        F: Future<Output = Result<T, E>>,
    {
        self.around_for(subject, MapError::new(future))
    }

    /// As [`call`](Self::call), around the call of another policy, or any future whose error can
    /// carry a policy's word; the error type stays as it is. The
    /// [module docs of errors](crate::error#calls-within-calls) show it.
    #[inline]
    pub fn around<F, T, E>(&self, future: F) -> Call<F, H>
    where
        F: Future<Output = Result<T, E>>,
        E: FromPolicy,
    {
        self.around_for(&Subject::new(), future)
    }

    /// As [`around`](Self::around), for a call of which something is known.
    #[inline]
    pub fn around_for<F, T, E>(&self, subject: &Subject<'_>, future: F) -> Call<F, H>
    where
        F: Future<Output = Result<T, E>>,
    {
        let draw = self.shared.draw(|only| subject.meets(only), &SystemClock);
        Call::new(&self.shared, draw, future)
    }

    /// Decides one call by hand, for synchronous code.
    pub fn draw(&self) -> Fault {
        self.draw_for(&Subject::new())
    }

    /// As [`draw`](Self::draw), for a call of which something is known.
    pub fn draw_for(&self, subject: &Subject<'_>) -> Fault {
        self.draw_at(subject, &SystemClock)
    }

    /// As [`draw_for`](Self::draw_for), with the time of another clock. A change of the settings
    /// goes by the system's clock all the same.
    pub fn draw_at(&self, subject: &Subject<'_>, clock: &impl Clock) -> Fault {
        match self.shared.draw(|only| subject.meets(only), clock) {
            None => Fault::default(),
            Some(draw) => {
                let error = draw.error.then(|| self.shared.error());
                Fault { latency: draw.latency, error }
            }
        }
    }

    /// Whether it may inject at all: by its builder, and by its switch if it has one.
    pub fn enabled(&self) -> bool {
        self.shared.enabled()
    }
}
