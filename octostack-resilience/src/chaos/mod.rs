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
//! * With [`seed`](ChaosBuilder::seed), the nth call meets the same faults in every run.
//! * It is behind a gate. Until the builder says [`enabled(true)`](ChaosBuilder::enabled), settings
//!   that inject and all overrides are refused.
//!
//! Its decisions are counted only while it has something to inject: `rejected` are injected errors,
//! `permitted` all other calls.
//!
//! # Where in the stack
//! Innermost, right around the transport: everything outside it has to cope.
//!
//! # What it costs
//! With nothing to inject: one load. No allocation, no lock, no clock, no random number.
//!
//! # What it does not do
//! It does not make up a success, damage bodies, or pick its victims by route or tenant.
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
mod config;
mod layer;
mod machine;
mod shared;

pub use builder::ChaosBuilder;
pub use config::ChaosConfig;
pub use layer::{Call, ChaosLayer, ChaosService, ResponseFuture};
pub use shared::Shared;

use crate::error::{FromPolicy, MapError, PolicyError};
use crate::handle::Handle;
use crate::policy::policy_handle;
use crate::protocol::Plain;
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
    /// A Tower layer around this policy. All services of all its layers share the state.
    pub fn layer(&self) -> ChaosLayer<Plain, H> {
        ChaosLayer::new(self.clone())
    }

    /// Runs a future under this policy.
    ///
    /// The policy decides now; the future starts after the latency, if there is any, and not at
    /// all if an error is injected. If another policy guards the future already, use
    /// [`around`](Self::around).
    #[inline]
    pub fn call<F, T, E>(&self, future: F) -> Call<MapError<F>>
    where
        F: Future<Output = Result<T, E>>,
    {
        Call::new(&self.shared, MapError::new(future))
    }

    /// As [`call`](Self::call), around the call of another policy, or any future whose error can
    /// carry a policy's word; the error type stays as it is. The
    /// [module docs of errors](crate::error#calls-within-calls) show it.
    #[inline]
    pub fn around<F, T, E>(&self, future: F) -> Call<F>
    where
        F: Future<Output = Result<T, E>>,
        E: FromPolicy,
    {
        Call::new(&self.shared, future)
    }

    /// Decides one call by hand, for synchronous code.
    pub fn draw(&self) -> Fault {
        let draw = self.shared.draw().unwrap_or_default();
        Fault { latency: draw.latency, error: draw.error.then(|| self.shared.error()) }
    }

    /// Whether it may inject at all; set when it is built.
    pub fn enabled(&self) -> bool {
        self.shared.enabled()
    }
}
