//! Policies that keep a service up when what it depends on is not.
//!
//! | policy | protects against | where in the stack |
//! |---|---|---|
//! | [`CircuitBreaker`](breaker) | calling a dependency that is down | outside the attempt |
//!
//! Every policy is a cheap-clone handle over shared state. Make one with its builder; then use it
//! in whichever way fits:
//!
//! * `policy.layer()` is a Tower layer. All services made from one handle share its state.
//! * `policy.call(future).await` guards anything that is not a service.
//! * `policy.admit()` and `permit.settle(outcome)` guard synchronous code, or code of a shape that
//!   nobody foresaw.
//!
//! ```
//! use octostack_resilience::{CircuitBreaker, Error, Window};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let breaker = CircuitBreaker::builder("inventory")
//!     .failure_rate(0.5)
//!     .window(Window::calls(100))
//!     .build()?;
//!
//! let row: Result<i32, Error<std::num::ParseIntError>> =
//!     breaker.call(async { "41".parse() }).await;
//! assert_eq!(row?, 41);
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `tokio` | yes | whatever waits: timeout, retry, the bulkhead's queue, injected latency |
//! | `http` | yes | [`Http`] and [`Grpc`] |
//! | `serde` | no | the settings structs can be read from config |
//!
//! Without features the crate depends on neither a runtime nor a serialiser.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod breaker;
mod counters;
pub mod error;
mod handle;
mod outcome;
mod padded;
pub mod protocol;
mod settings;

pub use breaker::{CircuitBreaker, CircuitBreakerConfig, CircuitBreakerLayer, Window};
pub use error::{Error, FromPolicy, PolicyError, PolicyErrorKind};
pub use handle::Handle;
pub use octostack_core::inspect::Mode;
pub use outcome::Outcome;
pub use protocol::{Plain, Protocol};
#[cfg(feature = "http")]
pub use protocol::{Grpc, Http};
pub use settings::SettingsError;
