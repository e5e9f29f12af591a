use super::future::ResponseFuture;
use super::{RateLimit, Shared};
use crate::handle::Handle;
use crate::policy::policy_layer;
use crate::protocol::{Plain, Protocol, choose_answer};
use std::sync::Arc;
use std::task::{Context, Poll};
use tower_service::Service;

policy_layer!(
    /// Puts a [`RateLimit`] around a service; made by [`RateLimit::layer`].
    RateLimitLayer, RateLimitService, RateLimit
);
choose_answer!(RateLimitLayer);

/// A service behind a rate limit.
///
/// Its readiness is that of the inner service: what is over the limit is rejected in `call`, so a
/// clone that is ready and never called uses up nothing.
#[derive(Clone, Copy, Debug)]
pub struct RateLimitService<S, P = Plain, H = Arc<Shared>> {
    inner: S,
    policy: RateLimit<H>,
    protocol: P,
}

impl<S, Req, P, H> Service<Req> for RateLimitService<S, P, H>
where
    S: Service<Req> + Clone,
    P: Protocol<S::Response, S::Error>,
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
        match self.policy.admit() {
            Ok(()) => ResponseFuture::admitted(self.inner.call(request), protocol),
            Err(error) => {
                // Not called, so not to be kept ready: others may wait for that.
                self.inner = self.inner.clone();
                ResponseFuture::rejected(error, protocol)
            }
        }
    }
}
