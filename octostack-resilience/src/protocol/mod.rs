//! How a policy answers, and how it reads an answer.
//!
//! A policy in a stack has to do two things that depend on what the stack speaks: put its own word
//! into an answer, and tell from an answer how the call went. [`Protocol`] is both, and a zero-sized
//! marker on the layer chooses it:
//!
//! | marker | a policy answers with | a call failed if |
//! |---|---|---|
//! | [`Plain`] (default) | `Err(E)`, for `E:` [`FromPolicy`] | it is an `Err` |
//! | [`Http`], `.respond_http()` | 429, 500, 503 or 504 with `application/problem+json` | it is an `Err` or a 5xx |
//! | [`Grpc`], `.respond_grpc()` | a gRPC status | it is an `Err` or a server-side status |
//!
//! `.classify(closure)` on a layer replaces the verdict and keeps the answer;
//! `.respond_with(closure)` replaces the answer and keeps the verdict.
#[cfg(feature = "http")]
mod body;
#[cfg(feature = "http")]
mod grpc;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "http")]
mod retry_after;

#[cfg(feature = "http")]
pub use self::body::BodyProtocol;
#[cfg(feature = "http")]
pub use self::grpc::Grpc;
#[cfg(feature = "http")]
pub use self::http::Http;

use crate::error::{FromPolicy, PolicyError};
use crate::outcome::Outcome;
use std::time::Duration;

/// How a policy answers in its own word, and how it reads the answers of others.
///
/// Cloned for each call: keep it small, best zero-sized.
pub trait Protocol<Res, Err>: Clone {
    /// The answer that carries `error` to the caller.
    ///
    /// # Errors
    /// Where the stack's error type carries it; other forms carry it in the response.
    fn reject(&self, error: PolicyError) -> Result<Res, Err>;

    /// How the call ended.
    fn classify(&self, output: &Result<Res, Err>) -> Outcome;

    /// When the service wants to be asked again, if the answer says so. Only asked after a call
    /// that did not succeed.
    fn retry_after(&self, output: &Result<Res, Err>) -> Option<Duration>;

    /// The word of a policy further in, if the answer is one. A protocol that leaves this out
    /// recognises none.
    fn policy_error<'a>(&self, output: &'a Result<Res, Err>) -> Option<&'a PolicyError> {
        let _ = output;
        None
    }
}

/// Answers with the stack's error type; the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

impl<Res, Err: FromPolicy> Protocol<Res, Err> for Plain {
    fn reject(&self, error: PolicyError) -> Result<Res, Err> {
        Err(error.into())
    }

    fn classify(&self, output: &Result<Res, Err>) -> Outcome {
        match output {
            Ok(_) => Outcome::Success,
            Err(error) => error.policy_error().map_or(Outcome::Failure, of_policy_error),
        }
    }

    fn retry_after(&self, output: &Result<Res, Err>) -> Option<Duration> {
        output.as_ref().err()?.policy_error()?.retry_after
    }

    fn policy_error<'a>(&self, output: &'a Result<Res, Err>) -> Option<&'a PolicyError> {
        output.as_ref().err()?.policy_error()
    }
}

/// What the word of another policy, further in, says about the service.
fn of_policy_error(error: &PolicyError) -> Outcome {
    if error.is_rejection() { Outcome::Ignored } else { Outcome::Failure }
}

/// A protocol with another verdict; made by `.classify(closure)` on a layer.
#[derive(Clone, Copy, Debug)]
pub struct Classified<P, F> {
    pub(crate) protocol: P,
    pub(crate) classify: F,
}

impl<Res, Err, P, F> Protocol<Res, Err> for Classified<P, F>
where
    P: Protocol<Res, Err>,
    F: Fn(&Result<Res, Err>) -> Outcome + Clone,
{
    fn reject(&self, error: PolicyError) -> Result<Res, Err> {
        self.protocol.reject(error)
    }

    fn classify(&self, output: &Result<Res, Err>) -> Outcome {
        (self.classify)(output)
    }

    fn retry_after(&self, output: &Result<Res, Err>) -> Option<Duration> {
        self.protocol.retry_after(output)
    }

    fn policy_error<'a>(&self, output: &'a Result<Res, Err>) -> Option<&'a PolicyError> {
        self.protocol.policy_error(output)
    }
}

/// A protocol with another answer; made by `.respond_with(closure)` on a layer.
#[derive(Clone, Copy, Debug)]
pub struct Responding<P, F> {
    pub(crate) protocol: P,
    pub(crate) respond: F,
}

impl<Res, Err, P, F> Protocol<Res, Err> for Responding<P, F>
where
    P: Protocol<Res, Err>,
    F: Fn(PolicyError) -> Result<Res, Err> + Clone,
{
    fn reject(&self, error: PolicyError) -> Result<Res, Err> {
        (self.respond)(error)
    }

    fn classify(&self, output: &Result<Res, Err>) -> Outcome {
        self.protocol.classify(output)
    }

    fn retry_after(&self, output: &Result<Res, Err>) -> Option<Duration> {
        self.protocol.retry_after(output)
    }

    fn policy_error<'a>(&self, output: &'a Result<Res, Err>) -> Option<&'a PolicyError> {
        self.protocol.policy_error(output)
    }
}

/// The methods with which every layer chooses how it answers.
///
/// A layer has the fields `policy` and `protocol`; the types are `$layer<Protocol, Handle>`. With
/// `$x`, the name of a further parameter, there is a field `reach` too.
macro_rules! choose_answer {
    ($layer:ident $(, $x:ident)?) => {
        impl<P, H $(, $x)?> $layer<P, H $(, $x)?> {
            /// Answers with HTTP responses; see [`Http`](crate::Http).
            #[cfg(feature = "http")]
            pub fn respond_http(self) -> $layer<crate::Http, H $(, $x)?> {
                self.protocol(crate::Http)
            }

            /// Answers with gRPC statuses; see [`Grpc`](crate::Grpc).
            #[cfg(feature = "http")]
            pub fn respond_grpc(self) -> $layer<crate::Grpc, H $(, $x)?> {
                self.protocol(crate::Grpc)
            }

            /// Answers as the closure says and judges as before.
            pub fn respond_with<Res, Err, F>(
                self,
                respond: F,
            ) -> $layer<crate::protocol::Responding<P, F>, H $(, $x)?>
            where
                F: Fn(crate::PolicyError) -> Result<Res, Err> + Clone,
            {
                self.with_protocol(|protocol| crate::protocol::Responding { protocol, respond })
            }

            /// Answers and judges by a protocol of your own.
            pub fn protocol<Q>(self, protocol: Q) -> $layer<Q, H $(, $x)?> {
                self.with_protocol(|_| protocol)
            }

            fn with_protocol<Q>(self, change: impl FnOnce(P) -> Q) -> $layer<Q, H $(, $x)?> {
                $layer {
                    policy: self.policy,
                    protocol: change(self.protocol),
                    $(reach: std::convert::identity::<$x>(self.reach),)?
                }
            }
        }
    };
}
pub(crate) use choose_answer;

/// As [`choose_answer!`], for the layers of policies that judge how a call ended.
macro_rules! choose_protocol {
    ($layer:ident $(, $x:ident)?) => {
        crate::protocol::choose_answer!($layer $(, $x)?);

        impl<P, H $(, $x)?> $layer<P, H $(, $x)?> {
            /// Judges as the closure says and answers as before.
            pub fn classify<Res, Err, F>(
                self,
                classify: F,
            ) -> $layer<crate::protocol::Classified<P, F>, H $(, $x)?>
            where
                F: Fn(&Result<Res, Err>) -> crate::Outcome + Clone,
            {
                self.with_protocol(|protocol| crate::protocol::Classified { protocol, classify })
            }
        }
    };
}
pub(crate) use choose_protocol;
