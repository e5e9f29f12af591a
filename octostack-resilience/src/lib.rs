//! Policies that keep a service up when what it depends on is not.
//!
//! | policy | protects against | where in the stack |
//! |---|---|---|
//! | [`CircuitBreaker`](breaker), [`KeyedCircuitBreaker`](breaker::keyed) | calling a dependency that is down | outside the attempt |
//! | [`Bulkhead`](bulkhead), [`KeyedBulkhead`](bulkhead::keyed) | one slow dependency that takes everything | inside the breaker |
//! | [`Timeout`](timeout) | calls that take too long, one by one or in all | around the attempt; around all |
//! | [`RateLimit`](rate_limit), [`KeyedRateLimit`](rate_limit::keyed) | more calls than a service bears or a quota allows, in all or by key | outermost on the way out; behind load shedding on the way in |
//! | [`LoadShed`](load_shed) | callers that queue in front of a service that is busy | around what limits itself by readiness |
//! | [`Retry`](retry) | failures that are gone a moment later | inside the total timeout |
//! | [`Fallback`](fallback) | failures that a caller need not see | outside the retry; around a whole stack |
//! | [`CatchPanic`](catch_panic) | one bug that closes a connection with all requests on it | inbound: outside all other policies |
//! | [`Chaos`](chaos) | not having tried what happens when a dependency breaks | innermost |
//!
//! `stack` (features `http`, `rate-limit` and `tokio`) puts them together in an order that works;
//! [`deadline`] is what they know of until when the caller waits.
//!
//! Every policy is a cheap-clone handle over shared state. Make one with its builder; then use it
//! in whichever way fits:
//!
//! * `policy.layer()` is a Tower layer. All services made from one handle share its state.
//! * `policy.call(future).await` guards anything that is not a service, and
//!   `policy.around(other.call(future)).await` what another policy guards already.
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
//! | `rate-limit` | yes | rate limits |
//! | `backoff` | no | policies of the crate `backoff` as the schedule of a retry |
//! | `serde` | no | the settings structs can be read from config |
//!
//! Without features the crate depends on neither a runtime nor a serialiser.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod breaker;
pub mod bulkhead;
pub mod catch_panic;
#[cfg(feature = "tokio")]
pub mod chaos;
mod counters;
pub mod deadline;
pub mod error;
pub mod extent;
pub mod fallback;
mod handle;
pub mod keyed;
pub mod load_shed;
#[cfg(all(test, octostack_loom))]
mod models;
mod outcome;
mod padded;
mod policy;
pub mod protocol;
#[cfg(feature = "rate-limit")]
pub mod rate_limit;
#[cfg(feature = "tokio")]
pub mod retry;
mod settings;
#[cfg(all(feature = "http", feature = "rate-limit", feature = "tokio"))]
pub mod stack;
#[cfg(feature = "tokio")]
pub mod timeout;
mod unwind;

pub use breaker::{
    CircuitBreaker, CircuitBreakerConfig, CircuitBreakerLayer, KeyedCircuitBreaker,
    KeyedCircuitBreakerConfig, KeyedCircuitBreakerLayer, Window,
};
pub use bulkhead::{
    Bulkhead, BulkheadConfig, BulkheadLayer, KeyedBulkhead, KeyedBulkheadConfig, KeyedBulkheadLayer,
};
pub use catch_panic::{CatchPanic, CatchPanicConfig, CatchPanicLayer};
#[cfg(feature = "tokio")]
pub use chaos::{Chaos, ChaosConfig, ChaosLayer, ChaosSwitch};
pub use error::{Error, FromPolicy, Phase, PolicyError, PolicyErrorKind};
pub use fallback::{Fallback, FallbackConfig, FallbackLayer, FallbackOn};
pub use handle::Handle;
pub use load_shed::{LoadShed, LoadShedConfig, LoadShedLayer};
pub use octostack_core::inspect::Mode;
pub use outcome::Outcome;
#[cfg(feature = "http")]
pub use protocol::{Grpc, Http};
pub use protocol::{Plain, Protocol};
#[cfg(feature = "rate-limit")]
pub use rate_limit::{
    KeyedRateLimit, KeyedRateLimitConfig, KeyedRateLimitLayer, RateLimit, RateLimitConfig,
    RateLimitLayer,
};
#[cfg(feature = "tokio")]
pub use retry::{Retry, RetryBudget, RetryConfig, RetryLayer};
pub use settings::SettingsError;
#[cfg(all(feature = "http", feature = "rate-limit", feature = "tokio"))]
pub use stack::{Inbound, InboundConfig, Outbound, OutboundConfig};
#[cfg(feature = "tokio")]
pub use timeout::{Timeout, TimeoutConfig, TimeoutLayer};
