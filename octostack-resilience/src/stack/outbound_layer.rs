//! The layers of an outbound stack, as one.
use crate::breaker::{CircuitBreakerLayer, CircuitBreakerService};
use crate::bulkhead::{BulkheadLayer, BulkheadService};
use crate::chaos::{ChaosLayer, ChaosService};
use crate::rate_limit::{RateLimitLayer, RateLimitService};
use crate::retry::{BySource, GrpcRequests, HttpRequests, RetryLayer, RetryService};
use crate::timeout::{Reach, TimeoutLayer, TimeoutService, Unsaid};
use crate::{RateLimit, breaker, bulkhead, chaos, rate_limit, retry, timeout};
use tower_layer::Layer;

type Limit = RateLimit<&'static rate_limit::Shared>;

type Repeats<P, R> = RetryLayer<P, &'static retry::Shared, R>;

/// All layers, outermost first.
type Layers<P, R, T, A, C> = (
    RateLimitLayer<P, Limit>,
    TimeoutLayer<P, &'static timeout::Shared, Reach<C>>,
    Repeats<P, R>,
    CircuitBreakerLayer<P, &'static breaker::Shared>,
    BulkheadLayer<P, &'static bulkhead::Shared>,
    TimeoutLayer<P, &'static timeout::Shared, Reach<T>>,
    ChaosLayer<P, &'static chaos::Shared, A>,
);

/// Puts an [`Outbound`](super::Outbound) stack around a client.
#[derive(Clone, Debug)]
pub struct OutboundLayer<P, R, T, A, C = Unsaid> {
    layers: Layers<P, R, T, A, C>,
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
pub type OutboundService<S, P, R, T, A, C = Unsaid> = RateLimitService<
    TimeoutService<
        RetryService<Attempt<S, P, T, A>, P, &'static retry::Shared, R>,
        P,
        &'static timeout::Shared,
        Reach<C>,
    >,
    P,
    Limit,
>;

impl<P, R, T, A, C> OutboundLayer<P, R, T, A, C> {
    pub(super) const fn new(layers: Layers<P, R, T, A, C>) -> Self {
        Self { layers }
    }

    fn with_retry<Q>(
        self,
        change: impl FnOnce(Repeats<P, R>) -> Repeats<P, Q>,
    ) -> OutboundLayer<P, Q, T, A, C> {
        let (limit, deadline, retry, breaker, bulkhead, timeout, chaos) = self.layers;
        let layers = (limit, deadline, change(retry), breaker, bulkhead, timeout, chaos);
        OutboundLayer { layers }
    }
}

/// The methods of stacks for HTTP and gRPC.
macro_rules! http_requests {
    ($requests:ident) => {
        impl<P, N, T, A, C> OutboundLayer<P, $requests<N>, T, A, C> {
            /// Promises that every request may be executed more than once.
            pub fn assume_idempotent(self) -> Self {
                self.with_retry(Repeats::<P, $requests<N>>::assume_idempotent)
            }

            /// Repeats any request after errors of which the closure says that the request was
            /// never sent; see [`RetryLayer`].
            pub fn never_sent<E, F>(
                self,
                is_never_sent: F,
            ) -> OutboundLayer<P, $requests<F>, T, A, C>
            where
                F: Fn(&E) -> bool + Clone,
            {
                self.with_retry(|retry| retry.never_sent(is_never_sent))
            }

            /// Repeats any request whose connection was refused, for error types that implement
            /// [`Error`](std::error::Error); see [`is_never_sent`](crate::retry::is_never_sent).
            pub fn detect_never_sent(self) -> OutboundLayer<P, $requests<BySource>, T, A, C> {
                self.with_retry(Repeats::<P, $requests<N>>::detect_never_sent)
            }
        }
    };
}
http_requests!(HttpRequests);
http_requests!(GrpcRequests);

impl<S, P, R, T, A, C> Layer<S> for OutboundLayer<P, R, T, A, C>
where
    P: Clone,
    R: Clone,
    T: Clone,
    A: Clone,
    C: Clone,
{
    type Service = OutboundService<S, P, R, T, A, C>;

    fn layer(&self, client: S) -> Self::Service {
        let (limit, deadline, retry, breaker, bulkhead, timeout, chaos) = &self.layers;
        let attempt = breaker.layer(bulkhead.layer(timeout.layer(chaos.layer(client))));
        limit.layer(deadline.layer(retry.layer(attempt)))
    }
}
