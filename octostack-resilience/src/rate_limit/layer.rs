use super::future::ResponseFuture;
use super::{RateLimit, Shared};
use crate::error::PolicyError;
use crate::handle::Handle;
use crate::protocol::{Plain, Protocol, choose_answer};
use octostack_core::SystemClock;
use std::task::{Context, Poll};
use tower_layer::Layer;
use tower_service::Service;

/// Puts a rate limit around a service; made by [`RateLimit::layer`] and
/// [`KeyedRateLimit::layer`](super::KeyedRateLimit::layer).
#[derive(Clone, Copy, Debug)]
pub struct RateLimitLayer<P = Plain, B = RateLimit> {
    policy: B,
    protocol: P,
}

impl<B> RateLimitLayer<Plain, B> {
    pub(super) fn new(policy: B) -> Self {
        Self { policy, protocol: Plain }
    }
}

impl<P, B> RateLimitLayer<P, B> {
    /// Lets a request count as so many calls as the closure says; 1 unless told otherwise. See
    /// [weights](super#weights).
    pub fn weight<Req, F>(self, weight: F) -> RateLimitLayer<P, Weighed<F, B>>
    where
        F: Fn(&Req) -> u32,
    {
        let Self { policy, protocol } = self;
        RateLimitLayer { policy: Weighed { policy, weight }, protocol }
    }
}

choose_answer!(RateLimitLayer);

impl<S, P: Clone, B: Clone> Layer<S> for RateLimitLayer<P, B> {
    type Service = RateLimitService<S, P, B>;

    fn layer(&self, inner: S) -> Self::Service {
        let Self { policy, protocol } = self.clone();
        RateLimitService { inner, policy, protocol }
    }
}

/// How a layer asks its limit about a request: a [`RateLimit`], a
/// [`By`](super::keyed::By) with a key for each request, or one of them [`Weighed`].
pub trait Admits<Req>: Clone {
    /// Decides a request that counts as `weight` calls.
    ///
    /// # Errors
    /// The word of the policy.
    fn admits(&self, request: &Req, weight: u32) -> Result<(), PolicyError>;
}

impl<Req, H: Handle<Shared>> Admits<Req> for RateLimit<H> {
    #[inline]
    fn admits(&self, _: &Req, weight: u32) -> Result<(), PolicyError> {
        self.shared.admit(weight, &SystemClock)
    }
}

/// A limit, and how many calls a request counts as; made by [`RateLimitLayer::weight`].
#[derive(Clone, Copy, Debug)]
pub struct Weighed<F, B> {
    policy: B,
    weight: F,
}

impl<Req, F, B> Admits<Req> for Weighed<F, B>
where
    F: Fn(&Req) -> u32 + Clone,
    B: Admits<Req>,
{
    #[inline]
    fn admits(&self, request: &Req, _: u32) -> Result<(), PolicyError> {
        self.policy.admits(request, (self.weight)(request))
    }
}

/// A service behind a rate limit.
///
/// Its readiness is that of the inner service: what is over the limit is rejected in `call`, so a
/// clone that is ready and never called uses up nothing.
#[derive(Clone, Copy, Debug)]
pub struct RateLimitService<S, P = Plain, B = RateLimit> {
    inner: S,
    policy: B,
    protocol: P,
}

impl<S, Req, P, B> Service<Req> for RateLimitService<S, P, B>
where
    S: Service<Req> + Clone,
    P: Protocol<S::Response, S::Error>,
    B: Admits<Req>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, P>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let protocol = self.protocol.clone();
        match self.policy.admits(&request, 1) {
            Ok(()) => ResponseFuture::admitted(self.inner.call(request), protocol),
            Err(error) => {
                // Not called, so not to be kept ready: others may wait for that.
                self.inner = self.inner.clone();
                ResponseFuture::rejected(error, protocol)
            }
        }
    }
}
