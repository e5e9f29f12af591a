use super::future::ResponseFuture;
use super::run::{Run, dropping};
use super::{CatchPanic, Shared};
use crate::handle::Handle;
use crate::policy::policy_layer;
use crate::protocol::{Plain, Protocol, choose_answer};
use std::sync::Arc;
use std::task::{Context, Poll};
use tower_service::Service;

policy_layer!(
    /// Puts a [`CatchPanic`] around a service; made by [`CatchPanic::layer`].
    CatchPanicLayer, CatchPanicService, CatchPanic
);
choose_answer!(CatchPanicLayer);

/// A service whose panics are answers.
///
/// Its readiness is that of the inner service, and a panic in there goes on: there is no call yet
/// that it could answer.
#[derive(Clone, Copy, Debug)]
pub struct CatchPanicService<S, P = Plain, H = Arc<Shared>> {
    inner: S,
    policy: CatchPanic<H>,
    protocol: P,
}

impl<S, Req, P, H> Service<Req> for CatchPanicService<S, P, H>
where
    S: Service<Req> + Clone,
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
        let mut run = Run::start(self.policy.shared.clone());
        match run.catching(|| self.inner.call(request)) {
            Ok(future) => ResponseFuture::running(run, future, self.protocol.clone()),
            Err(error) => {
                // The value that panicked may still hold its readiness, or half of a change to
                // itself. A clone starts anew; what both share is as the panic left it.
                dropping(|| self.inner = self.inner.clone());
                ResponseFuture::panicked(run, error, self.protocol.clone())
            }
        }
    }
}
