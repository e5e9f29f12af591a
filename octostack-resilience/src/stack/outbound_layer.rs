//! The layers of an outbound stack, as one.
use crate::breaker::{CircuitBreakerLayer, CircuitBreakerService};
use crate::bulkhead::{BulkheadLayer, BulkheadService};
use crate::chaos::{ChaosLayer, ChaosService};
use crate::rate_limit::{RateLimitLayer, RateLimitService};
use crate::retry::{GrpcRequests, HttpRequests, RetryLayer, RetryService};
use crate::timeout::{Reach, TimeoutLayer, TimeoutService};
use crate::{RateLimit, breaker, bulkhead, chaos, rate_limit, retry, timeout};
use tower_layer::Layer;

type Limit = RateLimit<&'static rate_limit::Shared>;

/// All layers, outermost first.
type Layers<P, R, T, A> = (
    RateLimitLayer<P, Limit>,
    TimeoutLayer<P, &'static timeout::Shared>,
    RetryLayer<P, &'static retry::Shared, R>,
    CircuitBreakerLayer<P, &'static breaker::Shared>,
    BulkheadLayer<P, &'static bulkhead::Shared>,
    TimeoutLayer<P, &'static timeout::Shared, Reach<T>>,
    ChaosLayer<P, &'static chaos::Shared, A>,
);

/// Puts an [`Outbound`](super::Outbound) stack around a client.
#[derive(Clone, Debug)]
pub struct OutboundLayer<P, R, T, A> {
    layers: Layers<P, R, T, A>,
}

/// One attempt: everything that happens anew each time.
pub type Attempt<S, P, T, A> = CircuitBreakerService<
    BulkheadService<
        TimeoutService<
            ChaosService<S, P, &'static chaos::Shared, A>,
            P,
            &'static timeout::Shared,
            Reach<T>,
        >,
        P,
        &'static bulkhead::Shared,
    >,
    P,
    &'static breaker::Shared,
>;

/// A client behind an outbound stack.
pub type OutboundService<S, P, R, T, A> = RateLimitService<
    TimeoutService<
        RetryService<Attempt<S, P, T, A>, P, &'static retry::Shared, R>,
        P,
        &'static timeout::Shared,
    >,
    P,
    Limit,
>;

impl<P, R, T, A> OutboundLayer<P, R, T, A> {
    pub(super) const fn new(layers: Layers<P, R, T, A>) -> Self {
        Self { layers }
    }

    fn with_retry(
        self,
        change: impl FnOnce(
            RetryLayer<P, &'static retry::Shared, R>,
        ) -> RetryLayer<P, &'static retry::Shared, R>,
    ) -> Self {
        let (limit, deadline, retry, breaker, bulkhead, timeout, chaos) = self.layers;
        Self { layers: (limit, deadline, change(retry), breaker, bulkhead, timeout, chaos) }
    }
}

impl<P, T, A> OutboundLayer<P, HttpRequests, T, A> {
    /// Promises that every request may be executed more than once.
    pub fn assume_idempotent(self) -> Self {
        self.with_retry(RetryLayer::<P, &'static retry::Shared, HttpRequests>::assume_idempotent)
    }
}

impl<P, T, A> OutboundLayer<P, GrpcRequests, T, A> {
    /// Promises that every request may be executed more than once.
    pub fn assume_idempotent(self) -> Self {
        self.with_retry(RetryLayer::<P, &'static retry::Shared, GrpcRequests>::assume_idempotent)
    }
}

impl<S, P, R, T, A> Layer<S> for OutboundLayer<P, R, T, A>
where
    P: Clone,
    R: Clone,
    T: Clone,
    A: Clone,
{
    type Service = OutboundService<S, P, R, T, A>;

    fn layer(&self, client: S) -> Self::Service {
        let (limit, deadline, retry, breaker, bulkhead, timeout, chaos) = &self.layers;
        let attempt = breaker.layer(bulkhead.layer(timeout.layer(chaos.layer(client))));
        limit.layer(deadline.layer(retry.layer(attempt)))
    }
}
