use super::KeyedBulkhead;
use crate::bulkhead::future::ResponseFuture;
use crate::bulkhead::wait::Asked;
use crate::bulkhead::{Bulkhead, Permit, Shared};
use crate::extent::{Extent, Head};
use crate::keyed::{KeyedFuture, OwnKey, keyed_layer};
use crate::protocol::{Protocol, choose_answer};
use octostack_core::SystemClock;
use std::hash::Hash;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower_service::Service;

keyed_layer!(
    /// Puts a [`KeyedBulkhead`] around a service; made by [`KeyedBulkhead::layer`]. `B` is an
    /// [`OwnKey`].
    KeyedBulkheadLayer, KeyedBulkheadService
);
choose_answer!(KeyedBulkheadLayer, X);

/// A service behind a keyed bulkhead. `B` is an [`OwnKey`].
///
/// Its readiness is that of the inner service: a full bulkhead rejects or queues in `call`.
#[derive(Clone, Copy, Debug)]
pub struct KeyedBulkheadService<S, P, B, X = Head> {
    pub(super) inner: S,
    pub(super) policy: B,
    pub(super) protocol: P,
    pub(super) reach: X,
}

impl<S, Req, P, K, E, X> Service<Req> for KeyedBulkheadService<S, P, OwnKey<KeyedBulkhead<K>, E>, X>
where
    S: Service<Req> + Clone,
    P: Protocol<S::Response, S::Error>,
    K: Hash + Eq + Clone + Send + Sync + 'static,
    E: Fn(&Req) -> Option<K>,
    X: Extent<S::Response, Permit<Arc<Shared>>>,
{
    type Response = X::Response;
    type Error = S::Error;
    type Future =
        KeyedFuture<ResponseFuture<S, Req, P, Arc<Shared>, X>, S::Future, X, Permit<Arc<Shared>>>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let Some(key) = (self.policy.key)(&request) else {
            return KeyedFuture::unguarded(self.inner.call(request), self.reach.clone());
        };
        let shared = self.policy.policy.shared.store.unit(&key, &SystemClock);
        let form = (self.protocol.clone(), self.reach.clone());
        // As in the service that has no keys.
        KeyedFuture::guarded(match Asked::ask(&Bulkhead { shared }) {
            Asked::Permitted(permit) => {
                ResponseFuture::running(self.inner.call(request), permit, form)
            }
            Asked::Queued(wait) => {
                let next = self.inner.clone();
                drop(mem::replace(&mut self.inner, next.clone()));
                ResponseFuture::waiting(wait, next, request, form)
            }
            Asked::Rejected(error) => {
                self.inner = self.inner.clone();
                ResponseFuture::rejected(error, form)
            }
        })
    }
}
