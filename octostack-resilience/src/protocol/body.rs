use super::grpc::{self, Grpc};
use super::{Classified, Http, Plain, Responding};
use crate::error::{BoxError, PolicyError};
use crate::outcome::Outcome;
use http::HeaderMap;
use std::time::Duration;

/// How a policy reads the end of a body, and how it ends one: for layers that go on until then.
pub trait BodyProtocol: Clone {
    /// Whether an answer that begins well has said so in its head: then it is a success too if
    /// nobody reads its body to the end.
    const HEAD_SAYS_ALL: bool;

    /// How the call ended, by the trailers of its body; `None` if a body that had begun ended
    /// without any.
    fn classify_trailers(&self, trailers: Option<&HeaderMap>) -> Outcome;

    /// When the service wants to be asked again, if the trailers say so.
    fn retry_after(&self, trailers: &HeaderMap) -> Option<Duration>;

    /// Ends the body with the word of a policy: with trailers that say so, or with an error.
    ///
    /// # Errors
    /// Where the protocol has no other way to say that an answer that began well did not end so.
    fn cut(&self, error: PolicyError) -> Result<HeaderMap, BoxError>;
}

/// An answer of HTTP has said all in its head; what breaks off is an error.
macro_rules! says_all_in_its_head {
    ($($protocol:ty),*) => {$(
        impl BodyProtocol for $protocol {
            const HEAD_SAYS_ALL: bool = true;

            fn classify_trailers(&self, _: Option<&HeaderMap>) -> Outcome {
                Outcome::Success
            }

            fn retry_after(&self, _: &HeaderMap) -> Option<Duration> {
                None
            }

            fn cut(&self, error: PolicyError) -> Result<HeaderMap, BoxError> {
                Err(error.into())
            }
        }
    )*};
}
says_all_in_its_head!(Plain, Http);

/// gRPC ends every answer with its status in the trailers. One that ends without was cut off on its
/// way: clients see `UNKNOWN`.
impl BodyProtocol for Grpc {
    const HEAD_SAYS_ALL: bool = false;

    fn classify_trailers(&self, trailers: Option<&HeaderMap>) -> Outcome {
        trailers.map_or(Outcome::Failure, grpc::of_trailers)
    }

    fn retry_after(&self, trailers: &HeaderMap) -> Option<Duration> {
        grpc::pushback(trailers)
    }

    fn cut(&self, error: PolicyError) -> Result<HeaderMap, BoxError> {
        let mut trailers = HeaderMap::new();
        grpc::write(&mut trailers, &error);
        Ok(trailers)
    }
}

impl<P: BodyProtocol, F: Clone> BodyProtocol for Classified<P, F> {
    const HEAD_SAYS_ALL: bool = P::HEAD_SAYS_ALL;

    fn classify_trailers(&self, trailers: Option<&HeaderMap>) -> Outcome {
        self.protocol.classify_trailers(trailers)
    }

    fn retry_after(&self, trailers: &HeaderMap) -> Option<Duration> {
        self.protocol.retry_after(trailers)
    }

    fn cut(&self, error: PolicyError) -> Result<HeaderMap, BoxError> {
        self.protocol.cut(error)
    }
}

impl<P: BodyProtocol, F: Clone> BodyProtocol for Responding<P, F> {
    const HEAD_SAYS_ALL: bool = P::HEAD_SAYS_ALL;

    fn classify_trailers(&self, trailers: Option<&HeaderMap>) -> Outcome {
        self.protocol.classify_trailers(trailers)
    }

    fn retry_after(&self, trailers: &HeaderMap) -> Option<Duration> {
        self.protocol.retry_after(trailers)
    }

    fn cut(&self, error: PolicyError) -> Result<HeaderMap, BoxError> {
        self.protocol.cut(error)
    }
}
