//! What a policy says itself, and how it travels.
//!
//! Whatever a policy refuses or ends, it says so with one type: [`PolicyError`]. It reaches the
//! caller in the form that the stack speaks:
//!
//! | form | when | made by |
//! |---|---|---|
//! | [`Error<E>`] | `policy.call(future)`, and stacks around [`layer()`] | the default, [`Plain`](crate::Plain) |
//! | any `E: FromPolicy` | `policy.around(future)`; your own error enum, or `BoxError` | the default, [`Plain`](crate::Plain) |
//! | HTTP response | servers, HTTP clients | `.respond_http()`, [`Http`](crate::Http) |
//! | gRPC status | tonic servers and channels | `.respond_grpc()`, [`Grpc`](crate::Grpc) |
//!
//! Layers further out recognise it in every form, and they treat the two sorts differently:
//!
//! * A **rejection** ([`PolicyError::is_rejection`]) refused the work before it started. It says
//!   nothing about the service: breakers ignore it and retries do not repeat it.
//! * Anything else **ended** work that had started: it timed out, it panicked, or chaos injected a
//!   fault. Breakers count it and retries may repeat it.
//!
//! ```
//! use octostack_resilience::error::{FromPolicy, PolicyError, PolicyErrorKind};
//!
//! /// Your own error type takes a policy's word in, and gives it back.
//! #[derive(Debug)]
//! enum ShopError {
//!     Database(std::io::Error),
//!     Policy(PolicyError),
//! }
//!
//! impl From<PolicyError> for ShopError {
//!     fn from(error: PolicyError) -> Self {
//!         Self::Policy(error)
//!     }
//! }
//!
//! impl FromPolicy for ShopError {
//!     fn policy_error(&self) -> Option<&PolicyError> {
//!         match self {
//!             Self::Policy(error) => Some(error),
//!             Self::Database(_) => None,
//!         }
//!     }
//! }
//!
//! let error = ShopError::from(PolicyError::new("inventory.breaker", PolicyErrorKind::CircuitOpen));
//! assert!(error.policy_error().unwrap().is_rejection());
//! ```
//!
//! # Calls within calls
//! Innermost is `call`, which turns any error into [`Error<E>`]; everything outside it is `around`,
//! which leaves the error type as it is and so recognises the word of a policy further in. A retry
//! needs no `around`: its `call` leaves the error type alone too.
//!
//! ```
//! use octostack_resilience::{Bulkhead, CircuitBreaker, Error};
//! use std::num::ParseIntError;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let breaker = CircuitBreaker::builder("inventory.breaker").build()?;
//! let bulkhead = Bulkhead::builder("inventory.bulkhead").build()?;
//!
//! let query = async { "41".parse::<i32>() };
//! let row: Result<i32, Error<ParseIntError>> = breaker.around(bulkhead.call(query)).await;
//! assert_eq!(row?, 41);
//! # Ok(())
//! # }
//! ```
//!
//! `breaker.call(bulkhead.call(query))` compiles too, and is `Error<Error<_>>`: to the breaker a
//! full bulkhead is then an error like any other, and opens it.
mod layer;

pub use layer::{ErrorLayer, ErrorService, MapError, layer};

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A boxed error, as Tower uses it.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// What a policy says when it does not let a call run to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PolicyError {
    /// Name of the policy.
    pub policy: Arc<str>,
    /// What it says.
    pub kind: PolicyErrorKind,
    /// When to try again, if the policy knows.
    pub retry_after: Option<Duration>,
    /// What was waited for when a call was out of time.
    pub phase: Option<Phase>,
}

/// What a call was waiting for when its time was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// For the service to get ready; the call had not begun.
    Readiness,
    /// For the answer to begin; without a body, for the answer.
    Head,
    /// For the rest of the body of an answer that had begun.
    Body,
}

impl Phase {
    /// Its name in logs and problem documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Readiness => "readiness",
            Self::Head => "head",
            Self::Body => "body",
        }
    }
}

/// The sorts of [`PolicyError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PolicyErrorKind {
    /// Refused: the circuit breaker is open.
    CircuitOpen,
    /// Refused: as many calls as allowed are in flight, and the queue is full or took too long.
    BulkheadFull,
    /// Refused: more calls than the rate allows.
    RateLimited,
    /// Refused: the service is not ready.
    Overloaded,
    /// Refused: the deadline had passed before the work started.
    DeadlinePassed,
    /// Ended: the work took longer than allowed.
    TimedOut,
    /// Ended: chaos injected a fault.
    Injected,
    /// Ended: the service panicked.
    Panicked,
}

impl PolicyErrorKind {
    /// Whether work was refused before it started.
    pub const fn is_rejection(self) -> bool {
        match self {
            Self::CircuitOpen
            | Self::BulkheadFull
            | Self::RateLimited
            | Self::Overloaded
            | Self::DeadlinePassed => true,
            Self::TimedOut | Self::Injected | Self::Panicked => false,
        }
    }

    /// A stable name for logs, problem documents and `error_type` labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CircuitOpen => "circuit_open",
            Self::BulkheadFull => "bulkhead_full",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::DeadlinePassed => "deadline_passed",
            Self::TimedOut => "timed_out",
            Self::Injected => "injected",
            Self::Panicked => "panicked",
        }
    }

    /// One clause for people.
    const fn describe(self) -> &'static str {
        match self {
            Self::CircuitOpen => "the circuit is open",
            Self::BulkheadFull => "too many calls are in flight",
            Self::RateLimited => "the rate limit is reached",
            Self::Overloaded => "the service is overloaded",
            Self::DeadlinePassed => "the deadline has passed",
            Self::TimedOut => "the call timed out",
            Self::Injected => "a fault was injected",
            Self::Panicked => "the service panicked",
        }
    }
}

impl fmt::Display for PolicyErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PolicyError {
    /// The word of the policy called `policy`.
    pub fn new(policy: impl Into<Arc<str>>, kind: PolicyErrorKind) -> Self {
        Self { policy: policy.into(), kind, retry_after: None, phase: None }
    }

    /// Sets what was waited for.
    pub fn with_phase(mut self, phase: impl Into<Option<Phase>>) -> Self {
        self.phase = phase.into();
        self
    }

    /// Sets when to try again.
    pub fn with_retry_after(mut self, wait: impl Into<Option<Duration>>) -> Self {
        self.retry_after = wait.into();
        self
    }

    /// Whether work was refused before it started; see the [module docs](self).
    pub const fn is_rejection(&self) -> bool {
        self.kind.is_rejection()
    }

    /// [`retry_after`](Self::retry_after) in whole seconds, rounded up, as the header of that name
    /// wants it. Rounding down would invite the caller back too early.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        self.retry_after.map(|wait| wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.policy, self.kind.describe())?;
        f.write_str(match self.phase {
            Some(Phase::Readiness) => " before the service was ready",
            Some(Phase::Body) => " in the body of the answer",
            Some(Phase::Head) | None => "",
        })?;
        match self.retry_after {
            // Rounded up, as who comes too early is rejected again.
            Some(wait) => {
                write!(f, "; try again in {:.1} s", (wait.as_secs_f64() * 10.0).ceil() / 10.0)
            }
            None => Ok(()),
        }
    }
}

impl StdError for PolicyError {}

/// An error type that can hold a policy's word and give it back.
///
/// Implemented by [`Error<E>`], [`PolicyError`] and [`BoxError`]; the
/// [module docs](self) show it for an enum of your own.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot carry the word of a policy",
    label = "a policy answers with this error type",
    note = "add `.layer(octostack_resilience::error::layer())` as the innermost layer: it turns \
            the error into `Error<{Self}>`",
    note = "or implement `From<PolicyError>` and `FromPolicy` for `{Self}`",
    note = "or let the policy answer with a response: `.respond_http()`, `.respond_grpc()`"
)]
pub trait FromPolicy: From<PolicyError> {
    /// The policy's word, if this error is one.
    fn policy_error(&self) -> Option<&PolicyError>;
}

impl FromPolicy for PolicyError {
    fn policy_error(&self) -> Option<&PolicyError> {
        Some(self)
    }
}

/// Looks through the chain of sources, so that context added on the way does not hide it.
impl FromPolicy for BoxError {
    fn policy_error(&self) -> Option<&PolicyError> {
        let mut error: &(dyn StdError + 'static) = &**self;
        loop {
            match error.downcast_ref() {
                Some(found) => return Some(found),
                None => error = error.source()?,
            }
        }
    }
}

/// An error of the service, or the word of a policy in front of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error<E> {
    /// The service failed.
    Inner(E),
    /// A policy refused or ended the call.
    Policy(PolicyError),
}

impl<E> Error<E> {
    /// The service's error, if it is one.
    pub fn into_inner(self) -> Option<E> {
        match self {
            Self::Inner(error) => Some(error),
            Self::Policy(_) => None,
        }
    }
}

impl<E> From<PolicyError> for Error<E> {
    fn from(error: PolicyError) -> Self {
        Self::Policy(error)
    }
}

impl<E> FromPolicy for Error<E> {
    fn policy_error(&self) -> Option<&PolicyError> {
        match self {
            Self::Inner(_) => None,
            Self::Policy(error) => Some(error),
        }
    }
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inner(error) => error.fmt(f),
            Self::Policy(error) => error.fmt(f),
        }
    }
}

impl<E: StdError + 'static> StdError for Error<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Inner(error) => Some(error),
            Self::Policy(error) => Some(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BoxError, Error, FromPolicy, PolicyError, PolicyErrorKind};
    use std::time::Duration;

    #[test]
    fn retry_after_is_rounded_up() {
        let error = PolicyError::new("p", PolicyErrorKind::RateLimited);
        assert_eq!(error.retry_after_seconds(), None);
        for (millis, seconds) in [(0, 0), (1, 1), (999, 1), (1_000, 1), (1_001, 2)] {
            let error = error.clone().with_retry_after(Duration::from_millis(millis));
            assert_eq!(error.retry_after_seconds(), Some(seconds), "{millis} ms");
        }
    }

    #[test]
    fn a_boxed_error_gives_the_word_back_from_any_depth() {
        let word = PolicyError::new("inventory.breaker", PolicyErrorKind::CircuitOpen);
        let direct = BoxError::from(word.clone());
        assert_eq!(direct.policy_error(), Some(&word));
        let nested: BoxError = Error::<std::io::Error>::from(word.clone()).into();
        assert_eq!(nested.policy_error(), Some(&word));
        assert_eq!(BoxError::from("other").policy_error(), None);
    }

    #[test]
    fn says_who_and_when() {
        let error = PolicyError::new("inventory.breaker", PolicyErrorKind::CircuitOpen)
            .with_retry_after(Duration::from_millis(1_500));
        assert_eq!(error.to_string(), "inventory.breaker: the circuit is open; try again in 1.5 s");
    }
}
