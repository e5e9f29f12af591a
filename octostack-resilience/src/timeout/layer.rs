use super::future::{ResponseFuture, Run};
use super::{Shared, Timeout};
use crate::handle::Handle;
use crate::policy::policy_layer;
use crate::protocol::{Plain, Protocol, choose_answer};
use std::sync::Arc;
use std::task::{Context, Poll};
use tower_service::Service;

policy_layer!(
    /// Puts a [`Timeout`] around a service; made by [`Timeout::layer`].
    TimeoutLayer, TimeoutService, Timeout
);
choose_answer!(TimeoutLayer);

/// A service whose calls may take only so long.
///
/// Its readiness is that of the inner service, and is not timed: the wait for it happens before
/// the call.
#[derive(Clone, Copy, Debug)]
pub struct TimeoutService<S, P = Plain, H = Arc<Shared>> {
    inner: S,
    policy: Timeout<H>,
    protocol: P,
}

impl<S, Req, P, H> Service<Req> for TimeoutService<S, P, H>
where
    S: Service<Req>,
    P: Protocol<S::Response, S::Error>,
    H: Handle<Shared>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, P, H>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let start = Run::start(self.policy.shared.clone());
        ResponseFuture::new(start, self.inner.call(request), self.protocol.clone())
    }
}
