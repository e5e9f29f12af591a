use super::future::ResponseFuture;
use super::permit::Permit;
use super::wait::Asked;
use super::{Bulkhead, Shared};
use crate::extent::{Extent, Head};
use crate::handle::Handle;
use crate::policy::policy_layer;
use crate::protocol::{Plain, Protocol, choose_answer};
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower_service::Service;

policy_layer!(
    /// Puts a [`Bulkhead`] around a service; made by [`Bulkhead::layer`].
    BulkheadLayer, BulkheadService, Bulkhead, reach = Head
);
choose_answer!(BulkheadLayer, X);

#[cfg(feature = "http")]
impl<P, H, X> BulkheadLayer<P, H, X> {
    /// Holds the place until the body of the answer has ended; see [`extent`](crate::extent).
    pub fn until_body_end(self) -> BulkheadLayer<P, H, crate::extent::BodyEnd> {
        let Self { policy, protocol, .. } = self;
        BulkheadLayer { policy, protocol, reach: crate::extent::BodyEnd }
    }
}

/// A service behind a bulkhead.
///
/// Its readiness is that of the inner service: a full bulkhead rejects or queues in `call`, so a
/// clone that is ready and never called holds no place.
#[derive(Clone, Copy, Debug)]
pub struct BulkheadService<S, P = Plain, H = Arc<Shared>, X = Head> {
    inner: S,
    policy: Bulkhead<H>,
    protocol: P,
    reach: X,
}

impl<S, Req, P, H, X> Service<Req> for BulkheadService<S, P, H, X>
where
    S: Service<Req> + Clone,
    P: Protocol<S::Response, S::Error>,
    H: Handle<Shared>,
    X: Extent<S::Response, Permit<H>>,
{
    type Response = X::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, Req, P, H, X>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let form = (self.protocol.clone(), self.reach.clone());
        // The permit or the place comes first: if the inner service panics, it is there to be
        // dropped.
        match Asked::ask(&self.policy) {
            Asked::Permitted(permit) => {
                ResponseFuture::running(self.inner.call(request), permit, form)
            }
            Asked::Queued(wait) => {
                // What waits here must not keep others from the inner service: its readiness goes
                // back now, and is asked for again on a clone once there is a place.
                let next = self.inner.clone();
                drop(mem::replace(&mut self.inner, next.clone()));
                ResponseFuture::waiting(wait, next, request, form)
            }
            Asked::Rejected(error) => {
                // Not called, so not to be kept ready: others may wait for that.
                self.inner = self.inner.clone();
                ResponseFuture::rejected(error, form)
            }
        }
    }
}
