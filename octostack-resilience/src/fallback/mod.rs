//! Gives another answer in place of a failure.
//!
//! # Why
//! Much of what a service asks for it can do without: a page without recommendations, a price from an
//! hour ago, an order that says "stock unknown". When the dependency fails, or a policy in front of it
//! refuses, such an answer is better than an error that takes the whole page down.
//!
//! # How it judges
//! * The protocol judges the answer. By default, failures and overloads are replaced, and what a
//!   policy further in refused: errors, 5xx, 429, an open breaker, a full bulkhead. The setting
//!   [`on`](FallbackConfig::on) narrows that to refusals, or to errors;
//!   [`when`](FallbackLayer::when) takes a closure instead.
//! * What answers in its place is [a value](Fallback::value), [a function](Fallback::with) of the
//!   failed answer, [also of the request](Fallback::with_request), or
//!   [another service](Fallback::service), which gets the request again.
//! * If the fallback fails itself, that is the answer. It is counted, and not replaced once more.
//! * The failed answer is gone before another service is called: it may hold a connection.
//!
//! | mode | what happens |
//! |---|---|
//! | `enforce` | as above |
//! | `shadow` | answers pass as they are; those that would be replaced are counted |
//! | `disabled` | answers pass as they are |
//!
//! # What it counts
//! Every call that ended is *permitted*, with the outcome of the service, whatever the caller got: so
//! that the fallback hides failures from the caller and not from you. How often it answered, and how
//! that went, is `octostack_fallback_answers_total`. In shadow, `shadow_rejected` counts what it would
//! have replaced.
//!
//! # Where in the stack
//! Outside of retry, breaker and bulkhead, inside of the total timeout: it is for what is left when
//! everything else has been tried. Policies outside of it take what it answers for a success.
//!
//! # What it costs
//! One load and one increment, and what it keeps: one reference count for a value, nothing for a
//! function, what your closure takes of the request, or a clone of the request and of the other
//! service. No allocation of its own, no lock, no clock.
//!
//! # What it does not do
//! It does not replace an error of readiness, nor a response that began well and broke off in its
//! body. It gives up with the call: a fallback that is slow needs a time limit of its own. It is no
//! cache; a function can ask one.
//!
//! # Example
//! ```
//! use octostack_resilience::{CircuitBreaker, Error, Fallback, Mode};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let fallback = Fallback::builder("stock.fallback").build()?;
//! let breaker = CircuitBreaker::builder("stock.breaker").mode(Mode::ForcedOpen).build()?;
//!
//! /// How many there are, if anybody knows.
//! type Stock = Option<u32>;
//! let stock = ServiceBuilder::new()
//!     .layer(fallback.value(Stock::None))
//!     .layer(breaker.layer())
//!     .service(service_fn(|item: u32| async move { Ok::<_, Error<&str>>(Some(item * 10)) }));
//! assert_eq!(stock.oneshot(4).await, Ok(None));
//!
//! // Around a future, with a future:
//! let failing = async { Err(Error::Inner("lost")) };
//! let answer = fallback.call(failing, |_failed| async { Ok(Some(7)) }).await;
//! assert_eq!(answer, Ok(Some(7)));
//!
//! // By hand, for synchronous code:
//! let failed: Result<u32, Error<&str>> = Err(Error::Inner("lost"));
//! assert_eq!(fallback.or_else(failed, |_failed| Ok(0)), Ok(0));
//! # Ok(())
//! # }
//! ```
mod alternative;
mod builder;
mod config;
mod future;
mod layer;
#[cfg(feature = "tokio")]
mod other;
mod run;
mod shared;
mod tally;
mod when;

pub use alternative::{Alternative, Keep, Value, With, WithRequest};
pub use builder::FallbackBuilder;
pub use config::{FallbackConfig, FallbackOn};
pub use future::{Call, ResponseFuture};
pub use layer::{FallbackLayer, FallbackService};
#[cfg(feature = "tokio")]
pub use other::{Other, OtherCall};
pub use shared::Shared;
pub use when::{ByProtocol, Predicate, When};

use crate::error::FromPolicy;
use crate::handle::Handle;
use crate::policy::policy_handle;
use crate::protocol::{Plain, Protocol};
#[cfg(feature = "tokio")]
use crate::retry::Cloned;
use run::{Run, is_unwanted};
use std::sync::Arc;

/// A fallback; see the [module docs](self).
///
/// Clones are cheap and share settings and counters. What answers belongs to a layer or a call.
#[derive(Clone, Copy, Debug)]
pub struct Fallback<H = Arc<Shared>> {
    shared: H,
}

policy_handle!(Fallback, FallbackBuilder, FallbackConfig, modes: "enforce, shadow and disabled");

impl<H: Handle<Shared>> Fallback<H> {
    /// A Tower layer that answers with clones of `value`, a response of the service.
    pub fn value<V>(&self, value: V) -> FallbackLayer<Value<V>, Plain, H> {
        FallbackLayer::new(self.clone(), Value::new(value))
    }

    /// A Tower layer that answers with what `function` makes of the failed answer.
    pub fn with<Res, Err, F>(&self, function: F) -> FallbackLayer<With<F>, Plain, H>
    where
        F: Fn(Result<Res, Err>) -> Result<Res, Err> + Clone,
    {
        FallbackLayer::new(self.clone(), With { function })
    }

    /// As [`with`](Self::with), with something of the request: `keep` takes it when the call
    /// begins, so let it take little.
    ///
    /// ```
    /// use octostack_resilience::{Error, Fallback};
    /// use tower::{Layer, ServiceExt, service_fn};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let fallback = Fallback::builder("names.fallback").build()?;
    /// let layer = fallback.with_request(
    ///     |id: &u32| *id,
    ///     |id, _failed: Result<String, Error<&str>>| Ok(format!("article {id}")),
    /// );
    /// let names = layer.layer(service_fn(|_: u32| async { Err(Error::Inner("lost")) }));
    /// assert_eq!(names.oneshot(4).await, Ok("article 4".to_owned()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_request<Req, T, Res, Err, K, F>(
        &self,
        keep: K,
        function: F,
    ) -> FallbackLayer<WithRequest<K, F>, Plain, H>
    where
        K: Fn(&Req) -> T + Clone,
        F: Fn(T, Result<Res, Err>) -> Result<Res, Err> + Clone,
    {
        FallbackLayer::new(self.clone(), WithRequest { keep, function })
    }

    /// A Tower layer that lets another service answer, which gets the request again.
    ///
    /// Requests are cloned, unless [`repeat`](FallbackLayer::repeat) says how else; a request that
    /// cannot or must not be sent again ends with the failed answer.
    #[cfg(feature = "tokio")]
    pub fn service<S>(&self, service: S) -> FallbackLayer<Other<S, Cloned>, Plain, H> {
        FallbackLayer::new(self.clone(), Other { service, repeat: Cloned })
    }

    /// Runs a future; if its answer is to be replaced, the one that the closure makes answers.
    ///
    /// The error type must be able to tell what a policy further in refused:
    /// [`Error<E>`](crate::Error) from another policy's `call`, `BoxError`, or a type of your own.
    #[inline]
    pub fn call<F, Op, G, T, E>(&self, future: F, alternative: Op) -> Call<'_, F, Op, G>
    where
        F: Future<Output = Result<T, E>>,
        Op: FnOnce(Result<T, E>) -> G,
        G: Future<Output = Result<T, E>>,
        E: FromPolicy,
    {
        Call::new(&self.shared, future, alternative)
    }

    /// As [`call`](Self::call), by hand: for synchronous code, or an answer that is there already.
    ///
    /// # Errors
    /// That of the answer if it is not replaced, else that of the closure.
    #[inline]
    pub fn or_else<T, E: FromPolicy>(
        &self,
        output: Result<T, E>,
        alternative: impl FnOnce(Result<T, E>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut run = Run::start(&*self.shared);
        if !run.judge(&Plain, &output, |outcome| is_unwanted(&Plain, outcome, &output)) {
            return output;
        }
        run.answers();
        let output = alternative(output);
        run.end(Plain.classify(&output));
        output
    }
}
