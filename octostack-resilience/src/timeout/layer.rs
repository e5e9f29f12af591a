use super::future::ResponseFuture;
use super::limit::Limit;
use super::reach::{Clocked, Reach};
use super::readiness::{Readiness, Within};
use super::run::Run;
use super::travel::Travel;
#[cfg(feature = "http")]
use super::{Accepted, BodyInTime, Forwarded, Unsaid};
use super::{Shared, Timeout};
#[cfg(feature = "http")]
use crate::deadline::DeadlineHeader;
use crate::extent::Extent;
use crate::handle::Handle;
use crate::policy::policy_layer;
use crate::protocol::{Plain, Protocol, choose_answer};
use std::sync::Arc;
use std::task::{Context, Poll};
use tower_service::Service;

policy_layer!(
    /// Puts a [`Timeout`] around a service; made by [`Timeout::layer`].
    TimeoutLayer, TimeoutService, Timeout, reach = Reach
);
choose_answer!(TimeoutLayer, X);

impl<P, H, X> TimeoutLayer<P, H, X> {
    fn reaching<Y>(self, change: impl FnOnce(X) -> Y) -> TimeoutLayer<P, H, Y> {
        let Self { policy, protocol, reach } = self;
        TimeoutLayer { policy, protocol, reach: change(reach) }
    }
}

impl<P, H, T, R, X> TimeoutLayer<P, H, Reach<T, R, X>> {
    /// Times the wait for the inner service to get ready too. The layer is then always ready and
    /// waits for the inner service in each call, on a clone.
    pub fn including_readiness(self) -> TimeoutLayer<P, H, Reach<T, Within, X>> {
        self.reaching(|Reach { travel, extent, .. }| Reach { travel, readiness: Within, extent })
    }

    /// Goes on until the body of the answer has ended. One that does not end in time is cut off:
    /// for gRPC with a status in the trailers, else with an error. Errors of the body become
    /// [`BoxError`](crate::error::BoxError).
    #[cfg(feature = "http")]
    pub fn until_body_end(self) -> TimeoutLayer<P, H, Reach<T, R, BodyInTime>> {
        self.reaching(|Reach { travel, readiness, .. }| {
            let extent = BodyInTime;
            Reach { travel, readiness, extent }
        })
    }
}

#[cfg(feature = "http")]
impl<P, H, R, X> TimeoutLayer<P, H, Reach<Unsaid, R, X>> {
    /// Goes by the deadline of the caller too, which a header of the request says. It can be
    /// shorter than this timeout, not longer. A call whose caller waits no more is refused with
    /// [`DeadlinePassed`](crate::PolicyErrorKind::DeadlinePassed). With `None` it reads nothing.
    pub fn accept_deadline(
        self,
        header: impl Into<Option<DeadlineHeader>>,
    ) -> TimeoutLayer<P, H, Reach<Accepted, R, X>> {
        self.reaching(|Reach { readiness, extent, .. }| {
            let travel = Accepted::new(header.into());
            Reach { travel, readiness, extent }
        })
    }

    /// Says in a header of the request for how long this timeout, and everything outside it, still
    /// waits, less the [`margin`](super::TimeoutConfig::margin). If the header is there already,
    /// written by a library that the caller uses, it can shorten this timeout. A call for which
    /// nobody waits any more is refused with [`DeadlinePassed`](crate::PolicyErrorKind::DeadlinePassed). With `None` it says nothing.
    pub fn forward_deadline(
        self,
        header: impl Into<Option<DeadlineHeader>>,
    ) -> TimeoutLayer<P, H, Reach<Forwarded, R, X>> {
        self.reaching(|Reach { readiness, extent, .. }| {
            let travel = Forwarded::new(header);
            Reach { travel, readiness, extent }
        })
    }
}

#[cfg(feature = "http")]
impl<P, H, R, X> TimeoutLayer<P, H, Reach<Accepted, R, X>> {
    /// Reads one more header. Of several that a request has, the shortest time counts.
    pub fn and_deadline(self, header: DeadlineHeader) -> Self {
        self.reaching(|Reach { travel, readiness, extent }| {
            let travel = travel.and(header);
            Reach { travel, readiness, extent }
        })
    }
}

/// A service whose calls may take only so long.
///
/// Its readiness is that of the inner service, and is not timed: the wait for it happens before
/// the call. [`including_readiness()`](TimeoutLayer::including_readiness) changes both.
#[derive(Clone, Copy, Debug)]
pub struct TimeoutService<S, P = Plain, H = Arc<Shared>, X = Reach> {
    inner: S,
    policy: Timeout<H>,
    protocol: P,
    reach: X,
}

impl<S, Req, P, H, T, R, X> Service<Req> for TimeoutService<S, P, H, Reach<T, R, X>>
where
    S: Service<Req> + Clone,
    P: Protocol<S::Response, S::Error>,
    H: Handle<Shared>,
    T: Travel<Req>,
    R: Readiness<S, Req>,
    X: Extent<S::Response, Clocked<P, H>>,
{
    type Response = X::Response;
    type Error = S::Error;
    type Future = ResponseFuture<R::Call, P, H, X>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.reach.readiness.poll_ready(&mut self.inner, cx)
    }

    #[inline]
    fn call(&mut self, mut request: Req) -> Self::Future {
        let (protocol, extent) = (self.protocol.clone(), self.reach.extent.clone());
        if let Some(limit) = self.start(&mut request) {
            let run = Run::new(self.policy.shared.clone(), limit);
            let entered = run.enter(None);
            let future = self.reach.readiness.call(&mut self.inner, request);
            drop(entered);
            ResponseFuture::running(run, future, protocol, extent)
        } else {
            // Not called, so not to be kept ready: others may wait for that.
            self.inner = self.inner.clone();
            ResponseFuture::rejected(self.policy.shared.too_late(), protocol, extent)
        }
    }
}

impl<S, P, H: Handle<Shared>, T, R, X> TimeoutService<S, P, H, Reach<T, R, X>> {
    /// The limit of a call, or `None` if nobody waits for it any more.
    #[inline]
    fn start<Req>(&self, request: &mut Req) -> Option<Limit>
    where
        T: Travel<Req>,
    {
        let (travel, shared) = (&self.reach.travel, &self.policy.shared);
        let limit = shared.begin(|| travel.incoming(request))?;
        if travel.is_outgoing()
            && let Some(left) = shared.left(limit)
        {
            if left.is_zero() && limit.is_enforced() {
                return None;
            }
            travel.outgoing(request, left);
        }
        Some(limit)
    }
}
