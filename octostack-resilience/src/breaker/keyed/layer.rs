use super::KeyedCircuitBreaker;
use crate::breaker::future::{CallState, Held, ResponseFuture, Verdict};
use crate::breaker::{CircuitBreaker, Shared};
use crate::extent::{Extent, Head};
use crate::keyed::{KeyedFuture, OwnKey, keyed_layer};
use crate::protocol::{Protocol, choose_protocol};
use crate::unwind::ending_on_panic;
use octostack_core::SystemClock;
use std::hash::Hash;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower_service::Service;

keyed_layer!(
    /// Puts a [`KeyedCircuitBreaker`] around a service; made by [`KeyedCircuitBreaker::layer`]. `B`
    /// is an [`OwnKey`].
    KeyedCircuitBreakerLayer, KeyedCircuitBreakerService
);
choose_protocol!(KeyedCircuitBreakerLayer, X);

/// A service behind a keyed circuit breaker. `B` is an [`OwnKey`].
///
/// Its readiness is that of the inner service. It has no key yet, so an error of it is in no
/// window.
#[derive(Clone, Copy, Debug)]
pub struct KeyedCircuitBreakerService<S, P, B, X = Head> {
    pub(super) inner: S,
    pub(super) policy: B,
    pub(super) protocol: P,
    pub(super) reach: X,
}

impl<S, Req, P, K, E, X> Service<Req>
    for KeyedCircuitBreakerService<S, P, OwnKey<KeyedCircuitBreaker<K>, E>, X>
where
    S: Service<Req> + Clone,
    P: Protocol<S::Response, S::Error>,
    K: Hash + Eq + Clone + Send + Sync + 'static,
    E: Fn(&Req) -> Option<K>,
    X: Extent<S::Response, Verdict<P, Arc<Shared>>>,
{
    type Response = X::Response;
    type Error = S::Error;
    type Future = KeyedFuture<
        ResponseFuture<S::Future, P, Arc<Shared>, X>,
        S::Future,
        X,
        Verdict<P, Arc<Shared>>,
    >;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let (protocol, reach) = (self.protocol.clone(), self.reach.clone());
        let Some(key) = (self.policy.key)(&request) else {
            let future = self.inner.call(request);
            return KeyedFuture::unguarded(future, reach);
        };
        let shared = self.policy.policy.shared.store.unit(&key, &SystemClock);
        let state = match (CircuitBreaker { shared }).admit() {
            Ok(permit) => {
                // The permit comes first: if `call` panics, it is there to be dropped.
                let mut permit = Held::new(permit);
                let inner = &mut self.inner;
                let future = ending_on_panic(&mut permit, Held::failed, || inner.call(request));
                CallState::Admitted { future, permit }
            }
            Err(error) => {
                // Not called, so not to be kept ready: others may wait for that.
                self.inner = self.inner.clone();
                CallState::Rejected { error: Some(error) }
            }
        };
        KeyedFuture::guarded(ResponseFuture { state, protocol, reach })
    }
}
