use super::future::{CallState, Held, ResponseFuture, Verdict, unsuccessful};
use super::{CircuitBreaker, Shared, State};
use crate::extent::{Extent, Head};
use crate::handle::Handle;
use crate::policy::policy_layer;
use crate::protocol::{Plain, Protocol, choose_protocol};
use crate::unwind::ending_on_panic;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower_service::Service;

policy_layer!(
    /// Puts a [`CircuitBreaker`] around a service; made by [`CircuitBreaker::layer`].
    CircuitBreakerLayer, CircuitBreakerService, CircuitBreaker, reach = Head
);
choose_protocol!(CircuitBreakerLayer, X);

#[cfg(feature = "http")]
impl<P, H, X> CircuitBreakerLayer<P, H, X> {
    /// Judges an answer that begins well by how its body ends: by its trailers, for gRPC, or as a
    /// failure if it breaks off. If nobody reads it to the end it is a success for HTTP, which says
    /// all in the head, and a cancelled call for gRPC. A trial call keeps its place until then, so
    /// let no stream be longer than
    /// [`half_open_timeout`](super::CircuitBreakerConfig::half_open_timeout); and a slow reader
    /// makes a slow call. See [`extent`](crate::extent).
    pub fn until_body_end(self) -> CircuitBreakerLayer<P, H, crate::extent::BodyEnd> {
        let Self { policy, protocol, .. } = self;
        CircuitBreakerLayer { policy, protocol, reach: crate::extent::BodyEnd }
    }
}

/// A service behind a circuit breaker.
///
/// Its readiness is that of the inner service: an open breaker rejects in `call`, so that buffers
/// and balancers in front of it stay alive.
#[derive(Clone, Copy, Debug)]
pub struct CircuitBreakerService<S, P = Plain, H = Arc<Shared>, X = Head> {
    inner: S,
    policy: CircuitBreaker<H>,
    protocol: P,
    reach: X,
}

impl<S, Req, P, H, X> Service<Req> for CircuitBreakerService<S, P, H, X>
where
    S: Service<Req> + Clone,
    P: Protocol<S::Response, S::Error>,
    H: Handle<Shared>,
    X: Extent<S::Response, Verdict<P, H>>,
{
    type Response = X::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, P, H, X>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        match self.inner.poll_ready(cx) {
            Poll::Ready(Err(error)) => {
                let output = Err(error);
                self.never_ready(&output);
                Poll::Ready(output.map(drop))
            }
            other => other,
        }
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let (protocol, reach) = (self.protocol.clone(), self.reach.clone());
        // Each arm makes the whole future: a state that both arms lead to is copied in pieces.
        match self.policy.admit() {
            Ok(permit) => {
                let mut permit = Held::new(permit);
                let inner = &mut self.inner;
                let future = ending_on_panic(&mut permit, Held::failed, || inner.call(request));
                ResponseFuture { state: CallState::Admitted { future, permit }, protocol, reach }
            }
            Err(error) => {
                // Not called, so not to be kept ready: others may wait for that.
                self.inner = self.inner.clone();
                let state = CallState::Rejected { error: Some(error) };
                ResponseFuture { state, protocol, reach }
            }
        }
    }
}

impl<S, P, H: Handle<Shared>, X> CircuitBreakerService<S, P, H, X> {
    /// The inner service fails before it is called: its caller has a failure all the same.
    #[cold]
    fn never_ready<Res, Err>(&self, output: &Result<Res, Err>)
    where
        P: Protocol<Res, Err>,
    {
        // An open breaker has nothing to learn from it, and rejects nobody here.
        if self.policy.state() != State::Open
            && let Ok(permit) = self.policy.admit()
        {
            let outcome = self.protocol.classify(output);
            unsuccessful(permit, outcome, || self.protocol.retry_after(output));
        }
    }
}
