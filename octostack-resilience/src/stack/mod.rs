//! The standard stacks: all policies on the way to a dependency, or in front of a service.
//!
//! # Why
//! Each policy is simple. What goes wrong is how they stand together: a retry inside of the
//! attempt's timeout, a breaker that counts the refusals of a bulkhead, an attempt that may take
//! longer than the whole call. A stack is an order that works, with defaults that go together and a
//! check that yours do.
//!
//! # Outbound
//! Outermost first. Where a policy stands decides what it sees:
//!
//! | policy | name | sees | because |
//! |---|---|---|---|
//! | [`RateLimit`] | `{name}.rate_limit` | calls | a quota is spent by callers; what is over it costs nothing further in |
//! | [`Timeout`] | `{name}.deadline` | calls, with all attempts and waits | it is what the caller waits for; everything inside knows it |
//! | [`Retry`] | `{name}.retry` | calls, and makes attempts | everything inside happens anew for each |
//! | [`CircuitBreaker`] | `{name}.breaker` | attempts | judges each, timeouts included; an open one takes no place |
//! | [`Bulkhead`] | `{name}.bulkhead` | attempts | a wait for a place does not use up the attempt's time, nor does a wait between attempts hold a place |
//! | [`Timeout`] | `{name}.timeout` | attempts | tells the service how long it has |
//! | [`Chaos`] | `{name}.chaos` | attempts | everything outside has to cope |
//!
//! A [`Fallback`](crate::Fallback) goes around all of it: it answers for whatever was refused or
//! ended in here.
//!
//! # Inbound
//!
//! | policy | name | because |
//! |---|---|---|
//! | [`CatchPanic`](crate::CatchPanic) | `{name}.panic_catch` | a panic anywhere inside is one answer of 500 |
//! | [`Timeout`] | `{name}.timeout` | goes by the caller's deadline too, and refuses what nobody waits for |
//! | [`Bulkhead`] | `{name}.bulkhead` | sheds load before memory is short |
//! | [`RateLimit`] | `{name}.rate_limit` | for all, or by a key that you choose |
//!
//! # What they cost at worst
//! The order decides how limits multiply. With `n` attempts of at most `t` each and waits `w`
//! between them, one call makes up to `n` attempts and lasts up to `n × t + w₁ + … + wₙ₋₁`, cut
//! at the deadline ([`OutboundConfig::worst_case`]). Over many calls the budget bounds the rest:
//! with a ratio of 0.1 an outage adds a tenth of the traffic, and not `n - 1` times as much. With
//! retries at `k` levels of a system one request becomes up to `nᵏ`: retry at one level only.
//!
//! What cannot work is refused when the stack is built, with the numbers; see
//! [`OutboundConfig`].
//!
//! # Example
//! ```
//! use octostack_resilience::stack::Outbound;
//! use octostack_resilience::error;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let prices = Outbound::builder("prices").build()?;
//! let client = ServiceBuilder::new()
//!     .layer(prices.layer())
//!     .layer(error::layer())
//!     .service(service_fn(|article: &'static str| async move { article.parse::<f64>() }));
//! assert_eq!(client.oneshot("4.20").await?, 4.2);
//! assert_eq!(prices.breaker().name(), "prices.breaker");
//! # Ok(())
//! # }
//! ```
//!
//! [`RateLimit`]: crate::RateLimit
//! [`Timeout`]: crate::Timeout
//! [`Retry`]: crate::Retry
//! [`CircuitBreaker`]: crate::CircuitBreaker
//! [`Bulkhead`]: crate::Bulkhead
//! [`Chaos`]: crate::Chaos
mod config;
mod inbound;
mod outbound;
mod outbound_layer;

pub use config::{InboundConfig, OutboundConfig, WorstCase};
pub use inbound::{Inbound, InboundBuilder, InboundLayer, InboundService};
pub use outbound::{Outbound, OutboundBuilder};
pub use outbound_layer::{Attempt, OutboundLayer, OutboundService};
