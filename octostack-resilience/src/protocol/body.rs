use super::grpc::{self, Grpc};
use super::{Classified, Http, Plain, Responding};
use crate::error::{BoxError, PolicyError};
use crate::outcome::Outcome;
use http::HeaderMap;

/// How a policy reads the end of a body, and how it ends one: for layers that go on until then.
pub trait BodyProtocol: Clone {
    /// How the call ended, by the trailers of its body.
    fn classify_trailers(&self, trailers: &HeaderMap) -> Outcome;

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
            fn classify_trailers(&self, _: &HeaderMap) -> Outcome {
                Outcome::Success
            }

            fn cut(&self, error: PolicyError) -> Result<HeaderMap, BoxError> {
                Err(error.into())
            }
        }
    )*};
}
says_all_in_its_head!(Plain, Http);

/// gRPC ends every answer with its status in the trailers.
impl BodyProtocol for Grpc {
    fn classify_trailers(&self, trailers: &HeaderMap) -> Outcome {
        grpc::of_trailers(trailers)
    }

    fn cut(&self, error: PolicyError) -> Result<HeaderMap, BoxError> {
        let mut trailers = HeaderMap::new();
        grpc::write(&mut trailers, &error);
        Ok(trailers)
    }
}

impl<P: BodyProtocol, F: Clone> BodyProtocol for Classified<P, F> {
    fn classify_trailers(&self, trailers: &HeaderMap) -> Outcome {
        self.protocol.classify_trailers(trailers)
    }

    fn cut(&self, error: PolicyError) -> Result<HeaderMap, BoxError> {
        self.protocol.cut(error)
    }
}

impl<P: BodyProtocol, F: Clone> BodyProtocol for Responding<P, F> {
    fn classify_trailers(&self, trailers: &HeaderMap) -> Outcome {
        self.protocol.classify_trailers(trailers)
    }

    fn cut(&self, error: PolicyError) -> Result<HeaderMap, BoxError> {
        self.protocol.cut(error)
    }
}
