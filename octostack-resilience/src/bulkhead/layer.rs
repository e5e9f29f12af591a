use super::future::ResponseFuture;
use super::wait::Asked;
use super::{Bulkhead, Shared};
use crate::handle::Handle;
use crate::policy::policy_layer;
use crate::protocol::{Plain, Protocol, choose_answer};
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower_service::Service;

policy_layer!(
    /// Puts a [`Bulkhead`] around a service; made by [`Bulkhead::layer`].
    BulkheadLayer, BulkheadService, Bulkhead
);
choose_answer!(BulkheadLayer);

/// A service behind a bulkhead.
///
/// Its readiness is that of the inner service: a full bulkhead rejects or queues in `call`, so a
/// clone that is ready and never called holds no place.
#[derive(Clone, Copy, Debug)]
pub struct BulkheadService<S, P = Plain, H = Arc<Shared>> {
    inner: S,
    policy: Bulkhead<H>,
    protocol: P,
}

impl<S, Req, P, H> Service<Req> for BulkheadService<S, P, H>
where
    S: Service<Req> + Clone,
    P: Protocol<S::Response, S::Error>,
    H: Handle<Shared>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, Req, P, H>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let protocol = self.protocol.clone();
        // The permit or the place comes first: if the inner service panics, it is there to be
        // dropped.
        match Asked::ask(&self.policy) {
            Asked::Permitted(permit) => {
                ResponseFuture::running(self.inner.call(request), permit, protocol)
            }
            Asked::Queued(wait) => {
                // What waits here must not keep others from the inner service: its readiness goes
                // back now, and is asked for again on a clone once there is a place.
                let next = self.inner.clone();
                drop(mem::replace(&mut self.inner, next.clone()));
                ResponseFuture::waiting(wait, next, request, protocol)
            }
            Asked::Rejected(error) => {
                // Not called, so not to be kept ready: others may wait for that.
                self.inner = self.inner.clone();
                ResponseFuture::rejected(error, protocol)
            }
        }
    }
}
