//! A probe and a contract for testing Tower layers.
//!
//! Tower's contract is easy to break in ways that only show under load: a layer that calls a service
//! it did not ready, a clone that inherits readiness, a permit that a dropped future keeps. A
//! [`Probe`] is an innermost service that watches how it is used and can be told to be slow, to fail
//! and to panic. [`check`] wraps it in the layer under test and walks through the laws:
//!
//! 1. The inner service is called only by the clone that was readied, once for each readiness.
//! 2. While the inner service is not ready the layer is not ready, and it does not wake itself.
//! 3. An error of readiness reaches the caller.
//! 4. A clone starts un-ready; one that is readied and never called gives its readiness back.
//! 5. A future that is dropped, before or after its first poll, releases everything.
//! 6. So does a panic, in the inner `call` and in the inner future.
//! 7. After all of that the layer still works.
//!
//! [`check_rejecting`] does so with a layer that refuses every call: it is ready when the inner
//! service is, answers at once without calling it, and gives its readiness back with the answer.
//!
//! Two sorts of layers break a law on purpose, so that nobody has to rely on it: load shedding is
//! always ready, and catching panics lets none through. [`Exceptions`] names what they do instead,
//! and [`check_except`] and [`check_rejecting_except`] hold a stack with such layers to that.
//!
//! ```
//! use octostack_core::testing::{Probe, check};
//!
//! // The layer that does nothing keeps the contract.
//! let probe = Probe::new(|| Ok::<_, &str>(200)).with_broken(|| "broken");
//! check("identity", &probe, |inner| inner, || "request", || Ok(()));
//! ```
mod contract;
mod probe;

pub use contract::{Exceptions, check, check_except, check_rejecting, check_rejecting_except};
pub use probe::{Behaviour, Probe, ProbeFuture};
