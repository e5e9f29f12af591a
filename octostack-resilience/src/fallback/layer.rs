use super::alternative::{Alternative, Keep};
use super::future::ResponseFuture;
#[cfg(feature = "tokio")]
use super::other::Other;
use super::run::Run;
use super::when::{ByProtocol, Predicate, When};
use super::{Fallback, Shared};
use crate::handle::Handle;
use crate::outcome::Outcome;
use crate::protocol::{Classified, Plain, Protocol};
use std::sync::Arc;
use std::task::{Context, Poll};
use tower_layer::Layer;
use tower_service::Service;

/// Puts a [`Fallback`] around a service; made by [`Fallback::value`], [`Fallback::with`],
/// [`Fallback::with_request`] and `Fallback::service`.
///
/// It has a protocol, which judges answers; the policy has no word of its own.
#[derive(Clone, Copy, Debug)]
pub struct FallbackLayer<A, P = Plain, H = Arc<Shared>, W = ByProtocol> {
    policy: Fallback<H>,
    alternative: A,
    protocol: P,
    when: W,
}

impl<A, H> FallbackLayer<A, Plain, H> {
    pub(super) fn new(policy: Fallback<H>, alternative: A) -> Self {
        Self { policy, alternative, protocol: Plain, when: ByProtocol }
    }
}

impl<A, P, H, W> FallbackLayer<A, P, H, W> {
    /// For HTTP: judges by status; see [`Http`](crate::Http).
    #[cfg(feature = "http")]
    pub fn respond_http(self) -> FallbackLayer<A, crate::Http, H, W> {
        self.protocol(crate::Http)
    }

    /// For gRPC: judges by status; see [`Grpc`](crate::Grpc).
    #[cfg(feature = "http")]
    pub fn respond_grpc(self) -> FallbackLayer<A, crate::Grpc, H, W> {
        self.protocol(crate::Grpc)
    }

    /// Judges as the closure says; it is counted like that too.
    pub fn classify<Res, Err, F>(self, classify: F) -> FallbackLayer<A, Classified<P, F>, H, W>
    where
        F: Fn(&Result<Res, Err>) -> Outcome + Clone,
    {
        let Self { policy, alternative, protocol, when } = self;
        FallbackLayer { policy, alternative, protocol: Classified { protocol, classify }, when }
    }

    /// Judges by a protocol of your own.
    pub fn protocol<Q>(self, protocol: Q) -> FallbackLayer<A, Q, H, W> {
        let Self { policy, alternative, when, .. } = self;
        FallbackLayer { policy, alternative, protocol, when }
    }

    /// Replaces the answers of which the closure says so, in place of failures and refusals. The
    /// setting [`on`](super::FallbackConfig::on) has to be `failure`, as it is by default.
    pub fn when<Res, Err, F>(self, predicate: F) -> FallbackLayer<A, P, H, Predicate<F>>
    where
        F: Fn(&Result<Res, Err>) -> bool + Clone,
    {
        let Self { policy, alternative, protocol, .. } = self;
        FallbackLayer { policy, alternative, protocol, when: Predicate { predicate } }
    }
}

#[cfg(feature = "tokio")]
impl<S, R, P, H, W> FallbackLayer<Other<S, R>, P, H, W> {
    /// Sends requests to the other service in another way than by cloning them: for
    /// `http::Request`, [`HttpRequests`](crate::retry::HttpRequests) or
    /// [`GrpcRequests`](crate::retry::GrpcRequests).
    pub fn repeat<Q>(self, repeat: Q) -> FallbackLayer<Other<S, Q>, P, H, W> {
        let Self { policy, alternative, protocol, when } = self;
        let alternative = Other { service: alternative.service, repeat };
        FallbackLayer { policy, alternative, protocol, when }
    }
}

impl<S, A, P, H, W> Layer<S> for FallbackLayer<A, P, H, W>
where
    A: Clone,
    P: Clone,
    H: Handle<Shared>,
    W: Clone,
{
    type Service = FallbackService<S, A, P, H, W>;

    fn layer(&self, inner: S) -> Self::Service {
        FallbackService { inner, layer: self.clone() }
    }
}

/// A service with a fallback.
///
/// Its readiness is that of the inner service, and an error in there is passed on: there is no call
/// yet that could be answered. The other service is asked for its readiness when it is needed.
#[derive(Clone, Copy, Debug)]
pub struct FallbackService<S, A, P = Plain, H = Arc<Shared>, W = ByProtocol> {
    inner: S,
    layer: FallbackLayer<A, P, H, W>,
}

impl<S, Req, A, P, H, W> Service<Req> for FallbackService<S, A, P, H, W>
where
    A: Keep<Req> + Alternative<Req, S::Response, S::Error>,
    S: Service<<A as Keep<Req>>::Sent>,
    P: Protocol<S::Response, S::Error>,
    H: Handle<Shared>,
    W: When<P, S::Response, S::Error>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, S::Response, S::Error, Req, A, P, H, W>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let FallbackLayer { policy, alternative, protocol, when } = &self.layer;
        let run = Run::start(policy.shared.clone());
        let (request, kept) = alternative.first(request, run.acts());
        let future = self.inner.call(request);
        ResponseFuture::new(run, future, alternative.clone(), kept, protocol.clone(), when.clone())
    }
}
