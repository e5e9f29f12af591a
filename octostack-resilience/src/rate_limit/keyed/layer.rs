use super::super::future::ResponseFuture;
use super::{KeyedRateLimit, Shared};
use crate::handle::Handle;
use crate::protocol::{Plain, Protocol, choose_answer};
use octostack_core::SystemClock;
use std::hash::Hash;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower_layer::Layer;
use tower_service::Service;

/// A keyed rate limit, and how it finds the key of a request.
#[derive(Clone, Copy, Debug)]
pub struct By<F, H = Arc<Shared>> {
    limit: KeyedRateLimit<H>,
    key: F,
}

/// Puts a [`KeyedRateLimit`] around a service; made by [`KeyedRateLimit::layer`]. `B` is a [`By`].
#[derive(Clone, Copy, Debug)]
pub struct KeyedRateLimitLayer<P, B> {
    policy: B,
    protocol: P,
}

impl<F, H> KeyedRateLimitLayer<Plain, By<F, H>> {
    pub(super) fn new(limit: KeyedRateLimit<H>, key: F) -> Self {
        Self { policy: By { limit, key }, protocol: Plain }
    }
}

choose_answer!(KeyedRateLimitLayer);

impl<S, P: Clone, B: Clone> Layer<S> for KeyedRateLimitLayer<P, B> {
    type Service = KeyedRateLimitService<S, P, B>;

    fn layer(&self, inner: S) -> Self::Service {
        let Self { policy, protocol } = self.clone();
        KeyedRateLimitService { inner, policy, protocol }
    }
}

/// A service behind a keyed rate limit. `B` is a [`By`].
///
/// Its readiness is that of the inner service: what is over the limit is rejected in `call`, so a
/// clone that is ready and never called uses up nothing.
#[derive(Clone, Copy, Debug)]
pub struct KeyedRateLimitService<S, P, B> {
    inner: S,
    policy: B,
    protocol: P,
}

impl<S, Req, P, F, K, H> Service<Req> for KeyedRateLimitService<S, P, By<F, H>>
where
    S: Service<Req> + Clone,
    P: Protocol<S::Response, S::Error>,
    F: Fn(&Req) -> Option<K>,
    K: Hash,
    H: Handle<Shared>,
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
        let By { limit, key } = &self.policy;
        match limit.shared.admit(|| key(&request), &SystemClock) {
            Ok(()) => ResponseFuture::admitted(self.inner.call(request), protocol),
            Err(error) => {
                // Not called, so not to be kept ready: others may wait for that.
                self.inner = self.inner.clone();
                ResponseFuture::rejected(error, protocol)
            }
        }
    }
}
